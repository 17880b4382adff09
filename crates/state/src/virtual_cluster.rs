//! Virtual clusters, and the names that deleted ones have left behind.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::acl::{AclBinding, AclOperation, AclPattern, AclPermission, AclResource};
use crate::fields;
use crate::resource::Resource;
use crate::snapshot::{Snapshot, Table};
use crate::topic::StoreTopic;

/// A named, isolated logical cluster. `passthrough` is built in and not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualCluster {
    /// Its name, which is also the prefix of its physical names.
    pub name: String,
    /// Meant for a party outside.
    pub partner: bool,
    /// Whether access control applies in it.
    pub acl_enabled: bool,
    /// Who makes its bindings; `None`: it was not said, which means [`AclMode::KafkaApi`].
    pub acl_mode: Option<AclMode>,
    /// User names to which its access control does not apply.
    pub super_users: BTreeSet<String>,
    /// With [`AclMode::RestApi`] all of its bindings, as they were sent.
    pub acls: Vec<DeclaredAcl>,
}

/// Who makes the bindings of a virtual cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclMode {
    /// Clients, one by one, over the Kafka protocol.
    KafkaApi,
    /// Whoever declares the virtual cluster, all at once.
    RestApi,
}

/// A binding as it was declared: `principal` may lack its `User:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeclaredAcl {
    /// What it is about.
    pub resource_type: AclResource,
    /// How `resource_name` is matched.
    pub pattern_type: AclPattern,
    /// A logical name, a prefix, or `*`.
    pub resource_name: String,
    /// `User:<name>`, `User:*`, or a bare name.
    pub principal: String,
    /// An address or `*`.
    pub host: String,
    /// What is decided.
    pub operation: AclOperation,
    /// Which way.
    pub permission: AclPermission,
}

/// The name of a deleted virtual cluster. Its topics and groups are still there, and nobody inherits them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredPrefix {
    /// The name.
    pub name: String,
    /// There was none yet: one of this name is being made, and until it is there nobody takes its names.
    pub reserved: bool,
}

impl AclMode {
    /// As the API and the record call it.
    pub fn as_str(self) -> &'static str {
        match self {
            AclMode::KafkaApi => "KAFKA_API",
            AclMode::RestApi => "REST_API",
        }
    }

    /// The inverse of [`AclMode::as_str`].
    pub fn from_name(name: &str) -> Option<Self> {
        [AclMode::KafkaApi, AclMode::RestApi]
            .into_iter()
            .find(|mode| mode.as_str() == name)
    }
}

impl VirtualCluster {
    /// The declared bindings, the way in which the others are kept; none without [`AclMode::RestApi`].
    pub fn bindings(&self) -> Vec<AclBinding> {
        if self.acl_mode != Some(AclMode::RestApi) {
            return Vec::new();
        }
        let binding = |acl: &DeclaredAcl| AclBinding {
            vcluster: self.name.clone(),
            resource_type: acl.resource_type,
            pattern_type: acl.pattern_type,
            resource_name: acl.resource_name.clone(),
            principal: match acl.principal.starts_with(USER) {
                true => acl.principal.clone(),
                false => format!("{USER}{}", acl.principal),
            },
            host: acl.host.clone(),
            operation: acl.operation,
            permission: acl.permission,
        };
        self.acls.iter().map(binding).collect()
    }
}

const USER: &str = "User:";

impl Resource for VirtualCluster {
    const KIND: &'static str = "virtual-cluster";
    const TOPIC: StoreTopic = StoreTopic::Vclusters;
    const VERSION: u64 = 1;

    fn name(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("partner".to_owned(), json!(self.partner));
        fields.insert("aclEnabled".to_owned(), json!(self.acl_enabled));
        if let Some(mode) = self.acl_mode {
            fields.insert("aclMode".to_owned(), json!(mode.as_str()));
        }
        fields.insert("superUsers".to_owned(), json!(self.super_users));
        let acls = self.acls.iter().map(DeclaredAcl::to_value).collect();
        fields.insert("acls".to_owned(), Value::Array(acls));
        fields
    }

    fn read(
        _version: u64,
        name: &[String],
        mut fields: Map<String, Value>,
    ) -> Result<Self, String> {
        let [name] = name else {
            return Err("a virtual cluster has one name".to_owned());
        };
        let acl_mode = fields::optional_text(&mut fields, "aclMode")?
            .map(|mode| AclMode::from_name(&mode).ok_or("aclMode is unknown"))
            .transpose()?;
        let acls = fields::list(&mut fields, "acls")?
            .into_iter()
            .map(DeclaredAcl::from_value)
            .collect::<Result<_, _>>()?;
        Ok(VirtualCluster {
            name: name.clone(),
            partner: fields::flag(&mut fields, "partner")?,
            acl_enabled: fields::flag(&mut fields, "aclEnabled")?,
            acl_mode,
            super_users: fields::texts(&mut fields, "superUsers")?
                .into_iter()
                .collect(),
            acls,
        })
    }

    fn table(snapshot: &Snapshot) -> &Table<Self> {
        &snapshot.virtual_clusters
    }

    fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self> {
        &mut snapshot.virtual_clusters
    }
}

impl DeclaredAcl {
    fn to_value(&self) -> Value {
        json!([
            self.resource_type.as_str(),
            self.pattern_type.as_str(),
            self.resource_name,
            self.principal,
            self.host,
            self.operation.as_str(),
            self.permission.as_str(),
        ])
    }

    fn from_value(value: Value) -> Result<Self, String> {
        let parts = fields::texts_of(value).ok_or("an entry of acls is not a list of texts")?;
        let Ok(
            [
                resource_type,
                pattern_type,
                resource_name,
                principal,
                host,
                operation,
                permission,
            ],
        ) = <[String; 7]>::try_from(parts)
        else {
            return Err("an entry of acls has seven parts".to_owned());
        };
        Ok(DeclaredAcl {
            resource_type: AclResource::from_name(&resource_type).ok_or("unknown resource type")?,
            pattern_type: AclPattern::from_name(&pattern_type).ok_or("unknown pattern type")?,
            resource_name,
            principal,
            host,
            operation: AclOperation::from_name(&operation).ok_or("unknown operation")?,
            permission: AclPermission::from_name(&permission).ok_or("unknown permission")?,
        })
    }
}

impl Resource for RetiredPrefix {
    const KIND: &'static str = "retired-prefix";
    const TOPIC: StoreTopic = StoreTopic::Vclusters;
    const VERSION: u64 = 1;

    fn name(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        if self.reserved {
            fields.insert("reserved".to_owned(), json!(true));
        }
        fields
    }

    fn read(
        _version: u64,
        name: &[String],
        mut members: Map<String, Value>,
    ) -> Result<Self, String> {
        let [name] = name else {
            return Err("a retired prefix has one name".to_owned());
        };
        let reserved = members.contains_key("reserved") && fields::flag(&mut members, "reserved")?;
        Ok(RetiredPrefix {
            name: name.clone(),
            reserved,
        })
    }

    fn table(snapshot: &Snapshot) -> &Table<Self> {
        &snapshot.retired
    }

    fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self> {
        &mut snapshot.retired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(principal: &str) -> DeclaredAcl {
        DeclaredAcl {
            resource_type: AclResource::Topic,
            pattern_type: AclPattern::Prefixed,
            resource_name: "invoice.".to_owned(),
            principal: principal.to_owned(),
            host: "*".to_owned(),
            operation: AclOperation::Write,
            permission: AclPermission::Allow,
        }
    }

    fn billing(acl_mode: Option<AclMode>) -> VirtualCluster {
        VirtualCluster {
            name: "billing".to_owned(),
            partner: true,
            acl_enabled: true,
            acl_mode,
            super_users: ["a", "b"].map(str::to_owned).into(),
            acls: vec![declared("ann"), declared("User:bob")],
        }
    }

    fn read(fields: Value) -> Result<VirtualCluster, String> {
        let Value::Object(fields) = fields else {
            panic!("an object");
        };
        VirtualCluster::read(1, &["billing".to_owned()], fields)
    }

    #[test]
    fn virtual_clusters_come_back() {
        for mode in [None, Some(AclMode::KafkaApi), Some(AclMode::RestApi)] {
            let vcluster = billing(mode);
            assert_eq!(read(Value::Object(vcluster.fields())), Ok(vcluster));
        }
        let plain = read(json!({})).expect("everything may be left out");
        assert!(!plain.partner && !plain.acl_enabled && plain.acl_mode.is_none());
    }

    #[test]
    fn strange_virtual_clusters_are_refused() {
        for fields in [
            json!({"partner": "yes"}),
            json!({"aclEnabled": 1}),
            json!({"aclMode": "OTHER"}),
            json!({"superUsers": "a"}),
            json!({"acls": {}}),
            json!({"acls": [[]]}),
            json!({"acls": [["TOPIC", "LITERAL", "x", "User:a", "*", "READ", "MAYBE"]]}),
        ] {
            assert!(read(fields.clone()).is_err(), "{fields}");
        }
    }

    #[test]
    fn only_declared_bindings_count() {
        assert!(billing(None).bindings().is_empty());
        let bindings = billing(Some(AclMode::RestApi)).bindings();
        let principals: Vec<&str> = bindings.iter().map(|b| b.principal.as_str()).collect();
        assert_eq!(principals, ["User:ann", "User:bob"]);
        assert!(bindings.iter().all(|b| b.vcluster == "billing"));
    }
}
