//! Servers of a drill's own: started on free loopback ports, stopped by pid, gone when dropped.

mod process;

pub use process::{Process, free_port};
