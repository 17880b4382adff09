#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_fuzz::{WatchedSystem, Watching, identity};

#[global_allocator]
static ALLOCATOR: WatchedSystem = WatchedSystem;

fuzz_target!(|data: &[u8]| identity::subject(data, &Watching));
