//! Ledgers, payload stores and the service on real servers: PostgreSQL and SeaweedFS beside SQLite and directories.
//!
//! `make test` starts the servers; by hand: `scripts/servers/with cargo nextest run --release -p edgesentry-rs`.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../../../checked.rs"]
mod checked;

mod admission;
mod agent;
mod common;
mod cosign;
mod crash;
mod erase;
mod events;
mod exports;
mod faults;
mod keep;
mod ledgers;
mod log;
mod metrics;
mod packs;
mod payloads;
mod proofs;
mod race;
mod reading;
mod rotation;
mod service;
mod silence;
mod stamp;
mod successor;
mod views;
mod witness;
mod worker;
