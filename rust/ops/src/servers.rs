//! Servers of a drill's own: started on free loopback ports, stopped by pid, gone when dropped. Those of monitoring may
//! also be ones that run already.

mod alertmanager;
mod error;
mod http;
mod process;
mod program;
mod prometheus;
mod webhook;

pub use alertmanager::{ALERTMANAGER, ActiveAlert, Alertmanager, Receiver};
pub use error::ServerError;
pub use process::{Process, free_port};
pub use program::Program;
pub use prometheus::{AlertRule, PROMETHEUS, Prometheus, Series, Target};
pub use webhook::{Notice, Webhook};
