#![doc = include_str!("../README.md")]

pub mod access;
pub mod cert;
pub mod cluster;
mod compile;
pub mod dirs;
pub mod driver;
mod error;
pub mod gateway;
pub mod http;
pub mod java;
pub mod librdkafka;
mod maven;
pub mod oauth;
pub mod owner;
pub mod ports;
pub mod process;
pub mod programs;
pub mod raw;
pub mod relay;
pub mod release;
pub mod shared;
pub mod verify;
pub mod wait;

pub use access::{Access, Login};
pub use cluster::{ClusterOptions, KafkaCluster, Listener};
pub use error::{Error, Result};
pub use gateway::{Gateway, GatewayOptions};
pub use java::{JavaTool, Tool};
pub use rdkafka;
pub use relay::{Door, Mode, Relay, Way};
pub use release::Release;
