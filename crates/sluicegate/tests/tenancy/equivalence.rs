//! The same workload on a plain Kafka and in a virtual cluster gives the same answers.
//!
//! The cases are those with which the gateway is compared in general (`tests/differential`), for every API key whose names
//! are mapped. [`crate::differences`] says what may differ.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use serde_json::json;
use testkit::{Error, Listener, Result};
use wire::api::ApiKey;

use crate::caller::Caller;
use crate::cases::{Area, Coverage, coverage};
use crate::differences::not_compared;
use crate::prepare;
use crate::side::{Run, java_hash};
use crate::way::{Side, compare};
use crate::world::{ROOT, Script, World, addresses, offered};

/// The virtual cluster. In front of a name this one does not change Java's hash of it, so that a group or transactional id has
/// the same coordinator in the virtual cluster as directly.
pub(crate) const NAME: &str = "f5a5a608";

/// How often a reading case is asked again because the cluster changed meanwhile.
const READINGS: usize = 50;

/// Keys that are compared at the same time.
const COMPARERS: usize = 3;

#[test]
fn records_are_the_same() -> Result<()> {
    compare_all(Area::Records)
}

#[test]
fn groups_are_the_same() -> Result<()> {
    compare_all(Area::Groups)
}

#[test]
fn transactions_are_the_same() -> Result<()> {
    compare_all(Area::Transactions)
}

#[test]
fn administration_is_the_same() -> Result<()> {
    compare_all(Area::Administration)
}

#[test]
fn every_key_is_compared_or_has_a_reason() {
    for api in ApiKey::all() {
        match coverage(api) {
            Some(Coverage::Case(_)) => {}
            Some(Coverage::Refused(reason)) => assert!(!reason.is_empty(), "{api}"),
            None => panic!("{api} has neither a case nor a reason"),
        }
    }
}

/// Runs all cases of an area in the versions that both offer and reports every difference. Everyday runs compare the lowest
/// and the highest version, full ones every one.
fn compare_all(area: Area) -> Result<()> {
    let pair = Pair::get()?;
    let all = crate::is_full();
    let mut cases = Vec::new();
    for api in ApiKey::all().filter(|api| not_compared(*api).is_none()) {
        let case = match coverage(api) {
            Some(Coverage::Case(case)) if case.area == area => case,
            _ => continue,
        };
        let versions = pair.common(api);
        assert!(
            !versions.is_empty(),
            "{api} is not offered in a virtual cluster"
        );
        let ends = [versions.first(), versions.last()];
        let everyday = |version: &i16| all || ends.contains(&Some(version));
        let versions = versions.iter().filter(|version| everyday(version));
        cases.push((api, case, versions.copied().collect::<Vec<i16>>()));
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..COMPARERS {
            scope.spawn(|| {
                // Cases of one key may share a topic, so that their versions come one after the other.
                while let Some((api, case, versions)) = cases.get(next.fetch_add(1, Relaxed)) {
                    for version in versions {
                        let compared = match case.reads {
                            true => pair.compare_readings(*api, *version, case.script),
                            false => pair.compare_changes(*api, *version, case.script),
                        };
                        if let (Err(difference), Ok(mut failures)) = (compared, failures.lock()) {
                            failures.push(format!("{api} v{version}:\n{difference}"));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_default();
    assert!(
        failures.is_empty(),
        "{} differences between a plain Kafka and a virtual cluster:\n{}",
        failures.len(),
        failures.join("\n")
    );
    Ok(())
}

/// The two clusters.
struct Pair {
    plain: Way,
    tenant: Way,
    /// Taken for writing while nothing of either may change.
    quiet: RwLock<()>,
}

/// One of the two.
struct Way {
    side: Side,
    caller: Caller,
    versions: BTreeMap<i16, (i16, i16)>,
}

impl Way {
    fn new(side: Side, login: Option<(String, String)>) -> Result<Way> {
        let caller = Caller::new(side.doors.clone(), login);
        Ok(Way {
            versions: offered(&mut caller.again())?,
            caller,
            side,
        })
    }

    fn run(&self, api: ApiKey, version: i16) -> Run<'_> {
        Run::new(&self.side, &self.caller, api, version)
    }

    fn changed(&self, api: ApiKey, version: i16, script: Script) -> Result<Vec<String>, String> {
        self.transcript(self.run(api, version), script)
    }

    fn read(&self, api: ApiKey, version: i16, script: Script) -> Result<Vec<String>, String> {
        let run = Run::reading(&self.side, &self.caller, api, version);
        self.transcript(run, script)
    }

    fn transcript(&self, mut run: Run<'_>, script: Script) -> Result<Vec<String>, String> {
        match script(&mut run) {
            Ok(()) => Ok(run.transcript()),
            Err(error) => Err(format!("    from {:?}: {error}", self.side)),
        }
    }
}

impl Pair {
    fn get() -> Result<&'static Pair> {
        static PAIR: OnceLock<Result<Pair, String>> = OnceLock::new();
        PAIR.get_or_init(|| Pair::start().map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|error| Error::Violated(error.clone()))
    }

    fn start() -> Result<Pair> {
        assert_eq!(java_hash(NAME), 0, "coordinators are the same");
        let world = World::get()?;
        let doors = world.cluster.addresses(Listener::Plaintext);
        let plain = Side {
            letter: 'a',
            addresses: addresses(&doors)?,
            doors,
        };
        let plain = Way::new(plain, None)?;
        let tenant = world.front.tenant(NAME, json!({}))?;
        let login = (ROOT.to_owned(), tenant.token(ROOT)?);
        let tenant = Way::new(tenant.side()?, Some(login))?;
        for way in [&plain, &tenant] {
            let mut run = way.run(ApiKey::API_VERSIONS, 0);
            prepare::fixtures(&mut run)?;
            prepare::side_fixtures(&mut run)?;
        }
        Ok(Pair {
            plain,
            tenant,
            quiet: RwLock::new(()),
        })
    }

    /// Versions that both offer.
    fn common(&self, api: ApiKey) -> Vec<i16> {
        let ranges = [&self.plain, &self.tenant].map(|way| way.versions.get(&api.0).copied());
        let [Some(plain), Some(tenant)] = ranges else {
            return Vec::new();
        };
        let spec = api.spec().expect("a known API");
        (plain.0.max(tenant.0).max(spec.min_version)..=plain.1.min(tenant.1)).collect()
    }

    /// Runs a case that changes things in both at once, each with names of its own.
    fn compare_changes(&self, api: ApiKey, version: i16, script: Script) -> Result<(), String> {
        let _shared = self.quiet.read().unwrap_or_else(PoisonError::into_inner);
        let (plain, tenant) = std::thread::scope(|scope| {
            let plain = scope.spawn(|| self.plain.changed(api, version, script));
            let tenant = self.tenant.changed(api, version, script);
            (plain.join(), tenant)
        });
        let plain = plain.map_err(|_| "the run without gateway panicked".to_owned())?;
        compare(&plain?, &tenant?)
    }

    /// Runs a case that only reads: plain, in the virtual cluster, and plain again. If both plain runs differ, the
    /// cluster has changed in between, and all is asked again.
    fn compare_readings(&self, api: ApiKey, version: i16, script: Script) -> Result<(), String> {
        let _alone = self.quiet.write().unwrap_or_else(PoisonError::into_inner);
        let mut plain = self.plain.read(api, version, script)?;
        let mut change = String::new();
        for _ in 0..READINGS {
            let tenant = self.tenant.read(api, version, script)?;
            let again = self.plain.read(api, version, script)?;
            match compare(&plain, &again) {
                Ok(()) => return compare(&plain, &tenant),
                Err(difference) => change = difference,
            }
            plain = again;
        }
        Err(format!("the brokers never say the same twice:\n{change}"))
    }
}
