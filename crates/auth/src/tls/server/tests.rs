#![allow(clippy::unwrap_used, reason = "a test may fail in its helpers too")]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::tls::client::{ClientTls, Trust};
use crate::tls::subject_name;

// === Certificates and files ===

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

struct Certified {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pem: String,
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn issue(authority: Option<&Authority>, params: CertificateParams) -> Certified {
    let key = KeyPair::generate().unwrap();
    let leaf = match authority {
        Some(authority) => params.signed_by(&key, authority).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Certified {
        chain: vec![leaf.der().clone()],
        pem: leaf.pem() + &key.serialize_pem(),
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    }
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sluicegate-tls-server-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, content: &str) -> Store {
        std::fs::write(self.0.join(name), content).unwrap();
        self.store(name)
    }

    fn store(&self, name: &str) -> Store {
        Store {
            path: self.0.join(name),
            password: None,
            kind: None,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn fixture(name: &str, password: &str) -> Store {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    Store {
        path: folder.join(name),
        password: Some(Secret::new(password)),
        kind: None,
    }
}

/// An authority for both sides, the gateway's files, and what is made of them.
struct Gateway {
    folder: Folder,
    authority: Authority,
    material: Arc<ServerMaterial>,
}

impl Gateway {
    fn new() -> Gateway {
        Self::trusting(&[])
    }

    fn trusting(clients: &[&Certified]) -> Gateway {
        let folder = Folder::new();
        let authority = authority("ca");
        let own = issue(Some(&authority), params("gateway", &["gateway.test"]));
        let key = folder.write("key.pem", &own.pem);
        let also_trusted = clients.iter().map(|client| client.pem.as_str());
        let trusted: String = std::iter::once(authority.pem().as_str())
            .chain(also_trusted)
            .collect();
        let trust = folder.write("trust.pem", &trusted);
        let material = ServerMaterial::load(StoreNames::CLIENT, &key, None, Some(&trust)).unwrap();
        Gateway {
            folder,
            authority,
            material,
        }
    }

    fn config(&self, client_auth: ClientAuth) -> Arc<ReloadingConfig> {
        self.material.server_config(client_auth).unwrap()
    }

    fn client(&self, identity: Option<&Certified>, versions: Versions) -> Arc<ClientConfig> {
        let identity = identity.map(|certified| Identity {
            alias: String::new(),
            key: certified.key.clone_key(),
            chain: certified.chain.clone(),
            unused: Vec::new(),
        });
        let tls = ClientTls {
            trust: Trust::Certificates(vec![self.authority.der().clone()]),
            identity,
            verify_hostname: true,
            versions,
            cipher_suites: &[],
        };
        Arc::new(tls.build().unwrap().0)
    }
}

// === Handshakes ===

type Versions = &'static [&'static SupportedProtocolVersion];

const ALL: [ClientAuth; 3] = [ClientAuth::None, ClientAuth::Optional, ClientAuth::Require];

const V12: Versions = &[&rustls::version::TLS12];
const V13: Versions = &[&rustls::version::TLS13];

/// What a connection came to.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// A byte went there and back; the client's subject as the server sees it.
    Open {
        client: Option<String>,
        kind: HandshakeKind,
    },
    /// The alert that the client saw.
    Alert(AlertDescription),
}

fn open(client: Option<&str>) -> Outcome {
    Outcome::Open {
        client: client.map(str::to_owned),
        kind: HandshakeKind::Full,
    }
}

async fn connect(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Outcome {
    let (near, far) = tokio::io::duplex(1 << 16);
    let serve = async move {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.shutdown().await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let subject = certificates.and_then(|chain| subject_name(chain.first()?).ok());
        io::Result::Ok(subject)
    };
    let name = ServerName::try_from("gateway.test").unwrap();
    let ask = async move {
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.write_u8(7).await?;
        assert_eq!(stream.read_u8().await?, 7);
        io::Result::Ok(stream.get_ref().1.handshake_kind().unwrap())
    };
    let (served, asked) = tokio::join!(serve, ask);
    match asked {
        Ok(kind) => Outcome::Open {
            client: served.unwrap(),
            kind,
        },
        Err(error) => {
            assert!(served.is_err());
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            match inner {
                Some(rustls::Error::AlertReceived(alert)) => Outcome::Alert(*alert),
                _ => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn every_way_of_asking_for_certificates_with_every_certificate() {
    let self_made = issue(None, {
        let mut params = params("self-made", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    });
    let expired_self_made = issue(None, {
        let mut params = params("expired-self-made", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(2020, 1, 1);
        params
    });
    let self_made_for_servers = issue(None, {
        let mut params = params("self-made-for-servers", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    });
    let gateway = Gateway::trusting(&[&self_made, &expired_self_made, &self_made_for_servers]);
    let ours = Some(&gateway.authority);
    let stranger = issue(Some(&authority("other")), params("app", &[]));
    let good = issue(ours, params("app", &[]));
    let for_clients = issue(ours, {
        let mut params = params("app", &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    });
    let for_servers = issue(ours, {
        let mut params = params("app", &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    });
    let expired = issue(ours, {
        let mut params = params("app", &[]);
        params.not_after = date_time_ymd(2020, 1, 1);
        params
    });
    let alert = Outcome::Alert;
    let checked = [
        (&good, open(Some("CN=app"))),
        (&for_clients, open(Some("CN=app"))),
        (&self_made, open(Some("CN=self-made"))),
        (
            &for_servers,
            alert(AlertDescription::UnsupportedCertificate),
        ),
        (&expired, alert(AlertDescription::CertificateExpired)),
        (
            &expired_self_made,
            alert(AlertDescription::CertificateExpired),
        ),
        (
            &self_made_for_servers,
            alert(AlertDescription::CertificateUnknown),
        ),
    ];
    for versions in [V12, V13] {
        for client_auth in ALL {
            let server = gateway.config(client_auth);
            for (certificate, when_checked) in &checked {
                let seen = connect(
                    server.current(),
                    gateway.client(Some(certificate), versions),
                )
                .await;
                match client_auth {
                    ClientAuth::None => assert_eq!(seen, open(None)),
                    _ => assert_eq!(&seen, when_checked, "{client_auth:?} {versions:?}"),
                }
            }
            let without = connect(server.current(), gateway.client(None, versions)).await;
            let unknown =
                connect(server.current(), gateway.client(Some(&stranger), versions)).await;
            match client_auth {
                ClientAuth::None | ClientAuth::Optional => assert_eq!(without, open(None)),
                ClientAuth::Require => {
                    assert_eq!(without, alert(AlertDescription::CertificateRequired));
                }
            }
            match client_auth {
                ClientAuth::None => assert_eq!(unknown, open(None)),
                _ => assert_eq!(unknown, alert(AlertDescription::UnknownCA), "{versions:?}"),
            }
        }
    }
}

#[tokio::test]
async fn sessions_are_resumed_only_without_client_certificates() {
    for versions in [V12, V13] {
        for client_auth in ALL {
            let gateway = Gateway::new();
            let server = gateway.config(client_auth);
            let app = issue(Some(&gateway.authority), params("app", &[]));
            let client = gateway.client(Some(&app), versions);
            let first = connect(server.current(), client.clone()).await;
            let renewed = issue(
                Some(&gateway.authority),
                params("gateway", &["gateway.test"]),
            );
            gateway.folder.write("key.pem", &renewed.pem);
            assert_eq!(gateway.material.reload(), Reload::Replaced);
            let second = connect(server.current(), client).await;
            if client_auth == ClientAuth::None {
                assert_eq!(first, open(None));
                let kind = HandshakeKind::Resumed;
                assert_eq!(second, Outcome::Open { client: None, kind });
            } else {
                assert_eq!(first, open(Some("CN=app")));
                assert_eq!(second, open(Some("CN=app")), "{client_auth:?} {versions:?}");
            }
        }
    }
}

// === Reload ===

fn leaf(config: &ServerConfig, gateway: &Gateway) -> CertificateDer<'static> {
    let client = gateway.client(None, V13);
    let name = ServerName::try_from("gateway.test").unwrap();
    let mut client = rustls::ClientConnection::new(client, name).unwrap();
    let mut server = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    server.read_tls(&mut &bytes[..]).unwrap();
    server.process_new_packets().unwrap();
    bytes.clear();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    client.read_tls(&mut &bytes[..]).unwrap();
    client.process_new_packets().unwrap();
    client.peer_certificates().unwrap()[0].clone()
}

#[test]
fn a_swapped_symbolic_link_is_followed() {
    let gateway = Gateway::new();
    let first = issue(
        Some(&gateway.authority),
        params("gateway", &["gateway.test"]),
    );
    let second = issue(Some(&gateway.authority), {
        let mut params = params("gateway", &["gateway.test", "*.gw.test", "127.0.0.1"]);
        params.not_after = date_time_ymd(2090, 1, 1);
        params
    });
    // The way a mounted secret is laid out: file -> ..data/file, ..data -> a folder per version.
    let folder = &gateway.folder.0;
    for (version, certified) in [("v1", &first), ("v2", &second)] {
        std::fs::create_dir(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("tls.pem"), &certified.pem).unwrap();
    }
    std::os::unix::fs::symlink("v1", folder.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/tls.pem", folder.join("tls.pem")).unwrap();
    let store = gateway.folder.store("tls.pem");
    let material = ServerMaterial::load(StoreNames::ADMIN, &store, None, None).unwrap();
    assert_eq!(material.label(), "admin");
    let config = material.server_config(ClientAuth::None).unwrap();
    let before = config.current();
    assert_eq!(leaf(&before, &gateway), first.chain[0]);
    assert_eq!(material.reload(), Reload::Unchanged);
    let wanted = ["gateway.test", "a.gw.test", "a.b.gw.test", "127.0.0.1"].map(str::to_owned);
    assert_eq!(
        material.missing_names(&wanted),
        ["a.gw.test", "a.b.gw.test", "127.0.0.1"]
    );

    std::os::unix::fs::symlink("v2", folder.join("..new")).unwrap();
    std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    assert_eq!(material.reload(), Reload::Replaced);
    assert_eq!(material.reload(), Reload::Unchanged);
    assert_eq!(leaf(&config.current(), &gateway), second.chain[0]);
    assert_eq!(leaf(&before, &gateway), first.chain[0]);
    assert_eq!(material.missing_names(&wanted), ["a.b.gw.test"]);
    let expiry = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(3_786_912_000);
    assert_eq!(material.not_after(), expiry);
}

#[test]
fn a_broken_file_leaves_the_old_one_in_use() {
    let gateway = Gateway::new();
    let config = gateway.config(ClientAuth::Optional);
    let before = leaf(&config.current(), &gateway);
    let next = issue(
        Some(&gateway.authority),
        params("gateway", &["gateway.test"]),
    );
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let certificate_only = next.pem.split("-----BEGIN PRIVATE KEY").next().unwrap();
    for broken in [
        "",
        "nothing",
        &next.pem[..next.pem.len() - 30],
        certificate_only,
        &format!("{certificate_only}{other_key}"),
    ] {
        gateway.folder.write("key.pem", broken);
        for _ in 0..2 {
            let Reload::Failed(problems) = gateway.material.reload() else {
                panic!("{broken}");
            };
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].property, "GATEWAY_SSL_KEY_STORE_PATH");
            assert!(!problems[0].reason.contains("PRIVATE"), "{problems:?}");
        }
        assert_eq!(leaf(&config.current(), &gateway), before);
    }
    std::fs::remove_file(gateway.folder.0.join("key.pem")).unwrap();
    assert!(matches!(gateway.material.reload(), Reload::Failed(_)));
    gateway.folder.write("key.pem", &next.pem);
    assert_eq!(gateway.material.reload(), Reload::Replaced);
    assert_eq!(leaf(&config.current(), &gateway), next.chain[0]);
}

#[tokio::test]
async fn a_changed_trust_store_counts_for_new_connections_whatever_the_key_store_does() {
    let gateway = Gateway::new();
    let config = gateway.config(ClientAuth::Require);
    let app = issue(Some(&gateway.authority), params("app", &[]));
    let client = gateway.client(Some(&app), V13);
    let before = config.current();
    assert_eq!(
        connect(before.clone(), client.clone()).await,
        open(Some("CN=app"))
    );

    gateway.folder.write("key.pem", "broken");
    gateway.folder.write("trust.pem", &authority("new").pem());
    let Reload::Failed(problems) = gateway.material.reload() else {
        panic!("the key store is broken");
    };
    assert_eq!(problems[0].property, "GATEWAY_SSL_KEY_STORE_PATH");
    let refused = Outcome::Alert(AlertDescription::UnknownCA);
    assert_eq!(connect(config.current(), client.clone()).await, refused);
    assert_eq!(connect(before, client.clone()).await, open(Some("CN=app")));

    gateway.folder.write("trust.pem", "broken");
    let Reload::Failed(problems) = gateway.material.reload() else {
        panic!("both stores are broken");
    };
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[1].property, "GATEWAY_SSL_TRUST_STORE_PATH");
    assert_eq!(connect(config.current(), client).await, refused);
}

// === Problems ===

fn problem(key: &Store, key_password: Option<&str>, trust: Option<&Store>) -> Problem {
    let key_password = key_password.map(Secret::new);
    let loaded = ServerMaterial::load(StoreNames::CLIENT, key, key_password.as_ref(), trust);
    let problems = loaded.unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn problems_name_the_variable_to_look_at() {
    let jks = |password| fixture("tests/stores/client.jks", password);
    let key_password = Some("key-pass-2");
    assert_eq!(
        problem(&jks("wrong"), key_password, None).property,
        "GATEWAY_SSL_KEY_STORE_PASSWORD"
    );
    assert_eq!(
        problem(&jks("store-pass-1"), Some("wrong"), None).property,
        "GATEWAY_SSL_KEY_PASSWORD"
    );
    let missing = fixture("tests/stores/none.jks", "x");
    let found = problem(&missing, None, None);
    assert_eq!(found.property, "GATEWAY_SSL_KEY_STORE_PATH");
    assert!(found.reason.contains("none.jks"), "{found:?}");
    assert_eq!(
        problem(
            &jks("store-pass-1"),
            key_password,
            Some(&fixture("tests/stores/trust.jks", "wrong"))
        )
        .property,
        "GATEWAY_SSL_TRUST_STORE_PASSWORD"
    );
    let several = ServerMaterial::load(StoreNames::ADMIN, &missing, None, Some(&missing));
    let properties: Vec<_> = several
        .unwrap_err()
        .iter()
        .map(|problem| problem.property)
        .collect();
    assert_eq!(
        properties,
        [
            "GATEWAY_HTTPS_KEY_STORE_PATH",
            "GATEWAY_HTTPS_TRUST_STORE_PATH"
        ]
    );
}

#[test]
fn weak_keys_are_refused() {
    let weak = fixture("src/tls/testdata/rsa-1024.pem", "");
    let found = problem(&weak, None, None);
    assert_eq!(found.property, "GATEWAY_SSL_KEY_STORE_PATH");
    assert!(found.reason.contains("2048"), "{found:?}");
}

#[test]
fn every_supported_format_and_kind_of_key_is_served() {
    for name in ["client.jks", "client.p12", "client-legacy.p12"] {
        let password = if name == "client.jks" {
            "key-pass-2"
        } else {
            "store-pass-1"
        };
        let store = fixture(&format!("tests/stores/{name}"), "store-pass-1");
        let key_password = Secret::new(password);
        ServerMaterial::load(StoreNames::CLIENT, &store, Some(&key_password), None).unwrap();
    }
    let gateway = Gateway::new();
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params("gateway", &["gateway.test"])
            .signed_by(&key, &gateway.authority)
            .unwrap();
        let pem = certificate.pem() + &key.serialize_pem();
        gateway.folder.write("key.pem", &pem);
        assert_eq!(gateway.material.reload(), Reload::Replaced, "{algorithm:?}");
        let config = gateway.config(ClientAuth::None);
        assert_eq!(leaf(&config.current(), &gateway), *certificate.der());
    }
}

#[test]
fn of_several_keys_the_used_one_is_named() {
    let store = fixture("tests/stores/several.jks", "store-pass-1");
    let material = ServerMaterial::load(StoreNames::CLIENT, &store, None, None).unwrap();
    let warnings = material.warnings();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].property, "GATEWAY_SSL_KEY_STORE_PATH");
    assert!(warnings[0].reason.contains("'ape'"), "{warnings:?}");
}

#[test]
fn client_certificates_need_a_trust_store() {
    let store = fixture("tests/stores/several.jks", "store-pass-1");
    let material = ServerMaterial::load(StoreNames::CLIENT, &store, None, None).unwrap();
    for client_auth in [ClientAuth::Optional, ClientAuth::Require] {
        let problems = material.server_config(client_auth).unwrap_err();
        assert_eq!(problems[0].property, "GATEWAY_SSL_TRUST_STORE_PATH");
    }
    let config = material.server_config(ClientAuth::None).unwrap();
    assert!(Arc::ptr_eq(
        &config,
        &material.server_config(ClientAuth::None).unwrap()
    ));
}
