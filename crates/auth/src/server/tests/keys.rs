//! Key sets: what is in them, and how they are kept fresh.

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;

const UNKNOWN: FailureReason = FailureReason::InvalidOAuthToken(TokenDefect::UnknownKey);

async fn accepted(authenticator: &Authenticator, key: &IdpKey) -> Result<(), FailureReason> {
    let algorithm = match key.pair {
        Pair::Rsa(_) => "RS256",
        Pair::Ec(..) => "ES256",
        Pair::Ed(_) => "EdDSA",
    };
    let token = key.token(algorithm, &claims());
    match login(authenticator, &bearer(&token)).await {
        ServerStep::Done { .. } => Ok(()),
        step => Err(failure(step).reason),
    }
}

/// Waits for the keeper to have tried; time is paused, so this takes none.
async fn until_accepted(authenticator: &Authenticator, key: &IdpKey) -> Duration {
    let begin = Instant::now();
    loop {
        if accepted(authenticator, key).await.is_ok() {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < Duration::from_secs(100_000));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_of_no_use_are_passed_over() {
    let good = IdpKey::rsa("good");
    let mut encrypting = IdpKey::ed("encrypting").jwk();
    encrypting["use"] = json!("enc");
    let mut signing = IdpKey::ed("signing").jwk();
    signing["key_ops"] = json!(["sign"]);
    let mut misfit = IdpKey::ed("misfit").jwk();
    misfit["alg"] = json!("RS256");
    let set = json!({"more": 1, "keys": [
        {"kty": "oct", "kid": "good", "k": "AAAA"},
        {"kty": "AKP", "kid": "good", "alg": "ML-DSA-44", "pub": "AAAA"},
        {"kty": "OKP", "crv": "Ed448", "kid": "good", "x": "AAAA"},
        {"kty": "EC", "crv": "secp256k1", "kid": "good", "x": "AAAA", "y": "AAAA"},
        {"kty": "EC", "crv": "P-256", "kid": "good", "x": "*", "y": "AAAA"},
        {"kty": "RSA", "kid": "good", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "kid": 7},
        {"kid": "good"}, 7, null, "x",
        encrypting, signing, misfit, good.jwk(),
    ]});
    let file = KeyFile::absent();
    file.write(&set.to_string());
    let authenticator = with_keys(file.url());
    assert_eq!(accepted(&authenticator, &good).await, Ok(()));
    for name in ["encrypting", "signing", "misfit"] {
        assert_eq!(
            accepted(&authenticator, &IdpKey::ed(name)).await,
            Err(UNKNOWN)
        );
    }
}

#[tokio::test]
async fn a_token_without_key_id_needs_a_single_fitting_key() {
    let (rsa, first, second) = (IdpKey::rsa("r"), IdpKey::ed("1"), IdpKey::ed("2"));
    let file = KeyFile::with(&[&rsa, &first, &second]);
    let authenticator = with_keys(file.url());
    let login = async |key: &IdpKey, algorithm: &str| {
        let token = key.token_with(&json!({"alg": algorithm}), &claims());
        login(&authenticator, &bearer(&token)).await
    };
    assert!(matches!(
        login(&rsa, "RS256").await,
        ServerStep::Done { .. }
    ));
    assert_eq!(failure(login(&first, "EdDSA").await).reason, UNKNOWN);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_fetches_the_set_once_a_minute() {
    let (old, new, newer) = (IdpKey::ed("old"), IdpKey::ed("new"), IdpKey::ed("newer"));
    let file = KeyFile::with(&[&old]);
    let authenticator = with_keys(file.url());
    assert_eq!(accepted(&authenticator, &old).await, Ok(()));
    file.write(&key_set(&[&old, &new]));
    // Many clients come with the new key at once; none of them notices.
    let results = tokio::join!(
        accepted(&authenticator, &new),
        accepted(&authenticator, &new),
        accepted(&authenticator, &old),
        accepted(&authenticator, &new),
    );
    assert_eq!(results, (Ok(()), Ok(()), Ok(()), Ok(())));
    file.write(&key_set(&[&new, &newer]));
    let rotated = Instant::now();
    assert_eq!(accepted(&authenticator, &newer).await, Err(UNKNOWN));
    assert_eq!(accepted(&authenticator, &old).await, Ok(()));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(accepted(&authenticator, &newer).await, Ok(()));
    assert_eq!(accepted(&authenticator, &old).await, Err(UNKNOWN));
    assert!(rotated.elapsed() < Duration::from_secs(70));
}

#[tokio::test(start_paused = true)]
async fn the_set_is_fetched_again_every_period() {
    let (old, new) = (IdpKey::ed("same"), IdpKey::ed("same"));
    let file = KeyFile::with(&[&old]);
    let authenticator = with_keys(file.url());
    assert_eq!(accepted(&authenticator, &old).await, Ok(()));
    file.write(&key_set(&[&new]));
    let waited = until_accepted(&authenticator, &new).await;
    assert!((3599..=3602).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_set_is_tried_again_with_growing_pauses() {
    let key = IdpKey::ed("k");
    let file = KeyFile::absent();
    let authenticator = with_keys(file.url());
    assert_eq!(
        accepted(&authenticator, &key).await,
        Err(FailureReason::KeysNotLoaded)
    );
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(
        accepted(&authenticator, &key).await,
        Err(FailureReason::KeysNotLoaded)
    );
    file.write(&key_set(&[&key]));
    let waited = until_accepted(&authenticator, &key).await;
    assert!(waited <= Duration::from_secs(12), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_set_does_not_replace_a_good_one() {
    let key = IdpKey::ed("k");
    let file = KeyFile::with(&[&key]);
    let authenticator = with_keys(file.url());
    assert_eq!(accepted(&authenticator, &key).await, Ok(()));
    for bad in [
        "",
        "{}",
        r#"{"keys":[]}"#,
        r#"{"keys":7}"#,
        &" ".repeat(2 << 20),
    ] {
        file.write(bad);
        tokio::time::sleep(Duration::from_secs(3700)).await;
        assert_eq!(accepted(&authenticator, &key).await, Ok(()), "{bad:.20}");
    }
}

/// A provider whose answer can be changed: status, `Location`, body.
type Answer = Arc<Mutex<(u16, String, String)>>;

async fn provider(answer: Answer) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let respond = |request: Request<Incoming>| {
                let (mut status, location, body) = answer.lock().unwrap().clone();
                if request.uri().path() == "/moved" {
                    status = 200;
                }
                let response = Response::builder()
                    .status(status)
                    .header("location", location)
                    .body(Full::new(Bytes::from(body)));
                async move { Ok::<_, Infallible>(response.unwrap()) }
            };
            // A client that hangs up early is part of some tests.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(respond))
                .await;
        }
    });
    port
}

fn quick(port: u16) -> ClientSecurity {
    let mut settings = oauth(format!("http://127.0.0.1:{port}/keys"));
    settings.jwks_retry = Duration::from_millis(1);
    settings.jwks_max_retry = Duration::from_millis(5);
    let mut security = security();
    security.oauth = Some(settings);
    security
}

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_is_found_later() {
    let key = IdpKey::rsa("k");
    let answer: Answer = Arc::new(Mutex::new((503, String::new(), String::new())));
    let port = provider(answer.clone()).await;
    let authenticator = running(&quick(port));
    assert_eq!(
        accepted(&authenticator, &key).await,
        Err(FailureReason::KeysNotLoaded)
    );
    *answer.lock().unwrap() = (200, String::new(), key_set(&[&key]));
    while accepted(&authenticator, &key).await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    *answer.lock().unwrap() = (503, String::new(), String::new());
    assert_eq!(accepted(&authenticator, &key).await, Ok(()));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_tried_again() {
    let key = IdpKey::rsa("k");
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let authenticator = running(&quick(port));
    assert_eq!(
        accepted(&authenticator, &key).await,
        Err(FailureReason::KeysNotLoaded)
    );
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_only() {
    let key = IdpKey::rsa("k");
    let elsewhere = provider(Arc::new(Mutex::new((200, String::new(), key_set(&[&key]))))).await;
    for (location, followed) in [
        ("/moved".to_owned(), true),
        ("/keys".to_owned(), false),
        (format!("http://127.0.0.1:{elsewhere}/moved"), false),
    ] {
        let body = key_set(&[&key]);
        let answer: Answer = Arc::new(Mutex::new((302, location.clone(), body)));
        let authenticator = running(&quick(provider(answer).await));
        let result = accepted(&authenticator, &key).await;
        let expected = followed.then_some(()).ok_or(FailureReason::KeysNotLoaded);
        assert_eq!(result, expected, "{location}");
    }
}

#[tokio::test]
async fn a_huge_set_is_cut_off() {
    let key = IdpKey::rsa("k");
    let body = format!("{}{}", key_set(&[&key]), " ".repeat(2 << 20));
    let answer: Answer = Arc::new(Mutex::new((200, String::new(), body)));
    let authenticator = running(&quick(provider(answer).await));
    assert_eq!(
        accepted(&authenticator, &key).await,
        Err(FailureReason::KeysNotLoaded)
    );
}

#[test]
fn urls_are_checked_at_the_start() {
    let schedule = Schedule {
        refresh: Duration::from_secs(1),
        retry: Duration::from_secs(1),
        max_retry: Duration::from_secs(1),
    };
    for (url, good) in [
        ("http://idp/keys", true),
        ("file:///etc/keys%20of%20idp.json", true),
        ("file:/etc/keys.json", true),
        ("FILE://localhost/etc/keys.json", true),
        ("file://host/etc/keys.json", false),
        ("file:keys.json", false),
        ("file:///x%2", false),
        ("http://user:pw@idp/keys", false),
        ("ftp://idp/keys", false),
        ("", false),
        ("é", false),
    ] {
        assert_eq!(KeySet::new(url, schedule).is_ok(), good, "{url}");
    }
}
