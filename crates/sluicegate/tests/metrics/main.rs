//! Metrics from the outside: what happened, as clients and relays saw it, against what a scrape says.
//!
//! One Kafka cluster and two gateways serve all tests, one test at a time, so that differences of two scrapes are those of one test.

mod connections;
mod health;
mod identities;
mod load;
#[path = "../shared/message.rs"]
mod message;
mod mixed;
mod names;
mod nodes;
mod offsets;
mod pool;
mod process;
#[path = "../shared/records.rs"]
mod records;
mod requests;
mod rights;
mod scrape;
mod stages;
mod topics;
mod waits;
mod world;
