//! Row 9, and rows 23 to 25, where clients share connections to brokers and know topics under other names.

use testkit::raw::RawClient;
use testkit::{Error, Result, librdkafka};
use wire::api::ApiKey;

use crate::identities::{account, login_to, put, token};
use crate::records::batch;
use crate::topics::{
    DOWN, ENDS, UP, assert_part_of_all, bytes, call, end, fetch, fetched, id, produce, topic,
};
use crate::world::{METADATA, world};

const POOLED: (&str, &str) = ("GATEWAY_UPSTREAM_CONNECTION_POOL_TYPE", "ROUND_ROBIN");
const IN_USE: &str = "gateway_brokered_active_connections";

#[test]
fn clients_share_as_many_connections_as_are_allowed() -> Result<()> {
    const CLIENTS: usize = 50;
    const SHARED: f64 = 5.0;
    let world = world()?;
    let shared = world.front(&[POOLED, ("GATEWAY_UPSTREAM_NUM_CONNECTION", "5")])?;
    let own = world.front(&[])?;
    for (front, expected) in [(&shared, SHARED), (&own, CLIENTS as f64)] {
        assert_eq!(front.scrape()?.get(IN_USE), 0.0, "nobody is there");
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = front.connect()?;
            client.call(METADATA)?;
            clients.push(client);
        }
        let during = front.eventually("what they use", |scrape| scrape.get(IN_USE) == expected)?;
        let all = during.get("gateway_upstream_connections_upstream_connected");
        assert!(during.get(IN_USE) <= all, "{all}");
        assert_eq!(
            during.get("gateway_backend_brokered_active_connections"),
            1.0
        );
        drop(clients);
        front.eventually("nothing to be used", |scrape| scrape.get(IN_USE) == 0.0)?;
    }
    Ok(())
}

#[test]
fn an_alias_over_shared_connections_is_a_topic_of_its_own() -> Result<()> {
    const VCLUSTER: &str = "alias-";
    const ALIAS: &str = "another-name";
    const GROUP: &str = "alias-readers";
    const IN_VCLUSTER: &str = "vcluster=\"alias-\"";
    let world = world()?;
    let front = world.secured_front(&[
        POOLED,
        ("GATEWAY_UPSTREAM_NUM_CONNECTION", "1"),
        ("GATEWAY_METRICS_OFFSET_POLL_MS", "500"),
    ])?;
    let metadata = format!(r#"{{"name":"{VCLUSTER}"}}"#);
    put(&front, "VirtualCluster", "virtual-cluster", &metadata, "{}")?;
    account(&front, VCLUSTER, "alias-app")?;
    let token = token(&front, VCLUSTER, "alias-app")?;
    let (target, leader) = topic(&world, &[])?;
    let metadata = format!(r#"{{"vCluster":"{VCLUSTER}","name":"{ALIAS}"}}"#);
    let spec = format!(r#"{{"physicalName":"{target}"}}"#);
    put(&front, "AliasTopic", "alias-topic", &metadata, &spec)?;

    // In turn, over the same connection to the broker, by name and by id.
    let log_in = || -> Result<RawClient> {
        match login_to(&front, leader, "alias-app", &token)? {
            (client, true) => Ok(client),
            (_, false) => Err(Error::Answer("the gateway refuses the login".to_owned())),
        }
    };
    let mut clients = [log_in()?, log_in()?];
    let id = id(&mut clients[0], ALIAS)?;
    let (mut sent, mut records_sent) = (0, 0);
    for (round, version) in [3, 9, 12, 13].into_iter().enumerate() {
        for (n, client) in clients.iter_mut().enumerate() {
            let records = batch(2, &"x".repeat(100 * (round + 1) + n));
            let request = produce(ALIAS, &id, version, 1, &records);
            let answer = call(client, ApiKey::PRODUCE, version, &request)?;
            let partition = &answer["Responses"][0]["PartitionResponses"][0];
            assert_eq!(partition["ErrorCode"], 0, "v{version}: {answer}");
            sent += records.len();
            records_sent += 2;
        }
    }
    front.eventually("one connection for both", |scrape| {
        bytes(scrape, ALIAS, UP) == sent as f64 && scrape.get(IN_USE) == 1.0
    })?;
    // Fetches take a connection of their own.
    let mut received = 0;
    for version in [4, 12, 13, 17] {
        for client in &mut clients {
            let request = fetch(ALIAS, &id, version, i64::from(version) / 2);
            let answer = call(client, ApiKey::FETCH, version, &request)?;
            assert!(fetched(&answer) > 0, "v{version}: {answer}");
            received += fetched(&answer);
        }
    }
    let ends = format!("{ENDS}{{vcluster=\"{VCLUSTER}\",topic=\"{ALIAS}\",partition=\"0\"}}");
    let scrape = front.eventually("all of it", |scrape| {
        bytes(scrape, ALIAS, UP) == sent as f64 && bytes(scrape, ALIAS, DOWN) == received as f64
    })?;
    assert_eq!(bytes(&scrape, ALIAS, IN_VCLUSTER), (sent + received) as f64);
    assert_eq!(scrape.get(&ends), f64::from(records_sent));
    assert_eq!(scrape.get(&ends), end(&world, &target, 0)?);
    assert_part_of_all(&scrape);

    // A group of the virtual cluster, and what somebody else writes to the target.
    let through = front.gateway.bootstrap();
    let login = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "alias-app"),
        ("sasl.password", token.as_str()),
    ];
    let read = librdkafka::consume(&through, &login, GROUP, ALIAS, records_sent as usize)?;
    assert_eq!(read.len(), records_sent as usize);
    librdkafka::produce(
        &world.kafka(),
        &[],
        &target,
        ["behind", "it"].map(str::to_owned),
    )?;
    let of_group = format!("vcluster=\"{VCLUSTER}\",group=\"{GROUP}\",topic=\"{ALIAS}\"");
    let commits = format!("gateway_topic_current_offset{{{of_group},partition=\"0\"}}");
    let lag = format!("gateway_consumer_lag{{{of_group}}}");
    let now = end(&world, &target, 0)?;
    assert_eq!(now, f64::from(records_sent) + 2.0);
    let scrape = front.eventually("what the poll finds", |scrape| {
        scrape.get(&ends) == now
            && scrape.get(&commits) == f64::from(records_sent)
            && scrape.get(&lag) == 2.0
    })?;
    let named: Vec<_> = scrape.series().filter(|s| s.contains(&target)).collect();
    assert!(named.is_empty(), "{named:?}");
    Ok(())
}
