//! What the admin API has answered survives the sudden death of the gateway, and nothing is ever there by half.
//!
//! Several clients write virtual clusters, alias topics, accounts and groups at once. Again and again the gateway is
//! killed in the middle of it (SIGKILL) and started again in front of the same Kafka. Then every resource has to be what the last
//! answer said; one whose last request was never answered may be what it was before or what it should have become,
//! and nothing else.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`front`] | Kafka, the gateway that is killed, its admin API |
//! | [`resource`] | resources, and how two states of one are told apart |
//! | [`writer`] | a client that writes, and what it believes to be stored |
//! | [`kills`] | the test |
//! | [`many`] | a start with a great many resources |
//!
//! `SLUICEGATE_TEST_WRITES` is the number of answered requests, 400 if unset; the full proof takes 10000.
//! `SLUICEGATE_TEST_RESOURCES` is the number of resources at that start, 2000 if unset; the full proof takes 100000.
//! `SLUICEGATE_TEST_SEED` repeats the choices of a run.

mod front;
mod kills;
mod many;
#[path = "../shared/message.rs"]
mod message;
mod resource;
mod writer;
