//! The client-credentials grant against a token endpoint on this machine.

#![allow(clippy::unwrap_used, reason = "a test may fail in its helpers too")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use sluicegate_auth::sasl::token::{RefreshSchedule, TokenError, TokenProvider, TokenSource as _};
use sluicegate_auth::sasl::token_endpoint::{EndpointSettings, TokenEndpoint};
use sluicegate_auth::tls::client::{ClientTls, Trust};
use sluicegate_auth::{SaslLogin, Step};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the endpoint was asked: path, `Authorization`, body.
type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

/// Serves the answers one after another, the last one for ever; gives its port.
async fn serve(answers: Vec<(u16, String)>, tls: Option<Arc<ServerConfig>>) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Asked::default();
    let log = asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = |request: Request<Incoming>| {
                let (log, answers) = (log.clone(), answers.clone());
                async move {
                    let path = request.uri().to_string();
                    let authorization = request.headers()["authorization"].to_str().unwrap();
                    let authorization = authorization.to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let body = String::from_utf8(body.to_vec()).unwrap();
                    let mut log = log.lock().unwrap();
                    let (status, text) = &answers[log.len().min(answers.len() - 1)];
                    log.push((path, authorization, body));
                    let body = Full::new(Bytes::from(text.clone()));
                    let response = Response::builder().status(*status).body(body).unwrap();
                    Ok::<_, Infallible>(response)
                }
            };
            let http = hyper::server::conn::http1::Builder::new();
            // A client that gives up in the middle is part of some tests.
            let _ = match &tls {
                None => {
                    http.serve_connection(TokioIo::new(stream), service_fn(answer))
                        .await
                }
                Some(tls) => match TlsAcceptor::from(tls.clone()).accept(stream).await {
                    Ok(stream) => {
                        http.serve_connection(TokioIo::new(stream), service_fn(answer))
                            .await
                    }
                    Err(_) => Ok(()),
                },
            };
        }
    });
    (port, asked)
}

fn settings(url: &str) -> EndpointSettings<'_> {
    EndpointSettings {
        url,
        client_id: "gateway",
        client_secret: "s3cr3t",
        scope: Some("kafka read/write"),
        connect_timeout: Duration::from_secs(20),
        read_timeout: Duration::from_secs(20),
    }
}

fn endpoint(port: u16) -> TokenEndpoint {
    let url = format!("http://127.0.0.1:{port}/oauth/token?realm=a");
    TokenEndpoint::new(&settings(&url), || Err("not asked for".to_owned())).unwrap()
}

fn schedule() -> RefreshSchedule {
    RefreshSchedule {
        window_factor: 0.8,
        window_jitter: 0.05,
        min_period: Duration::from_secs(60),
        buffer: Duration::from_secs(300),
        retry_backoff: Duration::from_millis(1),
        retry_backoff_max: Duration::from_secs(60),
    }
}

fn token(value: &str) -> (u16, String) {
    let json = format!(r#"{{"access_token":"{value}","token_type":"Bearer","expires_in":3600}}"#);
    (200, json)
}

#[tokio::test]
async fn asks_as_rfc_6749_says() {
    let (port, asked) = serve(vec![token("abc.def")], None).await;
    assert_eq!(endpoint(port).fetch().await.unwrap().expose(), "abc.def");
    let asked = asked.lock().unwrap();
    assert_eq!(
        asked[..],
        [(
            "/oauth/token?realm=a".to_owned(),
            "Basic Z2F0ZXdheTpzM2NyM3Q=".to_owned(),
            "grant_type=client_credentials&scope=kafka+read%2Fwrite".to_owned()
        )]
    );
}

#[tokio::test]
async fn one_token_serves_all_exchanges_even_when_the_first_attempts_fail() {
    let answers = vec![(503, String::new()), (500, "x".to_owned()), token("shared")];
    let (port, asked) = serve(answers, None).await;
    let extensions = vec![("logicalCluster".to_owned(), "lkc-1".to_owned())];
    let provider = TokenProvider::refreshed(endpoint(port), schedule(), extensions);
    let login = SaslLogin::oauthbearer(provider);
    let (first, second) = tokio::join!(login.begin(), login.begin());
    let expected = b"n,,\x01auth=Bearer shared\x01logicalCluster=lkc-1\x01\x01".to_vec();
    for exchange in [first, second, login.begin().await] {
        assert_eq!(
            exchange.unwrap().step(b"").unwrap(),
            Step::Send(expected.clone())
        );
    }
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_refusal_is_reported_without_the_secret_and_not_tried_again() {
    let body = r#"{"error":"invalid_client","error_description":"no such client"}"#;
    let (port, asked) = serve(vec![(401, body.to_owned())], None).await;
    let provider = TokenProvider::refreshed(endpoint(port), schedule(), Vec::new());
    let error = provider.token().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token endpoint answered with status 401: invalid_client, no such client"
    );
    assert_eq!(provider.token().await.unwrap_err(), error);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn useless_answers_are_refused() {
    let past = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.";
    for (body, expected) in [
        ("", TokenError::BadAnswer("the body is not JSON")),
        ("{}", TokenError::BadAnswer("there is no access_token")),
        (
            r#"{"access_token":7}"#,
            TokenError::BadAnswer("there is no access_token"),
        ),
        (r#"{"access_token":""}"#, TokenError::NotAToken),
        (
            r#"{"access_token":"a\u0001auth=Bearer b"}"#,
            TokenError::NotAToken,
        ),
        (
            &format!(r#"{{"access_token":"{past}"}}"#),
            TokenError::Expired,
        ),
    ] {
        let (port, _) = serve(vec![(200, body.to_owned())], None).await;
        assert_eq!(
            endpoint(port).fetch().await.unwrap_err(),
            expected,
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let body = format!(r#"{{"access_token":"{}"}}"#, "a".repeat(10 << 20));
    let (port, _) = serve(vec![(200, body)], None).await;
    let error = endpoint(port).fetch().await.unwrap_err();
    assert!(matches!(error, TokenError::Connection { .. }), "{error}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (port, _) = serve(vec![(302, String::new())], None).await;
    let error = endpoint(port).fetch().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token endpoint answered with status 302"
    );
}

#[tokio::test]
async fn a_silent_endpoint_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut settings = settings(&url);
    settings.read_timeout = Duration::from_millis(50);
    let endpoint = TokenEndpoint::new(&settings, || Err("not asked for".to_owned())).unwrap();
    let error = endpoint.fetch().await.unwrap_err();
    assert!(matches!(error, TokenError::Timeout { .. }), "{error}");
    assert!(error.is_retriable());
}

#[tokio::test]
async fn https_is_verified() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let (port, _) = serve(vec![token("over-tls")], Some(Arc::new(server))).await;
    let trusting = |certificates| ClientTls {
        trust: Trust::Certificates(certificates),
        identity: None,
        verify_hostname: true,
        versions: rustls::DEFAULT_VERSIONS,
        cipher_suites: &[],
    };
    let url = format!("https://localhost:{port}/");
    let fetch = async |certificate| {
        let tls = trusting(vec![certificate]).build().unwrap().0;
        let endpoint = TokenEndpoint::new(&settings(&url), || Ok(Arc::new(tls))).unwrap();
        endpoint.fetch().await
    };
    let trusted = fetch(made.cert.der().clone()).await.unwrap();
    assert_eq!(trusted.expose(), "over-tls");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fetch(other.cert.der().clone()).await.unwrap_err();
}

#[test]
fn bad_urls_are_refused() {
    for url in [
        "",
        "localhost",
        "/token",
        "ftp://host/",
        "https://user:pw@host/",
        "http://",
    ] {
        let result = TokenEndpoint::new(&settings(url), || Err("not asked for".to_owned()));
        assert!(result.is_err(), "{url}");
    }
}
