//! Putting certificates in the order TLS wants them.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::material::MaterialError;

/// The certificate of `key` first, then its issuer, and so on; what does not belong to the chain is left out.
///
/// # Errors
/// [`MaterialError::UnusableKey`], [`MaterialError::KeyWithoutCertificate`].
pub fn order(
    key: &PrivateKeyDer<'static>,
    certificates: &[CertificateDer<'static>],
) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let public_key = any_supported_type(key)
        .ok()
        .and_then(|key| key.public_key().map(|spki| spki.as_ref().to_vec()))
        .ok_or(MaterialError::UnusableKey)?;
    let belongs_to_key = |certificate: &&CertificateDer<'static>| {
        ParsedCertificate::try_from(*certificate)
            .is_ok_and(|parsed| parsed.subject_public_key_info().as_ref() == public_key)
    };
    let leaf = certificates
        .iter()
        .find(belongs_to_key)
        .ok_or(MaterialError::KeyWithoutCertificate)?;
    let names: Vec<(Vec<u8>, Vec<u8>)> = certificates.iter().map(names).collect();

    let mut chain = vec![leaf.clone()];
    let mut position = certificates.iter().position(|c| c == leaf);
    while let Some((_, issuer)) = position.and_then(|at| names.get(at)) {
        position = names.iter().position(|(subject, _)| subject == issuer);
        match position.and_then(|at| certificates.get(at)) {
            Some(next) if !chain.contains(next) => chain.push(next.clone()),
            _ => break,
        }
    }
    Ok(chain)
}

/// Subject and issuer as DER; both empty for what is not a certificate, which then ends the chain.
fn names(certificate: &CertificateDer<'static>) -> (Vec<u8>, Vec<u8>) {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => (
            parsed.subject().as_raw().to_vec(),
            parsed.issuer().as_raw().to_vec(),
        ),
        Err(_) => (Vec::new(), Vec::new()),
    }
}
