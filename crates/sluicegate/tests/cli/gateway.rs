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
    assert_eq!(shown, account);
    assert_eq!(
        program.output(&["get", "GatewayServiceAccount", "-o", "table"], "")?,
        "GatewayServiceAccount  VCLUSTER     TYPE   EXTERNAL\nalice                  passthrough  LOCAL  -\n"
    );

    let token = program.output(&["token", "--username", "alice", "--lifetime", "1h"], "")?;
    let client: BaseConsumer = librdkafka::config(
        &gateway.bootstrap(),
        &[
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "alice"),
            ("sasl.password", token.trim_end()),
        ],
    )
    .create()?;
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
