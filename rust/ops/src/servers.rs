//! Servers of a drill's own: started on free loopback ports, stopped by pid, removed when dropped. Monitoring servers
//! may also run already.

mod alertmanager;
mod error;
mod http;
mod postgres;
mod program;
mod prometheus;
mod seaweedfs;
mod webhook;

pub use crate::process::{Process, free_port, free_ports};
pub use alertmanager::{ALERTMANAGER, ActiveAlert, Alertmanager, Receiver};
pub use error::ServerError;
pub use postgres::{Cluster, POSTGRESQL, Primary};
pub use program::Program;
pub use prometheus::{AlertRule, PROMETHEUS, Prometheus, Series, Target};
pub use seaweedfs::{SEAWEEDFS, SeaweedFs, find_weed};
pub use webhook::{Notice, Webhook};
