//! The number of worker threads.

use std::num::NonZero;
use std::sync::Once;

/// The maximum number of threads.
const MAX_THREADS: usize = 1024;

/// Returns the number of threads of a verification: the requested number; else `RAYON_NUM_THREADS`; else
/// `OMP_NUM_THREADS`, with which job queues, notebooks and process pools share cores, but no more than the available
/// cores; else the available cores. The CPU limit of a container counts as that number of cores.
pub fn thread_count(asked: Option<usize>) -> usize {
    let variable = |name| std::env::var(name).ok();
    decide(asked, variable("RAYON_NUM_THREADS"), variable("OMP_NUM_THREADS"), available())
}

/// Applies [`thread_count`] to the global thread pool, unless that pool already exists.
pub fn limit_shared_threads() {
    static LIMITED: Once = Once::new();
    // An error means that the pool already exists.
    LIMITED
        .call_once(|| drop(rayon::ThreadPoolBuilder::new().num_threads(thread_count(None)).build_global()));
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn decide(asked: Option<usize>, rayon: Option<String>, omp: Option<String>, available: usize) -> usize {
    // OpenMP accepts a list, one number for each level of nesting.
    let number =
        |text: &str| text.split(',').next()?.trim().parse::<usize>().ok().filter(|number| *number > 0);
    let rayon = || number(&rayon?);
    let omp = || Some(number(&omp?)?.min(available));
    asked.or_else(rayon).or_else(omp).unwrap_or(available).clamp(1, MAX_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_decides() {
        let text = |text: &str| Some(text.to_owned());
        for (asked, rayon, omp, expected) in [
            (None, None, None, 8),
            (None, None, text("1"), 1),
            (None, None, text("3,2"), 3),
            (None, text("5"), text("1"), 5),
            (Some(2), text("5"), text("1"), 2),
            // RAYON_NUM_THREADS and an argument may exceed the number of cores.
            (None, text("12"), None, 12),
            (Some(16), None, None, 16),
            (None, None, text("64"), 8),
            // Text that is not a number above 0 is ignored.
            (None, text(""), text("2"), 2),
            (None, text("0"), text("many"), 8),
            (None, text("-1"), text("99999999999999999999"), 8),
            (Some(usize::MAX), None, None, MAX_THREADS),
        ] {
            assert_eq!(decide(asked, rayon.clone(), omp.clone(), 8), expected, "{asked:?} {rayon:?} {omp:?}");
        }
    }
}
