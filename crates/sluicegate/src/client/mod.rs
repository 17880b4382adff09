//! Commands that speak to the admin API of a running gateway: `apply`, `diff`, `get`, `delete` and `token`; and `template` and
//! `explain`, which ask nobody.
//!
//! Each ends with status 0, with 1 if the gateway did not do all that was asked, and with 2 if nothing was asked because
//! arguments, settings or files are wrong. `diff` ends as diff(1) does. What was done goes to standard output, all else to
//! standard error.

mod apply;
mod args;
mod describe;
mod diff;
mod failure;
mod gateway;
mod ignored;
mod kind;
mod resource;
mod settings;
mod stored;
mod table;
mod tls;
mod value;
mod variables;
mod yaml;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use self::args::{
    ApplyArgs, DeleteArgs, DiffArgs, ExplainArgs, GetArgs, TemplateArgs, TokenArgs,
};
use self::args::{Connection, Format, Notation, Selection, Target};
use self::describe::Description;
use self::failure::{Failure, harmless};
use self::gateway::Gateway;
pub(crate) use self::kind::Kind;
use self::resource::Resource;
use self::settings::Settings;
use self::stored::Stored;
use self::value::Value;

/// Title of the error of a kind that cannot be stored under the gateway's security settings.
pub(crate) const NOT_AVAILABLE: &str = "Not available with this security configuration";

/// Creates or replaces what is in files.
pub(crate) fn apply(args: &ApplyArgs) -> ExitCode {
    finished(apply::apply(args))
}

/// Shows what applying files would change. 0 if nothing, 1 if something, 2 if that cannot be said of all of it.
pub(crate) fn diff(args: &DiffArgs) -> ExitCode {
    finished(apply::diff(args))
}

/// Prints a resource of a kind to begin with.
pub(crate) fn template(args: &TemplateArgs) -> ExitCode {
    let template = Description::built_in().and_then(|built_in| built_in.template(args.kind));
    finished(template.map_err(|problem| vec![problem]).map(|value| {
        print(&match args.output {
            Notation::Yaml => yaml::write(&value),
            Notation::Json => value.to_pretty_json() + "\n",
        });
        ExitCode::SUCCESS
    }))
}

/// Prints the members of a kind.
pub(crate) fn explain(args: &ExplainArgs) -> ExitCode {
    let text = Description::built_in().and_then(|built_in| built_in.explain(args.kind));
    finished(text.map_err(|problem| vec![problem]).map(|text| {
        print(&text);
        ExitCode::SUCCESS
    }))
}

/// Prints what is stored.
pub(crate) fn get(args: &GetArgs) -> ExitCode {
    finished(get_all(args))
}

/// Deletes one resource, or what is in files.
pub(crate) fn delete(args: &DeleteArgs) -> ExitCode {
    finished(delete_all(args))
}

/// Prints a token for a local service account, the password of its SASL/PLAIN login.
pub(crate) fn token(args: &TokenArgs) -> ExitCode {
    finished(print_token(args))
}

/// What a command came to, or why nothing was asked of the gateway.
type Outcome = Result<ExitCode, Vec<String>>;

fn finished(outcome: Outcome) -> ExitCode {
    outcome.unwrap_or_else(|problems| {
        for problem in problems {
            eprintln!("error: {}", harmless(&problem));
        }
        ExitCode::from(2)
    })
}

fn delete_all(args: &DeleteArgs) -> Outcome {
    let mut resources = match (args.kind, &args.name) {
        (Some(kind), Some(name)) => {
            let selection = &args.selection;
            selection
                .check(Target::Kind(kind))
                .map_err(|problem| vec![problem])?;
            vec![selected(kind, name, selection)]
        }
        _ => resources_of(&args.files, &args.connection)?,
    };
    resources.sort_by_key(|resource| resource.kind);
    resources.reverse();
    let gateway = open(&args.connection)?;
    if args.dry_run {
        let mut stored = Stored::new(&gateway);
        let tally = for_each(&resources, "deletable", |resource, label| {
            match stored.delete(resource) {
                Ok(()) => Ok(format!("{label}: Deleted\n")),
                Err(failure) => unless_not_found(args, label, failure),
            }
        });
        eprintln!("Dry run: nothing was deleted.");
        return Ok(tally.code());
    }
    let tally = for_each(&resources, "deleted", |resource, label| {
        match gateway.delete(resource) {
            Ok(()) => Ok(format!("{label}: Deleted\n")),
            Err(failure) => unless_not_found(args, label, failure),
        }
    });
    Ok(tally.code())
}

/// What is not there need not be deleted.
fn unless_not_found(args: &DeleteArgs, label: &str, failure: Failure) -> Result<String, Failure> {
    match args.ignore_not_found && failure.is_not_found() {
        true => {
            eprintln!("{label}: not there: {failure}");
            Ok(String::new())
        }
        false => Err(failure),
    }
}

fn get_all(args: &GetArgs) -> Outcome {
    args.selection
        .check(args.kind)
        .map_err(|problem| vec![problem])?;
    let gateway = match (args.kind, &args.name) {
        (Target::All, Some(_)) => {
            return Err(vec!["'get all' takes no name; ask for one kind".to_owned()]);
        }
        _ => open(&args.connection)?,
    };
    let kinds = match args.kind {
        Target::All => &Kind::ALL[..],
        Target::Kind(ref kind) => match &args.name {
            Some(name) => return Ok(get_named(&gateway, *kind, name, args)),
            None => std::slice::from_ref(kind),
        },
    };
    let mut found = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for kind in kinds {
        match gateway.list(*kind, &filters(None, &args.selection)) {
            Ok(resources) => found.push((*kind, resources)),
            Err(Failure::Refused(refusal))
                if args.kind == Target::All && refusal.title == NOT_AVAILABLE =>
            {
                eprintln!("{}: {}", kind.name(), Failure::Refused(refusal));
            }
            Err(failure) => {
                eprintln!("{}: {failure}", kind.name());
                code = ExitCode::FAILURE;
                if failure.is_of_all_calls() {
                    break;
                }
            }
        }
    }
    if found.iter().all(|(_, resources)| resources.is_empty()) && code == ExitCode::SUCCESS {
        eprintln!("Nothing found.");
    }
    show(&found, args.output, false);
    Ok(code)
}

fn get_named(gateway: &Gateway, kind: Kind, name: &str, args: &GetArgs) -> ExitCode {
    let found = if kind.is_global() {
        gateway.named(kind, name).map(|resource| vec![resource])
    } else {
        gateway.list(kind, &filters(Some(name), &args.selection))
    };
    match found {
        Ok(resources) if resources.is_empty() => {
            eprintln!("There is no such {} '{}'.", kind.name(), harmless(name));
            ExitCode::FAILURE
        }
        Ok(resources) => {
            show(&[(kind, resources)], args.output, true);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{}/{}: {failure}", kind.name(), harmless(name));
            ExitCode::FAILURE
        }
    }
}

fn print_token(args: &TokenArgs) -> Outcome {
    let gateway = open(&args.connection)?;
    match gateway.token(&args.username, args.vcluster.as_deref(), args.lifetime) {
        Ok(token) => {
            print(&format!("{token}\n"));
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            eprintln!("{failure}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// How many of the resources were not done.
struct Tally {
    failed: usize,
}

impl Tally {
    fn code(&self) -> ExitCode {
        match self.failed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// Asks for all of them, whichever fail, unless the rest would fail for the same reason; prints what comes of each.
fn for_each(
    resources: &[Resource],
    done: &str,
    mut ask: impl FnMut(&Resource, &str) -> Result<String, Failure>,
) -> Tally {
    let mut failed = 0;
    for (index, resource) in resources.iter().enumerate() {
        let label = harmless(&resource.to_string());
        match ask(resource, &label) {
            Ok(text) => print(&text),
            Err(failure) => {
                failed += 1;
                eprintln!("{label}: not {done}: {failure}");
                let left = resources.len() - index - 1;
                if failure.is_of_all_calls() && left > 0 {
                    failed += left;
                    eprintln!("The other {left} were not tried.");
                    break;
                }
            }
        }
    }
    if failed > 0 && resources.len() > 1 {
        eprintln!("{failed} of {} were not {done}.", resources.len());
    }
    Tally { failed }
}

fn resources_of(files: &[PathBuf], connection: &Connection) -> Result<Vec<Resource>, Vec<String>> {
    let sources = files.iter().chain(&connection.password_file);
    if sources.filter(|file| resource::is_stdin(file)).count() > 1 {
        return Err(vec!["standard input can be read once only".to_owned()]);
    }
    resource::read(files, &|name| std::env::var(name).ok())
}

fn open(connection: &Connection) -> Result<Gateway, Vec<String>> {
    Settings::of(connection, |name| std::env::var(name).ok())
        .and_then(|settings| Gateway::new(&settings))
        .map_err(|problem| vec![problem])
}

/// What identifies a resource, as it would stand in a file.
fn selected(kind: Kind, name: &str, selection: &Selection) -> Resource {
    let member = |name: &str, value: &Option<String>| {
        let value = value.clone()?;
        Some((name.to_owned(), Value::Text(value)))
    };
    let null = |name: &str| Some((name.to_owned(), Value::Null));
    let metadata = match kind {
        Kind::Interceptor => {
            let scope = if selection.global {
                [null("vCluster"), null("group"), null("username")]
            } else {
                [
                    member("vCluster", &selection.vcluster),
                    member("group", &selection.group),
                    member("username", &selection.username),
                ]
            };
            let scope = Value::Map(scope.into_iter().flatten().collect());
            vec![("scope".to_owned(), scope)]
        }
        _ => member("vCluster", &selection.vcluster)
            .into_iter()
            .collect(),
    };
    Resource {
        kind,
        name: name.to_owned(),
        value: Value::Map(vec![("metadata".to_owned(), Value::Map(metadata))]),
    }
}

/// Query parameters of a list.
fn filters<'a>(name: Option<&'a str>, selection: &'a Selection) -> Vec<(&'static str, &'a str)> {
    let given = [
        ("name", name),
        ("vcluster", selection.vcluster.as_deref()),
        ("group", selection.group.as_deref()),
        ("username", selection.username.as_deref()),
        ("global", selection.global.then_some("true")),
    ];
    let given = given.into_iter();
    given
        .filter_map(|(parameter, value)| Some((parameter, value?)))
        .collect()
}

/// Prints resources; `named` is for those that were asked for by name.
fn show(found: &[(Kind, Vec<Value>)], format: Format, named: bool) {
    let all = || {
        found.iter().flat_map(|(kind, resources)| {
            resources
                .iter()
                .map(|resource| stored::in_full(*kind, resource))
        })
    };
    let text = match format {
        Format::Yaml => all()
            .map(|resource| yaml::write(&resource))
            .collect::<Vec<_>>()
            .join("---\n"),
        Format::Name => found
            .iter()
            .flat_map(|(kind, resources)| resources.iter().map(move |resource| (kind, resource)))
            .map(|(kind, resource)| {
                let name = resource.at(&["metadata", "name"]).and_then(Value::text);
                format!("{}/{}\n", kind.name(), harmless(name.unwrap_or_default()))
            })
            .collect(),
        Format::Json => {
            let mut resources: Vec<Value> = all().collect();
            let value = match resources.pop() {
                Some(only) if named && resources.is_empty() => only,
                last => {
                    resources.extend(last);
                    Value::List(resources)
                }
            };
            value.to_pretty_json() + "\n"
        }
        Format::Table => found
            .iter()
            .filter(|(_, resources)| !resources.is_empty())
            .map(|(kind, resources)| table::table(*kind, resources))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    print(&text);
}

/// Prints to standard output. That nobody reads it any more is no mistake of ours.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
