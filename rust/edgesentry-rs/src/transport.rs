//! Transports: the ingest service on the network, and clients of it.

mod activity;
mod bodies;
pub mod client;
mod failures;
pub mod http;
mod identity;
mod json;
pub mod metrics;
pub mod mqtt;
pub mod policy;
mod rates;
mod server;
pub mod settings;
mod shares;
mod stall;
mod tls;
mod tokens;

pub use client::{Client, ClientSettings, Response};
pub use http::write_submission;
pub use mqtt::{MqttSettings, MqttSource};
pub use server::{Server, Stopped};
pub use settings::ServeSettings;
pub use tokens::{Scope, hash_of_token};
