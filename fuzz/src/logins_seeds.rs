//! Inputs to start from for the targets around logins: good messages and tokens of every kind, and the usual wrong ones.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const FAR: u64 = 4_102_444_800;

/// Messages of PLAIN, and tokens to be signed.
pub fn plain() -> Vec<Vec<u8>> {
    let claims = |user: &str, vcluster: &str, exp: u64| {
        format!(r#"{{"username":"{user}","vcluster":"{vcluster}","exp":{exp}}}"#)
    };
    let mut seeds: Vec<Vec<u8>> = ["\0alice\0pw", "alice\0alice\0a.b.c", "\0\0pw", "\0alice\0"]
        .iter()
        .map(|message| message.as_bytes().to_vec())
        .collect();
    for algorithm in ["HS256", "HS384", "none", "RS256"] {
        for claims in [
            claims("alice", "blue", FAR),
            claims("alice", "passthrough", FAR),
            claims("bob", "blue", FAR),
            claims("alice", "blue", 1),
        ] {
            let header = format!(r#"{{"alg":"{algorithm}"}}"#);
            seeds.push(to_sign(&header, &claims));
        }
    }
    seeds
}

/// Messages of OAUTHBEARER, and tokens to be signed.
pub fn oauthbearer() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        b"n,,\x01auth=Bearer a.b.c\x01\x01".to_vec(),
        b"n,a=carol,\x01auth=Bearer a.b.c\x01x=y\x01\x01".to_vec(),
    ];
    let claims =
        |more: &str| format!(r#"{{"iss":"https://idp","sub":"carol","iat":1,"exp":{FAR}{more}}}"#);
    for header in [
        r#"{"alg":"EdDSA","kid":"k"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","kid":"other"}"#,
        r#"{"alg":"RS256","kid":"k"}"#,
        r#"{"alg":"none"}"#,
    ] {
        for more in [
            "",
            r#","aud":["a","b"],"scope":"x y","nbf":2"#,
            r#","gateway.vcluster":"blue""#,
            r#","gateway.vcluster":"red""#,
        ] {
            seeds.push(to_sign(header, &claims(more)));
        }
    }
    seeds
}

/// Messages of the relayed mechanisms, each behind its number.
pub fn relayed() -> Vec<Vec<u8>> {
    let token = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(r#"{"sub":"carol"}"#)
    );
    let bearer = format!("n,,\x01auth=Bearer {token}\x01identityPoolId=pool-1\x01\x01");
    let msk =
        r#"{"version":"1","x-amz-credential":"AKIA7/20260101/eu/kafka-cluster/aws4_request"}"#;
    let messages: [(u8, Vec<&[u8]>); 6] = [
        (0, vec![b"\0alice\0pw"]),
        (1, vec![b"n,,n=a=2Cb,r=abc", b"c=biws,r=abcd,p=eA=="]),
        (2, vec![b"n,a=x,n=alice,r=abc,tokenauth=true"]),
        (3, vec![bearer.as_bytes(), b"\x01"]),
        (0x83, vec![bearer.as_bytes()]),
        (4, vec![msk.as_bytes()]),
    ];
    messages
        .into_iter()
        .map(|(choice, messages)| [&[choice], &messages.join(&0xFF)[..]].concat())
        .collect()
}

/// Tokens as text; none of them is signed with the right key.
pub fn token() -> Vec<Vec<u8>> {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    ["HS256", "HS384", "HS512", "none"]
        .iter()
        .map(|algorithm| {
            let header = part(&format!(r#"{{"alg":"{algorithm}"}}"#));
            let claims = part(r#"{"username":"alice","vcluster":"blue","exp":4102444800}"#);
            format!("{header}.{claims}.{}", part("signature")).into_bytes()
        })
        .collect()
}

/// JAAS texts, each behind the number of a mechanism.
pub fn jaas() -> Vec<Vec<u8>> {
    let module = "org.apache.kafka.common.security";
    [
        format!("\0{module}.plain.PlainLoginModule required username=\"u\" password=\"p\\\"q\";"),
        format!("\x01{module}.scram.ScramLoginModule required username='u' password=p tokenauth=\"true\";"),
        format!("\x02{module}.scram.ScramLoginModule /* c */ required\n// d\n username=u password=p;"),
        format!("\x03{module}.oauthbearer.OAuthBearerLoginModule required clientId=\"c\" clientSecret=\"s\" scope=\"a b\" extension_x=\"y\";"),
        format!("\x03{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"admin\";"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn to_sign(header: &str, claims: &str) -> Vec<u8> {
    [&[1], header.as_bytes(), &[0xFF], claims.as_bytes()].concat()
}
