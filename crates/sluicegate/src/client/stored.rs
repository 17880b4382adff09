//! What a gateway has stored, as it is or as it would be after what was asked for.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::NOT_AVAILABLE;
use super::failure::{Failure, Refusal};
use super::gateway::Gateway;
use super::kind::Kind;
use super::resource::{PASSTHROUGH, Resource};
use super::value::Value;
use super::variables::escaped;

/// Resources in the way of a deletion that are named.
const NAMED: usize = 10;

/// Lists of resources, asked for at the first need.
pub(crate) struct Stored<'a> {
    gateway: &'a Gateway,
    lists: BTreeMap<Kind, Vec<Value>>,
}

impl<'a> Stored<'a> {
    pub(crate) fn new(gateway: &'a Gateway) -> Self {
        Self {
            gateway,
            lists: BTreeMap::new(),
        }
    }

    /// The resource that this one would replace.
    ///
    /// # Errors
    /// The gateway does not say.
    pub(crate) fn find(&mut self, resource: &Resource) -> Result<Option<Value>, Failure> {
        let list = self.list(resource.kind)?;
        Ok(list.iter().find(|stored| resource.is(stored)).cloned())
    }

    /// Puts what became of it in its place.
    pub(crate) fn replace(&mut self, resource: &Resource, now: Option<Value>) {
        if let (Some(list), Some(now)) = (self.lists.get_mut(&resource.kind), now) {
            list.retain(|stored| !resource.is(stored));
            list.push(now);
        }
    }

    /// Deletes it here, not in the gateway.
    ///
    /// # Errors
    /// It is not there, or something refers to it.
    pub(crate) fn delete(&mut self, resource: &Resource) -> Result<(), Failure> {
        if self.find(resource)?.is_none() {
            let title = format!("{} not found", resource.kind.name());
            let msg = format!("There is no {resource}.");
            return Err(Failure::Refused(Refusal::expected(404, &title, msg)));
        }
        let referrers = self.referrers(resource)?;
        if !referrers.is_empty() {
            let more = match referrers.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let named: Vec<&str> = referrers.iter().take(NAMED).map(String::as_str).collect();
            let msg = format!("It is still used by {}{more}.", named.join(", "));
            return Err(Failure::Refused(Refusal::expected(
                409,
                "Still referenced",
                msg,
            )));
        }
        if let Some(list) = self.lists.get_mut(&resource.kind) {
            list.retain(|stored| !resource.is(stored));
        }
        Ok(())
    }

    /// What stands in the way of deleting it.
    fn referrers(&mut self, resource: &Resource) -> Result<Vec<String>, Failure> {
        let name = resource.name.as_str();
        let is = |of: &Value, path: &[&str]| of.at(path).and_then(Value::text) == Some(name);
        let vcluster = |of: Option<&Value>| {
            let vcluster = of.and_then(Value::text).filter(|name| !name.is_empty());
            vcluster.unwrap_or(PASSTHROUGH).to_owned()
        };
        match resource.kind {
            Kind::VirtualCluster => {
                let mut found = Vec::new();
                for kind in [
                    Kind::AliasTopic,
                    Kind::ConcentrationRule,
                    Kind::GatewayServiceAccount,
                ] {
                    found.extend(self.those(kind, |of| is(of, &["metadata", "vCluster"]))?);
                }
                let path = ["metadata", "scope", "vCluster"];
                found.extend(self.those(Kind::Interceptor, |of| is(of, &path))?);
                Ok(found)
            }
            Kind::GatewayServiceAccount => {
                let home = vcluster(resource.value.at(&["metadata", "vCluster"]));
                self.those(Kind::GatewayGroup, |of| {
                    let members = match of.at(&["spec", "members"]) {
                        Some(Value::List(members)) => members.as_slice(),
                        _ => &[],
                    };
                    let mut members = members.iter();
                    members.any(|member| {
                        is(member, &["name"]) && vcluster(member.get("vCluster")) == home
                    })
                })
            }
            Kind::GatewayGroup => self.those(Kind::Interceptor, |of| {
                is(of, &["metadata", "scope", "group"])
            }),
            Kind::AliasTopic | Kind::ConcentrationRule | Kind::Interceptor => Ok(Vec::new()),
        }
    }

    /// Those of a kind that are meant, as messages call them.
    fn those(
        &mut self,
        kind: Kind,
        meant: impl Fn(&Value) -> bool,
    ) -> Result<Vec<String>, Failure> {
        let list = self.list(kind)?.iter().filter(|stored| meant(stored));
        let called = list.map(|stored| {
            let name = stored.at(&["metadata", "name"]).and_then(Value::text);
            let resource = Resource {
                kind,
                name: name.unwrap_or_default().to_owned(),
                value: stored.clone(),
            };
            resource.to_string()
        });
        Ok(called.collect())
    }

    fn list(&mut self, kind: Kind) -> Result<&Vec<Value>, Failure> {
        match self.lists.entry(kind) {
            Entry::Occupied(list) => Ok(list.into_mut()),
            Entry::Vacant(place) => {
                let list = match self.gateway.list(kind, &[]) {
                    // What cannot be there is not.
                    Err(Failure::Refused(refusal)) if refusal.title == NOT_AVAILABLE => Vec::new(),
                    list => list?,
                };
                Ok(place.insert(list))
            }
        }
    }
}

/// A stored resource as `apply` and other tools take it: its virtual cluster written out, as some need it for deleting, and
/// texts that look like references to variables marked as texts.
pub(crate) fn in_full(kind: Kind, stored: &Value) -> Value {
    let mut value = marked(stored);
    let in_vcluster = matches!(
        kind,
        Kind::AliasTopic | Kind::ConcentrationRule | Kind::GatewayServiceAccount
    );
    if in_vcluster
        && let Value::Map(members) = &mut value
        && let Some((_, Value::Map(metadata))) =
            members.iter_mut().find(|(name, _)| name == "metadata")
        && metadata.iter().all(|(name, _)| name != "vCluster")
    {
        let vcluster = Value::Text(PASSTHROUGH.to_owned());
        metadata.push(("vCluster".to_owned(), vcluster));
    }
    value
}

fn marked(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(escaped(text)),
        Value::List(items) => Value::List(items.iter().map(marked).collect()),
        Value::Map(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (escaped(name), marked(value)));
            Value::Map(members.collect())
        }
        value => value.clone(),
    }
}
