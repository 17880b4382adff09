//! PKCS#12 stores, old (PBES1) and current (PBES2).

use p12_keystore::{Pkcs12Archive, error::Error};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::material::MaterialError;

/// The entries of one store.
#[derive(Default)]
pub struct Pkcs12 {
    /// Private keys, in file order.
    pub keys: Vec<Pkcs12Key>,
    /// Every certificate of the store, in file order.
    pub certificates: Vec<Pkcs12Certificate>,
}

/// A private key of the store, PKCS#8.
pub struct Pkcs12Key {
    /// Friendly name, empty if the store gives none.
    pub alias: String,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

/// A certificate of the store.
pub struct Pkcs12Certificate {
    /// Whether Java marked it as a trusted certificate entry.
    pub trusted: bool,
    /// Whether it is the certificate of one of the store's private keys.
    pub of_key: bool,
    /// The certificate.
    pub der: CertificateDer<'static>,
}

impl Pkcs12 {
    /// Reads a store; a missing password is read as the empty one.
    ///
    /// # Errors
    /// [`MaterialError::WrongPassword`] when the store's code over its content does not fit,
    /// [`MaterialError::MissingPassword`] in the same case without a password, [`MaterialError::Malformed`] otherwise.
    pub fn read(bytes: &[u8], password: Option<&str>) -> Result<Pkcs12, MaterialError> {
        let archive =
            Pkcs12Archive::from_pkcs12(bytes, password.unwrap_or_default()).map_err(|error| {
                match error {
                    Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError => match password
                    {
                        Some(_) => MaterialError::WrongPassword,
                        None => MaterialError::MissingPassword,
                    },
                    other => MaterialError::Malformed {
                        format: "PKCS#12 store",
                        what: other.to_string(),
                    },
                }
            })?;
        let key_ids: Vec<Vec<u8>> = archive
            .keys
            .iter()
            .filter_map(|bag| Some(bag.local_key_id.as_ref()?.as_ref().to_vec()))
            .collect();
        let keys = archive.keys.into_iter().map(|bag| Pkcs12Key {
            alias: bag.friendly_name.unwrap_or_default(),
            key: PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec()).into(),
        });
        let certificates = archive.certs.into_iter().map(|bag| Pkcs12Certificate {
            trusted: bag.trusted,
            of_key: bag.local_key_id.is_some_and(|id| key_ids.contains(&id)),
            der: CertificateDer::from(bag.cert.as_der().to_vec()),
        });
        Ok(Pkcs12 {
            keys: keys.collect(),
            certificates: certificates.collect(),
        })
    }
}
