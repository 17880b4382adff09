//! Identity from the outside: every way to authenticate with clients of every kind, every refusal, keys and certificates
//! that change under load, sessions that end, a Kafka that is away.
//!
//! One Kafka cluster serves all tests, and one process for each kind of client; see [`testkit::driver`].

mod certificates;
mod front;
mod matrix;
mod outage;
mod raw;
mod reauth;
mod refused;
mod rotation;
mod world;

/// The clients of librdkafka run in this very program, started again; see [`testkit::driver::shared`].
#[test]
fn driver() -> testkit::Result<()> {
    testkit::driver::serve_if_asked()
}
