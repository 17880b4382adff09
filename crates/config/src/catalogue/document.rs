//! `docs/configuration.md`.

use std::fmt::Write;

use super::{Fallback, LISTENER_SETTINGS, PROPERTIES, SECTIONS, Setting, Status};

const INTRO: &str = "\
# Configuration

Every setting is an environment variable. They may also stand in a file named by `GATEWAY_ENV_FILE` (or `--env-file`), which
wins over the environment. `sluicegate check` validates a configuration and prints the effective one, secrets masked.

* All problems are reported together, one line each; the process then exits with status 78.
* An empty value counts as not set, except for `KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM`.
* Unknown `GATEWAY_*` names give a warning with the nearest known name; unknown names under `GATEWAY_LISTENER_*` are refused.
* Variables that Kubernetes injects for services (`…_SERVICE_HOST`, `…_PORT=tcp://…`, `…_PORT_9092_TCP_ADDR`) are ignored.
* \"Not yet in effect\" means: recognised and checked, a warning when set, and nothing else in this version.

This page is written by `cargo run -p sluicegate-config --example write-docs` from the declarations that the program itself uses;
a test compares the two.

## Network modes

| mode | when | then |
| --- | --- | --- |
| listener | any `GATEWAY_LISTENER_*` is set | nothing is inferred; the older network variables are ignored with a warning |
| legacy | one of the older network variables is set | one listener named `DEFAULT` |
| zero-config | neither | for development: one port-routed listener from port 6969 |

";

const LISTENER_INTRO: &str = "
## Listener blocks

`GATEWAY_LISTENER_<NAME>_<SETTING>`. A name starts with a letter and holds letters and digits only.

";

const LISTENER_OUTRO: &str = "
Port specification:

```
spec  = item *( \",\" item )
item  = ports [ \":\" ports ]   left advertised, right local; without \":\" both are equal
ports = port / port \"-\" port  inclusive, ascending
```

Both sides of `:` have the same length; no port stands twice on either side. Entry `i` of the flattened list belongs to node id
`GATEWAY_MIN_BROKERID + i`.
";

const KAFKA_INTRO: &str = "
## Kafka client properties

`KAFKA_<PROPERTY>`: the property in upper case with `_` for `.`, as in `KAFKA_SSL_TRUSTSTORE_LOCATION`. A further cluster is any
`<ID>` with a `KAFKA_<ID>_BOOTSTRAP_SERVERS`; a variable belongs to the longest id that fits, else to `main`. `KAFKA_MAIN_X` wins
over `KAFKA_X`. Properties that are not listed are ignored, with one line that names them.

";

const CLUSTER_FILE: &str = "
## Cluster file

Named by `GATEWAY_BACKEND_KAFKA_SELECTOR`; properties by cluster id, merged with the environment, the file wins. Ids hold up to 50
letters, digits and `-`. `${VAR}` and `${VAR|default}` are replaced.

```yaml
config:
  main:
    bootstrap.servers: localhost:9092
  failover:
    bootstrap.servers: localhost:9192
    gateway.roles: failover
```
";

/// The whole page.
pub fn markdown() -> String {
    let mut out = String::from(INTRO);
    for (i, section) in SECTIONS.iter().enumerate() {
        let gap = if i == 0 { "" } else { "\n" };
        let _ = writeln!(out, "{gap}## {}\n", section.title);
        if !section.intro.is_empty() {
            let _ = writeln!(out, "{}\n", section.intro);
        }
        table(&mut out, "variable", section.settings);
    }
    out.push_str(LISTENER_INTRO);
    table(&mut out, "setting", LISTENER_SETTINGS);
    out.push_str(LISTENER_OUTRO);
    out.push_str(KAFKA_INTRO);
    table(&mut out, "property", PROPERTIES);
    out.push_str(CLUSTER_FILE);
    out
}

fn table(out: &mut String, first: &str, settings: &[Setting]) {
    let _ = writeln!(
        out,
        "| {first} | type | default | meaning | status |\n| --- | --- | --- | --- | --- |"
    );
    for setting in settings {
        let mut meaning = setting.meaning.to_owned();
        if let Some(path) = setting.path {
            let _ = write!(meaning, " File: `{path}`.");
        }
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            setting.name,
            setting.kind.label(),
            default(setting),
            meaning.trim(),
            status(setting.status),
        );
    }
}

fn default(setting: &Setting) -> String {
    match setting.default {
        Fallback::Unset => "–".into(),
        Fallback::Value(value) => format!("`{}`", value.replace('|', "\\|")),
        Fallback::Computed(how) => how.into(),
        Fallback::Required => "needed".into(),
    }
}

fn status(status: Status) -> String {
    match status {
        Status::InEffect => "in effect".into(),
        Status::NotYet { .. } => "not yet in effect".into(),
        Status::Deprecated(instead) => format!("deprecated: use {instead}"),
        Status::Removed(instead) => format!("removed: use {instead}"),
        Status::Ignored(why) => format!("no effect: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == markdown(),
            "docs/configuration.md is old: run `cargo run -p sluicegate-config --example write-docs`"
        );
    }

    #[test]
    fn cells_do_not_break_the_table() {
        for setting in super::super::all()
            .chain(PROPERTIES)
            .chain(LISTENER_SETTINGS)
        {
            assert!(!setting.meaning.contains(['|', '\n']), "{}", setting.name);
        }
    }
}
