//! Escapes text from evidence for display, with one function for each kind of place.
//!
//! Other parties, perhaps an attacker, choose device ids, object references and file names. Displayed text must never
//! control a terminal, pass for a command of a CI runner, or make two different ids look the same through invisible
//! characters.
//!
//! | place | function |
//! |---|---|
//! | a name within text | [`name`], [`quoted`] |
//! | a sentence that quotes something | [`sentence`] |
//! | finished text of several lines | [`lines`] |
//! | JSON | [`json`] |
//! | HTML and XML | [`markup`] |
//! | a workflow command of GitHub Actions | [`github_data`], [`github_property`] |
//! | a Python string literal | [`python_literal`] |
//!
//! Invisible characters are escaped, see [`is_unseen`]. So are the markers that a CI runner acts on: `##[`, `##vso[`
//! and `##teamcity[` anywhere in a line (Azure Pipelines, GitHub Actions, TeamCity), `::` at its start (GitHub
//! Actions).

mod text;
mod unseen;

pub use self::text::{
    github_data, github_property, json, lines, markup, name, python_literal, quoted, sentence,
};
pub use self::unseen::is_unseen;
