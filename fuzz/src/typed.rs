//! The typed codec as an oracle: called only on what the wire crate accepted, it must be harmless and agree.

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use kafka_protocol::records::RecordBatchDecoder;
use wire::api::Direction;
use wire::records::{Batches, Entry};

use super::bodies::{Accepted, Guard, SMALL};

/// The typed decoder builds structs and maps out of the bytes: this many bytes for each byte of the frame at most. A
/// length taken on trust would be far beyond.
const FACTOR: usize = 512;

/// Decoding does not panic and asks for no memory out of proportion. It may refuse: text that is not UTF-8, versions it
/// does not know. Returns whether it decoded.
pub fn decoder_survives(accepted: &Accepted<'_>, guard: &impl Guard) -> bool {
    let Ok(key) = ApiKey::try_from(accepted.api.0) else {
        return false;
    };
    let (range, version) = (key.valid_versions(), accepted.version);
    if !(range.min..=range.max).contains(&version) {
        return false;
    }
    let mut bytes = Bytes::copy_from_slice(accepted.body);
    guard.within(SMALL + FACTOR * bytes.len(), || match accepted.dir {
        Direction::Request => RequestKind::decode(key, &mut bytes, version).is_ok(),
        Direction::Response => ResponseKind::decode(key, &mut bytes, version).is_ok(),
    })
}

/// The decoder of record batches either refuses `set` (header keys that are not UTF-8) or reads the same records.
pub fn records_agree(set: &[u8], guard: &impl Guard) {
    let mut bytes = Bytes::copy_from_slice(set);
    let decoded = guard.within(SMALL + FACTOR * set.len(), || {
        RecordBatchDecoder::decode_all(&mut bytes).ok()
    });
    let Some(Ok(Entry::Batch(batch))) = Batches::new(set).next() else {
        panic!("accepted before")
    };
    let (Some(decoded), Ok(records)) = (decoded, batch.records()) else {
        return;
    };
    let typed: Vec<_> = decoded.iter().flat_map(|set| &set.records).collect();
    assert_eq!(typed.len() as u32, batch.header().records_count);
    for (ours, typed) in records.zip(typed) {
        let ours = ours.expect("accepted before");
        assert_eq!(
            (ours.key, ours.value),
            (typed.key.as_deref(), typed.value.as_deref())
        );
        // Of several headers with the same key the typed decoder keeps one.
        assert!(ours.headers().count() >= typed.headers.len());
    }
}
