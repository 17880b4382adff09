//! Who is given memory, and in which order; see the module above for why.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::Holder;

/// The reserve is this part of the whole.
const RESERVE: u64 = 8;

/// A tenant that takes from the reserve holds at most so many times what is left of it.
const TIMES_WHAT_IS_LEFT: u64 = 3;

/// Waiting frames of one tenant among which one that fits the reserve is looked for.
const LOOK_AHEAD: usize = 16;

/// What there is, who holds it, and who waits.
pub(super) struct Bank {
    main: u64,
    free: u64,
    reserve: u64,
    tenants: HashMap<Arc<str>, TenantState>,
    claims: HashMap<u64, ClaimState>,
    /// Claims that hold some of the main part.
    begun: BTreeSet<u64>,
    waiting: usize,
    next: u64,
}

#[derive(Default)]
struct TenantState {
    held: u64,
    claims: usize,
    /// Claims that wait to begin: what their connection held when they asked, and who they are, in the order of arrival.
    queue: BTreeSet<(u64, u64)>,
}

struct ClaimState {
    holder: Arc<Holder>,
    need: u64,
    held: u64,
    from_reserve: bool,
    /// Bytes more that it waits for.
    wants: u64,
    /// Its place in the queue of its tenant.
    place: Option<(u64, u64)>,
    waker: Option<Waker>,
}

impl ClaimState {
    fn rest(&self) -> u64 {
        self.need - self.held
    }
}

impl Bank {
    pub(super) fn new(bytes: u64) -> Bank {
        let reserve = bytes / RESERVE;
        Bank {
            main: bytes - reserve,
            free: bytes - reserve,
            reserve,
            tenants: HashMap::new(),
            claims: HashMap::new(),
            begun: BTreeSet::new(),
            waiting: 0,
            next: 0,
        }
    }

    /// One without a reserve, for claims that never wait.
    pub(super) fn without_waiting(bytes: u64) -> Bank {
        Bank {
            main: bytes,
            free: bytes,
            reserve: 0,
            ..Bank::new(0)
        }
    }

    /// Claims that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// A new claim that holds nothing. `None`: it needs more than there ever is.
    pub(super) fn open(&mut self, holder: &Arc<Holder>, need: u64) -> Option<u64> {
        if need > self.main {
            return None;
        }
        let id = self.next;
        self.next += 1;
        let tenant = self.tenants.entry(holder.tenant.clone()).or_default();
        tenant.claims += 1;
        let claim = ClaimState {
            holder: holder.clone(),
            need,
            held: 0,
            from_reserve: false,
            wants: 0,
            place: None,
            waker: None,
        };
        self.claims.insert(id, claim);
        Some(id)
    }

    /// Asks for `bytes` in all, or for everything that the claim needs.
    pub(super) fn ask(&mut self, id: u64, bytes: Option<u64>) {
        let Some(claim) = self.claims.get_mut(&id) else {
            return;
        };
        let goal = bytes.unwrap_or(claim.need).min(claim.need);
        let wants = goal.saturating_sub(claim.held);
        if wants == 0 || claim.wants > 0 {
            return;
        }
        claim.wants = wants;
        self.waiting += 1;
        if claim.held == 0 {
            let place = (claim.holder.held.load(Ordering::Relaxed), id);
            claim.place = Some(place);
            if let Some(tenant) = self.tenants.get_mut(&claim.holder.tenant) {
                tenant.queue.insert(place);
            }
        }
        self.serve();
    }

    /// A claim that holds all of `need`, where nobody waits. `None`: its tenant would then hold too many times what is left.
    pub(super) fn take(&mut self, holder: &Arc<Holder>, need: u64) -> Option<u64> {
        let left = self.free.checked_sub(need)?;
        let held = self.tenants.get(&holder.tenant).map_or(0, |t| t.held);
        if held + need > TIMES_WHAT_IS_LEFT * left {
            return None;
        }
        let id = self.open(holder, need)?;
        self.claims.get_mut(&id)?.wants = need;
        self.waiting += 1;
        self.lend(id, false);
        Some(id)
    }

    /// Whether the claim waits no more; else `waker` is woken when that comes.
    pub(super) fn is_served(&mut self, id: u64, waker: &Waker) -> bool {
        match self.claims.get_mut(&id) {
            Some(claim) if claim.wants > 0 => {
                claim.waker = Some(waker.clone());
                false
            }
            _ => true,
        }
    }

    /// Takes everything back.
    pub(super) fn close(&mut self, id: u64) {
        let Some(claim) = self.claims.remove(&id) else {
            return;
        };
        self.begun.remove(&id);
        self.waiting -= usize::from(claim.wants > 0);
        match claim.from_reserve {
            true => self.reserve += claim.held,
            false => self.free += claim.held,
        }
        claim.holder.held.fetch_sub(claim.held, Ordering::Relaxed);
        if let Some(tenant) = self.tenants.get_mut(&claim.holder.tenant) {
            tenant.held -= claim.held;
            tenant.claims -= 1;
            if let Some(place) = claim.place {
                tenant.queue.remove(&place);
            }
            if tenant.claims == 0 {
                self.tenants.remove(&claim.holder.tenant);
            }
        }
        self.serve();
    }

    fn serve(&mut self) {
        while self.waiting > 0 {
            if let Some(id) = self.next_of_main() {
                self.lend(id, false);
            } else if let Some(id) = self.next_of_reserve() {
                self.lend(id, true);
            } else {
                break;
            }
        }
    }

    /// The first of those who wait for the main part who may be given something.
    fn next_of_main(&self) -> Option<u64> {
        let began = self.begun.iter().filter_map(|id| {
            let claim = self.claims.get(id).filter(|claim| claim.wants > 0)?;
            let tenant = self.tenants.get(&claim.holder.tenant)?;
            let connection = claim.holder.held.load(Ordering::Relaxed);
            Some((tenant.held, connection, *id, true))
        });
        let begin = self.tenants.values().filter_map(|tenant| {
            let (connection, id) = tenant.queue.first()?;
            Some((tenant.held, *connection, *id, false))
        });
        let mut order: Vec<_> = began.chain(begin).collect();
        order.sort_unstable();
        let mut somebody_waits = false;
        for (_, _, id, has_begun) in order {
            if somebody_waits && !has_begun {
                continue;
            }
            if self.may_have(id) {
                return Some(id);
            }
            somebody_waits = true;
        }
        None
    }

    /// Whether what the claim wants is there, and all who have begun could still complete without it.
    fn may_have(&self, id: u64) -> bool {
        let Some(claim) = self.claims.get(&id) else {
            return false;
        };
        if claim.wants > self.free {
            return false;
        }
        if claim.rest() <= self.free {
            return true; // it completes first, and then all is as before
        }
        let others = self.begun.iter().filter(|other| **other != id);
        let mut loans: Vec<_> = others
            .filter_map(|other| self.claims.get(other))
            .map(|other| (other.rest(), other.held))
            .collect();
        loans.push((claim.rest() - claim.wants, claim.held + claim.wants));
        loans.sort_unstable_by_key(|(rest, held)| (*rest, Reverse(*held)));
        let mut free = self.free - claim.wants;
        loans.into_iter().all(|(rest, held)| {
            let completes = rest <= free;
            free += held;
            completes
        })
    }

    /// The first of those who wait who fits the reserve.
    fn next_of_reserve(&self) -> Option<u64> {
        let mut tenants: Vec<_> = self.tenants.values().collect();
        tenants.retain(|tenant| !tenant.queue.is_empty());
        tenants.sort_unstable_by_key(|tenant| tenant.held);
        tenants.into_iter().find_map(|tenant| {
            let mut first = tenant.queue.iter().take(LOOK_AHEAD).map(|(_, id)| *id);
            first.find(|id| {
                let need = self.claims.get(id).map_or(u64::MAX, |claim| claim.need);
                let left = self.reserve.checked_sub(need);
                left.is_some_and(|left| tenant.held + need <= TIMES_WHAT_IS_LEFT * left)
            })
        })
    }

    fn lend(&mut self, id: u64, from_reserve: bool) {
        let Some(claim) = self.claims.get_mut(&id) else {
            return;
        };
        let bytes = match from_reserve {
            true => claim.rest(),
            false => claim.wants,
        };
        match from_reserve {
            true => self.reserve -= bytes,
            false => {
                self.free -= bytes;
                self.begun.insert(id);
            }
        }
        claim.from_reserve = from_reserve;
        claim.held += bytes;
        claim.wants = 0;
        self.waiting -= 1;
        claim.holder.held.fetch_add(bytes, Ordering::Relaxed);
        if let Some(tenant) = self.tenants.get_mut(&claim.holder.tenant) {
            tenant.held += bytes;
            if let Some(place) = claim.place.take() {
                tenant.queue.remove(&place);
            }
        }
        if let Some(waker) = claim.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// 700 in the main part, 100 in the reserve.
    fn bank() -> Bank {
        Bank::new(800)
    }

    fn holder(tenant: &str) -> Arc<Holder> {
        Arc::new(Holder {
            tenant: tenant.into(),
            held: AtomicU64::new(0),
        })
    }

    fn claim(bank: &mut Bank, tenant: &str, need: u64) -> u64 {
        bank.open(&holder(tenant), need).unwrap()
    }

    /// A claim that asks for `bytes` at once.
    fn asking(bank: &mut Bank, tenant: &str, need: u64, bytes: u64) -> u64 {
        let id = claim(bank, tenant, need);
        bank.ask(id, Some(bytes));
        id
    }

    fn waits(bank: &Bank, id: u64) -> bool {
        bank.claims[&id].wants > 0
    }

    #[test]
    fn one_tenant_may_use_the_main_part() {
        let mut bank = bank();
        let ids: Vec<_> = (0..8).map(|_| asking(&mut bank, "a", 100, 100)).collect();
        assert!(ids[..7].iter().all(|id| !waits(&bank, *id)));
        assert!(waits(&bank, ids[7]), "the reserve is for others");
        assert!(bank.open(&holder("a"), 701).is_none());
        bank.close(ids[3]);
        assert!(!waits(&bank, ids[7]));
        ids.into_iter().for_each(|id| bank.close(id));
        assert_eq!((bank.free, bank.reserve, bank.waiting), (700, 100, 0));
        assert!(bank.tenants.is_empty() && bank.claims.is_empty() && bank.begun.is_empty());
    }

    #[test]
    fn small_frames_of_others_go_on() {
        let mut bank = bank();
        asking(&mut bank, "a", 700, 700);
        let queued: Vec<_> = (0..50).map(|_| asking(&mut bank, "a", 10, 10)).collect();
        assert!(queued.iter().all(|id| waits(&bank, *id)));
        let large = asking(&mut bank, "b", 300, 20);
        assert!(waits(&bank, large), "it could not complete in the reserve");
        let small = asking(&mut bank, "b", 75, 10);
        assert!(!waits(&bank, small));
        assert_eq!(bank.claims[&small].held, 75, "all of it at once");
        let third = asking(&mut bank, "c", 15, 15);
        assert!(!waits(&bank, third), "of what the second has left");
    }

    #[test]
    fn the_least_served_tenant_is_next() {
        let mut bank = bank();
        let (first, second) = (
            asking(&mut bank, "a", 350, 350),
            asking(&mut bank, "a", 350, 350),
        );
        let queued = asking(&mut bank, "a", 350, 350);
        let innocent = asking(&mut bank, "b", 350, 350);
        bank.close(first);
        assert!(waits(&bank, queued) && !waits(&bank, innocent));
        bank.close(second);
        assert!(!waits(&bank, queued));
    }

    #[test]
    fn nothing_begins_before_those_whose_turn_it_is() {
        let mut bank = bank();
        let held = asking(&mut bank, "a", 500, 500);
        let large = asking(&mut bank, "b", 600, 600);
        let later = asking(&mut bank, "a", 100, 100);
        assert!(
            waits(&bank, large) && waits(&bank, later),
            "there is room for one only"
        );
        bank.close(held);
        assert!(!waits(&bank, large));
    }

    /// Ten that have begun and need all: one after the other gets it, and none waits for ever.
    #[test]
    fn partial_frames_do_not_block_each_other() {
        let mut bank = bank();
        let mut begun: Vec<_> = (0..10)
            .map(|n| asking(&mut bank, ["a", "b"][n % 2], 600, 100))
            .collect();
        let mut rounds = 0;
        while !begun.is_empty() {
            rounds += 1;
            assert!(rounds < 200, "no progress");
            let able: Vec<_> = begun
                .iter()
                .copied()
                .filter(|id| !waits(&bank, *id))
                .collect();
            assert!(!able.is_empty(), "all wait: {} free", bank.free);
            for id in able {
                let held = bank.claims[&id].held;
                if held == 600 {
                    bank.close(id);
                    begun.retain(|other| *other != id);
                } else {
                    bank.ask(id, Some(held + 50));
                }
            }
        }
        assert_eq!(bank.free, 700);
    }

    #[test]
    fn who_does_not_wait_leaves_something_for_others() {
        let mut bank = Bank::without_waiting(800);
        let (one, other) = (holder("a"), holder("b"));
        let ids: Vec<_> = std::iter::from_fn(|| bank.take(&one, 10)).collect();
        assert_eq!(ids.len(), 60, "the greater part");
        assert!(
            bank.take(&holder("a"), 1).is_none(),
            "the tenant has it all"
        );
        assert!(bank.take(&other, 151).is_none());
        let normal = bank.take(&other, 150).unwrap();
        let third = bank.take(&holder("c"), 30).unwrap();
        ids.into_iter()
            .chain([normal, third])
            .for_each(|id| bank.close(id));
        assert_eq!((bank.free, bank.waiting), (800, 0));
        assert!(bank.tenants.is_empty() && bank.claims.is_empty() && bank.begun.is_empty());
    }

    #[test]
    fn who_gives_up_leaves_the_queue() {
        let mut bank = bank();
        let held = asking(&mut bank, "a", 700, 700);
        let gone = asking(&mut bank, "b", 700, 700);
        let next = asking(&mut bank, "c", 700, 700);
        bank.close(gone);
        assert!(waits(&bank, next));
        bank.close(held);
        assert!(!waits(&bank, next));
        assert_eq!(bank.waiting, 0);
    }
}
