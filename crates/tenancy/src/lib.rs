//! Virtual clusters: several logical Kafka clusters on one physical cluster.
//!
//! Pure functions over names and bodies: no I/O, no state.

mod name;
mod prefix;

pub use name::{NameFault, check_name};
pub use prefix::Prefixes;
