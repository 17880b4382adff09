//! Whom the client trusts, and as whom it comes.

use std::path::Path;
use std::sync::Arc;

use auth::tls::client::{ClientTls, Trust};
use auth::tls::material;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Makes the TLS configuration.
///
/// # Errors
/// Which file cannot be used, and why.
pub(crate) fn config(
    authorities: Option<&Path>,
    client_certificate: Option<&Path>,
    insecure: bool,
) -> Result<Arc<ClientConfig>, String> {
    let trust = match authorities {
        None => Trust::System,
        Some(file) => {
            let bytes = material::read_file(file).map_err(|error| error.to_string())?;
            let trusted = material::trusted(&bytes, None);
            Trust::Certificates(trusted.map_err(|error| format!("{}: {error}", file.display()))?)
        }
    };
    let identity = client_certificate.map(|file| {
        let bytes = material::read_file(file).map_err(|error| error.to_string())?;
        let identity = material::identity(&bytes, None, None);
        identity.map_err(|error| format!("{}: {error}", file.display()))
    });
    let identity = identity.transpose()?;
    if insecure {
        return trusting_anybody(identity).map_err(|error| error.to_string());
    }
    let tls = ClientTls {
        trust,
        identity,
        verify_hostname: true,
        versions: rustls::ALL_VERSIONS,
        cipher_suites: &[],
    };
    let (config, _) = tls.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

fn trusting_anybody(identity: Option<material::Identity>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    Ok(Arc::new(match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key)?,
        None => builder.with_no_client_auth(),
    }))
}

/// Accepts every certificate, but only from whoever has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
