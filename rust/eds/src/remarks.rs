//! How much the command says on stderr besides errors: `--quiet` and `--verbose`.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::output::complain;

static QUIET: AtomicBool = AtomicBool::new(false);
static VERBOSE: AtomicU8 = AtomicU8::new(0);

/// Applies `--quiet`, and the number of `--verbose`.
pub(crate) fn set(quiet: bool, verbose: u8) {
    QUIET.store(quiet, Ordering::Relaxed);
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Returns an environment variable that is set under its name or under a former one.
pub(crate) fn variable(name: &str, former: &str) -> Option<String> {
    let value = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    value(name).or_else(|| {
        let value = value(former)?;
        remark(&format!(
            "warning: the variable {former} is now {name}; the next release removes the old name"
        ));
        Some(value)
    })
}

/// Writes a remark for people.
pub(crate) fn remark(line: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        complain(line);
    }
}

/// Returns the default filter of logs: `usual`, or the next one with more events for each `--verbose`.
pub(crate) fn log_filter(usual: &'static str) -> &'static str {
    const FILTERS: [&str; 4] = ["off", "edgesentry_rs=info", "edgesentry_rs=debug", "edgesentry_rs=trace"];
    let steps = usize::from(VERBOSE.load(Ordering::Relaxed));
    match FILTERS.iter().position(|filter| *filter == usual) {
        Some(place) => FILTERS[(place + steps).min(FILTERS.len() - 1)],
        None => usual,
    }
}
