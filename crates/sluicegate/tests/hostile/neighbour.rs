//! A well-behaved client that goes on producing and consuming while others misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::frames::{Fetch, call, connect, metadata_of, produce};
use crate::world::eventually;

const TOPIC: &str = "neighbour";

/// Produces a record and reads it back, again and again, on one connection that must never break.
pub(crate) struct Neighbour {
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbour {
    /// Starts at `address`, behind which is a cluster of one broker.
    pub(crate) fn move_in(address: &str) -> Neighbour {
        let rounds = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (address, rounds, stop) = (address.to_owned(), rounds.clone(), stop.clone());
            move || live(&address, &rounds, &stop)
        });
        let neighbour = Neighbour {
            rounds,
            stop,
            thread: Some(thread),
        };
        neighbour.assert_well();
        neighbour
    }

    /// Waits until some more rounds have gone well.
    #[track_caller]
    pub(crate) fn assert_well(&self) {
        let goal = self.rounds.load(Ordering::Relaxed) + 3;
        eventually("the neighbour to produce and consume", || {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "the neighbour was disturbed");
            self.rounds.load(Ordering::Relaxed) >= goal
        });
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the neighbour was disturbed");
        }
    }
}

fn live(address: &str, rounds: &AtomicU64, stop: &AtomicBool) {
    let mut client = connect(address);
    call(&mut client, &metadata_of(TOPIC, 1));
    let mut round = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let value = format!("value {round:010}");
        let answer = call(&mut client, &produce(TOPIC, -1, value.as_bytes(), 2));
        // one topic, its name, one partition, its number, the error
        let error = &answer[4 + 2 + TOPIC.len() + 4 + 4..][..2];
        assert_eq!(error, [0, 0], "produce");
        let fetch = Fetch {
            offset: round as i64,
            max_wait_ms: 10_000,
            ..Fetch::new(TOPIC)
        };
        let answer = call(&mut client, &fetch.frame(3));
        let found = answer
            .windows(value.len())
            .any(|part| part == value.as_bytes());
        assert!(
            found,
            "round {round} is not in what was fetched: {:?}",
            &answer[..answer.len().min(80)]
        );
        round += 1;
        rounds.store(round, Ordering::Relaxed);
    }
}
