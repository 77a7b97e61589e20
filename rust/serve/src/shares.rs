//! Fair shares of a limited resource, so that no sender takes it all.
//!
//! A sender may hold no more than is left for others at that moment (Choudhury and Hahne, "Dynamic queue length
//! thresholds in a shared memory packet switch", 1996): alone it gets half, and n senders that take all they can get
//! one part in n + 1 each, which leaves as much free for the next. A sender that asks for more waits behind its own
//! requests only.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::identity::SenderKey;
use edgesentry_rs::telemetry::metrics::{Held, Metrics, Resource};

/// A limited resource that senders share.
pub(super) struct Pool {
    total: usize,
    /// The maximum of one sender; by default as much as is left for others.
    per_sender: Option<usize>,
    held: Held,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    /// Senders that hold something.
    by_sender: HashMap<SenderKey, usize>,
    /// Senders that wait for something, each in the order of its requests.
    waiting: BTreeMap<SenderKey, VecDeque<Waiting>>,
}

struct Waiting {
    amount: usize,
    granted: oneshot::Sender<Share>,
}

impl Pool {
    /// Creates a pool of which a sender may hold as much as is left for others.
    pub(super) fn new(metrics: &Metrics, resource: Resource, total: usize) -> Arc<Pool> {
        let total = total.max(1);
        let held = metrics.held(resource, total);
        Arc::new(Pool { total, per_sender: None, held, state: Mutex::default() })
    }

    /// Creates a pool of which a sender may hold `per_sender`.
    pub(super) fn limited(
        metrics: &Metrics,
        resource: Resource,
        total: usize,
        per_sender: usize,
    ) -> Arc<Pool> {
        let total = total.max(1);
        let held = metrics.held(resource, total);
        Arc::new(Pool { total, per_sender: Some(per_sender.max(1)), held, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an amount for a sender if it is available at once.
    pub(super) fn try_take(self: &Arc<Self>, sender: SenderKey, amount: usize) -> Option<Share> {
        let mut state = self.state();
        let share = self.fits(&state, sender, amount).then(|| self.grant(&mut state, sender, amount));
        drop(state);
        if share.is_none() {
            self.held.refused();
        }
        share
    }

    /// Takes an amount for a sender; waits for it no longer than `patience`.
    pub(super) async fn take(
        self: &Arc<Self>,
        sender: SenderKey,
        amount: usize,
        patience: Duration,
    ) -> Option<Share> {
        let granted = {
            let mut state = self.state();
            if !state.waiting.contains_key(&sender) && self.fits(&state, sender, amount) {
                return Some(self.grant(&mut state, sender, amount));
            }
            let (granted, grant) = oneshot::channel();
            state.waiting.entry(sender).or_default().push_back(Waiting { amount, granted });
            grant
        };
        // Also if the caller's future is dropped.
        let _tidy = Tidy { pool: self, sender };
        let share = timeout(patience, granted).await.ok().and_then(Result::ok);
        if share.is_none() {
            self.held.refused();
        }
        share
    }

    fn fits(&self, state: &State, sender: SenderKey, amount: usize) -> bool {
        let held = state.by_sender.get(&sender).copied().unwrap_or(0);
        let left = self.total - state.used;
        match self.per_sender {
            Some(per_sender) => amount <= left && held.saturating_add(amount) <= per_sender,
            // Of an odd number, the larger half.
            None => amount <= left && held + amount <= left - amount + 1,
        }
    }

    fn grant(self: &Arc<Self>, state: &mut State, sender: SenderKey, amount: usize) -> Share {
        state.used += amount;
        *state.by_sender.entry(sender).or_default() += amount;
        self.held.set(state.used);
        Share { pool: Arc::clone(self), sender, amount }
    }

    /// Returns the share of a sender to the pool, and grants waiting requests that now fit.
    fn release(self: &Arc<Self>, sender: SenderKey, amount: usize) {
        let mut state = self.state();
        state.used -= amount;
        if let Some(held) = state.by_sender.get_mut(&sender) {
            *held -= amount;
            if *held == 0 {
                state.by_sender.remove(&sender);
            }
        }
        self.held.set(state.used);
        if state.waiting.is_empty() {
            return;
        }
        let mut granted = Vec::new();
        let mut waiting = std::mem::take(&mut state.waiting);
        waiting.retain(|sender, queue| {
            while let Some(first) = queue.front() {
                // Requests that gave up are removed.
                if !first.granted.is_closed() && !self.fits(&state, *sender, first.amount) {
                    break;
                }
                let Some(first) = queue.pop_front() else { break };
                if !first.granted.is_closed() {
                    let share = self.grant(&mut state, *sender, first.amount);
                    granted.push((first.granted, share));
                }
            }
            !queue.is_empty()
        });
        state.waiting = waiting;
        drop(state);
        for (grant, share) in granted {
            // A request that gave up at this moment returns its share by dropping it.
            let _ = grant.send(share);
        }
    }
}

/// Grants the requests behind one that has ended.
struct Tidy<'a> {
    pool: &'a Arc<Pool>,
    sender: SenderKey,
}

impl Drop for Tidy<'_> {
    fn drop(&mut self) {
        self.pool.release(self.sender, 0);
    }
}

/// The share of one sender in a pool, until it is dropped.
pub(super) struct Share {
    pool: Arc<Pool>,
    sender: SenderKey,
    amount: usize,
}

impl Share {
    /// Returns the amount.
    pub(super) fn amount(&self) -> usize {
        self.amount
    }

    /// Adds a share of the same sender and pool.
    pub(super) fn merge(&mut self, mut other: Share) {
        self.amount += std::mem::take(&mut other.amount);
    }

    /// Splits off a part as a separate share.
    pub(super) fn split(&mut self, amount: usize) -> Share {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        Share { pool: Arc::clone(&self.pool), sender: self.sender, amount }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.pool.release(self.sender, self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(60);

    fn pool(total: usize) -> Arc<Pool> {
        Pool::new(&Metrics::new(), Resource::Batches, total)
    }

    fn sender(name: &str) -> SenderKey {
        SenderKey::of(name)
    }

    fn take_all(pool: &Arc<Pool>, name: &str) -> Vec<Share> {
        std::iter::from_fn(|| pool.try_take(sender(name), 1)).collect()
    }

    #[test]
    fn a_place_is_left_for_the_next_sender() {
        let pool = pool(16);
        let mut held = vec![take_all(&pool, "a")];
        assert_eq!(held[0].len(), 8);
        for name in ["b", "c", "d", "e"] {
            held.push(take_all(&pool, name));
            assert!(!held.last().unwrap().is_empty(), "{name}");
        }
        // Any sender can take the returned amount.
        held.clear();
        assert_eq!(take_all(&pool, "z").len(), 8);
        // A single piece has no half.
        assert_eq!(take_all(&super::tests::pool(1), "a").len(), 1);
    }

    #[tokio::test]
    async fn a_sender_waits_behind_its_own_requests_only() {
        let pool = pool(4);
        let mut held = take_all(&pool, "a");
        assert_eq!(held.len(), 2);
        assert!(pool.take(sender("a"), 1, NOW).await.is_none());
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let pool = Arc::clone(&pool);
                tokio::spawn(async move { pool.take(sender("a"), 1, LONG).await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(pool.take(sender("b"), 1, NOW).await.is_some());
        held.pop();
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_some());
        }
        drop(held);
        let state = pool.state();
        assert!(state.used == 0 && state.by_sender.is_empty() && state.waiting.is_empty());
    }

    #[tokio::test]
    async fn a_large_request_that_gave_up_holds_up_no_small_one() {
        let pool = pool(10);
        let held = pool.try_take(sender("a"), 4).unwrap();
        let large = pool.take(sender("a"), 5, Duration::from_millis(50));
        let small = async {
            tokio::task::yield_now().await;
            pool.take(sender("a"), 1, LONG).await.is_some()
        };
        let (large, small) = tokio::join!(large, small);
        assert!(large.is_none() && small);
        drop(held);
    }

    #[test]
    fn shares_are_split_and_merged() {
        let pool = pool(10);
        let mut share = pool.try_take(sender("a"), 4).unwrap();
        let part = share.split(3);
        assert_eq!((share.amount(), part.amount(), pool.state().used), (1, 3, 4));
        share.merge(part);
        assert_eq!((share.amount(), pool.state().used), (4, 4));
        drop(share);
        assert_eq!(pool.state().used, 0);
    }
}
