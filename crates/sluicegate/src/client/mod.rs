//! Commands that speak to the admin API of a running gateway: `apply`, `diff`, `get`, `delete` and `token`; and `template` and
//! `explain`, which ask nobody.
//!
//! Each ends with status 0, with 1 if the gateway did not do all that was asked, and with 2 if nothing was asked because
//! arguments, settings or files are wrong. `diff` ends as diff(1) does. What was done goes to standard output, all else to
//! standard error.

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
use self::gateway::{Gateway, Upserted};
pub(crate) use self::kind::Kind;
use self::resource::Resource;
use self::settings::Settings;
use self::stored::Stored;
use self::value::Value;

/// Title of the error of a kind that cannot be stored under the gateway's security settings.
pub(crate) const NOT_AVAILABLE: &str = "Not available with this security configuration";

/// What came of applying a resource that is stored like this already.
const NOT_CHANGED: &str = "NotChanged";

/// Creates or replaces what is in files.
pub(crate) fn apply(args: &ApplyArgs) -> ExitCode {
    finished(apply_all(args))
}

/// Shows what applying files would change. 0 if nothing, 1 if something, 2 if that cannot be said of all of it.
pub(crate) fn diff(args: &DiffArgs) -> ExitCode {
    finished(diff_all(args))
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

fn apply_all(args: &ApplyArgs) -> Outcome {
    let mut resources = resources_of(&args.files.files, &args.connection)?;
    // Stable: what is of one kind stays in the order of the files.
    resources.sort_by_key(|resource| resource.kind);
    let gateway = open(&args.connection)?;
    let warnings = Warnings::new(&resources)?;
    let mut trial = match args.dry_run {
        true => tried(&gateway, &resources),
        false => None,
    };
    let mut stored = Stored::new(&gateway);
    let tally = for_each(&resources, "applied", |resource, label| {
        let before = match args.print_diff {
            true => stored.find(resource)?,
            false => None,
        };
        let upserted = match &mut trial {
            Some(trial) => trial.next().unwrap_or_else(untold)?,
            None => gateway.apply(resource, args.dry_run)?,
        };
        warnings.ignored(resource, label, &upserted);
        let mut text = format!("{label}: {}\n", harmless(&upserted.result));
        if args.print_diff {
            text.push_str(&difference(label, before.as_ref(), &upserted));
            stored.replace(resource, upserted.resource);
        }
        Ok(text)
    });
    if args.dry_run {
        eprintln!("Dry run: nothing was stored.");
    }
    Ok(tally.code())
}

fn diff_all(args: &DiffArgs) -> Outcome {
    let mut resources = resources_of(&args.files.files, &args.connection)?;
    resources.sort_by_key(|resource| resource.kind);
    let gateway = open(&args.connection)?;
    let warnings = Warnings::new(&resources)?;
    let mut trial = tried(&gateway, &resources);
    let mut stored = Stored::new(&gateway);
    let mut differs = false;
    let tally = for_each(&resources, "compared", |resource, label| {
        let before = stored.find(resource)?;
        let upserted = match &mut trial {
            Some(trial) => trial.next().unwrap_or_else(untold)?,
            None => gateway.apply(resource, true)?,
        };
        warnings.ignored(resource, label, &upserted);
        let text = difference(label, before.as_ref(), &upserted);
        differs |= upserted.result != NOT_CHANGED;
        stored.replace(resource, upserted.resource);
        Ok(text)
    });
    Ok(match (tally.failed, differs) {
        (0, false) => ExitCode::SUCCESS,
        (0, true) => ExitCode::from(1),
        _ => ExitCode::from(2),
    })
}

/// What applying resources would do, each as if those before it were stored already. `None` if the gateway has to be asked for
/// each by itself.
fn tried(
    gateway: &Gateway,
    resources: &[Resource],
) -> Option<std::vec::IntoIter<Result<Upserted, Failure>>> {
    if resources.len() < 2 {
        return None;
    }
    match gateway.dry_run(resources) {
        Ok(Some(results)) => Some(results.into_iter()),
        Err(failure) if failure.is_of_all_calls() => Some(vec![Err(failure)].into_iter()),
        Ok(None) | Err(_) => {
            eprintln!(
                "Each resource is checked by itself: what refers to a resource that is new in these files is refused."
            );
            None
        }
    }
}

fn untold() -> Result<Upserted, Failure> {
    Err(Failure::NotUnderstood("it is too short".to_owned()))
}

/// How a resource differs from what is stored; empty if it does not.
fn difference(label: &str, before: Option<&Value>, upserted: &Upserted) -> String {
    match (&upserted.resource, upserted.result.as_str()) {
        (_, NOT_CHANGED) | (None, _) => String::new(),
        (Some(after), _) => diff::diff(label, before, Some(after)),
    }
}

/// What people should know of resources that were taken.
struct Warnings(Description);

impl Warnings {
    /// Says first what can be said without a gateway.
    fn new(resources: &[Resource]) -> Result<Self, Vec<String>> {
        for resource in resources {
            for warning in resource.literal_references() {
                warn(&harmless(&resource.to_string()), &warning);
            }
        }
        match Description::built_in() {
            Ok(description) => Ok(Self(description)),
            Err(problem) => Err(vec![problem]),
        }
    }

    /// Says what the gateway has made nothing of.
    fn ignored(&self, resource: &Resource, label: &str, upserted: &Upserted) {
        let Some(stored) = &upserted.resource else {
            return;
        };
        let Resource { kind, value, .. } = resource;
        for warning in ignored::ignored(*kind, value, stored, &self.0.names(*kind)) {
            warn(label, &warning);
        }
    }
}

fn warn(label: &str, warning: &str) {
    eprintln!("warning: {label}: {}", harmless(warning));
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
