//! A Kafka of one broker: where it creates topics by itself, asks policies, forgets offsets early, and goes away.

use std::collections::BTreeSet;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use testkit::{ClusterOptions, Error, KafkaCluster, Listener, Release, Result, librdkafka, wait};
use wire::api::ApiKey;

use crate::ask::{self, Kind, code};
use crate::caller::Caller;
use crate::message::hex;
use crate::prepare::{assignment, join_request};
use crate::world::{Front, LIMIT, ROOT, fresh_name, gateway_options};

pub(crate) struct Island {
    cluster: KafkaCluster,
    pub(crate) front: Front,
    /// Whether Kafka is.
    pub(crate) there: RwLock<()>,
}

impl Island {
    /// Started once. Whoever changes whether Kafka is there takes [`Island::there`] for writing.
    pub(crate) fn get() -> Result<&'static Island> {
        static ISLAND: OnceLock<Result<Island, String>> = OnceLock::new();
        ISLAND
            .get_or_init(|| Island::start().map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|error| Error::Violated(error.clone()))
    }

    fn start() -> Result<Island> {
        let cluster = KafkaCluster::start_with(
            ClusterOptions::new(Release::V4_3)
                .node_ids(&[1])
                .property("auto.create.topics.enable", "true")
                .property("num.partitions", "1")
                .property("offsets.retention.minutes", "1")
                .property("offsets.retention.check.interval.ms", "1000")
                .classes(testkit::programs::policies()?)
                .property("create.topic.policy.class.name", "Policies$OfTopics")
                .property("alter.config.policy.class.name", "Policies$OfConfigs"),
        )?;
        let front = Front::start(
            gateway_options(&cluster.bootstrap(Listener::Relayed))
                .env("GATEWAY_AUTO_CREATE_TOPICS_ENABLED", "true"),
        )?;
        Ok(Island {
            cluster,
            front,
            there: RwLock::new(()),
        })
    }

    pub(crate) fn brokers(&self) -> Caller {
        Caller::new(self.cluster.addresses(Listener::Plaintext), None)
    }
}

fn wanting(name: &str) -> Value {
    json!({ "Topics": [{ "Name": name }], "AllowAutoTopicCreation": true })
}

#[test]
fn topics_are_created_for_who_may_create_them() -> Result<()> {
    let island = Island::get()?;
    let _there = island.there.read().unwrap_or_else(PoisonError::into_inner);
    let spec = json!({ "aclEnabled": true, "aclMode": "KAFKA_API", "superUsers": [ROOT] });
    let tenant = island.front.tenant(&fresh_name("making"), spec)?;
    tenant.account("clerk")?;
    let (mut root, mut clerk) = (tenant.root()?, tenant.caller("clerk")?);
    let binding = |name: &str, pattern: i8, operation: i8| {
        json!({
            "ResourceType": 2, "ResourceName": name, "ResourcePatternType": pattern,
            "Principal": "User:clerk", "Host": "*", "Operation": operation, "PermissionType": 3,
        })
    };
    // Create what begins like this, describe everything.
    let bindings = json!({ "Creations": [binding("made-by-clerk-", 4, 5), binding("*", 3, 8)] });
    root.must(1, ApiKey::CREATE_ACLS, 3, &bindings)?;
    let mut made = BTreeSet::new();
    for version in 0..=13 {
        let name = format!("made-by-clerk-{version}");
        clerk.ask(1, ApiKey::METADATA, version, &wanting(&name))?;
        wait::until_true("the topic", LIMIT, || {
            ask::lookup(&mut clerk, &[&name]).is_ok_and(|codes| codes == [0])
        })?;
        made.insert(tenant.physical(&name));
        let refused = format!("not-for-clerk-{version}");
        let answer = clerk.ask(1, ApiKey::METADATA, version, &wanting(&refused))?;
        assert_ne!(
            ask::ints(&answer["Topics"], "ErrorCode"),
            [0],
            "v{version}: {answer}"
        );
    }
    let physical = ask::topics(&mut island.brokers())?;
    let own = physical
        .into_iter()
        .filter(|name| name.starts_with(&tenant.name));
    assert_eq!(own.collect::<BTreeSet<_>>(), made);
    let unprefixed = ask::topics(&mut island.brokers())?;
    assert!(
        !unprefixed
            .iter()
            .any(|name| name.starts_with("made-by") || name.starts_with("not-for"))
    );

    // Not under the name of an alias whose target is gone.
    let target = fresh_name("gone");
    let mut brokers = island.brokers();
    ask::topic(&mut brokers, &target, 1)?;
    island.front.api.alias(&tenant.name, "alias", &target)?;
    let named = json!({ "Topics": [{ "Name": target }], "TimeoutMs": 30_000 });
    brokers.must(1, ApiKey::DELETE_TOPICS, 6, &named)?;
    wait::until_true("the target to be gone", LIMIT, || {
        let codes = ask::lookup(&mut root, &["alias"]);
        codes.is_ok_and(|codes| codes == [code::UNKNOWN_TOPIC_OR_PARTITION])
    })?;
    for version in [1, 4, 13] {
        let answer = root.ask(1, ApiKey::METADATA, version, &wanting("alias"))?;
        let codes = ask::ints(&answer["Topics"], "ErrorCode");
        assert_eq!(
            codes,
            [code::UNKNOWN_TOPIC_OR_PARTITION],
            "v{version}: {answer}"
        );
    }
    let physical = ask::topics(&mut brokers)?;
    assert!(!physical.contains(&target) && !physical.contains(&tenant.physical("alias")));
    Ok(())
}

/// A group that reads and does not commit is not forgotten. Even the shortest time after which brokers forget is too long for
/// an everyday run.
#[test]
fn offsets_of_an_idle_group_stay() -> Result<()> {
    const IDLE: Duration = Duration::from_secs(100);
    if !crate::is_full() {
        return Ok(());
    }
    let island = Island::get()?;
    let _there = island.there.read().unwrap_or_else(PoisonError::into_inner);
    let tenant = island.front.tenant(&fresh_name("idling"), json!({}))?;
    let mut root = tenant.root()?;
    ask::topic(&mut root, "orders", 1)?;
    ask::topic(&mut root, "other", 1)?;
    ask::commit(&mut root, "abandoned", "orders", 5)?;
    let node = ask::coordinator(&mut root, Kind::Group, "idle")?;
    let first = root.ask(
        node,
        ApiKey::JOIN_GROUP,
        4,
        &join_request("idle", "", "orders"),
    )?;
    let id = first["MemberId"].clone();
    let join = join_request("idle", id.as_str().unwrap_or_default(), "orders");
    let joined = root.must(node, ApiKey::JOIN_GROUP, 4, &join)?;
    let mut member = json!({
        "GroupId": "idle",
        "GenerationId": joined["GenerationId"],
        "MemberId": id,
    });
    let mut sync = member.clone();
    sync["Assignments"] = json!([{ "MemberId": id, "Assignment": hex(&assignment("orders")) }]);
    root.must(node, ApiKey::SYNC_GROUP, 3, &sync)?;
    let mut commit = member.clone();
    let generation = commit
        .as_object_mut()
        .and_then(|body| body.remove("GenerationId"));
    commit["GenerationIdOrMemberEpoch"] = generation.unwrap_or_default();
    commit["Topics"] = json!([{
        "Name": "orders",
        "Partitions": [{ "PartitionIndex": 0, "CommittedOffset": 5 }],
    }]);
    root.must(node, ApiKey::OFFSET_COMMIT, 8, &commit)?;
    let begin = Instant::now();
    while begin.elapsed() < IDLE {
        root.must(node, ApiKey::HEARTBEAT, 3, &member)?;
        std::thread::sleep(Duration::from_secs(3));
    }
    assert_eq!(
        ask::committed(&mut root, "abandoned", "orders")?,
        -1,
        "long enough"
    );
    assert_eq!(ask::committed(&mut root, "idle", "orders")?, 5);
    if let Some(body) = member.as_object_mut() {
        body.remove("GenerationId");
    }
    root.must(node, ApiKey::LEAVE_GROUP, 2, &member).map(drop)
}

/// Without Kafka nothing can be stored, everything stored can be read and holds, and all goes on afterwards, with the same
/// gateway and the same clients.
#[test]
fn without_kafka_what_is_stored_holds() -> Result<()> {
    let island = Island::get()?;
    let _alone = island.there.write().unwrap_or_else(PoisonError::into_inner);
    let api = &island.front.api;
    let name = fresh_name("outage");
    let spec = json!({ "aclEnabled": true, "aclMode": "KAFKA_API", "superUsers": [ROOT] });
    let tenant = island.front.tenant(&name, spec)?;
    tenant.account("clerk")?;
    let other = island.front.tenant(&fresh_name("other"), json!({}))?;
    ask::topic(&mut other.root()?, "theirs", 1)?;
    let mut root = tenant.root()?;
    for topic in ["orders", "secret"] {
        ask::topic(&mut root, topic, 1)?;
    }
    let allow = json!({ "Creations": [{
        "ResourceType": 2, "ResourceName": "orders", "ResourcePatternType": 3,
        "Principal": "User:clerk", "Host": "*", "Operation": 2, "PermissionType": 3,
    }] });
    root.must(1, ApiKey::CREATE_ACLS, 3, &allow)?;
    let rights = || {
        let mut clerk = tenant.caller("clerk")?;
        ask::lookup(&mut clerk, &["orders", "secret", &other.physical("theirs")])
    };
    const DENIED: i64 = code::TOPIC_AUTHORIZATION_FAILED;
    assert_eq!(rights()?, [0, DENIED, DENIED]);
    let settings = tenant.settings_of("clerk")?;
    let producer: BaseProducer =
        librdkafka::config(&tenant.bootstrap(), &settings.list()).create()?;
    let send = |value: &str| {
        let record = BaseRecord::<(), str>::to("orders").payload(value);
        producer.send(record).map_err(|(error, _)| error)
    };
    send("before")?;
    producer.flush(LIMIT)?;

    island.cluster.stop(1)?;
    send("meanwhile")?;
    let path = format!("/gateway/v2/virtual-cluster/{name}");
    assert_eq!(api.call("GET", &path, &Value::Null)?.0, 200);
    let later = fresh_name("later");
    let metadata = json!({ "vCluster": name, "name": "late" });
    let clerk = json!({ "vCluster": name, "name": "clerk" });
    let account = || {
        api.put_now(
            "GatewayServiceAccount",
            metadata.clone(),
            json!({ "type": "LOCAL" }),
        )
    };
    let put = || api.put_now("VirtualCluster", json!({ "name": later }), json!({}));
    let delete = || api.call("DELETE", "/gateway/v2/service-account", &clerk);
    for write in [&put as &dyn Fn() -> Result<(u16, Value)>, &account, &delete] {
        wait::until("writes to be refused", LIMIT, || {
            let (status, answer) = write()?;
            match status {
                503 => Ok(Some(())),
                _ => Err(Error::Answer(format!("{status}: {answer}"))),
            }
        })?;
    }
    let status = |path: &str| {
        api.call("GET", path, &Value::Null)
            .map(|(status, _)| status)
    };
    wait::until("the gateway not to be ready", LIMIT, || {
        assert_eq!(status("/health/live")?, 200);
        Ok((status("/health/ready")? == 503).then_some(()))
    })?;
    // Who may come in is known all the same.
    tenant.caller("clerk")?.client(1)?;
    assert!(tenant.impostor("clerk").client(1).is_err(), "no token");
    std::thread::sleep(Duration::from_secs(if crate::is_full() { 300 } else { 0 }));

    island.cluster.start_broker(1)?;
    wait::until_true("writes to be taken", LIMIT, || {
        put().is_ok_and(|(status, _)| status == 200)
    })?;
    wait::until("the gateway to be ready", LIMIT, || {
        Ok((status("/health/ready")? == 200).then_some(()))
    })?;
    wait::until("the same rights", LIMIT, || {
        let rights = rights()?;
        assert_eq!(rights[1..], [DENIED, DENIED]);
        Ok((rights[0] == 0).then_some(()))
    })?;
    assert_eq!(ask::topics(&mut tenant.root()?)?, ["orders", "secret"]);
    send("after")?;
    producer.flush(LIMIT)?;
    let settings = tenant.settings()?;
    let seen = librdkafka::read_all(&tenant.bootstrap(), &settings.list(), "orders")?;
    assert_eq!(seen, ["before", "meanwhile", "after"]);
    Ok(())
}
