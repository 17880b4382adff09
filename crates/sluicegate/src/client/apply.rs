//! `apply`, and `diff`, which is `apply` that stores nothing and tells the difference only.

use std::process::ExitCode;

use super::args::{ApplyArgs, DiffArgs};
use super::describe::Description;
use super::diff::diff as unified;
use super::failure::{Failure, harmless};
use super::gateway::{Gateway, Upserted};
use super::ignored::ignored;
use super::resource::Resource;
use super::stored::Stored;
use super::value::Value;
use super::{Outcome, for_each, open, resources_of};

/// What came of applying a resource that is stored like this already.
const NOT_CHANGED: &str = "NotChanged";

/// Creates or replaces what is in files, or says what that would do.
pub(super) fn apply(args: &ApplyArgs) -> Outcome {
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
        // Taken first: one that fails below has had its turn.
        let tried = trial
            .as_mut()
            .map(|trial| trial.next().unwrap_or_else(untold));
        let before = match args.print_diff {
            true => stored.find(resource)?,
            false => None,
        };
        let upserted = tried.unwrap_or_else(|| gateway.apply(resource, args.dry_run))?;
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

/// Shows what applying files would change.
pub(super) fn diff(args: &DiffArgs) -> Outcome {
    let mut resources = resources_of(&args.files.files, &args.connection)?;
    resources.sort_by_key(|resource| resource.kind);
    let gateway = open(&args.connection)?;
    let warnings = Warnings::new(&resources)?;
    let mut trial = tried(&gateway, &resources);
    let mut stored = Stored::new(&gateway);
    let mut differs = false;
    let tally = for_each(&resources, "compared", |resource, label| {
        let tried = trial
            .as_mut()
            .map(|trial| trial.next().unwrap_or_else(untold));
        let before = stored.find(resource)?;
        let upserted = tried.unwrap_or_else(|| gateway.apply(resource, true))?;
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
        (Some(after), _) => unified(label, before, Some(after)),
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
        for warning in ignored(*kind, value, stored, &self.0.names(*kind)) {
            warn(label, &warning);
        }
    }
}

fn warn(label: &str, warning: &str) {
    eprintln!("warning: {label}: {}", harmless(warning));
}
