//! Resources out of files.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::kind::Kind;
use super::value::Value;
use super::variables::{Lookup, has_reference};
use super::yaml;

/// Largest text that is read from one file or from standard input, bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The built-in virtual cluster, meant where none is named.
pub(crate) const PASSTHROUGH: &str = "passthrough";

/// One resource as it stands in a file.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The whole of it, all four members.
    pub(crate) value: Value,
}

/// Its kind and name, and where it is unless that is the built-in virtual cluster: the same name may be there elsewhere.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.name)?;
        let metadata = |name| self.value.at(&["metadata", name]);
        let member = |of: Option<&Value>, name: &str| {
            let text = of.and_then(|of| of.get(name)).and_then(Value::text);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let scope = match self.kind {
            Kind::VirtualCluster | Kind::GatewayGroup => return Ok(()),
            Kind::Interceptor => metadata("scope"),
            Kind::AliasTopic | Kind::ConcentrationRule | Kind::GatewayServiceAccount => {
                self.value.get("metadata")
            }
        };
        let mut parts = Vec::new();
        let vcluster = member(scope, "vCluster").filter(|name| name != PASSTHROUGH);
        parts.extend(vcluster.map(|name| format!("vCluster {name}")));
        if self.kind == Kind::Interceptor {
            for name in ["group", "username"] {
                parts.extend(member(scope, name).map(|value| format!("{name} {value}")));
            }
            let is_null = scope.and_then(|scope| scope.get("vCluster")) == Some(&Value::Null);
            if is_null && parts.is_empty() {
                parts.push("all virtual clusters".to_owned());
            }
        }
        match parts.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", parts.join(", ")),
        }
    }
}

impl Resource {
    /// Whether this is the stored resource that it would replace.
    pub(crate) fn is(&self, stored: &Value) -> bool {
        let named = |name: &Value| name.text() == Some(self.name.as_str());
        stored.at(&["metadata", "name"]).is_some_and(named)
            && place(self.kind, &self.value) == place(self.kind, stored)
    }

    /// Sentences about references to variables that are left in it where no gateway expands them.
    pub(crate) fn literal_references(&self) -> Vec<String> {
        let mut paths = Vec::new();
        if let Value::Map(members) = &self.value {
            for (name, value) in members {
                left(&mut paths, name.clone(), value);
            }
        }
        let expanded = |path: &String| {
            self.kind == Kind::Interceptor
                && path
                    .strip_prefix("spec.config")
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        paths.retain(|path| !expanded(path));
        paths
            .iter()
            .map(|path| {
                format!(
                    "'{path}' has a reference to a variable in it that stays as it stands; gateways expand them in \
                     configurations of interceptors only"
                )
            })
            .collect()
    }

    fn of(value: Value) -> Result<Self, String> {
        let Value::Map(_) = value else {
            return Err(
                "a resource must be a map with kind, apiVersion, metadata and spec".to_owned(),
            );
        };
        let sentence = |what: &str| format!("{what}; kinds are {}", Kind::names());
        let kind = match value.get("kind") {
            Some(Value::Text(name)) => Kind::of(name)
                .ok_or_else(|| sentence(&format!("there is no kind '{name}' in the gateway")))?,
            Some(_) => return Err(sentence("'kind' is not a text")),
            None => return Err(sentence("'kind' is missing")),
        };
        let name = match value.at(&["metadata", "name"]) {
            Some(Value::Text(name)) if !name.is_empty() => name.clone(),
            Some(Value::Text(_)) => return Err("'metadata.name' is empty".to_owned()),
            Some(_) => {
                return Err(
                    "'metadata.name' is not a text; if it looks like a number, quote it".to_owned(),
                );
            }
            None => return Err("'metadata.name' is missing".to_owned()),
        };
        Ok(Self { kind, name, value })
    }
}

/// What tells resources of one name apart: virtual cluster, group, user. All absent: everybody, everywhere.
fn place(kind: Kind, resource: &Value) -> [Option<String>; 3] {
    let metadata = resource.get("metadata");
    let of = match kind {
        Kind::VirtualCluster | Kind::GatewayGroup => return [None, None, None],
        Kind::Interceptor => metadata.and_then(|metadata| metadata.get("scope")),
        Kind::AliasTopic | Kind::ConcentrationRule | Kind::GatewayServiceAccount => metadata,
    };
    let member = |name: &str| of.and_then(|of| of.get(name));
    let text = |name: &str| {
        let text = member(name).and_then(Value::text);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    if kind != Kind::Interceptor {
        let vcluster = text("vCluster").unwrap_or_else(|| PASSTHROUGH.to_owned());
        return [Some(vcluster), None, None];
    }
    let (group, username) = (text("group"), text("username"));
    // Null and left out are not the same, unless it is aimed at somebody.
    let everywhere =
        member("vCluster") == Some(&Value::Null) && group.is_none() && username.is_none();
    let vcluster = match everywhere {
        true => None,
        false => Some(text("vCluster").unwrap_or_else(|| PASSTHROUGH.to_owned())),
    };
    [vcluster, group, username]
}

/// Adds the places of texts with references in them.
fn left(paths: &mut Vec<String>, path: String, value: &Value) {
    match value {
        Value::Text(text) if has_reference(text) => paths.push(path),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                left(paths, format!("{path}[{index}]"), item);
            }
        }
        Value::Map(members) => {
            for (name, value) in members {
                left(paths, format!("{path}.{name}"), value);
            }
        }
        _ => {}
    }
}

/// Reads all resources of files, of the `.yaml`, `.yml` and `.json` files of directories, and of standard input where a
/// path is `-`, in this order. References to variables are replaced.
///
/// # Errors
/// Everything that is wrong, one sentence each.
pub(crate) fn read(paths: &[PathBuf], lookup: Lookup<'_>) -> Result<Vec<Resource>, Vec<String>> {
    let mut resources = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match files_of(path) {
            Ok(files) => {
                for file in files {
                    read_file(&file, lookup, &mut resources, &mut problems);
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() && resources.is_empty() {
        problems.push("there is no resource in what -f names".to_owned());
    }
    if problems.is_empty() {
        Ok(resources)
    } else {
        Err(problems)
    }
}

/// Whether this path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The path itself, or the files of the directory by name.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, String> {
    if is_stdin(path) || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let hidden = file
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let wanted = file.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension == *known)
        });
        if wanted && !hidden && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!(
            "{} has no .yaml, .yml or .json file",
            path.display()
        ));
    }
    files.sort();
    Ok(files)
}

fn read_file(
    path: &Path,
    lookup: Lookup<'_>,
    resources: &mut Vec<Resource>,
    problems: &mut Vec<String>,
) {
    let name = if is_stdin(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let text = match text_of(path) {
        Ok(text) => text,
        Err(problem) => return problems.push(format!("cannot read {name}: {problem}")),
    };
    let documents = match yaml::read(&text, lookup) {
        Ok(documents) => documents,
        Err(errors) => {
            return problems.extend(errors.iter().map(|error| format!("{name}: {error}")));
        }
    };
    for document in documents {
        let (values, what) = match document.value {
            Value::List(values) => (values, "item"),
            value => (vec![value], "document"),
        };
        let mut lines = document.items.iter();
        for value in values {
            let line = lines.next().unwrap_or(&document.line);
            match Resource::of(value) {
                Ok(resource) => resources.push(resource),
                Err(problem) => problems.push(format!("{name}, {what} at line {line}: {problem}")),
            }
        }
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    if is_stdin(path) {
        bounded(std::io::stdin().lock())
    } else {
        bounded(File::open(path).map_err(|error| error.to_string())?)
    }
}

fn bounded(source: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    source
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let (good, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line}: it is not UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Vec<String>, Vec<String>) {
        let dir = std::env::temp_dir().join(format!(
            "sluicegate-resource-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("a.yaml");
        std::fs::write(&file, text).unwrap();
        let outcome = read(std::slice::from_ref(&dir), &|_| None);
        std::fs::remove_dir_all(&dir).unwrap();
        match outcome {
            Ok(resources) => (
                resources.iter().map(Resource::to_string).collect(),
                Vec::new(),
            ),
            Err(problems) => {
                let prefix = format!("{}, ", file.display());
                let problems = problems.iter();
                (
                    Vec::new(),
                    problems.map(|text| text.replace(&prefix, "")).collect(),
                )
            }
        }
    }

    #[test]
    fn documents_and_lists() {
        let text = "kind: virtualcluster\nmetadata: {name: a}\n---\n[{kind: AliasTopic, metadata: {name: b}}, {kind: GatewayInterceptor, metadata: {name: c}}]\n";
        assert_eq!(
            of(text).0,
            ["VirtualCluster/a", "AliasTopic/b", "Interceptor/c"]
        );
    }

    #[test]
    fn every_problem_is_told() {
        let text = "kind: Topic\nmetadata: {name: a}\n---\nkind: AliasTopic\n---\n- 5\n---\nmetadata: {name: a}\n---\nkind: AliasTopic\nmetadata: {name: 5}\n";
        let kinds = Kind::names();
        assert_eq!(
            of(text).1,
            [
                format!("document at line 1: there is no kind 'Topic' in the gateway; kinds are {kinds}"),
                "document at line 4: 'metadata.name' is missing".to_owned(),
                "item at line 6: a resource must be a map with kind, apiVersion, metadata and spec".to_owned(),
                format!("document at line 8: 'kind' is missing; kinds are {kinds}"),
                "document at line 10: 'metadata.name' is not a text; if it looks like a number, quote it".to_owned(),
            ]
        );
        assert_eq!(
            of("# nothing\n").1,
            ["there is no resource in what -f names"]
        );
    }

    #[test]
    fn where_it_is_is_told() {
        let text = "[{kind: AliasTopic, metadata: {name: b, vCluster: v}}, {kind: AliasTopic, metadata: {name: b, vCluster: passthrough}}]\n---\n\
            - {kind: Interceptor, metadata: {name: i, scope: {username: u}}}\n- {kind: Interceptor, metadata: {name: i, scope: {vCluster: v, group: g}}}\n\
            - {kind: Interceptor, metadata: {name: i, scope: {vCluster: null}}}\n- {kind: Interceptor, metadata: {name: i, scope: {vCluster: passthrough}}}\n";
        assert_eq!(
            of(text).0,
            [
                "AliasTopic/b (vCluster v)",
                "AliasTopic/b",
                "Interceptor/i (username u)",
                "Interceptor/i (vCluster v, group g)",
                "Interceptor/i (all virtual clusters)",
                "Interceptor/i",
            ]
        );
    }

    #[test]
    fn the_stored_one_is_found() {
        let of = |text: &str| Resource::of(Value::from_json(text).unwrap()).unwrap();
        let interceptor = |scope: &str| {
            let scope = match scope {
                "" => String::new(),
                scope => format!(r#","scope":{scope}"#),
            };
            format!(r#"{{"kind":"Interceptor","metadata":{{"name":"i"{scope}}}}}"#)
        };
        let [everywhere, passthrough, user, group] = [
            r#"{"vCluster":null,"group":null,"username":null}"#,
            r#"{"vCluster":"passthrough"}"#,
            r#"{"vCluster":"passthrough","username":"u"}"#,
            r#"{"vCluster":"v","group":"g"}"#,
        ]
        .map(interceptor);
        let stored = [&everywhere, &passthrough, &user, &group];
        for (sent, expected) in [
            ("", &passthrough),
            ("{}", &passthrough),
            ("null", &passthrough),
            (r#"{"vCluster":""}"#, &passthrough),
            (r#"{"vCluster":null}"#, &everywhere),
            (r#"{"vCluster":null,"username":"u"}"#, &user),
            (r#"{"vCluster":"v","group":"g","username":null}"#, &group),
        ] {
            let sent = of(&interceptor(sent));
            for stored in stored {
                let found = sent.is(&Value::from_json(stored).unwrap());
                assert_eq!(found, stored == expected, "{stored}");
            }
        }
        let alias = of(r#"{"kind":"AliasTopic","metadata":{"name":"a","vCluster":"passthrough"}}"#);
        let is = |text: &str| alias.is(&Value::from_json(text).unwrap());
        assert!(is(r#"{"metadata":{"name":"a"}}"#));
        assert!(!is(r#"{"metadata":{"name":"b"}}"#));
        assert!(!is(r#"{"metadata":{"name":"a","vCluster":"v"}}"#));
    }

    #[test]
    fn references_that_stay() {
        let of = |kind: &str| {
            let text = format!(
                r#"{{"kind":"{kind}","metadata":{{"name":"a"}},"spec":{{"list":[{{"x":"${{A}}"}}],"config":{{"y":"${{B}}"}},"configs":"${{C}}","no":"$ {{D}}"}}}}"#
            );
            let found = Resource::of(Value::from_json(&text).unwrap())
                .unwrap()
                .literal_references();
            let paths = found.iter().filter_map(|text| text.split('\'').nth(1));
            paths.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of("Interceptor"), ["spec.list[0].x", "spec.configs"]);
        assert_eq!(
            of("AliasTopic"),
            ["spec.list[0].x", "spec.config.y", "spec.configs"]
        );
    }

    #[test]
    fn what_is_not_text_is_refused() {
        let problem = bounded(&b"a\n\xc3\xa4\n\xff"[..]).unwrap_err();
        assert_eq!(problem, "line 3: it is not UTF-8");
        assert!(bounded(std::io::repeat(b'a')).is_err());
    }
}
