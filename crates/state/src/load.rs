//! Reading topics from their beginning to an end that was seen before.

use std::time::Duration;

use telemetry::targets::STATE;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use wire::error_code::{NONE, OFFSET_OUT_OF_RANGE};

use crate::committed::{self, SetError};
use crate::fetch::fetch;
use crate::kafka::{End, Failure, Kafka, Offsets, Place};
use crate::mirror::Mirror;

const PAUSE: Duration = Duration::from_millis(100);

/// Why topics could not be read.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("{error}")]
    Unreadable { place: Place, error: SetError },
}

/// What was read.
pub(crate) struct Loaded {
    pub(crate) mirror: Mirror,
    /// Where reading began.
    pub(crate) starts: Offsets,
    /// Where it goes on.
    pub(crate) next: Offsets,
}

/// Reads everything up to `until`, or to the ends there are now. Tries again until the deadline.
pub(crate) async fn load(
    kafka: &Kafka,
    until: Option<Offsets>,
    deadline: Instant,
) -> Result<Loaded, LoadError> {
    let begun = Instant::now();
    let starts = patiently(kafka, deadline, || kafka.offsets(End::First)).await?;
    let ends = match until {
        Some(ends) => ends,
        None => patiently(kafka, deadline, || kafka.offsets(End::Committed)).await?,
    };
    let mut mirror = Mirror::default();
    let mut next = Offsets::new();
    for (place, end) in ends {
        let start = starts.get(&place).copied().unwrap_or(0).max(0);
        let reached = partition(kafka, &mut mirror, place, start, end, deadline).await?;
        next.insert(place, reached);
    }
    tracing::debug!(target: STATE, elapsed = ?begun.elapsed(), "state topics read");
    Ok(Loaded {
        mirror,
        starts,
        next,
    })
}

async fn partition(
    kafka: &Kafka,
    mirror: &mut Mirror,
    place: Place,
    start: i64,
    end: i64,
    deadline: Instant,
) -> Result<i64, LoadError> {
    let mut next = start;
    while next < end {
        let read = patiently(kafka, deadline, || async {
            let leader = kafka.leader(place)?;
            let mut reads = fetch(kafka, &leader, &[(place, next)], Duration::ZERO).await?;
            let read = reads.pop().filter(|read| read.place == place);
            match read {
                Some(read) if read.error == NONE => Ok(read),
                Some(read) => Err(Failure::code("Fetch", read.error)),
                None => Err(Failure::Missing(kafka.name(place.0).to_owned())),
            }
        })
        .await;
        let read = match read {
            // Compaction of the newest segment cannot be; somebody deletes records while they are read.
            Err(Failure::Code {
                code: OFFSET_OUT_OF_RANGE,
                asked,
                ..
            }) => return Err(Failure::code(asked, OFFSET_OUT_OF_RANGE).into()),
            other => other?,
        };
        let before = next;
        next = committed::read(&read.records, &read.aborted, next, end, |record| {
            mirror.apply(place, record);
        })
        .map_err(|error| LoadError::Unreadable { place, error })?;
        if next == before {
            // Nothing came although the end is farther: an open transaction has moved it, or the broker is slow.
            if Instant::now() + PAUSE >= deadline {
                return Err(Failure::TimedOut.into());
            }
            sleep(PAUSE).await;
        }
    }
    Ok(next)
}

/// Asks until there is an answer; each failure is a reason to look at the metadata again.
async fn patiently<T, F>(
    kafka: &Kafka,
    deadline: Instant,
    mut ask: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    loop {
        let failure = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let final_one = matches!(
            failure,
            Failure::Code {
                code: OFFSET_OUT_OF_RANGE,
                ..
            }
        );
        if final_one || Instant::now() + PAUSE >= deadline {
            return Err(failure);
        }
        sleep(PAUSE).await;
        // A failure of this shows in the next attempt.
        let _ = kafka.refresh().await;
    }
}
