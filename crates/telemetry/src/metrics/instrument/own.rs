//! Figures that many threads add to without meeting: each thread that adds often has a cell of its own.
//!
//! A cell has one writer, so that adding to it is a load and a store; a shared figure costs a locked operation, and the cache line moves
//! between the cores. Readers add up the cells. A cell that its thread has let go of is added to the common one, exactly once, under
//! the lock that readers hold as well: sums never go back.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Cells that were let go of are looked for when there are so many.
const TIDY_AT: usize = 16;

/// What can be counted apart and added up.
pub trait Addable: Default + std::fmt::Debug + Send + Sync + 'static {
    /// Adds what `other` holds; both may have other writers.
    fn absorb(&self, other: &Self);
}

/// A figure: a cell for everybody, and those of single threads.
#[derive(Debug, Default)]
pub(super) struct Cells<C> {
    common: C,
    own: Mutex<Vec<Arc<C>>>,
}

impl<C: Addable> Cells<C> {
    /// The cell that everybody may add to, by atomic operations.
    pub(super) fn common(&self) -> &C {
        &self.common
    }

    /// A cell for this thread.
    pub(super) fn lease(&self) -> Own<C> {
        let cell = Arc::new(C::default());
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.len() >= TIDY_AT && own.len() == own.capacity() {
            self.tidy(&mut own);
        }
        own.push(Arc::clone(&cell));
        Own {
            cell,
            thread: PhantomData,
        }
    }

    /// Calls `each` with every cell, of one moment as far as cells that were let go of are concerned.
    pub(super) fn for_each(&self, mut each: impl FnMut(&C)) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        self.tidy(&mut own);
        each(&self.common);
        own.iter().for_each(|cell| each(cell));
    }

    /// Whether a thread has a cell.
    pub(super) fn is_leased(&self) -> bool {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.iter().any(|cell| Arc::strong_count(cell) > 1)
    }

    fn tidy(&self, own: &mut Vec<Arc<C>>) {
        let mut at = 0;
        while let Some(cell) = own.get(at) {
            if Arc::strong_count(cell) > 1 {
                at += 1;
                continue;
            }
            // Unwrapping waits for what the thread that let go has written.
            if let Ok(cell) = Arc::try_unwrap(own.swap_remove(at)) {
                self.common.absorb(&cell);
            }
        }
    }
}

/// A cell of one thread, which it and its clones cannot leave. The figure is counted in the series that it was taken from.
#[derive(Debug)]
pub struct Own<C> {
    cell: Arc<C>,
    /// Not `Send`: all clones are on one thread, so that there is one writer.
    thread: PhantomData<Rc<()>>,
}

impl<C> Clone for Own<C> {
    fn clone(&self) -> Self {
        Self {
            cell: Arc::clone(&self.cell),
            thread: PhantomData,
        }
    }
}

impl<C> Own<C> {
    pub(super) fn cell(&self) -> &C {
        &self.cell
    }
}

/// Adds to a cell that has no other writer.
pub(super) fn add(cell: &AtomicU64, count: u64) {
    let sum = cell.load(Ordering::Relaxed).wrapping_add(count);
    cell.store(sum, Ordering::Relaxed);
}

impl Own<AtomicU64> {
    /// Counts one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts several.
    pub fn add(&self, count: u64) {
        if super::UNCOUNTED {
            return;
        }
        add(&self.cell, count);
    }
}

impl Own<AtomicI64> {
    /// One more.
    pub fn inc(&self) {
        self.change(1);
    }

    /// One less.
    pub fn dec(&self) {
        self.change(-1);
    }

    fn change(&self, by: i64) {
        let sum = self.cell.load(Ordering::Relaxed).wrapping_add(by);
        self.cell.store(sum, Ordering::Relaxed);
    }
}

impl Addable for AtomicU64 {
    fn absorb(&self, other: &Self) {
        self.fetch_add(other.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Addable for AtomicI64 {
    fn absorb(&self, other: &Self) {
        self.fetch_add(other.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn sum(cells: &Cells<AtomicU64>) -> u64 {
        let mut sum = 0;
        cells.for_each(|cell| sum += cell.load(Ordering::Relaxed));
        sum
    }

    #[test]
    fn sums_are_exact_and_never_go_back() {
        const THREADS: u64 = 4;
        const ROUNDS: u64 = 200;
        let cells = Arc::new(Cells::<AtomicU64>::default());
        let done = Arc::new(AtomicBool::new(false));
        let reader = {
            let (cells, done) = (Arc::clone(&cells), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let now = sum(&cells);
                    assert!(now >= last, "{now} after {last}");
                    last = now;
                }
            })
        };
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let cells = Arc::clone(&cells);
                std::thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        let own = cells.lease();
                        let same = own.clone();
                        for _ in 0..50 {
                            own.inc();
                            same.add(1);
                        }
                        cells.common().fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("no panic");
        assert_eq!(sum(&cells), THREADS * ROUNDS * 101);
        let own = cells.lease();
        assert!(cells.is_leased());
        drop(own);
        assert!(!cells.is_leased());
    }

    #[test]
    fn cells_that_were_let_go_of_take_no_place() {
        let cells = Cells::<AtomicU64>::default();
        for _ in 0..1000 {
            cells.lease().inc();
        }
        let kept = cells.own.lock().expect("whole").capacity();
        assert!(kept <= 2 * TIDY_AT, "{kept}");
        assert_eq!(sum(&cells), 1000);
    }
}
