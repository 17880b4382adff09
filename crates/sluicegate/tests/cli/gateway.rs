//! The commands against a gateway with the embedded broker.

use std::time::Duration;

use testkit::cert::Authority;
use testkit::dirs::Scratch;
use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::{Error, Gateway, GatewayOptions, Result, librdkafka, wait};

use crate::program::Program;

const LIMIT: Duration = Duration::from_secs(60);

const ADMIN: (&str, &str) = ("root", "r00t of the tests");

/// 32 bytes, base64.
const SIGNING_KEY: &str = "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM=";

/// A gateway whose clients log in with tokens of its own.
fn options() -> GatewayOptions {
    let (user, password) = ADMIN;
    GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), "unused")
        .without("KAFKA_BOOTSTRAP_SERVERS")
        .without("GATEWAY_MIN_BROKERID")
        .args(&["dev", "--brokers", "1"])
        .port_count(1)
        .env("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
        .env("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .env("GATEWAY_USER_POOL_SECRET_KEY", SIGNING_KEY)
        .env("GATEWAY_ACL_ENABLED", "false")
        .env(
            "GATEWAY_ADMIN_API_USERS",
            &format!("[{{username: {user}, password: '{password}', admin: true}}]"),
        )
}

/// Settings of a client that logs in with a token.
fn login<'a>(user: &'a str, token: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", token),
    ]
}

fn program(gateway: &Gateway, scheme: &str) -> Program {
    let url = format!("{scheme}://localhost:{}", gateway.http_port());
    Program::new(&url, ADMIN.0, ADMIN.1)
}

#[test]
fn accounts_and_tokens() -> Result<()> {
    let gateway = options().start()?;
    let program = program(&gateway, "http");
    let account = "\
kind: GatewayServiceAccount
apiVersion: gateway/v2
metadata:
  name: alice
spec:
  type: LOCAL
";
    let apply = |text: &str| program.output(&["apply", "-f", "-"], text);
    let run = program.run_with(&["apply", "--dry-run", "-f", "-"], account)?;
    assert_eq!(run.out, "GatewayServiceAccount/alice: Created\n");
    assert_eq!(apply(account)?, "GatewayServiceAccount/alice: Created\n");
    assert_eq!(apply(account)?, "GatewayServiceAccount/alice: NotChanged\n");
    let shown = program.output(&["get", "GatewayServiceAccount", "alice"], "")?;
    let in_full = account.replace("name: alice\n", "name: alice\n  vCluster: passthrough\n");
    assert_eq!(shown, in_full);
    assert_eq!(
        apply(&in_full)?,
        "GatewayServiceAccount/alice: NotChanged\n"
    );
    let run = program.run_with(
        &["apply", "-f", "-"],
        &format!("{account}  comment: none\n"),
    )?;
    assert_eq!(
        (run.status, run.out.as_str()),
        (0, "GatewayServiceAccount/alice: NotChanged\n")
    );
    assert_eq!(
        run.err,
        "warning: GatewayServiceAccount/alice: the gateway ignored 'spec.comment'\n"
    );
    assert_eq!(
        program.output(&["get", "GatewayServiceAccount", "-o", "table"], "")?,
        "GatewayServiceAccount  VCLUSTER     TYPE   EXTERNAL\nalice                  passthrough  LOCAL  -\n"
    );

    let token = program.output(&["token", "--username", "alice", "--lifetime", "1h"], "")?;
    let client: BaseConsumer =
        librdkafka::config(&gateway.bootstrap(), &login("alice", token.trim_end())).create()?;
    assert!(!client.fetch_metadata(None, LIMIT)?.brokers().is_empty());

    let run = program.run(&["token", "--username", "nobody", "--lifetime", "1h"])?;
    assert_eq!((run.status, run.out.as_str()), (1, ""));
    assert!(run.err.contains("nobody"), "{}", run.err);

    let deleted = "GatewayServiceAccount/alice: Deleted\n";
    assert_eq!(
        program.output(&["delete", "GatewayServiceAccount", "alice"], "")?,
        deleted
    );
    let run = program.run_with(&["delete", "-f", "-"], account)?;
    assert_eq!((run.status, run.out.as_str()), (1, ""));
    assert!(
        run.err
            .starts_with("GatewayServiceAccount/alice: not deleted: "),
        "{}",
        run.err
    );

    let stranger = Program::new(
        &format!("http://localhost:{}", gateway.http_port()),
        "root",
        "guess",
    );
    let run = stranger.run(&["get", "GatewayServiceAccount"])?;
    assert_eq!((run.status, run.out.as_str()), (1, ""));
    assert!(run.err.contains("credentials"), "{}", run.err);
    Ok(())
}

/// Resources of every kind that can be stored, in an order in which they could not be created.
const EVERYTHING: &str = r#"
kind: GatewayGroup
apiVersion: gateway/v2
metadata: {name: team}
spec:
  members: [{name: alice, vCluster: billing}, {name: bob}]
  externalGroups: ["yes", "1.0", "null"]
---
kind: GatewayServiceAccount
apiVersion: gateway/v2
metadata: {name: alice, vCluster: billing}
spec: {type: LOCAL}
---
kind: AliasTopic
apiVersion: gateway/v2
metadata: {name: orders, vCluster: billing}
spec: {physicalName: shared.orders}
---
kind: VirtualCluster
apiVersion: gateway/v2
metadata: {name: "007"}
spec: {superUsers: ["on"]}
---
kind: VirtualCluster
apiVersion: gateway/v2
metadata: {name: billing}
spec:
  aclEnabled: true
  aclMode: REST_API
  acls:
    - resourcePattern: {resourceType: TOPIC, name: "*", patternType: LITERAL}
      principal: User:alice
      host: "*"
      operation: READ
      permissionType: ALLOW
"#;

#[test]
fn every_kind_there_and_back() -> Result<()> {
    let gateway = options().start()?;
    let program = program(&gateway, "http");
    let bob = "{kind: GatewayServiceAccount, apiVersion: gateway/v2, metadata: {name: bob}, spec: {type: LOCAL}}";
    program.output(&["apply", "-f", "-"], bob)?;

    // Each is checked as if those before it were there, and nothing is stored.
    for command in [&["apply", "--dry-run", "-f", "-"][..], &["diff", "-f", "-"]] {
        let run = program.run_with(command, EVERYTHING)?;
        let refused = run.err.lines().next().unwrap_or_default();
        assert!(
            refused.starts_with("AliasTopic/orders (vCluster billing): not ")
                && refused.contains("shared.orders"),
            "{}",
            run.err
        );
        assert!(run.err.contains("1 of 5 were not "), "{}", run.err);
        let created = [
            "VirtualCluster/billing",
            "GatewayServiceAccount/alice",
            "GatewayGroup/team",
        ];
        assert!(
            created.iter().all(|name| run.out.contains(name)),
            "{}",
            run.out
        );
    }
    assert_eq!(
        program.output(&["get", "all", "-o", "name"], "")?,
        "GatewayServiceAccount/bob\n"
    );

    // What an alias stands for has to be there first.
    let run = program.run_with(&["apply", "-f", "-"], EVERYTHING)?;
    assert_eq!(run.status, 1);
    assert!(
        run.err
            .starts_with("AliasTopic/orders (vCluster billing): not applied: ")
            && run.err.contains("shared.orders"),
        "{}",
        run.err
    );
    assert!(
        run.err.ends_with("1 of 5 were not applied.\n"),
        "{}",
        run.err
    );
    let token = program.output(&["token", "--username", "bob", "--lifetime", "1h"], "")?;
    let settings = login("bob", token.trim_end());
    let value = ["x".to_owned()];
    librdkafka::produce(&gateway.bootstrap(), &settings, "shared.orders", value)?;
    assert_eq!(
        program.output(&["apply", "-f", "-"], EVERYTHING)?,
        "\
VirtualCluster/007: NotChanged
VirtualCluster/billing: NotChanged
AliasTopic/orders (vCluster billing): Created
GatewayServiceAccount/alice (vCluster billing): NotChanged
GatewayGroup/team: NotChanged
"
    );

    let run = program.run_with(&["diff", "-f", "-"], EVERYTHING)?;
    assert_eq!(
        (run.status, run.out.as_str(), run.err.as_str()),
        (0, "", "")
    );
    let other = EVERYTHING.replace("operation: READ", "operation: WRITE");
    let run = program.run_with(&["diff", "-f", "-"], &other)?;
    assert_eq!((run.status, run.err.as_str()), (1, ""));
    let changed: Vec<&str> = run
        .out
        .lines()
        .filter(|l| l.starts_with(['-', '+']))
        .collect();
    assert_eq!(
        changed,
        [
            "--- VirtualCluster/billing (stored)",
            "+++ VirtualCluster/billing (new)",
            "-      operation: READ",
            "+      operation: WRITE"
        ]
    );

    for format in ["yaml", "json"] {
        let shown = program.output(&["get", "all", "-o", format], "")?;
        let out = program.output(&["apply", "-f", "-"], &shown)?;
        assert_eq!(out.matches(": NotChanged\n").count(), 6, "{shown}{out}");
    }
    let one = program.output(
        &["get", "AliasTopic", "orders", "--vcluster", "billing"],
        "",
    )?;
    assert!(one.ends_with("physicalName: shared.orders\n"), "{one}");
    assert_eq!(
        program.output(&["get", "VirtualCluster", "-o", "table"], "")?,
        "\
VirtualCluster  TYPE      ACL    MODE      SUPERUSERS
007             Standard  false  -         on
billing         Standard  true   REST_API  -
"
    );

    let run = program.run(&["delete", "VirtualCluster", "billing"])?;
    assert_eq!(run.status, 1);
    assert!(run.err.contains("AliasTopic 'orders'"), "{}", run.err);
    let tried = program.run(&["delete", "--dry-run", "VirtualCluster", "billing"])?;
    assert_eq!(tried.status, 1);
    assert!(tried.err.contains("AliasTopic/orders"), "{}", tried.err);
    let run = program.run(&["delete", "AliasTopic", "orders"])?;
    assert!(
        run.err
            .contains("There is AliasTopic 'orders' in virtual cluster 'billing'."),
        "{}",
        run.err
    );
    let shown = program.output(&["get", "all"], "")?;
    let tried = program.run_with(&["delete", "--dry-run", "-f", "-"], &shown)?;
    assert_eq!(
        (tried.status, tried.out.matches(": Deleted\n").count()),
        (0, 6),
        "{tried:?}"
    );
    let out = program.output(&["delete", "-f", "-"], &shown)?;
    assert_eq!(out, tried.out);
    assert_eq!(out.matches(": Deleted\n").count(), 6, "{out}");
    assert_eq!(program.run(&["get", "all"])?.out, "");
    Ok(())
}

#[test]
fn over_tls() -> Result<()> {
    let scratch = Scratch::new("cli-tls")?;
    let authority = Authority::new("authority of the admin port")?;
    let server = authority.write_pem(
        &authority.issue_server(&["localhost"])?,
        scratch.path(),
        "server",
    )?;
    let other = Authority::new("another authority")?;
    let client = other.write_pem(&other.issue_client("cli")?, scratch.path(), "client")?;
    let path = |path: &std::path::Path| path.display().to_string();
    let gateway = options()
        .env("GATEWAY_HTTPS_KEY_STORE_PATH", &path(&server.key))
        .env("GATEWAY_HTTPS_CLIENT_AUTH", "REQUIRED")
        .env("GATEWAY_HTTPS_TRUST_STORE_PATH", &path(&client.trust))
        .launch()?;
    let program = program(&gateway, "https");
    let (trust, certificate) = (path(&server.trust), path(&client.key));
    let get = [
        "get",
        "GatewayServiceAccount",
        "-o",
        "json",
        "--cert-file",
        &certificate,
    ];
    let with = |more: &[&str]| program.run(&[&get[..], more].concat());
    wait::until("an answer over TLS", LIMIT, || {
        let run = with(&["--ca-file", &trust])?;
        match run.status {
            0 => Ok(Some(())),
            _ => Err(Error::Answer(run.err)),
        }
    })?;
    assert_eq!(with(&["--insecure"])?.status, 0);
    let run = with(&["--ca-file", &path(&client.trust)])?;
    assert_eq!(run.status, 1);
    assert!(run.err.contains("certificate"), "{}", run.err);
    let run = program.run(&["get", "GatewayServiceAccount", "--insecure"])?;
    assert_eq!(run.status, 1, "{run:?}");
    let run = with(&["--ca-file", "/nowhere/ca.pem"])?;
    assert_eq!(run.status, 2);
    assert!(run.err.contains("/nowhere/ca.pem"), "{}", run.err);
    Ok(())
}
