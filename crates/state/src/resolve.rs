//! Which interceptors apply to whom: of each name those of the narrowest scope (user, group, virtual cluster, everybody), in the order of
//! their priorities.

use std::collections::HashMap;
use std::sync::Arc;

use crate::interceptor::{Interceptor, Scope};
use crate::snapshot::Snapshot;

/// How much an interceptor is aimed at one user; the highest rank of a name counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Global,
    VirtualCluster,
    Group,
    Username,
}

impl Snapshot {
    /// The interceptors of a user of `vcluster` who belongs to `groups`, in the order in which they run. Nothing of this
    /// has to exist.
    pub fn interceptors_for(
        &self,
        vcluster: &str,
        groups: &[&str],
        username: Option<&str>,
    ) -> Vec<Arc<Interceptor>> {
        let rank = |scope: &Scope| {
            if scope.is_global() {
                return Some(Rank::Global);
            }
            if scope.vcluster.as_deref() != Some(vcluster) {
                return None;
            }
            match (scope.group.as_deref(), scope.username.as_deref()) {
                (None, None) => Some(Rank::VirtualCluster),
                (Some(group), None) => groups.contains(&group).then_some(Rank::Group),
                (None, name) => (name == username).then_some(Rank::Username),
                (Some(_), Some(_)) => None,
            }
        };
        let mut highest: HashMap<&str, Rank> = HashMap::new();
        let candidates: Vec<(Rank, &Arc<Interceptor>)> = self
            .interceptors
            .iter()
            .filter_map(|interceptor| Some((rank(&interceptor.scope)?, interceptor)))
            .collect();
        for (rank, interceptor) in &candidates {
            let known = highest.entry(&interceptor.name).or_insert(*rank);
            *known = (*known).max(*rank);
        }
        let mut found: Vec<Arc<Interceptor>> = candidates
            .into_iter()
            .filter(|(rank, interceptor)| highest.get(interceptor.name.as_str()) == Some(rank))
            .map(|(_, interceptor)| interceptor.clone())
            .collect();
        found.sort_by(|a, b| {
            let order = |i: &Interceptor| (i.priority, i.name.clone(), i.scope.group.clone());
            order(a).cmp(&order(b))
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::Changes;

    /// Name, priority, virtual cluster, group, user.
    type Told<'a> = (
        &'a str,
        i32,
        Option<&'a str>,
        Option<&'a str>,
        Option<&'a str>,
    );

    fn snapshot(interceptors: &[Told<'_>]) -> Snapshot {
        let mut changes = Changes::default();
        let text = |text: Option<&str>| text.map(str::to_owned);
        for (name, priority, vcluster, group, username) in interceptors {
            changes.put(&Interceptor {
                name: (*name).to_owned(),
                scope: Scope {
                    vcluster: text(*vcluster),
                    group: text(*group),
                    username: text(*username),
                },
                comment: None,
                plugin_class: "p".to_owned(),
                priority: *priority,
                config: "{}".to_owned(),
            });
        }
        changes.applied_to(&Snapshot::default())
    }

    #[test]
    fn the_closest_scope_of_a_name_counts() {
        let v = Some("v");
        let snapshot = snapshot(&[
            ("a", 5, None, None, None),
            ("a", 4, v, None, None),
            ("a", 3, v, Some("g"), None),
            ("a", 3, v, Some("h"), None),
            ("a", 9, v, None, Some("u")),
            ("b", 3, None, None, None),
            ("b", 1, Some("w"), None, None),
            ("c", 3, v, None, None),
        ]);
        let names = |vcluster: &str, groups: &[&str], username: Option<&str>| {
            let found = snapshot.interceptors_for(vcluster, groups, username);
            let told = found.iter().map(|i| {
                let aim = i.scope.group.as_deref().or(i.scope.username.as_deref());
                format!("{}{}{}", i.name, i.priority, aim.unwrap_or_default())
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(names("v", &["g"], Some("u")), ["b3", "c3", "a9u"]);
        assert_eq!(names("v", &["h", "g"], None), ["a3g", "a3h", "b3", "c3"]);
        assert_eq!(names("v", &[], Some("x")), ["b3", "c3", "a4"]);
        assert_eq!(names("w", &["g"], Some("u")), ["b1", "a5"]);
        assert_eq!(names("x", &[], None), ["b3", "a5"]);
    }
}
