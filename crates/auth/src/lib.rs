//! TLS material and SASL mechanisms.
//!
//! What is here so far is the gateway's own authentication towards Kafka: [`UpstreamAuth`] turns the
//! security settings of one cluster into a TLS client configuration and a SASL login. It does no
//! Kafka I/O itself: the caller carries the bytes that [`SaslExchange::step`] hands out inside
//! SaslAuthenticate requests and gives the broker's bytes back.
//!
//! ```no_run
//! # async fn login(security: &config::UpstreamSecurity) -> Result<(), Box<dyn std::error::Error>> {
//! use sluicegate_auth::{Step, UpstreamAuth};
//!
//! let auth = UpstreamAuth::new(security).map_err(|problems| format!("{problems:?}"))?;
//! if let Some(login) = auth.sasl() {
//!     let mut exchange = login.begin().await?;
//!     let mut challenge = Vec::new();
//!     while let Step::Send(bytes) = exchange.step(&challenge)? {
//!         challenge = sasl_authenticate(bytes).await;
//!     }
//! }
//! # Ok(())
//! # }
//! # async fn sasl_authenticate(_bytes: Vec<u8>) -> Vec<u8> { Vec::new() }
//! ```

pub mod accounts;
pub mod acl;
pub mod http;
pub mod sasl;
pub mod server;
pub mod tls;
mod upstream;

pub use sasl::{SaslError, SaslExchange, SaslLogin, Step};
pub use upstream::{Problem, UpstreamAuth};
