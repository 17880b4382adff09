//! TLS as a client: towards brokers and towards token endpoints.

use std::net::Ipv6Addr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use thiserror::Error;

use super::material::Identity;
use super::verify::BrokerVerifier;

/// Whom to trust.
#[derive(Debug)]
pub enum Trust {
    /// The system's root certificates, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    System,
    /// Exactly these.
    Certificates(Vec<CertificateDer<'static>>),
}

/// What a client configuration is made of.
#[derive(Debug)]
pub struct ClientTls<'a> {
    /// Whom to trust.
    pub trust: Trust,
    /// The client certificate, for mutual TLS.
    pub identity: Option<Identity>,
    /// Whether the server's certificate must carry the name that was connected to. The chain is verified in any case.
    pub verify_hostname: bool,
    /// Protocol versions to offer.
    pub versions: &'a [&'static SupportedProtocolVersion],
    /// Cipher suites by their IANA names, as Java prints them; empty for the library's choice.
    pub cipher_suites: &'a [String],
}

/// Why no client configuration can be made.
#[derive(Debug, Error)]
pub enum ClientTlsError {
    /// Not one root certificate was found.
    #[error("no root certificates found on this system")]
    NoSystemRoots,
    /// A certificate of the trust store is not one.
    #[error("a trusted certificate is not valid: {0}")]
    BadTrustedCertificate(rustls::Error),
    /// The client certificate does not work with its key.
    #[error("the client certificate cannot be used: {0}")]
    BadIdentity(rustls::Error),
    /// No known cipher suite is left.
    #[error("none of the cipher suites is supported; supported are {}", supported_cipher_suites().join(", "))]
    NoCipherSuite,
    /// None of the cipher suites works with one of the protocol versions.
    #[error("the cipher suites do not fit the enabled protocols")]
    CipherSuitesDoNotFit,
}

impl ClientTls<'_> {
    /// Builds the configuration. The second value lists cipher suites that are not known here.
    ///
    /// # Errors
    /// Any [`ClientTlsError`].
    pub fn build(self) -> Result<(ClientConfig, Vec<String>), ClientTlsError> {
        let (provider, unknown) = provider(self.cipher_suites)?;
        let (roots, pinned) = match self.trust {
            Trust::System => (system_roots()?, Vec::new()),
            Trust::Certificates(certificates) => (anchors(&certificates)?, certificates),
        };
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|_| ClientTlsError::NoSystemRoots)?;
        let verifier = BrokerVerifier::new(chain, pinned, self.verify_hostname);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .map_err(|_| ClientTlsError::CipherSuitesDoNotFit)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match self.identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain, identity.key)
                .map_err(ClientTlsError::BadIdentity)?,
            None => builder.with_no_client_auth(),
        };
        Ok((config, unknown))
    }
}

/// The name to verify for a host out of a setting or a Metadata answer: an IP address (also in brackets) or a DNS name.
///
/// # Errors
/// When the host is neither.
pub fn server_name(
    host: &str,
) -> Result<ServerName<'static>, rustls_pki_types::InvalidDnsNameError> {
    let unbracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let absolute = host.strip_suffix('.').unwrap_or(host);
    let name = unbracketed.unwrap_or(absolute);
    // The interface of an address (RFC 4007) is this machine's matter; no certificate names it.
    let address = name
        .split_once('%')
        .map(|(address, _)| address)
        .filter(|address| address.parse::<Ipv6Addr>().is_ok());
    ServerName::try_from(address.unwrap_or(name)).map(|name| name.to_owned())
}

/// Names of all cipher suites that can be chosen.
pub fn supported_cipher_suites() -> Vec<String> {
    aws_lc_rs::ALL_CIPHER_SUITES.iter().map(iana_name).collect()
}

fn iana_name(suite: &rustls::SupportedCipherSuite) -> String {
    // The library sets the version 1.3 suites apart by a prefix of its own.
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

fn provider(
    cipher_suites: &[String],
) -> Result<(Arc<CryptoProvider>, Vec<String>), ClientTlsError> {
    let mut provider = aws_lc_rs::default_provider();
    if cipher_suites.is_empty() {
        return Ok((Arc::new(provider), Vec::new()));
    }
    let mut chosen = Vec::new();
    let mut unknown = Vec::new();
    for wanted in cipher_suites {
        let suite = aws_lc_rs::ALL_CIPHER_SUITES
            .iter()
            .find(|suite| iana_name(suite).eq_ignore_ascii_case(wanted));
        match suite {
            Some(suite) => chosen.push(*suite),
            None => unknown.push(wanted.clone()),
        }
    }
    if chosen.is_empty() {
        return Err(ClientTlsError::NoCipherSuite);
    }
    provider.cipher_suites = chosen;
    Ok((Arc::new(provider), unknown))
}

fn anchors(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate.clone())
            .map_err(ClientTlsError::BadTrustedCertificate)?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(ClientTlsError::NoSystemRoots);
    }
    Ok(roots)
}
