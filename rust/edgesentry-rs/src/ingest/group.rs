//! Calls that share one piece of work: a task takes all waiting units, processes them at once, and returns a result to
//! each.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, Span};

use crate::telemetry::metrics::{Metrics, Queue, Waiting};

/// The most units that wait in a line, and as many in the channel before it.
const MAX_WAITING: usize = 1024;

/// The items of one call.
#[derive(Debug)]
pub(crate) struct Unit<T> {
    pub(crate) items: Vec<T>,
    /// The caller's span of the work.
    pub(crate) span: Span,
}

/// A unit that waits for its turn.
struct Queued<T, R> {
    unit: Unit<T>,
    answer: oneshot::Sender<R>,
    waiting: Waiting,
}

/// Groups in progress at once, in the same task.
pub(crate) struct Lanes<T> {
    /// The most groups.
    pub(crate) count: usize,
    /// The key of an item, such as its device. Items of one key are in one group at a time, in the order of their arrival.
    pub(crate) key: fn(&T) -> Option<&str>,
}

/// A queue in front of a task that works on groups.
pub(crate) struct Group<T, R> {
    queue: mpsc::Sender<Queued<T, R>>,
    metrics: Metrics,
    name: Queue,
}

impl<T: Send + 'static, R: Send + 'static> Group<T, R> {
    /// Starts the task on the current runtime. `work` gets the units of one group, in the order of arrival, and returns
    /// a result for each; a group ends with the unit that brings it to `most` items. The task ends when every handle is
    /// dropped and the queue is empty.
    pub(crate) fn start<W, F>(most: usize, metrics: (&Metrics, Queue), work: W) -> Group<T, R>
    where
        W: FnMut(Vec<Unit<T>>) -> F + Send + 'static,
        F: Future<Output = Vec<R>> + Send,
    {
        Group::start_lanes(most, Lanes { count: 1, key: |_| None }, metrics, work)
    }

    /// Like [`Group::start`], with several groups at once.
    pub(crate) fn start_lanes<W, F>(
        most: usize,
        lanes: Lanes<T>,
        (metrics, name): (&Metrics, Queue),
        mut work: W,
    ) -> Group<T, R>
    where
        W: FnMut(Vec<Unit<T>>) -> F + Send + 'static,
        F: Future<Output = Vec<R>> + Send,
    {
        let (queue, mut arriving) = mpsc::channel::<Queued<T, R>>(MAX_WAITING);
        tokio::spawn(async move {
            let mut line = Line::new(lanes.key);
            let mut in_progress = FuturesUnordered::new();
            let mut units_in_progress = 0;
            let mut is_open = true;
            loop {
                while line.len() < MAX_WAITING
                    && let Ok(queued) = arriving.try_recv()
                {
                    line.add(queued);
                }
                // A further group begins when as many units wait as are in progress: small groups cost more than they gain.
                while in_progress.len() < lanes.count
                    && line.len() >= units_in_progress
                    && let Some((group, keys)) = line.next_group(most)
                {
                    let count = group.len();
                    units_in_progress += count;
                    let mut units = Vec::with_capacity(count);
                    let mut answers = Vec::with_capacity(count);
                    for Queued { unit, answer, waiting } in group {
                        drop(waiting);
                        units.push(unit);
                        answers.push(answer);
                    }
                    let results = work(units);
                    in_progress.push(async move {
                        for (answer, result) in answers.into_iter().zip(results.await) {
                            // The caller may be gone; stored records stay stored.
                            let _ = answer.send(result);
                        }
                        (keys, count)
                    });
                }
                tokio::select! {
                    Some((keys, count)) = in_progress.next() => {
                        line.release(&keys);
                        units_in_progress -= count;
                    }
                    queued = arriving.recv(), if is_open && line.len() < MAX_WAITING => match queued {
                        Some(queued) => line.add(queued),
                        None => is_open = false,
                    },
                    else => break,
                }
            }
        });
        Group { queue, metrics: metrics.clone(), name }
    }

    /// Submits items and waits for their result, within `span`; returns `None` if the task has ended.
    pub(crate) async fn submit(&self, items: Vec<T>, span: Span) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        let waiting = self.metrics.waiting(self.name, items.len());
        let queued = Queued { unit: Unit { items, span: span.clone() }, answer, waiting };
        let submit = async {
            self.queue.send(queued).await.ok()?;
            answered.await.ok()
        };
        submit.instrument(span).await
    }
}

/// Hashes of keys. Two keys with one hash only wait for each other.
type Keys = HashSet<u64>;

/// The units that wait, and the keys of the groups in progress. An arrival, a start and an end cost O(log n) for each key of
/// the units concerned, regardless of the length of the line.
struct Line<T, R> {
    /// The units that wait, by number; numbers are in the order of arrival.
    waiting: HashMap<u64, Blocked<T, R>>,
    /// Those that may be in the next group: each of their keys is free, and no earlier unit waits for it.
    ready: BTreeSet<u64>,
    /// The keys that a group in progress has or a unit waits for.
    keys: HashMap<u64, Key>,
    next: u64,
    key: fn(&T) -> Option<&str>,
    hasher: RandomState,
}

struct Blocked<T, R> {
    queued: Queued<T, R>,
    keys: Keys,
    /// The number of its keys that are busy, or for which an earlier unit waits.
    blocked_by: usize,
}

#[derive(Default)]
struct Key {
    is_busy: bool,
    /// The units that wait for it, in the order of arrival.
    waiting: VecDeque<u64>,
}

impl<T, R> Line<T, R> {
    fn new(key: fn(&T) -> Option<&str>) -> Line<T, R> {
        Line {
            waiting: HashMap::new(),
            ready: BTreeSet::new(),
            keys: HashMap::new(),
            next: 0,
            key,
            hasher: RandomState::new(),
        }
    }

    fn len(&self) -> usize {
        self.waiting.len()
    }

    fn add(&mut self, queued: Queued<T, R>) {
        let keys = queued.unit.items.iter().filter_map(|item| (self.key)(item));
        let keys: Keys = keys.map(|key| self.hasher.hash_one(key)).collect();
        let number = self.next;
        self.next += 1;
        let mut blocked_by = 0;
        for key in &keys {
            let key = self.keys.entry(*key).or_default();
            blocked_by += usize::from(key.is_busy || !key.waiting.is_empty());
            key.waiting.push_back(number);
        }
        if blocked_by == 0 {
            self.ready.insert(number);
        }
        self.waiting.insert(number, Blocked { queued, keys, blocked_by });
    }

    /// Takes the next group, and marks its keys as busy. A unit stays in the line if a key of it is busy, or is one of a unit
    /// before it that stays.
    fn next_group(&mut self, most: usize) -> Option<(Vec<Queued<T, R>>, Keys)> {
        let (mut group, mut items) = (Vec::new(), 0);
        let mut keys = Keys::new();
        while items < most
            && let Some(unit) = self.ready.pop_first().and_then(|number| self.waiting.remove(&number))
        {
            // The units behind it may be in the same group.
            for key in &unit.keys {
                self.keys.entry(*key).or_default().waiting.pop_front();
                self.unblock(*key);
            }
            items += unit.queued.unit.items.len();
            keys.extend(unit.keys);
            group.push(unit.queued);
        }
        for key in &keys {
            let key = self.keys.entry(*key).or_default();
            key.is_busy = true;
            if let Some(number) = key.waiting.front()
                && let Some(unit) = self.waiting.get_mut(number)
            {
                unit.blocked_by += 1;
                self.ready.remove(number);
            }
        }
        (!group.is_empty()).then_some((group, keys))
    }

    fn release(&mut self, keys: &Keys) {
        for key in keys {
            if let Some(key) = self.keys.get_mut(key) {
                key.is_busy = false;
            }
            self.unblock(*key);
            if self.keys.get(key).is_some_and(|key| key.waiting.is_empty()) {
                self.keys.remove(key);
            }
        }
    }

    /// Notes that the first unit that waits for a key is no longer blocked by it.
    fn unblock(&mut self, key: u64) {
        if let Some(number) = self.keys.get(&key).and_then(|key| key.waiting.front())
            && let Some(unit) = self.waiting.get_mut(number)
        {
            unit.blocked_by -= 1;
            if unit.blocked_by == 0 {
                self.ready.insert(*number);
            }
        }
    }
}

/// Returns the span of work that callers share: part of the trace of a single caller, or a new trace that is linked
/// with those of all.
pub(crate) fn shared_span<T>(
    units: &[Unit<T>],
    new: impl FnOnce(Option<tracing::Id>, usize) -> Span,
) -> Span {
    let records = units.iter().map(|unit| unit.items.len()).sum();
    if let [unit] = units {
        return new(unit.span.id(), records);
    }
    let span = new(None, records);
    for unit in units {
        span.follows_from(&unit.span);
        unit.span.follows_from(&span);
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    type Items = Vec<&'static str>;

    fn queued(items: &[&'static str]) -> Queued<&'static str, Items> {
        let waiting = Metrics::new().waiting(Queue::Commit, items.len());
        let unit = Unit { items: items.to_vec(), span: Span::none() };
        Queued { unit, answer: oneshot::channel().0, waiting }
    }

    fn line(units: &[&[&'static str]]) -> Line<&'static str, Items> {
        let mut line = Line::new(|item| (*item != "none").then_some(*item));
        units.iter().for_each(|items| line.add(queued(items)));
        line
    }

    fn next(line: &mut Line<&'static str, Items>, most: usize) -> Option<(Vec<Items>, Keys)> {
        let (group, keys) = line.next_group(most)?;
        Some((group.into_iter().map(|queued| queued.unit.items).collect(), keys))
    }

    #[test]
    fn a_key_is_in_one_group_at_a_time_and_keeps_its_order() {
        let mut line = line(&[&["a"], &["b", "a"]]);
        let (first, of_first) = next(&mut line, 1).unwrap();
        assert_eq!(first, [["a"]]);
        line.add(queued(&["b"]));
        line.add(queued(&["c", "none"]));
        line.add(queued(&["none"]));
        // The unit of b waits behind the one that waits for a.
        let (second, of_second) = next(&mut line, 10).unwrap();
        assert_eq!(second, [vec!["c", "none"], vec!["none"]]);
        assert!(next(&mut line, 10).is_none());
        line.release(&of_second);
        assert!(next(&mut line, 10).is_none());
        line.release(&of_first);
        let (third, _) = next(&mut line, 10).unwrap();
        assert_eq!(third, [vec!["b", "a"], vec!["b"]]);
        assert_eq!(line.len(), 0);
    }

    /// The definition of a group: a scan of the whole line.
    fn scanned(waiting: &mut Vec<Items>, busy: &HashSet<&'static str>, most: usize) -> Vec<Items> {
        let (mut group, mut items, mut held) = (Vec::new(), 0, HashSet::new());
        for unit in std::mem::take(waiting) {
            let keys: HashSet<&str> = unit.iter().copied().filter(|item| *item != "none").collect();
            let is_held = !busy.is_disjoint(&keys) || !held.is_disjoint(&keys);
            if is_held {
                held.extend(keys);
            }
            if is_held || items >= most {
                waiting.push(unit);
            } else {
                items += unit.len();
                group.push(unit);
            }
        }
        group
    }

    #[test]
    fn groups_are_those_of_a_scan_of_the_line() {
        const ITEMS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "none"];
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut line = line(&[]);
        let (mut waiting, mut in_progress): (Vec<Items>, Vec<(Vec<Items>, Keys)>) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            match random(4) {
                0 | 1 => {
                    let count = 1 + random(3);
                    let items: Items = (0..count).map(|_| ITEMS[random(7) as usize]).collect();
                    line.add(queued(&items));
                    waiting.push(items);
                }
                2 => {
                    let most = 1 + random(4) as usize;
                    let busy: HashSet<&str> =
                        in_progress.iter().flat_map(|(group, _)| group.iter().flatten().copied()).collect();
                    let expected = scanned(&mut waiting, &busy, most);
                    match next(&mut line, most) {
                        Some((group, keys)) => {
                            assert_eq!(group, expected);
                            in_progress.push((group, keys));
                        }
                        None => assert!(expected.is_empty()),
                    }
                }
                _ if in_progress.is_empty() => {}
                _ => {
                    let at = random(in_progress.len() as u64) as usize;
                    let (_, keys) = in_progress.swap_remove(at);
                    line.release(&keys);
                }
            }
            assert_eq!(line.len(), waiting.len());
        }
        // No key stays behind.
        while !in_progress.is_empty() || line.len() > 0 {
            in_progress.drain(..).for_each(|(_, keys)| line.release(&keys));
            in_progress.extend(next(&mut line, 1));
        }
        assert!(line.keys.is_empty() && line.ready.is_empty());
    }

    #[test]
    fn a_group_ends_with_the_unit_that_fills_it() {
        let mut line = line(&[&["a"], &["b", "c"], &["d"]]);
        assert_eq!(next(&mut line, 2).unwrap().0, [vec!["a"], vec!["b", "c"]]);
        assert_eq!(next(&mut line, 2).unwrap().0, [["d"]]);
    }

    #[tokio::test]
    async fn groups_of_different_keys_are_in_progress_at_once() {
        let (begun, mut begins) = mpsc::unbounded_channel();
        let lanes = Lanes { count: 2, key: |item: &&'static str| Some(*item) };
        let group = Group::start_lanes(1, lanes, (&Metrics::new(), Queue::Commit), move |units| {
            let (release, released) = oneshot::channel::<()>();
            let units: Vec<Items> = units.into_iter().map(|unit: Unit<&'static str>| unit.items).collect();
            begun.send((units.clone(), release)).unwrap();
            async move {
                released.await.unwrap();
                units
            }
        });
        let submit = |item| group.submit(vec![item], Span::none());
        let work = async {
            let (a, release_a) = begins.recv().await.unwrap();
            let (b, release_b) = begins.recv().await.unwrap();
            assert_eq!((a, b), (vec![vec!["a"]], vec![vec!["b"]]));
            // Both lanes are taken.
            assert!(begins.try_recv().is_err());
            release_b.send(()).unwrap();
            let (c, release_c) = begins.recv().await.unwrap();
            assert_eq!(c, [["c"]]);
            release_a.send(()).unwrap();
            let (again, release_again) = begins.recv().await.unwrap();
            assert_eq!(again, [["a"]]);
            release_c.send(()).unwrap();
            release_again.send(()).unwrap();
        };
        let later = async {
            // Behind the first two, which are in progress.
            tokio::task::yield_now().await;
            tokio::join!(submit("c"), submit("a"))
        };
        let (a, b, (c, again), ()) = tokio::join!(submit("a"), submit("b"), later, work);
        assert_eq!([a, b, c, again].map(Option::unwrap), [["a"], ["b"], ["c"], ["a"]]);
    }
}
