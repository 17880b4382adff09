//! Whose a physical name is.
//!
//! A virtual cluster's name is the prefix of all its physical names, with nothing in between. So the names of two of them
//! may overlap (`team` and `teamA`), and one function decides, for the data path and for the admin API: the longest
//! prefix owns the name. Names of deleted virtual clusters stay in the set, so that nobody inherits what they left behind.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Prefixes of virtual clusters, deleted ones included. Immutable; cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// Folded prefix to the prefix as it is.
    prefixes: Arc<BTreeMap<String, Arc<str>>>,
    /// Bytes of the longest.
    longest: usize,
}

impl Prefixes {
    /// The owner of a physical name of a topic, a group or a transaction; `None` if it belongs to no virtual cluster.
    ///
    /// Brokers refuse topics that differ from another only in `.` and `_`, and by that would tell of another's topic. So
    /// names are compared with `.` as `_`.
    pub fn owner(&self, physical: &str) -> Option<&Arc<str>> {
        let most = self.longest.min(physical.len());
        let folded = fold(&physical[..physical.floor_char_boundary(most)]);
        let mut name = &*folded;
        loop {
            // None of the prefixes that `name` begins with comes after `name`, and what stands between the longest of them and `name` begins
            // with that one, too. So either this is the longest, or both begin with it: then their common beginning is looked at next.
            let upto = (Bound::Unbounded, Bound::Included(name));
            let (prefix, owner) = self.prefixes.range::<str, _>(upto).next_back()?;
            let pairs = prefix.bytes().zip(name.bytes());
            let common = pairs.take_while(|(a, b)| a == b).count();
            if common == prefix.len() {
                return Some(owner);
            }
            name = &name[..name.floor_char_boundary(common)];
        }
    }

    /// Whether `physical` is the name of something of `prefix`, and of nobody with a longer name.
    pub fn owns(&self, prefix: &str, physical: &str) -> bool {
        physical.starts_with(prefix) && self.owner(physical).is_some_and(|owner| **owner == *prefix)
    }

    /// Whether some other prefix begins with `prefix`, so that not all names with it are its own.
    pub fn has_longer(&self, prefix: &str) -> bool {
        self.longer(prefix).next().is_some()
    }

    /// The other prefixes that begin with this one.
    pub(crate) fn longer(&self, prefix: &str) -> impl Iterator<Item = &Arc<str>> {
        let folded = fold(prefix).into_owned();
        let from = self.prefixes.range(folded.clone()..);
        from.take_while(move |(other, _)| other.starts_with(&folded))
            .map(|(_, other)| other)
            .filter(move |other| ***other != *prefix)
    }

    /// A prefix that is taken already by `prefix`: the same, or one that differs only in `.` and `_`.
    pub fn same(&self, prefix: &str) -> Option<&Arc<str>> {
        self.prefixes.get(&*fold(prefix))
    }

    /// All of which one is the beginning of the other and of `prefix` (but `prefix` itself).
    pub fn overlapping(&self, prefix: &str) -> Vec<&Arc<str>> {
        let folded = fold(prefix);
        let overlap = |other: &str| {
            other != folded && (other.starts_with(&*folded) || folded.starts_with(other))
        };
        let all = self.prefixes.iter();
        all.filter(|(other, _)| overlap(other))
            .map(|(_, prefix)| prefix)
            .collect()
    }
}

impl<P: Into<Arc<str>>> FromIterator<P> for Prefixes {
    /// Empty prefixes are left out: they would own everything.
    fn from_iter<I: IntoIterator<Item = P>>(prefixes: I) -> Self {
        let prefixes: BTreeMap<String, Arc<str>> = prefixes
            .into_iter()
            .map(Into::into)
            .filter(|prefix| !prefix.is_empty())
            .map(|prefix| (fold(&prefix).into_owned(), prefix))
            .collect();
        let longest = prefixes.keys().map(String::len).max().unwrap_or(0);
        Prefixes {
            prefixes: Arc::new(prefixes),
            longest,
        }
    }
}

fn fold(name: &str) -> Cow<'_, str> {
    match name.contains('.') {
        true => Cow::Owned(name.replace('.', "_")),
        false => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::Prefixes;

    #[test]
    fn the_longest_prefix_owns() {
        let prefixes = Prefixes::from_iter(["team", "teamA", "vc1", "vc10", "a.b"]);
        let owner = |name: &str| prefixes.owner(name).map(|owner| owner.to_string());
        assert_eq!(owner("teamAusers").as_deref(), Some("teamA"));
        assert_eq!(owner("teamBusers").as_deref(), Some("team"));
        assert_eq!(owner("team").as_deref(), Some("team"));
        assert_eq!(owner("vc10x").as_deref(), Some("vc10"));
        assert_eq!(owner("vc1x").as_deref(), Some("vc1"));
        assert_eq!(owner("tea"), None);
        assert_eq!(owner(""), None);
        assert_eq!(owner("тест"), None);
        assert!(prefixes.owns("team", "teamB") && !prefixes.owns("team", "teamA"));
        // Whose it is, and yet no name of it.
        assert_eq!(owner("a_bx").as_deref(), Some("a.b"));
        assert!(!prefixes.owns("a.b", "a_bx") && prefixes.owns("a.b", "a.bx"));
    }

    /// Looking at one beginning after the other is the oracle.
    #[test]
    fn owners_are_found_among_many() {
        let mut state = 7_u32;
        let mut below = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % n
        };
        let mut word = |longest| -> String {
            let letters = ["a", "b", ".", "_", "ä", "ö"];
            let len = below(longest);
            let word = (0..len).map(|_| letters[below(6) as usize]);
            word.collect()
        };
        for _ in 0..200 {
            let prefixes: Prefixes = (0..40).map(|_| word(6)).collect();
            for _ in 0..200 {
                let name = word(9);
                let folded = name.replace('.', "_");
                let ends = (1..=name.len()).rev();
                let expected = ends
                    .filter_map(|end| folded.get(..end))
                    .find_map(|beginning| prefixes.same(beginning));
                assert_eq!(prefixes.owner(&name), expected, "{name} of {prefixes:?}");
            }
        }
    }

    #[test]
    fn overlaps_are_found() {
        let prefixes = Prefixes::from_iter(["team", "teamA", "a.b", ""]);
        assert!(prefixes.has_longer("team") && !prefixes.has_longer("teamA"));
        assert!(prefixes.has_longer("te") && !prefixes.has_longer("x"));
        assert_eq!(
            prefixes.same("a_b").map(|p| p.to_string()).as_deref(),
            Some("a.b")
        );
        assert_eq!(prefixes.same("a_bc"), None);
        assert_eq!(prefixes.overlapping("teamAB").len(), 2);
        assert_eq!(prefixes.overlapping("team").len(), 1);
        assert_eq!(prefixes.overlapping("x").len(), 0);
    }
}
