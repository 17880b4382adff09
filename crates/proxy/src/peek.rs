//! What has to be seen at the beginning of a request body before it can go on.

use wire::api::{ApiKey, Direction};
use wire::walk::WalkError;

/// The few facts that decide how a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peek {
    /// Produce with `acks=0` has no answer.
    pub(crate) expects_answer: bool,
    /// Produce with `acks=-1` is answered when all replicas in sync have the records.
    pub(crate) needs_replicas: bool,
    /// The client takes part in a transaction.
    pub(crate) is_transactional: bool,
    /// The request claims to come from a replica: it could read past the high watermark or disturb the in-sync replicas
    /// with the gateway's privileges (invariant I11).
    pub(crate) is_follower: bool,
}

const PLAIN: Peek = Peek {
    expects_answer: true,
    needs_replicas: false,
    is_transactional: false,
    is_follower: false,
};

/// Looks at the first bytes of a request body; `None`: not enough of them.
pub(crate) fn peek(api: ApiKey, version: i16, body: &[u8]) -> Option<Peek> {
    match api {
        ApiKey::PRODUCE => {
            // transactional id (v3+, nullable; compact from v9), acks
            let (is_transactional, rest) = transactional_id(body, version >= 9)?;
            let acks = rest.first_chunk().map(|b| i16::from_be_bytes(*b))?;
            Some(Peek {
                expects_answer: acks != 0,
                needs_replicas: acks != 0 && acks != 1,
                is_transactional,
                ..PLAIN
            })
        }
        ApiKey::INIT_PRODUCER_ID => {
            let (is_transactional, _) = transactional_id(body, version >= 2)?;
            Some(Peek {
                is_transactional,
                ..PLAIN
            })
        }
        ApiKey::FETCH if version <= 14 => replica_id(body),
        ApiKey::LIST_OFFSETS => replica_id(body),
        ApiKey::OFFSET_FOR_LEADER_EPOCH if version >= 3 => replica_id(body),
        _ => Some(PLAIN),
    }
}

/// Brokers are numbered from 0; -3 is a copy being moved between directories, which reads to the end of the log too.
/// Clients are -1, debugging consumers -2.
pub(crate) fn is_replica(id: i64) -> bool {
    id >= 0 || id == -3
}

fn replica_id(body: &[u8]) -> Option<Peek> {
    let id = body.first_chunk().map(|b| i32::from_be_bytes(*b))?;
    Some(Peek {
        is_follower: is_replica(id.into()),
        ..PLAIN
    })
}

/// Whether there is a transactional id, and what follows it.
fn transactional_id(mut body: &[u8], compact: bool) -> Option<(bool, &[u8])> {
    let id = text(&mut body, compact)?;
    Some((id.is_some(), body))
}

/// Takes a nullable string; the outer `None`: not enough bytes.
pub(crate) fn text<'a>(body: &mut &'a [u8], compact: bool) -> Option<Option<&'a [u8]>> {
    let length = match compact {
        true => wire::varint::take(body)?.checked_sub(1),
        false => {
            let (length, rest) = body.split_first_chunk()?;
            *body = rest;
            u32::try_from(i16::from_be_bytes(*length)).ok()
        }
    };
    let Some(length) = length else {
        return Some(None);
    };
    let (text, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
    *body = rest;
    Some(Some(text))
}

/// Walks a whole request body. Bytes behind the last field are let pass, as brokers let them: librdkafka 2.16 sends a few in
/// Metadata v13.
pub(crate) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), WalkError> {
    match wire::walk::validate(api, version, Direction::Request, body) {
        Err(WalkError::TrailingBytes { .. }) => Ok(()),
        other => other,
    }
}

/// A request body without bytes behind the last field, if there are any.
pub(crate) fn message(api: ApiKey, version: i16, body: &[u8]) -> &[u8] {
    match wire::walk::validate(api, version, Direction::Request, body) {
        Err(WalkError::TrailingBytes { offset }) => body.get(..offset).unwrap_or(body),
        _ => body,
    }
}

/// Recognises what is commonly sent to a Kafka port by mistake; a hint for the log.
pub(crate) fn foreign_protocol(bytes: &[u8]) -> Option<&'static str> {
    const HTTP: [&[u8]; 7] = [
        b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PRI ",
    ];
    match bytes {
        [0x16, 0x03, ..] => Some(
            "a TLS handshake on a PLAINTEXT listener: the client's security.protocol does not match",
        ),
        _ if HTTP.iter().any(|verb| bytes.starts_with(verb)) => {
            Some("an HTTP request on a Kafka port: the admin API is on GATEWAY_HTTP_PORT")
        }
        // Versions 1 and 2 of it.
        [b'P', b'R', b'O', b'X', ..] | [b'\r', b'\n', b'\r', b'\n', ..] => Some(
            "the PROXY protocol, which is not spoken here: switch it off at the load balancer in front",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn produce_acks_and_transactional_id() {
        let acks_0 = [0xff, 0xff, 0, 0];
        let acks_all_txn = [0, 2, b'i', b'd', 0xff, 0xff];
        let compact = [0x03, b'i', b'd', 0, 1];
        assert!(!peek(ApiKey::PRODUCE, 3, &acks_0).unwrap().expects_answer);
        let seen = peek(ApiKey::PRODUCE, 8, &acks_all_txn).unwrap();
        assert!(seen.expects_answer && seen.is_transactional && seen.needs_replicas);
        let seen = peek(ApiKey::PRODUCE, 9, &compact).unwrap();
        assert!(seen.is_transactional && !seen.needs_replicas);
        assert!(
            !peek(ApiKey::PRODUCE, 13, &[0, 0, 0])
                .unwrap()
                .is_transactional
        );
        for cut in 0..compact.len() {
            assert_eq!(peek(ApiKey::PRODUCE, 9, &compact[..cut]), None);
        }
        for cut in 0..acks_all_txn.len() {
            assert_eq!(peek(ApiKey::PRODUCE, 8, &acks_all_txn[..cut]), None);
        }
        assert_eq!(peek(ApiKey::PRODUCE, 9, &[0x80, 0x80, 0x80, 0]), None);
    }

    #[test]
    fn followers_are_recognised() {
        assert!(peek(ApiKey::FETCH, 12, &[0, 0, 0, 2]).unwrap().is_follower);
        assert!(!peek(ApiKey::FETCH, 12, &[0xff; 4]).unwrap().is_follower);
        assert!(
            peek(ApiKey::LIST_OFFSETS, 1, &[0, 0, 0, 0])
                .unwrap()
                .is_follower
        );
        // The consumer's own id in OffsetForLeaderEpoch is -2 in some clients.
        let debug = [0xff, 0xff, 0xff, 0xfe];
        assert!(
            !peek(ApiKey::OFFSET_FOR_LEADER_EPOCH, 4, &debug)
                .unwrap()
                .is_follower
        );
    }

    #[test]
    fn bytes_behind_a_request_do_no_harm() {
        let all_topics = [0, 0, 0, 0, 1, 0, 0];
        assert_eq!(check(ApiKey::METADATA, 13, &all_topics), Ok(()));
        assert!(check(ApiKey::METADATA, 13, &[5, 0]).is_err());
    }

    #[test]
    fn mistaken_protocols_get_a_hint() {
        assert!(foreign_protocol(&[0x16, 3, 1, 2]).is_some());
        assert!(foreign_protocol(b"GET / HTTP/1.1").is_some());
        for header in [&b"PROXY TCP4 10.0.0.1"[..], b"\r\n\r\n\0\r\nQUIT\n"] {
            assert!(foreign_protocol(header).is_some_and(|hint| hint.contains("PROXY")));
        }
        assert!(foreign_protocol(&[0, 0, 0, 20]).is_none());
    }
}
