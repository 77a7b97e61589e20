//! Ctrl-C, SIGTERM and a closed terminal end the process at once, or ask work that must clean up to end. A signal
//! that the process was started to ignore, as by `nohup` or in the background of a script, stays ignored.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::exit::Exit;
use crate::output::complain;

/// Signals within this interval count as one.
const REPEAT_INTERVAL: Duration = Duration::from_millis(300);

/// Whether a caller waits for a request to end.
static WAITED_FOR: AtomicBool = AtomicBool::new(false);
/// Whether the end was requested.
static ASKED: AtomicBool = AtomicBool::new(false);
/// Whether SIGHUP is handled in place of ending the process.
static HANGUPS_TAKEN: AtomicBool = AtomicBool::new(false);
/// Notified of every SIGHUP while it is handled.
static HANGUP: Notify = Notify::const_new();

/// Handles Ctrl-C from now on.
pub(crate) fn answer() {
    // A second call in the process finds the thread running, which suffices.
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Without the thread the system's default action applies.
        let _ = start();
    });
}

fn start() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals {
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: unless_ignored(SignalKind::hangup())?,
            asked_at: None,
        }
    };
    let listen = move || runtime.block_on(async { while signals.next().await {} });
    std::thread::Builder::new().name("eds-signals".into()).spawn(listen)?;
    Ok(())
}

/// Listens for a signal, unless the process was started to ignore it.
fn unless_ignored(kind: SignalKind) -> std::io::Result<Option<Signal>> {
    if is_ignored(kind) { Ok(None) } else { signal(kind).map(Some) }
}

/// Returns true if a signal is ignored now; false if the system does not report it.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // The lowest bit is signal 1.
    u32::try_from(kind.as_raw_value() - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

/// Waits for the next signal, forever if it is ignored.
async fn next_of(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// The signals that ask a process to end.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Signal,
    hangup: Option<Signal>,
    /// The time of the first request to end.
    asked_at: Option<Instant>,
}

impl Signals {
    /// Handles the next signal; returns false if no more will come.
    async fn next(&mut self) -> bool {
        let (came, is_hangup) = tokio::select! {
            came = next_of(&mut self.interrupt) => (came, false),
            came = self.terminate.recv() => (came, false),
            came = next_of(&mut self.hangup) => (came, true),
        };
        if is_hangup && HANGUPS_TAKEN.load(SeqCst) {
            HANGUP.notify_one();
        } else if came.is_some() && !self.asks_for_the_end() {
            edgesentry_formats::remove_unfinished();
            crate::keys::restore_terminal();
            complain("\ninterrupted: the work was not finished, so there is no verdict");
            std::process::exit(Exit::Interrupted.code().into());
        }
        came.is_some()
    }

    /// Returns true if a caller waits for the request and will end the work. A second request ends the process at
    /// once; one that reaches the process and then its group counts once.
    fn asks_for_the_end(&mut self) -> bool {
        if !WAITED_FOR.load(SeqCst) {
            return false;
        }
        if !ASKED.swap(true, SeqCst) {
            self.asked_at = Some(Instant::now());
            return true;
        }
        self.asked_at.is_some_and(|at| at.elapsed() < REPEAT_INTERVAL)
    }
}

/// Runs `work` unless Ctrl-C comes first; then it drops `work` and returns `None`.
pub(crate) async fn unless_asked<T>(work: impl Future<Output = T>) -> Option<T> {
    let asked = asked();
    let done = tokio::select! {
        done = work => Some(done),
        () = asked => None,
    };
    WAITED_FOR.store(false, SeqCst);
    done
}

/// Waits for Ctrl-C, which does not end the process from the call on, not only from the first poll on: call it before
/// the service is announced.
pub(crate) fn asked() -> impl Future<Output = ()> + Send + 'static {
    ASKED.store(false, SeqCst);
    WAITED_FOR.store(true, SeqCst);
    async {
        while !ASKED.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Receives SIGHUP, which no longer ends the process.
pub(crate) struct Hangups {
    /// The listener if the process was started to ignore the signal, so that it has no other effect.
    ignored: Option<Signal>,
}

impl Hangups {
    /// Handles SIGHUP from now on, within a runtime.
    pub(crate) fn take() -> Hangups {
        HANGUPS_TAKEN.store(true, SeqCst);
        let hangup = SignalKind::hangup();
        // Without the signal there is nothing to handle, and the process goes on.
        Hangups { ignored: if is_ignored(hangup) { signal(hangup).ok() } else { None } }
    }

    /// Waits for the next one; several in the meantime count as one.
    pub(crate) async fn next(&mut self) {
        match &mut self.ignored {
            // It ends with the process.
            Some(signal) => drop(signal.recv().await),
            None => HANGUP.notified().await,
        }
    }
}

impl Drop for Hangups {
    fn drop(&mut self) {
        HANGUPS_TAKEN.store(false, SeqCst);
    }
}
