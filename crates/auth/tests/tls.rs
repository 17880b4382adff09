//! Handshakes in memory between our client configuration and a server's.

#![allow(clippy::unwrap_used, reason = "a test may fail in its helpers too")]

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sluicegate_auth::tls::client::{ClientTls, Trust, server_name, supported_cipher_suites};
use sluicegate_auth::tls::material::Identity;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate chain with its key.
struct Certified {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn issue(authority: &Authority, common_name: &str, names: &[&str]) -> Certified {
    let key = KeyPair::generate().unwrap();
    let leaf = params(common_name, names)
        .signed_by(&key, authority)
        .unwrap();
    Certified {
        chain: vec![leaf.der().clone(), authority.der().clone()],
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    }
}

fn trust(authority: &Authority) -> Trust {
    Trust::Certificates(vec![authority.der().clone()])
}

fn client(trust: Trust, identity: Option<&Certified>, verify_hostname: bool) -> ClientConfig {
    let identity = identity.map(|certified| Identity {
        alias: String::new(),
        key: certified.key.clone_key(),
        chain: certified.chain.clone(),
        unused: Vec::new(),
    });
    let tls = ClientTls {
        trust,
        identity,
        verify_hostname,
        versions: rustls::ALL_VERSIONS,
        cipher_suites: &[],
    };
    tls.build().unwrap().0
}

fn server(certified: &Certified, client_authority: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match client_authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    builder
        .with_single_cert(certified.chain.clone(), certified.key.clone_key())
        .unwrap()
}

/// Runs the handshake to its end on both sides; the error is the first of either.
fn handshake(client: ClientConfig, server: ServerConfig, host: &str) -> Result<String, String> {
    let name = server_name(host).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut unread = &bytes[..];
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server
                .process_new_packets()
                .map_err(|error| format!("server: {error}"))?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut unread = &bytes[..];
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client
                .process_new_packets()
                .map_err(|error| format!("client: {error}"))?;
        }
    }
    let suite = client.negotiated_cipher_suite().unwrap();
    Ok(format!("{:?}", suite.suite()))
}

#[test]
fn the_interface_of_an_address_is_no_part_of_its_name() {
    let plain = server_name("fe80::1").unwrap();
    for host in ["fe80::1%eth0", "[fe80::1%eth0]", "[fe80::1]"] {
        assert_eq!(server_name(host).unwrap(), plain, "{host}");
    }
    assert!(server_name("10.0.0.1%eth0").is_err());
}

#[test]
fn names_and_addresses_are_verified() {
    let authority = authority("ca");
    let broker = issue(
        &authority,
        "broker",
        &[
            "broker-1.example.com",
            "*.wild.example.com",
            "127.0.0.1",
            "::1",
        ],
    );
    for host in [
        "broker-1.example.com",
        "BROKER-1.example.com.",
        "a.wild.example.com",
        "127.0.0.1",
        "::1",
        "[::1]",
    ] {
        let client = client(trust(&authority), None, true);
        handshake(client, server(&broker, None), host).unwrap();
    }
    for host in [
        "broker-2.example.com",
        "broker",
        "127.0.0.2",
        "a.b.wild.example.com",
    ] {
        let client = client(trust(&authority), None, true);
        let error = handshake(client, server(&broker, None), host).unwrap_err();
        assert!(error.contains("not valid for name"), "{host}: {error}");
    }
}

#[test]
fn without_verification_of_the_name_the_chain_is_still_verified() {
    let (ours, foreign) = (authority("ca"), authority("ca"));
    let broker = issue(&ours, "broker", &["broker-1.example.com"]);
    let off = || client(trust(&ours), None, false);
    handshake(off(), server(&broker, None), "other.example.com").unwrap();
    handshake(off(), server(&broker, None), "10.0.0.1").unwrap();

    let impostor = issue(&foreign, "broker", &["broker-1.example.com"]);
    handshake(off(), server(&impostor, None), "broker-1.example.com").unwrap_err();
}

#[test]
fn expired_certificates_are_refused_whatever_the_name_setting() {
    let authority = authority("ca");
    let key = KeyPair::generate().unwrap();
    let mut params = params("broker", &["localhost"]);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let leaf = params.signed_by(&key, &authority).unwrap();
    let expired = Certified {
        chain: vec![leaf.der().clone()],
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    };
    let pinned = || Trust::Certificates(expired.chain.clone());
    for verify_hostname in [true, false] {
        for trust in [trust(&authority), pinned()] {
            let client = client(trust, None, verify_hostname);
            let error = handshake(client, server(&expired, None), "localhost").unwrap_err();
            assert!(error.contains("expired"), "{error}");
        }
    }
}

#[test]
fn a_certificate_without_dns_names_is_matched_by_its_common_name() {
    let authority = authority("ca");
    let cases = [
        (issue(&authority, "broker-1", &[]), "broker-1", true),
        (issue(&authority, "broker-1", &[]), "broker-2", false),
        (
            issue(&authority, "*.example.com", &[]),
            "b.example.com",
            true,
        ),
        (issue(&authority, "*.com", &[]), "example.com", false),
        (issue(&authority, "127.0.0.1", &[]), "127.0.0.1", false),
        // Where there are names, only they count.
        (issue(&authority, "broker-1", &["other"]), "broker-1", false),
    ];
    for (broker, host, fits) in cases {
        let client = client(trust(&authority), None, true);
        let result = handshake(client, server(&broker, None), host);
        assert_eq!(result.is_ok(), fits, "{host}: {result:?}");
    }
}

#[test]
fn a_self_signed_broker_certificate_in_the_trust_store_is_trusted() {
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let key = KeyPair::generate().unwrap();
        let mut params = params("broker", &["localhost"]);
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        let broker = Certified {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        };
        let client = |verify| client(Trust::Certificates(broker.chain.clone()), None, verify);
        handshake(client(true), server(&broker, None), "localhost").unwrap();
        handshake(client(true), server(&broker, None), "other").unwrap_err();
        handshake(client(false), server(&broker, None), "other").unwrap();
    }
}

#[test]
fn mutual_tls_shows_our_certificate() {
    let (brokers, clients) = (authority("brokers"), authority("clients"));
    let broker = issue(&brokers, "broker", &["localhost"]);
    let gateway = issue(&clients, "gateway", &[]);
    let with = client(trust(&brokers), Some(&gateway), true);
    handshake(with, server(&broker, Some(&clients)), "localhost").unwrap();
    let without = client(trust(&brokers), None, true);
    let error = handshake(without, server(&broker, Some(&clients)), "localhost").unwrap_err();
    assert!(error.contains("sent no certificate"), "{error}");
}

fn with_suites(
    authority: &Authority,
    suites: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<(ClientConfig, Vec<String>), String> {
    let suites: Vec<String> = suites.iter().map(|&name| name.to_owned()).collect();
    let tls = ClientTls {
        trust: trust(authority),
        identity: None,
        verify_hostname: true,
        versions,
        cipher_suites: &suites,
    };
    tls.build().map_err(|error| error.to_string())
}

#[test]
fn cipher_suites_go_by_their_java_names() {
    let authority = authority("ca");
    let broker = issue(&authority, "broker", &["localhost"]);
    let cases = [
        ("TLS_AES_256_GCM_SHA384", "TLS13_AES_256_GCM_SHA384"),
        (
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ),
    ];
    for (java, negotiated) in cases {
        let asked = [java, "TLS_RSA_WITH_RC4_128_MD5"];
        let versions = match java.contains("_WITH_") {
            true => [&rustls::version::TLS12],
            false => [&rustls::version::TLS13],
        };
        let (client, unknown) = with_suites(&authority, &asked, &versions).unwrap();
        assert_eq!(unknown, ["TLS_RSA_WITH_RC4_128_MD5"]);
        let suite = handshake(client, server(&broker, None), "localhost").unwrap();
        assert_eq!(suite, negotiated);
    }
    assert!(
        supported_cipher_suites()
            .iter()
            .all(|name| !name.contains("TLS13"))
    );
}

#[test]
fn useless_cipher_suites_are_an_error() {
    let authority = authority("ca");
    with_suites(&authority, &["TLS_NULL"], rustls::ALL_VERSIONS).unwrap_err();
    let only_tls13 = [&rustls::version::TLS13];
    let suites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];
    with_suites(&authority, &suites, &only_tls13).unwrap_err();
}
