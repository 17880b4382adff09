//! Alias topics.

use serde_json::{Map, Value, json};

use crate::fields;
use crate::resource::Resource;
use crate::snapshot::{Snapshot, Table};
use crate::topic::StoreTopic;

/// A logical name that stands for a physical topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasTopic {
    /// The virtual cluster that sees it; `passthrough` if none was said.
    pub vcluster: String,
    /// The name in it.
    pub name: String,
    /// The topic as the Kafka cluster knows it.
    pub physical_name: String,
    /// The Kafka cluster; `None` is the main one.
    pub physical_cluster: Option<String>,
}

impl Resource for AliasTopic {
    const KIND: &'static str = "alias-topic";
    const TOPIC: StoreTopic = StoreTopic::TopicMappings;
    const VERSION: u64 = 1;

    fn name(&self) -> Vec<String> {
        vec![self.vcluster.clone(), self.name.clone()]
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("physicalName".to_owned(), json!(self.physical_name));
        if let Some(cluster) = &self.physical_cluster {
            fields.insert("physicalCluster".to_owned(), json!(cluster));
        }
        fields
    }

    fn read(
        _version: u64,
        name: &[String],
        mut fields: Map<String, Value>,
    ) -> Result<Self, String> {
        let [vcluster, name] = name else {
            return Err("an alias topic has a virtual cluster and a name".to_owned());
        };
        Ok(AliasTopic {
            vcluster: vcluster.clone(),
            name: name.clone(),
            physical_name: fields::text(&mut fields, "physicalName")?,
            physical_cluster: fields::optional_text(&mut fields, "physicalCluster")?,
        })
    }

    fn table(snapshot: &Snapshot) -> &Table<Self> {
        &snapshot.aliases
    }

    fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self> {
        &mut snapshot.aliases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_come_back() {
        for physical_cluster in [None, Some("other".to_owned())] {
            let alias = AliasTopic {
                vcluster: "v".to_owned(),
                name: "a".to_owned(),
                physical_name: "shared.a".to_owned(),
                physical_cluster,
            };
            assert_eq!(
                AliasTopic::read(1, &alias.name(), alias.fields()),
                Ok(alias)
            );
        }
        let name = ["v".to_owned(), "a".to_owned()];
        assert!(AliasTopic::read(1, &name, Map::new()).is_err());
    }
}
