//! Unmodified clients through the gateway, against real Kafka clusters.
//!
//! `SLUICEGATE_TEST_DIRECT=1` lets the same tests speak to the brokers without a gateway: a test that
//! fails there too says nothing about the gateway.

mod admin;
mod front;
mod groups;
mod share;
mod smoke;
mod transactions;
mod verifiable;
