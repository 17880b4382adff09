//! What our own certificate says about itself: its names and how long it holds.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Names of a certificate and the end of its chain's validity.
pub(super) struct CertificateNames {
    /// Lower case, without a trailing dot.
    dns: Vec<String>,
    ip: Vec<IpAddr>,
    /// The earliest in the chain.
    pub(super) not_after: SystemTime,
}

/// Reads a chain, leaf first.
pub(super) fn read(chain: &[CertificateDer<'_>]) -> Result<CertificateNames, String> {
    let mut names = CertificateNames {
        dns: Vec::new(),
        ip: Vec::new(),
        not_after: far_future(),
    };
    for (position, der) in chain.iter().enumerate() {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let seconds = certificate.validity().not_after.timestamp();
        let expiry = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds.try_into().unwrap_or(0)))
            .unwrap_or_else(far_future);
        names.not_after = names.not_after.min(expiry);
        if position == 0 {
            let found = certificate
                .subject_alternative_name()
                .map_err(|error| error.to_string())?;
            for name in found.iter().flat_map(|found| &found.value.general_names) {
                names.add(name);
            }
        }
    }
    Ok(names)
}

impl CertificateNames {
    /// Whether a DNS name or IP address, as text, stands among the alternative names. `*` as the whole first label
    /// stands for exactly one label.
    pub(super) fn cover(&self, name: &str) -> bool {
        let unbracketed = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(name);
        if let Ok(address) = unbracketed.parse::<IpAddr>() {
            return self.ip.contains(&address);
        }
        let name = normal(name);
        let parent = name
            .split_once('.')
            .filter(|(label, _)| !label.is_empty())
            .map(|(_, parent)| parent);
        self.dns.iter().any(|pattern| {
            *pattern == name || (parent.is_some() && pattern.strip_prefix("*.") == parent)
        })
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns.push(normal(name)),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                self.ip.extend(v4.or(v6));
            }
            _ => {}
        }
    }
}

/// No certificate outlives the year 9999.
fn far_future() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dns: &[&str], ip: &[&str]) -> CertificateNames {
        CertificateNames {
            dns: dns.iter().map(|name| normal(name)).collect(),
            ip: ip.iter().filter_map(|ip| ip.parse().ok()).collect(),
            not_after: far_future(),
        }
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let names = names(&["gateway.example.com", "*.gw.Example.com"], &[]);
        for covered in [
            "gateway.example.com",
            "GATEWAY.example.com.",
            "broker1.gw.example.com",
        ] {
            assert!(names.cover(covered), "{covered}");
        }
        for missing in [
            "gw.example.com",
            "a.b.gw.example.com",
            ".gw.example.com",
            "other.example.com",
            "broker1-gateway.example.com",
            "",
            ".",
        ] {
            assert!(!names.cover(missing), "{missing}");
        }
    }

    #[test]
    fn addresses_are_covered_only_by_addresses() {
        let names = names(&["10.0.0.1", "*.0.0.2"], &["10.0.0.3", "::1"]);
        assert!(names.cover("10.0.0.3"));
        assert!(names.cover("[::1]"));
        assert!(names.cover("0:0:0:0:0:0:0:1"));
        assert!(!names.cover("10.0.0.1"));
        assert!(!names.cover("10.0.0.2"));
    }
}
