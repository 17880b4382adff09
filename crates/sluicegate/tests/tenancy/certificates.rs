//! Who comes in by a certificate, and to where.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cert::PemFiles;
use testkit::dirs::Scratch;
use testkit::driver::{Client, Task};
use testkit::{Access, Error, GatewayOptions, Listener, Release, Result, wait};
use wire::api::ApiKey;

use crate::ask;
use crate::world::{Front, LIMIT, Tenant, World, client, fresh_name, gateway_options};

/// Operations of access control lists.
const READ: i8 = 3;
const WRITE: i8 = 4;
const DESCRIBE: i8 = 8;

#[test]
fn certificates_lead_into_virtual_clusters() -> Result<()> {
    let world = World::get()?;
    let scratch = Scratch::new("certificates")?;
    let (one, two) = (world.guarded("amber")?, world.tenant("ochre")?);
    for tenant in [&one, &two] {
        ask::topic(&mut tenant.root()?, &format!("of-{}", tenant.name), 1)?;
    }
    let (of_one, of_two) = (format!("of-{}", one.name), format!("of-{}", two.name));
    let outside = fresh_name("of-the-outside");
    ask::topic(&mut world.brokers(), &outside, 1)?;
    let [carol, erin, dave] = ["carol", "erin", "dave"].map(fresh_name);
    let front = Front::start(options(world, scratch.path())?)?;
    // As its subject is, and as a rule makes it.
    let api = &front.api;
    api.external_account(&one.name, "clerk", &format!("CN={carol}"))?;
    api.external_account(&two.name, "clerk", &erin)?;
    // Lists know the friendly name only, but for whom nobody has given one.
    let may = |tenant: &Tenant<'_>, who: &str, topic: &str, operations: &[i8]| -> Result<()> {
        let entry = |operation: &i8| {
            json!({
                "ResourceType": 2, "ResourceName": topic, "ResourcePatternType": 3,
                "Principal": format!("User:{who}"), "Host": "*",
                "Operation": operation, "PermissionType": 3,
            })
        };
        let all: Vec<Value> = operations.iter().map(entry).collect();
        let body = json!({ "Creations": all });
        tenant
            .root()?
            .must(1, ApiKey::CREATE_ACLS, 3, &body)
            .map(drop)
    };
    may(&one, "clerk", &of_one, &[READ, WRITE])?;
    let anybody = world.passthrough();
    may(&anybody, &format!("CN={dave}"), &outside, &[DESCRIBE])?;

    let show = |common_name: &str| show(world, scratch.path(), common_name);
    let (carol, dave) = (show(&carol)?, show(&dave)?);
    let erin = show(&format!("staff-{erin}"))?;
    let at = |pem: &PemFiles| access(&front, pem);
    for kind in [Client::Java(Release::V4_3), Client::Librdkafka] {
        for (who, topic) in [(&carol, &of_one), (&erin, &of_two)] {
            let come = || client(kind)?.run(Task::RoundTrip, topic, &at(who));
            wait::until("the lists to be in force", LIMIT, || {
                let report = come()?;
                Ok(report.ok.then_some(()))
            })?;
        }
    }
    // Nobody's topics but those of where one is.
    sees(&at(&dave), &outside)?;
    none_sees(&[
        (at(&carol), &of_two),
        (at(&carol), &outside),
        (at(&erin), &of_one),
        (at(&dave), &of_one),
        (at(&dave), &of_two),
    ])?;

    // Without the account it is a stranger like others.
    api.delete_account(&one.name, "clerk")?;
    none_sees(&[(at(&carol), &of_one)])?;

    // And strangers are refused where everybody has to have a virtual cluster.
    let strict = options(world, scratch.path())?;
    let strict = strict.env("GATEWAY_FEATURE_FLAGS_MANDATORY_VCLUSTER", "true");
    let strict = Front::start(strict)?;
    sees(&access(&strict, &erin), &of_two)?;
    for (who, topic) in [(&dave, &outside), (&carol, &of_one)] {
        let before = refused(&strict)?;
        none_sees(&[(access(&strict, who), topic)])?;
        assert!(refused(&strict)? > before, "{topic}");
    }
    Ok(())
}

/// A gateway that knows its clients by their certificates.
fn options(world: &World, dir: &Path) -> Result<GatewayOptions> {
    let authority = world.cluster.authority();
    let server = authority.write_pem(&authority.issue_server(&["127.0.0.1"])?, dir, "server")?;
    let rules = "RULE:^CN=staff-(.*)$/$1/,DEFAULT";
    Ok(
        gateway_options(&world.cluster.bootstrap(Listener::Plaintext))
            .without("GATEWAY_USER_POOL_SECRET_KEY")
            .env("GATEWAY_SECURITY_PROTOCOL", "SSL")
            .env("GATEWAY_SSL_CLIENT_AUTH", "REQUIRE")
            .env("GATEWAY_SSL_PRINCIPAL_MAPPING_RULES", rules)
            .env("GATEWAY_SSL_KEY_STORE_PATH", &text(&server.key))
            .env("GATEWAY_SSL_TRUST_STORE_PATH", &text(&server.trust)),
    )
}

/// A certificate of somebody.
fn show(world: &World, dir: &Path, common_name: &str) -> Result<PemFiles> {
    let authority = world.cluster.authority();
    authority.write_pem(&authority.issue_client(common_name)?, dir, common_name)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Somebody with a certificate, in the words of either client.
fn access(front: &Front, pem: &PemFiles) -> Access {
    let (key, trust) = (text(&pem.key), text(&pem.trust));
    Access::new(&front.doors[&1])
        .java(&[
            ("security.protocol", "SSL"),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &key),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &trust),
        ])
        .librdkafka(&[
            ("security.protocol", "SSL"),
            ("ssl.ca.location", &trust),
            ("ssl.certificate.location", &key),
            ("ssl.key.location", &key),
        ])
}

fn sees(access: &Access, topic: &str) -> Result<()> {
    let report = client(Client::Librdkafka)?.run(Task::Authenticate, topic, access)?;
    match report.ok {
        true => Ok(()),
        false => Err(Error::Answer(format!("{topic}: {}", report.text))),
    }
}

/// Nobody is told of the partitions of the topic.
fn none_sees(tries: &[(Access, &String)]) -> Result<()> {
    let mut given = Vec::new();
    for (access, topic) in tries {
        let access = access.clone().patience(Duration::from_secs(2));
        let task = client(Client::Librdkafka)?.give(Task::Authenticate, topic, &access)?;
        given.push((topic, task));
    }
    for (topic, task) in given {
        assert!(!task.wait()?.ok, "{topic}");
    }
    Ok(())
}

/// How often somebody was sent away because of having no virtual cluster.
fn refused(front: &Front) -> Result<f64> {
    front.metric(
        "gateway_failed_authentications_detail_total{mechanism=\"SSL\",reason=\"vcluster_mandatory\"}",
    )
}
