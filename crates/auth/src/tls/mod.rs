//! Keys, certificates and the TLS configurations made of them.
//!
//! A store is read by what it contains, never by its declared type or its file name: Java writes
//! PKCS#12 under names ending in `.jks` and loads it under type `JKS`.

pub mod chain;
pub mod client;
pub mod jks;
pub mod mapping;
pub mod material;
mod names;
pub mod pem;
pub mod pkcs12;
pub mod server;
pub mod subject;
mod verify;
mod verify_client;

pub use subject::subject_name;
