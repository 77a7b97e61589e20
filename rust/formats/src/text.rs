//! Text for people, on a terminal and in pages: numbers, and strings of others, which must be escaped.

use edgesentry_chain::{escape, plural};

/// The style of the report page, which the console shares.
pub const REPORT_STYLE: &str = include_str!("text/style.css");

/// The longest string from a file that is shown in full.
const MAX_SHOWN_CHARS: usize = 160;

/// Escapes a name or a value from a file by [`escape::name`]; cuts long text.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", escape::name(&text[..end])),
        None => escape::name(text).into_owned(),
    }
}

/// Escapes a name like [`shown`], and quotes it if its ends would otherwise be unclear.
pub fn name(text: &str) -> String {
    let safe = shown(text);
    let is_plain = safe == text && !text.is_empty() && !text.contains([' ', '"']);
    if is_plain { safe } else { format!("\"{}\"", safe.replace('"', r"\u{22}")) }
}

/// Formats 1234567 as `1,234,567`.
pub fn number(value: u64) -> String {
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
pub fn count(value: u64, noun: &str) -> String {
    format!("{} {}", number(value), plural(value, noun))
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
}
