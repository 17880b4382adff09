//! The kit itself, against real Kafka.

use std::time::Duration;
use testkit::{
    ClusterOptions, JavaTool, KafkaCluster, Listener, Release, Result, Tool, librdkafka, shared,
};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn every_listener_of_the_current_line_works() -> Result<()> {
    let cluster = shared::cluster(Release::V4_3)?;
    let client = cluster.authority().issue_client("someone")?;
    let stores = cluster
        .authority()
        .write_stores(&client, cluster.dir(), "someone")?;
    let path = |path: &std::path::Path| path.display().to_string();
    let trust = [
        ("ssl.truststore.location", path(&stores.trust_jks)),
        ("ssl.truststore.type", "JKS".to_owned()),
        (
            "ssl.truststore.password",
            testkit::cert::STORE_PASSWORD.to_owned(),
        ),
    ];
    let own_p12 = [
        ("ssl.keystore.location", path(&stores.key_p12)),
        ("ssl.keystore.type", "PKCS12".to_owned()),
        (
            "ssl.keystore.password",
            testkit::cert::STORE_PASSWORD.to_owned(),
        ),
    ];
    let module = "org.apache.kafka.common.security";
    let login = "required username=\"alice\" password=\"alice-secret\";";
    let plain = [
        ("sasl.mechanism", "PLAIN".to_owned()),
        (
            "sasl.jaas.config",
            format!("{module}.plain.PlainLoginModule {login}"),
        ),
    ];
    let scram = [
        ("sasl.mechanism", "SCRAM-SHA-512".to_owned()),
        (
            "sasl.jaas.config",
            format!("{module}.scram.ScramLoginModule {login}"),
        ),
    ];
    let cases = [
        (Listener::Plaintext, vec![]),
        (Listener::Relayed, vec![]),
        (Listener::Ssl, trust.to_vec()),
        (Listener::MutualTls, [&trust[..], &own_p12].concat()),
        (Listener::SaslPlaintext, plain.to_vec()),
        (Listener::SaslSsl, [&trust[..], &scram].concat()),
    ];
    let topic = shared::unique("listeners");
    librdkafka::create_topic(&cluster.bootstrap(Listener::Plaintext), &topic, 1)?;
    for (listener, settings) in cases {
        let mut tool = JavaTool::new(
            Tool::ConsoleProducer,
            Release::V4_3,
            &cluster.bootstrap(listener),
        )
        .args(&["--topic", &topic])
        .config("security.protocol", listener.security_protocol())
        .input(&format!("{listener:?}\n"));
        for (key, value) in &settings {
            tool = tool.config(key, value);
        }
        tool.run(LIMIT)?;
    }
    let mut values = librdkafka::consume(
        &cluster.bootstrap(Listener::Plaintext),
        &[],
        &shared::unique("listeners"),
        &topic,
        Listener::ALL.len(),
    )?;
    values.sort();
    let mut expected = Listener::ALL.map(|listener| format!("{listener:?}"));
    expected.sort();
    assert_eq!(values, expected);
    Ok(())
}

#[test]
fn a_client_that_bypasses_the_gateway_is_found() -> Result<()> {
    let cluster = KafkaCluster::start_with(ClusterOptions::new(Release::V3_9).node_ids(&[1]))?;
    cluster.assert_only_gateway_connects()?;
    let bootstrap = cluster.bootstrap(Listener::Relayed);
    librdkafka::create_topic(&bootstrap, "bypass", 1)?;
    let error = cluster.assert_only_gateway_connects().unwrap_err();
    assert!(error.to_string().contains("not from a gateway"), "{error}");
    Ok(())
}

#[test]
fn brokers_stop_move_and_freeze() -> Result<()> {
    let cluster = shared::exclusive(Release::V4_3)?;
    let bootstrap = cluster.bootstrap(Listener::Plaintext);
    let topic = shared::unique("moves");
    librdkafka::create_topic(&bootstrap, &topic, 3)?;
    let before = cluster.addresses(Listener::Plaintext);
    cluster.restart_on_new_ports(2)?;
    let after = cluster.addresses(Listener::Plaintext);
    assert_ne!(before[&2], after[&2]);
    assert_eq!(before[&1], after[&1]);

    cluster.kill(3);
    testkit::wait::until_true("the dead broker to be noticed", LIMIT, || {
        cluster.view().is_ok_and(|view| view.brokers.len() == 2)
    })?;
    cluster.start_broker(3)?;
    cluster.freeze(1);
    let others = format!("{},{}", after[&2], after[&3]);
    testkit::wait::until_true("the frozen broker to be noticed", LIMIT, || {
        testkit::raw::metadata(&after[&2]).is_ok_and(|view| view.brokers.len() == 2)
    })?;
    librdkafka::produce(&others, &[], &topic, ["while frozen".to_owned()])?;
    cluster.thaw(1);
    cluster.wait_ready()?;
    cluster.wait_in_sync()
}

#[test]
fn a_broker_can_join() -> Result<()> {
    let cluster = KafkaCluster::start_with(ClusterOptions::new(Release::V4_3).node_ids(&[100]))?;
    cluster.add_broker(200)?;
    assert_eq!(cluster.node_ids(), [100, 200]);
    assert_eq!(cluster.view()?.brokers.len(), 2);
    Ok(())
}
