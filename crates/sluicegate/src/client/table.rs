//! Resources as a table for people.

use super::failure::harmless;
use super::kind::Kind;
use super::value::Value;

/// Where a cell's content comes from.
enum Cell {
    /// A member; lists are joined by commas.
    Member(&'static [&'static str]),
    /// A virtual cluster, `passthrough` where the member is left out.
    Vcluster(&'static [&'static str]),
    /// Names of the members of a group, with their virtual clusters.
    Accounts(&'static [&'static str]),
}

/// One table for resources of one kind, every line ending with a line break.
pub(crate) fn table(kind: Kind, resources: &[Value]) -> String {
    let columns = columns(kind);
    let mut rows = vec![
        std::iter::once(kind.name())
            .chain(columns.iter().map(|(title, _)| *title))
            .map(String::from)
            .collect::<Vec<_>>(),
    ];
    for resource in resources {
        let name = Cell::Member(&["metadata", "name"]);
        let cells = std::iter::once(&name).chain(columns.iter().map(|(_, cell)| cell));
        rows.push(cells.map(|cell| cell.of(resource)).collect());
    }
    let widths: Vec<usize> = (0..=columns.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn columns(kind: Kind) -> &'static [(&'static str, Cell)] {
    use Cell::{Accounts, Member, Vcluster};
    const VCLUSTER: (&str, Cell) = ("VCLUSTER", Vcluster(&["metadata", "vCluster"]));
    match kind {
        Kind::VirtualCluster => &[
            ("TYPE", Member(&["spec", "type"])),
            ("ACL", Member(&["spec", "aclEnabled"])),
            ("MODE", Member(&["spec", "aclMode"])),
            ("SUPERUSERS", Member(&["spec", "superUsers"])),
        ],
        Kind::AliasTopic => &[VCLUSTER, ("PHYSICAL", Member(&["spec", "physicalName"]))],
        Kind::ConcentrationRule => &[
            VCLUSTER,
            ("PATTERN", Member(&["spec", "pattern"])),
            ("PHYSICAL", Member(&["spec", "physicalTopics", "delete"])),
        ],
        Kind::GatewayServiceAccount => &[
            VCLUSTER,
            ("TYPE", Member(&["spec", "type"])),
            ("EXTERNAL", Member(&["spec", "externalNames"])),
        ],
        Kind::GatewayGroup => &[
            ("MEMBERS", Accounts(&["spec", "members"])),
            ("EXTERNAL", Member(&["spec", "externalGroups"])),
        ],
        Kind::Interceptor => &[
            // Written out in full by the gateway: null stands for all virtual clusters.
            ("VCLUSTER", Member(&["metadata", "scope", "vCluster"])),
            ("GROUP", Member(&["metadata", "scope", "group"])),
            ("USERNAME", Member(&["metadata", "scope", "username"])),
            ("PRIORITY", Member(&["spec", "priority"])),
            ("PLUGIN", Member(&["spec", "pluginClass"])),
        ],
    }
}

impl Cell {
    fn of(&self, resource: &Value) -> String {
        let text = match self {
            Cell::Member(path) => shown(resource.at(path)),
            Cell::Vcluster(path) => match resource.at(path) {
                None => "passthrough".to_owned(),
                value => shown(value),
            },
            Cell::Accounts(path) => match resource.at(path) {
                Some(Value::List(members)) => joined(members, |member| {
                    let name = shown(member.get("name"));
                    match member.get("vCluster") {
                        Some(vcluster) => format!("{}/{name}", shown(Some(vcluster))),
                        None => name,
                    }
                }),
                value => shown(value),
            },
        };
        match text.as_str() {
            "" => "-".to_owned(),
            text => harmless(text),
        }
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Text(text)) => text.clone(),
        Some(Value::List(items)) => joined(items, |item| shown(Some(item))),
        Some(value) => value.to_json(),
    }
}

fn joined(items: &[Value], show: impl Fn(&Value) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(kind: Kind, json: &str, expected: &str) {
        let Value::List(resources) = Value::from_json(json).unwrap() else {
            panic!("not a list");
        };
        assert_eq!(table(kind, &resources), expected);
    }

    #[test]
    fn columns_are_aligned() {
        shows(
            Kind::GatewayServiceAccount,
            r#"[{"metadata":{"name":"alice"},"spec":{"type":"LOCAL"}},
                {"metadata":{"name":"orders-svc","vCluster":"billing"},"spec":{"type":"EXTERNAL","externalNames":["a","b"]}}]"#,
            "\
GatewayServiceAccount  VCLUSTER     TYPE      EXTERNAL
alice                  passthrough  LOCAL     -
orders-svc             billing      EXTERNAL  a,b
",
        );
    }

    #[test]
    fn members_of_a_group_and_global_scopes() {
        shows(
            Kind::GatewayGroup,
            r#"[{"metadata":{"name":"g"},"spec":{"members":[{"name":"a"},{"vCluster":"v","name":"b"}],"externalGroups":[]}}]"#,
            "GatewayGroup  MEMBERS  EXTERNAL\ng             a,v/b    -\n",
        );
        shows(
            Kind::Interceptor,
            r#"[{"metadata":{"name":"i\u001b","scope":{"vCluster":null,"group":null,"username":null}},"spec":{"priority":5,"pluginClass":"P"}}]"#,
            "Interceptor  VCLUSTER  GROUP  USERNAME  PRIORITY  PLUGIN\ni\u{fffd}           -         -      -         5         P\n",
        );
    }
}
