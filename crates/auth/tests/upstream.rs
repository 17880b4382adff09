//! From the settings of a cluster to its TLS configuration and login.

#![allow(clippy::unwrap_used, reason = "a test may fail in its helpers too")]

use std::path::PathBuf;
use std::time::Duration;

use config::{
    Jaas, OAuthClient, SaslMechanism, Secret, SecurityProtocol, Store, TlsVersion, TokenEndpoint,
    UpstreamSasl, UpstreamSecurity, UpstreamTls,
};
use sluicegate_auth::{Problem, SaslLogin, Step, UpstreamAuth};

const STORE_PASSWORD: &str = "store-pass-1";
const KEY_PASSWORD: &str = "key-pass-2";

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "stores", name]
        .iter()
        .collect()
}

fn store(name: &str, password: &str) -> Option<Store> {
    Some(Store {
        path: path(name),
        password: Some(Secret::new(password)),
        kind: None,
    })
}

fn pem(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn no_tls_settings() -> UpstreamTls {
    UpstreamTls {
        truststore: store("trust.jks", STORE_PASSWORD),
        truststore_pem: None,
        keystore: None,
        keystore_key_pem: None,
        keystore_chain_pem: None,
        key_password: None,
        verify_hostname: true,
        protocols: vec![TlsVersion::V1_2, TlsVersion::V1_3],
        cipher_suites: Vec::new(),
    }
}

fn with_tls(tls: UpstreamTls) -> Result<UpstreamAuth, Vec<Problem>> {
    UpstreamAuth::new(&UpstreamSecurity {
        protocol: SecurityProtocol::Ssl,
        tls: Some(tls),
        sasl: None,
    })
}

fn with_sasl(
    mechanism: SaslMechanism,
    jaas: Jaas,
    oauth: Option<OAuthClient>,
) -> Result<UpstreamAuth, Vec<Problem>> {
    UpstreamAuth::new(&UpstreamSecurity {
        protocol: SecurityProtocol::SaslPlaintext,
        tls: None,
        sasl: Some(UpstreamSasl {
            mechanism,
            jaas,
            oauth,
        }),
    })
}

fn properties(result: Result<UpstreamAuth, Vec<Problem>>) -> Vec<&'static str> {
    let problems = result.unwrap_err();
    for problem in &problems {
        for secret in [STORE_PASSWORD, KEY_PASSWORD, "wrong-pass"] {
            assert!(!problem.reason.contains(secret), "{problem:?}");
        }
    }
    problems.iter().map(|problem| problem.property).collect()
}

#[test]
fn plaintext_needs_nothing() {
    let auth = UpstreamAuth::new(&UpstreamSecurity {
        protocol: SecurityProtocol::Plaintext,
        tls: None,
        sasl: None,
    })
    .unwrap();
    assert!(auth.tls().is_none() && auth.sasl().is_none());
}

#[test]
fn stores_and_pem_texts_both_make_a_configuration() {
    let stores = UpstreamTls {
        keystore: store("client.jks", STORE_PASSWORD),
        key_password: Some(Secret::new(KEY_PASSWORD)),
        ..no_tls_settings()
    };
    let texts = UpstreamTls {
        truststore: None,
        truststore_pem: Some(pem("ca.pem")),
        keystore_key_pem: Some(Secret::new(pem("key-rsa-pkcs1.pem"))),
        keystore_chain_pem: Some(pem("rsa-cert.pem")),
        ..no_tls_settings()
    };
    for tls in [stores, texts] {
        let auth = with_tls(tls).unwrap();
        assert!(auth.tls().unwrap().client_auth_cert_resolver.has_certs());
        assert_eq!(auth.warnings(), []);
    }
}

#[test]
fn problems_name_their_property_and_come_together() {
    let both_passwords = UpstreamTls {
        truststore: store("trust.jks", "wrong-pass"),
        keystore: store("client.jks", "wrong-pass"),
        ..no_tls_settings()
    };
    assert_eq!(
        properties(with_tls(both_passwords)),
        ["ssl.truststore.password", "ssl.keystore.password"]
    );
    let missing_files = UpstreamTls {
        truststore: store("absent.jks", STORE_PASSWORD),
        keystore: store("trust.jks", STORE_PASSWORD),
        ..no_tls_settings()
    };
    assert_eq!(
        properties(with_tls(missing_files)),
        ["ssl.truststore.location", "ssl.keystore.location"]
    );
    let wrong_key_password = UpstreamTls {
        keystore: store("client.jks", STORE_PASSWORD),
        key_password: Some(Secret::new("wrong-pass")),
        ..no_tls_settings()
    };
    assert_eq!(
        properties(with_tls(wrong_key_password)),
        ["ssl.key.password"]
    );
    let foreign_chain = UpstreamTls {
        keystore_key_pem: Some(Secret::new(pem("key-pkcs8.pem"))),
        keystore_chain_pem: Some(pem("rsa-cert.pem")),
        ..no_tls_settings()
    };
    assert_eq!(
        properties(with_tls(foreign_chain)),
        ["ssl.keystore.certificate.chain"]
    );
    let no_suite = UpstreamTls {
        cipher_suites: vec!["TLS_NULL".to_owned()],
        ..no_tls_settings()
    };
    assert_eq!(properties(with_tls(no_suite)), ["ssl.cipher.suites"]);
    let twice = UpstreamTls {
        truststore_pem: Some(pem("ca.pem")),
        ..no_tls_settings()
    };
    assert_eq!(properties(with_tls(twice)), ["ssl.truststore.certificates"]);
}

#[test]
fn what_is_left_out_is_warned_about() {
    let tls = UpstreamTls {
        keystore: store("several.jks", STORE_PASSWORD),
        cipher_suites: vec!["TLS_AES_128_GCM_SHA256".to_owned(), "TLS_NULL".to_owned()],
        ..no_tls_settings()
    };
    let auth = with_tls(tls).unwrap();
    let about: Vec<_> = auth.warnings().iter().map(|w| w.property).collect();
    assert_eq!(about, ["ssl.keystore.location", "ssl.cipher.suites"]);
}

fn scram_jaas() -> Jaas {
    Jaas::Scram {
        username: "gateway".to_owned(),
        password: Secret::new("wrong-pass"),
        token_auth: false,
    }
}

fn oauth(token_endpoint: TokenEndpoint) -> OAuthClient {
    OAuthClient {
        token_endpoint,
        client_id: Some("gateway".to_owned()),
        client_secret: Some(Secret::new("wrong-pass")),
        scope: None,
        extensions: Vec::new(),
        connect_timeout: None,
        read_timeout: None,
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(10),
        refresh_window_factor: 0.8,
        refresh_window_jitter: 0.05,
        refresh_min_period: Duration::from_secs(60),
        refresh_buffer: Duration::from_secs(300),
        sub_claim_name: "sub".to_owned(),
        scope_claim_name: "scope".to_owned(),
    }
}

fn unsecured(options: &[(&str, &str)]) -> TokenEndpoint {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    TokenEndpoint::Unsecured(options.iter().map(owned).collect())
}

fn oauth_jaas() -> Jaas {
    Jaas::OAuthBearer {
        client_id: None,
        client_secret: None,
        scope: None,
        extensions: Vec::new(),
        unsecured: Vec::new(),
    }
}

async fn first_message(login: &SaslLogin) -> String {
    match login.begin().await.unwrap().step(b"").unwrap() {
        Step::Send(bytes) => String::from_utf8(bytes).unwrap(),
        Step::Done => panic!("done too early"),
    }
}

#[tokio::test]
async fn every_mechanism_begins() {
    let plain = Jaas::Plain {
        username: "gateway".to_owned(),
        password: Secret::new("pw"),
    };
    let file = oauth(TokenEndpoint::File(path("ca.pem")));
    let cases = [
        (SaslMechanism::Plain, plain, None, "\0gateway\0pw"),
        (
            SaslMechanism::ScramSha256,
            scram_jaas(),
            None,
            "n,,n=gateway,r=",
        ),
        (
            SaslMechanism::ScramSha512,
            scram_jaas(),
            None,
            "n,,n=gateway,r=",
        ),
    ];
    for (mechanism, jaas, oauth, start) in cases {
        let auth = with_sasl(mechanism, jaas, oauth).unwrap();
        let login = auth.sasl().unwrap();
        assert_eq!(login.mechanism(), mechanism.to_string());
        let message = first_message(login).await;
        assert!(message.starts_with(start), "{message:?}");
        assert!(!format!("{auth:?}").contains("wrong-pass"));
    }
    let auth = with_sasl(SaslMechanism::OAuthBearer, oauth_jaas(), Some(file)).unwrap();
    // The file is there but holds no token.
    auth.sasl().unwrap().begin().await.unwrap_err();

    let claim = ("unsecuredLoginStringClaim_sub", "me");
    let unsecured = oauth(unsecured(&[claim]));
    let auth = with_sasl(SaslMechanism::OAuthBearer, oauth_jaas(), Some(unsecured)).unwrap();
    let message = first_message(auth.sasl().unwrap()).await;
    assert!(
        message.starts_with("n,,\u{1}auth=Bearer eyJhbGciOiJub25lIn0."),
        "{message:?}"
    );
}

#[test]
fn unusable_logins_name_their_property() {
    let nul = Jaas::Plain {
        username: "gate\0way".to_owned(),
        password: Secret::new("wrong-pass"),
    };
    let result = with_sasl(SaslMechanism::Plain, nul, None);
    assert_eq!(properties(result), ["sasl.jaas.config"]);
    let result = with_sasl(SaslMechanism::Plain, scram_jaas(), None);
    assert_eq!(properties(result), ["sasl.jaas.config"]);
    let url = oauth(TokenEndpoint::Url("ftp://idp/".to_owned()));
    let result = with_sasl(SaslMechanism::OAuthBearer, oauth_jaas(), Some(url));
    assert_eq!(properties(result), ["sasl.oauthbearer.token.endpoint.url"]);
    let nobody = oauth(unsecured(&[("unsecuredLoginLifetimeSeconds", "60")]));
    let result = with_sasl(SaslMechanism::OAuthBearer, oauth_jaas(), Some(nobody));
    assert_eq!(properties(result), ["sasl.jaas.config"]);
    let mut bad_extension = oauth(TokenEndpoint::Url("http://idp/".to_owned()));
    bad_extension.extensions = vec![("auth".to_owned(), "x".to_owned())];
    let result = with_sasl(
        SaslMechanism::OAuthBearer,
        oauth_jaas(),
        Some(bad_extension),
    );
    assert_eq!(properties(result), ["sasl.jaas.config"]);
}
