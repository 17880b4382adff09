//! Clients and brokers that misbehave, and what the gateway does about it.
//!
//! The upstream are in-memory brokers that fail on command, or a scripted broker that answers whatever a test wants, so
//! nothing here needs a Java machine. Where a figure is printed, it is one of those in `docs/limits.md`.

mod brokers;
mod drain;
mod fairness;
mod frames;
mod garbage;
mod half_close;
mod kept;
mod large;
mod limits;
mod memory;
mod neighbour;
mod order;
mod pool;
mod scripted;
mod start;
mod starve_intake;
mod starve_memory;
mod upstream;
mod world;
