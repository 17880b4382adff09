//! The upstream side: dialling brokers, logging in, and the gateway's own calls.

pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod dial;
pub(crate) mod measure;
pub(crate) mod pool;
pub(crate) mod sasl;
pub(crate) mod suspect;

pub(crate) use dial::{DialError, Dialer, Leg, Login};
