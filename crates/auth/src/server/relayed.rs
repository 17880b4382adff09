//! Who a client says it is, read from an exchange that Kafka decides about.
//!
//! What is read here is believed only after Kafka's success. Each reader is at least as strict as Kafka's own, and refuses
//! what two readers could understand differently: a client must not be one user for Kafka and another one for us.

use config::ClientSecurity;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::failure::{AuthFailure, FailureReason};
use super::oauthbearer::{ClientMessage, sasl_name, unverified_subject};
use super::plain::PlainMessage;

/// The mechanisms that can be relayed.
pub const RELAYED_MECHANISMS: [&str; 5] = [
    "PLAIN",
    "SCRAM-SHA-256",
    "SCRAM-SHA-512",
    "OAUTHBEARER",
    "AWS_MSK_IAM",
];

/// Longest name that is accepted, bytes.
const MAX_NAME_BYTES: usize = 1024;

/// Largest payload of AWS_MSK_IAM, bytes.
const MAX_PAYLOAD_BYTES: usize = 64 << 10;

/// How tokens name their owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayedOptions {
    /// The claim of an OAUTHBEARER token that holds the name.
    pub subject_claim: String,
    /// `GATEWAY_OAUTH_USE_CC_POOL_ID`: the name is the extension `identityPoolId` instead.
    pub use_pool_id: bool,
}

impl From<&ClientSecurity> for RelayedOptions {
    fn from(security: &ClientSecurity) -> Self {
        let mut options = Self {
            use_pool_id: security.use_pool_id,
            ..Self::default()
        };
        if let Some(oauth) = &security.oauth {
            options.subject_claim.clone_from(&oauth.sub_claim_name);
        }
        options
    }
}

impl Default for RelayedOptions {
    fn default() -> Self {
        Self {
            subject_claim: "sub".to_owned(),
            use_pool_id: false,
        }
    }
}

/// One exchange between a client and Kafka.
#[derive(Debug)]
pub struct RelayedExchange {
    mechanism: Mechanism,
    options: RelayedOptions,
    messages: u8,
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Scram,
    OAuthBearer,
    AwsMskIam,
}

impl RelayedExchange {
    /// `None`: the mechanism cannot be relayed.
    pub fn begin(mechanism: &str, options: &RelayedOptions) -> Option<Self> {
        let mechanism = match mechanism {
            "PLAIN" => Mechanism::Plain,
            "SCRAM-SHA-256" | "SCRAM-SHA-512" => Mechanism::Scram,
            "OAUTHBEARER" => Mechanism::OAuthBearer,
            "AWS_MSK_IAM" => Mechanism::AwsMskIam,
            _ => return None,
        };
        Some(Self {
            mechanism,
            options: options.clone(),
            messages: 0,
            name: None,
        })
    }

    /// Looks at a message of the client before it is relayed. The first one tells the name in every mechanism.
    ///
    /// # Errors
    /// [`FailureReason::IdentityNotFound`]: the message must not be relayed.
    pub fn client(&mut self, bytes: &[u8]) -> Result<(), AuthFailure> {
        let read = if self.messages == 0 {
            self.first(bytes).and_then(|name| match name.len() {
                0 => Err("the name is empty"),
                1..=MAX_NAME_BYTES => {
                    self.name = Some(name);
                    Ok(())
                }
                _ => Err("the name is too long"),
            })
        } else {
            self.later(bytes)
        };
        self.messages = self.messages.saturating_add(1);
        read.map_err(|what| {
            AuthFailure::new(FailureReason::IdentityNotFound(what), self.name.as_deref())
        })
    }

    /// The name, once it is known. To be believed only after Kafka's success.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn first(&self, bytes: &[u8]) -> Result<String, &'static str> {
        match self.mechanism {
            Mechanism::Plain => PlainMessage::parse(bytes)
                .map(|message| message.username.to_owned())
                .ok_or("not three parts of text"),
            Mechanism::Scram => scram_name(bytes),
            Mechanism::OAuthBearer => {
                let message = ClientMessage::parse(bytes)?;
                if self.options.use_pool_id {
                    let pool = message
                        .extensions
                        .iter()
                        .find(|(name, _)| *name == "identityPoolId");
                    return pool
                        .map(|(_, value)| (*value).to_owned())
                        .ok_or("no identity pool");
                }
                unverified_subject(message.token, &self.options.subject_claim)
                    .ok_or("no subject in the token")
            }
            Mechanism::AwsMskIam => access_key_id(bytes),
        }
    }

    /// SCRAM has a second message, and OAUTHBEARER one byte that ends a failure.
    fn later(&self, bytes: &[u8]) -> Result<(), &'static str> {
        match self.mechanism {
            Mechanism::Scram if self.messages == 1 => Ok(()),
            Mechanism::OAuthBearer if self.messages == 1 && bytes == [1] => Ok(()),
            _ => Err("more messages than the mechanism has"),
        }
    }
}

/// `n=` of the client's first message (RFC 5802).
fn scram_name(bytes: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let rest = text.strip_prefix("n,").ok_or("not a GS2 header")?;
    let (authorization_id, rest) = rest.split_once(',').ok_or("not a GS2 header")?;
    if !authorization_id.is_empty() && !authorization_id.starts_with("a=") {
        return Err("not a GS2 header");
    }
    let (name, rest) = rest
        .strip_prefix("n=")
        .and_then(|rest| rest.split_once(','))
        .ok_or("no user name")?;
    if !rest.starts_with("r=") {
        return Err("no nonce");
    }
    sasl_name(name).ok_or("not a user name")
}

/// The first part of the credential, which is `<access key id>/<date>/<region>/<service>/aws4_request`.
fn access_key_id(bytes: &[u8]) -> Result<String, &'static str> {
    if bytes.len() > MAX_PAYLOAD_BYTES {
        return Err("the payload is too large");
    }
    let Credential(credential) =
        serde_json::from_slice(bytes).map_err(|_| "not one credential in JSON")?;
    let (id, _) = credential.split_once('/').ok_or("not a credential")?;
    let usable = id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    usable.then(|| id.to_owned()).ok_or("not an access key id")
}

/// The value of `x-amz-credential`, which must not come twice, in whatever case.
struct Credential(String);

impl<'de> Deserialize<'de> for Credential {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CredentialVisitor)
    }
}

struct CredentialVisitor;

impl<'de> Visitor<'de> for CredentialVisitor {
    type Value = Credential;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with one x-amz-credential")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Credential, A::Error> {
        use serde::de::Error as _;
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            if !name.eq_ignore_ascii_case("x-amz-credential") {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value::<String>()?).is_some() {
                return Err(A::Error::duplicate_field("x-amz-credential"));
            }
        }
        found
            .map(Credential)
            .ok_or_else(|| A::Error::missing_field("x-amz-credential"))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn name(mechanism: &str, options: &RelayedOptions, message: &[u8]) -> Option<String> {
        let mut exchange = RelayedExchange::begin(mechanism, options).unwrap();
        assert_eq!(exchange.name(), None);
        match exchange.client(message) {
            Ok(()) => exchange.name().map(String::from),
            Err(failure) => {
                assert!(matches!(failure.reason, FailureReason::IdentityNotFound(_)));
                assert_eq!(exchange.name(), None);
                None
            }
        }
    }

    fn bearer(claims: &str, extensions: &str) -> Vec<u8> {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let claims = URL_SAFE_NO_PAD.encode(claims);
        format!("n,,\x01auth=Bearer {header}.{claims}.\x01{extensions}\x01").into_bytes()
    }

    #[test]
    fn names_are_read_from_every_mechanism() {
        let long = format!("\0{}\0pw", "x".repeat(1025));
        for (mechanism, message, expected) in [
            ("PLAIN", "\0alice\0pw", Some("alice")),
            ("PLAIN", "other\0alice\0pw", Some("alice")),
            ("PLAIN", "\0\0pw", None),
            ("PLAIN", "\0alice", None),
            ("PLAIN", "", None),
            ("PLAIN", "\0alice\0pw\0x", None),
            ("PLAIN", &long, None),
            ("SCRAM-SHA-256", "n,,n=alice,r=abc", Some("alice")),
            ("SCRAM-SHA-512", "n,a=x,n=a=2Cb=3Dc,r=abc", Some("a,b=c")),
            ("SCRAM-SHA-512", "n,,n=id,r=abc,tokenauth=true", Some("id")),
            ("SCRAM-SHA-512", "n,,n=a=3D2Cb,r=abc", Some("a=2Cb")),
            ("SCRAM-SHA-256", "n,,n=a=b,r=abc", None),
            ("SCRAM-SHA-256", "n,,n=,r=abc", None),
            ("SCRAM-SHA-256", "n,,n=alice", None),
            ("SCRAM-SHA-256", "n,,m=x,n=alice,r=abc", None),
            ("SCRAM-SHA-256", "n,,x=1,n=alice,r=abc", None),
            ("SCRAM-SHA-256", "p=tls-exporter,,n=alice,r=abc", None),
            ("SCRAM-SHA-256", "n,x,n=alice,r=abc", None),
            ("SCRAM-SHA-256", "", None),
            (
                "AWS_MSK_IAM",
                r#"{"version":"1","x-amz-credential":"AKIA7/20260101/eu/kafka-cluster/aws4_request"}"#,
                Some("AKIA7"),
            ),
            ("AWS_MSK_IAM", r#"{"x-amz-credential":"AKIA7"}"#, None),
            ("AWS_MSK_IAM", r#"{"x-amz-credential":"/x"}"#, None),
            ("AWS_MSK_IAM", r#"{"x-amz-credential":"a b/x"}"#, None),
            ("AWS_MSK_IAM", r#"{"x-amz-credential":7}"#, None),
            (
                "AWS_MSK_IAM",
                r#"{"x-amz-credential":"a/x","x-amz-credential":"b/x"}"#,
                None,
            ),
            (
                "AWS_MSK_IAM",
                r#"{"x-amz-credential":"a/x","X-Amz-Credential":"b/x"}"#,
                None,
            ),
            (
                "AWS_MSK_IAM",
                r#"{"x-amz-credential":"a/x","x-amz-\u0063redential":"b/x"}"#,
                None,
            ),
            ("AWS_MSK_IAM", r#"{"x-amz-credential":"a/x"} x"#, None),
            ("AWS_MSK_IAM", "{}", None),
            ("AWS_MSK_IAM", "[]", None),
            ("AWS_MSK_IAM", "", None),
        ] {
            let found = name(mechanism, &RelayedOptions::default(), message.as_bytes());
            assert_eq!(found.as_deref(), expected, "{mechanism} {message:.100}");
        }
        assert_eq!(
            name("PLAIN", &RelayedOptions::default(), b"\0\xFF\0pw"),
            None
        );
        let deep = format!(
            r#"{{"a":{},"x-amz-credential":"a/x"}}"#,
            "[".repeat(100_000)
        );
        let huge = format!(
            r#"{{"a":"{}","x-amz-credential":"a/x"}}"#,
            "x".repeat(1 << 20)
        );
        for message in [deep, huge] {
            let found = name(
                "AWS_MSK_IAM",
                &RelayedOptions::default(),
                message.as_bytes(),
            );
            assert_eq!(found, None);
        }
    }

    #[test]
    fn tokens_name_their_owner_by_claim_or_by_identity_pool() {
        let options = |subject_claim: &str, use_pool_id| RelayedOptions {
            subject_claim: subject_claim.to_owned(),
            use_pool_id,
        };
        let claims = r#"{"sub":"carol","azp":"app","n":7,"e":""}"#;
        let pool = "identityPoolId=pool-1\x01logicalCluster=lkc-1\x01";
        for (options, extensions, expected) in [
            (options("sub", false), "", Some("carol")),
            (options("sub", false), pool, Some("carol")),
            (options("azp", false), "", Some("app")),
            (options("n", false), "", None),
            (options("e", false), "", None),
            (options("missing", false), "", None),
            (options("sub", true), pool, Some("pool-1")),
            (options("sub", true), "", None),
            (
                options("sub", true),
                "identityPoolId=a\x01identityPoolId=b\x01",
                None,
            ),
        ] {
            let message = bearer(claims, extensions);
            let found = name("OAUTHBEARER", &options, &message);
            assert_eq!(found.as_deref(), expected, "{options:?} {extensions:?}");
        }
        let opaque = b"n,,\x01auth=Bearer opaque\x01\x01";
        assert_eq!(
            name("OAUTHBEARER", &RelayedOptions::default(), opaque),
            None
        );
    }

    #[test]
    fn the_name_stays_and_no_mechanism_has_more_messages_than_it_has() {
        let msk = br#"{"x-amz-credential":"a/x"}"#.to_vec();
        let token = bearer(r#"{"sub":"carol"}"#, "");
        for (mechanism, first, second, good) in [
            (
                "PLAIN",
                b"\0alice\0pw".to_vec(),
                b"\0bob\0pw".to_vec(),
                false,
            ),
            ("PLAIN", b"\0alice\0pw".to_vec(), Vec::new(), false),
            ("AWS_MSK_IAM", msk.clone(), msk, false),
            ("OAUTHBEARER", token.clone(), vec![1], true),
            ("OAUTHBEARER", token.clone(), token, false),
            (
                "SCRAM-SHA-256",
                b"n,,n=alice,r=a".to_vec(),
                b"c=biws,r=ab,p=x".to_vec(),
                true,
            ),
        ] {
            let options = RelayedOptions::default();
            let mut exchange = RelayedExchange::begin(mechanism, &options).unwrap();
            exchange.client(&first).unwrap();
            let name = exchange.name().map(String::from);
            assert_eq!(exchange.client(&second).is_ok(), good, "{mechanism}");
            exchange.client(&second).unwrap_err();
            assert_eq!(exchange.name().map(String::from), name);
        }
    }

    #[test]
    fn a_message_in_pieces_is_not_put_together() {
        let mut exchange = RelayedExchange::begin("PLAIN", &RelayedOptions::default()).unwrap();
        exchange.client(b"\0alice").unwrap_err();
        exchange.client(b"\0pw").unwrap_err();
        assert_eq!(exchange.name(), None);
    }

    #[test]
    fn other_mechanisms_are_not_relayed() {
        for mechanism in ["GSSAPI", "plain", "SCRAM-SHA-1", ""] {
            let options = RelayedOptions::default();
            assert!(RelayedExchange::begin(mechanism, &options).is_none());
        }
        for mechanism in RELAYED_MECHANISMS {
            let options = RelayedOptions::default();
            assert!(RelayedExchange::begin(mechanism, &options).is_some());
        }
    }
}
