//! Secrets, and the redaction of messages.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

/// A secret of the settings: zeroized when dropped, never displayed or serialized.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Returns the secret text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// Returns a message of a library in one line, without the parts that may quote a setting: values in the wrong place,
/// lines of the settings file, passwords of URLs.
pub fn redact(message: &str) -> String {
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty() && !is_excerpt(line));
    let line = lines.collect::<Vec<_>>().join(": ");
    let line = without_quoted(&line, "string \"", '"');
    let line = without_quoted(&line, "unknown variant `", '`');
    let words = line.split(' ').map(without_password);
    words.collect::<Vec<_>>().join(" ")
}

/// Returns an argument or a word without the PINs and the password of a URL in it. A password may contain a slash or an at
/// sign that should have been encoded.
pub fn without_password(word: &str) -> String {
    let word = &*without_pins(word);
    let Some((before, url)) = word.split_once("://") else { return without_scheme(word) };
    let (address, query) = match url.rfind('@') {
        // A question mark in the password does not begin the query.
        Some(at) => match url[at..].find('?') {
            Some(query) => (&url[..at + query], &url[at + query + 1..]),
            None => (url, ""),
        },
        None => url.split_once('?').unwrap_or((url, "")),
    };
    let address = match address.rsplit_once('@') {
        Some((login, server)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:***@{server}"),
            None => address.to_owned(),
        },
        None => address.to_owned(),
    };
    let is_secret = |key: &str| {
        let key = key.to_ascii_lowercase();
        ["password", "secret", "token"].iter().any(|name| key.contains(name))
    };
    let query: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) if is_secret(key) => format!("{key}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{before}://{address}{mark}{}", query.join("&"))
}

/// Removes the PINs of a PKCS#11 URI, each up to the next `&`: a PIN may contain characters that should have been encoded.
fn without_pins(word: &str) -> String {
    let parts = word.split('&').map(|part| {
        let Some(at) = part.match_indices('=').map(|(at, _)| at).find(|at| is_pin(&part[..*at])) else {
            return part.to_owned();
        };
        let quote = if part.ends_with('\'') { "'" } else { "" };
        format!("{}=***{quote}", &part[..at])
    });
    parts.collect::<Vec<_>>().join("&")
}

/// Returns true if a text ends with `pin-value`, in any case and with escapes.
fn is_pin(text: &str) -> bool {
    let mut name = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let mut byte = [*first];
        rest = after;
        if *first == b'%'
            && let Some((digits, after)) = after.split_at_checked(2)
            && hex::decode_to_slice(digits, &mut byte).is_ok()
        {
            rest = after;
        }
        name.extend(byte);
    }
    name.to_ascii_lowercase().ends_with(b"pin-value")
}

/// Handles `postgres:u:hush@db`, a URL without its slashes.
fn without_scheme(word: &str) -> String {
    let Some((login, server)) = word.rsplit_once('@') else { return word.to_owned() };
    match login.rsplit_once(':') {
        Some((user, _)) => format!("{user}:***@{server}"),
        None => word.to_owned(),
    }
}

/// Returns true if a line of a message quotes the settings file, as `toml` does: `1 | key = value`.
fn is_excerpt(line: &str) -> bool {
    line.trim_start_matches(|character: char| character.is_ascii_digit()).trim_start().starts_with('|')
}

/// Removes the values that follow `before`, up to `end`; a backslash before it does not end the value.
fn without_quoted(text: &str, before: &str, end: char) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(before) {
        let (until, value) = rest.split_at(at + before.len());
        kept.push_str(until.trim_end_matches(end).trim_end());
        let mut is_escaped = false;
        let length = value.char_indices().find_map(|(at, character)| {
            if character == end && !is_escaped {
                return Some(at + end.len_utf8());
            }
            is_escaped = character == '\\' && !is_escaped;
            None
        });
        rest = &value[length.unwrap_or(value.len())..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_are_redacted() {
        for (message, expected) in [
            (
                "TOML parse error at line 1, column 10\n  |\n1 | ledger = hush\n  |          ^\nmust be quoted",
                "TOML parse error at line 1, column 10: must be quoted",
            ),
            (
                r#"invalid value: string "hu\"sh", expected 64 hex digits for key `serve.tokens.a.hash`"#,
                "invalid value: string, expected 64 hex digits for key `serve.tokens.a.hash`",
            ),
            ("unknown variant `hush`, expected one of `a`, `b`", "unknown variant, expected one of `a`, `b`"),
            ("unknown field `leger`, expected `ledger`", "unknown field `leger`, expected `ledger`"),
            ("cannot reach postgres://u:/hush@db/x?a=1 now", "cannot reach postgres://u:***@db/x?a=1 now"),
            ("postgres://u:12/34hush@db/x", "postgres://u:***@db/x"),
            ("postgres://u:hu?sh@db/x?sslmode=require", "postgres://u:***@db/x?sslmode=require"),
            ("postgres://db/x?user=u&password=hush", "postgres://db/x?user=u&password=***"),
            ("postgres:u:hush@db", "postgres:u:***@db"),
            ("--ledger=postgres://u:hush@db/x", "--ledger=postgres://u:***@db/x"),
            ("pkcs11:token=t?pin-value=hush&module-path=/x", "pkcs11:token=t?pin-value=***&module-path=/x"),
            ("'pkcs11:token=t?pin-value=hush'", "'pkcs11:token=t?pin-value=***'"),
            ("pkcs11:token=t?pin-value=hush&pin-value=hush", "pkcs11:token=t?pin-value=***&pin-value=***"),
            ("pkcs11:token=t?PIN-Value=hush&pin-value=", "pkcs11:token=t?PIN-Value=***&pin-value=***"),
            ("pkcs11:token=%zz?%70in%2Dvalue=hush&a=b", "pkcs11:token=%zz?%70in%2Dvalue=***&a=b"),
            ("pkcs11:pin-value=a;hush?b'hush=hush", "pkcs11:pin-value=***"),
            ("https://u:hush@host/?pin-value=hush", "https://u:***@host/?pin-value=***"),
            ("a@b and c: d", "a@b and c: d"),
        ] {
            assert_eq!(redact(message), expected);
        }
        // A truncated value has no end.
        assert_eq!(redact("invalid type: string \"hush"), "invalid type: string");
    }
}
