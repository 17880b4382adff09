//! The commands for people: `apply`, `get`, `delete` and `token`, as processes.

mod gateway;
mod program;
mod scripted;
