//! The service over real sockets: HTTP and HTTPS, correct clients and malicious ones.
//!
//! `make test` starts the servers; by hand: `scripts/servers/with cargo test --release --workspace --test network`.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod batches;
#[path = "../../../checked.rs"]
mod checked;
mod clients;
#[allow(dead_code, unused_macros)]
#[path = "../../../edgesentry-rs/tests/stores/common.rs"]
mod common;
mod console;
mod hostile;
mod limits;
mod metrics;
mod mqtt;
mod mqtt_senders;
mod openapi;
mod reads;
mod receipts;
mod secure;
mod serving;
mod single;
mod tlog;
mod witness;
