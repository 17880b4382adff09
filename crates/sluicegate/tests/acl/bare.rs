//! A gateway that may do nothing at the cluster, in front of clients that it does not authenticate.

use testkit::{GatewayOptions, Listener, Result, librdkafka, shared};

use crate::principals::{NONE, PUBLIC};
use crate::world::{PASSWORD, World};

#[test]
fn without_the_right_to_keep_anything_it_says_so_and_can_do_without() -> Result<()> {
    let world = World::get()?;
    let bootstrap = world.bootstrap(Listener::SaslPlaintext);
    let login = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{NONE}\" password=\"{PASSWORD}\";"
    );
    let options = GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), &bootstrap)
        .env("GATEWAY_CLUSTER_ID", &shared::unique("bare"))
        .env("GATEWAY_SECURITY_PROTOCOL", "PLAINTEXT")
        // As it is in zero-config mode: lists would be somebody's.
        .env("GATEWAY_ACL_ENABLED", "false")
        .env("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .env("KAFKA_SASL_MECHANISM", "PLAIN")
        .env("KAFKA_SASL_JAAS_CONFIG", &login);
    let mut keeping = options
        .clone()
        .env("GATEWAY_STORE_WITHOUT_AUTHENTICATION", "true")
        .launch()?;
    assert_eq!(keeping.wait_exit()?, 1, "{}", keeping.log());
    let log = keeping.log();
    assert!(
        log.contains("Kafka does not let the gateway see topic _conduktor_bare")
            && log.contains("set GATEWAY_STORE_WITHOUT_AUTHENTICATION=false"),
        "{log}"
    );

    let without = options
        .env("GATEWAY_STORE_WITHOUT_AUTHENTICATION", "false")
        .start()?;
    let topic = PUBLIC;
    librdkafka::produce(&without.bootstrap(), &[], topic, ["one".to_owned()])?;
    Ok(())
}
