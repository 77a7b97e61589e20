//! Blocking work in async code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::error::Error;
use crate::program;

/// Runs blocking work on another thread. When dropped, it kills the programs of the work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let waiting = Waiting::default();
    let given_up = Arc::clone(&waiting.given_up);
    let done = tokio::task::spawn_blocking(|| program::unless(given_up, work)).await;
    done.unwrap_or_else(|error| Err(Error::internal("a worker thread has ended early", error)))
}

/// The caller of the work; dropping it aborts the work.
#[derive(Default)]
struct Waiting {
    given_up: Arc<AtomicBool>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.given_up.store(true, SeqCst);
    }
}

/// Runs blocking work on this thread, while the other tasks of the runtime go on.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use edgesentry_rs::error::Fault;

    use super::*;

    #[tokio::test]
    async fn a_worker_that_panics_is_a_bug_and_not_usage() {
        let error = blocking::<()>(|| panic!("a bug")).await.unwrap_err();
        assert_eq!((error.code(), error.fault()), ("internal", Fault::Internal));
        assert!(error.describe().contains("please report it"), "{}", error.describe());
    }

    #[test]
    fn cancelled_work_ends_its_program() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let started = folder.path().join("started");
        let mut command = Command::new("sh");
        command.args(["-c", "touch $0; exec sleep 600"]).arg(&started);
        runtime.block_on(async {
            let work = blocking(move || program::done(&mut command, Duration::from_secs(600)));
            let is_started = async {
                while !started.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                done = work => panic!("{done:?}"),
                () = is_started => {}
            }
        });
        // Waits for the thread, whose program has 10 minutes left.
        drop(runtime);
    }
}
