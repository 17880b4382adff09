//! Exchanges as clients run them, with keys made on the spot.

mod keys;
mod oauthbearer;
mod plain;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use config::{ClientSecurity, ClientTls, OAuthServer, Secret, SecurityMode};
use serde_json::{Value, json};

use super::*;
use crate::accounts::{Account, AccountKind};

/// When everything happens, since 1970.
const NOW: Duration = Duration::from_secs(1_000_000);

const SIGNING_KEY: [u8; 32] = [7; 32];

fn security() -> ClientSecurity {
    ClientSecurity {
        mode: SecurityMode::GatewayManaged,
        inferred: false,
        acl_enabled: true,
        super_users: Vec::new(),
        mandatory_vcluster: false,
        strict_vclusters: false,
        auto_create_topics: false,
        max_reauth: None,
        token_signing_key: Some(Secret::new(STANDARD.encode(SIGNING_KEY))),
        tls: ClientTls {
            key_store: None,
            key_password: None,
            trust_store: None,
            reload_interval: Duration::from_secs(300),
            principal_mapping_rules: r"RULE:^CN=(\w+),.*$/$1/,RULE:^CN=(\w+)$/$1/".to_owned(),
        },
        oauth: None,
        use_pool_id: false,
    }
}

fn oauth(jwks_url: String) -> OAuthServer {
    OAuthServer {
        jwks_url,
        expected_issuer: Some("https://idp".to_owned()),
        expected_audiences: vec!["kafka".to_owned(), "gateway".to_owned()],
        jwks_refresh: Duration::from_secs(3600),
        jwks_retry: Duration::from_millis(100),
        jwks_max_retry: Duration::from_secs(10),
        scope_claim_name: "scope".to_owned(),
        sub_claim_name: "sub".to_owned(),
    }
}

fn accounts() -> Accounts {
    let account = |vcluster: &str, name: &str, external: Option<&str>| Account {
        vcluster: vcluster.into(),
        name: name.into(),
        kind: external.map_or(AccountKind::Local, |name| AccountKind::External {
            external_names: vec![name.to_owned()],
        }),
        incarnation: None,
    };
    Accounts::from_iter([
        account(PASSTHROUGH, "alice", None),
        account("blue", "alice", None),
        account("blue", "bob", Some("bob@idp")),
        account("green", "certified", Some("client")),
    ])
    .with_vclusters(["empty"])
}

fn authenticator(security: &ClientSecurity) -> Authenticator {
    Authenticator::new(security, Arc::new(ArcSwap::from_pointee(accounts()))).unwrap()
}

fn failure(step: ServerStep) -> AuthFailure {
    match step {
        ServerStep::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// Virtual cluster, account name, authenticated name.
fn names(identity: &Identity) -> (&str, &str, &str) {
    (
        &identity.vcluster,
        &identity.name,
        &identity.authenticated_name,
    )
}

/// A key pair of an identity provider.
struct IdpKey {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(&'static str, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl IdpKey {
    fn rsa(id: &'static str) -> Self {
        let pair = Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        Self { id, pair }
    }

    fn ec(id: &'static str, curve: &'static str) -> Self {
        let algorithm: &'static EcdsaSigningAlgorithm = match curve {
            "P-256" => &ECDSA_P256_SHA256_FIXED_SIGNING,
            "P-384" => &ECDSA_P384_SHA384_FIXED_SIGNING,
            _ => &ECDSA_P521_SHA512_FIXED_SIGNING,
        };
        let pair = Pair::Ec(curve, EcdsaKeyPair::generate(algorithm).unwrap());
        Self { id, pair }
    }

    fn ed(id: &'static str) -> Self {
        let pair = Pair::Ed(Ed25519KeyPair::generate().unwrap());
        Self { id, pair }
    }

    /// The public half.
    fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let modulus = key.modulus().big_endian_without_leading_zero();
                let exponent = key.exponent().big_endian_without_leading_zero();
                json!({"kty": "RSA", "n": text(modulus), "e": text(exponent)})
            }
            Pair::Ec(curve, pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token that names this key.
    fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.token_with(&json!({"alg": algorithm, "kid": self.id}), claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match header["alg"].as_str().unwrap() {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, signed.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            Pair::Ec(_, pair) => pair
                .sign(&random, signed.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Pair::Ed(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Claims of a good token.
fn claims() -> Value {
    json!({
        "iss": "https://idp",
        "aud": "kafka",
        "sub": "carol",
        "iat": NOW.as_secs() - 10,
        "exp": NOW.as_secs() + 600,
    })
}

fn key_set(keys: &[&IdpKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

/// A file that is gone with the test.
struct KeyFile(PathBuf);

impl KeyFile {
    /// Does not exist yet.
    fn absent() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sluicegate-keys-{}-{number}.json", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn with(keys: &[&IdpKey]) -> Self {
        let file = Self::absent();
        file.write(&key_set(keys));
        file
    }

    /// Replaced at once, as a reader may look at any time.
    fn write(&self, content: &str) {
        let part = self.0.with_extension("part");
        std::fs::write(&part, content).unwrap();
        std::fs::rename(&part, &self.0).unwrap();
    }

    fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An authenticator with this key set, kept fresh by a task.
fn with_keys(url: String) -> Authenticator {
    let mut security = security();
    security.oauth = Some(oauth(url));
    running(&security)
}

fn running(security: &ClientSecurity) -> Authenticator {
    let authenticator = authenticator(security);
    let keeper = authenticator.clone();
    tokio::spawn(async move { keeper.run().await });
    authenticator
}

/// The message that carries a token.
fn bearer(token: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

/// Runs an exchange to its end; the cause of a rejected token comes after the challenge.
async fn login(authenticator: &Authenticator, message: &[u8]) -> ServerStep {
    let mut exchange = authenticator.begin("OAUTHBEARER").unwrap();
    match exchange.step_at(message, NOW).await {
        ServerStep::Challenge(challenge) => {
            assert_eq!(challenge, br#"{"status":"invalid_token"}"#);
            exchange.step_at(b"\x01", NOW).await
        }
        step => step,
    }
}

#[test]
fn only_what_is_configured_is_offered() {
    let both = || {
        let mut security = security();
        security.oauth = Some(oauth("file:///nowhere".to_owned()));
        security
    };
    let offered = |security: &ClientSecurity| authenticator(security).mechanisms().to_vec();
    assert_eq!(offered(&both()), ["PLAIN", "OAUTHBEARER"]);
    let mut without_key = both();
    without_key.token_signing_key = None;
    assert_eq!(offered(&without_key), ["OAUTHBEARER"]);
    assert_eq!(offered(&security()), ["PLAIN"]);
    let mut relayed = both();
    relayed.mode = SecurityMode::KafkaManaged;
    assert!(offered(&relayed).is_empty());
    let managed = authenticator(&both());
    for name in ["plain", "SCRAM-SHA-256", "GSSAPI", ""] {
        assert!(managed.begin(name).is_none(), "{name}");
    }
}

#[test]
fn settings_that_cannot_work_are_all_reported() {
    let mut security = security();
    security.token_signing_key = Some(Secret::new("c2VjcmV0"));
    security.oauth = Some(oauth("ftp://idp/keys".to_owned()));
    security.tls.principal_mapping_rules = "RULE:".to_owned();
    let found = Authenticator::new(&security, Arc::default()).unwrap_err();
    let properties: Vec<_> = found.iter().map(|problem| problem.property).collect();
    assert_eq!(
        properties,
        [
            "GATEWAY_USER_POOL_SECRET_KEY",
            "GATEWAY_OAUTH_JWKS_URL",
            "GATEWAY_SSL_PRINCIPAL_MAPPING_RULES"
        ]
    );
    assert!(!format!("{found:?}").contains("c2VjcmV0"));
}

#[test]
fn names_that_others_vouch_for_are_resolved() {
    let authenticator = authenticator(&security());
    let anonymous = authenticator.anonymous().unwrap();
    assert_eq!(names(&anonymous), (PASSTHROUGH, ANONYMOUS, ANONYMOUS));
    for (subject, expected) in [
        ("CN=client,O=x", ("green", "certified", "client")),
        ("CN=Client,O=x", (PASSTHROUGH, "Client", "Client")),
        ("CN=stranger", (PASSTHROUGH, "stranger", "stranger")),
    ] {
        let identity = authenticator.certificate(subject).unwrap();
        assert_eq!(names(&identity), expected, "{subject}");
        assert_eq!(identity.kind, IdentityKind::Certificate);
    }
    let unmapped = authenticator.certificate("O=nobody").unwrap_err();
    assert_eq!(unmapped.reason, FailureReason::CertificateNotMapped);
    let relayed = authenticator.relayed("bob@idp").unwrap();
    assert_eq!(names(&relayed), ("blue", "bob", "bob@idp"));
    // A LOCAL account is not for those whom somebody else vouches for.
    let relayed = authenticator.relayed("alice").unwrap();
    assert_eq!(names(&relayed), (PASSTHROUGH, "alice", "alice"));
    assert!(!relayed.has_account);
}

#[test]
fn a_mandatory_virtual_cluster_shuts_passthrough() {
    let mut security = security();
    security.mandatory_vcluster = true;
    let authenticator = authenticator(&security);
    let refused = [
        authenticator.anonymous(),
        authenticator.certificate("CN=stranger"),
        authenticator.relayed("stranger"),
    ];
    for result in refused {
        assert_eq!(result.unwrap_err().reason, FailureReason::VclusterMandatory);
    }
    authenticator.certificate("CN=client").unwrap();
    authenticator.relayed("bob@idp").unwrap();
}

#[test]
fn a_session_has_a_life_that_an_answer_can_tell() {
    for (left, life) in [
        (Duration::ZERO, Duration::from_millis(1)),
        (
            Duration::from_micros(1_500_700),
            Duration::from_millis(1500),
        ),
        (Duration::MAX, MAX_SESSION),
    ] {
        assert_eq!(session(left), life);
    }
}
