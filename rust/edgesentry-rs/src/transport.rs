//! The network side. Only the modules here name axum.

pub mod metrics;
