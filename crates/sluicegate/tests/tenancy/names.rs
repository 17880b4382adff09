//! Topics of the same name in several virtual clusters, and names that are not one's own.

use serde_json::{Value, json};
use testkit::driver::{Client, Task};
use testkit::{Release, Result, librdkafka};
use wire::api::ApiKey;

use crate::api::resource;
use crate::ask::{self, Kind, code};
use crate::caller::Caller;
use crate::world::{PASSTHROUGH, World, client, fresh_name};

#[test]
fn topics_of_the_same_name_do_not_meet() -> Result<()> {
    let world = World::get()?;
    let tenants = [world.tenant("blue")?, world.tenant("green")?];
    for tenant in &tenants {
        let mut root = tenant.root()?;
        ask::topic(&mut root, "orders", 2)?;
        assert_eq!(ask::topics(&mut root)?, ["orders"]);
        let values = (0..20).map(|number| format!("{}{number}", tenant.name));
        let settings = tenant.settings()?;
        librdkafka::produce(&tenant.bootstrap(), &settings.list(), "orders", values)?;
    }
    for tenant in &tenants {
        let settings = tenant.settings()?;
        let seen = librdkafka::read_all(&tenant.bootstrap(), &settings.list(), "orders")?;
        assert_eq!(seen.len(), 20);
        assert!(seen.iter().all(|value| value.starts_with(&tenant.name)));
    }
    let physical = ask::topics(&mut world.brokers())?;
    for tenant in &tenants {
        assert!(
            physical.contains(&tenant.physical("orders")),
            "{physical:?}"
        );
    }
    Ok(())
}

#[test]
fn clients_of_all_kinds_come_round() -> Result<()> {
    let world = World::get()?;
    let tenants = [world.tenant("north")?, world.tenant("south")?];
    for tenant in &tenants {
        ask::topic(&mut tenant.root()?, "orders", 3)?;
    }
    let mut given = Vec::new();
    for kind in [
        Client::Java(Release::V2_1),
        Client::Java(Release::V4_3),
        Client::Librdkafka,
    ] {
        for tenant in &tenants {
            let task = client(kind)?.give(Task::RoundTrip, "orders", &tenant.access()?)?;
            given.push((kind, task));
        }
    }
    for (kind, task) in given {
        let report = task.wait()?;
        assert!(report.ok, "{kind:?}: {}", report.text);
    }
    for tenant in &tenants {
        let count =
            librdkafka::record_count(&world.broker_bootstrap(), &tenant.physical("orders"))?;
        assert_eq!(count, 9, "three partitions, three clients");
    }
    Ok(())
}

#[test]
fn names_of_others_are_not_found() -> Result<()> {
    let world = World::get()?;
    let (own, other) = (world.tenant("asking")?, world.tenant("asked")?);
    ask::topic(&mut other.root()?, "orders", 1)?;
    ask::commit(&mut other.root()?, "group", "orders", 3)?;
    let mut root = own.root()?;
    let foreign = other.physical("orders");
    let longest = "l".repeat(249 - own.name.len());
    let too_long = format!("{longest}l");
    assert_eq!(
        ask::lookup(&mut root, &[&foreign])?,
        [code::UNKNOWN_TOPIC_OR_PARTITION]
    );
    for name in ["../", "", "no/name", ".", "..", &too_long, &"x".repeat(249)] {
        assert_eq!(
            ask::lookup(&mut root, &[name])?,
            [code::INVALID_TOPIC],
            "{name}"
        );
        assert_eq!(
            ask::create(&mut root, name, 1)?,
            code::INVALID_TOPIC,
            "{name}"
        );
    }
    assert_eq!(
        ask::create(&mut root, "__consumer_offsets", 1)?,
        code::INVALID_TOPIC
    );
    assert_eq!(ask::create(&mut root, &longest, 1)?, 0);
    assert_eq!(ask::topics(&mut root)?, [longest]);
    assert_eq!(ask::end(&mut root, 1, &foreign, 0)?, None);
    let produced = root.ask(
        1,
        ApiKey::PRODUCE,
        9,
        &ask::production(&foreign, 0, &crate::records::batch(1, "foreign")),
    )?;
    let answered = &produced["Responses"][0]["PartitionResponses"][0]["ErrorCode"];
    assert_eq!(*answered, code::UNKNOWN_TOPIC_OR_PARTITION, "{produced}");
    let foreign_group = other.physical("group");
    assert_eq!(ask::committed(&mut root, &foreign_group, "orders")?, -1);
    assert_eq!(ask::committed(&mut root, "group", "orders")?, -1);
    Ok(())
}

#[test]
fn a_group_needs_a_name() -> Result<()> {
    let tenant = World::get()?.tenant("nameless")?;
    let mut root = tenant.root()?;
    ask::topic(&mut root, "orders", 1)?;
    let body = json!({ "KeyType": 0, "CoordinatorKeys": [""] });
    let answer = root.ask(1, ApiKey::FIND_COORDINATOR, 4, &body)?;
    assert_eq!(
        ask::ints(&answer["Coordinators"], "ErrorCode"),
        [code::INVALID_GROUP_ID]
    );
    let body = json!({
        "GroupId": "",
        "Topics": [{ "Name": "orders", "Partitions": [{ "PartitionIndex": 0, "CommittedOffset": 1 }] }],
    });
    for node in 1..=3 {
        let answer = root.ask(node, ApiKey::OFFSET_COMMIT, 2, &body)?;
        let answered = &answer["Topics"][0]["Partitions"][0]["ErrorCode"];
        assert_eq!(*answered, code::INVALID_GROUP_ID, "{answer}");
    }
    Ok(())
}

#[test]
fn the_longest_prefix_owns_a_name() -> Result<()> {
    let world = World::get()?;
    let short = world.tenant("over")?;
    let long = world
        .front
        .tenant(&format!("{}team", short.name), json!({}))?;
    let mut theirs = long.root()?;
    ask::topic(&mut theirs, "x", 1)?;
    ask::commit(&mut theirs, "x", "x", 1)?;
    ask::init_producer(&mut theirs, "x")?;
    let mut root = short.root()?;
    ask::topic(&mut root, "own", 1)?;
    refuses_names_of_the_longer(&mut root, &["teamx", "teamnew"])?;
    assert_eq!(ask::topics(&mut root)?, ["own"]);
    assert_eq!(ask::groups(&mut root)?, Vec::<String>::new());

    // What would change hands keeps a virtual cluster from being made.
    ask::topic(&mut root, "latex", 1)?;
    let put = |name: &str| {
        let made = world
            .front
            .api
            .put("VirtualCluster", json!({ "name": name }), json!({}));
        made.map(|(status, _)| status)
    };
    assert_eq!(put(&format!("{}late", short.name))?, 409, "a topic");
    ask::commit(&mut root, "lasting", "own", 1)?;
    assert_eq!(put(&format!("{}last", short.name))?, 409, "a group");
    ask::init_producer(&mut root, "ledger")?;
    assert_eq!(
        put(&format!("{}led", short.name))?,
        409,
        "a transactional id"
    );

    // Nobody inherits.
    world
        .front
        .api
        .delete_account(&long.name, crate::world::ROOT)?;
    let path = format!("/gateway/v2/virtual-cluster/{}", long.name);
    assert_eq!(world.front.api.call("DELETE", &path, &Value::Null)?.0, 204);
    assert_eq!(ask::topics(&mut root)?, ["latex", "own"]);
    assert_eq!(ask::groups(&mut root)?, ["lasting"]);
    refuses_names_of_the_longer(&mut root, &["teamx"])?;
    // Whoever makes it again finds everything.
    let again = world.front.tenant(&long.name, json!({}))?;
    assert_eq!(ask::topics(&mut again.root()?)?, ["x"]);
    Ok(())
}

fn refuses_names_of_the_longer(root: &mut Caller, names: &[&str]) -> Result<()> {
    for name in names {
        assert_eq!(ask::lookup(root, &[name])?, [code::INVALID_TOPIC], "{name}");
        assert_eq!(ask::create(root, name, 1)?, code::INVALID_TOPIC, "{name}");
        for (kind, refusal) in [
            (Kind::Group, code::INVALID_GROUP_ID),
            (
                Kind::Transaction,
                code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            ),
        ] {
            let body = json!({ "KeyType": kind as i8, "CoordinatorKeys": [name] });
            let answer = root.ask(1, ApiKey::FIND_COORDINATOR, 4, &body)?;
            assert_eq!(
                ask::ints(&answer["Coordinators"], "ErrorCode"),
                [refusal],
                "{name}"
            );
        }
    }
    Ok(())
}

#[test]
fn names_that_would_cover_others_cannot_be_taken() -> Result<()> {
    let world = World::get()?;
    let api = &world.front.api;
    let put = |name: &str| {
        let made = api.put("VirtualCluster", json!({ "name": name }), json!({}));
        made.map(|(status, _)| status)
    };
    for name in [
        "_x",
        "_",
        "__",
        PASSTHROUGH,
        "conduktor_gateway",
        "a/b",
        "",
        ".",
        "..",
    ] {
        assert_eq!(put(name)?, 400, "{name}");
    }
    let name = fresh_name("dotted");
    api.virtual_cluster(&format!("{name}a_b"), json!({}))?;
    assert_eq!(put(&format!("{name}a.b"))?, 409, "differs in a dot only");
    let (path, body) = resource("VirtualCluster", json!({ "name": name }), json!({}));
    let dry = api.must("PUT", &format!("{path}?dryMode=true"), &body)?;
    assert_eq!(dry["upsertResult"], "Created");
    let path = format!("{path}/{name}");
    assert_eq!(
        api.call("GET", &path, &Value::Null)?.0,
        404,
        "not made in dry mode"
    );
    Ok(())
}

#[test]
fn what_brokers_hold_under_the_prefix_is_in_the_virtual_cluster() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("later")?;
    let mut brokers = world.brokers();
    let id = ask::topic(&mut brokers, &tenant.physical("extra"), 1)?;
    ask::produce(&mut brokers, &tenant.physical("extra"), 3, "made outside")?;
    ask::commit(
        &mut brokers,
        &tenant.physical("readers"),
        &tenant.physical("extra"),
        2,
    )?;
    let mut root = tenant.root()?;
    assert_eq!(ask::topics(&mut root)?, ["extra"]);
    let answer = root.must(1, ApiKey::METADATA, 12, &ask::named(&["extra"]))?;
    assert_eq!(
        answer["Topics"][0]["TopicId"], *id,
        "plain topics keep their id"
    );
    assert_eq!(answer["Topics"][0]["IsInternal"], false);
    assert_eq!(ask::groups(&mut root)?, ["readers"]);
    assert_eq!(ask::committed(&mut root, "readers", "extra")?, 2);
    let settings = tenant.settings()?;
    let seen = librdkafka::read_all(&tenant.bootstrap(), &settings.list(), "extra")?;
    assert_eq!(seen, ["made outside"; 3]);
    Ok(())
}

#[test]
fn the_cluster_id_names_the_virtual_cluster() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("named")?;
    let id = world.cluster.cluster_id();
    let own = format!("{}@{id}", tenant.name);
    for (expected, mut root) in [
        (own.as_str(), tenant.root()?),
        (id, world.passthrough().root()?),
    ] {
        for version in 2..=12 {
            let answer = root.must(1, ApiKey::METADATA, version, &ask::named(&[]))?;
            assert_eq!(answer["ClusterId"], expected, "v{version}");
        }
        for version in 0..=2 {
            let answer = root.must(1, ApiKey::DESCRIBE_CLUSTER, version, &json!({}))?;
            assert_eq!(answer["ClusterId"], expected, "v{version}");
        }
    }
    Ok(())
}
