//! Groups of service accounts.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::fields;
use crate::resource::Resource;
use crate::snapshot::{Snapshot, Table};
use crate::topic::StoreTopic;

/// A set of service accounts at which interceptors can be aimed. One name space for all virtual clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayGroup {
    /// Its name.
    pub name: String,
    /// (Virtual cluster, name) of its service accounts.
    pub members: BTreeSet<(String, String)>,
    /// Names of groups of an identity provider whose members belong to it.
    pub external_groups: BTreeSet<String>,
}

impl Resource for GatewayGroup {
    const KIND: &'static str = "group";
    const TOPIC: StoreTopic = StoreTopic::Groups;
    const VERSION: u64 = 1;

    fn name(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("members".to_owned(), json!(self.members));
        fields.insert("externalGroups".to_owned(), json!(self.external_groups));
        fields
    }

    fn read(
        _version: u64,
        name: &[String],
        mut fields: Map<String, Value>,
    ) -> Result<Self, String> {
        let [name] = name else {
            return Err("a group has one name".to_owned());
        };
        let member = |value| {
            let pair = fields::texts_of(value).map(<[String; 2]>::try_from);
            match pair {
                Some(Ok([vcluster, name])) => Ok((vcluster, name)),
                _ => Err("a member is not a pair of texts".to_owned()),
            }
        };
        Ok(GatewayGroup {
            name: name.clone(),
            members: fields::list(&mut fields, "members")?
                .into_iter()
                .map(member)
                .collect::<Result<_, _>>()?,
            external_groups: fields::texts(&mut fields, "externalGroups")?
                .into_iter()
                .collect(),
        })
    }

    fn table(snapshot: &Snapshot) -> &Table<Self> {
        &snapshot.groups
    }

    fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self> {
        &mut snapshot.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_back() {
        let pair = |vcluster: &str, name: &str| (vcluster.to_owned(), name.to_owned());
        let group = GatewayGroup {
            name: "g".to_owned(),
            members: [pair("v", "a"), pair("passthrough", "b")].into(),
            external_groups: ["x".to_owned()].into(),
        };
        assert_eq!(
            GatewayGroup::read(1, &group.name(), group.fields()),
            Ok(group)
        );
        for members in [json!("a"), json!(["a"]), json!([["a"]]), json!([["a", 1]])] {
            let fields = Map::from_iter([("members".to_owned(), members.clone())]);
            let read = GatewayGroup::read(1, &["g".to_owned()], fields);
            assert!(read.is_err(), "{members}");
        }
    }
}
