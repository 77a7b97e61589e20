//! Servers of a drill's own: started on free loopback ports, stopped by pid, gone when dropped.

mod postgres;
mod process;
mod seaweedfs;

pub use postgres::{Cluster, Primary};
pub use process::{Process, free_port, free_ports};
pub use seaweedfs::{SeaweedFs, find_weed};
