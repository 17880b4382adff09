//! Memory for frames that are held as a whole, shared fairly between tenants.
//!
//! A frame is a [`Claim`] on behalf of a tenant: it says how many bytes it needs at most, takes them in steps as they
//! come, and gives all of them back when it is dropped. The memory is in two parts:
//!
//! * The *main part*, seven eighths. One tenant may use all of it.
//! * The *reserve*, one eighth, for small frames of tenants that hold little. There a frame takes all that it needs at
//!   once, if its tenant then holds no more than three times what is left.
//!
//! Who cannot have more waits. Those who wait are served in the order of what their tenant holds, then of what their
//! connection holds, then of their arrival: who holds nothing comes before all that somebody who fills the memory has
//! queued. While one waits for the main part, no frame that comes later in this order begins there; frames that have begun go on.
//!
//! What is small and cannot wait ([`Account::take`]) has memory of its own, without a reserve: by the same rule, a tenant then holds no
//! more than three times what is left of all.
//!
//! **Why there is no deadlock.** Frames that have a part of what they need could fill the memory so that none ever gets the
//! rest. Banks that lend to builders know this problem, and their answer is taken here (Dijkstra's banker's algorithm): memory is
//! given only if afterwards there is an order in which all who have begun can complete, each with what is free and what
//! those before it give back. The first in that order needs no more than what is free and may pass those who have
//! not begun, so nothing holds it up. A frame in the reserve has all it needs. One that could never have enough is refused at once.
//!
//! **Why nobody holds on for ever.** To complete takes a client that sends the rest, or takes the answer. While others wait
//! for memory, who holds some has to get on: [`Progress`] tells of those who do not, and their connections end.
//!
//! **What an innocent tenant is guaranteed.** If it holds nothing, a frame that needs up to three quarters of the reserve goes
//! on at once, whatever one other tenant does; with several such, up to three quarters of what they leave. A larger frame
//! is the next to begin, and those who have begun before are through within [`ALL_OF_IT`] or have lost what they held.

mod bank;

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use bank::Bank;

/// How often those who hold memory that others wait for are looked at.
const PATIENCE: Duration = Duration::from_secs(5);

/// Within this time all of a frame has to have moved while others wait for memory.
pub(crate) const ALL_OF_IT: Duration = Duration::from_secs(60);

/// A frame has claims of so many times its size at most: for what is made of it, too.
const CLAIMED_AT_MOST: u64 = 3;

/// A number of bytes that tenants share.
#[derive(Clone)]
pub(crate) struct FairShare(Arc<Inner>);

struct Inner {
    bank: Mutex<Bank>,
    /// Claims that wait, to be seen without the lock.
    waiting: AtomicUsize,
}

/// The right of a connection to claim memory on behalf of its tenant.
#[derive(Clone)]
pub(crate) struct Account {
    share: FairShare,
    holder: Arc<Holder>,
}

/// Whom a claim is for.
struct Holder {
    tenant: Arc<str>,
    /// Bytes that the connection holds.
    held: AtomicU64,
}

/// Memory for one frame.
pub(crate) struct Claim {
    share: FairShare,
    id: u64,
    since: Instant,
}

impl FairShare {
    /// Shares out so many bytes.
    pub(crate) fn new(bytes: u64) -> FairShare {
        FairShare::of(Bank::new(bytes))
    }

    /// Shares out so many bytes to those who take them at once or not at all.
    pub(crate) fn without_waiting(bytes: u64) -> FairShare {
        FairShare::of(Bank::without_waiting(bytes))
    }

    fn of(bank: Bank) -> FairShare {
        FairShare(Arc::new(Inner {
            bank: Mutex::new(bank),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// An account for one connection of a tenant.
    pub(crate) fn account(&self, tenant: &Arc<str>) -> Account {
        Account {
            share: self.clone(),
            holder: Arc::new(Holder {
                tenant: tenant.clone(),
                held: AtomicU64::new(0),
            }),
        }
    }

    /// Whether somebody waits for memory.
    fn is_wanted(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    fn with<T>(&self, act: impl FnOnce(&mut Bank) -> T) -> T {
        let mut bank = self.0.bank.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut bank);
        self.0.waiting.store(bank.waiting(), Ordering::Relaxed);
        result
    }
}

impl Account {
    /// Claims memory for a frame that needs up to `need` bytes, and takes none yet. `None`: more than there ever are.
    pub(crate) fn claim(&self, need: usize) -> Option<Claim> {
        let need = u64::try_from(need).ok()?;
        let id = self.share.with(|bank| bank.open(&self.holder, need))?;
        Some(self.claimed(id))
    }

    /// Takes `bytes` at once, of a share in which nobody waits. `None`: the tenant would have more than its part.
    pub(crate) fn take(&self, bytes: usize) -> Option<Claim> {
        let bytes = u64::try_from(bytes).ok()?;
        let id = self.share.with(|bank| bank.take(&self.holder, bytes))?;
        Some(self.claimed(id))
    }

    fn claimed(&self, id: u64) -> Claim {
        Claim {
            share: self.share.clone(),
            id,
            since: Instant::now(),
        }
    }

    /// Whether the connection holds some memory.
    pub(crate) fn holds_any(&self) -> bool {
        self.holds() > 0
    }

    fn holds(&self) -> u64 {
        self.holder.held.load(Ordering::Relaxed)
    }

    /// Watches somebody who has to move `bytes`, and whatever else the connection comes to hold meanwhile.
    pub(crate) fn progress(&self, bytes: usize) -> Progress<'_> {
        let progress = Progress {
            account: self,
            bytes: bytes as u64,
            moved: Cell::new(0),
            look_at: Cell::new(Instant::now()),
            was_missed: Cell::new(false),
        };
        progress.restart();
        progress
    }
}

impl Claim {
    /// Waits until it holds `bytes`, which are no more than it needs.
    pub(crate) async fn grow_to(&mut self, bytes: usize) {
        self.share
            .with(|bank| bank.ask(self.id, Some(bytes as u64)));
        self.served().await;
    }

    /// Waits until it holds all that it needs.
    pub(crate) async fn take_all(&mut self) {
        self.share.with(|bank| bank.ask(self.id, None));
        self.served().await;
    }

    /// Who gives up meanwhile drops the claim, too.
    async fn served(&self) {
        poll_fn(|context| {
            match self
                .share
                .with(|bank| bank.is_served(self.id, context.waker()))
            {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Ends when it is held for longer than [`ALL_OF_IT`] and others wait.
    pub(crate) async fn overstays(&self) {
        let mut look_at = self.since + ALL_OF_IT;
        loop {
            sleep_until(look_at).await;
            if self.share.is_wanted() {
                return;
            }
            look_at = Instant::now() + PATIENCE;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.share.with(|bank| bank.close(self.id));
    }
}

/// Whether somebody gets on who holds memory: fast enough to be through within [`ALL_OF_IT`].
pub(crate) struct Progress<'a> {
    account: &'a Account,
    /// Bytes to be moved in all.
    bytes: u64,
    moved: Cell<u64>,
    look_at: Cell<Instant>,
    /// Others waited for what it held when it was last looked at.
    was_missed: Cell<bool>,
}

impl Progress<'_> {
    /// So many bytes have moved.
    pub(crate) fn moved(&self, bytes: usize) {
        self.moved
            .set(self.moved.get().saturating_add(bytes as u64));
    }

    /// Looks at it from now on.
    pub(crate) fn restart(&self) {
        self.moved.set(0);
        self.look_at.set(Instant::now() + PATIENCE);
        self.was_missed.set(self.is_missed());
    }

    /// Ends when too little has moved while others waited for what is held.
    pub(crate) async fn stalls(&self) {
        loop {
            sleep_until(self.look_at.get()).await;
            let is_slow = self.moved.get() < self.due();
            let was_missed = self.was_missed.get();
            self.restart();
            if is_slow && was_missed && self.was_missed.get() {
                return;
            }
        }
    }

    /// Bytes to be moved until it is looked at. Memory is claimed before it is known what has to move, and more than that.
    fn due(&self) -> u64 {
        let steps = ALL_OF_IT.as_secs() / PATIENCE.as_secs();
        let bytes = self.bytes.max(self.account.holds() / CLAIMED_AT_MOST);
        (bytes / steps).max(1)
    }

    fn is_missed(&self) -> bool {
        self.account.holds_any() && self.account.share.is_wanted()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::{timeout, timeout_at};

    use super::*;

    const KIB: usize = 1024;

    fn account(share: &FairShare, tenant: &str) -> Account {
        share.account(&Arc::from(tenant))
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_when_memory_is_given_back() {
        let share = FairShare::new(800);
        let (one, other) = (account(&share, "one"), account(&share, "other"));
        let mut first = one.claim(700).unwrap();
        first.take_all().await;
        assert!(one.holds_any() && !other.holds_any());
        let mut second = other.claim(400).unwrap();
        let waits = timeout(Duration::from_secs(1), second.take_all()).await;
        assert!(waits.is_err() && share.is_wanted());
        let waiting = tokio::spawn(async move {
            second.take_all().await;
            second
        });
        tokio::task::yield_now().await;
        drop(first);
        let second = waiting.await.unwrap();
        assert!(other.holds_any() && !one.holds_any() && !share.is_wanted());
        drop(second);
        assert!(!other.holds_any());
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_never_fits_is_refused() {
        let share = FairShare::new(800);
        let one = account(&share, "one");
        assert!(one.claim(701).is_none());
        one.claim(700).unwrap().take_all().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_get_on_loses_only_while_others_wait() {
        let share = FairShare::new(800 * KIB as u64);
        let one = account(&share, "one");
        let mut held = one.claim(700 * KIB).unwrap();
        held.take_all().await;
        let slow = one.progress(700 * KIB);
        let nobody_waits = timeout(10 * ALL_OF_IT, slow.stalls()).await;
        assert!(nobody_waits.is_err());

        let other = account(&share, "other");
        let waiting = tokio::spawn(async move {
            other.claim(400 * KIB).unwrap().take_all().await;
        });
        tokio::task::yield_now().await;
        let fast = one.progress(700 * KIB);
        let moving = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                fast.moved(15 * KIB);
            }
        };
        let moves = async {
            tokio::select! {
                () = fast.stalls() => {}
                () = moving => {}
            }
        };
        assert!(timeout(ALL_OF_IT, moves).await.is_err());
        let bound = Instant::now() + 2 * PATIENCE;
        assert!(timeout_at(bound, slow.stalls()).await.is_ok());
        drop(held);
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_to_be_held_meanwhile_has_to_get_on_too() {
        let share = FairShare::new(800 * KIB as u64);
        let (one, other) = (account(&share, "one"), account(&share, "other"));
        let trickling = one.progress(KIB);
        let trickle = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                trickling.moved(KIB);
            }
        };
        let stalls = async {
            tokio::select! {
                () = trickling.stalls() => {}
                () = trickle => {}
            }
        };
        let mut stalls = pin!(stalls);
        let wait = |share: &FairShare, tenant| {
            let account = account(share, tenant);
            tokio::spawn(async move { account.claim(400 * KIB).unwrap().take_all().await })
        };
        let mut first = other.claim(700 * KIB).unwrap();
        first.take_all().await;
        let waiting = wait(&share, "third");
        let holds_nothing = timeout(ALL_OF_IT, stalls.as_mut()).await;
        assert!(holds_nothing.is_err());
        drop(first);
        waiting.await.unwrap();

        let mut held = one.claim(600 * KIB).unwrap();
        held.take_all().await;
        let waiting = wait(&share, "third");
        assert!(timeout(3 * PATIENCE, stalls).await.is_ok());
        drop(held);
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_for_longer_than_allowed_while_others_wait() {
        let share = FairShare::new(800);
        let one = account(&share, "one");
        let mut held = one.claim(700).unwrap();
        held.take_all().await;
        assert!(timeout(2 * ALL_OF_IT, held.overstays()).await.is_err());
        let other = account(&share, "other");
        let waiting = tokio::spawn(async move { other.claim(400).unwrap().take_all().await });
        assert!(timeout(2 * PATIENCE, held.overstays()).await.is_ok());
        drop(held);
        waiting.await.unwrap();
    }
}
