//! The command `eds`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(eds::run(std::env::args_os()))
}
