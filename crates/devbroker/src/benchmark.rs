//! Benchmark mode: one prepared batch, handed out for every offset of every partition.

use bytes::Bytes;

use crate::batch;
use crate::options::Benchmark;
use crate::sync::now_ms;

/// End offset that benchmark mode shows: far enough that no benchmark reaches it.
pub(crate) const END: i64 = 1 << 40;

/// The prepared batch.
#[derive(Debug)]
pub(crate) struct Prepared {
    batch: Bytes,
    records: i64,
}

impl Prepared {
    pub(crate) fn new(benchmark: Benchmark) -> Self {
        let records = benchmark.records.max(1);
        Prepared {
            batch: batch::prepared(records, benchmark.record_bytes, now_ms()),
            records: records as i64,
        }
    }

    /// As many batches from `offset` on as fit into `max_bytes`, at least one; in pieces that share the prepared bytes.
    pub(crate) fn fetch(&self, offset: i64, max_bytes: usize) -> Vec<Bytes> {
        let batches = (max_bytes / self.batch.len()).max(1);
        let mut pieces = Vec::with_capacity(2 * batches);
        for n in 0..batches {
            pieces.push(batch::rebased_prefix(
                &self.batch,
                offset + n as i64 * self.records,
            ));
            pieces.push(self.batch.slice(16..));
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchHeader, Rules};

    #[test]
    fn batches_follow_each_other_and_are_valid() {
        let prepared = Prepared::new(Benchmark {
            record_bytes: 100,
            records: 5,
        });
        let whole: Vec<u8> = prepared.fetch(42, 2 * prepared.batch.len()).concat();
        let first = BatchHeader::parse(&whole).expect("valid");
        assert_eq!((first.base_offset, first.last_offset()), (42, 46));
        let rules = Rules {
            max_bytes: 1 << 20,
            keys_required: false,
            zstd_allowed: false,
        };
        let second = batch::check(&whole[first.size..], rules).expect("valid");
        assert_eq!(second.base_offset, 47);
    }
}
