//! Verification of broker certificates: webpki's, with the differences that a Java client makes.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Verifies chain, validity and, if asked to, the name.
///
/// Beyond webpki, for trust stores that the operator named:
/// * a broker certificate that itself stands in the trust store is trusted, also when it is marked as an authority
///   (`openssl req -x509` makes such ones);
/// * a certificate that lists no DNS name at all is matched by its common name (`keytool -genkeypair` makes such ones).
#[derive(Debug)]
pub(super) struct BrokerVerifier {
    chain: Arc<WebPkiServerVerifier>,
    /// The operator's own trusted certificates; empty for system roots.
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
}

impl BrokerVerifier {
    pub(super) fn new(
        chain: Arc<WebPkiServerVerifier>,
        pinned: Vec<CertificateDer<'static>>,
        check_name: bool,
    ) -> Self {
        Self {
            chain,
            pinned,
            check_name,
        }
    }

    fn verify_name(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
    ) -> Result<ServerCertVerified, Error> {
        if !self.check_name {
            return Ok(ServerCertVerified::assertion());
        }
        match verify_server_name(&ParsedCertificate::try_from(certificate)?, name) {
            Err(Error::InvalidCertificate(error))
                if is_name_error(&error)
                    && !self.pinned.is_empty()
                    && common_name_fits(certificate, name) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            result => result.map(|()| ServerCertVerified::assertion()),
        }
    }
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // webpki looks at the name last: all else was right.
            Err(Error::InvalidCertificate(error)) if is_name_error(&error) => {
                self.verify_name(end_entity, server_name)
            }
            Err(error @ Error::InvalidCertificate(_)) if self.pinned.contains(end_entity) => {
                let valid_now = X509Certificate::from_der(end_entity).is_ok_and(|(_, parsed)| {
                    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
                    let validity = parsed.validity();
                    (validity.not_before.timestamp()..=validity.not_after.timestamp())
                        .contains(&now)
                });
                if valid_now {
                    self.verify_name(end_entity, server_name)
                } else {
                    Err(error)
                }
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

fn is_name_error(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    )
}

/// Whether the most specific common name is the host, given that there is no DNS name to look at instead.
fn common_name_fits(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(host) = name else {
        return false;
    };
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let lists_dns_names = match parsed.subject_alternative_name() {
        Ok(None) => false,
        Ok(Some(names)) => names
            .value
            .general_names
            .iter()
            .any(|name| matches!(name, GeneralName::DNSName(_))),
        Err(_) => true,
    };
    let common_name = parsed.subject().iter_common_name().last();
    !lists_dns_names
        && common_name
            .and_then(|name| name.as_str().ok())
            .is_some_and(|name| pattern_fits(name, host.as_ref()))
}

/// `*` may stand for the whole first label.
fn pattern_fits(pattern: &str, host: &str) -> bool {
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(parent), Some((_, host_parent))) => {
            parent.contains('.') && parent.eq_ignore_ascii_case(host_parent)
        }
        _ => pattern.eq_ignore_ascii_case(host),
    }
}
