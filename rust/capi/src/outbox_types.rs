//! The structures of outboxes.

use std::ffi::{c_char, c_void};

/// The outbox of a device: one file.
pub struct Outbox(pub(crate) crate::outbox::Outbox);

/// A request of a flush, and the room for its response.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Request {
    /// The size of the structure; set by the library.
    pub struct_size: u32,
    /// Set by the caller: the HTTP status of the response.
    pub http_status: u32,
    /// The body, for POST /api/v1/ingest with the content type application/json.
    pub body: *const u8,
    /// Its size.
    pub body_size: usize,
    /// Room for the body of the response.
    pub response: *mut u8,
    /// Its size; a longer response is cut.
    pub response_capacity: usize,
    /// Set by the caller: the size of the body of the response.
    pub response_size: usize,
}

/// Sends a request, and fills in its response. Returns 0 if there is one; otherwise the record stays in the outbox.
pub type Send = Option<unsafe extern "C" fn(context: *mut c_void, request: *mut Request) -> i32>;

/// A service on the network. Text is UTF-8, and of size 0 if there is none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Service {
    /// sizeof(edgesentry_service)
    pub struct_size: u32,
    /// The longest time of a call, in milliseconds; 0 stands for 60,000.
    pub timeout_ms: u32,
    /// https://HOST:PORT, or http://HOST:PORT for a connection without TLS.
    pub url: *const c_char,
    /// Its size.
    pub url_size: usize,
    /// A token with the scope ingest, if the service requires one.
    pub token: *const c_char,
    /// Its size.
    pub token_size: usize,
    /// The PEM file of the trusted authorities; those of the system by default.
    pub ca: *const c_char,
    /// Its size.
    pub ca_size: usize,
    /// The PEM file of the certificate of the device, if it has one.
    pub certificate: *const c_char,
    /// Its size.
    pub certificate_size: usize,
    /// The PEM file of the private key of the certificate, which only its owner can read.
    pub certificate_key: *const c_char,
    /// Its size.
    pub certificate_key_size: usize,
}

/// The result of a flush.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Flushed {
    /// Records that the service has accepted now.
    pub accepted: u64,
    /// Records that the service already held.
    pub duplicates: u64,
    /// Records that still wait.
    pub waiting: u64,
    /// The sequence of the record that the service rejected; 0 if there is none.
    pub rejected_sequence: u64,
}
