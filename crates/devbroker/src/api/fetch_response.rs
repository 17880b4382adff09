//! Fetch responses, written by hand so that record batches are shared with the log instead of copied.
//!
//! The layout follows `FetchResponse.json`, versions 4 to 18.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Request;
use crate::broker::Endpoint;
use crate::codec::Frame;
use crate::log::Aborted;

/// First version with compact fields and tags.
const FLEXIBLE_FROM: i16 = 12;

pub(super) struct FetchedTopic {
    pub(super) name: StrBytes,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<FetchedPartition>,
}

pub(super) struct FetchedPartition {
    pub(super) error: i16,
    /// Leader and epoch that the client does not know.
    pub(super) current_leader: Option<(i32, i32)>,
    /// None unless only committed records were asked for.
    pub(super) aborted: Option<Vec<Aborted>>,
    pub(super) records: Vec<Bytes>,
    index: i32,
    high_watermark: i64,
    last_stable_offset: i64,
    log_start_offset: i64,
}

impl FetchedPartition {
    pub(super) fn new(
        index: i32,
        high_watermark: i64,
        last_stable_offset: i64,
        log_start_offset: i64,
    ) -> Self {
        FetchedPartition {
            error: 0,
            current_leader: None,
            aborted: None,
            records: Vec::new(),
            index,
            high_watermark,
            last_stable_offset,
            log_start_offset,
        }
    }

    /// Bytes of records.
    pub(super) fn size(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

/// The whole response frame.
pub(super) fn encode(
    request: &Request<'_>,
    error: i16,
    topics: &[FetchedTopic],
    endpoints: &[Endpoint],
) -> Frame {
    let mut frame = Frame::default();
    let mut writer = Writer {
        frame: &mut frame,
        version: request.version,
        flexible: request.version >= FLEXIBLE_FROM,
    };
    writer.out().put_i32(request.correlation_id);
    writer.no_tags();
    writer.out().put_i32(request.throttle_ms);
    if request.version >= 7 {
        writer.out().put_i16(error);
        writer.out().put_i32(0);
    }
    writer.count(topics.len());
    for topic in topics {
        writer.topic(topic);
    }
    writer.endpoints(endpoints);
    frame
}

struct Writer<'f> {
    frame: &'f mut Frame,
    version: i16,
    flexible: bool,
}

impl Writer<'_> {
    fn out(&mut self) -> &mut BytesMut {
        self.frame.open()
    }

    fn topic(&mut self, topic: &FetchedTopic) {
        if self.version >= 13 {
            self.out().put_slice(topic.id.as_bytes());
        } else {
            self.text(&topic.name);
        }
        self.count(topic.partitions.len());
        for partition in &topic.partitions {
            self.partition(partition);
        }
        self.no_tags();
    }

    fn partition(&mut self, partition: &FetchedPartition) {
        self.out().put_i32(partition.index);
        self.out().put_i16(partition.error);
        self.out().put_i64(partition.high_watermark);
        self.out().put_i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.out().put_i64(partition.log_start_offset);
        }
        match &partition.aborted {
            Some(aborted) => {
                self.count(aborted.len());
                for transaction in aborted {
                    self.out().put_i64(transaction.producer_id);
                    self.out().put_i64(transaction.first_offset);
                    self.no_tags();
                }
            }
            None if self.flexible => self.out().put_u8(0),
            None => self.out().put_i32(-1),
        }
        if self.version >= 11 {
            self.out().put_i32(-1);
        }
        self.length(partition.size());
        for piece in &partition.records {
            self.frame.put(piece.clone());
        }
        match partition.current_leader {
            Some((leader, epoch)) if self.flexible => {
                self.out().put_slice(&[1, 1, 9]);
                self.out().put_i32(leader);
                self.out().put_i32(epoch);
                self.no_tags();
            }
            _ => self.no_tags(),
        }
    }

    fn endpoints(&mut self, endpoints: &[Endpoint]) {
        if !self.flexible || self.version < 16 || endpoints.is_empty() {
            return self.no_tags();
        }
        let mut inner = Frame::default();
        let mut writer = Writer {
            frame: &mut inner,
            version: self.version,
            flexible: true,
        };
        writer.count(endpoints.len());
        for endpoint in endpoints {
            writer.out().put_i32(endpoint.node_id);
            writer.text(&endpoint.host);
            writer.out().put_i32(endpoint.port);
            match &endpoint.rack {
                Some(rack) => writer.text(rack),
                None => writer.out().put_u8(0),
            }
            writer.no_tags();
        }
        let body = inner.open().split();
        self.out().put_slice(&[1, 0]);
        self.varint(body.len());
        self.out().put_slice(&body);
    }

    fn text(&mut self, text: &str) {
        if self.flexible {
            self.varint(text.len() + 1);
        } else {
            self.out().put_i16(text.len() as i16);
        }
        self.out().put_slice(text.as_bytes());
    }

    fn count(&mut self, count: usize) {
        self.length(count);
    }

    /// Array counts and byte lengths are written alike.
    fn length(&mut self, length: usize) {
        if self.flexible {
            self.varint(length + 1)
        } else {
            self.out().put_i32(length as i32)
        }
    }

    fn varint(&mut self, value: usize) {
        let mut rest = value;
        while rest >= 0x80 {
            self.out().put_u8(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out().put_u8(rest as u8);
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.out().put_u8(0);
        }
    }
}
