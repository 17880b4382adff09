use super::*;

fn done(step: ServerStep) -> (Identity, Option<Duration>) {
    match step {
        ServerStep::Done {
            bytes,
            identity,
            session,
        } => {
            assert!(bytes.is_empty());
            (identity, session)
        }
        other => panic!("{other:?}"),
    }
}

/// Good claims with some of them replaced; null removes one.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => {
                claims.as_object_mut().unwrap().remove(name);
            }
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[tokio::test]
async fn every_algorithm_of_the_list_is_accepted() {
    let keys = [
        IdpKey::rsa("rsa"),
        IdpKey::ec("p256", "P-256"),
        IdpKey::ec("p384", "P-384"),
        IdpKey::ec("p521", "P-521"),
        IdpKey::ed("ed"),
    ];
    let file = KeyFile::with(&keys.iter().collect::<Vec<_>>());
    let authenticator = with_keys(file.url());
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    for (key, algorithms) in
        keys.iter()
            .zip([&rsa[..], &["ES256"], &["ES384"], &["ES512"], &["EdDSA"]])
    {
        for algorithm in algorithms {
            let token = key.token(algorithm, &claims());
            let (identity, _) = done(login(&authenticator, &bearer(&token)).await);
            assert_eq!(names(&identity), (PASSTHROUGH, "carol", "carol"));
            assert_eq!(identity.kind, IdentityKind::OAuth);
            let (rest, _) = token.rsplit_once('.').unwrap();
            let other = key.token(algorithm, &with(json!({"sub": "mallory"})));
            let (_, signature) = other.rsplit_once('.').unwrap();
            for forged in [format!("{rest}.{signature}"), format!("{rest}.")] {
                let failure = failure(login(&authenticator, &bearer(&forged)).await);
                assert_eq!(
                    failure.reason,
                    FailureReason::InvalidOAuthToken(TokenDefect::Signature),
                    "{algorithm}"
                );
            }
        }
    }
}

#[tokio::test]
async fn no_other_algorithm_is_accepted_whatever_the_key() {
    let rsa = IdpKey::rsa("rsa");
    let ec = IdpKey::ec("p256", "P-256");
    let mut only = IdpKey::rsa("only").jwk();
    only["alg"] = json!("RS512");
    let set = json!({"keys": [rsa.jwk(), ec.jwk(), only]});
    let file = KeyFile::absent();
    file.write(&set.to_string());
    let authenticator = with_keys(file.url());
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut forged = vec![
        rsa.token("ES256", &claims()),
        rsa.token("EdDSA", &claims()),
        ec.token("RS256", &claims()),
        ec.token("ES384", &claims()),
        rsa.token("rs256", &claims()),
        rsa.token_with(&json!({"alg": "RS256", "kid": "only"}), &claims()),
    ];
    // A public key is no secret: an HMAC made with any form of it must not count as a signature.
    let jwk = rsa.jwk();
    let modulus = jwk["n"].as_str().unwrap();
    let der = match &rsa.pair {
        Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        _ => Vec::new(),
    };
    let secrets = [
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        der,
        jwk.to_string().into_bytes(),
    ];
    for secret in secrets {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some("rsa".to_owned());
        let key = jsonwebtoken::EncodingKey::from_secret(&secret);
        forged.push(jsonwebtoken::encode(&header, &claims(), &key).unwrap());
    }
    for algorithm in ["none", "None", "NONE", "", "HS256", "HS512"] {
        let header = part(json!({"alg": algorithm, "kid": "rsa"}));
        forged.push(format!("{header}.{}.", part(claims())));
    }
    for token in forged {
        let failure = failure(login(&authenticator, &bearer(&token)).await);
        assert_eq!(
            failure.reason,
            FailureReason::InvalidOAuthToken(TokenDefect::Algorithm),
            "{token}"
        );
        assert_eq!(failure.client_message(), r#"{"status":"invalid_token"}"#);
    }
}

#[tokio::test]
async fn every_rule_for_claims_is_applied() {
    use TokenDefect::{Audience, Claim, Expired, Issuer, NotYetValid};
    let key = IdpKey::ed("k");
    let file = KeyFile::with(&[&key]);
    let authenticator = with_keys(file.url());
    let now = NOW.as_secs();
    for (changes, expected) in [
        (json!({}), None),
        (json!({"exp": now}), None),
        (json!({"exp": now - 29}), None),
        (json!({"exp": (now as f64) - 29.5, "iat": now - 60}), None),
        (json!({"exp": now - 30, "iat": now - 60}), Some(Expired)),
        (json!({"exp": now - 3600, "iat": now - 7200}), Some(Expired)),
        (json!({"exp": null}), Some(Claim("exp"))),
        (json!({"exp": "4102444800"}), Some(Claim("exp"))),
        (json!({"exp": -1}), Some(Claim("exp"))),
        (json!({"exp": 1e300}), Some(Claim("exp"))),
        (json!({"iat": null}), Some(Claim("iat"))),
        (json!({"iat": "now"}), Some(Claim("iat"))),
        (json!({"iat": now + 700}), Some(Claim("exp"))),
        (json!({"nbf": now + 30}), None),
        (json!({"nbf": now + 31}), Some(NotYetValid)),
        (json!({"nbf": "x"}), Some(Claim("nbf"))),
        (json!({"iss": "https://idp/"}), Some(Issuer)),
        (json!({"iss": null}), Some(Issuer)),
        (json!({"iss": ["https://idp"]}), Some(Issuer)),
        (json!({"aud": ["x", "gateway"]}), None),
        (json!({"aud": "[kafka]"}), Some(Audience)),
        (json!({"aud": ["x"]}), Some(Audience)),
        (json!({"aud": []}), Some(Audience)),
        (json!({"aud": ["kafka", 7]}), Some(Audience)),
        (json!({"aud": null}), Some(Audience)),
        (json!({"scope": "a b"}), None),
        (json!({"scope": ["a", "b"]}), None),
        (json!({"scope": 7}), Some(Claim("scope"))),
        (json!({"scope": ["a", 7]}), Some(Claim("scope"))),
        (json!({"sub": null}), Some(Claim("sub"))),
        (json!({"sub": ""}), Some(Claim("sub"))),
        (json!({"sub": "  "}), Some(Claim("sub"))),
        (json!({"sub": 7}), Some(Claim("sub"))),
        (json!({"sub": "x".repeat(1025)}), Some(Claim("sub"))),
        (
            json!({"gateway.vcluster": 7}),
            Some(Claim("gateway.vcluster")),
        ),
    ] {
        // The good life must not be longer ago than its begin.
        let mut claims = with(changes.clone());
        if changes.get("exp").is_some() && changes.get("iat").is_none() {
            claims["iat"] = json!(now - 100);
        }
        let step = login(&authenticator, &bearer(&key.token("EdDSA", &claims))).await;
        match expected {
            None => {
                done(step);
            }
            Some(defect) => assert_eq!(
                failure(step).reason,
                FailureReason::InvalidOAuthToken(defect),
                "{changes}"
            ),
        }
    }
}

#[tokio::test]
async fn issuer_and_audience_are_free_if_none_is_expected() {
    let key = IdpKey::ed("k");
    let file = KeyFile::with(&[&key]);
    let mut security = security();
    let mut settings = oauth(file.url());
    settings.expected_issuer = None;
    settings.expected_audiences = Vec::new();
    settings.sub_claim_name = "azp".to_owned();
    security.oauth = Some(settings);
    let authenticator = running(&security);
    let token = key.token(
        "EdDSA",
        &with(json!({"iss": null, "aud": 7, "sub": null, "azp": "app"})),
    );
    let (identity, _) = done(login(&authenticator, &bearer(&token)).await);
    assert_eq!(names(&identity), (PASSTHROUGH, "app", "app"));
}

#[tokio::test]
async fn the_identity_comes_from_account_or_claim() {
    let key = IdpKey::ed("k");
    let file = KeyFile::with(&[&key]);
    let mut security = security();
    security.oauth = Some(oauth(file.url()));
    let free = running(&security);
    security.mandatory_vcluster = true;
    let strict = running(&security);
    let unknown = |name: &str| {
        Err(FailureReason::UnknownVcluster {
            vcluster: name.to_owned(),
        })
    };
    for (subject, claim, expected, in_strict) in [
        ("carol", None, Ok((PASSTHROUGH, "carol")), false),
        ("carol", Some("empty"), Ok(("empty", "carol")), true),
        ("carol", Some("blue"), Ok(("blue", "carol")), true),
        (
            "carol",
            Some(PASSTHROUGH),
            Ok((PASSTHROUGH, "carol")),
            false,
        ),
        ("carol", Some("red"), unknown("red"), false),
        ("carol", Some(""), unknown(""), false),
        ("bob@idp", None, Ok(("blue", "bob")), true),
        ("bob@idp", Some("green"), Ok(("blue", "bob")), true),
        ("bob@idp", Some("red"), Ok(("blue", "bob")), true),
        ("BOB@idp", None, Ok((PASSTHROUGH, "BOB@idp")), false),
    ] {
        let claims = with(json!({"sub": subject, "gateway.vcluster": claim}));
        let message = bearer(&key.token("EdDSA", &claims));
        let step = login(&free, &message).await;
        match expected {
            Ok((vcluster, name)) => {
                let (identity, _) = done(step);
                assert_eq!(names(&identity), (vcluster, name, subject));
                assert!(identity.still_holds(&accounts()));
                let step = login(&strict, &message).await;
                assert_eq!(
                    matches!(step, ServerStep::Done { .. }),
                    in_strict,
                    "{step:?}"
                );
            }
            Err(reason) => {
                let failure = failure(step);
                assert_eq!(failure.reason, reason);
                assert_eq!(failure.username.as_deref(), Some(subject));
            }
        }
    }
}

#[tokio::test]
async fn the_authorization_id_must_be_the_subject() {
    let key = IdpKey::ed("k");
    let file = KeyFile::with(&[&key]);
    let authenticator = with_keys(file.url());
    let token = key.token("EdDSA", &with(json!({"sub": "a,b=c"})));
    let message = |header: &str| format!("{header}\x01auth=Bearer {token}\x01\x01").into_bytes();
    done(login(&authenticator, &message("n,,")).await);
    done(login(&authenticator, &message("n,a=a=2Cb=3Dc,")).await);
    // A rejection of the exchange, not of the token: no challenge comes first.
    let mut exchange = authenticator.begin("OAUTHBEARER").unwrap();
    let step = exchange.step_at(&message("n,a=carol,"), NOW).await;
    assert_eq!(failure(step).reason, FailureReason::ForeignAuthorizationId);
}

#[tokio::test]
async fn the_form_of_the_message_is_kafkas() {
    let key = IdpKey::ed("k");
    let file = KeyFile::with(&[&key]);
    let authenticator = with_keys(file.url());
    let token = key.token("EdDSA", &claims());
    let many: String = (0..100)
        .map(|n| format!("x{}=1\x01", "a".repeat(n)))
        .collect();
    for (message, good) in [
        (format!("n,,\x01auth=Bearer {token}\x01\x01"), true),
        (format!("n,,\x01auth=bearer   {token}\x01\x01"), true),
        (
            format!("n,,\x01a=1\x01auth=Bearer {token}\x01b=x=y z\x01\x01"),
            true,
        ),
        (String::new(), false),
        ("\x01".to_owned(), false),
        (format!("n,,\x01auth=Bearer {token}\x01"), false),
        (format!("n,,auth=Bearer {token}\x01\x01"), false),
        (format!("y,,\x01auth=Bearer {token}\x01\x01"), false),
        (format!("p=tls,,\x01auth=Bearer {token}\x01\x01"), false),
        (format!("n,carol,\x01auth=Bearer {token}\x01\x01"), false),
        (format!("n,a=,\x01auth=Bearer {token}\x01\x01"), false),
        (format!("n,a=x=2,\x01auth=Bearer {token}\x01\x01"), false),
        (format!("n,,\x01auth={token}\x01\x01"), false),
        (format!("n,,\x01auth=Basic {token}\x01\x01"), false),
        ("n,,\x01auth=Bearer \x01\x01".to_owned(), false),
        (format!("n,,\x01auth=Bearer {token} x\x01\x01"), false),
        ("n,,\x01x=y\x01\x01".to_owned(), false),
        (
            format!("n,,\x01auth=Bearer {token}\x01auth=Bearer {token}\x01\x01"),
            false,
        ),
        (
            format!("n,,\x01auth=Bearer {token}\x01a=1\x01a=2\x01\x01"),
            false,
        ),
        (format!("n,,\x01auth=Bearer {token}\x01a1=1\x01\x01"), false),
        (format!("n,,\x01auth=Bearer {token}\x01a=é\x01\x01"), false),
        (format!("n,,\x01{many}auth=Bearer {token}\x01\x01"), false),
    ] {
        let mut exchange = authenticator.begin("OAUTHBEARER").unwrap();
        let step = exchange.step_at(message.as_bytes(), NOW).await;
        if good {
            done(step);
        } else {
            let reason = failure(step).reason;
            assert!(matches!(reason, FailureReason::Malformed(_)), "{message:?}");
        }
    }
}

#[tokio::test]
async fn a_rejected_token_is_a_challenge_first() {
    let key = IdpKey::ed("k");
    let file = KeyFile::with(&[&key]);
    let authenticator = with_keys(file.url());
    let token = key.token("EdDSA", &with(json!({"iss": "https://other"})));
    for answer in [&b"\x01"[..], b"", &bearer(&key.token("EdDSA", &claims()))] {
        let mut exchange = authenticator.begin("OAUTHBEARER").unwrap();
        let step = exchange.step_at(&bearer(&token), NOW).await;
        let text = br#"{"status":"invalid_token"}"#;
        assert_eq!(step, ServerStep::Challenge(text.to_vec()));
        let failed = failure(exchange.step_at(answer, NOW).await);
        assert_eq!(
            failed.reason,
            FailureReason::InvalidOAuthToken(TokenDefect::Issuer)
        );
        assert_eq!(failed.client_message().as_bytes(), text);
        failure(exchange.step_at(b"\x01", NOW).await);
    }
}

#[tokio::test]
async fn the_session_ends_with_the_token() {
    let key = IdpKey::ed("k");
    let file = KeyFile::with(&[&key]);
    let seconds = Duration::from_secs;
    for (max, left, expected) in [
        (None, 600, seconds(600)),
        (Some(seconds(60)), 600, seconds(60)),
        (Some(seconds(6000)), 600, seconds(600)),
        (None, -20, Duration::from_millis(1)),
    ] {
        let mut security = security();
        security.max_reauth = max;
        security.oauth = Some(oauth(file.url()));
        let authenticator = running(&security);
        let exp = NOW.as_secs() as i64 + left;
        let token = key.token("EdDSA", &with(json!({"exp": exp, "iat": 1})));
        let (_, session) = done(login(&authenticator, &bearer(&token)).await);
        assert_eq!(session, Some(expected));
    }
}
