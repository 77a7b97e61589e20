//! The functions, one for each kind of place.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::unseen::is_unseen;

/// Escapes a name within text: invisible characters become `\u{..}`, and so do the markers that a CI runner acts on.
///
/// Different names give different text, even on an HTML page, which collapses spaces. A backslash that would start such
/// an escape is therefore escaped too, and so is a space after a space.
///
/// ```
/// use edgesentry_chain::escape;
/// assert_eq!(escape::name("lift-01"), "lift-01");
/// assert_eq!(escape::name("lift\u{3164}"), r"lift\u{3164}");
/// assert_eq!(escape::name("##vso[x]"), r"#\u{23}vso[x]");
/// assert_eq!(escape::name("::error::x"), r"\u{3a}:error::x");
/// ```
pub fn name(text: &str) -> Cow<'_, str> {
    escaped(text, true)
}

/// Returns [`name`] in quotes, with its quotes and backslashes escaped.
pub fn quoted(text: &str) -> String {
    let plain = text.replace('\\', r"\\").replace('"', "\\\"");
    // Backslashes are already doubled.
    format!("\"{}\"", escaped(&plain, false))
}

/// Escapes a sentence of ours that quotes something. Like [`name`], but keeps backslashes, because the quotation may be
/// escaped already.
pub fn sentence(text: &str) -> Cow<'_, str> {
    escaped(text, false)
}

fn escaped(text: &str, is_valid_id: bool) -> Cow<'_, str> {
    let begins_command = text.trim_start_matches(' ').starts_with("::");
    let is_plain = !begins_command
        && !text.contains("##")
        && !(is_valid_id && (text.contains(r"\u{") || text.contains("  ")))
        && !text.chars().any(is_unseen);
    if is_plain {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut rest = text.char_indices().peekable();
    let mut colon = begins_command;
    while let Some((at, character)) = rest.next() {
        let next = rest.peek().map(|(_, next)| *next);
        let is_second_sign = character == '#' && text[..at].ends_with('#');
        let is_escape =
            is_valid_id && character == '\\' && next == Some('u') && text[at..].starts_with(r"\u{");
        // HTML collapses spaces.
        let is_second_space = is_valid_id && character == ' ' && text[..at].ends_with(' ');
        let is_command = colon && character == ':';
        if is_unseen(character) || is_second_sign || is_second_space || is_escape || is_command {
            colon &= character != ':';
            let _ = write!(safe, "{}", character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Escapes finished text of several lines, perhaps with colours. Its names are escaped already; this guards lines that
/// break within a name, and text from elsewhere. In each line, it escapes invisible characters except colours, and the
/// markers that a CI runner acts on.
pub fn lines(text: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character == '\n' || !is_unseen(character);
    if !text.contains("##") && !text.contains("::") && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        // True while the line has only spaces and colours.
        let mut is_start = true;
        while let Some(character) = rest.chars().next() {
            let is_command = is_start && rest.starts_with("::");
            if let Some(colour) = colour(rest) {
                safe.push_str(colour);
                rest = &rest[colour.len()..];
                continue;
            }
            is_start &= character == ' ';
            if is_command || is_sign(rest, &safe) || !is_plain(character) {
                let _ = write!(safe, "{}", character.escape_unicode());
            } else {
                safe.push(character);
            }
            rest = &rest[character.len_utf8()..];
        }
    }
    Cow::Owned(safe)
}

/// Returns the terminal colour at the start of a text: `ESC [ digits and semicolons m`.
fn colour(text: &str) -> Option<&str> {
    let code = text.strip_prefix("\x1b[")?;
    let end = code.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    code[end..].starts_with('m').then(|| &text[..end + 3])
}

/// Returns true if a text starts with the second `#` of `##` before a word and a bracket.
fn is_sign(text: &str, before: &str) -> bool {
    let Some(word) = text.strip_prefix('#').filter(|_| before.ends_with('#')) else { return false };
    word.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_').starts_with('[')
}

/// Escapes a whole JSON text: invisible characters, and the second `#` of `##`, become `\uXXXX`. Both occur only inside
/// strings, so the value stays the same. Line breaks between values stay.
///
/// ```
/// use edgesentry_chain::escape;
/// assert_eq!(escape::json("{\"id\": \"##[x]\"}\n"), "{\"id\": \"#\\u0023[x]\"}\n");
/// ```
pub fn json(text: &str) -> Cow<'_, str> {
    let is_unseen = |character: char| character != '\n' && is_unseen(character);
    if !text.contains("##") && !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut before = '\0';
    for character in text.chars() {
        if is_unseen(character) || (character == '#' && before == '#') {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
        before = character;
    }
    Cow::Owned(safe)
}

/// Escapes text between tags or in an attribute of HTML or XML: [`sentence`], with the five markup characters as
/// entities.
///
/// For a template that escapes markup itself, use [`name`] or [`sentence`].
pub fn markup(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for character in sentence(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            character => safe.push(character),
        }
    }
    safe
}

/// Escapes the text of a GitHub Actions workflow command, `::error …::TEXT`.
pub fn github_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a property of a workflow command, in which colons and commas have a meaning too.
///
/// ```
/// use edgesentry_chain::escape;
/// assert_eq!(escape::github_property("a b,c:50%.ndjson"), "a b%2Cc%3A50%25.ndjson");
/// ```
pub fn github_property(text: &str) -> String {
    github_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Escapes a Python string literal or expression, as `repr` formats it: invisible characters, and the second `#` of
/// `##`, become escapes that Python reads as the same character.
pub fn python_literal(text: &str) -> Cow<'_, str> {
    if !text.contains("##") && !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut before = '\0';
    for character in text.chars() {
        let code = u32::from(character);
        if is_unseen(character) || (character == '#' && before == '#') {
            let _ = match code {
                0..=0xFF => write!(safe, "\\x{code:02x}"),
                0x100..=0xFFFF => write!(safe, "\\u{code:04x}"),
                _ => write!(safe, "\\U{code:08x}"),
            };
        } else {
            safe.push(character);
        }
        before = character;
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_runners_are_broken() {
        assert_eq!(name("  ::stop-commands::x"), r" \u{20}\u{3a}:stop-commands::x");
        assert_eq!(sentence("  ::stop-commands::x"), r"  \u{3a}:stop-commands::x");
        assert_eq!(name("a::b"), "a::b");
        assert_eq!(name("###[x"), r"#\u{23}\u{23}[x");
        assert_eq!(sentence("device \"##[group]\" is unknown"), r##"device "#\u{23}[group]" is unknown"##);
        let text = "# Title\n## Runs\n  \x1b[1m::error::x\n ::debug::y\na ##[set-output name=v;]z ##vso[t]\n";
        let safe = lines(text);
        assert_eq!(
            safe,
            "# Title\n## Runs\n  \x1b[1m\\u{3a}:error::x\n \\u{3a}:debug::y\na #\\u{23}[set-output name=v;]z #\\u{23}vso[t]\n"
        );
        assert_eq!(lines("###[a]"), r"##\u{23}[a]");
        assert_eq!(lines("a\rb\x1b[2Jc\x1b[1;32md\x1b[0m\n"), "a\\u{d}b\\u{1b}[2Jc\x1b[1;32md\x1b[0m\n");
    }

    #[test]
    fn different_names_give_different_text() {
        let names = [
            "a",
            "a\u{3164}",
            r"a\u{3164}",
            r"a\u{5c}u{3164}",
            "a\u{fe0f}",
            "a ",
            "a\u{2003}",
            "##",
            r"#\u{23}",
            "::",
            r"\u{3a}:",
            r"\",
            r"\\",
            "a b",
            "a  b",
            r"a \u{20}b",
        ];
        for (at, one) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                assert_ne!(name(one), name(other));
                assert_ne!(quoted(one), quoted(other));
            }
        }
    }

    #[test]
    fn json_stays_the_same_value() {
        let hostile = "##vso[a]\u{3164}\u{1d159}\u{e0001}\u{a0}\x7f ::x";
        let text = serde_json::to_string(hostile).unwrap();
        let safe = json(&text);
        assert!(!safe.contains("##") && !safe.chars().any(is_unseen));
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), hostile);
    }

    #[test]
    fn each_place_has_its_escapes() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
        assert_eq!(name("a\\b\u{7} c"), r"a\b\u{7} c");
        assert_eq!(sentence(r"a\u{7} ##"), r"a\u{7} #\u{23}");
        assert_eq!(json("\"a\u{3164}\""), "\"a\\u3164\"");
        assert_eq!(json("\"###a#b\""), "\"#\\u0023\\u0023a#b\"");
        assert_eq!(
            markup("<a href=\"x\">'&'</a>\u{7}"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;\\u{7}"
        );
        assert_eq!(github_data("50%\r\na:b,c"), "50%25%0D%0Aa:b,c");
        assert_eq!(github_property("50%\r\na:b,c"), "50%25%0D%0Aa%3Ab%2Cc");
        assert_eq!(python_literal("'plain # ä'"), "'plain # ä'");
        assert_eq!(
            python_literal("'##\u{7}\u{ff}\u{100}\u{3164}\u{ffff}\u{e0001}'"),
            "'#\\x23\\x07ÿĀ\\u3164\\uffff\\U000e0001'"
        );
        assert_eq!(python_literal("\u{a0}#a#"), "\\xa0#a#");
        // Plain text is not copied.
        for plain in
            [name("a#b :: c"), sentence("a  b"), lines("a\nb: c"), json("{}\n"), python_literal("''")]
        {
            assert!(matches!(plain, Cow::Borrowed(_)), "{plain}");
        }
    }

    #[test]
    fn only_whole_colours_pass_and_only_signs_before_a_bracket_are_broken() {
        assert_eq!(lines("\x1b[31"), "\\u{1b}[31");
        assert_eq!(lines("\x1b[;m"), "\x1b[;m");
        assert_eq!(lines("\x1b]0;m"), "\\u{1b}]0;m");
        assert_eq!(lines("##a-b_1[x ## [y ##a b[z"), "#\\u{23}a-b_1[x ## [y ##a b[z");
        assert_eq!(lines("a ::b\n\x1b[0m ::c"), "a ::b\n\x1b[0m \\u{3a}:c");
    }
}
