//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), without channel binding, as Kafka's brokers speak it.
//!
//! The client proves that it knows the password without sending it, and the server proves that it knows it too:
//! the exchange is done only after the server's signature was verified.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use super::Step;

/// Fewest iterations that are accepted (RFC 7677 section 4): fewer would let a false server learn the password sooner.
pub const MIN_ITERATIONS: u32 = 4096;

/// Most iterations that are accepted: more would let a false server keep our processor busy.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// The hash function of the mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramHash {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

/// User name and password, or id and HMAC of a delegation token.
pub struct ScramCredentials {
    hash: ScramHash,
    username: String,
    password: Zeroizing<String>,
    token_auth: bool,
    /// The keys of the latest salt: a broker's salt for a user rarely changes, and deriving them costs milliseconds of processor time.
    derived: Mutex<Option<DerivedKeys>>,
}

/// How an exchange fails.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScramError {
    /// The server's message does not follow the RFC.
    #[error("malformed SCRAM message from the broker: {0}")]
    Malformed(&'static str),
    /// The server's nonce does not continue ours: the message belongs to another exchange.
    #[error("the broker's SCRAM nonce does not continue ours")]
    WrongNonce,
    /// The iteration count is outside of what is accepted.
    #[error(
        "the broker asks for {0} SCRAM iterations, accepted are {MIN_ITERATIONS} to {MAX_ITERATIONS}"
    )]
    Iterations(u32),
    /// The server reports an error (RFC 5802 section 7, `server-error-value`).
    #[error("the broker rejected the SCRAM exchange: {0}")]
    Rejected(String),
    /// The server's signature is wrong: it does not know the password.
    #[error("the broker's SCRAM signature is wrong: it does not know our password")]
    WrongServerSignature,
    /// The broker went on after the end of the exchange.
    #[error("unexpected SCRAM message from the broker")]
    AfterEnd,
    /// The system has no randomness.
    #[error("no random numbers for the SCRAM nonce")]
    NoRandomness,
}

impl ScramHash {
    /// Name of the mechanism.
    pub fn mechanism(self) -> &'static str {
        match self {
            ScramHash::Sha256 => "SCRAM-SHA-256",
            ScramHash::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            ScramHash::Sha256 => &digest::SHA256,
            ScramHash::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            ScramHash::Sha256 => hmac::HMAC_SHA256,
            ScramHash::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            ScramHash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            ScramHash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

impl ScramCredentials {
    /// `token_auth` says that name and password are a delegation token's (KIP-48).
    pub fn new(hash: ScramHash, username: &str, password: &str, token_auth: bool) -> Self {
        Self {
            hash,
            username: username.to_owned(),
            password: Zeroizing::new(password.to_owned()),
            token_auth,
            derived: Mutex::new(None),
        }
    }

    /// The hash function.
    pub fn hash(&self) -> ScramHash {
        self.hash
    }
}

/// Keys of one password under one salt (RFC 5802 section 3).
#[derive(Clone)]
struct DerivedKeys {
    salt: Vec<u8>,
    iterations: u32,
    client_key: Zeroizing<Vec<u8>>,
    server_key: Zeroizing<Vec<u8>>,
}

impl DerivedKeys {
    fn derive(hash: ScramHash, password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = Zeroizing::new(vec![0; hash.digest().output_len()]);
        pbkdf2::derive(
            hash.pbkdf2(),
            iterations,
            salt,
            password.as_bytes(),
            &mut salted,
        );
        let key = hmac::Key::new(hash.hmac(), &salted);
        let of = |name: &[u8]| Zeroizing::new(hmac::sign(&key, name).as_ref().to_vec());
        Self {
            salt: salt.to_vec(),
            iterations: iterations.get(),
            client_key: of(b"Client Key"),
            server_key: of(b"Server Key"),
        }
    }
}

impl ScramCredentials {
    fn keys(&self, salt: &[u8], iterations: NonZeroU32) -> DerivedKeys {
        let cached = || self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = &*cached()
            && keys.salt == salt
            && keys.iterations == iterations.get()
        {
            return keys.clone();
        }
        let keys = DerivedKeys::derive(self.hash, &self.password, salt, iterations);
        *cached() = Some(keys.clone());
        keys
    }
}

pub(super) struct ScramExchange {
    credentials: Arc<ScramCredentials>,
    nonce: String,
    state: State,
}

enum State {
    Start,
    FirstSent { client_first_bare: String },
    FinalSent { server_signature: Vec<u8> },
    Over,
}

/// GS2 header: no channel binding, no authorisation id.
const GS2_HEADER: &str = "n,,";

impl ScramExchange {
    pub(super) fn new(credentials: Arc<ScramCredentials>) -> Result<Self, ScramError> {
        let mut random = [0; 24];
        rand::fill(&mut random).map_err(|_| ScramError::NoRandomness)?;
        Ok(Self::with_nonce(credentials, STANDARD.encode(random)))
    }

    fn with_nonce(credentials: Arc<ScramCredentials>, nonce: String) -> Self {
        Self {
            credentials,
            nonce,
            state: State::Start,
        }
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, ScramError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Start if challenge.is_empty() => {
                let client_first_bare = self.client_first_bare();
                let message = format!("{GS2_HEADER}{client_first_bare}");
                self.state = State::FirstSent { client_first_bare };
                Ok(Step::Send(message.into_bytes()))
            }
            State::FirstSent { client_first_bare } => {
                let (message, server_signature) =
                    self.client_final(&client_first_bare, text(challenge)?)?;
                self.state = State::FinalSent { server_signature };
                Ok(Step::Send(message.into_bytes()))
            }
            State::FinalSent { server_signature } => {
                verify_server_final(text(challenge)?, &server_signature)?;
                Ok(Step::Done)
            }
            State::Start | State::Over => Err(ScramError::AfterEnd),
        }
    }

    fn client_first_bare(&self) -> String {
        let name = self
            .credentials
            .username
            .replace('=', "=3D")
            .replace(',', "=2C");
        let extensions = match self.credentials.token_auth {
            true => ",tokenauth=true",
            false => "",
        };
        format!("n={name},r={}{extensions}", self.nonce)
    }

    /// Our final message and the signature that the server's must carry.
    fn client_final(
        &self,
        client_first_bare: &str,
        server_first: &str,
    ) -> Result<(String, Vec<u8>), ScramError> {
        let first = ServerFirst::parse(server_first)?;
        if first.nonce.len() <= self.nonce.len() || !first.nonce.starts_with(&self.nonce) {
            return Err(ScramError::WrongNonce);
        }
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&first.iterations.get()) {
            return Err(ScramError::Iterations(first.iterations.get()));
        }
        let keys = self.credentials.keys(&first.salt, first.iterations);
        let hash = self.credentials.hash;
        let header = STANDARD.encode(GS2_HEADER);
        let without_proof = format!("c={header},r={}", first.nonce);
        let auth_message = format!("{client_first_bare},{server_first},{without_proof}");

        let stored_key = digest::digest(hash.digest(), &keys.client_key);
        let sign = |key: &[u8]| {
            hmac::sign(&hmac::Key::new(hash.hmac(), key), auth_message.as_bytes())
                .as_ref()
                .to_vec()
        };
        let client_signature = sign(stored_key.as_ref());
        let proof: Vec<u8> = keys
            .client_key
            .iter()
            .zip(client_signature)
            .map(|(key, signature)| key ^ signature)
            .collect();
        let message = format!("{without_proof},p={}", STANDARD.encode(proof));
        Ok((message, sign(&keys.server_key)))
    }
}

struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> ServerFirst<'a> {
    /// `r=<nonce>,s=<salt>,i=<iterations>[,extensions]`. A leading `m=` is a mandatory extension, and none is known.
    fn parse(message: &'a str) -> Result<Self, ScramError> {
        if let Some(error) = message.strip_prefix("e=") {
            return Err(rejected(error));
        }
        let mut attributes = message.split(',');
        let mut next = |name: &str, missing| {
            let attribute = attributes.next().and_then(|text| text.strip_prefix(name));
            attribute.ok_or(ScramError::Malformed(missing))
        };
        let nonce = next("r=", "no nonce")?;
        let salt = next("s=", "no salt")?;
        let iterations = next("i=", "no iteration count")?;
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| ScramError::Malformed("the salt is not base64"))?;
        if salt.is_empty() {
            return Err(ScramError::Malformed("the salt is empty"));
        }
        let iterations = iterations
            .parse()
            .map_err(|_| ScramError::Malformed("the iteration count is not a number"))?;
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

fn verify_server_final(message: &str, expected: &[u8]) -> Result<(), ScramError> {
    let first = message.split(',').next().unwrap_or_default();
    if let Some(error) = first.strip_prefix("e=") {
        return Err(rejected(error));
    }
    let signature = first
        .strip_prefix("v=")
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or(ScramError::Malformed("no server signature"))?;
    constant_time::verify_slices_are_equal(&signature, expected)
        .map_err(|_| ScramError::WrongServerSignature)
}

fn rejected(error: &str) -> ScramError {
    let value = error.split(',').next().unwrap_or_default();
    let printable = value.chars().filter(|c| !c.is_control());
    ScramError::Rejected(printable.take(100).collect())
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(hash: ScramHash, user: &str, password: &str, nonce: &str) -> ScramExchange {
        let credentials = ScramCredentials::new(hash, user, password, false);
        ScramExchange::with_nonce(Arc::new(credentials), nonce.to_owned())
    }

    fn sent(step: Result<Step, ScramError>) -> String {
        match step.unwrap() {
            Step::Send(bytes) => String::from_utf8(bytes).unwrap(),
            Step::Done => panic!("done too early"),
        }
    }

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn follows_the_example_of_rfc_7677() {
        let mut exchange = exchange(ScramHash::Sha256, "user", "pencil", NONCE);
        assert_eq!(sent(exchange.step(b"")), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            sent(exchange.step(SERVER_FIRST)),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let last = exchange.step(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(last, Ok(Step::Done));
        assert_eq!(exchange.step(b""), Err(ScramError::AfterEnd));
    }

    #[test]
    fn a_wrong_server_signature_is_not_success() {
        for last in [
            &b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8="[..],
            b"v=",
            b"v=AAAA",
        ] {
            let mut exchange = exchange(ScramHash::Sha256, "user", "pencil", NONCE);
            sent(exchange.step(b""));
            sent(exchange.step(SERVER_FIRST));
            assert_eq!(exchange.step(last), Err(ScramError::WrongServerSignature));
        }
    }

    #[test]
    fn hostile_first_messages_are_refused() {
        let cases: [(&[u8], ScramError); 8] = [
            (b"r=other,s=QSXCR+Q6sek8bf92,i=4096", ScramError::WrongNonce),
            (
                b"r=rOprNGfwEbeRWgbNEkqO,s=QSXCR+Q6sek8bf92,i=4096",
                ScramError::WrongNonce,
            ),
            (
                b"r=rOprNGfwEbeRWgbNEkqOx,s=QSXCR+Q6sek8bf92,i=4095",
                ScramError::Iterations(4095),
            ),
            (
                b"r=rOprNGfwEbeRWgbNEkqOx,s=QSXCR+Q6sek8bf92,i=4000000000",
                ScramError::Iterations(4_000_000_000),
            ),
            (
                b"r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096",
                ScramError::Malformed("the salt is empty"),
            ),
            (
                b"m=x,r=rOprNGfwEbeRWgbNEkqOx,s=QSXCR+Q6sek8bf92,i=4096",
                ScramError::Malformed("no nonce"),
            ),
            (b"\xFF", ScramError::Malformed("not UTF-8")),
            (
                b"e=unknown-user",
                ScramError::Rejected("unknown-user".to_owned()),
            ),
        ];
        for (message, expected) in cases {
            let mut exchange = exchange(ScramHash::Sha256, "user", "pencil", NONCE);
            sent(exchange.step(b""));
            assert_eq!(exchange.step(message), Err(expected));
        }
    }

    /// Plays the server of RFC 5802 for the hash that the RFCs give no example of.
    #[test]
    fn sha_512_convinces_a_server_and_checks_it() {
        let hash = ScramHash::Sha512;
        let mut exchange = exchange(hash, "user", "pencil", NONCE);
        sent(exchange.step(b""));
        let server_first = format!("r={NONCE}server,s={},i=5000", STANDARD.encode("salt"));
        let client_final = sent(exchange.step(server_first.as_bytes()));

        let (without_proof, proof) = client_final.split_once(",p=").unwrap();
        let auth_message = format!("n=user,r={NONCE},{server_first},{without_proof}");
        let iterations = NonZeroU32::new(5000).unwrap();
        let keys = DerivedKeys::derive(hash, "pencil", b"salt", iterations);
        let stored_key = digest::digest(&digest::SHA512, &keys.client_key);
        let key = hmac::Key::new(hmac::HMAC_SHA512, stored_key.as_ref());
        let client_signature = hmac::sign(&key, auth_message.as_bytes());
        let recovered: Vec<u8> = STANDARD
            .decode(proof)
            .unwrap()
            .iter()
            .zip(client_signature.as_ref())
            .map(|(p, s)| p ^ s)
            .collect();
        assert_eq!(
            digest::digest(&digest::SHA512, &recovered).as_ref(),
            stored_key.as_ref()
        );
        let key = hmac::Key::new(hmac::HMAC_SHA512, &keys.server_key);
        let signature = STANDARD.encode(hmac::sign(&key, auth_message.as_bytes()));
        let server_final = format!("v={signature}");
        assert_eq!(exchange.step(server_final.as_bytes()), Ok(Step::Done));
    }

    #[test]
    fn names_are_escaped_and_delegation_tokens_announced() {
        let credentials = ScramCredentials::new(ScramHash::Sha512, "a=b,c", "x", true);
        let mut exchange = ScramExchange::with_nonce(Arc::new(credentials), "N".to_owned());
        assert_eq!(
            sent(exchange.step(b"")),
            "n,,n=a=3Db=2Cc,r=N,tokenauth=true"
        );
    }

    #[test]
    fn nonces_differ() {
        let credentials = Arc::new(ScramCredentials::new(ScramHash::Sha256, "u", "p", false));
        let mut first = ScramExchange::new(credentials.clone()).unwrap();
        let mut second = ScramExchange::new(credentials).unwrap();
        assert_ne!(first.step(b""), second.step(b""));
    }

    #[test]
    fn keys_are_derived_again_for_another_salt() {
        let credentials = ScramCredentials::new(ScramHash::Sha256, "user", "pencil", false);
        let iterations = NonZeroU32::new(4096).unwrap();
        let first = credentials.keys(b"one", iterations);
        let second = credentials.keys(b"two", iterations);
        assert_ne!(first.client_key, second.client_key);
        assert_eq!(
            first.client_key,
            credentials.keys(b"one", iterations).client_key
        );
    }

    #[test]
    fn changed_messages_never_panic() {
        for position in 0..SERVER_FIRST.len() {
            for value in [0, b',', b'=', b'9', 0x7F, 0xFF] {
                let mut message = SERVER_FIRST.to_vec();
                message[position] = value;
                let mut exchange = exchange(ScramHash::Sha256, "user", "pencil", NONCE);
                sent(exchange.step(b""));
                // The signature covers the first message: a changed one has no right answer.
                if message != SERVER_FIRST && exchange.step(&message).is_ok() {
                    let mut last = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
                    let at = position % last.len();
                    last[at] = value;
                    assert!(exchange.step(&last).is_err());
                }
            }
            let mut exchange = exchange(ScramHash::Sha256, "user", "pencil", NONCE);
            sent(exchange.step(b""));
            let _ = exchange.step(&SERVER_FIRST[..position]);
        }
    }
}
