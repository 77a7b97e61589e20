//! Ctrl-C, SIGTERM or a terminal that is gone: they end the process at once, or ask work that must clean up behind
//! itself to end.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::exit::Exit;
use crate::output::complain;

/// Signals that come so close together are one.
const TOGETHER: Duration = Duration::from_millis(300);

/// Whether somebody waits to be asked.
static WAITED_FOR: AtomicBool = AtomicBool::new(false);
/// Whether Ctrl-C has come meanwhile.
static ASKED: AtomicBool = AtomicBool::new(false);
/// Whether SIGHUP asks for something else than the end.
static HANGUPS_TAKEN: AtomicBool = AtomicBool::new(false);
/// Told of every SIGHUP while they are taken.
static HANGUP: Notify = Notify::const_new();

/// Answers Ctrl-C from now on.
pub(crate) fn answer() {
    // A second call in one process finds the thread already there, which serves as well.
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Without the thread a signal does what the system has it do.
        let _ = start();
    });
}

fn start() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            asked_at: None,
        }
    };
    let listen = move || runtime.block_on(async { while signals.next().await {} });
    std::thread::Builder::new().name("eds-signals".into()).spawn(listen)?;
    Ok(())
}

/// What asks a process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// When the end was asked for.
    asked_at: Option<Instant>,
}

impl Signals {
    /// Answers the next one; false where none will come any more.
    async fn next(&mut self) -> bool {
        let (came, is_hangup) = tokio::select! {
            came = self.interrupt.recv() => (came, false),
            came = self.terminate.recv() => (came, false),
            came = self.hangup.recv() => (came, true),
        };
        if is_hangup && HANGUPS_TAKEN.load(SeqCst) {
            HANGUP.notify_one();
        } else if came.is_some() && !self.asks_for_the_end() {
            edgesentry_formats::remove_unfinished();
            complain("\ninterrupted: the work was not finished, so there is no verdict");
            std::process::exit(Exit::Interrupted.code().into());
        }
        came.is_some()
    }

    /// Whether somebody waits for it and will see to the end. Whoever asks twice does not want to wait; one who asks
    /// the process and then its group asks once.
    fn asks_for_the_end(&mut self) -> bool {
        if !WAITED_FOR.load(SeqCst) {
            return false;
        }
        if !ASKED.swap(true, SeqCst) {
            self.asked_at = Some(Instant::now());
            return true;
        }
        self.asked_at.is_some_and(|at| at.elapsed() < TOGETHER)
    }
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

/// SIGHUP for whoever holds this; it no longer asks for the end.
pub(crate) struct Hangups(());

impl Hangups {
    pub(crate) fn take() -> Hangups {
        HANGUPS_TAKEN.store(true, SeqCst);
        Hangups(())
    }

    /// Waits for the next one; several that came meanwhile are one.
    pub(crate) async fn next(&mut self) {
        HANGUP.notified().await;
    }
}

impl Drop for Hangups {
    fn drop(&mut self) {
        HANGUPS_TAKEN.store(false, SeqCst);
    }
}
