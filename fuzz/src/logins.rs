//! The bodies of the fuzz targets around logins: each takes arbitrary bytes and panics if a promise about SASL exchanges,
//! tokens or JAAS texts is broken.

use std::cell::RefCell;
use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use auth::accounts::{Account, AccountKind, Accounts, IdentityKind};
use auth::server::{
    AuthFailure, Authenticator, GatewayTokens, INVALID_TOKEN, RELAYED_MECHANISMS, RelayedExchange,
    RelayedOptions, ServerStep,
};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use config::{Jaas, SaslMechanism, Secret, Source};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::bodies::Guard;

/// Allocations that do not depend on the input: the fetch of the key set, tasks.
const FIXED_BYTES: usize = 256 << 10;
/// Decoded text, maps of claims: this many bytes for each byte of the input at most.
const FACTOR: usize = 128;
/// The name in a failure is cut to this.
const MAX_NAME_BYTES: usize = 1024;

const SIGNING_KEY: [u8; 32] = *b"thirty-two bytes that sign token";
const IDP_KEY: [u8; 32] = *b"thirty-two bytes that seed a key";
const CLIENT_TEXTS: [&str; 5] = [
    "Authentication failed: missing user name",
    "Authentication failed: missing password",
    "Authentication failed: token expired",
    "Authentication failed: invalid credentials",
    INVALID_TOKEN,
];

/// A gateway with a signing key, a key set and some accounts. Its clock stands still while nobody waits.
struct Gateway {
    runtime: Runtime,
    authenticator: Authenticator,
    accounts: Accounts,
    idp: Ed25519KeyPair,
}

thread_local! {
    static GATEWAY: RefCell<Gateway> = RefCell::new(Gateway::start());
}

/// Target `plain`: a message; or, behind a first byte of 1, header and claims of a token that is signed with the right key.
pub fn plain(data: &[u8], guard: &impl Guard) {
    let message = match data {
        [1, rest @ ..] => {
            let (header, claims) = halves(rest);
            let username = serde_json::from_slice::<Value>(claims)
                .ok()
                .and_then(|claims| Some(claims.get("username")?.as_str()?.to_owned()))
                .unwrap_or_else(|| "alice".to_owned());
            let token = signed(header, claims, |text| {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &SIGNING_KEY);
                hmac::sign(&key, text).as_ref().to_vec()
            });
            format!("\0{username}\0{token}").into_bytes()
        }
        raw => raw.to_vec(),
    };
    GATEWAY.with_borrow(|gateway| {
        let outcome = gateway.exchange("PLAIN", &message, guard);
        if let Some(identity) = outcome {
            assert_eq!(identity.kind, IdentityKind::Token);
            let mut parts = message.split(|byte| *byte == 0);
            assert_eq!(parts.nth(1), Some(identity.name.as_bytes()));
            let token = parts.next().unwrap_or_default();
            let claims = payload(token);
            assert_eq!(claims["username"], *identity.name);
            assert_eq!(claims["vcluster"], *identity.vcluster);
            assert!(claims["exp"].as_f64().is_some_and(|exp| exp > now()));
            assert!(
                gateway
                    .accounts
                    .local(&identity.vcluster, &identity.name)
                    .is_some()
            );
        }
    });
}

/// Target `oauthbearer`: a message; or, behind a first byte of 1, header and claims of a token that is signed with the
/// right key.
pub fn oauthbearer(data: &[u8], guard: &impl Guard) {
    GATEWAY.with_borrow(|gateway| {
        let message = match data {
            [1, rest @ ..] => {
                let (header, claims) = halves(rest);
                let sign = |text: &[u8]| gateway.idp.sign(text).as_ref().to_vec();
                let token = signed(header, claims, sign);
                format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
            }
            raw => raw.to_vec(),
        };
        let outcome = gateway.exchange("OAUTHBEARER", &message, guard);
        if let Some(identity) = outcome {
            assert_eq!(identity.kind, IdentityKind::OAuth);
            let text = String::from_utf8_lossy(&message);
            let token = text
                .split(['\x01', ' '])
                .find(|part| part.matches('.').count() == 2 && payload(part.as_bytes()).is_object())
                .expect("only a token leads to an identity");
            let claims = payload(token.as_bytes());
            assert_eq!(claims["sub"], *identity.authenticated_name);
            assert_eq!(claims["iss"], "https://idp");
            assert!(claims["exp"].as_f64().is_some_and(|exp| exp + 31.0 > now()));
            assert!(gateway.accounts.knows_vcluster(&identity.vcluster));
        }
    });
}

/// Target `relayed`: the first byte chooses mechanism and options; the rest are messages, with the byte 0xFF between them.
pub fn relayed(data: &[u8], guard: &impl Guard) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let mechanism = RELAYED_MECHANISMS[usize::from(choice & 0x7F) % RELAYED_MECHANISMS.len()];
    let options = RelayedOptions {
        use_pool_id: choice & 0x80 != 0,
        ..RelayedOptions::default()
    };
    let mut exchange =
        RelayedExchange::begin(mechanism, &options).expect("the mechanism can be relayed");
    let mut first = None;
    for (number, message) in rest.split(|byte| *byte == 0xFF).enumerate() {
        let largest = FIXED_BYTES + FACTOR * data.len();
        let result = guard.within(largest, || exchange.client(message));
        let name = exchange.name().map(String::from);
        if number == 0 {
            assert_eq!(result.is_ok(), name.is_some());
            let good = |name: &String| !name.is_empty() && name.len() <= MAX_NAME_BYTES;
            assert!(name.iter().all(good));
            first = name;
        } else {
            assert_eq!(name, first);
            assert!(result.is_err() || number == 1);
        }
        if let Err(failure) = result {
            check(&failure);
        }
    }
}

/// Target `token`: a token of the gateway as text.
pub fn token(data: &[u8], guard: &impl Guard) {
    let text = String::from_utf8_lossy(data);
    let tokens = GatewayTokens::new(&signing_key()).expect("the key is good");
    let largest = FIXED_BYTES + FACTOR * data.len();
    let found = guard.within(largest, || tokens.verify(&text));
    if let Ok(claims) = found {
        let (body, signature) = text.rsplit_once('.').expect("a token has three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("it is base64url");
        let genuine = [hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512]
            .into_iter()
            .any(|hash| {
                let key = hmac::Key::new(hash, &SIGNING_KEY);
                hmac::verify(&key, body.as_bytes(), &signature).is_ok()
            });
        assert!(genuine);
        assert_eq!(payload(data)["username"], claims.username);
    }
}

/// Target `jaas`: the first byte chooses the mechanism, the rest is a JAAS text.
pub fn jaas(data: &[u8], guard: &impl Guard) {
    let Some((choice, text)) = data.split_first() else {
        return;
    };
    let mechanism = match choice % 4 {
        0 => SaslMechanism::Plain,
        1 => SaslMechanism::ScramSha256,
        2 => SaslMechanism::ScramSha512,
        _ => SaslMechanism::OAuthBearer,
    };
    let text = String::from_utf8_lossy(text);
    let largest = FIXED_BYTES + FACTOR * data.len();
    match guard.within(largest, || Jaas::parse(&text, mechanism)) {
        Ok(jaas) => {
            if let Jaas::Plain { password, .. } | Jaas::Scram { password, .. } = &jaas {
                // A short password may well be part of something that is shown.
                let shown = password.expose().len() > 12
                    && format!("{password:?}").contains(password.expose());
                assert!(!shown);
            }
        }
        Err(error) => assert!(error.to_string().len() < 200),
    }
}

impl Gateway {
    fn start() -> Self {
        let idp = Ed25519KeyPair::from_seed_unchecked(&IDP_KEY).expect("the seed is good");
        let key = URL_SAFE_NO_PAD.encode(idp.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": key});
        let set = json!({"keys": [jwk]}).to_string();
        let path = std::env::temp_dir().join(format!("sluicegate-fuzz-{}", std::process::id()));
        fs::write(&path, set).expect("the temporary folder is writable");
        let source = Source::from_pairs([
            ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092".to_owned()),
            ("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED".to_owned()),
            ("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT".to_owned()),
            (
                "GATEWAY_USER_POOL_SECRET_KEY",
                signing_key().expose().to_owned(),
            ),
            (
                "GATEWAY_OAUTH_JWKS_URL",
                format!("file://{}", path.display()),
            ),
            ("GATEWAY_OAUTH_EXPECTED_ISSUER", "https://idp".to_owned()),
        ]);
        let loaded = config::load(&source).expect("the settings are good");
        let account = |vcluster: &str, name: &str, kind| Account {
            vcluster: vcluster.into(),
            name: name.into(),
            kind,
        };
        let external_names = vec!["bob@idp".to_owned()];
        let accounts = Accounts::from_iter([
            account("passthrough", "alice", AccountKind::Local),
            account("blue", "alice", AccountKind::Local),
            account("blue", "bob", AccountKind::External { external_names }),
        ]);
        let shared = Arc::new(ArcSwap::from_pointee(accounts.clone()));
        let authenticator =
            Authenticator::new(&loaded.config.security, shared).expect("the settings can be used");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime can be made");
        let keeper = authenticator.clone();
        runtime.spawn(async move { keeper.run().await });
        Self {
            runtime,
            authenticator,
            accounts,
            idp,
        }
    }

    /// Runs an exchange to its end; the identity if there is one.
    fn exchange(
        &self,
        mechanism: &str,
        message: &[u8],
        guard: &impl Guard,
    ) -> Option<auth::accounts::Identity> {
        let mut exchange = self
            .authenticator
            .begin(mechanism)
            .expect("the mechanism is offered");
        let largest = FIXED_BYTES + FACTOR * message.len();
        let mut step = guard.within(largest, || self.runtime.block_on(exchange.step(message)));
        let challenged = matches!(step, ServerStep::Challenge(_));
        if challenged {
            step = self.runtime.block_on(exchange.step(b"\x01"));
        }
        let result = match step {
            ServerStep::Challenge(_) => panic!("one challenge is enough"),
            ServerStep::Failed(failure) => {
                check(&failure);
                assert_eq!(challenged, failure.client_message() == INVALID_TOKEN);
                None
            }
            ServerStep::Done {
                identity, session, ..
            } => {
                assert!(!challenged);
                assert!(session.is_none_or(|life| !life.is_zero()));
                assert!(identity.still_holds(&self.accounts));
                Some(identity)
            }
        };
        let late = self.runtime.block_on(exchange.step(message));
        assert!(matches!(late, ServerStep::Failed(_)));
        result
    }
}

/// What holds for every failure.
fn check(failure: &AuthFailure) {
    assert!(CLIENT_TEXTS.contains(&failure.client_message()));
    if let Some(name) = &failure.username {
        assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES);
    }
}

fn signing_key() -> Secret {
    Secret::new(STANDARD.encode(SIGNING_KEY))
}

/// Split at the first byte 0xFF, which is in no UTF-8 text.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|byte| *byte == 0xFF);
    let (header, claims) = data.split_at(at.unwrap_or(data.len()));
    (header, claims.get(1..).unwrap_or_default())
}

fn signed(header: &[u8], claims: &[u8], sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let text = format!("{}.{}", part(header), part(claims));
    let signature = part(&sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// The claims of a token that was accepted.
fn payload(token: &[u8]) -> Value {
    let part = token.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}
