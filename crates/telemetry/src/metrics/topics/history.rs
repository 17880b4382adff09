//! When a log was how long: what tells how old a record is that nobody has read.

/// Where a log ended, for how long: milliseconds of the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    first: u64,
    last: u64,
    end: i64,
}

/// Samples kept for one partition.
const MAX: usize = 32;

/// The ends of one log.
#[derive(Debug, Default)]
pub(super) struct History(Vec<Sample>);

impl History {
    /// The log ends at `end` now.
    pub(super) fn note(&mut self, now: u64, end: i64) {
        match self.0.last_mut() {
            Some(last) if last.end == end => {
                last.last = now;
                return;
            }
            // Another log of that name, or one that has lost its end.
            Some(last) if last.end > end => self.0.clear(),
            _ => {}
        }
        if self.0.len() == MAX {
            // The older half at half the resolution; the oldest stays, it tells how far back all this goes.
            let mut index = 0;
            self.0.retain(|_| {
                index += 1;
                index > MAX / 2 || index % 2 == 1
            });
        }
        self.0.push(Sample {
            first: now,
            last: now,
            end,
        });
    }

    /// For how long the record at `offset` has been there, in milliseconds. `None`: since before the first sample.
    pub(super) fn age(&self, now: u64, offset: i64) -> Option<u64> {
        let next = self.0.partition_point(|sample| sample.end <= offset);
        let before = self.0.get(next.checked_sub(1)?)?;
        let Some(after) = self.0.get(next) else {
            return Some(0); // it is not there
        };
        let share = (offset - before.end) as f64 / (after.end - before.end) as f64;
        let written = before.last as f64 + after.first.saturating_sub(before.last) as f64 * share;
        Some(now.saturating_sub(written as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_old_as_the_end_that_passed_it() {
        let mut history = History::default();
        for now in (0..3_600_000).step_by(2000) {
            history.note(now, 100);
        }
        history.note(3_600_000, 110);
        let now = 3_610_000;
        history.note(now, 110);
        assert_eq!(history.age(now, 110), Some(0));
        assert_eq!(history.age(now, 100), Some(12_000), "not an hour");
        assert_eq!(history.age(now, 105), Some(11_000));
        assert_eq!(history.age(now, 99), None, "from before");
        history.note(now, 3);
        assert_eq!(history.age(now, 100), Some(0));
        assert_eq!(history.age(now, 2), None, "another log");
    }

    #[test]
    fn old_samples_lose_their_resolution_first() {
        let mut history = History::default();
        for second in 0..10_000 {
            history.note(second * 1000, second as i64 * 10);
            assert!(history.0.len() <= MAX);
        }
        let now = 9_999_000;
        for lag in [1, 10, 100, 1000, 5000, 9000] {
            let age = history.age(now, 99_990 - lag * 10).expect("known") as i64 / 1000;
            assert!((age - lag).abs() <= 1, "{lag}: {age}");
        }
    }
}
