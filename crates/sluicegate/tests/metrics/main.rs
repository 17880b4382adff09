//! Metrics from the outside: what happened, as clients and relays saw it, against what a scrape says.
//!
//! One Kafka cluster and two gateways serve all tests, one test at a time, so that differences of two scrapes are those of one test.

mod connections;
mod health;
mod identities;
mod process;
mod requests;
mod scrape;
mod stages;
mod world;
