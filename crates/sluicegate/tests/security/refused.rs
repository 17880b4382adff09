//! Every wrong credential: what the client sees and when, and what is counted under which names.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use testkit::driver::{Client, Report, Task};
use testkit::oauth::{OAuthIssuer, hmac_token};
use testkit::{Access, Error, Listener, Login, Result, wait};

use crate::front::{Front, Metrics, Route, SIGNING_KEY_BYTES, managed, relaying};
use crate::raw::{Sasl, bearer, plain, timed};
use crate::world::{ALICE, AUDIENCE, HOUR, WRONG, claims, client, now, world};

/// Pause before a failed authentication is answered.
const DELAY: Duration = Duration::from_millis(400);

const LIMIT: Duration = Duration::from_secs(20);

const BY_NAME: &str = "gateway_failed_authentications_total";
const BY_REASON: &str = "gateway_failed_authentications_detail_total";

/// What a client shall see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// An authentication error, after the delay.
    Refused,
    /// An authentication error that no delay precedes.
    RefusedAtOnce,
    /// Nothing that speaks of credentials: it tries again until its time is up.
    Retriable,
}

/// One wrong credential, and how it is counted: name, mechanism, reason; `None` if not at all.
struct Case {
    what: &'static str,
    access: Access,
    seen: Seen,
    counted: Option<(&'static str, &'static str, &'static str)>,
}

/// Tries all cases one after the other, each with all clients at once.
fn try_all(front: &Front, topic: &str, cases: Vec<Case>) -> Result<()> {
    let idle = front.open_files();
    let mut wrong = Vec::new();
    for case in cases {
        let before = front.metrics()?;
        let access = case.access.patience(match case.seen {
            Seen::Retriable => Duration::from_secs(2),
            Seen::Refused | Seen::RefusedAtOnce => LIMIT,
        });
        let mut given = Vec::new();
        for kind in Client::ALL {
            given.push((
                kind,
                client(kind)?.give(Task::Authenticate, topic, &access)?,
            ));
        }
        for (kind, task) in given {
            let report = task.wait()?;
            if !fits(case.seen, &report) {
                wrong.push(format!(
                    "{}, {kind:?}: not {:?}: {report:?}",
                    case.what, case.seen
                ));
            }
        }
        // Attempts of clients that have left are counted when their delay is over.
        wait::until_true("all clients to be gone", LIMIT, || {
            front.open_files() <= idle
        })?;
        if let Err(counted) = only(&before, front, case.counted, Client::ALL.len() as f64) {
            wrong.push(format!("{}: {:?}, not {counted}", case.what, case.counted));
        }
    }
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
    Ok(())
}

fn fits(seen: Seen, report: &Report) -> bool {
    match seen {
        Seen::Refused => report.is_refused() && report.took >= DELAY,
        Seen::RefusedAtOnce => report.is_refused(),
        Seen::Retriable => !report.ok && !report.is_refused(),
    }
}

/// At least `least` failures were counted since `before` under the labels and none under others.
fn only(
    before: &Metrics,
    front: &Front,
    labels: Option<(&str, &str, &str)>,
    least: f64,
) -> std::result::Result<(), String> {
    let expected = labels.map(|(name, mechanism, reason)| {
        [
            format!("{BY_NAME}{{username=\"{name}\"}}"),
            format!("{BY_REASON}{{mechanism=\"{mechanism}\",reason=\"{reason}\"}}"),
        ]
    });
    let counted = || -> Result<[BTreeMap<String, f64>; 2]> {
        let after = front.metrics()?;
        Ok([BY_NAME, BY_REASON].map(|family| after.since(before, family)))
    };
    let Some(expected) = expected else {
        let changes = counted().map_err(|error| error.to_string())?;
        let is_quiet = changes.iter().all(BTreeMap::is_empty);
        return is_quiet.then_some(()).ok_or_else(|| format!("{changes:?}"));
    };
    // The connection is closed first and counted then.
    let fitting = wait::until("the count", Duration::from_secs(3), || {
        let changes = counted()?;
        let mut pairs = changes.iter().zip(&expected);
        let fits = pairs.all(|(change, series)| {
            change.len() == 1 && change.get(series).is_some_and(|count| *count >= least)
        });
        match fits {
            true => Ok(Some(())),
            false => Err(Error::Violated(format!("{changes:?}"))),
        }
    });
    fitting.map_err(|error| error.to_string())
}

fn password(mechanism: &'static str, user: &str, password: &str) -> Login {
    Login::Password {
        mechanism,
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

fn token_claims(username: &str) -> serde_json::Value {
    json!({"username": username, "vcluster": "passthrough", "exp": now() + 3600})
}

#[test]
fn gateway_tokens() -> Result<()> {
    let world = world()?;
    let front = managed(world)
        .env(
            "GATEWAY_CONNECTION_FAILED_AUTHENTICATION_DELAY_MS",
            &DELAY.as_millis().to_string(),
        )
        .listener("OPEN", "SASL_PLAINTEXT", Route::Port, None)
        .listener("TLS", "SASL_SSL", Route::Sni, None)
        .start()?;
    let topic = world.topic("refused")?;
    for name in ["billing", "shipping", "former"] {
        front.local_account(name)?;
    }
    front.external_account("friend", "subject-of-friend")?;
    let billing = front.token("billing", 3600)?;
    let shipping = front.token("shipping", 3600)?;
    let former = front.token("former", 3600)?;
    front.delete_account("former")?;
    let header = json!({"alg": "HS256"});
    let expired = json!({"username": "billing", "vcluster": "passthrough", "exp": now() - 1});
    let expired = hmac_token(SIGNING_KEY_BYTES, &header, &expired);
    let foreign = hmac_token(&[7; 32], &header, &token_claims("billing"));
    let unsigned = hmac_token(
        SIGNING_KEY_BYTES,
        &json!({"alg": "none"}),
        &token_claims("billing"),
    );
    let friend = hmac_token(SIGNING_KEY_BYTES, &header, &token_claims("friend"));
    let mut elsewhere = token_claims("billing");
    elsewhere["vcluster"] = "elsewhere".into();
    let elsewhere = hmac_token(SIGNING_KEY_BYTES, &header, &elsewhere);

    let open = |login| front.access("OPEN").login(login);
    let tls = |login| front.access("TLS").tls(&world.carol).login(login);
    let case = |what, access, name, reason| Case {
        what,
        access,
        seen: Seen::Refused,
        counted: Some((name, "PLAIN", reason)),
    };
    let right = "billing";
    let wrong = "wrong_credentials";
    let cases = vec![
        Case {
            what: "a mechanism that is not offered",
            access: open(password("SCRAM-SHA-256", right, WRONG)),
            seen: Seen::RefusedAtOnce,
            counted: Some(("<none>", "<other>", "mechanism_not_offered")),
        },
        case("no token", open(Login::plain(right, WRONG)), right, wrong),
        case(
            "no token, TLS",
            tls(Login::plain(right, WRONG)),
            right,
            wrong,
        ),
        case(
            "nobody",
            open(Login::plain("mallory", WRONG)),
            "<unknown>",
            wrong,
        ),
        case(
            "another's token",
            open(Login::plain(right, &shipping)),
            right,
            "token_of_another_user",
        ),
        case(
            "expired",
            open(Login::plain(right, &expired)),
            right,
            "token_expired",
        ),
        case(
            "another key",
            open(Login::plain(right, &foreign)),
            right,
            wrong,
        ),
        case(
            "alg none",
            open(Login::plain(right, &unsigned)),
            right,
            wrong,
        ),
        case(
            "deleted account",
            open(Login::plain("former", &former)),
            "<unknown>",
            "no_local_account",
        ),
        case(
            "external account",
            open(Login::plain("friend", &friend)),
            "friend",
            "no_local_account",
        ),
        case(
            "another vcluster",
            open(Login::plain(right, &elsewhere)),
            right,
            "no_local_account",
        ),
    ];
    try_all(&front, &topic, cases)?;
    let tokens = [
        billing, shipping, former, expired, foreign, friend, elsewhere,
    ];
    finish(front, &tokens)
}

#[test]
fn provider_tokens() -> Result<()> {
    let world = world()?;
    let front = managed(world)
        .env(
            "GATEWAY_CONNECTION_FAILED_AUTHENTICATION_DELAY_MS",
            &DELAY.as_millis().to_string(),
        )
        .listener("OPEN", "SASL_PLAINTEXT", Route::Port, None)
        .start()?;
    let topic = world.topic("refused")?;
    let changed = |key: &str, value: serde_json::Value| -> Result<String> {
        let mut claims = claims("analytics");
        claims[key] = value;
        world.issuer.with(|issuer| issuer.sign(&claims))
    };
    let stranger = OAuthIssuer::new("https://issuer.test", AUDIENCE)?;
    let confused = world
        .issuer
        .with(|issuer| issuer.sign_with_public_key(&claims("analytics")));
    let tokens = [
        ("expired", changed("exp", (now() - 60).into())?),
        (
            "another issuer",
            changed("iss", "https://other.test".into())?,
        ),
        ("another audience", changed("aud", "elsewhere".into())?),
        ("no subject", changed("sub", "".into())?),
        ("signed by a stranger", stranger.token("analytics", HOUR)?),
        ("the public key as a secret", confused),
    ];
    let cases = tokens.iter().map(|(what, token)| Case {
        what,
        access: front.access("OPEN").login(Login::Token(token.clone())),
        seen: Seen::Refused,
        counted: Some(("<none>", "OAUTHBEARER", "invalid_oauth_token")),
    });
    try_all(&front, &topic, cases.collect())?;
    finish(front, &tokens.map(|(_, token)| token))
}

#[test]
fn certificates() -> Result<()> {
    let world = world()?;
    let front = managed(world)
        .env(
            "GATEWAY_SSL_PRINCIPAL_MAPPING_RULES",
            "RULE:^CN=of-the-house-(.*)$/$1/",
        )
        .listener("REQUIRE", "SSL", Route::Port, Some("REQUIRE"))
        .listener("OPEN", "PLAINTEXT", Route::Port, None)
        .start()?;
    let topic = world.topic("refused")?;
    let tls = || front.access("REQUIRE").tls(&world.carol);
    let case = |what, access, seen, reason| Case {
        what,
        access,
        seen,
        counted: Some(("<none>", "SSL", reason)),
    };
    let cases = vec![
        case(
            "no rule fits",
            tls().certificate(&world.carol),
            Seen::Retriable,
            "certificate_not_mapped",
        ),
        Case {
            what: "no TLS on a TLS listener",
            access: front.access("REQUIRE"),
            seen: Seen::Retriable,
            counted: None,
        },
        Case {
            what: "TLS on a listener without",
            access: front.access("OPEN").tls(&world.carol),
            seen: Seen::Retriable,
            counted: None,
        },
    ];
    try_all(&front, &topic, cases)?;
    let mut wrong = Vec::new();
    for (what, access, reason) in [
        ("no certificate", tls(), "certificate_missing"),
        (
            "unknown issuer",
            tls().certificate(&world.strange),
            "certificate_rejected",
        ),
    ] {
        let before = front.metrics()?;
        let access = access.patience(Duration::from_secs(2));
        for kind in Client::ALL {
            let report = client(kind)?.run(Task::Authenticate, &topic, &access)?;
            // Java calls a fatal alert an authentication error; librdkafka gives its text.
            if report.ok || !(report.is_refused() || report.text.contains("alert")) {
                wrong.push(format!("{what}, {kind:?}: {report:?}"));
            }
        }
        let labels = Some(("<none>", "SSL", reason));
        if let Err(counted) = only(&before, &front, labels, 4.0) {
            wrong.push(format!("{what}: {labels:?}, not {counted}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
    finish(front, &[])
}

#[test]
fn at_kafka() -> Result<()> {
    let world = world()?;
    let front = relaying(world, Listener::SaslPlaintext)
        .env(
            "GATEWAY_CONNECTION_FAILED_AUTHENTICATION_DELAY_MS",
            &DELAY.as_millis().to_string(),
        )
        .listener("OPEN", "SASL_PLAINTEXT", Route::Port, None)
        .start()?;
    let topic = world.topic("refused")?;
    front.external_account("friend", ALICE.0)?;
    let open = |login| front.access("OPEN").login(login);
    let case = |what, login, name, mechanism, reason| Case {
        what,
        access: open(login),
        seen: Seen::RefusedAtOnce, // the brokers' own delay
        counted: Some((name, mechanism, reason)),
    };
    let rejected = "rejected_by_kafka";
    let stranger = OAuthIssuer::new("https://issuer.test", AUDIENCE)?;
    let token = stranger.token("mallory", HOUR)?;
    let mut cases = vec![
        case(
            "nobody",
            Login::plain("mallory", WRONG),
            "<unknown>",
            "PLAIN",
            rejected,
        ),
        case(
            "a stranger's token",
            Login::Token(token.clone()),
            "<unknown>",
            "OAUTHBEARER",
            rejected,
        ),
    ];
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let login = password(mechanism, ALICE.0, WRONG);
        cases.push(case(
            "a wrong password",
            login,
            ALICE.0,
            mechanism,
            rejected,
        ));
    }
    try_all(&front, &topic, cases)?;

    let address = front.bootstrap("OPEN");
    let before = front.metrics()?;
    let mut client = Sasl::connect(address)?;
    let (error, offered) = client.handshake(1, "GSSAPI")?;
    assert_eq!(error, 33);
    assert!(offered.contains(&"PLAIN".to_owned()), "{offered:?}");
    let labels = Some(("<none>", "<other>", "mechanism_not_offered"));
    assert!(client.is_closed());
    let counted = only(&before, &front, labels, 1.0);
    assert_eq!(counted, Ok(()));

    let before = front.metrics()?;
    let answer = Sasl::connect(address)?.log_in("PLAIN", b"nonsense")?;
    assert_eq!(answer.error, 58);
    let labels = Some(("<none>", "PLAIN", "identity_not_found"));
    assert_eq!(only(&before, &front, labels, 1.0), Ok(()));
    finish(front, &[token])
}

/// Frame by frame: codes, texts, closing, and exactly one failure counted for each attempt.
#[test]
fn on_the_wire() -> Result<()> {
    let world = world()?;
    let front = managed(world)
        .env(
            "GATEWAY_CONNECTION_FAILED_AUTHENTICATION_DELAY_MS",
            &DELAY.as_millis().to_string(),
        )
        .env("GATEWAY_SASL_SERVER_MAX_RECEIVE_SIZE", "4096")
        .listener("OPEN", "SASL_PLAINTEXT", Route::Port, None)
        .start()?;
    let address = front.bootstrap("OPEN");
    front.local_account("billing")?;
    let token = front.token("billing", 3600)?;

    let mut client = Sasl::connect(address)?;
    let (error, offered) = client.handshake(1, "SCRAM-SHA-512")?;
    assert_eq!(
        (error, offered),
        (33, vec!["PLAIN".to_owned(), "OAUTHBEARER".to_owned()])
    );
    assert!(client.is_closed());

    let other = format!("shipping\0billing\0{token}").into_bytes();
    let expired = json!({"username": "billing", "vcluster": "passthrough", "exp": now() - 1});
    let expired = hmac_token(SIGNING_KEY_BYTES, &json!({"alg": "HS256"}), &expired);
    for (message, text, name, reason) in [
        (
            plain("", &token),
            "missing user name",
            "<none>",
            "missing_username",
        ),
        (
            plain("billing", ""),
            "missing password",
            "billing",
            "missing_password",
        ),
        (
            plain("billing", WRONG),
            "invalid credentials",
            "billing",
            "wrong_credentials",
        ),
        (
            plain("mallory", WRONG),
            "invalid credentials",
            "<unknown>",
            "wrong_credentials",
        ),
        (
            plain("billing", &expired),
            "token expired",
            "billing",
            "token_expired",
        ),
        (
            other,
            "invalid credentials",
            "billing",
            "foreign_authorization_id",
        ),
        (
            b"nonsense".to_vec(),
            "invalid credentials",
            "<none>",
            "malformed",
        ),
    ] {
        let before = front.metrics()?;
        let mut client = Sasl::connect(address)?;
        let (answer, took) = timed(|| client.log_in("PLAIN", &message));
        let answer = answer?;
        assert_eq!(answer.error, 58, "{reason}");
        assert!(answer.message.contains(text), "{reason}: {answer:?}");
        assert!(took >= DELAY, "{reason}: {took:?}");
        assert!(client.is_closed(), "{reason}");
        let labels = Some((name, "PLAIN", reason));
        assert_eq!(only(&before, &front, labels, 1.0), Ok(()));
        let change = front.metrics()?;
        let total: f64 = change.since(&before, BY_NAME).values().sum();
        assert_eq!(total, 1.0, "{reason}");
    }

    // RFC 7628: first the reason, then, after the client's one byte, the end.
    let before = front.metrics()?;
    let mut client = Sasl::connect(address)?;
    let answer = client.log_in("OAUTHBEARER", &bearer("a.b.c"))?;
    assert_eq!(answer.error, 0);
    assert_eq!(
        String::from_utf8_lossy(&answer.bytes),
        r#"{"status":"invalid_token"}"#
    );
    let (answer, took) = timed(|| client.authenticate(1, &[1]));
    let answer = answer?;
    assert_eq!(
        (answer.error, answer.message.as_str()),
        (58, r#"{"status":"invalid_token"}"#)
    );
    assert!(took >= DELAY && client.is_closed());
    let labels = Some(("<none>", "OAUTHBEARER", "invalid_oauth_token"));
    assert_eq!(only(&before, &front, labels, 1.0), Ok(()));

    // SaslHandshake v0 has no place for a reason.
    let mut client = Sasl::connect(address)?;
    assert_eq!(client.handshake(0, "PLAIN")?.0, 0);
    let mut message = Vec::new();
    crate::raw::put_bytes(&mut message, &plain("billing", WRONG));
    client.0.send_bytes(&message)?;
    let (closed, took) = timed(|| client.is_closed());
    assert!(closed && took >= DELAY, "{took:?}");

    // Out of order, and too large: closed.
    let mut client = Sasl::connect(address)?;
    assert!(client.is_closed_when_asking(), "not authenticated");
    let mut client = Sasl::connect(address)?;
    assert_eq!(client.handshake(1, "PLAIN")?.0, 0);
    assert!(client.authenticate(1, &[b'x'; 8192]).is_err(), "too large");
    let mut client = Sasl::connect(address)?;
    assert_eq!(client.handshake(1, "PLAIN")?.0, 0);
    let answer = client.0.call(crate::raw::request(3, 1, &[0; 4]));
    assert!(client.is_closed(), "another request in between: {answer:?}");
    finish(front, &[token, expired])
}

/// Names that somebody made up are no labels, and no secret is in the log.
fn finish(front: Front, tokens: &[String]) -> Result<()> {
    let scrape = front.admin_text("/metrics")?;
    for made_up in ["mallory", "former", "analytics"] {
        assert!(!scrape.contains(made_up), "{made_up}:\n{scrape}");
    }
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    world()?.assert_no_secrets(&front.stop()?, &tokens)
}
