//! A value that one reader at a time renews, for any number of pages.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The longest time for which an expensive value is not read again, also if the read failed.
const MAX_REST: Duration = Duration::from_secs(60);

/// A value with the time at which it was read.
#[derive(Clone, Debug)]
pub(super) struct Read<T> {
    pub(super) value: T,
    at: Instant,
}

impl<T> Read<T> {
    /// Returns the age of the value.
    pub(super) fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

/// The last value of a source.
pub(super) struct Kept<T> {
    last: watch::Sender<Option<Arc<Read<T>>>>,
    reading: Arc<AtomicBool>,
    /// The duration of the last read.
    cost: Arc<Mutex<Duration>>,
    /// A value is kept for so many times this duration.
    rest: u32,
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// Creates a source that is not read again for `rest` times the duration of its last read, at most [`MAX_REST`].
    pub(super) fn new(rest: u32) -> Kept<T> {
        Kept { last: watch::Sender::new(None), reading: Arc::default(), cost: Arc::default(), rest }
    }

    /// Returns the last value. If it is older than `fresh`, a task reads it again; the call waits for it no longer than
    /// `patience`.
    pub(super) async fn get<F>(
        &self,
        fresh: Duration,
        patience: Duration,
        read: impl FnOnce() -> F,
    ) -> Option<Arc<Read<T>>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let last = self.last.borrow().clone();
        let cost = *self.cost.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .as_ref()
            .is_some_and(|last| last.age() < fresh.max(cost.saturating_mul(self.rest).min(MAX_REST)))
        {
            return last;
        }
        let mut renewed = self.last.subscribe();
        renewed.mark_unchanged();
        if !self.reading.swap(true, Ordering::AcqRel) {
            let (sender, cost) = (self.last.clone(), Arc::clone(&self.cost));
            let reading = Reading(Arc::clone(&self.reading));
            let read = read();
            tokio::spawn(async move {
                let at = Instant::now();
                let value = read.await;
                *cost.lock().unwrap_or_else(PoisonError::into_inner) = at.elapsed();
                sender.send_replace(Some(Arc::new(Read { value, at: Instant::now() })));
                drop(reading);
            });
        }
        // After the patience, the caller gets the value before.
        let _ = tokio::time::timeout(patience, renewed.changed()).await;
        self.last.borrow().clone()
    }
}

/// Ends with the read, also if it panics.
struct Reading(Arc<AtomicBool>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn one_read_serves_all() {
        let (kept, reads) = (Arc::new(Kept::new(0)), Arc::new(AtomicUsize::new(0)));
        let gets = (0..10).map(|_| {
            let (kept, reads) = (Arc::clone(&kept), Arc::clone(&reads));
            async move { kept.get(LONG, LONG, || async move { reads.fetch_add(1, Ordering::SeqCst) }).await }
        });
        let values = futures::future::join_all(gets).await;
        assert!(values.iter().all(|value| value.as_ref().is_some_and(|read| read.value == 0)));
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_source_that_hangs_costs_the_patience_once_each_and_one_task() {
        let kept = Kept::new(0);
        assert_eq!(kept.get(Duration::ZERO, LONG, || async { 1 }).await.unwrap().value, 1);
        for _ in 0..3 {
            let read = kept.get(Duration::ZERO, Duration::from_millis(1), std::future::pending::<i32>).await;
            assert_eq!(read.unwrap().value, 1);
        }
        let empty = Kept::<i32>::new(0);
        assert!(empty.get(LONG, Duration::from_millis(1), std::future::pending::<i32>).await.is_none());
    }
}
