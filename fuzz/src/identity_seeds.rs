//! Inputs to start from for the targets around certificates: the cases of the table tests and the stores of the auth crate.

use std::fs;
use std::path::Path;

/// Rules and subjects that the original engine was asked about.
pub fn mapping() -> Vec<Vec<u8>> {
    include_str!("../../crates/auth/src/tls/testdata/mapping.tsv")
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split('\t');
            let (rules, subject) = (columns.next()?, columns.next()?);
            Some(format!("{rules}\0{subject}").into_bytes())
        })
        .collect()
}

/// Names, and the certificates among the stores.
pub fn subjects(auth: &Path) -> Vec<Vec<u8>> {
    let names = include_str!("../../crates/auth/src/tls/testdata/subjects.tsv")
        .lines()
        .skip(1)
        .filter_map(|line| bytes(line.split('\t').nth(1)?));
    let certificates = files(auth)
        .into_iter()
        .filter_map(|file| auth::tls::pem::Pem::read(&file).ok())
        .flat_map(|pem| pem.certificates)
        .map(|certificate| certificate.to_vec());
    names.chain(certificates).collect()
}

/// Every store with every choice of passwords, except those whose password takes long to check.
pub fn stores(auth: &Path) -> Vec<Vec<u8>> {
    files(auth)
        .iter()
        .flat_map(|file| (0..16).map(move |choice| [&[choice], &file[..]].concat()))
        .collect()
}

fn files(auth: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(auth.join("tests/stores"));
    let entries = entries.into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let slow = [
        "client.p12",
        "client-legacy.p12",
        "trust.p12",
        "trust-openssl.p12",
        "key-encrypted.pem",
    ];
    paths
        .iter()
        .filter(|path| !slow.iter().any(|slow| path.ends_with(slow)))
        .filter_map(|path| fs::read(path).ok())
        .collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
