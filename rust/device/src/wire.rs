//! The messages between a device and the service, over every transport: docs/reference/http.md.

mod answer;
mod problem;
mod submission;

pub use answer::Answer;
pub use problem::Problem;
pub use submission::{Malformed, parse_submission, write_submission};
