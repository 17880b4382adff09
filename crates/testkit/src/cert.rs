//! A certificate authority of our own, and what it issues, in the formats Kafka and its clients read.

use crate::process::tail;
use crate::{Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Password of every key store and trust store.
pub const STORE_PASSWORD: &str = "changeit";

/// A certificate authority that lives as long as the test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its private key (PKCS#8), both PEM. The chain ends before the authority.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
}

/// One identity and the authority in files of every format; [`STORE_PASSWORD`] opens them.
#[derive(Clone, Debug)]
pub struct Stores {
    /// The same as PEM.
    pub pem: PemFiles,
    /// Key store, JKS.
    pub key_jks: PathBuf,
    /// Key store, PKCS#12.
    pub key_p12: PathBuf,
    /// Trust store, JKS.
    pub trust_jks: PathBuf,
    /// Trust store, PKCS#12.
    pub trust_p12: PathBuf,
}

/// One identity and the authority as PEM files, not encrypted.
#[derive(Clone, Debug)]
pub struct PemFiles {
    /// Private key and certificate.
    pub key: PathBuf,
    /// Authority certificate.
    pub trust: PathBuf,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// Key generation failed.
    pub fn new(common_name: &str) -> Result<Authority> {
        let mut params = params(common_name, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Authority {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// The authority's certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for host names and IP addresses.
    ///
    /// # Errors
    /// A name is not valid.
    pub fn issue_server(&self, names: &[&str]) -> Result<Identity> {
        let mut params = params(names.first().copied().unwrap_or("server"), names)?;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.issue(params)
    }

    /// A client certificate with subject `CN=<common_name>`.
    ///
    /// # Errors
    /// Key generation failed.
    pub fn issue_client(&self, common_name: &str) -> Result<Identity> {
        let mut params = params(common_name, &[])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Result<Identity> {
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Writes the identity and the authority as PEM files named after `name` into `dir`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_pem(&self, identity: &Identity, dir: &Path, name: &str) -> Result<PemFiles> {
        write_pem(identity, &self.pem, dir, name)
    }

    /// [`Authority::write_pem`], and JKS and PKCS#12 files; these are written by Java, the reference for
    /// both formats.
    ///
    /// # Errors
    /// A file cannot be written, or Java fails.
    pub fn write_stores(&self, identity: &Identity, dir: &Path, name: &str) -> Result<Stores> {
        write_stores(identity, &self.pem, dir, name)
    }
}

/// [`Authority::write_stores`] with any number of trusted certificates, as PEM one after the other.
///
/// # Errors
/// A file cannot be written, or Java fails.
pub fn write_stores(identity: &Identity, trusted: &str, dir: &Path, name: &str) -> Result<Stores> {
    let file = |suffix: &str| dir.join(format!("{name}.{suffix}"));
    let stores = Stores {
        pem: write_pem(identity, trusted, dir, name)?,
        key_jks: file("key.jks"),
        key_p12: file("key.p12"),
        trust_jks: file("trust.jks"),
        trust_p12: file("trust.p12"),
    };
    let program = dir.join("Stores.java");
    write(&program, STORES_JAVA)?;
    let output = Command::new("java")
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg(&program)
        .args([&stores.pem.key, &stores.pem.trust])
        .arg(STORE_PASSWORD)
        .args([&stores.key_jks, &stores.trust_jks])
        .args([&stores.key_p12, &stores.trust_p12])
        .output()
        .map_err(Error::io("start java"))?;
    if output.status.success() {
        return Ok(stores);
    }
    Err(Error::Exit {
        program: "java Stores.java".to_owned(),
        status: output.status.code().unwrap_or(-1),
        output: tail(&String::from_utf8_lossy(&output.stderr), 10),
    })
}

fn write_pem(identity: &Identity, trusted: &str, dir: &Path, name: &str) -> Result<PemFiles> {
    let files = PemFiles {
        key: dir.join(format!("{name}.key.pem")),
        trust: dir.join(format!("{name}.trust.pem")),
    };
    let both = format!("{}{}", identity.key_pem, identity.certificate_pem);
    write(&files.key, &both)?;
    write(&files.trust, trusted)?;
    Ok(files)
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

const STORES_JAVA: &str = r#"
import java.io.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;

public class Stores {
    public static void main(String[] args) throws Exception {
        String pem = Files.readString(Path.of(args[0]));
        int begin = pem.indexOf("-----BEGIN PRIVATE KEY-----") + 27;
        byte[] der = Base64.getMimeDecoder().decode(pem.substring(begin, pem.indexOf("-----END PRIVATE KEY-----")));
        PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(der));
        java.security.cert.Certificate own = certificates(pem).iterator().next();
        Collection<? extends java.security.cert.Certificate> trusted = certificates(Files.readString(Path.of(args[1])));
        char[] password = args[2].toCharArray();
        String[] types = {"JKS", "PKCS12"};
        for (int i = 0; i < types.length; i++) {
            KeyStore keys = KeyStore.getInstance(types[i]);
            keys.load(null, null);
            keys.setKeyEntry("own", key, password, new java.security.cert.Certificate[] {own});
            store(keys, args[3 + 2 * i], password);
            KeyStore trust = KeyStore.getInstance(types[i]);
            trust.load(null, null);
            for (java.security.cert.Certificate one : trusted) {
                trust.setCertificateEntry("authority-" + trust.size(), one);
            }
            store(trust, args[4 + 2 * i], password);
        }
    }

    static Collection<? extends java.security.cert.Certificate> certificates(String pem) throws Exception {
        String text = pem.substring(pem.indexOf("-----BEGIN CERTIFICATE-----"));
        return CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(text.getBytes()));
    }

    static void store(KeyStore store, String file, char[] password) throws Exception {
        try (OutputStream out = new FileOutputStream(file)) {
            store.store(out, password);
        }
    }
}
"#;

fn params(common_name: &str, names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

fn failed(error: rcgen::Error) -> Error {
    Error::Answer(format!("certificate: {error}"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}
