//! The JSON envelope of `--json`: one line, versioned, the same on success and on failure.

use edgesentry_chain::escape;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use crate::exit::Failure;

/// The version of the envelope; it changes when a field is renamed or removed.
const ENVELOPE: u32 = 1;

struct Envelope<'a, T> {
    command: Option<&'a str>,
    ok: bool,
    name: &'a str,
    content: &'a T,
    failure: Option<&'a Failure>,
}

impl<T: Serialize> Serialize for Envelope<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let version = env!("CARGO_PKG_VERSION");
        map.serialize_entry("edgesentry", &json!({"version": version, "envelope": ENVELOPE}))?;
        map.serialize_entry("command", &self.command)?;
        map.serialize_entry("ok", &self.ok)?;
        if !self.name.is_empty() {
            map.serialize_entry(self.name, self.content)?;
        }
        if let Some(Failure { code, message, exit }) = self.failure {
            let error = json!({"code": code, "message": message, "exit_code": exit.code()});
            map.serialize_entry("error", &error)?;
        }
        map.end()
    }
}

/// Returns an envelope with `content` under `name`, and the failure beside it.
pub(crate) fn result<T: Serialize>(
    command: Option<&str>,
    ok: bool,
    (name, content): (&str, &T),
    failure: Option<&Failure>,
) -> Result<String, Failure> {
    let envelope = Envelope { command, ok, name, content, failure };
    match serde_json::to_string(&envelope) {
        Ok(line) => Ok(terminal_safe(&line) + "\n"),
        Err(error) => Err(Failure::unfinished("json", format!("cannot write the result as JSON: {error}"))),
    }
}

/// Returns an envelope with a failure only.
pub(crate) fn failure(command: Option<&str>, failure: &Failure) -> Result<String, Failure> {
    result(command, false, ("", &()), Some(failure))
}

/// Escapes JSON so that neither a terminal nor a runner acts on it, see [`escape::json`].
pub(crate) fn terminal_safe(json: &str) -> String {
    escape::json(json).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_survive_as_escapes() {
        let hostile = "\x1b]0;\u{9b}\u{202e}\u{e0001}\u{7f}";
        let line = result(Some("x"), true, ("text", &hostile), None).unwrap();
        assert!(line.trim_end_matches('\n').chars().all(|c| !escape::is_unseen(c)));
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["text"], hostile);
        assert_eq!(back["edgesentry"]["envelope"], 1);
    }
}
