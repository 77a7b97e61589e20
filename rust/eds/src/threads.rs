//! The threads of a command.

use std::fmt::Display;

use edgesentry_formats::thread_count;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::{Builder, Runtime};

use crate::exit::Failure;

/// The runtime of stores and services.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(cannot_start)
}

/// The threads of a verification; by default one a core.
pub(crate) fn pool(threads: Option<usize>) -> Result<ThreadPool, Failure> {
    ThreadPoolBuilder::new().num_threads(thread_count(threads)).build().map_err(cannot_start)
}

fn cannot_start(error: impl Display) -> Failure {
    Failure::unfinished("threads", format!("cannot start threads: {error}"))
}
