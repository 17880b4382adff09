//! Verification of client certificates: webpki's, with one difference that a Java server makes.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Whom clients are checked against.
#[derive(Clone, Debug)]
pub(super) struct ClientTrust {
    roots: Arc<RootCertStore>,
    certificates: Arc<[CertificateDer<'static>]>,
}

impl ClientTrust {
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<ClientTrust, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        Ok(ClientTrust {
            roots: Arc::new(roots),
            certificates: certificates.into(),
        })
    }
}

/// Verifies chain, validity, and that the certificate may be used by clients if it says for what it may be used.
///
/// Beyond webpki: a client certificate that itself stands in the trust store is trusted, also when it is marked as an
/// authority (`openssl req -x509` makes such ones).
#[derive(Debug)]
pub(super) struct ClientVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    trusted: Arc<[CertificateDer<'static>]>,
}

impl ClientVerifier {
    pub(super) fn new(
        trust: &ClientTrust,
        mandatory: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<ClientVerifier, String> {
        let builder = WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), provider);
        let builder = if mandatory {
            builder
        } else {
            builder.allow_unauthenticated()
        };
        Ok(ClientVerifier {
            chain: builder.build().map_err(|error| error.to_string())?,
            trusted: trust.certificates.clone(),
        })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self
            .chain
            .verify_client_cert(end_entity, intermediates, now)
        {
            Err(Error::InvalidCertificate(_))
                if self.trusted.contains(end_entity) && is_usable(end_entity, now) =>
            {
                Ok(ClientCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Whether a trusted certificate is valid now and may be used by clients.
fn is_usable(certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let validity = parsed.validity();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let is_valid =
        (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now);
    let is_for_clients = match parsed.extended_key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.client_auth || usage.value.any),
        Err(_) => false,
    };
    is_valid && is_for_clients
}
