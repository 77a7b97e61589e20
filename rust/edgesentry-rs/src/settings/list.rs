//! Settings that are lists.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// Reads a list, or a text with commas, which is the only form of a variable.
pub fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: std::fmt::Display,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum List {
        Text(String),
        Items(Vec<String>),
    }
    let items = match List::deserialize(deserializer)? {
        List::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
        List::Items(items) => items,
    };
    // Not quoted: a misplaced value may be a secret.
    let parse = |item: String| item.parse().map_err(serde::de::Error::custom);
    items.into_iter().filter(|item| !item.is_empty()).map(parse).collect()
}
