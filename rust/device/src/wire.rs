//! The messages between a device and the service, over every transport: docs/reference/http.md.

mod answer;
mod problem;
pub(crate) mod response;
mod submission;

pub use answer::Answer;
pub use problem::{Problem, ProblemCode};
pub use response::parse_response;
pub use submission::{Malformed, parse_submission, write_submission};
