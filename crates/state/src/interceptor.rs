//! Interceptors.

use serde_json::{Map, Value, json};

use crate::fields;
use crate::resource::Resource;
use crate::snapshot::{Snapshot, Table};
use crate::topic::StoreTopic;

/// A configured plugin and the traffic it applies to; unique by name and scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interceptor {
    /// Its name.
    pub name: String,
    /// Whose traffic.
    pub scope: Scope,
    /// Whatever somebody wanted to say about it.
    pub comment: Option<String>,
    /// The plugin.
    pub plugin_class: String,
    /// Lower runs first.
    pub priority: i32,
    /// The plugin's configuration: the text of a JSON object, as it was sent.
    pub config: String,
}

/// Whose traffic an interceptor applies to, normalised. All `None` is everybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The virtual cluster.
    pub vcluster: Option<String>,
    /// The group.
    pub group: Option<String>,
    /// The user.
    pub username: Option<String>,
}

impl Scope {
    /// Whether it is everybody's, in every virtual cluster.
    pub fn is_global(&self) -> bool {
        *self == Scope::default()
    }
}

impl Resource for Interceptor {
    const KIND: &'static str = "interceptor";
    const TOPIC: StoreTopic = StoreTopic::InterceptorConfigs;
    const VERSION: u64 = 1;

    fn name(&self) -> Vec<String> {
        let Scope {
            vcluster,
            group,
            username,
        } = &self.scope;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        vec![
            self.name.clone(),
            part(vcluster),
            part(group),
            part(username),
        ]
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        if let Some(comment) = &self.comment {
            fields.insert("comment".to_owned(), json!(comment));
        }
        fields.insert("pluginClass".to_owned(), json!(self.plugin_class));
        fields.insert("priority".to_owned(), json!(self.priority));
        // A text and no object: numbers keep their digits.
        fields.insert("config".to_owned(), json!(self.config));
        fields
    }

    fn read(
        _version: u64,
        name: &[String],
        mut fields: Map<String, Value>,
    ) -> Result<Self, String> {
        let [name, vcluster, group, username] = name else {
            return Err("an interceptor has a name and three parts of a scope".to_owned());
        };
        let part = |part: &String| (!part.is_empty()).then(|| part.clone());
        let priority = fields.remove("priority").and_then(|value| value.as_i64());
        Ok(Interceptor {
            name: name.clone(),
            scope: Scope {
                vcluster: part(vcluster),
                group: part(group),
                username: part(username),
            },
            comment: fields::optional_text(&mut fields, "comment")?,
            plugin_class: fields::text(&mut fields, "pluginClass")?,
            priority: priority
                .and_then(|priority| i32::try_from(priority).ok())
                .ok_or("priority is not a 32-bit number")?,
            config: fields::text(&mut fields, "config")?,
        })
    }

    fn table(snapshot: &Snapshot) -> &Table<Self> {
        &snapshot.interceptors
    }

    fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self> {
        &mut snapshot.interceptors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interceptors_come_back() {
        let text = |text: &str| Some(text.to_owned());
        for scope in [
            Scope::default(),
            Scope {
                vcluster: text("v"),
                ..Scope::default()
            },
            Scope {
                vcluster: text("v"),
                group: text("g"),
                username: text("u"),
            },
        ] {
            let interceptor = Interceptor {
                name: "i".to_owned(),
                scope,
                comment: text("why"),
                plugin_class: "p".to_owned(),
                priority: i32::MAX,
                config: r#"{"big":123456789012345678901234567890,"five":5.0}"#.to_owned(),
            };
            assert_eq!(
                Interceptor::read(1, &interceptor.name(), interceptor.fields()),
                Ok(interceptor)
            );
        }
    }

    #[test]
    fn strange_interceptors_are_refused() {
        let name = ["i", "", "", ""].map(str::to_owned);
        let good = json!({"pluginClass": "p", "priority": 1, "config": "{}"});
        let read = |fields: &Value| {
            let fields = fields.as_object().cloned().unwrap_or_default();
            Interceptor::read(1, &name, fields)
        };
        assert!(read(&good).is_ok());
        for (member, value) in [
            ("pluginClass", json!(1)),
            ("priority", json!(1_u64 << 31)),
            ("priority", json!("1")),
            ("config", json!({})),
            ("comment", json!([])),
        ] {
            let mut fields = good.clone();
            fields[member] = value;
            assert!(read(&fields).is_err(), "{fields}");
        }
        assert!(Interceptor::read(1, &name[..3], Map::new()).is_err());
    }
}
