use super::*;

fn token(username: &str, vcluster: &str, exp: u64) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(&SIGNING_KEY);
    let claims = json!({"username": username, "vcluster": vcluster, "exp": exp});
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn good() -> String {
    token("alice", "blue", NOW.as_secs() + 60)
}

fn message(authorization_id: &str, username: &str, password: &str) -> Vec<u8> {
    format!("{authorization_id}\0{username}\0{password}").into_bytes()
}

async fn login(authenticator: &Authenticator, message: &[u8]) -> ServerStep {
    let mut exchange = authenticator.begin("PLAIN").unwrap();
    exchange.step_at(message, NOW).await
}

#[tokio::test]
async fn a_token_of_an_account_is_good() {
    let authenticator = authenticator(&security());
    for (authorization_id, vcluster) in [("", "blue"), ("alice", "blue"), ("", PASSTHROUGH)] {
        let password = token("alice", vcluster, NOW.as_secs() + 60);
        let message = message(authorization_id, "alice", &password);
        match login(&authenticator, &message).await {
            ServerStep::Done {
                bytes,
                identity,
                session,
            } => {
                assert!(bytes.is_empty());
                assert_eq!(session, None);
                assert_eq!(names(&identity), (vcluster, "alice", "alice"));
                assert!(identity.still_holds(&accounts()));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Accounts that were made before incarnations were kept go on with the tokens of that time. An account that was deleted and made
/// again has an incarnation, and no token of before fits it.
#[tokio::test]
async fn a_token_is_good_for_one_incarnation_of_an_account() {
    let store = Arc::new(ArcSwap::from_pointee(accounts()));
    let authenticator = Authenticator::new(&security(), store.clone()).unwrap();
    let tokens = authenticator.tokens().unwrap();
    let issued = |incarnation| tokens.issue("alice", "blue", incarnation, Duration::from_secs(60));
    let tokens = [None, Some("1"), Some("2")].map(|incarnation| (incarnation, issued(incarnation)));
    for now in [None, Some("1"), Some("2")] {
        store.store(Arc::new(Accounts::from_iter([Account {
            vcluster: "blue".into(),
            name: "alice".into(),
            kind: AccountKind::Local,
            incarnation: now.map(Into::into),
        }])));
        for (of, token) in &tokens {
            match login(&authenticator, &message("", "alice", token)).await {
                ServerStep::Done { identity, .. } => {
                    assert_eq!(*of, now);
                    assert_eq!(identity.incarnation.as_deref(), now);
                    assert!(identity.still_holds(&store.load()));
                }
                step => {
                    let failure = failure(step);
                    assert_eq!(failure.reason.as_str(), "token_of_deleted_account");
                    assert_eq!(
                        failure.client_message(),
                        "Authentication failed: invalid credentials"
                    );
                    assert_ne!(*of, now);
                }
            }
        }
    }
}

#[tokio::test]
async fn every_check_fails_with_its_own_cause_and_in_its_order() {
    use FailureReason::*;
    let authenticator = authenticator(&security());
    let now = NOW.as_secs();
    let malformed = || Malformed("not three parts of text");
    let expired = |exp| TokenExpired {
        username: "alice".to_owned(),
        vcluster: "blue".to_owned(),
        expired_at: exp,
    };
    let no_account = |vcluster: &str| NoLocalAccount {
        vcluster: vcluster.to_owned(),
    };
    let another = |claimed: &str| TokenOfAnotherUser {
        claimed: claimed.to_owned(),
    };
    let invalid = "Authentication failed: invalid credentials";
    for (message, reason, text) in [
        (Vec::new(), malformed(), invalid),
        (b"alice\0password".to_vec(), malformed(), invalid),
        (b"\0alice\0pass\0word".to_vec(), malformed(), invalid),
        (b"\0alice\0\xFF".to_vec(), malformed(), invalid),
        (
            message("", "", ""),
            MissingUsername,
            "Authentication failed: missing user name",
        ),
        (
            message("alice", "", &good()),
            MissingUsername,
            "Authentication failed: missing user name",
        ),
        (
            message("bob", "alice", ""),
            MissingPassword,
            "Authentication failed: missing password",
        ),
        (
            message("bob", "alice", "wrong"),
            ForeignAuthorizationId,
            invalid,
        ),
        (
            message("", "alice", "wrong"),
            WrongCredentials(TokenDefect::Malformed),
            invalid,
        ),
        (
            message("", "bob", &format!("{}x", good())),
            WrongCredentials(TokenDefect::Signature),
            invalid,
        ),
        (
            message("", "bob", &token("alice", "blue", now)),
            expired(now),
            "Authentication failed: token expired",
        ),
        (
            message("", "alice", &token("alice", "blue", now - 1)),
            expired(now - 1),
            "Authentication failed: token expired",
        ),
        (message("", "bob", &good()), another("alice"), invalid),
        (message("", "Alice", &good()), another("alice"), invalid),
        (
            message("", "alice", &token("alice", "green", now + 1)),
            no_account("green"),
            invalid,
        ),
        (
            message("", "carol", &token("carol", PASSTHROUGH, now + 1)),
            no_account(PASSTHROUGH),
            invalid,
        ),
        (
            message("", "bob", &token("bob", "blue", now + 1)),
            no_account("blue"),
            invalid,
        ),
    ] {
        let shown = String::from_utf8_lossy(&message).into_owned();
        let failure = failure(login(&authenticator, &message).await);
        assert_eq!(failure.reason, reason, "{shown:?}");
        assert_eq!(failure.client_message(), text, "{shown:?}");
        assert!(!format!("{failure} {failure:?}").contains(&good()));
    }
}

#[tokio::test]
async fn a_huge_password_is_refused() {
    let message = message("", "alice", &"a.".repeat(200_000));
    let failure = failure(login(&authenticator(&security()), &message).await);
    assert_eq!(
        failure.reason,
        FailureReason::WrongCredentials(TokenDefect::Malformed)
    );
    assert_eq!(failure.username.as_deref(), Some("alice"));
}

#[tokio::test]
async fn an_exchange_has_one_message() {
    let mut exchange = authenticator(&security()).begin("PLAIN").unwrap();
    let wrong = exchange.step_at(&message("", "alice", "wrong"), NOW).await;
    failure(wrong);
    let late = exchange.step_at(&message("", "alice", &good()), NOW).await;
    assert!(matches!(failure(late).reason, FailureReason::Malformed(_)));
}

#[tokio::test]
async fn the_session_is_bounded_only_if_asked_for() {
    let seconds = Duration::from_secs;
    for (max, left, expected) in [
        (None, 60, None),
        (Some(seconds(0)), 60, None),
        (Some(seconds(30)), 60, Some(seconds(30))),
        (Some(seconds(90)), 60, Some(seconds(60))),
        (Some(Duration::MAX), u64::MAX >> 1, Some(MAX_SESSION)),
    ] {
        let mut security = security();
        security.max_reauth = max;
        let password = token("alice", "blue", NOW.as_secs() + left);
        let step = login(&authenticator(&security), &message("", "alice", &password)).await;
        match step {
            ServerStep::Done { session, .. } => assert_eq!(session, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_deleted_account_is_refused_at_once_and_its_identity_ends() {
    let shared = Arc::new(ArcSwap::from_pointee(accounts()));
    let authenticator = Authenticator::new(&security(), shared.clone()).unwrap();
    let message = message("", "alice", &good());
    let ServerStep::Done { identity, .. } = login(&authenticator, &message).await else {
        panic!("refused")
    };
    shared.store(Arc::default());
    assert!(!identity.still_holds(&shared.load()));
    assert!(matches!(
        failure(login(&authenticator, &message).await).reason,
        FailureReason::NoLocalAccount { .. }
    ));
}

#[tokio::test]
async fn passthrough_is_refused_where_a_virtual_cluster_is_mandatory() {
    let mut security = security();
    security.mandatory_vcluster = true;
    let authenticator = authenticator(&security);
    let inside = message("", "alice", &good());
    assert!(matches!(
        login(&authenticator, &inside).await,
        ServerStep::Done { .. }
    ));
    let outside = token("alice", PASSTHROUGH, NOW.as_secs() + 60);
    let failure = failure(login(&authenticator, &message("", "alice", &outside)).await);
    assert_eq!(failure.reason, FailureReason::VclusterMandatory);
    assert_eq!(
        failure.client_message(),
        "Authentication failed: invalid credentials"
    );
}
