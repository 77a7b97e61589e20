//! Text from evidence, made safe for the place where it is shown: one function for each kind of place.
//!
//! Device ids, object references and names of files are chosen by others, perhaps by an opponent. Wherever such text is
//! shown, three things must not happen: a terminal acts on it, a runner of continuous integration takes it for a
//! command, or two ids that differ look the same because a character of one cannot be seen.
//!
//! | place | function |
//! |---|---|
//! | a name within text | [`name`], [`quoted`] |
//! | a sentence that quotes something | [`sentence`] |
//! | finished text of several lines | [`lines`] |
//! | JSON | [`json`] |
//! | HTML and XML | [`markup`] |
//! | a workflow command of GitHub Actions | [`github_data`], [`github_property`] |
//! | a string literal of Python | [`python_literal`] |
//!
//! Characters that cannot be seen are written out, see [`is_unseen`]. So is what a runner would act on: `##[`, `##vso[`
//! and `##teamcity[` anywhere in a line (Azure Pipelines, GitHub Actions, TeamCity), `::` at its beginning (GitHub
//! Actions).

mod text;
mod unseen;

pub use self::text::{
    github_data, github_property, json, lines, markup, name, python_literal, quoted, sentence,
};
pub use self::unseen::is_unseen;
