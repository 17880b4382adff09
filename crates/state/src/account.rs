//! Service accounts.

use serde_json::{Map, Value, json};

use crate::fields;
use crate::resource::Resource;
use crate::snapshot::{Snapshot, Table};
use crate::topic::StoreTopic;

/// An identity, unique by (virtual cluster, name).
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceAccount {
    /// The virtual cluster it belongs to; `passthrough` if none was said.
    pub vcluster: String,
    /// Its name: the ACL principal is `User:<name>`.
    pub name: String,
    /// How its clients authenticate.
    pub kind: AccountKind,
    /// Tells it from an account of the same name that there was before; kept for as long as it lives. `None`: it was made by a
    /// release that did not tell them apart.
    pub incarnation: Option<String>,
    /// What an API was given besides, echoed as it came (labels and the like).
    pub metadata: Map<String, Value>,
}

/// How clients of an account authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// With a token of this gateway.
    Local,
    /// As somebody whom another authority knows under these names.
    External {
        /// Unique over all virtual clusters.
        external_names: Vec<String>,
    },
}

impl ServiceAccount {
    /// The names under which another authority knows it; none if it is local.
    pub fn external_names(&self) -> &[String] {
        match &self.kind {
            AccountKind::Local => &[],
            AccountKind::External { external_names } => external_names,
        }
    }
}

impl Resource for ServiceAccount {
    const KIND: &'static str = "service-account";
    const TOPIC: StoreTopic = StoreTopic::UserMappings;
    const VERSION: u64 = 1;

    fn name(&self) -> Vec<String> {
        vec![self.vcluster.clone(), self.name.clone()]
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        match &self.kind {
            AccountKind::Local => {
                fields.insert("type".to_owned(), json!("LOCAL"));
            }
            AccountKind::External { external_names } => {
                fields.insert("type".to_owned(), json!("EXTERNAL"));
                fields.insert("externalNames".to_owned(), json!(external_names));
            }
        }
        if let Some(incarnation) = &self.incarnation {
            fields.insert("incarnation".to_owned(), json!(incarnation));
        }
        fields.insert("metadata".to_owned(), Value::Object(self.metadata.clone()));
        fields
    }

    fn read(
        _version: u64,
        name: &[String],
        mut fields: Map<String, Value>,
    ) -> Result<Self, String> {
        let [vcluster, name] = name else {
            return Err("a service account has a virtual cluster and a name".to_owned());
        };
        let kind = match fields.get("type").and_then(Value::as_str) {
            Some("LOCAL") => AccountKind::Local,
            Some("EXTERNAL") => AccountKind::External {
                external_names: fields
                    .remove("externalNames")
                    .and_then(fields::texts_of)
                    .ok_or("externalNames is not a list of texts")?,
            },
            _ => return Err("type is neither LOCAL nor EXTERNAL".to_owned()),
        };
        let incarnation = fields::optional_text(&mut fields, "incarnation")?;
        let metadata = match fields.remove("metadata") {
            Some(Value::Object(metadata)) => metadata,
            None => Map::new(),
            Some(_) => return Err("metadata is not an object".to_owned()),
        };
        Ok(ServiceAccount {
            vcluster: vcluster.clone(),
            name: name.clone(),
            kind,
            incarnation,
            metadata,
        })
    }

    fn table(snapshot: &Snapshot) -> &Table<Self> {
        &snapshot.accounts
    }

    fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self> {
        &mut snapshot.accounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<ServiceAccount, String> {
        let Value::Object(fields) = value else {
            panic!("an object");
        };
        ServiceAccount::read(1, &["v".to_owned(), "a".to_owned()], fields)
    }

    #[test]
    fn accounts_come_back() {
        for (kind, incarnation) in [
            (AccountKind::Local, None),
            (AccountKind::Local, Some("1f".to_owned())),
            (
                AccountKind::External {
                    external_names: vec!["CN=a".to_owned()],
                },
                Some("2f".to_owned()),
            ),
        ] {
            let mut metadata = Map::new();
            metadata.insert("labels".to_owned(), json!({"a": ["b", 1.5, null]}));
            let account = ServiceAccount {
                vcluster: "v".to_owned(),
                name: "a".to_owned(),
                kind,
                incarnation,
                metadata,
            };
            assert_eq!(read(Value::Object(account.fields())), Ok(account));
        }
    }

    #[test]
    fn strange_accounts_are_refused() {
        for value in [
            json!({}),
            json!({"type": "local"}),
            json!({"type": "EXTERNAL"}),
            json!({"type": "EXTERNAL", "externalNames": "x"}),
            json!({"type": "EXTERNAL", "externalNames": [1]}),
            json!({"type": "LOCAL", "metadata": []}),
            json!({"type": "LOCAL", "incarnation": 7}),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
        assert!(read(json!({"type": "LOCAL", "unknown": 1})).is_ok());
    }
}
