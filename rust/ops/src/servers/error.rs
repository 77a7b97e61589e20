//! Why a server of a drill does not do what it should.

use std::io;

/// A server is missing, does not start, or does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The program is not installed.
    #[error(
        "{program} is missing: no folder of PATH has it; install it (on Debian: apt install {package}) and try again"
    )]
    Missing {
        /// The program.
        program: &'static str,
        /// The package of Debian that brings it.
        package: &'static str,
    },
    /// The program could not be started at all.
    #[error("{program}: cannot start it")]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It has ended by itself.
    #[error("{program} has ended by itself; the end of its log: {last_words}")]
    Ended {
        /// The program.
        program: &'static str,
        /// The end of its log.
        last_words: String,
    },
    /// It lives and does not answer.
    #[error("{program} is not ready after {seconds} s; the end of its log: {last_words}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// The end of its log.
        last_words: String,
    },
    /// A request to it failed.
    #[error("{url}: {problem}")]
    Request {
        /// What was asked.
        url: String,
        /// What came instead of an answer.
        problem: String,
    },
}
