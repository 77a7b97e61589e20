//! Progress on stderr, printed by a thread of its own from the counters of the core.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use edgesentry_formats::Progress;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::output::complain;
use crate::text::{count, number};

/// When progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum When {
    /// If stderr is a terminal.
    Auto,
    /// Always; as lines if stderr is not a terminal.
    Always,
    /// Never.
    Never,
}

/// Runs `work` and shows its progress.
pub(crate) fn show<T>(when: When, work: impl FnOnce(&Arc<Progress>) -> T) -> T {
    let progress = Arc::new(Progress::default());
    let is_terminal = std::io::stderr().is_terminal();
    if when == When::Never || (when == When::Auto && !is_terminal) {
        return work(&progress);
    }
    std::thread::scope(|scope| {
        let (running, ended) = channel::<()>();
        let counters = &progress;
        scope.spawn(move || if is_terminal { draw(counters, &ended) } else { tell(counters, &ended) });
        let result = work(counters);
        drop(running);
        result
    })
}

fn draw(progress: &Progress, ended: &Receiver<()>) {
    let bar = ProgressBar::new(0);
    let style = |template| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
    };
    bar.set_style(style("{spinner} {msg}"));
    let begin = Instant::now();
    while waits(ended, Duration::from_millis(100)) {
        // The size of a ledger is unknown.
        if progress.total_bytes() > 0 && bar.length() == Some(0) {
            bar.set_style(style("{spinner} {msg}  {wide_bar} {bytes} of {total_bytes}  {eta} left"));
            bar.set_length(progress.total_bytes());
        }
        bar.set_position(progress.bytes());
        let records = progress.records();
        let per_second = records as f64 / begin.elapsed().as_secs_f64();
        bar.set_message(format!("{}, {}/s", count(records, "record"), number(per_second as u64)));
        bar.tick();
    }
    bar.finish_and_clear();
}

fn tell(progress: &Progress, ended: &Receiver<()>) {
    while waits(ended, Duration::from_secs(1)) {
        let (records, bytes) = (count(progress.records(), "record"), progress.bytes());
        match (bytes, progress.total_bytes()) {
            (0, 0) => complain(&records),
            (bytes, 0) => complain(&format!("{records}, {}", HumanBytes(bytes))),
            (bytes, total) => complain(&format!("{records}, {} of {}", HumanBytes(bytes), HumanBytes(total))),
        }
    }
}

/// Waits for a while; returns false once the work has ended.
fn waits(ended: &Receiver<()>, time: Duration) -> bool {
    ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}
