//! The Kafka protocol as data. No I/O.
//!
//! A generated table ([`schema`]) holds every message of every API version. Small interpreters run over bytes with it:
//!
//! | module | what it does |
//! | --- | --- |
//! | [`api`] | API keys, their versions, their names |
//! | [`header`] | request and response headers |
//! | [`plan`] | compiles what a caller is interested in, once for each message and version |
//! | [`walk`] | validates a whole body, visits its fields of interest, without allocation |
//! | [`rewrite`] | changes fields, giving patches and untouched slices |
//! | [`stream`] | validates a body of which only a window is in memory |
//! | [`tap`] | reads along while a body passes by in pieces |
//! | [`tree`] | whole messages as trees, for what has to be understood and changed |
//! | [`elements`] | how much there is in a body |
//! | [`reply`] | parts of answers out of parts of requests |
//! | [`build`] | default and error bodies |
//! | [`testing`] | random valid bodies, for tests and fuzz targets |
//! | [`records`] | record batches, which the protocol treats as bytes |
//!
//! Throughout, a *body* is what follows the header of a request or response; lengths are bytes.

pub mod api;
pub mod build;
mod cursor;
pub mod elements;
pub mod error_code;
pub mod header;
pub mod plan;
pub mod records;
pub mod reply;
pub mod rewrite;
pub mod schema;
pub mod stream;
pub mod tap;
pub mod testing;
pub mod tree;
pub mod varint;
pub mod walk;

pub use schema::generated::KAFKA_VERSION;
