//! The time as columns hold it.

use edgesentry_formats::times;

/// Returns the current time in Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    times::now_ms().cast_signed()
}
