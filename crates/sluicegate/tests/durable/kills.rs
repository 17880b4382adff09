//! The test: write, kill, start, look; again and again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testkit::{Error, Result, wait};
use wire::testing::Rng;

use crate::front::{Api, Front, LIMIT};
use crate::writer::{Writer, is_taken};

const WRITERS: usize = 4;
/// How often the gateway is killed, whatever the number of writes.
const LEAST_KILLS: usize = 4;
/// Answered writes for each further kill.
const WRITES_PER_KILL: usize = 150;

#[test]
fn what_was_answered_survives_and_nothing_is_there_by_half() -> Result<()> {
    let seed = number("SLUICEGATE_TEST_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |elapsed| elapsed.as_nanos() as u64)
    });
    println!("SLUICEGATE_TEST_SEED={seed}");
    let mut rng = Rng::new(seed);
    let writes = number("SLUICEGATE_TEST_WRITES").map_or(400, |writes| writes as usize);
    let kills = LEAST_KILLS.max(writes / WRITES_PER_KILL);
    let front = Front::start()?;
    let api = front.api();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|at| Writer::new(at, seed)).collect();
    let mut total = 0;
    for round in 0..kills {
        let mut gateway = front.gateway()?;
        look(&mut writers, api, seed, round)?;
        let answered = AtomicUsize::new(0);
        // So many answers, and then somewhere in what follows.
        let left = writes.saturating_sub(total);
        let share = left / (kills - round);
        let enough = match round + 1 == kills {
            true => left,
            false => share / 2 + rng.below(share + 1),
        };
        let pause = Duration::from_micros(rng.number() % 20_000);
        let waited = std::thread::scope(|scope| {
            for writer in &mut writers {
                let answered = &answered;
                scope.spawn(move || writer.write(api, answered));
            }
            let waited = wait::until_true("enough writes", LIMIT, || {
                answered.load(Ordering::Relaxed) >= enough
            });
            std::thread::sleep(pause);
            gateway.kill();
            waited
        });
        waited?;
        total += answered.into_inner();
    }
    let _gateway = front.gateway()?;
    look(&mut writers, api, seed, kills)?;
    if is_taken(api, "never_there")? {
        let problem = "the names of a virtual cluster that never was are taken";
        return Err(Error::Violated(problem.to_owned()));
    }
    let stored = api.stored()?.len();
    println!("{total} answered writes, {kills} kills, {stored} resources in the end");
    Ok(())
}

/// Looks at everything that is stored.
fn look(writers: &mut [Writer], api: Api, seed: u64, round: usize) -> Result<()> {
    let stored = api.stored()?;
    for writer in writers {
        writer.verify(api, &stored).map_err(|error| {
            Error::Violated(format!(
                "SLUICEGATE_TEST_SEED={seed}, after {round} kills:\n{error}"
            ))
        })?;
    }
    Ok(())
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
