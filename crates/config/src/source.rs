//! Where settings come from: process environment, env file, configuration file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::catalogue;
use crate::env_file;
use crate::machine::Machine;
use crate::report::{Notice, Problem};
use crate::yaml::{self, Tree};

/// Settings by name, merged from the process environment, an env file and a configuration file; the env file wins over the
/// environment, and the environment over the configuration file.
///
/// Nothing is judged here: problems with the files are kept for [`load`](crate::load) to report with all others.
#[derive(Clone)]
pub struct Source {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) machine: Machine,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notices: Vec<Notice>,
}

impl Source {
    /// The process environment, and the files named by `GATEWAY_ENV_FILE` and `GATEWAY_CONFIG_FILE`.
    pub fn from_env() -> Self {
        Self::of_process(None)
    }

    /// As [`Source::from_env`], with an env file given on the command line in place of `GATEWAY_ENV_FILE`. It must be readable.
    pub fn from_env_and_file(file: &Path) -> Self {
        Self::of_process(Some(file))
    }

    /// Settings in place of the process environment, on a machine of 4 CPUs, 4 GiB and 1,048,576 open files called
    /// `gateway.example`. Files named by them are read.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let machine = Machine {
            host_name: "gateway.example".into(),
            cpus: 4,
            memory: 4 << 30,
            open_files: 1 << 20,
        };
        let values = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self {
            values,
            machine,
            problems: Vec::new(),
            notices: Vec::new(),
        }
        .with_files(None)
    }

    /// Sets what is not set yet (an empty value counts as not set).
    pub fn or_set(mut self, name: &str, value: impl Into<String>) -> Self {
        let slot = self.values.entry(name.to_owned()).or_default();
        if slot.is_empty() {
            *slot = value.into();
        }
        self
    }

    /// Changes the host name that clients are told when no setting says otherwise.
    pub fn with_host_name(mut self, host_name: impl Into<String>) -> Self {
        self.machine.host_name = host_name.into();
        self
    }

    /// The value of a setting, `None` when it is not set or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn of_process(file: Option<&Path>) -> Self {
        let mut source = Self {
            values: BTreeMap::new(),
            machine: Machine::detect(),
            problems: Vec::new(),
            notices: Vec::new(),
        };
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => {
                    source.values.insert(name, value);
                }
                Err(_) if is_ours(&name) => {
                    source.problems.push(Problem::named(name, "UTF-8 text"))
                }
                Err(_) => {}
            }
        }
        source.with_files(file)
    }

    fn with_files(mut self, env_file: Option<&Path>) -> Self {
        match env_file {
            Some(path) => self.read_env_file(path, "--env-file", true),
            None => {
                if let Some(path) = self.get("GATEWAY_ENV_FILE").map(String::from) {
                    self.read_env_file(Path::new(&path), "GATEWAY_ENV_FILE", false);
                }
            }
        }
        if let Some(path) = self.get("GATEWAY_CONFIG_FILE").map(String::from) {
            self.read_config_file(&path);
        }
        self
    }

    fn read_env_file(&mut self, path: &Path, named_by: &str, needed: bool) {
        let shown = path.display().to_string();
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes),
            Err(error) if needed => {
                return self.problems.push(Problem::value(
                    named_by,
                    &shown,
                    format!("a readable file ({error})"),
                ));
            }
            Err(error) => {
                let line = format!(
                    "{named_by}: cannot read {}, going on without it: {error}",
                    crate::report::printable(&shown)
                );
                return self.notices.push(Notice::warn(line));
            }
        };
        let Ok(text) = text else {
            return self
                .problems
                .push(Problem::value(named_by, &shown, "a file with UTF-8 text"));
        };
        match env_file::parse(&text) {
            Ok(assignments) => self.take_assignments(&shown, assignments),
            Err(malformed) => {
                for bad in malformed {
                    self.problems.push(Problem::value(
                        named_by,
                        &format!("{shown}:{}", bad.line),
                        bad.expected,
                    ));
                }
            }
        }
    }

    /// The last assignment of a name wins, as in a shell.
    fn take_assignments(&mut self, file: &str, assignments: Vec<env_file::Assignment>) {
        let file = crate::report::printable(file);
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        for assignment in assignments {
            let env_file::Assignment { line, key, value } = assignment;
            if let Some(earlier) = lines.insert(key.clone(), line) {
                self.notices.push(Notice::warn(format!(
                    "{key} is set twice in env file {file}: line {line} wins over line {earlier}"
                )));
            }
            self.values.insert(key, value);
        }
        let line = format!("{} settings read from env file {file}", lines.len());
        self.notices.push(Notice::info(line));
    }

    fn read_config_file(&mut self, path: &str) {
        const NAME: &str = "GATEWAY_CONFIG_FILE";
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return self.problems.push(Problem::value(
                    NAME,
                    path,
                    format!("a readable file ({error})"),
                ));
            }
        };
        match yaml::parse::<Tree>(&text) {
            Ok(Tree::Map(entries)) => {
                for (key, tree) in entries {
                    self.take(path, &key, tree);
                }
                self.notices.push(Notice::info(format!(
                    "configuration file {} read",
                    crate::report::printable(path)
                )));
            }
            Ok(Tree::Null) => {}
            Ok(Tree::Scalar(_)) => {
                self.problems
                    .push(Problem::value(NAME, path, "a file with YAML maps"))
            }
            Err(place) => self.problems.push(Problem::value(
                NAME,
                path,
                format!("well-formed YAML maps ({place})"),
            )),
        }
    }

    /// Takes one branch of the configuration file.
    fn take(&mut self, file: &str, path: &str, tree: Tree) {
        const NAME: &str = "GATEWAY_CONFIG_FILE";
        let setting = catalogue::all().find(|setting| setting.path == Some(path));
        let inner = catalogue::all()
            .filter_map(|setting| setting.path)
            .any(|known| {
                known
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('.'))
            });
        match (setting, tree) {
            (Some(setting), Tree::Scalar(value)) => {
                match yaml::expand(&value, |name| self.get(name).map(String::from)) {
                    Ok(value) => {
                        let slot = self.values.entry(setting.name.to_owned()).or_default();
                        if slot.is_empty() {
                            *slot = value;
                        }
                    }
                    Err(name) => {
                        let expected = format!("a value for ${{{name}}} in {path}");
                        self.problems
                            .push(Problem::value(NAME, file, expected).with_unset(name));
                    }
                }
            }
            (_, Tree::Null) if setting.is_some() || inner => {}
            (None, Tree::Map(entries)) if inner => {
                for (key, tree) in entries {
                    self.take(file, &format!("{path}.{key}"), tree);
                }
            }
            _ => {
                let known = catalogue::all().filter_map(|setting| setting.path);
                let mut problem = Problem::value(
                    NAME,
                    file,
                    format!("known paths (found {})", crate::report::printable(path)),
                );
                if let Some(near) = catalogue::nearest(path, known) {
                    problem = problem.hint(format!("Did you mean {near}?"));
                }
                self.problems.push(problem);
            }
        }
    }
}

/// Whether a name is in one of the gateway's name spaces.
pub(crate) fn is_ours(name: &str) -> bool {
    ["GATEWAY_", "KAFKA_", "LOG4J2_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}
