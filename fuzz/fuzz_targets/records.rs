#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_fuzz::{WatchedSystem, Watching, bodies};

#[global_allocator]
static ALLOCATOR: WatchedSystem = WatchedSystem;

fuzz_target!(|data: &[u8]| {
    let _batch = bodies::records(data, &Watching);
    #[cfg(feature = "typed")]
    if let Some(batch) = _batch {
        sluicegate_fuzz::typed::records_agree(&batch, &Watching);
    }
});
