//! Nothing of a virtual cluster is heard in another one.
//!
//! Two users of one virtual cluster, one of them its super user, send every version of every API, aimed at everything that is
//! not theirs: at another virtual cluster, at one whose name begins like theirs, at one that was deleted, at topics of
//! nobody and at those of the gateway. Whatever they hear, to the last byte before a connection is closed, is searched
//! for what they cannot know. Afterwards Kafka is asked whether anything of the others has changed.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`names`] | who is who, and how things of each are called |
//! | [`line`] | connections, to Kafka and through the gateway |
//! | [`world`] | brokers, gateway, virtual clusters, accounts |
//! | [`fixtures`] | topics, groups and transactions of each |
//! | [`sessions`] | fetch sessions that are somebody else's |
//! | [`aim`] | requests |
//! | [`pools`] | what they are aimed at |
//! | [`search`] | what must not be in an answer |
//! | [`holdings`] | what Kafka says about the others |
//! | [`attack`] | the test |
//! | [`control`] | what Kafka itself says is found by the same search |
//!
//! `SLUICEGATE_TEST_LEAK_REQUESTS` is the number of requests, 2000 if unset; the full proof takes 100000.
//! `SLUICEGATE_TEST_SEED` repeats a run.

mod aim;
mod attack;
mod control;
mod fixtures;
mod holdings;
mod line;
#[path = "../shared/message.rs"]
mod message;
mod names;
mod pools;
#[path = "../shared/records.rs"]
mod records;
mod search;
mod sessions;
mod world;
