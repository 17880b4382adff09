//! Virtual clusters from the outside: what the users of one see, and what they never see.
//!
//! One Kafka cluster and one gateway serve all tests; each makes virtual clusters of its own. Full runs are
//! larger, see [`factor`].
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`world`] | brokers, gateway, virtual clusters and their users |
//! | [`api`] | the admin API |
//! | [`caller`], [`ask`] | requests of any kind, and those that many tests send |
//! | [`names`] | topics of the same name, names of others |
//! | [`groups`], [`transactions`] | the same of groups and transactional ids, and all kinds of members |
//! | [`listing`] | pages, texts of errors, addresses |
//! | [`statics`] | a large group |
//! | [`moving`] | groups that change their protocol |
//! | [`streams`] | Kafka Streams and Kafka Connect |
//! | [`stop`] | ending what other threads do |
//! | [`attacks`] | ids, sessions and identities of others |
//! | [`lookups`] | what takes long to look up |
//! | [`racks`] | fetching from followers |
//! | [`sweep`] | every method of the admin client, and what is the operator's |
//! | [`identity`], [`certificates`], [`access`] | who comes in, and what they may do |
//! | [`aliases`] | topics under other names |
//! | [`policies`] | what policies of brokers say |
//! | [`storage`], [`kept`] | what is kept, by one gateway and by two, and in which topics |
//! | [`moves`] | leaders, coordinators and brokers that move |
//! | [`island`] | brokers that create topics, forget offsets, and go away |
//! | [`equivalence`] | a virtual cluster answers as a plain Kafka does |
//! | [`side`] | one run of a case of that comparison |
//! | [`differences`] | what may differ |
//! | [`cases`], [`prepare`] | the cases, shared with `tests/differential` |

mod access;
mod aliases;
mod api;
mod ask;
mod attacks;
mod caller;
#[path = "../differential/cases/mod.rs"]
mod cases;
mod certificates;
mod differences;
mod equivalence;
mod groups;
mod identity;
mod island;
mod kept;
mod listing;
mod lookups;
#[path = "../shared/message.rs"]
mod message;
mod moves;
mod moving;
mod names;
#[path = "../shared/normal.rs"]
mod normal;
mod policies;
#[path = "../differential/prepare.rs"]
mod prepare;
mod racks;
#[path = "../shared/records.rs"]
mod records;
mod side;
mod statics;
mod stop;
mod storage;
mod streams;
mod sweep;
mod transactions;
#[path = "../shared/way.rs"]
mod way;
mod world;

/// How much larger than everyday a full run is: what the variable `SLUICEGATE_TEST_TENANCY` says.
fn factor() -> u64 {
    let set = std::env::var("SLUICEGATE_TEST_TENANCY").ok();
    set.and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// Whether this run takes its time.
fn is_full() -> bool {
    factor() > 1
}

/// A number of everyday, larger in a full run.
fn scale(everyday: u64) -> u64 {
    everyday * factor()
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// The clients of librdkafka run in this very program, started again; see [`testkit::driver::shared`].
#[test]
fn driver() -> testkit::Result<()> {
    testkit::driver::serve_if_asked()
}
