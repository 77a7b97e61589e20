//! Work on threads of a lower priority, which leave the processors to requests.

use std::sync::LazyLock;

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;

/// The difference of the nice value. Such a thread gets about a tenth of the share of another one if both want a
/// processor, and all of an idle processor.
const NICER_BY: i32 = 10;
/// Work that runs at the same time; more waits.
const THREADS: usize = 4;

/// Only the threads of this runtime are used. `None` if it cannot start a thread.
static THREADS_OF_LOW_PRIORITY: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let mut builder = Builder::new_current_thread();
    builder
        .thread_name("background")
        .max_blocking_threads(THREADS)
        .on_thread_start(lower_priority)
        .build()
        .ok()
});

/// Runs blocking work. A panic of the work goes on in the caller.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let task = match &*THREADS_OF_LOW_PRIORITY {
        Some(runtime) => runtime.handle().spawn_blocking(work),
        None => spawn_blocking(work),
    };
    match task.await {
        Ok(done) => done,
        Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
    }
}

/// Lowers the priority of this thread, as Linux counts it. Other systems have one priority for the process, which stays.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        let thread = Some(gettid());
        if let Ok(nice) = getpriority_process(thread) {
            // Without it the work runs as well.
            let _ = setpriority_process(thread, nice + NICER_BY);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_work_has_a_lower_priority_and_the_caller_keeps_its_own() {
        let nice = || getpriority_process(Some(gettid())).unwrap();
        let before = nice();
        assert_eq!(run(nice).await, (before + NICER_BY).min(19));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    #[should_panic(expected = "of the work")]
    async fn a_panic_propagates_to_the_caller() {
        run(|| panic!("of the work")).await
    }
}
