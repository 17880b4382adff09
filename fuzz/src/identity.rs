//! The bodies of the fuzz targets around certificates: each takes arbitrary bytes and panics if a promise of the auth
//! crate is broken.

use auth::tls::mapping::MappingRules;
use auth::tls::material::{Identity, identity, trusted};
use auth::tls::subject::distinguished_name;
use auth::tls::subject_name;
use rustls_pki_types::CertificateDer;

use super::bodies::{Guard, SMALL};

/// One compiled pattern may need this many bytes at once.
const PATTERN_BYTES: usize = 32 << 20;
/// A list of parts, text and its hexadecimal form: this many bytes for each byte of a name at most.
const NAME_FACTOR: usize = 64;
/// A store is decoded into lists of entries: this many bytes for each byte of it at most.
const STORE_FACTOR: usize = 512;
/// What scrypt may be told to use.
const KEY_DERIVATION_BYTES: usize = 512 << 20;

const PASSWORDS: [Option<&str>; 4] = [None, Some("store-pass-1"), Some("key-pass-2"), Some("")];

/// Target `mapping`: rules, a zero byte, a subject.
pub fn mapping(data: &[u8], guard: &impl Guard) {
    let at = data.iter().position(|byte| *byte == 0);
    let (rules, subject) = data.split_at(at.unwrap_or(data.len()));
    let rules = String::from_utf8_lossy(rules);
    let subject = String::from_utf8_lossy(subject);
    guard.within(PATTERN_BYTES, || {
        let Ok(parsed) = MappingRules::parse(&rules) else {
            return;
        };
        let name = parsed.apply(&subject);
        let with_default = MappingRules::parse(&format!("{rules},DEFAULT"));
        let with_default = with_default.expect("one more rule fits behind good ones");
        if let Some(name) = name {
            assert_eq!(with_default.apply(&subject), Some(name));
        }
    });
}

/// Target `subject`: a DER-encoded name, and a certificate.
pub fn subject(data: &[u8], guard: &impl Guard) {
    let largest = SMALL + NAME_FACTOR * data.len();
    let name = guard.within(largest, || distinguished_name(data));
    if let Ok(name) = name {
        assert!(!name.contains('\0'));
        assert!(distinguished_name(&[data, &[0]].concat()).is_err());
    }
    let certificate = CertificateDer::from(data);
    let _ = guard.within(largest, || subject_name(&certificate));
}

/// Target `store`: the first byte chooses the passwords, the rest is a store of any format.
pub fn store(data: &[u8], guard: &impl Guard) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let choice = usize::from(*choice);
    let password = PASSWORDS[choice % PASSWORDS.len()];
    let key_password = PASSWORDS[choice / PASSWORDS.len() % PASSWORDS.len()];
    let largest = (SMALL + STORE_FACTOR * bytes.len()).max(KEY_DERIVATION_BYTES);
    guard.within(largest, || {
        if let Ok(certificates) = trusted(bytes, password) {
            assert!(!certificates.is_empty());
        }
        if let Ok(Identity { chain, .. }) = identity(bytes, password, key_password) {
            assert!(!chain.is_empty());
        }
    });
}
