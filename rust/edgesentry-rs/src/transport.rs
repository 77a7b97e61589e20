//! Clients of the ingest service, from `edgesentry-device`. The service on the network is `edgesentry-serve`.

pub use edgesentry_device::client::{self, Client, ClientSettings, Response};
pub use edgesentry_device::wire::write_submission;
