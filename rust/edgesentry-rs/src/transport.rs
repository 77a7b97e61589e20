//! Clients of the ingest service, from `edgesentry-device`, and its ledger from afar. The service on the network is
//! `edgesentry-serve`.

mod remote;

pub use self::remote::RemoteLedger;
pub use edgesentry_device::client::{self, Client, ClientSettings, Response};
pub use edgesentry_device::wire::write_submission;
