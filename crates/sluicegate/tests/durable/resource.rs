//! Resources, and how two states of one are told apart.

use serde_json::{Value, json};

use crate::front::TARGETS;

/// Kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    VirtualCluster,
    Alias,
    Account,
    Group,
}

/// What identifies a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    /// Empty for kinds that are in none.
    pub(crate) vcluster: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(kind: Kind, vcluster: &str, name: String) -> Key {
        Key {
            kind,
            vcluster: vcluster.to_owned(),
            name,
        }
    }

    /// From the metadata in an answer.
    pub(crate) fn of(kind: Kind, metadata: &Value) -> Key {
        let text = |name: &str| metadata[name].as_str().unwrap_or_default();
        Key::new(kind, text("vCluster"), text("name").to_owned())
    }

    /// Whether it is one of those whose names begin so.
    pub(crate) fn begins_with(&self, prefix: &str) -> bool {
        self.name.starts_with(prefix)
    }

    /// The resource that is to be stored.
    pub(crate) fn resource(&self, spec: &Value) -> Value {
        let mut metadata = json!({ "name": self.name });
        if !self.vcluster.is_empty() {
            metadata["vCluster"] = self.vcluster.as_str().into();
        }
        json!({
            "kind": self.kind.name(), "apiVersion": "gateway/v2", "metadata": metadata, "spec": spec,
        })
    }

    /// Path and body that delete it.
    pub(crate) fn deletion(&self) -> (String, Value) {
        let path = self.kind.path();
        match self.vcluster.as_str() {
            "" => (format!("{path}/{}", self.name), Value::Null),
            vcluster => {
                let body = json!({ "name": self.name, "vCluster": vcluster });
                (path.to_owned(), body)
            }
        }
    }
}

impl Kind {
    /// In an order in which they can be read.
    pub(crate) const ALL: [Kind; 4] = [
        Kind::VirtualCluster,
        Kind::Alias,
        Kind::Account,
        Kind::Group,
    ];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Kind::VirtualCluster => "virtual-cluster",
            Kind::Alias => "alias-topic",
            Kind::Account => "service-account",
            Kind::Group => "group",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::VirtualCluster => "VirtualCluster",
            Kind::Alias => "AliasTopic",
            Kind::Account => "GatewayServiceAccount",
            Kind::Group => "GatewayGroup",
        }
    }

    /// What one write says. Where there is room the number stands in several places, so that a half can be seen.
    pub(crate) fn spec(self, number: usize, vcluster: &str, members: &[String]) -> Value {
        match self {
            Kind::VirtualCluster => {
                let acl = |topic: &str| {
                    json!({
                        "resourcePattern": {
                            "resourceType": "TOPIC", "name": topic, "patternType": "LITERAL",
                        },
                        "principal": format!("User:number-{number}"),
                        "host": "*",
                        "operation": "READ",
                        "permissionType": "ALLOW",
                    })
                };
                let acls = ["a", "b", "c", "d"].map(acl);
                json!({ "aclEnabled": true, "aclMode": "REST_API", "acls": acls })
            }
            Kind::Alias => json!({ "physicalName": TARGETS[number % TARGETS.len()] }),
            Kind::Account => json!({ "type": "LOCAL" }),
            Kind::Group => {
                let members: Vec<Value> = members
                    .iter()
                    .map(|name| json!({ "vCluster": vcluster, "name": name }))
                    .collect();
                let external = ["a", "b", "c"].map(|letter| format!("{letter}-{number}"));
                json!({ "members": members, "externalGroups": external })
            }
        }
    }

    /// What tells this state from every other one, whatever else an answer says.
    pub(crate) fn digest(self, spec: &Value) -> String {
        let sorted = |name: &str| {
            let mut elements: Vec<String> = spec[name]
                .as_array()
                .into_iter()
                .flatten()
                .map(Value::to_string)
                .collect();
            elements.sort();
            elements.join(" ")
        };
        match self {
            Kind::VirtualCluster => sorted("acls"),
            Kind::Alias => spec["physicalName"].to_string(),
            Kind::Account => spec["type"].to_string(),
            Kind::Group => format!("{} {}", sorted("members"), sorted("externalGroups")),
        }
    }
}
