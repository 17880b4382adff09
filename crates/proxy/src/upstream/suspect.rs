//! Which setting of the cluster to look at after a failure.

use std::io;

use auth::SaslError;
use auth::sasl::token::TokenError;
use rustls::{AlertDescription, CertificateError};

use super::DialError;
use super::sasl::LoginError;

const BOOTSTRAP_SERVERS: &str = "bootstrap.servers";
const SECURITY_PROTOCOL: &str = "security.protocol";
const TLS_VERSIONS: &str = "ssl.enabled.protocols";
const TRUST_STORE: &str = "ssl.truststore.location";
const KEY_STORE: &str = "ssl.keystore.location";
const HOST_NAME_CHECK: &str = "ssl.endpoint.identification.algorithm";
const MECHANISM: &str = "sasl.mechanism";
const JAAS: &str = "sasl.jaas.config";
const TOKEN_ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";

/// Kafka's name of the setting.
pub(crate) fn of_dial(error: &DialError) -> &'static str {
    match error {
        DialError::Resolve { .. } | DialError::Connect { .. } | DialError::TimedOut { .. } => {
            BOOTSTRAP_SERVERS
        }
        DialError::Tls { error, .. } => of_tls(error).unwrap_or(SECURITY_PROTOCOL),
        DialError::Login { error, .. } => of_login(error),
    }
}

/// The setting behind a failure of TLS; `None`: the failure is of another kind.
pub(crate) fn of_tls(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => HOST_NAME_CHECK,
        rustls::Error::InvalidCertificate(_) => TRUST_STORE,
        rustls::Error::AlertReceived(
            AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity,
        )
        | rustls::Error::PeerIncompatible(_) => TLS_VERSIONS,
        rustls::Error::AlertReceived(_) => KEY_STORE,
        _ => SECURITY_PROTOCOL,
    })
}

fn of_login(error: &LoginError) -> &'static str {
    match error {
        LoginError::Call(_) | LoginError::NotAsked | LoginError::Endless => SECURITY_PROTOCOL,
        LoginError::Mechanism { .. } => MECHANISM,
        LoginError::Exchange(SaslError::Token(TokenError::Refused { .. })) => JAAS,
        LoginError::Exchange(SaslError::Token(_) | SaslError::TokenRejected { .. }) => {
            TOKEN_ENDPOINT
        }
        LoginError::Rejected { .. } | LoginError::Exchange(_) => JAAS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(error: rustls::Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    #[test]
    fn failures_of_tls_lead_to_their_settings() {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wanted = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let old = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
        assert_eq!(of_tls(&tls(unknown)), Some(TRUST_STORE));
        assert_eq!(of_tls(&tls(wanted)), Some(KEY_STORE));
        assert_eq!(of_tls(&tls(old)), Some(TLS_VERSIONS));
        assert_eq!(of_tls(&io::ErrorKind::ConnectionReset.into()), None);
    }

    #[test]
    fn failures_of_a_login_lead_to_their_settings() {
        let refused = TokenError::Refused {
            status: 401,
            reason: String::new(),
        };
        assert_eq!(of_login(&LoginError::Exchange(refused.into())), JAAS);
        let expired = LoginError::Exchange(TokenError::Expired.into());
        assert_eq!(of_login(&expired), TOKEN_ENDPOINT);
        let rejected = LoginError::Rejected {
            code: 58,
            message: String::new(),
        };
        assert_eq!(of_login(&rejected), JAAS);
    }
}
