//! Random bytes of the operating system.

use crate::exit::Failure;

/// Fills a buffer, such as a seed.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes).map_err(|error| {
        Failure::unfinished("random", format!("cannot get random bytes from the system: {error}"))
    })
}
