//! The `JKS` key store format of Java, read-only.
//!
//! Layout, all integers big-endian:
//!
//! ```text
//! store  = u32 0xFEEDFEED, u32 version (1 or 2), u32 count, count * entry, 20 bytes SHA-1
//! entry  = u32 tag, text alias, u64 creation time in ms, body
//! body   = tag 1: blob (protected key), u32 length, length * cert
//!        | tag 2: cert
//! cert   = [ version 2: text type ], blob
//! text   = u16 length, modified UTF-8      blob = u32 length, bytes
//! ```
//!
//! The trailing digest covers the password, a fixed phrase and everything before it, so that it proves
//! both that the password is right and that the file is whole. Every length is checked against
//! what is left of the input before it is used, so that a damaged file costs no more memory than its size.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader as _, SliceReader};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::material::MaterialError;

/// First four bytes of a JKS store.
pub const MAGIC: [u8; 4] = [0xFE, 0xED, 0xFE, 0xED];

/// First four bytes of a JCEKS store, a relative with another key protection that is not read here.
pub const JCEKS_MAGIC: [u8; 4] = [0xCE, 0xCE, 0xCE, 0xCE];

/// The entries of one store; private keys are still locked.
#[derive(Debug, Default)]
pub struct Jks {
    /// Private keys with their certificates, in file order.
    pub keys: Vec<LockedKey>,
    /// Trusted certificates, in file order.
    pub trusted: Vec<CertificateDer<'static>>,
}

/// A private key under its own password.
#[derive(Debug)]
pub struct LockedKey {
    /// Name of the entry.
    pub alias: String,
    /// Certificates stored with the key, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    protected: Vec<u8>,
}

impl Jks {
    /// Reads a store. Without a password the digest is not checked, as Java does for trust stores.
    ///
    /// # Errors
    /// [`MaterialError::WrongPassword`] when the digest does not fit, [`MaterialError::Malformed`] for anything that is not a JKS store.
    pub fn read(bytes: &[u8], password: Option<&str>) -> Result<Jks, MaterialError> {
        let body_len = bytes
            .len()
            .checked_sub(digest::SHA1_OUTPUT_LEN)
            .ok_or(malformed("too short"))?;
        let (body, stored_digest) = bytes.split_at(body_len);
        if let Some(password) = password {
            verify_slices_are_equal(store_digest(password, body).as_ref(), stored_digest)
                .map_err(|_| MaterialError::WrongPassword)?;
        }
        let mut input = Input(body);
        if input.take(4)? != MAGIC {
            return Err(malformed("wrong magic number"));
        }
        let version = input.u32()?;
        if !(1..=2).contains(&version) {
            return Err(malformed("unknown version"));
        }
        let mut store = Jks::default();
        for _ in 0..input.u32()? {
            let tag = input.u32()?;
            let alias = input.text()?;
            input.take(8)?;
            match tag {
                1 => {
                    let protected = input.blob()?.to_vec();
                    let mut chain = Vec::new();
                    for _ in 0..input.u32()? {
                        chain.push(input.certificate(version)?);
                    }
                    store.keys.push(LockedKey {
                        alias,
                        chain,
                        protected,
                    });
                }
                2 => store.trusted.push(input.certificate(version)?),
                _ => return Err(malformed("unknown kind of entry")),
            }
        }
        if !input.0.is_empty() {
            return Err(malformed("bytes left over after the last entry"));
        }
        Ok(store)
    }
}

impl LockedKey {
    /// Unlocks the key.
    ///
    /// # Errors
    /// [`MaterialError::WrongKeyPassword`], or [`MaterialError::Malformed`] when the key is not protected the way this format prescribes.
    pub fn unlock(&self, password: &str) -> Result<PrivateKeyDer<'static>, MaterialError> {
        let sealed = sealed_bytes(&self.protected)?;
        let plain_len = sealed
            .len()
            .checked_sub(2 * digest::SHA1_OUTPUT_LEN)
            .ok_or(malformed("protected key too short"))?;
        let (salt, rest) = sealed.split_at(digest::SHA1_OUTPUT_LEN);
        let (cipher, check) = rest.split_at(plain_len);
        let password = utf16_bytes(password);
        let mut plain = Zeroizing::new(Vec::with_capacity(cipher.len()));
        let mut block = sha1(&[&password, salt]);
        for chunk in cipher.chunks(digest::SHA1_OUTPUT_LEN) {
            plain.extend(chunk.iter().zip(block.as_ref()).map(|(c, k)| c ^ k));
            block = sha1(&[&password, block.as_ref()]);
        }
        verify_slices_are_equal(sha1(&[&password, &plain]).as_ref(), check)
            .map_err(|_| MaterialError::WrongKeyPassword)?;
        PrivateKeyDer::try_from(plain.to_vec())
            .map_err(|_| malformed("the private key is of no known kind"))
    }
}

/// Key protection of JKS: an XOR with a chain of SHA-1 digests over the password.
const SUN_KEY_PROTECTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.42.2.17.1.1");

fn sealed_bytes(protected: &[u8]) -> Result<&[u8], MaterialError> {
    fn parse(protected: &[u8]) -> der::Result<(ObjectIdentifier, &[u8])> {
        let mut reader = SliceReader::new(protected)?;
        let parts = reader.sequence(|info| {
            let algorithm = info.sequence(|algorithm| {
                let oid = ObjectIdentifier::decode(algorithm)?;
                Option::<AnyRef<'_>>::decode(algorithm)?;
                Ok::<_, der::Error>(oid)
            })?;
            Ok::<_, der::Error>((algorithm, <&OctetStringRef>::decode(info)?.as_bytes()))
        })?;
        reader.finish()?;
        Ok(parts)
    }
    match parse(protected) {
        Ok((SUN_KEY_PROTECTION, sealed)) => Ok(sealed),
        Ok(_) => Err(malformed("a key is protected by an unknown algorithm")),
        Err(_) => Err(malformed("a protected key is not valid DER")),
    }
}

fn store_digest(password: &str, body: &[u8]) -> digest::Digest {
    sha1(&[&utf16_bytes(password), b"Mighty Aphrodite", body])
}

fn sha1(parts: &[&[u8]]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    context.finish()
}

fn utf16_bytes(password: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(
        password
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect::<Vec<u8>>(),
    )
}

fn malformed(what: &'static str) -> MaterialError {
    MaterialError::Malformed {
        format: "JKS store",
        what: what.to_owned(),
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], MaterialError> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(malformed("ends in the middle of an entry"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, MaterialError> {
        let bytes = self.take(4)?;
        Ok(bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn blob(&mut self) -> Result<&'a [u8], MaterialError> {
        let len = self.u32()?;
        self.take(usize::try_from(len).map_err(|_| malformed("a length is out of range"))?)
    }

    /// Modified UTF-8 differs from UTF-8 only for NUL and beyond the basic plane; an alias is only shown and sorted.
    fn text(&mut self) -> Result<String, MaterialError> {
        let len = self
            .take(2)?
            .iter()
            .fold(0, |value, byte| value << 8 | usize::from(*byte));
        Ok(String::from_utf8_lossy(self.take(len)?).into_owned())
    }

    fn certificate(&mut self, version: u32) -> Result<CertificateDer<'static>, MaterialError> {
        if version == 2 && self.text()? != "X.509" {
            return Err(malformed("a certificate is not X.509"));
        }
        Ok(CertificateDer::from(self.blob()?.to_vec()))
    }
}
