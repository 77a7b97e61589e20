//! The ingest service on the network: HTTP and MQTT, TLS, access control, and limits per caller.
//!
//! `server` accepts connections (policy, TLS, limits), `bodies` reads in bounded memory and time, [`http`] has the routes,
//! and `app` the state of their handlers. [`mqtt`] receives records from a broker, `console` has the pages for people.

mod activity;
mod answer;
mod app;
mod bodies;
mod console;
mod failures;
pub mod http;
mod identity;
mod json;
pub mod metrics;
pub mod mqtt;
pub mod policy;
mod problem;
mod rates;
mod scope;
mod server;
pub mod settings;
mod shares;
mod stall;
mod tls;
mod tokens;
mod witness;

pub use console::{AGES as CONSOLE_AGES, FAILURES as CONSOLE_FAILURES};
pub use mqtt::MqttSource;
pub use scope::Scope;
pub use server::{Server, Stopped};
pub use settings::{MqttSettings, ServeSettings};
pub use tokens::hash_of_token;
