//! Text for people: numbers, and strings from files, which must be escaped for the terminal.

use std::ffi::OsStr;

use edgesentry_chain::escape;

/// The longest string from a file that is shown in full.
const MAX_SHOWN_CHARS: usize = 160;

/// Escapes a name or a value from a file by [`escape::name`]; cuts long text.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", escape::name(&text[..end])),
        None => escape::name(text).into_owned(),
    }
}

/// Escapes a name like [`shown`], and quotes it if its ends would otherwise be unclear.
pub(crate) fn name(text: &str) -> String {
    let safe = shown(text);
    let is_plain = safe == text && !text.is_empty() && !text.contains([' ', '"']);
    if is_plain { safe } else { format!("\"{}\"", safe.replace('"', r"\u{22}")) }
}

/// Escapes a sentence of our own that quotes text, see [`escape::sentence`].
pub(crate) fn sentence(text: &str) -> String {
    escape::sentence(text).into_owned()
}

/// Formats 1234567 as `1,234,567`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats `1 record`, `2 records`.
pub(crate) fn count(value: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(value), if value == 1 { "" } else { "s" })
}

/// Breaks text into lines of at most `width` characters, between words.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let full = lines
            .last()
            .is_some_and(|line| !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Quotes an argument for a shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Quotes an argument that is not UTF-8 for bash and zsh.
pub(crate) fn shell_bytes(argument: &OsStr) -> String {
    let mut word = String::from("$'");
    for byte in argument.as_encoded_bytes() {
        match byte {
            b'\'' | b'\\' => word.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => word.push(char::from(*byte)),
            byte => word.push_str(&format!("\\x{byte:02x}")),
        }
    }
    word + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_is_shown() {
        assert_eq!(shown("a\x1b[2Jb\u{9b}c\u{202e}d\n"), r"a\u{1b}[2Jb\u{9b}c\u{202e}d\u{a}");
        assert_eq!(shown("lift-01 über"), "lift-01 über");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), MAX_SHOWN_CHARS + 1);
        assert_eq!(name(""), "\"\"");
        assert_eq!(name("lift-01"), "lift-01");
        assert_eq!(name("lift 01"), "\"lift 01\"");
        assert_eq!(name("lift\u{2003}"), "\"lift\\u{2003}\"");
        assert_eq!(name("a\" b"), "\"a\\u{22} b\"");
    }

    #[test]
    fn numbers_have_their_commas() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(count(1, "record"), "1 record");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }

    #[test]
    fn shell_words_are_quoted_where_they_must_be() {
        assert_eq!(shell_word("a/b.json"), "a/b.json");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
