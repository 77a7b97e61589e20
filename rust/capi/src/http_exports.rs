//! The exported functions of flushes over HTTP.
#![allow(unsafe_code)]
// The comments below are the contract of each function, for C; the header begins with that of all pointers.
#![allow(clippy::missing_safety_doc)]

use std::ffi::c_char;
use std::path::PathBuf;
use std::time::Duration;

use edgesentry_device::client::ClientSettings;

use crate::border::{Border, enter};
use crate::codes::{EDGESENTRY_INVALID_ARGUMENT, Status};
use crate::last_error::fail;
use crate::outbox_exports::finish;
use crate::outbox_types::{Flushed, Outbox, Service};

/// The time of a call, if the caller gives none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The time for which a service may stall.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends the waiting records to a service over HTTP or HTTPS, as edgesentry_outbox_flush does with a function of the program,
/// and keeps the time of the service for the next clock record. Only in libraries with the feature http.
///
/// The call ends after `timeout_ms` of `service`; records that the service has confirmed by then have left the outbox. It
/// sends a request again if that may help, follows no redirect, and reads responses up to a limit. A `token` is sent only over
/// HTTPS or to this machine. The environment variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name the proxy.
///
/// Returns the statuses of edgesentry_outbox_flush, and EDGESENTRY_INVALID_ARGUMENT if the URL, the token or a file of
/// `service` cannot be used. `flushed` is filled in as by edgesentry_outbox_flush.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edgesentry_outbox_flush_to(
    outbox: *mut Outbox,
    service: *const Service,
    flushed: *mut Flushed,
) -> Status {
    let work = |border: &Border| {
        let Outbox(outbox) = border.handle("outbox", outbox)?;
        border.write("flushed", flushed, Flushed::default())?;
        let (settings, limit) = settings(border, service)?;
        finish(border, flushed, &outbox.flush_to(settings, limit)?)
    };
    // SAFETY: the arguments, with their sizes.
    unsafe { enter(work) }
}

/// Reads the description of a service: the settings of its client, and the time of a call.
fn settings(border: &Border, service: *const Service) -> Result<(ClientSettings, Duration), Status> {
    let given = border.read("service", service)?;
    let wrong = |problem: &str| fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("service: {problem}"));
    let text = |name: &str, pointer: *const c_char, size: usize| {
        let text = border.text(name, pointer, size)?;
        if text.contains('\0') {
            return Err(fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("{name}: contains U+0000")));
        }
        Ok((!text.is_empty()).then(|| text.to_owned()))
    };
    let limit = match given.timeout_ms {
        0 => DEFAULT_TIMEOUT,
        milliseconds => Duration::from_millis(milliseconds.into()),
    };
    let url = text("url", given.url, given.url_size)?.unwrap_or_default();
    let ca = text("ca", given.ca, given.ca_size)?;
    let certificate = text("certificate", given.certificate, given.certificate_size)?;
    let key = text("certificate_key", given.certificate_key, given.certificate_key_size)?;
    if certificate.is_some() != key.is_some() {
        return Err(wrong("certificate and certificate_key belong together"));
    }
    let settings = ClientSettings {
        token: text("token", given.token, given.token_size)?.map(Into::into),
        ca: ca.map(PathBuf::from),
        identity: certificate.map(PathBuf::from).zip(key.map(PathBuf::from)),
        timeout: limit.min(STALL_TIMEOUT),
        ..ClientSettings::new(url)
    };
    match settings.exposure() {
        Some(problem) => Err(wrong(&problem)),
        None => Ok((settings, limit)),
    }
}
