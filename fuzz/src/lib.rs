//! What the fuzz targets share: their bodies, their seeds, and an allocator that watches.
//!
//! The modules about the wire are also compiled into `crates/wire/tests/fuzz_lite.rs`, which runs them at a reduced
//! scale with every `cargo test`.

pub mod bodies;
pub mod identity;
pub mod identity_seeds;
pub mod logins;
pub mod logins_seeds;
pub mod seeds;
#[cfg(feature = "typed")]
pub mod typed;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bodies::Guard;

/// The system's allocator; remembers the largest request while [`Watching`] looks.
pub struct WatchedSystem;

/// Fails when the guarded code asks for more memory at once than it may.
pub struct Watching;

static ARMED: AtomicBool = AtomicBool::new(false);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

impl Guard for Watching {
    fn within<T>(&self, largest: usize, work: impl FnOnce() -> T) -> T {
        LARGEST.store(0, Ordering::Relaxed);
        ARMED.store(true, Ordering::Relaxed);
        let result = work();
        ARMED.store(false, Ordering::Relaxed);
        let seen = LARGEST.load(Ordering::Relaxed);
        assert!(
            seen <= largest,
            "asked for {seen} bytes at once, {largest} allowed"
        );
        result
    }
}

fn watch(size: usize) {
    if ARMED.load(Ordering::Relaxed) {
        LARGEST.fetch_max(size, Ordering::Relaxed);
    }
}

// SAFETY: every call goes unchanged to `System`, which upholds the contract; `watch` only touches atomics and does not
// allocate.
unsafe impl GlobalAlloc for WatchedSystem {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        watch(size);
        unsafe { System.realloc(pointer, layout, size) }
    }
}
