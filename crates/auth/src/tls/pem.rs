//! PEM text: certificates and private keys in any order, from a file or straight from a setting.
//!
//! More forgiving about layout than strict readers, as Kafka's is: the line breaks of the text may have become
//! blanks, which happens when it travels through an environment variable.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::OctetStringRef;
use der::{Decode, Reader as _, SliceReader};
use pkcs5::EncryptionScheme;
use pkcs5::pbes2::Kdf;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use zeroize::Zeroizing;

use super::material::MaterialError;

/// The certificates and keys of one text, in the order they stand there.
#[derive(Debug, Default)]
pub struct Pem {
    /// Certificates.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Private keys; encrypted ones are still locked.
    pub keys: Vec<PemKey>,
}

/// A private key as it stands in a PEM text.
pub enum PemKey {
    /// PKCS#8, PKCS#1 or SEC1 in the clear.
    Plain(PrivateKeyDer<'static>),
    /// PKCS#8 under a password (`ENCRYPTED PRIVATE KEY`), DER.
    Locked(Zeroizing<Vec<u8>>),
}

impl std::fmt::Debug for PemKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PemKey::Plain(_) => "PemKey::Plain(..)",
            PemKey::Locked(_) => "PemKey::Locked(..)",
        })
    }
}

/// Whether the bytes hold at least one PEM section.
pub fn is_pem(bytes: &[u8]) -> bool {
    find(bytes, BEGIN).is_some()
}

impl Pem {
    /// Reads every certificate and private key of a text; sections of other kinds are passed over.
    ///
    /// # Errors
    /// [`MaterialError::Malformed`] for a section that does not end or is not base64, [`MaterialError::Unsupported`] for the old OpenSSL key encryption.
    pub fn read(text: &[u8]) -> Result<Pem, MaterialError> {
        let mut pem = Pem::default();
        let mut rest = text;
        while let Some((section, after)) = next_section(rest)? {
            rest = after;
            match section.label {
                b"CERTIFICATE" | b"X509 CERTIFICATE" => {
                    let der = section.decode()?;
                    pem.certificates.push(CertificateDer::from(der.to_vec()));
                }
                b"PRIVATE KEY" => {
                    let der = section.decode()?.to_vec();
                    pem.keys
                        .push(PemKey::Plain(PrivatePkcs8KeyDer::from(der).into()));
                }
                b"RSA PRIVATE KEY" => {
                    let der = section.decode()?.to_vec();
                    pem.keys
                        .push(PemKey::Plain(PrivatePkcs1KeyDer::from(der).into()));
                }
                b"EC PRIVATE KEY" => {
                    let der = section.decode()?.to_vec();
                    pem.keys
                        .push(PemKey::Plain(PrivateSec1KeyDer::from(der).into()));
                }
                b"ENCRYPTED PRIVATE KEY" => pem.keys.push(PemKey::Locked(section.decode()?)),
                _ => {}
            }
        }
        Ok(pem)
    }
}

impl PemKey {
    /// Gives the key in the clear, with the password if it needs one.
    ///
    /// # Errors
    /// [`MaterialError::MissingKeyPassword`], [`MaterialError::WrongKeyPassword`], or
    /// [`MaterialError::Unsupported`] for encryption other than PBES2 with PBKDF2 or scrypt.
    pub fn unlock(&self, password: Option<&str>) -> Result<PrivateKeyDer<'static>, MaterialError> {
        match self {
            PemKey::Plain(key) => Ok(key.clone_key()),
            PemKey::Locked(der) => decrypt(der, password.ok_or(MaterialError::MissingKeyPassword)?),
        }
    }
}

const BEGIN: &[u8] = b"-----BEGIN ";
const DASHES: &[u8] = b"-----";

/// Work a key file may ask for: the file is the operator's own, but may be damaged.
const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;
const MAX_SCRYPT_BYTES: u64 = 256 << 20;

struct Section<'a> {
    label: &'a [u8],
    body: &'a [u8],
}

fn next_section(text: &[u8]) -> Result<Option<(Section<'_>, &[u8])>, MaterialError> {
    let Some(start) = find(text, BEGIN) else {
        return Ok(None);
    };
    let after_begin = text.get(start + BEGIN.len()..).unwrap_or_default();
    let label_len = find(after_begin, DASHES).ok_or(malformed("a BEGIN line does not end"))?;
    let (label, after_label) = after_begin.split_at(label_len);
    let content = after_label.get(DASHES.len()..).unwrap_or_default();
    let end_line = [b"-----END ", label, DASHES].concat();
    let body_len = find(content, &end_line).ok_or(malformed("a section has no END line"))?;
    let (body, after_body) = content.split_at(body_len);
    let rest = after_body.get(end_line.len()..).unwrap_or_default();
    Ok(Some((Section { label, body }, rest)))
}

impl Section<'_> {
    fn decode(&self) -> Result<Zeroizing<Vec<u8>>, MaterialError> {
        if find(self.body, b"Proc-Type:").is_some() {
            return Err(MaterialError::Unsupported {
                what: "a private key encrypted the old OpenSSL way (Proc-Type header)",
                hint: "convert it with: openssl pkcs8 -topk8",
            });
        }
        let mut packed = Zeroizing::new(Vec::with_capacity(self.body.len()));
        packed.extend(self.body.iter().filter(|byte| !byte.is_ascii_whitespace()));
        STANDARD
            .decode(packed.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| malformed("a section is not base64"))
    }
}

fn decrypt(der: &[u8], password: &str) -> Result<PrivateKeyDer<'static>, MaterialError> {
    fn parse(der: &[u8]) -> der::Result<(EncryptionScheme, &[u8])> {
        let mut reader = SliceReader::new(der)?;
        let parts = reader.sequence(|info| {
            let scheme = EncryptionScheme::decode(info)?;
            Ok::<_, der::Error>((scheme, <&OctetStringRef>::decode(info)?.as_bytes()))
        })?;
        reader.finish()?;
        Ok(parts)
    }
    let unsupported = MaterialError::Unsupported {
        what: "the encryption of the private key",
        hint: "use PBES2, for example: openssl pkcs8 -topk8 -v2 aes-256-cbc",
    };
    let Ok((scheme, sealed)) = parse(der) else {
        return Err(unsupported);
    };
    let Some(pbes2) = scheme.pbes2() else {
        return Err(unsupported);
    };
    let affordable = match &pbes2.kdf {
        Kdf::Pbkdf2(params) => params.iteration_count <= MAX_PBKDF2_ITERATIONS,
        Kdf::Scrypt(params) => params
            .cost_parameter
            .checked_mul(u64::from(params.block_size) * 128)
            .and_then(|bytes| bytes.checked_mul(u64::from(params.parallelization)))
            .is_some_and(|bytes| bytes <= MAX_SCRYPT_BYTES),
        _ => false,
    };
    if !affordable {
        return Err(unsupported);
    }
    let plain = scheme
        .decrypt(password, sealed)
        .map_err(|error| match error {
            pkcs5::Error::DecryptFailed => MaterialError::WrongKeyPassword,
            _ => unsupported,
        })?;
    let plain = Zeroizing::new(plain);
    // A wrong password passes the padding check once in a few hundred times; what comes out is then no key.
    if SliceReader::new(&plain)
        .and_then(|mut reader| AnyKey::decode(&mut reader))
        .is_err()
    {
        return Err(MaterialError::WrongKeyPassword);
    }
    Ok(PrivatePkcs8KeyDer::from(plain.to_vec()).into())
}

type AnyKey<'a> = der::asn1::AnyRef<'a>;

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn malformed(what: &'static str) -> MaterialError {
    MaterialError::Malformed {
        format: "PEM text",
        what: what.to_owned(),
    }
}
