//! Why a server of a drill does not work.

use std::io;

/// A server is missing, does not start, or does not respond.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The program is not installed.
    #[error(
        "{program} is missing: no directory of PATH has it; install it (on Debian: apt install {package}) and try again"
    )]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that contains it.
        package: &'static str,
    },
    /// The program could not be started.
    #[error("{program}: cannot start it")]
    Start {
        /// The program.
        program: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The program has ended by itself.
    #[error("{program} has ended by itself; the end of its log: {last_words}")]
    Ended {
        /// The program.
        program: &'static str,
        /// The end of its log.
        last_words: String,
    },
    /// The program runs but does not respond.
    #[error("{program} is not ready after {seconds} s; the end of its log: {last_words}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// The time waited, seconds.
        seconds: u64,
        /// The end of its log.
        last_words: String,
    },
    /// A request to it failed.
    #[error("{url}: {problem}")]
    Request {
        /// The URL.
        url: String,
        /// The problem.
        problem: String,
    },
}
