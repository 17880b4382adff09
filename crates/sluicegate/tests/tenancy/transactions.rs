//! Transactional ids of the same name, and exactly-once copies inside a virtual cluster.

use serde_json::{Value, json};
use testkit::driver::{Client, Driver, Task};
use testkit::{Release, Result, librdkafka, wait};
use wire::api::ApiKey;

use crate::ask::{self, Kind, code};
use crate::caller::Caller;
use crate::scale;
use crate::world::{LIMIT, World, java};

const READ_COMMITTED: (&str, &str) = ("isolation.level", "read_committed");

#[test]
fn transactional_ids_of_the_same_name_do_not_meet() -> Result<()> {
    let world = World::get()?;
    let (one, two) = (world.tenant("payer")?, world.tenant("payee")?);
    let (mut a, mut b) = (one.root()?, two.root()?);
    let (node, producer, epoch) = ask::init_producer(&mut a, "pay")?;
    ask::topic(&mut a, "orders", 1)?;
    let started = json!({
        "V3AndBelowTransactionalId": "pay",
        "V3AndBelowProducerId": producer,
        "V3AndBelowProducerEpoch": epoch,
        "V3AndBelowTopics": [{ "Name": "orders", "Partitions": [0] }],
    });
    a.must(node, ApiKey::ADD_PARTITIONS_TO_TXN, 3, &started)?;
    // Whoever takes the same id elsewhere does not end it.
    for _ in 0..3 {
        ask::init_producer(&mut b, "pay")?;
    }
    ask::init_producer(&mut b, "pay-others")?;
    a.must(node, ApiKey::ADD_PARTITIONS_TO_TXN, 3, &started)?;
    let described = describe(&mut a, "pay")?;
    assert_eq!(described["TransactionState"], "Ongoing", "{described}");
    assert_eq!(described["ProducerId"], producer);
    assert_eq!(ask::texts(&described["Topics"], "Topic"), ["orders"]);

    for pattern in [Value::Null, json!(".*"), json!("pay.*")] {
        assert_eq!(
            ask::transactional_ids(&mut a, pattern.clone())?,
            ["pay"],
            "{pattern}"
        );
        let theirs = ask::transactional_ids(&mut b, pattern)?;
        assert_eq!(theirs, ["pay", "pay-others"]);
    }
    for pattern in [
        one.physical("pay"),
        two.physical("pay"),
        format!("{}.*", one.name),
    ] {
        let found = ask::transactional_ids(&mut a, json!(pattern))?;
        assert_eq!(found, Vec::<String>::new(), "{pattern}");
    }
    for unknown in ["pay-others".to_owned(), two.physical("pay")] {
        let described = describe(&mut a, &unknown)?;
        assert_eq!(
            described["ErrorCode"],
            code::TRANSACTIONAL_ID_NOT_FOUND,
            "{described}"
        );
    }
    let all = ask::transactional_ids(&mut world.brokers(), Value::Null)?;
    for tenant in [&one, &two] {
        assert!(all.contains(&tenant.physical("pay")), "{all:?}");
    }
    Ok(())
}

fn describe(caller: &mut Caller, id: &str) -> Result<Value> {
    let node = ask::coordinator(caller, Kind::Transaction, id)?;
    let body = json!({ "TransactionalIds": [id] });
    let answer = caller.ask(node, ApiKey::DESCRIBE_TRANSACTIONS, 0, &body)?;
    let state = answer["TransactionStates"][0].clone();
    assert_eq!(state["TransactionalId"], *id, "{answer}");
    Ok(state)
}

/// A copier is killed in the middle and started again.
#[test]
fn exactly_once_survives_a_kill() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("copying")?;
    let mut root = tenant.root()?;
    ask::topic(&mut root, "input", 1)?;
    ask::topic(&mut root, "output", 3)?;
    // As many as the copier does in the time that a task has.
    let count = scale(300).min(1_500);
    let values = (0..count).map(|number| number.to_string());
    let settings = tenant.settings()?;
    librdkafka::produce(&tenant.bootstrap(), &settings.list(), "input", values)?;
    let end = count.to_string();
    let access = tenant.access()?.java(&[
        ("group.id", "copiers"),
        ("transactional.id", "copier"),
        ("to", "output"),
        ("end", &end),
    ]);
    let first = Driver::start(Client::Java(Release::V4_3), "driver")?;
    first.give(Task::Copy, "input", &access)?;
    wait::until_true("some records to be copied", LIMIT, || {
        ask::committed(&mut root, "copiers", "input").is_ok_and(|offset| offset > 0)
    })?;
    drop(first);
    let report = java()?.run(Task::Copy, "input", &access)?;
    assert!(report.ok, "{}", report.text);
    let committed = settings.with(READ_COMMITTED.0, READ_COMMITTED.1);
    let copied = librdkafka::read_all(&tenant.bootstrap(), &committed.list(), "output")?;
    let mut numbers: Vec<u64> = copied
        .iter()
        .filter_map(|value| value.parse().ok())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    let physical = ask::transactional_ids(&mut world.brokers(), json!(null))?;
    assert!(
        physical.contains(&tenant.physical("copier")),
        "{physical:?}"
    );
    assert!(!physical.contains(&"copier".to_owned()), "{physical:?}");
    Ok(())
}
