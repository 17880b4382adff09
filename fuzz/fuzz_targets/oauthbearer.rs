#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_fuzz::{WatchedSystem, Watching, logins};

#[global_allocator]
static ALLOCATOR: WatchedSystem = WatchedSystem;

fuzz_target!(|data: &[u8]| logins::oauthbearer(data, &Watching));
