//! Resources out of files.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::kind::Kind;
use super::value::Value;
use super::yaml;

/// Largest text that is read from one file or from standard input, bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// One resource as it stands in a file.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The whole of it, all four members.
    pub(crate) value: Value,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.name)
    }
}

impl Resource {
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

/// Reads all resources of files, of the `.yaml`, `.yml` and `.json` files of directories, and of standard input where a
/// path is `-`, in this order.
///
/// # Errors
/// Everything that is wrong, one sentence each.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Resource>, Vec<String>> {
    let mut resources = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match files_of(path) {
            Ok(files) => {
                for file in files {
                    read_file(&file, &mut resources, &mut problems);
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

fn read_file(path: &Path, resources: &mut Vec<Resource>, problems: &mut Vec<String>) {
    let name = if is_stdin(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let text = match text_of(path) {
        Ok(text) => text,
        Err(problem) => return problems.push(format!("cannot read {name}: {problem}")),
    };
    let documents = match yaml::read(&text) {
        Ok(documents) => documents,
        Err(error) => return problems.push(format!("{name}: {error}")),
    };
    for document in documents {
        let values = match document.value {
            Value::List(values) => values,
            value => vec![value],
        };
        for value in values {
            match Resource::of(value) {
                Ok(resource) => resources.push(resource),
                Err(problem) => problems.push(format!(
                    "{name}, document at line {}: {problem}",
                    document.line
                )),
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
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
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
        let outcome = read(std::slice::from_ref(&dir));
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
                "document at line 6: a resource must be a map with kind, apiVersion, metadata and spec".to_owned(),
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
    fn what_is_not_text_is_refused() {
        assert!(bounded(&b"\xff"[..]).is_err());
        assert!(bounded(std::io::repeat(b'a')).is_err());
    }
}
