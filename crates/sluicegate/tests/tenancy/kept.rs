//! The topics in which the gateway keeps what it is told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::rdkafka::error::KafkaError;
use testkit::rdkafka::{Message, Offset, TopicPartitionList};
use testkit::{Error, Listener, Result, librdkafka, shared, wait};
use wire::api::ApiKey;

use crate::ask::{self, code};
use crate::caller::Caller;
use crate::stop::Stop;
use crate::world::{Front, LIMIT, ROOT, Tenant, World, fresh_name};

/// A gateway that shares its topics with no other.
struct Apart {
    id: String,
    front: Front,
}

impl Apart {
    fn start(world: &World) -> Result<Apart> {
        let id = shared::unique("apart");
        let options = world.gateway_options(Listener::Plaintext);
        let front = Front::start(options.env("GATEWAY_CLUSTER_ID", &id))?;
        Ok(Apart { id, front })
    }

    /// The topic that holds a kind of entry.
    fn topic(&self, kind: &str) -> String {
        format!("_conduktor_{}_{kind}", self.id)
    }

    /// A virtual cluster where `clerk` may use the topic `orders`, and there is another one.
    fn guarded(&self) -> Result<Tenant<'_>> {
        let spec = json!({ "aclEnabled": true, "aclMode": "KAFKA_API", "superUsers": [ROOT] });
        let tenant = self.front.tenant(&fresh_name("guarded"), spec)?;
        let mut root = tenant.root()?;
        for name in ["orders", "secret"] {
            ask::topic(&mut root, name, 1)?;
        }
        let bindings = [READ, WRITE].map(|operation| binding("orders", operation));
        root.must(1, ApiKey::CREATE_ACLS, 3, &json!({ "Creations": bindings }))?;
        tenant.account("clerk")?;
        Ok(tenant)
    }

    /// What a gauge says of a kind.
    fn gauge(&self, name: &str, kind: &str) -> Result<f64> {
        self.front.metric(&format!("{name}{{type=\"{kind}\"}}"))
    }
}

const READ: i8 = 3;
const WRITE: i8 = 4;

/// `clerk` may do this with a topic.
fn binding(topic: &str, operation: i8) -> Value {
    json!({
        "ResourceType": 2, "ResourceName": topic, "ResourcePatternType": 3,
        "Principal": "User:clerk", "Host": "*", "Operation": operation, "PermissionType": 3,
    })
}

/// A filter for the list entries of a topic.
fn of_topic(topic: &str) -> Value {
    json!({ "Filters": [{
        "ResourceTypeFilter": 2, "ResourceNameFilter": topic, "PatternTypeFilter": 3,
        "PrincipalFilter": null, "HostFilter": null, "Operation": 1, "PermissionType": 1,
    }] })
}

/// Topics of the gateway vanish while clients work: whoever was allowed to do something still is, nobody else is, and
/// operators are told.
#[test]
fn what_was_kept_stays_in_force_without_its_topics() -> Result<()> {
    const BROKEN: &str = "gateway_state_store_broken";
    let world = World::get()?;
    let apart = Apart::start(world)?;
    let tenant = apart.guarded()?;
    let other = apart.front.tenant(&fresh_name("other"), json!({}))?;
    ask::topic(&mut other.root()?, "theirs", 1)?;
    let api = &apart.front.api;
    api.alias(&tenant.name, "alias", &other.physical("theirs"))?;
    let sizes = || -> Result<Vec<f64>> {
        let kinds = ["acls", "vclusters", "usermappings", "topicmappings"];
        let size = |kind| apart.gauge("gateway_kcache_size", kind);
        kinds.into_iter().map(size).collect()
    };
    let before = sizes()?;
    assert_eq!(before, [2.0, 2.0, 3.0, 1.0]);

    let (stop, rounds) = (Stop::default(), AtomicU64::new(0));
    let goes_on = || {
        let seen = rounds.load(Ordering::Relaxed);
        wait::until_true("clients to go on", LIMIT, || {
            rounds.load(Ordering::Relaxed) > seen + 3
        })
    };
    std::thread::scope(|scope| -> Result<()> {
        let stopping = stop.on_drop();
        let load = scope.spawn(|| -> Result<()> {
            while !stop.flag().load(Ordering::Relaxed) {
                still_in_force(&tenant, &other)?;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let disturb = || -> Result<()> {
            goes_on()?;
            for kinds in [&["acls"][..], &["vclusters", "usermappings"]] {
                for kind in kinds {
                    assert_eq!(apart.gauge(BROKEN, kind)?, 0.0, "{kind}");
                }
                delete(
                    &mut world.brokers(),
                    kinds.iter().map(|kind| apart.topic(kind)),
                )?;
                for kind in kinds {
                    wait::until(&format!("an alarm for {kind}"), LIMIT, || {
                        Ok((apart.gauge(BROKEN, kind)? == 1.0).then_some(()))
                    })?;
                    let log = apart.front.log();
                    let topic = apart.topic(kind);
                    let told = |line: &str| {
                        line.contains("a state topic is broken") && line.contains(&topic)
                    };
                    assert!(log.lines().any(told), "{topic}: {log}");
                }
                goes_on()?;
            }
            assert_eq!(apart.gauge(BROKEN, "topicmappings")?, 0.0);
            assert_eq!(sizes()?, before);
            changes_are_refused(&apart, &tenant)?;
            goes_on()
        };
        let outcome = disturb();
        drop(stopping);
        let load = load.join();
        load.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        outcome
    })
}

fn delete(brokers: &mut Caller, names: impl Iterator<Item = String>) -> Result<()> {
    let topics: Vec<Value> = names.map(|name| json!({ "Name": name })).collect();
    let body = json!({ "Topics": topics, "TimeoutMs": 30_000 });
    brokers.must(1, ApiKey::DELETE_TOPICS, 6, &body).map(drop)
}

/// Somebody comes in, may do what is allowed, nothing else, and sees nothing of others.
fn still_in_force(tenant: &Tenant<'_>, other: &Tenant<'_>) -> Result<()> {
    let (mut clerk, mut root) = (tenant.caller("clerk")?, tenant.root()?);
    let theirs = other.physical("theirs");
    assert_eq!(
        ask::lookup(&mut clerk, &["orders", "secret", &theirs])?,
        [
            0,
            code::TOPIC_AUTHORIZATION_FAILED,
            code::TOPIC_AUTHORIZATION_FAILED
        ]
    );
    for (topic, expected) in [("orders", 0), ("secret", code::TOPIC_AUTHORIZATION_FAILED)] {
        let body = ask::production(topic, 0, &crate::records::batch(1, "one"));
        let answer = clerk.ask(1, ApiKey::PRODUCE, 9, &body)?;
        let answered = &answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"];
        assert_eq!(*answered, expected, "{topic}: {answer}");
    }
    assert_eq!(ask::topics(&mut root)?, ["alias", "orders", "secret"]);
    assert_eq!(ask::topics(&mut other.root()?)?, ["theirs"]);
    assert!(tenant.impostor("clerk").client(1).is_err(), "no token");
    Ok(())
}

fn changes_are_refused(apart: &Apart, tenant: &Tenant<'_>) -> Result<()> {
    let api = &apart.front.api;
    let name = fresh_name("late");
    let metadata = json!({ "name": name });
    let (status, answer) = api.put_now("VirtualCluster", metadata, json!({}))?;
    assert_eq!(status, 503, "{answer}");
    let metadata = json!({ "vCluster": tenant.name, "name": "late" });
    let (status, answer) = api.put_now(
        "GatewayServiceAccount",
        metadata,
        json!({ "type": "LOCAL" }),
    )?;
    assert_eq!(status, 503, "{answer}");
    let clerk = json!({ "vCluster": tenant.name, "name": "clerk" });
    let (status, answer) = api.call("DELETE", "/gateway/v2/service-account", &clerk)?;
    assert_eq!(status, 503, "{answer}");
    let allow = json!({ "Creations": [binding("secret", READ)] });
    let answer = tenant.root()?.ask(1, ApiKey::CREATE_ACLS, 3, &allow)?;
    assert_ne!(ask::ints(&answer["Results"], "ErrorCode"), [0], "{answer}");
    let path = format!("/gateway/v2/virtual-cluster/{}", tenant.name);
    assert_eq!(api.call("GET", &path, &Value::Null)?.0, 200);
    assert_eq!(api.call("GET", "/health/ready", &Value::Null)?.0, 200);
    Ok(())
}

/// What is counted is what a reader of the topics finds.
#[test]
fn entries_are_counted_as_they_are_kept() -> Result<()> {
    let world = World::get()?;
    let apart = Apart::start(world)?;
    let kinds = [
        "vclusters",
        "usermappings",
        "acls",
        "topicmappings",
        "groups",
        "interceptor_configs",
    ];
    let bootstrap = world.broker_bootstrap();
    let agree = |what: &str, expected: [usize; 6]| -> Result<()> {
        for (kind, expected) in kinds.into_iter().zip(expected) {
            let kept = live_keys(&bootstrap, &apart.topic(kind))?.len();
            let counted = apart.gauge("gateway_kcache_size", kind)?;
            assert_eq!(
                (kept, counted),
                (expected, expected as f64),
                "{what}: {kind}"
            );
        }
        Ok(())
    };
    agree("nothing", [0; 6])?;

    let api = &apart.front.api;
    let tenant = apart.guarded()?;
    let name = tenant.name.as_str();
    let spare = fresh_name("spare");
    api.virtual_cluster(&spare, json!({}))?;
    for user in ["one", "two"] {
        api.account(name, user)?;
    }
    api.external_account(name, "three", &fresh_name("subject"))?;
    let target = tenant.physical("orders");
    for alias in ["left", "right", "middle"] {
        api.alias(name, alias, &target)?;
    }
    let group = |group: &str, members: Value| -> Result<()> {
        let metadata = json!({ "name": group });
        match api.put("GatewayGroup", metadata, json!({ "members": members }))? {
            (200, _) => Ok(()),
            (status, answer) => Err(Error::Answer(format!("{status}: {answer}"))),
        }
    };
    group("first", json!([{ "vCluster": name, "name": "one" }]))?;
    group("second", json!([{ "vCluster": name, "name": "two" }]))?;
    let mut root = tenant.root()?;
    let allow = json!({ "Creations": [binding("secret", READ), binding("secret", WRITE)] });
    root.must(1, ApiKey::CREATE_ACLS, 3, &allow)?;
    let all = [2, 5, 4, 3, 2, 0];
    agree("all", all)?;

    // The same once more, and other contents of the same.
    api.account(name, "one")?;
    api.alias(name, "left", &tenant.physical("secret"))?;
    root.must(1, ApiKey::CREATE_ACLS, 3, &allow)?;
    group("first", json!([{ "vCluster": name, "name": "two" }]))?;
    agree("changed", all)?;

    api.must("DELETE", "/gateway/v2/group/second", &Value::Null)?;
    api.delete_account(name, "one")?;
    let middle = json!({ "vCluster": name, "name": "middle" });
    api.must("DELETE", "/gateway/v2/alias-topic", &middle)?;
    root.must(1, ApiKey::DELETE_ACLS, 3, &of_topic("secret"))?;
    // Its name stays, so that nobody else gets its topics.
    let path = format!("/gateway/v2/virtual-cluster/{spare}");
    api.must("DELETE", &path, &Value::Null)?;
    agree("less", [2, 4, 2, 2, 1, 0])?;
    assert_eq!(
        apart.front.metric("gateway_lived_event_vclusters_total")?,
        1.0
    );
    Ok(())
}

/// Keys of a topic whose last committed record has a value.
fn live_keys(bootstrap: &str, topic: &str) -> Result<BTreeSet<Vec<u8>>> {
    let settings = [
        ("group.id", "unused"),
        ("enable.auto.commit", "false"),
        ("enable.partition.eof", "true"),
        ("isolation.level", "read_committed"),
    ];
    let consumer: BaseConsumer = librdkafka::config(bootstrap, &settings).create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let mut live = BTreeSet::new();
    wait::until(&format!("the end of {topic}"), LIMIT, || {
        loop {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    let key = message.key().unwrap_or_default().to_vec();
                    match message.payload() {
                        Some(_) => live.insert(key),
                        None => live.remove(&key),
                    };
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Some(())),
                Some(Err(_)) | None => return Ok(None),
            }
        }
    })?;
    Ok(live)
}
