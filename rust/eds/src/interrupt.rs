//! Ctrl-C or SIGTERM: it ends the process at once, or asks work that must clean up behind itself to end.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::exit::Exit;
use crate::output::complain;

/// Whether somebody waits to be asked.
static WAITED_FOR: AtomicBool = AtomicBool::new(false);
/// Whether Ctrl-C has come meanwhile.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Answers Ctrl-C from now on.
pub(crate) fn answer() {
    // A second call in one process finds the handler already there, which serves as well.
    let _ = ctrlc::set_handler(|| {
        // Whoever asks twice does not want to wait.
        if WAITED_FOR.load(SeqCst) && !ASKED.swap(true, SeqCst) {
            return;
        }
        complain("\ninterrupted: the work was not finished, so there is no verdict");
        std::process::exit(Exit::Interrupted.code().into());
    });
}

/// Does `work` unless Ctrl-C comes first; then `work` is dropped, and answers `None`.
pub(crate) async fn unless_asked<T>(work: impl Future<Output = T>) -> Option<T> {
    let done = tokio::select! {
        done = work => Some(done),
        () = asked() => None,
    };
    WAITED_FOR.store(false, SeqCst);
    done
}

/// Waits until Ctrl-C comes; from now on it does not end the process.
pub(crate) async fn asked() {
    ASKED.store(false, SeqCst);
    WAITED_FOR.store(true, SeqCst);
    while !ASKED.load(SeqCst) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
