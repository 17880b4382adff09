//! Reading stores of any supported format.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use zeroize::Zeroizing;

use super::jks::{self, Jks};
use super::pem::{self, Pem};
use super::pkcs12::Pkcs12;
use super::{chain, names};

/// Largest store that is read, bytes. A store with every public root is below 1 MiB.
pub const MAX_STORE_BYTES: u64 = 8 << 20;

/// Why a store cannot be used. No message contains a password or key.
#[derive(Debug, Error)]
pub enum MaterialError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is larger than any sensible store.
    #[error("{path} is larger than {MAX_STORE_BYTES} bytes, which no store should be")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The content is none of the known formats.
    #[error("the content is neither PEM nor a PKCS#12 or JKS store")]
    UnknownFormat,
    /// The content is recognised, but cannot be used here.
    #[error("{what} is not supported; {hint}")]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// The content is damaged.
    #[error("not a valid {format}: {what}")]
    Malformed {
        /// What was expected.
        format: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The store's check over password and content fails.
    #[error("the store password is wrong, or the store is damaged")]
    WrongPassword,
    /// The store can only be opened with a password.
    #[error("the store needs a password")]
    MissingPassword,
    /// The password of the private key does not open it.
    #[error("the password of the private key is wrong")]
    WrongKeyPassword,
    /// The private key is encrypted and no password is given.
    #[error("the private key is encrypted and no password is given for it")]
    MissingKeyPassword,
    /// A store that should prove who we are holds no private key.
    #[error("holds no private key")]
    NoPrivateKey,
    /// A store that should say whom to trust holds no certificate.
    #[error("holds no trusted certificate")]
    NoTrustedCertificate,
    /// No certificate belongs to the private key.
    #[error("no certificate belongs to the private key")]
    KeyWithoutCertificate,
    /// The private key is damaged or of a kind that TLS cannot use.
    #[error(
        "the private key cannot be used: RSA of 2048 bits or more, ECDSA on P-256, P-384, P-521, or Ed25519 is needed"
    )]
    UnusableKey,
}

/// A private key with the certificates that prove it.
pub struct Identity {
    /// Name of the entry in its store; empty for PEM.
    pub alias: String,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    /// The certificate of the key, then its issuers as far as they are known.
    pub chain: Vec<CertificateDer<'static>>,
    /// Names of further private keys of the store, which are not used.
    pub unused: Vec<String>,
}

impl Identity {
    /// The earliest expiry in the chain; `None` if a certificate of it cannot be read.
    pub fn not_after(&self) -> Option<SystemTime> {
        names::read(&self.chain).ok().map(|names| names.not_after)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("alias", &self.alias)
            .finish_non_exhaustive()
    }
}

/// Reads a whole store file, following symbolic links.
///
/// # Errors
/// [`MaterialError::Read`], [`MaterialError::TooLarge`].
pub fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, MaterialError> {
    let failed = |error| MaterialError::Read {
        path: path.to_owned(),
        error,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_STORE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_STORE_BYTES {
        return Err(MaterialError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

/// The certificates to trust out of a store.
///
/// Trusted entries, and the certificates of key entries, as in Java: somebody who uses one self-signed key store on
/// both sides trusts the certificate in it. A PKCS#12 store not written by Java marks nothing as trusted; all its certificates count then.
///
/// # Errors
/// Any [`MaterialError`] about the store; [`MaterialError::NoTrustedCertificate`] when it is empty.
pub fn trusted(
    bytes: &[u8],
    password: Option<&str>,
) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let certificates = match Format::detect(bytes)? {
        Format::Pem => Pem::read(bytes)?.certificates,
        Format::Jks => {
            let store = Jks::read(bytes, password)?;
            let leaves = store
                .keys
                .into_iter()
                .filter_map(|key| key.chain.into_iter().next());
            store.trusted.into_iter().chain(leaves).collect()
        }
        Format::Pkcs12 => {
            let store = Pkcs12::read(bytes, password)?;
            let marked = store.certificates.iter().any(|entry| entry.trusted);
            let wanted = |entry: &super::pkcs12::Pkcs12Certificate| {
                entry.trusted || entry.of_key || (!marked && store.keys.is_empty())
            };
            let entries = store.certificates.iter().filter(|entry| wanted(entry));
            entries.map(|entry| entry.der.clone()).collect()
        }
    };
    if certificates.is_empty() {
        return Err(MaterialError::NoTrustedCertificate);
    }
    Ok(certificates)
}

/// The private key of a store with its chain. Of several the first in order of alias.
///
/// `key_password` opens the key where the format has a password of its own for it (JKS, encrypted PEM);
/// without it the store's password is tried, as in Kafka.
///
/// # Errors
/// Any [`MaterialError`] about the store, the key, or a chain that does not fit the key.
pub fn identity(
    bytes: &[u8],
    password: Option<&str>,
    key_password: Option<&str>,
) -> Result<Identity, MaterialError> {
    let key_password = key_password.or(password);
    match Format::detect(bytes)? {
        Format::Pem => {
            let pem = Pem::read(bytes)?;
            identity_of_pem(&pem, &pem, key_password)
        }
        Format::Jks => {
            let mut store = Jks::read(bytes, password)?;
            store.keys.sort_by(|a, b| a.alias.cmp(&b.alias));
            let mut keys = store.keys.into_iter();
            let entry = keys.next().ok_or(MaterialError::NoPrivateKey)?;
            let key = entry.unlock(key_password.ok_or(MaterialError::MissingKeyPassword)?)?;
            Ok(Identity {
                chain: chain::order(&key, &entry.chain)?,
                alias: entry.alias,
                key,
                unused: keys.map(|key| key.alias).collect(),
            })
        }
        Format::Pkcs12 => {
            let mut store = Pkcs12::read(bytes, password)?;
            store.keys.sort_by(|a, b| a.alias.cmp(&b.alias));
            let mut keys = store.keys.into_iter();
            let entry = keys.next().ok_or(MaterialError::NoPrivateKey)?;
            let certificates: Vec<_> = store.certificates.into_iter().map(|c| c.der).collect();
            Ok(Identity {
                chain: chain::order(&entry.key, &certificates)?,
                alias: entry.alias,
                key: entry.key,
                unused: keys.map(|key| key.alias).collect(),
            })
        }
    }
}

/// The private key out of `keys` with its chain out of `certificates`; both may be the same text.
///
/// # Errors
/// Any [`MaterialError`] about the key, or a chain that does not fit it.
pub fn identity_of_pem(
    keys: &Pem,
    certificates: &Pem,
    key_password: Option<&str>,
) -> Result<Identity, MaterialError> {
    let first = keys.keys.first().ok_or(MaterialError::NoPrivateKey)?;
    let key = first.unlock(key_password)?;
    let further = 2..=keys.keys.len();
    Ok(Identity {
        alias: String::new(),
        chain: chain::order(&key, &certificates.certificates)?,
        key,
        unused: further.map(|n| format!("key {n}")).collect(),
    })
}

enum Format {
    Pem,
    Jks,
    Pkcs12,
}

impl Format {
    fn detect(bytes: &[u8]) -> Result<Format, MaterialError> {
        const SEQUENCE: u8 = 0x30;
        const INTEGER: u8 = 0x02;
        if bytes.starts_with(&jks::MAGIC) {
            return Ok(Format::Jks);
        }
        if bytes.starts_with(&jks::JCEKS_MAGIC) {
            return Err(MaterialError::Unsupported {
                what: "a JCEKS store",
                hint: "convert it with: keytool -importkeystore -deststoretype pkcs12",
            });
        }
        match bytes {
            [SEQUENCE, ..] => match after_der_header(bytes) {
                Some([INTEGER, ..]) => Ok(Format::Pkcs12),
                Some([SEQUENCE, ..]) => Err(MaterialError::Unsupported {
                    what: "a BCFKS store or a bare DER certificate",
                    hint: "convert it to PKCS#12 or PEM",
                }),
                _ => Err(MaterialError::UnknownFormat),
            },
            _ if pem::is_pem(bytes) => Ok(Format::Pem),
            _ => Err(MaterialError::UnknownFormat),
        }
    }
}

/// Skips tag and length of the outermost DER or BER value.
fn after_der_header(bytes: &[u8]) -> Option<&[u8]> {
    let length = *bytes.get(1)?;
    let extra = if length < 0x80 { 0 } else { length & 0x7F };
    bytes.get(2 + usize::from(extra)..)
}
