//! JSON Web Keys (RFC 7517, 7518, 8037): which of them verify which algorithm, and how.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

use super::failure::TokenDefect;
use super::jwt::Jws;

/// Sizes of RSA keys that are accepted, bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Largest RSA exponent, bytes.
const MAX_EXPONENT_BYTES: usize = 8;

/// A signature algorithm that identity providers may use. There is no HMAC and no `none` among them: a public key is no
/// secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Library(jsonwebtoken::Algorithm),
    /// ECDSA over P-521, which the library lacks.
    Es512,
}

/// One key of the set.
pub(super) struct PublicKey {
    id: Option<String>,
    family: Family,
    /// `alg`, if the key is for one algorithm only.
    only: Option<Algorithm>,
    key: Key,
}

enum Key {
    Library(DecodingKey),
    P521(Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl Algorithm {
    /// The algorithm of an `alg` name; `None` for those that are not accepted.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        use jsonwebtoken::Algorithm as Library;
        Some(Self::Library(match name {
            "RS256" => Library::RS256,
            "RS384" => Library::RS384,
            "RS512" => Library::RS512,
            "PS256" => Library::PS256,
            "PS384" => Library::PS384,
            "PS512" => Library::PS512,
            "ES256" => Library::ES256,
            "ES384" => Library::ES384,
            "EdDSA" => Library::EdDSA,
            "ES512" => return Some(Self::Es512),
            _ => return None,
        }))
    }

    fn fits(self, family: Family) -> bool {
        use jsonwebtoken::{Algorithm as Library, AlgorithmFamily};
        match self {
            Self::Es512 => family == Family::P521,
            Self::Library(Library::ES256) => family == Family::P256,
            Self::Library(Library::ES384) => family == Family::P384,
            Self::Library(Library::EdDSA) => family == Family::Ed25519,
            Self::Library(other) => other.family() == AlgorithmFamily::Rsa && family == Family::Rsa,
        }
    }
}

impl PublicKey {
    /// Checks the signature.
    pub(super) fn verify(&self, jws: &Jws<'_>, algorithm: Algorithm) -> Result<(), TokenDefect> {
        let signed = jws.signed.as_bytes();
        let good = match (&self.key, algorithm) {
            (Key::Library(key), Algorithm::Library(algorithm)) => {
                jsonwebtoken::crypto::verify(jws.signature, signed, key, algorithm).unwrap_or(false)
            }
            (Key::P521(point), Algorithm::Es512) => URL_SAFE_NO_PAD
                .decode(jws.signature)
                .is_ok_and(|signature| {
                    UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point)
                        .verify(signed, &signature)
                        .is_ok()
                }),
            _ => return Err(TokenDefect::Algorithm),
        };
        good.then_some(()).ok_or(TokenDefect::Signature)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        algorithm.fits(self.family) && self.only.is_none_or(|only| only == algorithm)
    }
}

/// The key called `id` that fits `algorithm`. A token that names no key gets the only one that fits.
pub(super) fn choose(
    keys: &[Arc<PublicKey>],
    id: Option<&str>,
    algorithm: Algorithm,
) -> Result<Arc<PublicKey>, TokenDefect> {
    let fitting = |key: &&Arc<PublicKey>| key.fits(algorithm);
    let Some(id) = id else {
        let mut all = keys.iter().filter(fitting);
        return match (all.next(), all.next()) {
            (Some(key), None) => Ok(key.clone()),
            _ => Err(TokenDefect::UnknownKey),
        };
    };
    let mut named = keys
        .iter()
        .filter(|key| key.id.as_deref() == Some(id))
        .peekable();
    if named.peek().is_none() {
        return Err(TokenDefect::UnknownKey);
    }
    named.find(fitting).cloned().ok_or(TokenDefect::Algorithm)
}

/// Every key of a key set that is of use; others, of whatever type, are passed over. `None`: not a key set.
pub(super) fn parse_set(bytes: &[u8]) -> Option<Vec<PublicKey>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(bytes).ok()?;
    Some(set.keys.into_iter().filter_map(parse).collect())
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn parse(value: Value) -> Option<PublicKey> {
    let jwk = Jwk::deserialize(value).ok()?;
    let for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && jwk
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !for_signatures {
        return None;
    }
    let only = match jwk.alg.as_deref() {
        Some(name) => Some(Algorithm::from_name(name)?),
        None => None,
    };
    let (family, key) = match (&*jwk.kty, jwk.crv.as_deref()) {
        ("RSA", _) => {
            let modulus = unsigned(jwk.n.as_deref()?)?;
            let exponent = unsigned(jwk.e.as_deref()?)?;
            if !RSA_BYTES.contains(&modulus.len()) || exponent.len() > MAX_EXPONENT_BYTES {
                return None;
            }
            let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
            (Family::Rsa, Key::Library(key))
        }
        ("EC", Some("P-256")) => {
            let point = point(&jwk, 32)?;
            (Family::P256, Key::Library(DecodingKey::from_ec_der(&point)))
        }
        ("EC", Some("P-384")) => {
            let point = point(&jwk, 48)?;
            (Family::P384, Key::Library(DecodingKey::from_ec_der(&point)))
        }
        ("EC", Some("P-521")) => (Family::P521, Key::P521(point(&jwk, 66)?)),
        ("OKP", Some("Ed25519")) => {
            let key = decoded(jwk.x.as_deref()?)?;
            if key.len() != 32 {
                return None;
            }
            let key = DecodingKey::from_ed_der(&key);
            (Family::Ed25519, Key::Library(key))
        }
        _ => return None,
    };
    let key = PublicKey {
        id: jwk.kid,
        family,
        only,
        key,
    };
    only.is_none_or(|algorithm| algorithm.fits(family))
        .then_some(key)
}

/// An uncompressed point; coordinates that lost leading zeros get them back.
fn point(jwk: &Jwk, size: usize) -> Option<Vec<u8>> {
    let mut point = vec![4];
    for coordinate in [jwk.x.as_deref()?, jwk.y.as_deref()?] {
        let bytes = unsigned(coordinate)?;
        let missing = size.checked_sub(bytes.len())?;
        point.extend(std::iter::repeat_n(0, missing));
        point.extend(bytes);
    }
    Some(point)
}

/// A number without leading zeros.
fn unsigned(text: &str) -> Option<Vec<u8>> {
    let mut bytes = decoded(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Some(bytes)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
