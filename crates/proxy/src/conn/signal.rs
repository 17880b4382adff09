//! How the parts of a connection tell each other of things: one task polls them in a fixed order, so no locks are needed, and often nobody has
//! to be woken.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Raised by a part that is polled before the one that waits for it: whenever the former has been polled, the latter looks.
#[derive(Default)]
pub(super) struct Flag(Cell<bool>);

impl Flag {
    pub(super) fn raise(&self) {
        self.0.set(true);
    }

    /// Waits until it is raised, and lowers it.
    pub(super) async fn raised(&self) {
        holds(|| self.0.take()).await;
    }
}

/// Waits for what a part brings about that is polled before the one that waits.
pub(super) async fn holds(condition: impl Fn() -> bool) {
    poll_fn(|_| match condition() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// Rung by a part that is polled after the one that waits for it. One waits at a time.
#[derive(Default)]
pub(super) struct Bell {
    waiting: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    /// Makes who waits look again.
    pub(super) fn ring(&self) {
        if self.waiting.take()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Waits until `condition` holds. Whoever brings that about rings.
    pub(super) async fn until(&self, condition: impl Fn() -> bool) {
        poll_fn(|context| {
            if condition() {
                return Poll::Ready(());
            }
            self.waiting.set(true);
            keep(&mut self.waker.borrow_mut(), context);
            Poll::Pending
        })
        .await;
    }
}

fn keep(slot: &mut Option<Waker>, context: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(context.waker()) => {}
        _ => *slot = Some(context.waker().clone()),
    }
}

/// A future that is polled when something has happened to it, and not whenever its task is: what it waits for is shared with other threads
/// and costs locks to look at.
pub(super) struct Apart<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken {
    since: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F: Future> Apart<F> {
    pub(super) fn new(future: F) -> Apart<F> {
        let woken = Arc::new(Woken {
            since: AtomicBool::new(true),
            task: Mutex::new(None),
        });
        Apart {
            future: Box::pin(future),
            waker: Waker::from(Arc::clone(&woken)),
            woken,
        }
    }
}

impl<F: Future> Future for Apart<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.woken.since.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let this = &mut *self;
        let mut task = this
            .woken
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keep(&mut task, context);
        drop(task);
        let mut own = Context::from_waker(&this.waker);
        this.future.as_mut().poll(&mut own)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.since.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*task {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_told() {
        let flag = Flag::default();
        let bell = Bell::default();
        let count = Cell::new(0);
        let steps = RefCell::new(Vec::new());
        tokio::join!(
            biased;
            async {
                bell.until(|| count.get() >= 2).await;
                steps.borrow_mut().push("two");
                flag.raise();
            },
            async {
                for _ in 0..2 {
                    tokio::task::yield_now().await;
                    count.set(count.get() + 1);
                    bell.ring();
                }
                flag.raised().await;
                steps.borrow_mut().push("raised");
            }
        );
        assert_eq!(steps.into_inner(), ["two", "raised"]);
    }

    #[tokio::test]
    async fn what_is_apart_is_polled_when_it_is_woken() {
        let (sender, mut receiver) = watch::channel(0);
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let mut apart = Apart::new(async move {
            let changed = receiver.changed();
            let mut changed = std::pin::pin!(changed);
            poll_fn(|context| {
                counted.set(counted.get() + 1);
                changed.as_mut().poll(context)
            })
            .await
        });
        for _ in 0..10 {
            tokio::select! {
                biased;
                _ = &mut apart => panic!("nothing has changed"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(polls.get(), 1);
        let other = std::thread::spawn(move || {
            sender.send_replace(1);
            sender
        });
        apart.await.expect("the sender is there");
        assert_eq!(polls.get(), 2);
        drop(other.join());
    }
}
