//! Ctrl-C or SIGTERM: it ends the process at once, or asks work that must clean up behind itself to end.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::exit::Exit;
use crate::output::complain;

/// Signals that come so close together are one.
const TOGETHER: Duration = Duration::from_millis(300);

/// Whether somebody waits to be asked.
static WAITED_FOR: AtomicBool = AtomicBool::new(false);
/// Whether Ctrl-C has come meanwhile.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Answers Ctrl-C from now on.
pub(crate) fn answer() {
    // A second call in one process finds the handler already there, which serves as well.
    let _ = ctrlc::set_handler(|| {
        // Whoever asks twice does not want to wait; one who asks the process and then its group asks once.
        static ASKED_AT: Mutex<Option<Instant>> = Mutex::new(None);
        let mut asked_at = ASKED_AT.lock().unwrap_or_else(PoisonError::into_inner);
        let at_once = asked_at.is_some_and(|at| at.elapsed() < TOGETHER);
        if WAITED_FOR.load(SeqCst) && (!ASKED.swap(true, SeqCst) || at_once) {
            asked_at.get_or_insert_with(Instant::now);
            return;
        }
        complain("\ninterrupted: the work was not finished, so there is no verdict");
        std::process::exit(Exit::Interrupted.code().into());
    });
}

/// Does `work` unless Ctrl-C comes first; then `work` is dropped, and answers `None`.
pub(crate) async fn unless_asked<T>(work: impl Future<Output = T>) -> Option<T> {
    let asked = asked();
    let done = tokio::select! {
        done = work => Some(done),
        () = asked => None,
    };
    WAITED_FOR.store(false, SeqCst);
    done
}

/// Waits until Ctrl-C comes. From the call on, not from the first wait on, it does not end the process: call it
/// before anybody is told that they may ask.
pub(crate) fn asked() -> impl Future<Output = ()> + Send + 'static {
    ASKED.store(false, SeqCst);
    WAITED_FOR.store(true, SeqCst);
    async {
        while !ASKED.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
