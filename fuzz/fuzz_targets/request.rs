#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_fuzz::{WatchedSystem, Watching, bodies};

#[global_allocator]
static ALLOCATOR: WatchedSystem = WatchedSystem;

fuzz_target!(|data: &[u8]| {
    let _accepted = bodies::request(data, &Watching);
    #[cfg(feature = "typed")]
    if let Some(accepted) = _accepted {
        sluicegate_fuzz::typed::decoder_survives(&accepted, &Watching);
    }
});
