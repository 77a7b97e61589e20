//! What crosses the network between a device and the service, whichever transport carries it: docs/reference/http.md.

mod answer;
mod problem;
mod submission;

pub use answer::Answer;
pub use problem::{Problem, ProblemCode};
pub use submission::{Malformed, parse_submission, write_submission};
