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
