//! Text for people: numbers, and strings from files, which must be escaped for the terminal.

use std::ffi::OsStr;

use edgesentry_chain::escape;
pub(crate) use edgesentry_formats::text::{count, name, number, shown};

/// Escapes a sentence of our own that quotes text, see [`escape::sentence`].
pub(crate) fn sentence(text: &str) -> String {
    escape::sentence(text).into_owned()
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
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }

    #[test]
    fn shell_words_are_quoted_if_necessary() {
        assert_eq!(shell_word("a/b.json"), "a/b.json");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
