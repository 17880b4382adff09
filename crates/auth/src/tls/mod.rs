//! Keys, certificates and the TLS configurations made of them.
//!
//! A store is read by what it contains, never by its declared type or its file name: Java writes
//! PKCS#12 under names ending in `.jks` and loads it under type `JKS`.

pub mod chain;
pub mod client;
pub mod jks;
pub mod material;
pub mod pem;
pub mod pkcs12;
mod verify;
