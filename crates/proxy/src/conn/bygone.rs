//! Requests of consumers in versions that Kafka 4 has dropped (KIP-896).
//!
//! A broker closes the connection. Some clients of that time take that for an outage, try again for ever and tell their application that
//! there are no records. So they are told what is the matter, in the shape that the answer had then. The protocol table does not have
//! these versions; the few shapes are here.

use bytes::{BufMut, Bytes, BytesMut};
use wire::api::ApiKey;
use wire::error_code::UNSUPPORTED_VERSION;

use crate::peek;

/// API key, version and correlation id.
const FIXED_HEADER: usize = 2 + 2 + 4;

/// How partitions are asked for, and what is said of each.
struct Shape {
    /// Bytes of a request before its topics; a string may come besides.
    before: usize,
    begins_with_text: bool,
    /// Bytes of a partition of a request behind its index.
    behind: usize,
    /// What the answer begins with.
    head: &'static [u8],
    /// What an answer says of a partition, before and behind the error code.
    said: [&'static [u8]; 2],
}

/// Whether a request in such a version is answered.
pub(super) fn is_answered(api: ApiKey, version: i16) -> bool {
    shape(api, version).is_some()
}

/// The body of the answer to a whole frame without its length prefix; `None`: it is malformed, or of no such version.
pub(super) fn answer(api: ApiKey, version: i16, frame: &[u8]) -> Option<Bytes> {
    let shape = shape(api, version)?;
    let mut body = frame.get(FIXED_HEADER..)?;
    peek::text(&mut body, false)?; // client id
    if shape.begins_with_text {
        peek::text(&mut body, false)?;
    }
    shape.answer(body.get(shape.before..)?)
}

fn shape(api: ApiKey, version: i16) -> Option<Shape> {
    Some(match (api, version) {
        (ApiKey::FETCH, 0..=3) => Shape {
            // Replica, wait, least bytes; from version 3 on most bytes.
            before: if version < 3 { 12 } else { 16 },
            begins_with_text: false,
            behind: 8 + 4,
            head: if version < 1 { &[] } else { &[0; 4] },
            // High watermark, no records.
            said: [
                &[],
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            ],
        },
        (ApiKey::LIST_OFFSETS, 0) => Shape {
            before: 4, // replica
            begins_with_text: false,
            behind: 8 + 4,
            head: &[],
            said: [&[], &[0; 4]], // no offsets
        },
        (ApiKey::OFFSET_FETCH, 0) => Shape {
            before: 0,
            begins_with_text: true, // group
            behind: 0,
            head: &[],
            said: [&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0], &[]], // no offset, no metadata
        },
        _ => return None,
    })
}

impl Shape {
    fn answer(&self, topics: &[u8]) -> Option<Bytes> {
        let mut rest = topics;
        let mut out = BytesMut::new();
        out.put_slice(self.head);
        for _ in 0..copy_count(&mut rest, &mut out)? {
            let name = peek::text(&mut rest, false)??;
            out.put_i16(i16::try_from(name.len()).ok()?);
            out.put_slice(name);
            for _ in 0..copy_count(&mut rest, &mut out)? {
                let (index, behind) = rest.split_first_chunk::<4>()?;
                rest = behind.get(self.behind..)?;
                out.put_slice(index);
                out.put_slice(self.said[0]);
                out.put_i16(UNSUPPORTED_VERSION);
                out.put_slice(self.said[1]);
            }
        }
        Some(out.freeze())
    }
}

/// The length of an array; each element takes bytes of the request, so it needs no bound.
fn copy_count(rest: &mut &[u8], out: &mut BytesMut) -> Option<i32> {
    let (count, behind) = rest.split_first_chunk()?;
    *rest = behind;
    out.put_slice(count);
    Some(i32::from_be_bytes(*count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key, version, correlation id and client id, then the body.
    fn request(api: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
        let mut frame = BytesMut::new();
        frame.put_i16(api.0);
        frame.put_i16(version);
        frame.put_slice(&[0, 0, 0, 7, 0, 1, b'c']);
        frame.put_slice(body);
        frame.to_vec()
    }

    #[test]
    fn each_partition_is_told() {
        let topic = [0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 9];
        let told = |head: &[u8], behind: &[u8]| [head, &topic, behind].concat();
        let error = [0, 35];
        let watermark = [[0xff; 8].as_slice(), &[0; 4]].concat();
        for (api, version, before, behind, expected) in [
            (
                ApiKey::FETCH,
                0,
                12,
                12,
                told(&[], &[&error[..], &watermark].concat()),
            ),
            (
                ApiKey::FETCH,
                2,
                12,
                12,
                told(&[0; 4], &[&error[..], &watermark].concat()),
            ),
            (
                ApiKey::FETCH,
                3,
                16,
                12,
                told(&[0; 4], &[&error[..], &watermark].concat()),
            ),
            (
                ApiKey::LIST_OFFSETS,
                0,
                4,
                12,
                told(&[], &[0, 35, 0, 0, 0, 0]),
            ),
            (
                ApiKey::OFFSET_FETCH,
                0,
                2, // an empty group
                0,
                told(&[], &[&[0xff; 8][..], &[0, 0, 0, 35]].concat()),
            ),
        ] {
            let body = [&vec![0; before][..], &topic, &vec![5; behind]].concat();
            let frame = request(api, version, &body);
            assert!(is_answered(api, version));
            assert_eq!(
                answer(api, version, &frame).unwrap(),
                expected,
                "{api} v{version}"
            );
            for cut in 0..frame.len() {
                assert_eq!(answer(api, version, &frame[..cut]), None, "{api} {cut}");
            }
        }
    }

    #[test]
    fn others_are_not_answered() {
        for api in ApiKey::all() {
            for version in 0..3 {
                let is_known = api.spec().is_some_and(|spec| spec.has_version(version));
                assert!(!(is_known && is_answered(api, version)), "{api} v{version}");
            }
        }
        assert!(!is_answered(ApiKey::PRODUCE, 0) && !is_answered(ApiKey::FETCH, -1));
    }

    #[test]
    fn counts_without_elements_are_malformed() {
        let body = [&[0; 12][..], &[0x7f, 0xff, 0xff, 0xff]].concat();
        assert_eq!(
            answer(ApiKey::FETCH, 0, &request(ApiKey::FETCH, 0, &body)),
            None
        );
    }
}
