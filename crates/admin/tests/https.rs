//! The admin port over TLS.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auth::tls::server::{Reload, ServerMaterial, StoreNames};
use common::{ADMIN, Answer, Running, WRONG, credentials, serve, services};
use config::ClientAuth;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sluicegate_admin::Services;

/// An authority that signs what it is asked to.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("name");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        Identity {
            pem: format!("{}{}", key.serialize_pem(), certificate.pem()),
            certificate: certificate.der().clone(),
            key,
        }
    }
}

/// A directory of this test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("sluicegate-admin-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn store(&self, name: &str, content: &str) -> config::Store {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("written");
        store(&path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn store(path: &Path) -> config::Store {
    config::Store {
        path: path.to_owned(),
        password: None,
        kind: None,
    }
}

fn serve_tls(material: &ServerMaterial, client_auth: ClientAuth) -> Running {
    let server = serve(Services {
        tls: Some(material.server_config(client_auth).expect("configuration")),
        ..services()
    });
    server
        .handle
        .resources_ready(Arc::new(common::Store::default()));
    server
}

/// A call with `certificate`, checking the server against `authority`; `Err` without an answer.
fn ask(
    server: &Running,
    authority: &Authority,
    certificate: Option<&Identity>,
    pair: &str,
) -> Result<Answer, String> {
    let (answer, _) = ask_with(
        server,
        authority,
        certificate,
        pair,
        &[&rustls::version::TLS13, &rustls::version::TLS12],
    )?;
    Ok(answer)
}

fn ask_with(
    server: &Running,
    authority: &Authority,
    certificate: Option<&Identity>,
    pair: &str,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<(Answer, CertificateDer<'static>), String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(
                vec![identity.certificate.clone()],
                PrivateKeyDer::try_from(identity.key.serialize_der()).expect("a key"),
            )
            .expect("a certificate"),
    };
    let name = ServerName::try_from("localhost").expect("name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("connection");
    let stream = TcpStream::connect(server.address).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("timeout");
    let mut stream = StreamOwned::new(connection, stream);
    let request = format!(
        "GET /gateway/v2/service-account HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n",
        credentials(pair)
    );
    stream
        .write_all(request.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer)
        && answer.is_empty()
    {
        return Err(error.to_string());
    }
    let shown = stream
        .conn
        .peer_certificates()
        .and_then(<[_]>::first)
        .expect("a certificate")
        .clone();
    let answer = String::from_utf8(answer).expect("UTF-8");
    Ok((Answer::parse(&answer), shown.into_owned()))
}

#[test]
fn client_certificates_are_a_gate_of_their_own() {
    let (authority, stranger) = (Authority::new("ca"), Authority::new("other"));
    let directory = Directory::new("gate");
    let keys = directory.store("keys.pem", &authority.sign("server").pem);
    let trust = directory.store("trust.pem", &authority.pem);
    let material =
        ServerMaterial::load(StoreNames::ADMIN, &keys, None, Some(&trust)).expect("material");
    let (known, unknown) = (authority.sign("client"), stranger.sign("client"));
    for (client_auth, without, with_unknown) in [
        (ClientAuth::None, true, true),
        (ClientAuth::Optional, true, false),
        (ClientAuth::Require, false, false),
    ] {
        let server = serve_tls(&material, client_auth);
        let passes = |certificate, pair: &str, code| {
            let answer = ask(&server, &authority, certificate, pair);
            assert_eq!(
                answer.map(|answer| answer.code),
                Ok(code),
                "{client_auth:?}"
            );
        };
        passes(Some(&known), ADMIN, 200);
        passes(Some(&known), WRONG, 401);
        for (certificate, admitted) in [(None, without), (Some(&unknown), with_unknown)] {
            match admitted {
                true => passes(certificate, ADMIN, 200),
                false => assert!(
                    ask(&server, &authority, certificate, ADMIN).is_err(),
                    "{client_auth:?}"
                ),
            }
        }
        server.handle.shutdown();
    }
}

#[test]
fn both_versions_of_tls_and_no_plain_http() {
    let authority = Authority::new("ca");
    let directory = Directory::new("versions");
    let keys = directory.store("keys.pem", &authority.sign("server").pem);
    let material = ServerMaterial::load(StoreNames::ADMIN, &keys, None, None).expect("material");
    let server = serve_tls(&material, ClientAuth::None);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let answer = ask_with(&server, &authority, None, ADMIN, &[version]);
        assert_eq!(answer.map(|(answer, _)| answer.code), Ok(200));
    }
    let plain = server.raw(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(!plain.contains("HTTP/1.1"), "{plain}");
    // Handshakes that never come hold nobody up.
    let silent: Vec<_> = (0..100).map(|_| server.connect()).collect();
    assert!(ask(&server, &authority, None, ADMIN).is_ok());
    drop(silent);
    server.handle.shutdown();
}

#[test]
fn a_new_certificate_is_shown_to_new_connections() {
    let authority = Authority::new("ca");
    let directory = Directory::new("reload");
    let (first, second) = (authority.sign("first"), authority.sign("second"));
    let keys = directory.store("keys.pem", &first.pem);
    let material = ServerMaterial::load(StoreNames::ADMIN, &keys, None, None).expect("material");
    let server = serve_tls(&material, ClientAuth::None);
    let shown = || {
        let all = [&rustls::version::TLS13, &rustls::version::TLS12];
        ask_with(&server, &authority, None, ADMIN, &all)
            .expect("an answer")
            .1
    };
    assert_eq!(shown(), first.certificate);
    directory.store("keys.pem", &second.pem);
    assert_eq!(material.reload(), Reload::Replaced);
    assert_eq!(shown(), second.certificate);
    directory.store("keys.pem", "broken");
    assert!(matches!(material.reload(), Reload::Failed(_)));
    assert_eq!(shown(), second.certificate);
    server.handle.shutdown();
}
