//! Groups of the same id, and members of every kind.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::driver::Task;
use testkit::rdkafka::Message;
use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::{Result, librdkafka, wait};
use wire::api::ApiKey;

use crate::ask::{self, Kind, code};
use crate::caller::Caller;
use crate::message::{hex, unhex};
use crate::prepare::{assignment, join_request};
use crate::world::{LIMIT, Settings, Tenant, World, java};

#[test]
fn groups_of_the_same_id_do_not_meet() -> Result<()> {
    let world = World::get()?;
    let tenants = [world.tenant("lilac")?, world.tenant("mauve")?];
    let mut members = Vec::new();
    for tenant in &tenants {
        let mut root = tenant.root()?;
        ask::topic(&mut root, "orders", 2)?;
        let settings = tenant.settings()?;
        let values = (0..10).map(|number| format!("{}{number}", tenant.name));
        librdkafka::produce(&tenant.bootstrap(), &settings.list(), "orders", values)?;
        members.push(member(tenant, settings, "readers", "orders")?);
    }
    // Each owns both partitions, and reads its own records only.
    wait::until_true("both members to own everything", LIMIT, || {
        members.iter().all(|member| {
            let _ = member.poll(Duration::from_millis(20));
            member.assignment().is_ok_and(|owned| owned.count() == 2)
        })
    })?;
    let [one, two] = &tenants;
    let (mut a, mut b) = (one.root()?, two.root()?);
    let node = ask::commit(&mut b, "others", "orders", 1)?;
    assert_eq!(ask::groups(&mut a)?, ["readers"]);
    assert_eq!(ask::groups(&mut b)?, ["others", "readers"]);
    let foreign = two.physical("others");
    for group in ["others", &foreign] {
        let body = json!({ "Groups": [group], "IncludeAuthorizedOperations": true });
        let answer = a.ask(node, ApiKey::DESCRIBE_GROUPS, 6, &body)?;
        let group = &answer["Groups"][0];
        assert!(
            group["Members"] == json!([]) && group["GroupState"] != "Empty",
            "{answer}"
        );
        let body = json!({ "GroupsNames": [group["GroupId"]] });
        let codes = in_all_places(&mut a, ApiKey::DELETE_GROUPS, 2, &body, "Results")?;
        assert!(
            codes.contains(&code::GROUP_ID_NOT_FOUND) && !codes.contains(&0),
            "{codes:?}"
        );
    }
    assert_eq!(ask::committed(&mut b, "others", "orders")?, 1);
    let physical = ask::groups(&mut world.brokers())?;
    for tenant in &tenants {
        assert!(
            physical.contains(&tenant.physical("readers")),
            "{physical:?}"
        );
    }
    assert!(!physical.contains(&"readers".to_owned()), "{physical:?}");
    Ok(())
}

/// Error codes of all brokers for the first element of a list.
fn in_all_places(
    caller: &mut Caller,
    api: ApiKey,
    version: i16,
    body: &Value,
    list: &str,
) -> Result<Vec<i64>> {
    (1..=3)
        .map(|node| {
            let answer = caller.ask(node, api, version, body)?;
            Ok(answer[list][0]["ErrorCode"].as_i64().unwrap_or(-1))
        })
        .collect()
}

fn member(
    tenant: &Tenant<'_>,
    settings: Settings,
    group: &str,
    topic: &str,
) -> Result<BaseConsumer> {
    let settings = settings
        .with("group.id", group)
        .with("auto.offset.reset", "earliest");
    let consumer: BaseConsumer =
        librdkafka::config(&tenant.bootstrap(), &settings.list()).create()?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// Brokers match subscriptions with offsets: without the topics' own names, those of an idle group would expire.
#[test]
fn brokers_read_physical_names_in_members() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("reading")?;
    let mut root = tenant.root()?;
    ask::topic(&mut root, "orders", 1)?;
    let node = ask::coordinator(&mut root, Kind::Group, "readers")?;
    let first = root.ask(
        node,
        ApiKey::JOIN_GROUP,
        4,
        &join_request("readers", "", "orders"),
    )?;
    let id = first["MemberId"].as_str().unwrap_or_default().to_owned();
    let joined = root.must(
        node,
        ApiKey::JOIN_GROUP,
        4,
        &join_request("readers", &id, "orders"),
    )?;
    let subscribed = joined["Members"][0]["Metadata"]
        .as_str()
        .unwrap_or_default();
    assert_eq!(
        unhex(subscribed),
        crate::prepare::subscription("orders"),
        "the leader's view"
    );
    let body = json!({
        "GroupId": "readers",
        "GenerationId": joined["GenerationId"],
        "MemberId": id,
        "Assignments": [{ "MemberId": id, "Assignment": hex(&assignment("orders")) }],
    });
    let synced = root.must(node, ApiKey::SYNC_GROUP, 3, &body)?;
    let assigned = synced["Assignment"].as_str().unwrap_or_default();
    assert_eq!(unhex(assigned), assignment("orders"), "the member's view");

    let described = |caller: &mut Caller, group: &str| {
        let body = json!({ "Groups": [group] });
        caller.must(node, ApiKey::DESCRIBE_GROUPS, 5, &body)
    };
    let own = described(&mut root, "readers")?.to_string();
    assert!(
        own.contains(&hex(b"orders")) && !own.contains(&hex(tenant.name.as_bytes())),
        "{own}"
    );
    let at_brokers = described(&mut world.brokers(), &tenant.physical("readers"))?;
    let member = &at_brokers["Groups"][0]["Members"][0];
    let physical = hex(tenant.physical("orders").as_bytes());
    for field in ["MemberMetadata", "MemberAssignment"] {
        assert!(
            member[field].to_string().contains(&physical),
            "{field}: {member}"
        );
    }

    let body = json!({
        "GroupId": "readers",
        "Topics": [{ "Name": "orders", "Partitions": [{ "PartitionIndex": 0 }] }],
    });
    let answer = root.ask(node, ApiKey::OFFSET_DELETE, 0, &body)?;
    let answered = &answer["Topics"][0]["Partitions"][0]["ErrorCode"];
    assert_eq!(*answered, code::GROUP_SUBSCRIBED_TO_TOPIC, "{answer}");
    Ok(())
}

#[test]
fn members_of_the_consumer_protocol_match_own_topics() -> Result<()> {
    let world = World::get()?;
    let (own, other) = (world.tenant("matching")?, world.tenant("matched")?);
    ask::topic(&mut other.root()?, "orders", 1)?;
    let mut root = own.root()?;
    let mut ids = Vec::new();
    for name in ["orders", "outlets", "invoices"] {
        ids.push(ask::topic(&mut root, name, 1)?);
    }
    for (number, (pattern, matched)) in [
        (".*", vec![0, 1, 2]),
        ("^o.*s$", vec![0, 1]),
        ("(?i)ORD.*", vec![0]),
        ("^orders$|^inv", vec![0]),
        ("orders|invoices", vec![0, 2]),
        ("rders", vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let group = format!("matchers-{number}");
        let expected: BTreeSet<&str> = matched.iter().map(|at: &usize| &*ids[*at]).collect();
        let mut member = Modern::join(&mut root, &group, pattern)?;
        let assigned = wait::until(&format!("topics of {pattern}"), LIMIT, || {
            let assigned = member.beat(&mut root)?;
            Ok((assigned.len() == expected.len()).then_some(assigned))
        })?;
        let assigned: BTreeSet<&str> = assigned.iter().map(String::as_str).collect();
        assert_eq!(assigned, expected, "{pattern}");
        if pattern == "^o.*s$" {
            let later = ask::topic(&mut root, "options", 1)?;
            wait::until_true("a later topic", LIMIT, || {
                member.beat(&mut root).is_ok_and(|ids| ids.contains(&later))
            })?;
            let body = json!({ "GroupIds": [group] });
            let answer = root.must(member.node, ApiKey::CONSUMER_GROUP_DESCRIBE, 1, &body)?;
            assert!(!answer.to_string().contains(&own.name), "{answer}");
        }
        member.leave(&mut root)?;
    }
    let node = ask::coordinator(&mut root, Kind::Group, "mistaken")?;
    let answer = root.ask(
        node,
        ApiKey::CONSUMER_GROUP_HEARTBEAT,
        1,
        &first_beat("mistaken", "(*"),
    )?;
    assert_eq!(
        answer["ErrorCode"],
        code::INVALID_REGULAR_EXPRESSION,
        "{answer}"
    );
    Ok(())
}

const MEMBER: &str = "QWxsIHlvdXIgbWVtYmVycw";

/// A member that subscribes to an expression.
struct Modern {
    group: String,
    node: i32,
    epoch: Value,
    owned: Value,
}

fn first_beat(group: &str, pattern: &str) -> Value {
    json!({
        "GroupId": group,
        "MemberId": MEMBER,
        "MemberEpoch": 0,
        "RebalanceTimeoutMs": 30_000,
        "SubscribedTopicRegex": pattern,
        "TopicPartitions": [],
    })
}

impl Modern {
    fn join(root: &mut Caller, group: &str, pattern: &str) -> Result<Modern> {
        let node = ask::coordinator(root, Kind::Group, group)?;
        let body = first_beat(group, pattern);
        let answer = root.must(node, ApiKey::CONSUMER_GROUP_HEARTBEAT, 1, &body)?;
        let mut member = Modern {
            group: group.to_owned(),
            node,
            epoch: json!(0),
            owned: json!([]),
        };
        member.take(&answer);
        Ok(member)
    }

    /// A heartbeat that owns what was assigned last; gives the ids of all topics assigned.
    fn beat(&mut self, root: &mut Caller) -> Result<Vec<String>> {
        let body = json!({
            "GroupId": self.group,
            "MemberId": MEMBER,
            "MemberEpoch": self.epoch,
            "TopicPartitions": self.owned,
        });
        let answer = root.must(self.node, ApiKey::CONSUMER_GROUP_HEARTBEAT, 1, &body)?;
        self.take(&answer);
        Ok(ask::texts(&self.owned, "TopicId"))
    }

    fn take(&mut self, answer: &Value) {
        self.epoch = answer["MemberEpoch"].clone();
        if !answer["Assignment"].is_null() {
            self.owned = answer["Assignment"]["TopicPartitions"].clone();
        }
    }

    fn leave(&self, root: &mut Caller) -> Result<()> {
        let body = json!({ "GroupId": self.group, "MemberId": MEMBER, "MemberEpoch": -1 });
        root.must(self.node, ApiKey::CONSUMER_GROUP_HEARTBEAT, 1, &body)
            .map(drop)
    }
}

/// Java consumers of all three protocols.
#[test]
fn java_consumers_read_their_own() -> Result<()> {
    let world = World::get()?;
    let (own, other) = (world.tenant("kite")?, world.tenant("lark")?);
    for tenant in [&own, &other] {
        let mut root = tenant.root()?;
        for topic in ["orders", "outlets"] {
            ask::topic(&mut root, topic, 2)?;
            let settings = tenant.settings()?;
            let values = (0..10).map(|number| format!("{}{topic}{number}", tenant.name));
            librdkafka::produce(&tenant.bootstrap(), &settings.list(), topic, values)?;
        }
    }
    from_the_beginning(&mut own.root()?, "sharers")?;
    let consumer = |group: &str, count: &str| {
        let settings = [("group.id", group), ("count", count)];
        Ok(own.access()?.java(&settings)) as Result<testkit::Access>
    };
    let earliest = [("auto.offset.reset", "earliest")];
    let modern = [("group.protocol", "consumer"), earliest[0]];
    let driver = java()?;
    let tasks = [
        (
            "classic",
            20,
            driver.give(
                Task::Consume,
                "orders,outlets",
                &consumer("classics", "20")?.java(&earliest),
            )?,
        ),
        (
            "classic, expression",
            20,
            driver.give(
                Task::Consume,
                "-",
                &consumer("matchers", "20")?
                    .java(&earliest)
                    .java(&[("pattern", ".*")]),
            )?,
        ),
        (
            "consumer protocol",
            10,
            driver.give(
                Task::Consume,
                "orders",
                &consumer("moderns", "10")?.java(&modern),
            )?,
        ),
        (
            "consumer protocol, expression",
            20,
            driver.give(Task::Match, ".*", &consumer("experts", "20")?.java(&modern))?,
        ),
        (
            "share group",
            10,
            driver.give(Task::Share, "orders", &consumer("sharers", "10")?)?,
        ),
    ];
    for (what, count, task) in tasks {
        let report = task.wait()?;
        assert!(report.ok, "{what}: {}", report.text);
        let values: BTreeSet<&str> = report
            .text
            .lines()
            .map(|line| line.rsplit(' ').next().unwrap_or_default())
            .collect();
        assert_eq!(values.len(), count, "{what}: {}", report.text);
        assert!(
            values.iter().all(|value| value.starts_with(&own.name)),
            "{what}"
        );
        for line in report.text.lines() {
            let topic = line.split(' ').next().unwrap_or_default();
            assert!(["orders", "outlets"].contains(&topic), "{what}: {line}");
        }
    }
    Ok(())
}

/// Lets a share group begin with what is there.
fn from_the_beginning(root: &mut Caller, group: &str) -> Result<()> {
    let key = "share.auto.offset.reset";
    let body = json!({ "Resources": [{
        "ResourceType": 32,
        "ResourceName": group,
        "Configs": [{ "Name": key, "Value": "earliest" }],
    }] });
    root.must(1, ApiKey::INCREMENTAL_ALTER_CONFIGS, 1, &body)?;
    let body = json!({ "Resources": [{
        "ResourceType": 32,
        "ResourceName": group,
        "ConfigurationKeys": [key],
    }] });
    for node in 1..=3 {
        wait::until_true("a group's configuration to be known", LIMIT, || {
            let answer = root.must(node, ApiKey::DESCRIBE_CONFIGS, 4, &body);
            answer.is_ok_and(|answer| answer["Results"][0]["Configs"][0]["Value"] == "earliest")
        })?;
    }
    Ok(())
}

/// A group of librdkafka's classic members takes in Java members of the consumer protocol, and goes back.
#[test]
fn a_group_moves_between_protocols() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("moving")?;
    let mut root = tenant.root()?;
    ask::topic(&mut root, "orders", 4)?;
    let mut sent = 0_u64;
    let mut send = |count: u64| {
        let values: Vec<String> = (sent..sent + count)
            .map(|number| number.to_string())
            .collect();
        sent += count;
        let settings = tenant.settings()?;
        librdkafka::produce(&tenant.bootstrap(), &settings.list(), "orders", values)
    };
    send(40)?;
    let settings = tenant
        .settings()?
        .with("partition.assignment.strategy", "cooperative-sticky")
        .with("auto.commit.interval.ms", "100");
    let classic = member(&tenant, settings, "movers", "orders")?;
    let mut seen = BTreeSet::new();
    take(&classic, &mut seen, 40)?;
    let access = tenant.access()?.java(&[
        ("group.id", "movers"),
        ("group.protocol", "consumer"),
        ("auto.offset.reset", "earliest"),
        ("count", "1"),
    ]);
    let modern = java()?.give(Task::Consume, "orders", &access)?;
    // Its share of what comes is read by whoever owns the partition.
    wait::until_true("the new member to own partitions", LIMIT, || {
        drain(&classic, &mut seen);
        classic.assignment().is_ok_and(|owned| owned.count() < 4)
    })?;
    send(40)?;
    // Whoever is not polled does not give up anything.
    let report = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| modern.wait());
        while !waiting.is_finished() {
            drain(&classic, &mut seen);
        }
        waiting.join()
    });
    let report = report.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    assert!(report.ok, "{}", report.text);
    let values = report
        .text
        .lines()
        .filter_map(|line| line.rsplit(' ').next());
    let by_modern: BTreeSet<String> = values.map(str::to_owned).collect();
    // It has left: the classic member has everything again.
    send(40)?;
    wait::until_true("all records", LIMIT, || {
        drain(&classic, &mut seen);
        seen.union(&by_modern).count() == 120
    })?;
    assert_eq!(ask::groups(&mut root)?, ["movers"]);
    Ok(())
}

fn take(member: &BaseConsumer, seen: &mut BTreeSet<String>, count: usize) -> Result<()> {
    wait::until_true("records", LIMIT, || {
        drain(member, seen);
        seen.len() >= count
    })
}

fn drain(member: &BaseConsumer, seen: &mut BTreeSet<String>) {
    while let Some(message) = member.poll(Duration::from_millis(20)) {
        if let Ok(message) = message {
            let value = message.payload().unwrap_or_default();
            seen.insert(String::from_utf8_lossy(value).into_owned());
        }
    }
}
