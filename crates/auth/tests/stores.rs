//! Stores made by `keytool` and `openssl` (see `stores/make.sh`), whole and damaged.

#![allow(clippy::unwrap_used, reason = "a test may fail in its helpers too")]

use std::alloc::System;
use std::path::PathBuf;

use cap::Cap;
use sluicegate_auth::tls::jks::Jks;
use sluicegate_auth::tls::material::{self, Identity, MaterialError};
use sluicegate_auth::tls::pem::Pem;

/// Any single allocation that follows a damaged length would go beyond this and end the test run.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 64 << 20);

const STORE_PASSWORD: &str = "store-pass-1";
const KEY_PASSWORD: &str = "key-pass-2";

fn store(name: &str) -> Vec<u8> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "stores"]
        .iter()
        .collect();
    std::fs::read(folder.join(name)).unwrap()
}

fn identity(name: &str, key_password: &str) -> Result<Identity, MaterialError> {
    material::identity(&store(name), Some(STORE_PASSWORD), Some(key_password))
}

fn trusted(name: &str) -> Vec<Vec<u8>> {
    let found = material::trusted(&store(name), Some(STORE_PASSWORD)).unwrap();
    found.into_iter().map(|der| der.to_vec()).collect()
}

#[test]
fn all_trust_stores_hold_the_same_authority() {
    let authority = trusted("ca.pem");
    assert_eq!(authority.len(), 1);
    for name in ["trust.jks", "trust.p12", "trust-openssl.p12"] {
        assert_eq!(trusted(name), authority, "{name}");
    }
}

#[test]
fn all_key_stores_hold_the_same_key_with_its_chain() {
    let from_jks = identity("client.jks", KEY_PASSWORD).unwrap();
    assert_eq!(from_jks.alias, "client");
    assert_eq!(from_jks.chain.len(), 2);
    assert_eq!(from_jks.chain[1].to_vec(), trusted("ca.pem")[0]);
    for name in ["client.p12", "client-legacy.p12"] {
        let from_pkcs12 = identity(name, STORE_PASSWORD).unwrap();
        assert_eq!(from_pkcs12.key, from_jks.key, "{name}");
        assert_eq!(from_pkcs12.chain, from_jks.chain, "{name}");
    }
}

#[test]
fn a_key_store_trusts_its_own_certificate_too() {
    let chain = identity("client.jks", KEY_PASSWORD).unwrap().chain;
    for name in ["client.jks", "client.p12"] {
        assert!(trusted(name).contains(&chain[0].to_vec()), "{name}");
    }
}

#[test]
fn of_several_keys_the_first_by_alias_is_used() {
    let found = identity("several.jks", STORE_PASSWORD).unwrap();
    assert_eq!(found.alias, "ape");
    assert_eq!(found.unused, ["zebra"]);
}

#[test]
fn the_store_password_opens_the_key_when_no_other_is_given() {
    let found = material::identity(&store("several.jks"), Some(STORE_PASSWORD), None);
    assert_eq!(found.unwrap().alias, "ape");
}

#[test]
fn wrong_and_missing_passwords_are_told_apart() {
    for name in ["client.jks", "client.p12", "client-legacy.p12"] {
        let wrong = material::identity(&store(name), Some("wrong"), None).unwrap_err();
        assert!(
            matches!(wrong, MaterialError::WrongPassword),
            "{name}: {wrong}"
        );
    }
    let wrong_key = identity("client.jks", "wrong").unwrap_err();
    assert!(matches!(wrong_key, MaterialError::WrongKeyPassword));
    let missing = material::trusted(&store("trust.p12"), None).unwrap_err();
    assert!(matches!(missing, MaterialError::MissingPassword));
    let missing_key = material::identity(&store("client.jks"), None, None).unwrap_err();
    assert!(matches!(missing_key, MaterialError::MissingKeyPassword));
}

#[test]
fn a_jks_trust_store_opens_without_its_password() {
    let found = material::trusted(&store("trust.jks"), None).unwrap();
    assert_eq!(found[0].to_vec(), trusted("ca.pem")[0]);
}

#[test]
fn formats_that_are_not_read_are_named() {
    let jceks = material::trusted(&store("trust.jceks"), Some(STORE_PASSWORD)).unwrap_err();
    assert!(jceks.to_string().contains("JCEKS"), "{jceks}");
    let bcfks = material::trusted(&[0x30, 0x82, 1, 0, 0x30, 0x80], None).unwrap_err();
    assert!(bcfks.to_string().contains("BCFKS"), "{bcfks}");
    let other = material::trusted(b"hello", None).unwrap_err();
    assert!(matches!(other, MaterialError::UnknownFormat));
}

fn key_pem(name: &str, password: Option<&str>) -> Result<Identity, MaterialError> {
    let jks = identity("client.jks", KEY_PASSWORD)?;
    let certificates = Pem {
        certificates: jks.chain.into_iter().rev().collect(),
        keys: Vec::new(),
    };
    material::identity_of_pem(&Pem::read(&store(name))?, &certificates, password)
}

#[test]
fn pem_keys_of_every_kind_are_read_and_the_chain_put_in_order() {
    let expected = identity("client.jks", KEY_PASSWORD).unwrap().chain;
    for name in [
        "key-pkcs8.pem",
        "key-sec1.pem",
        "key-encrypted.pem",
        "key-scrypt.pem",
    ] {
        let found = key_pem(name, Some(KEY_PASSWORD)).unwrap();
        assert_eq!(found.chain, expected, "{name}");
    }
    let rsa = [store("rsa-cert.pem"), store("key-rsa-pkcs1.pem")].concat();
    assert_eq!(material::identity(&rsa, None, None).unwrap().chain.len(), 1);
}

#[test]
fn encrypted_pem_keys_need_the_right_password() {
    for name in ["key-encrypted.pem", "key-scrypt.pem"] {
        let wrong = key_pem(name, Some("wrong")).unwrap_err();
        assert!(matches!(wrong, MaterialError::WrongKeyPassword), "{name}");
        let missing = key_pem(name, None).unwrap_err();
        assert!(matches!(missing, MaterialError::MissingKeyPassword));
    }
    let old = key_pem("key-old-openssl.pem", Some(KEY_PASSWORD)).unwrap_err();
    assert!(old.to_string().contains("openssl pkcs8 -topk8"), "{old}");
}

#[test]
fn a_key_without_its_certificate_is_refused() {
    let mixed = [store("ca.pem"), store("key-pkcs8.pem")].concat();
    let error = material::identity(&mixed, None, None).unwrap_err();
    assert!(matches!(error, MaterialError::KeyWithoutCertificate));
    let no_key = material::identity(&store("ca.pem"), None, None).unwrap_err();
    assert!(matches!(no_key, MaterialError::NoPrivateKey));
    let no_certificate = material::trusted(&store("key-pkcs8.pem"), None).unwrap_err();
    assert!(matches!(
        no_certificate,
        MaterialError::NoTrustedCertificate
    ));
}

#[test]
fn pem_may_have_lost_its_line_breaks() {
    let text = String::from_utf8(store("ca.pem")).unwrap();
    let flat = text.replace('\n', " ");
    let found = material::trusted(flat.as_bytes(), None).unwrap();
    assert_eq!(found[0].to_vec(), trusted("ca.pem")[0]);
}

#[test]
fn damaged_jks_stores_never_panic() {
    for name in ["client.jks", "trust.jks"] {
        let whole = store(name);
        for position in 0..whole.len() {
            for value in [0x00, 0x01, 0x7F, 0x80, 0xFF, whole[position] ^ 0x20] {
                let mut damaged = whole.clone();
                damaged[position] = value;
                if damaged != whole {
                    Jks::read(&damaged, Some(STORE_PASSWORD)).unwrap_err();
                }
                // Without a password the digest does not stop the damage early.
                if let Ok(read) = Jks::read(&damaged, None) {
                    for key in read.keys {
                        let _ = key.unlock(KEY_PASSWORD);
                    }
                }
            }
            Jks::read(&whole[..position], None).unwrap_err();
        }
    }
}

#[test]
fn damaged_pkcs12_stores_never_panic() {
    for name in ["client-quick.p12", "client-legacy-quick.p12"] {
        let whole = store(name);
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1 << (position % 8);
            let _ = material::identity(&damaged, Some(STORE_PASSWORD), None);
            let _ = material::trusted(&whole[..position], Some(STORE_PASSWORD));
        }
    }
}

#[test]
fn damaged_pem_never_panics() {
    for name in ["key-encrypted-quick.pem", "ca.pem", "key-sec1.pem"] {
        let whole = store(name);
        for position in 0..whole.len() {
            for value in [0x00, b'\n', b'-', b'=', b'A', 0xFF] {
                let mut damaged = whole.clone();
                damaged[position] = value;
                if let Ok(pem) = Pem::read(&damaged) {
                    for key in &pem.keys {
                        let _ = key.unlock(Some(KEY_PASSWORD));
                    }
                }
            }
            let _ = Pem::read(&whole[..position]);
        }
    }
}
