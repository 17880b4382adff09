//! Figures of several rounds, and what is shown of them.

use std::fmt;

use crate::load::Outcome;

/// Outcomes by workload and peer, both in the order in which they came first.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Cell>);

#[derive(Debug)]
struct Cell {
    workload: String,
    peer: String,
    outcomes: Vec<Outcome>,
}

impl Figures {
    /// Adds one round's outcome.
    pub(crate) fn add(&mut self, workload: &str, peer: &str, outcome: Outcome) {
        let known = self
            .0
            .iter_mut()
            .find(|cell| cell.workload == workload && cell.peer == peer);
        match known {
            Some(cell) => cell.outcomes.push(outcome),
            None => self.0.push(Cell {
                workload: workload.to_owned(),
                peer: peer.to_owned(),
                outcomes: vec![outcome],
            }),
        }
    }

    /// Adds others of the same kind.
    pub(crate) fn extend(&mut self, others: Figures) {
        self.0.extend(others.0);
    }

    /// Every workload and peer with its outcomes.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, &str, &[Outcome])> {
        self.0.iter().map(|cell| {
            (
                cell.workload.as_str(),
                cell.peer.as_str(),
                cell.outcomes.as_slice(),
            )
        })
    }

    /// A figure's spread over the rounds; None if that was not measured.
    pub(crate) fn spread(
        &self,
        workload: &str,
        peer: &str,
        figure: impl Fn(&Outcome) -> f64,
    ) -> Option<Spread> {
        let cell = self
            .0
            .iter()
            .find(|cell| cell.workload == workload && cell.peer == peer)?;
        Spread::of(cell.outcomes.iter().map(figure))
    }

    /// MB/s of the slowest peer.
    pub(crate) fn lowest_rate(&self, workload: &str) -> Option<f64> {
        let cells = self.0.iter().filter(|cell| cell.workload == workload);
        cells
            .filter_map(|cell| Spread::of(cell.outcomes.iter().map(Outcome::megabytes_per_second)))
            .map(|spread| spread.median)
            .reduce(f64::min)
    }
}

/// Median and extremes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// None for no values.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => *values.get(middle)?,
            _ => (values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0,
        };
        Some(Spread {
            median,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

impl fmt::Display for Spread {
    /// `median (min-max)`, with as many decimals as make sense.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.median {
            median if median >= 100.0 => 0,
            median if median >= 10.0 => 1,
            median if median >= 1.0 => 2,
            _ => 3,
        };
        write!(
            f,
            "{:.decimals$} ({:.decimals$}-{:.decimals$})",
            self.median, self.min, self.max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 2.0]).map(|s| s.median), Some(2.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).map(|s| s.median), Some(2.5));
        let shown = of(&[120.4, 99.0, 130.0]).map(|s| s.to_string());
        assert_eq!(shown.as_deref(), Some("120 (99-130)"));
    }
}
