//! Calls that share one piece of work: a task takes everything that waits, does it at once, and answers each.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};

/// A queue in front of a task that works on groups.
#[derive(Debug)]
pub(crate) struct Group<T, R> {
    queue: mpsc::Sender<(T, oneshot::Sender<R>)>,
}

impl<T, R> Clone for Group<T, R> {
    fn clone(&self) -> Group<T, R> {
        Group { queue: self.queue.clone() }
    }
}

impl<T: Send + 'static, R: Send + 'static> Group<T, R> {
    /// Starts the task on the current runtime. `work` gets the units of one group, in the order in which they
    /// came, and answers each; `weight` says how much of `most` a unit takes. The task ends when every handle is
    /// dropped and the queue is empty.
    pub(crate) fn start<W, F>(most: usize, weight: fn(&T) -> usize, mut work: W) -> Group<T, R>
    where
        W: FnMut(Vec<T>) -> F + Send + 'static,
        F: Future<Output = Vec<R>> + Send,
    {
        let (queue, mut waiting) = mpsc::channel::<(T, oneshot::Sender<R>)>(1024);
        tokio::spawn(async move {
            while let Some((unit, answer)) = waiting.recv().await {
                let mut total = weight(&unit);
                let (mut units, mut answers) = (vec![unit], vec![answer]);
                while total < most {
                    let Ok((unit, answer)) = waiting.try_recv() else { break };
                    total += weight(&unit);
                    units.push(unit);
                    answers.push(answer);
                }
                for (answer, result) in answers.into_iter().zip(work(units).await) {
                    // A caller that has gone away is told nothing; what was stored stays stored.
                    let _ = answer.send(result);
                }
            }
        });
        Group { queue }
    }

    /// Hands a unit in and waits for its answer; `None` when the task has ended.
    pub(crate) async fn submit(&self, unit: T) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        self.queue.send((unit, answer)).await.ok()?;
        answered.await.ok()
    }
}
