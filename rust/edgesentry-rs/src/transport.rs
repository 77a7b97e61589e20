//! Transports: the ingest service on the network, and clients of it.

mod activity;
mod answer;
mod bodies;
pub mod client;
mod failures;
pub mod http;
mod identity;
mod json;
pub mod metrics;
pub mod mqtt;
pub mod policy;
mod problem;
mod rates;
mod server;
pub mod settings;
mod shares;
mod stall;
mod tls;
mod tokens;

pub use crate::wire::write_submission;
pub use client::{Client, ClientSettings, Response};
pub use mqtt::{MqttSettings, MqttSource};
pub use server::{Server, Stopped};
pub use settings::ServeSettings;
pub use tokens::{Scope, hash_of_token};
