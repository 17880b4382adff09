//! The gateway decides as brokers do: the same lists are given to brokers with their own authorizer and to a gateway in
//! front of them, and everybody asks both.
//!
//! The brokers take the gateway for a super user. So a client that comes to them directly hears their decision, and one
//! that comes through the gateway hears the gateway's.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`world`] | brokers, gateway, clients |
//! | [`principals`] | who asks, and the lists |
//! | [`fixtures`] | topics, groups, a transaction |
//! | [`questions`] | the requests of each API key |
//! | [`equivalence`] | everybody asks everything |
//! | [`differences`] | what may differ |
//! | [`manage`] | the lists themselves, through the APIs and the tool |
//! | [`bare`] | a gateway without rights |
//! | [`effects`] | changes act at once, and last |

mod bare;
mod differences;
mod effects;
mod equivalence;
mod fixtures;
mod manage;
#[path = "../shared/message.rs"]
mod message;
#[path = "../shared/normal.rs"]
mod normal;
mod principals;
mod questions;
#[path = "../shared/records.rs"]
mod records;
mod relaying;
#[path = "../shared/versions.rs"]
mod versions;
#[path = "../shared/way.rs"]
mod way;
mod world;
