//! Every setting, declared once: name, type, default, meaning, and whether this version acts on it.
//!
//! The same declarations check values, give hints for unknown names, and write `docs/configuration.md`.

mod document;
pub(crate) mod gateway;
pub(crate) mod kafka;
mod kind;
pub(crate) mod listener;
mod nearest;

pub use document::markdown;
pub use gateway::SECTIONS;
pub use kafka::PROPERTIES;
pub use kind::Kind;
pub use listener::LISTENER_SETTINGS;

pub(crate) use kind::{decimal, is_host, list, pattern, whole_number};
pub use nearest::nearest;

/// One setting: a variable, a property of a listener block, or a Kafka client property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The variable; or, for listener blocks and Kafka properties, what follows the prefix.
    pub name: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// What applies when it is not set.
    pub default: Fallback,
    /// What it does, in one or two sentences.
    pub meaning: &'static str,
    /// Whether this version acts on it.
    pub status: Status,
    /// Its path in the gateway configuration file, if it has one.
    pub path: Option<&'static str>,
}

/// What applies when a setting is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing.
    Unset,
    /// This value, as one would write it.
    Value(&'static str),
    /// Computed; the text says how.
    Computed(&'static str),
    /// The setting is needed.
    Required,
}

/// Whether this version acts on a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    InEffect,
    /// Known, but not acted on yet: a warning when set, unless to the value given here.
    NotYet {
        /// A value that asks for nothing.
        harmless: Option<&'static str>,
    },
    /// Still works; the text names what to use instead.
    Deprecated(&'static str),
    /// No longer works: a warning; the text names what to use instead.
    Removed(&'static str),
    /// Accepted without effect and without a warning; the text says why.
    Ignored(&'static str),
}

/// Settings that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Heading.
    pub title: &'static str,
    /// Text below the heading; may be empty.
    pub intro: &'static str,
    /// In the order of the documentation.
    pub settings: &'static [Setting],
}

/// The variable of that exact name.
pub fn find(name: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.name == name)
}

/// Every variable with a fixed name.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings.iter())
}

// === impl Setting ===

impl Setting {
    const fn new(name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self {
            name,
            kind,
            default: Fallback::Unset,
            meaning,
            status: Status::InEffect,
            path: None,
        }
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = Fallback::Value(value);
        self
    }

    const fn computed(mut self, how: &'static str) -> Self {
        self.default = Fallback::Computed(how);
        self
    }

    const fn required(mut self) -> Self {
        self.default = Fallback::Required;
        self
    }

    const fn not_yet(mut self) -> Self {
        self.status = Status::NotYet { harmless: None };
        self
    }

    const fn not_yet_unless(mut self, harmless: &'static str) -> Self {
        self.status = Status::NotYet {
            harmless: Some(harmless),
        };
        self
    }

    const fn deprecated(mut self, instead: &'static str) -> Self {
        self.status = Status::Deprecated(instead);
        self
    }

    const fn removed(mut self, instead: &'static str) -> Self {
        self.status = Status::Removed(instead);
        self
    }

    const fn ignored(mut self, why: &'static str) -> Self {
        self.status = Status::Ignored(why);
        self
    }

    const fn path(mut self, path: &'static str) -> Self {
        self.path = Some(path);
        self
    }

    /// The default as text; empty unless it is a fixed value.
    pub(crate) fn default_text(&self) -> &'static str {
        match self.default {
            Fallback::Value(value) => value,
            Fallback::Unset | Fallback::Computed(_) | Fallback::Required => "",
        }
    }
}

/// Declares settings as constants and gathers them in one table.
macro_rules! settings {
    ($(#[$meta:meta])* $vis:vis $table:ident: $($ident:ident = $setting:expr;)+) => {
        $(pub(crate) const $ident: $crate::catalogue::Setting = $setting;)+
        $(#[$meta])*
        $vis const $table: &[$crate::catalogue::Setting] = &[$($ident),+];
    };
}

use settings;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_paths_are_unique() {
        let mut names = BTreeSet::new();
        let mut paths = BTreeSet::new();
        for setting in all() {
            assert!(
                names.insert(setting.name),
                "{} is declared twice",
                setting.name
            );
            if let Some(path) = setting.path {
                assert!(paths.insert(path), "{path} is declared twice");
            }
        }
        for table in [PROPERTIES, LISTENER_SETTINGS] {
            let mut names = BTreeSet::new();
            assert!(table.iter().all(|setting| names.insert(setting.name)));
        }
    }

    #[test]
    fn defaults_are_acceptable_values() {
        for setting in all().chain(PROPERTIES).chain(LISTENER_SETTINGS) {
            if let Fallback::Value(value) = setting.default {
                assert_eq!(setting.kind.check(value), Ok(()), "{}", setting.name);
            }
        }
    }

    #[test]
    fn kafka_properties_survive_the_way_through_a_variable() {
        for setting in PROPERTIES {
            assert!(!setting.name.contains('_'), "{}", setting.name);
        }
    }
}
