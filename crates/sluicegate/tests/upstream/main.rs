//! The gateway towards a secured Kafka cluster: encryption, credentials, refused starts, sessions that end.
//!
//! One cluster serves all tests. Its listener behind relays asks for SASL and ends sessions after
//! [`world::SESSION`]; the other listeners do not limit them.

mod accepted;
mod mistakes;
mod refused;
mod sessions;
mod world;
