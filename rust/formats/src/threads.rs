//! How many threads work at once.

use std::num::NonZero;
use std::sync::Once;

/// The most threads that can be asked for.
const MAX_THREADS: usize = 1024;

/// How many threads a verification works on: as many as were asked for; else as `RAYON_NUM_THREADS` says; else as
/// `OMP_NUM_THREADS` says, by which job queues, notebooks and process pools share out cores, and no more than there
/// are; else one for each core that the process may use. A limit on CPU time that a container sets counts as so many
/// cores.
pub fn thread_count(asked: Option<usize>) -> usize {
    let variable = |name| std::env::var(name).ok();
    decide(asked, variable("RAYON_NUM_THREADS"), variable("OMP_NUM_THREADS"), available())
}

/// Has [`thread_count`] decide on the threads of work that runs in no pool of its own, unless such work has begun.
pub fn limit_shared_threads() {
    static LIMITED: Once = Once::new();
    // An error says that the pool is there already.
    LIMITED
        .call_once(|| drop(rayon::ThreadPoolBuilder::new().num_threads(thread_count(None)).build_global()));
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn decide(asked: Option<usize>, rayon: Option<String>, omp: Option<String>, available: usize) -> usize {
    // OpenMP takes a list, one number for each level of nesting.
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
    fn the_first_that_says_a_number_decides() {
        let text = |text: &str| Some(text.to_owned());
        for (asked, rayon, omp, expected) in [
            (None, None, None, 8),
            (None, None, text("1"), 1),
            (None, None, text("3,2"), 3),
            (None, text("5"), text("1"), 5),
            (Some(2), text("5"), text("1"), 2),
            // RAYON_NUM_THREADS and an argument may ask for more than there are cores.
            (None, text("12"), None, 12),
            (Some(16), None, None, 16),
            (None, None, text("64"), 8),
            // What is no number above 0 says nothing.
            (None, text(""), text("2"), 2),
            (None, text("0"), text("many"), 8),
            (None, text("-1"), text("99999999999999999999"), 8),
            (Some(usize::MAX), None, None, MAX_THREADS),
        ] {
            assert_eq!(decide(asked, rayon.clone(), omp.clone(), 8), expected, "{asked:?} {rayon:?} {omp:?}");
        }
    }
}
