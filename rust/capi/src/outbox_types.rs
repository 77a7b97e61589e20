//! The structures of outboxes.

use std::ffi::c_void;

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
