//! The commands for people: `apply`, `diff`, `get`, `delete`, `token` and those that ask no gateway, as processes.

mod gateway;
mod offline;
mod program;
mod scripted;
mod trial;
