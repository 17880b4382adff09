//! Fetch requests in which the end of the body tells who asks (KIP-903: from version 15 on the replica id is in a tagged
//! field).
//!
//! What claims to come from a replica may read past the high watermark and disturbs the in-sync replicas, and it would do
//! so with the gateway's privileges. A body that streams is validated on the way, and its end is held back until it is
//! known: a broker never gets the whole of a request that is refused.

use wire::api::{ApiKey, Direction};
use wire::plan::{Interest, Plan, Plans};
use wire::schema::Entity;
use wire::stream::{Step, StreamWalker};
use wire::walk::{Field, Value, Visitor, WalkError};

use crate::peek;

static REPLICAS: Plans = Plans::new(Interest::of(&[Entity::ReplicaId]));

/// Tagged fields of a request take a few bytes; a longer end is not held, bytes.
const MAX_END: usize = 64 * 1024;

/// Whether the end of the body has to be seen.
pub(super) fn is_told_at_end(api: ApiKey, version: i16) -> bool {
    api == ApiKey::FETCH && version >= 15
}

/// Whether a whole body claims to come from a replica.
pub(super) fn claims(api: ApiKey, version: i16, body: &[u8]) -> Result<bool, WalkError> {
    let mut claim = Claim(false);
    let walked = plan(api, version)?.visit(body, &mut claim);
    claim.after(walked)
}

/// A body on its way.
pub(super) struct Check {
    walker: StreamWalker<'static>,
}

/// What may be done with the next bytes.
pub(super) enum Progress {
    /// This many may go on.
    Pass(usize),
    /// More are needed.
    More,
    /// All the rest may go on.
    Harmless,
    /// The request claims to come from a replica.
    Replica,
}

impl Check {
    /// A check of a body of `len` bytes.
    pub(super) fn new(api: ApiKey, version: i16, len: usize) -> Result<Self, WalkError> {
        Ok(Check {
            walker: StreamWalker::new(plan(api, version)?, len as u64),
        })
    }

    /// Looks at `input`, the next bytes of the body as far as they are there; `left` are to come, those included.
    pub(super) fn next(&mut self, input: &[u8], left: usize) -> Result<Progress, WalkError> {
        match self.walker.next(input)? {
            Step::Skip(n) => Ok(Progress::Pass(n)),
            Step::End => Ok(Progress::Harmless),
            Step::NeedMore if input.len() < left => Ok(Progress::More),
            Step::Stop(_) if input.len() < left && left <= MAX_END => Ok(Progress::More),
            Step::Stop(stop) if input.len() >= left => {
                let mut claim = Claim(false);
                let walked = self.walker.plan().visit_tail(stop, input, &mut claim);
                Ok(match claim.after(walked)? {
                    true => Progress::Replica,
                    false => Progress::Harmless,
                })
            }
            Step::NeedMore | Step::Stop(_) => Err(WalkError::Truncated {
                offset: usize::try_from(self.walker.position()).unwrap_or(usize::MAX),
            }),
        }
    }
}

fn plan(api: ApiKey, version: i16) -> Result<&'static Plan, WalkError> {
    REPLICAS
        .get(api, version, Direction::Request)
        .ok_or(WalkError::UnknownMessage { api, version })
}

/// Whether a replica id was seen that is one.
struct Claim(bool);

impl Claim {
    fn after(&self, walked: Result<(), WalkError>) -> Result<bool, WalkError> {
        match walked {
            // Brokers let bytes behind the last field pass.
            Ok(()) | Err(WalkError::TrailingBytes { .. }) => Ok(self.0),
            Err(error) => Err(error),
        }
    }
}

impl Visitor for Claim {
    fn field(&mut self, field: &Field<'_>) {
        if let Value::Int(id) = field.value {
            self.0 |= peek::is_replica(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fetch v15 of `topics` topics without partitions that ends with `tags`.
    fn fetch(topics: usize, tags: &[u8]) -> Vec<u8> {
        let mut body = vec![0; 21]; // waits, sizes, isolation level, session
        let mut count = topics + 1;
        while count >= 0x80 {
            body.push((count & 0x7f) as u8 | 0x80);
            count >>= 7;
        }
        body.push(count as u8);
        for _ in 0..topics {
            body.extend([7; 16]);
            body.extend([1, 0]);
        }
        body.extend([1, 1]); // no forgotten topics, empty rack
        body.extend(tags);
        body
    }

    /// Replica 7 in epoch 1.
    const REPLICA: &[u8] = &[1, 1, 13, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    const CONSUMER: &[u8] = &[1, 1, 13, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0];

    fn claims_streamed(body: &[u8], piece: usize) -> Result<bool, WalkError> {
        let mut check = Check::new(ApiKey::FETCH, 15, body.len())?;
        let (mut from, mut to) = (0, 0);
        loop {
            match check.next(&body[from..to], body.len() - from)? {
                Progress::Pass(n) => from += n,
                Progress::More => to = body.len().min(to + piece),
                Progress::Harmless => return Ok(false),
                Progress::Replica => return Ok(true),
            }
        }
    }

    #[test]
    fn a_replica_is_found_at_the_end() {
        for (tags, expected) in [(REPLICA, true), (CONSUMER, false), (&[0], false)] {
            for topics in [0, 3, 500] {
                let body = fetch(topics, tags);
                assert_eq!(claims(ApiKey::FETCH, 15, &body), Ok(expected));
                for piece in [1, 17, 100_000] {
                    assert_eq!(
                        claims_streamed(&body, piece),
                        Ok(expected),
                        "{topics} {piece}"
                    );
                }
            }
        }
    }

    #[test]
    fn bytes_behind_it_do_not_hide_it() {
        let body = [fetch(3, REPLICA), vec![0; 9]].concat();
        assert_eq!(claims(ApiKey::FETCH, 15, &body), Ok(true));
        assert_eq!(claims_streamed(&body, 10), Ok(true));
    }

    #[test]
    fn what_is_cut_or_too_long_is_malformed() {
        let body = fetch(2, REPLICA);
        for len in 0..body.len() {
            assert!(claims(ApiKey::FETCH, 15, &body[..len]).is_err(), "{len}");
            assert!(claims_streamed(&body[..len], 5).is_err(), "{len}");
        }
        let endless = fetch(
            2,
            &[vec![1, 99, 0xff, 0xff, 0x7f], vec![0; 0x1f_ffff]].concat(),
        );
        assert!(claims_streamed(&endless, 1000).is_err());
    }
}
