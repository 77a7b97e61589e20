//! The runtime of stores and services. Calls wait for it without holding the interpreter.

use std::future::Future;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use edgesentry_rs::Error;
use pyo3::prelude::*;
use tokio::runtime::Runtime;

use crate::errors::{
    ConfigError, EdgesentryError, ProofError, RegistryError, ServiceError, StoreError, cannot_start_threads,
    failure, sentence, signer_failure,
};
use crate::telemetry;

/// The interval at which the calling thread checks for signals.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Returns the runtime of this process, created on first use.
pub(crate) fn runtime() -> PyResult<&'static Runtime> {
    static RUNTIME: OnceLock<(u32, Runtime)> = OnceLock::new();
    let process = std::process::id();
    if RUNTIME.get().is_none() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("edgesentry-io")
            .enable_all()
            .build()
            .map_err(cannot_start_threads)?;
        // Another thread may have been faster; its runtime is then used and this one is dropped.
        if let Err((_, spare)) = RUNTIME.set((process, runtime)) {
            spare.shutdown_background();
        }
    }
    match RUNTIME.get() {
        Some((owner, runtime)) if *owner == process => Ok(runtime),
        _ => {
            let message = "the process was forked after it had opened a ledger or an outbox; fork before, or start \
                           processes with spawn";
            Err(EdgesentryError::new_err(message))
        }
    }
}

/// Runs a future on the runtime and waits for it. Ctrl-C ends the wait, not the work.
pub(crate) fn wait_on<T: Send + 'static>(
    py: Python<'_>,
    future: impl Future<Output = T> + Send + 'static,
) -> PyResult<T> {
    let (sender, mut receiver) = channel();
    let runtime = runtime()?;
    telemetry::ask_loggers(py)?;
    runtime.spawn(async move {
        // The receiver is gone after Ctrl-C.
        let _ = sender.send(future.await);
    });
    loop {
        let receiver = &mut receiver;
        let answer = py.detach(move || receiver.recv_timeout(POLL_INTERVAL));
        py.check_signals()?;
        telemetry::hand_over(py)?;
        match answer {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let message = "a task panicked; this is a bug in edgesentry, please report it";
                return Err(EdgesentryError::new_err(message));
            }
        }
    }
}

/// Returns the exception for an error of a store, a registry or the settings.
pub(crate) fn service_failure(py: Python<'_>, error: Error) -> PyErr {
    let message = sentence(&error);
    match error {
        Error::Store(error) => StoreError::new_err((message, error.is_retryable(), error.component.name())),
        Error::NotTried { .. } | Error::Stopped => {
            StoreError::new_err((message, error.is_retryable(), "audit_ledger"))
        }
        Error::Service { retryable, .. } => ServiceError::new_err((message, retryable)),
        Error::Signer(error) => signer_failure(error),
        Error::Config(_) | Error::Unusable { .. } => ConfigError::new_err(message),
        Error::Registry { .. } => RegistryError::new_err(message),
        Error::Receipt { code, .. } => ProofError::new_err((message, code)),
        Error::Export(error) => match Arc::try_unwrap(error) {
            Ok(error) => failure(py, error),
            Err(_) => EdgesentryError::new_err(message),
        },
        _ => EdgesentryError::new_err(message),
    }
}
