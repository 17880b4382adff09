//! The subject of a certificate as text, the way Java prints it (RFC 2253, with Java's choices where the RFC leaves some).

use rustls_pki_types::CertificateDer;
use thiserror::Error;

/// Why a subject cannot be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// The bytes are no certificate, or its subject is not well-formed DER.
    #[error("the subject of the certificate is not well-formed")]
    Malformed,
}

/// The subject of a certificate, most specific part first: `CN=app,OU=Team,O=Example,C=DE`. Empty for an empty subject.
///
/// # Errors
/// [`SubjectError::Malformed`].
pub fn subject_name(certificate: &CertificateDer<'_>) -> Result<String, SubjectError> {
    distinguished_name(subject_der(certificate)?)
}

/// Prints a DER-encoded `Name`.
///
/// * The parts stand in reverse order; parts of one multi-valued part keep theirs, joined by `+`.
/// * Known attributes have a keyword and a value in which `,=+<>#;"\` and blanks at either end are escaped by a backslash.
/// * All others are a dotted object identifier, and so is a value that is not a string: `=#` and the DER in hexadecimal.
/// * The bytes of every string type are read as UTF-8, as Java does.
///
/// # Errors
/// [`SubjectError::Malformed`].
pub fn distinguished_name(der: &[u8]) -> Result<String, SubjectError> {
    let mut outer = Der(der);
    let mut name = Der(outer.expect(SEQUENCE)?);
    outer.end()?;
    let mut parts = Vec::new();
    while !name.is_empty() {
        parts.push(part(name.expect(SET)?)?);
    }
    parts.reverse();
    Ok(parts.join(","))
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// `[0] EXPLICIT`, the version of a certificate.
const VERSION: u8 = 0xA0;

/// Tags whose content Java prints as text: UTF8String, PrintableString, T61String, IA5String, GeneralString, BMPString.
const TEXT: [u8; 6] = [0x0C, 0x13, 0x14, 0x16, 0x1B, 0x1E];

/// Attributes that have a keyword in RFC 2253.
const KEYWORDS: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 9], "STREET"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1],
        "UID",
    ),
];

/// `TBSCertificate` is `[version], serial number, signature, issuer, validity, subject, ...`.
fn subject_der<'a>(certificate: &'a CertificateDer<'_>) -> Result<&'a [u8], SubjectError> {
    let mut tbs = Der(Der(Der(certificate).expect(SEQUENCE)?).expect(SEQUENCE)?);
    if tbs.0.first() == Some(&VERSION) {
        tbs.next()?;
    }
    for _ in ["serial number", "signature", "issuer", "validity"] {
        tbs.next()?;
    }
    Ok(tbs.next()?.whole)
}

fn part(set: &[u8]) -> Result<String, SubjectError> {
    let mut set = Der(set);
    let mut attributes = Vec::new();
    while !set.is_empty() {
        attributes.push(attribute(set.expect(SEQUENCE)?)?);
    }
    Ok(attributes.join("+"))
}

fn attribute(pair: &[u8]) -> Result<String, SubjectError> {
    let mut pair = Der(pair);
    let oid = pair.expect(OBJECT_IDENTIFIER)?;
    let value = pair.next()?;
    pair.end()?;
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid);
    match keyword {
        Some((_, keyword)) if TEXT.contains(&value.tag) => {
            Ok(format!("{keyword}={}", escaped(&text(value.content))))
        }
        Some((_, keyword)) => Ok(format!("{keyword}=#{}", hex(value.whole))),
        None => Ok(format!("{}=#{}", dotted(oid)?, hex(value.whole))),
    }
}

/// UTF-8, with the replacement character for what is not. An encoded surrogate, even without its last byte, is one such
/// place to Java and several to the standard library.
fn text(mut bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    while let Some(at) = bytes
        .windows(2)
        .position(|pair| matches!(pair, [0xED, 0xA0..=0xBF]))
    {
        let (before, rest) = bytes.split_at(at);
        text.push_str(&String::from_utf8_lossy(before));
        text.push(char::REPLACEMENT_CHARACTER);
        bytes = match rest {
            [_, _, 0x80..=0xBF, rest @ ..] | [_, _, rest @ ..] => rest,
            _ => &[],
        };
    }
    text.push_str(&String::from_utf8_lossy(bytes));
    text
}

fn escaped(text: &str) -> String {
    let is_blank = |c: char| c == ' ' || c == '\r';
    let inner = text.trim_matches(is_blank);
    let leading = text.len() - text.trim_start_matches(is_blank).len();
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let is_outer = at < leading || at >= leading + inner.len();
        match c {
            '\0' => escaped.push_str("\\00"),
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => escaped.extend(['\\', c]),
            _ if is_outer => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first two arcs share the first number.
fn dotted(oid: &[u8]) -> Result<String, SubjectError> {
    let mut arcs: Vec<u128> = Vec::new();
    let mut arc: u128 = 0;
    let mut is_open = false;
    for byte in oid {
        if !is_open && *byte == 0x80 {
            return Err(SubjectError::Malformed);
        }
        arc = arc
            .checked_mul(128)
            .and_then(|shifted| shifted.checked_add(u128::from(byte & 0x7F)))
            .ok_or(SubjectError::Malformed)?;
        is_open = byte & 0x80 != 0;
        if !is_open {
            if arcs.is_empty() {
                let root = (arc / 40).min(2);
                arcs.push(root);
                arc -= root * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    if is_open || arcs.is_empty() {
        return Err(SubjectError::Malformed);
    }
    let arcs: Vec<String> = arcs.iter().map(u128::to_string).collect();
    Ok(arcs.join("."))
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// Tag and length included.
    whole: &'a [u8],
}

impl<'a> Der<'a> {
    fn next(&mut self) -> Result<Element<'a>, SubjectError> {
        let [tag, first_length, rest @ ..] = self.0 else {
            return Err(SubjectError::Malformed);
        };
        if tag & 0x1F == 0x1F {
            return Err(SubjectError::Malformed);
        }
        let (length, rest) = match usize::from(*first_length) {
            short @ 0..=0x7F => (short, rest),
            long => {
                let (bytes, rest) = rest
                    .split_at_checked(long & 0x7F)
                    .ok_or(SubjectError::Malformed)?;
                let length = bytes
                    .iter()
                    .fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
                let is_shortest = bytes.first().is_some_and(|byte| *byte != 0) && length > 0x7F;
                if bytes.len() > 4 || !is_shortest {
                    return Err(SubjectError::Malformed);
                }
                (length, rest)
            }
        };
        let (content, rest) = rest
            .split_at_checked(length)
            .ok_or(SubjectError::Malformed)?;
        let (whole, _) = self.0.split_at(self.0.len() - rest.len());
        self.0 = rest;
        Ok(Element {
            tag: *tag,
            content,
            whole,
        })
    }

    fn expect(&mut self, tag: u8) -> Result<&'a [u8], SubjectError> {
        let element = self.next()?;
        if element.tag != tag {
            return Err(SubjectError::Malformed);
        }
        Ok(element.content)
    }

    fn end(&self) -> Result<(), SubjectError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(SubjectError::Malformed)
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail in its helpers too")]

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    #[test]
    fn names_are_printed_as_java_prints_them() {
        let mut cases = 0;
        for line in include_str!("testdata/subjects.tsv").lines().skip(1) {
            let [case, der, expected] = *line.split('\t').collect::<Vec<_>>() else {
                panic!("{line}");
            };
            let expected: String = serde_json::from_str(expected).unwrap();
            assert_eq!(distinguished_name(&bytes(der)), Ok(expected), "{case}");
            cases += 1;
        }
        assert!(cases > 40, "{cases}");
    }

    #[test]
    fn the_subject_of_a_certificate_is_found() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in [
            (rcgen::DnType::CountryName, "DE"),
            (rcgen::DnType::OrganizationName, "Example, Inc."),
            (rcgen::DnType::CommonName, "app"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(
            subject_name(certificate.der()).unwrap(),
            "CN=app,O=Example\\, Inc.,C=DE"
        );
        for length in 0..40 {
            let cut = CertificateDer::from(&certificate.der()[..length]);
            assert_eq!(subject_name(&cut), Err(SubjectError::Malformed), "{length}");
        }
    }

    #[test]
    fn what_is_not_der_is_refused() {
        for hex in [
            "",
            "30",
            "3080",
            "308000",
            "30810100",
            "30020500",
            "3000 00",
            "300d310b3009060355040313",
            "300b3109300706035504030c00",
            "3009310730050601800c00",
            "30083106300406000c00",
            "30ffffffffffff",
            "3f0000",
        ] {
            let hex = hex.replace(' ', "");
            assert_eq!(
                distinguished_name(&bytes(&hex)),
                if hex == "300b3109300706035504030c00" {
                    Ok("CN=".to_owned())
                } else {
                    Err(SubjectError::Malformed)
                },
                "{hex}"
            );
        }
    }
}
