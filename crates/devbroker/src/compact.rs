//! Compaction good enough for state topics: the last value of each key stays, offsets stay, tombstones and transaction markers go after
//! `delete.retention.ms` (from the first pass that saw them). Compressed batches are left as they are.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use crate::batch::{self, HEADER_LEN, Records};
use crate::log::{PartitionLog, Stored};

/// Compacts everything below the last stable offset.
pub(crate) fn compact(log: &mut PartitionLog, now: i64, delete_retention_ms: i64) {
    let bound = log.last_stable();
    let whole = log
        .batches
        .iter()
        .take_while(|b| b.header.last_offset() < bound)
        .count();
    let latest = latest_offsets(log, whole);
    let mut kept = Vec::new();
    let mut forgotten_markers = Vec::new();
    for stored in log.batches.iter().take(whole) {
        let expired = stored
            .cleaned_ms
            .is_some_and(|since| now.saturating_sub(since) >= delete_retention_ms);
        if stored.header.is_control() {
            if expired {
                forgotten_markers.push(stored.header.base_offset);
            } else {
                kept.push(marked(stored, now));
            }
        } else if stored.header.is_compressed() {
            kept.push(stored.clone());
        } else if !is_aborted(log, stored) {
            kept.extend(clean(stored, &latest, expired, now));
        }
    }
    log.replace_front(whole, kept);
    log.aborted
        .retain(|a| !forgotten_markers.contains(&a.last_offset));
    log.clean_bytes = log.bytes();
}

/// The offset of the last record of each key among the first `whole` batches. What lies above does not count: it may yet be aborted.
fn latest_offsets(log: &PartitionLog, whole: usize) -> HashMap<Bytes, i64> {
    let mut latest = HashMap::new();
    for stored in log.batches.iter().take(whole) {
        if stored.header.is_control() || stored.header.is_compressed() || is_aborted(log, stored) {
            continue;
        }
        for record in Records::new(&stored.bytes[HEADER_LEN..]).flatten() {
            if let Some(key) = record.key {
                latest.insert(
                    stored.bytes.slice_ref(key),
                    stored.header.base_offset + record.offset_delta,
                );
            }
        }
    }
    latest
}

fn is_aborted(log: &PartitionLog, stored: &Stored) -> bool {
    let header = &stored.header;
    header.is_transactional()
        && log.aborted.iter().any(|a| {
            a.producer_id == header.producer_id
                && (a.first_offset..a.last_offset).contains(&header.base_offset)
        })
}

fn clean(
    stored: &Stored,
    latest: &HashMap<Bytes, i64>,
    tombstones_expired: bool,
    now: i64,
) -> Option<Stored> {
    let mut records = BytesMut::new();
    let mut count = 0;
    let mut tombstones = false;
    for record in Records::new(&stored.bytes[HEADER_LEN..]).flatten() {
        let offset = stored.header.base_offset + record.offset_delta;
        let current = record
            .key
            .is_some_and(|key| latest.get(key) == Some(&offset));
        if !current || (record.is_tombstone && tombstones_expired) {
            continue;
        }
        tombstones |= record.is_tombstone;
        records.extend_from_slice(record.raw);
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let mut left = if count == stored.header.count {
        stored.clone()
    } else {
        rebuilt(stored, count, &records)
    };
    left.cleaned_ms = stored.cleaned_ms.or(tombstones.then_some(now));
    Some(left)
}

fn rebuilt(stored: &Stored, count: i32, records: &[u8]) -> Stored {
    let bytes = batch::with_records(&stored.bytes, count, records);
    let mut header = stored.header;
    (header.size, header.count) = (bytes.len(), count);
    Stored {
        header,
        bytes,
        ..stored.clone()
    }
}

fn marked(stored: &Stored, now: i64) -> Stored {
    Stored {
        cleaned_ms: stored.cleaned_ms.or(Some(now)),
        ..stored.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchHeader;
    use crate::log::BATCH_OVERHEAD;
    use crate::memory::Budget;
    use kafka_protocol::records::{
        Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE,
        Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    fn batch(records: &[(&str, Option<&str>)]) -> Bytes {
        let records: Vec<Record> = records
            .iter()
            .enumerate()
            .map(|(i, (key, value))| Record {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                timestamp_type: TimestampType::Creation,
                offset: i as i64,
                sequence: NO_SEQUENCE + i as i32,
                timestamp: 1,
                key: Some(Bytes::copy_from_slice(key.as_bytes())),
                value: value.map(|v| Bytes::copy_from_slice(v.as_bytes())),
                headers: Default::default(),
            })
            .collect();
        let mut out = BytesMut::new();
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        RecordBatchEncoder::encode(&mut out, &records, &options).expect("encodes");
        out.freeze()
    }

    fn keys(log: &PartitionLog) -> Vec<(i64, String)> {
        let mut all = Vec::new();
        for stored in &log.batches {
            let rules = batch::Rules {
                max_bytes: 1 << 20,
                keys_required: true,
                zstd_allowed: false,
            };
            let header = BatchHeader::parse(&stored.bytes).expect("header");
            if header.count == header.last_offset_delta + 1 && header.count > 1 {
                assert!(batch::check(&stored.bytes, rules).is_err() || header == stored.header);
            }
            for record in Records::new(&stored.bytes[HEADER_LEN..]).flatten() {
                let key = String::from_utf8_lossy(record.key.expect("keyed")).into_owned();
                all.push((header.base_offset + record.offset_delta, key));
            }
        }
        all
    }

    #[test]
    fn last_values_and_offsets_stay_and_tombstones_go_in_a_later_pass() {
        let budget = Budget::new(1 << 20);
        let mut log = PartitionLog::new(budget.charge(0).expect("room"));
        for records in [
            batch(&[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]),
            batch(&[("b", None), ("c", Some("1"))]),
        ] {
            let header = BatchHeader::parse(&records).expect("valid");
            let charge = budget.charge(records.len() + BATCH_OVERHEAD).expect("room");
            log.append(&records, header, 0, None, 0, charge)
                .expect("appended");
        }
        compact(&mut log, 1_000, 500);
        assert_eq!(
            keys(&log),
            [(2, "a".into()), (3, "b".into()), (4, "c".into())]
        );
        compact(&mut log, 1_400, 500);
        assert_eq!(keys(&log).len(), 3);
        compact(&mut log, 1_500, 500);
        assert_eq!(keys(&log), [(2, "a".into()), (4, "c".into())]);
        assert_eq!(
            (log.end(), log.bytes()),
            (5, log.batches.iter().map(|b| b.bytes.len() as u64).sum())
        );
        assert_eq!(
            budget.used(),
            log.bytes() + (log.batches.len() * BATCH_OVERHEAD) as u64
        );
    }
}
