//! Calls that share one piece of work: a task takes all waiting units, processes them at once, and returns a result to
//! each.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, Span};

use crate::telemetry::metrics::{Metrics, Queue, Waiting};

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
    pub(crate) fn start<W, F>(most: usize, (metrics, name): (&Metrics, Queue), mut work: W) -> Group<T, R>
    where
        W: FnMut(Vec<Unit<T>>) -> F + Send + 'static,
        F: Future<Output = Vec<R>> + Send,
    {
        let (queue, mut waiting) = mpsc::channel::<Queued<T, R>>(1024);
        tokio::spawn(async move {
            while let Some(first) = waiting.recv().await {
                let mut total = 0;
                let (mut units, mut answers) = (Vec::new(), Vec::new());
                let mut next = Some(first);
                while let Some(Queued { unit, answer, waiting: served }) = next {
                    drop(served);
                    total += unit.items.len();
                    units.push(unit);
                    answers.push(answer);
                    next = if total < most { waiting.try_recv().ok() } else { None };
                }
                for (answer, result) in answers.into_iter().zip(work(units).await) {
                    // The caller may be gone; stored records stay stored.
                    let _ = answer.send(result);
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
