//! Splits text of objects outside an array: one per line, or consecutive ones in any layout, as jq writes them.
//!
//! In NDJSON each line is an entry regardless of its content, so that a damaged line does not affect its neighbours. An
//! object that provably spans several lines shows another layout; from there on an entry ends at its closing brace or,
//! without one, before the next line that starts with a brace.

use memchr::{memchr, memchr_iter, memmem};
use serde::de::IgnoredAny;

use super::split::{Cut, Splitter, is_space, object_end};
use super::{MAX_ENTRY_BYTES, look};

type Entries = Vec<(u32, u32)>;

/// Splits `text`, in the state `splitter`, into at most `max_entries`.
pub(super) fn cut(splitter: Splitter, text: &[u8], at_end: bool, max_entries: usize) -> Cut {
    let mut entries = Entries::with_capacity(max_entries.min(text.len() / 512));
    let (consumed, splitter) = match splitter {
        Splitter::Start => {
            let start = space(text);
            match first_object(&text[start..], at_end) {
                Layout::Lines(plain) => cut_lines(text, 0, start + plain, at_end, max_entries, &mut entries),
                Layout::Objects => cut_objects(text, start, 0, at_end, max_entries, &mut entries),
                Layout::Unknown => (start, Splitter::Start),
            }
        }
        Splitter::Lines(plain) => cut_lines(text, 0, plain, at_end, max_entries, &mut entries),
        Splitter::Objects(searched) => cut_objects(text, 0, searched, at_end, max_entries, &mut entries),
        // The other states are those of arrays.
        other => (0, other),
    };
    Cut { entries, consumed, fault: None, splitter }
}

/// Splits `text` into lines from `start` on; before `plain`, it does not look for objects that span several lines.
fn cut_lines(
    text: &[u8],
    mut start: usize,
    mut plain: usize,
    at_end: bool,
    max_entries: usize,
    entries: &mut Entries,
) -> (usize, Splitter) {
    while start < text.len() && entries.len() < max_entries {
        let end = match memchr(b'\n', &text[start..]) {
            Some(length) => start + length,
            None if at_end => text.len(),
            None => break,
        };
        if start >= plain && is_open(&text[start..end]) {
            match object_over_lines(&text[start..], at_end) {
                Layout::Lines(tried) => plain = start + tried,
                Layout::Objects => return cut_objects(text, start, 0, at_end, max_entries, entries),
                Layout::Unknown => break,
            }
        }
        // Skip blank lines.
        if text[start..end].iter().any(|byte| !is_space(*byte)) {
            entries.push((start as u32, end as u32));
        }
        start = (end + 1).min(text.len());
    }
    (start, Splitter::Lines(plain.saturating_sub(start)))
}

/// Splits `text` into objects from `at` on; before `searched`, no line starts with a brace.
fn cut_objects(
    text: &[u8],
    mut at: usize,
    mut searched: usize,
    at_end: bool,
    max_entries: usize,
    entries: &mut Entries,
) -> (usize, Splitter) {
    let line_with_brace = memmem::Finder::new(b"\n{");
    // The brace of the next line that starts with one; the end of the text if there is none.
    let mut next_object = 0;
    while entries.len() < max_entries {
        at += space(&text[at..]);
        let Some(byte) = text.get(at) else { break };
        let end = if *byte == b'{' {
            if next_object <= at {
                let from = searched.max(at).min(text.len());
                let found = line_with_brace.find(&text[from..]).map(|newline| from + newline);
                // The last byte may be a newline before a brace that is not read yet.
                searched = found.unwrap_or(text.len().saturating_sub(1));
                next_object = found.map_or(text.len(), |newline| newline + 1);
                look(next_object - from);
            }
            match object_end(&text[at..next_object]) {
                Some(length) => at + length,
                None if next_object < text.len() || at_end => next_object,
                None => break,
            }
        } else {
            // Not an object: it is malformed, with the rest of its line.
            match memchr(b'\n', &text[at..]) {
                Some(length) => at + length,
                None if at_end => text.len(),
                None => break,
            }
        };
        // White space after a broken object is not part of it.
        entries.push((at as u32, (at + text[at..end].trim_ascii_end().len()) as u32));
        at = end;
    }
    (at, Splitter::Objects(searched.saturating_sub(at)))
}

enum Layout {
    /// Each line is an entry. No object that starts within this number of bytes spans several lines.
    Lines(usize),
    /// Objects in another layout.
    Objects,
    /// Undecided without more text.
    Unknown,
}

/// Determines the layout from the first object, at the start of `text`.
fn first_object(text: &[u8], at_end: bool) -> Layout {
    match object_over_lines(text, at_end) {
        Layout::Lines(0) => {}
        other => return other,
    }
    // The object ends on its line. Check whether another one follows there.
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    let Some(Ok(IgnoredAny)) = values.next() else { return Layout::Lines(0) };
    let behind = &text[values.byte_offset()..];
    match behind.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) {
        Some(b'{') => Layout::Objects,
        None if !at_end => Layout::Unknown,
        _ => Layout::Lines(0),
    }
}

/// Determines whether the object at the start of `text` is well-formed and spans several lines.
fn object_over_lines(text: &[u8], at_end: bool) -> Layout {
    // Limit of the entry size.
    let window = &text[..text.len().min(MAX_ENTRY_BYTES)];
    let mut json = serde_json::Deserializer::from_slice(window).into_iter::<IgnoredAny>();
    let value = json.next();
    look(match &value {
        Some(Err(error)) if !error.is_eof() => line_start(window, error.line() + 1),
        Some(Err(_)) => window.len(),
        _ => json.byte_offset(),
    });
    match value {
        Some(Ok(IgnoredAny)) if memchr(b'\n', &window[..json.byte_offset()]).is_some() => Layout::Objects,
        Some(Ok(IgnoredAny)) => Layout::Lines(0),
        Some(Err(error)) if error.is_eof() => match at_end || window.len() < text.len() {
            true => Layout::Lines(window.len()),
            false => Layout::Unknown,
        },
        Some(Err(error)) => Layout::Lines(line_start(window, error.line())),
        None => {
            if at_end {
                Layout::Lines(0)
            } else {
                Layout::Unknown
            }
        }
    }
}

/// Returns the start of the line with this number, from 1.
fn line_start(text: &[u8], line: usize) -> usize {
    match line.checked_sub(2) {
        None => 0,
        Some(at) => memchr_iter(b'\n', text).nth(at).map_or(text.len(), |newline| newline + 1),
    }
}

/// Returns true if a line starts an object but does not end with a brace, as a complete object does.
fn is_open(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.first() == Some(&b'{') && line.last() != Some(&b'}')
}

fn space(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_space(**byte)).count()
}
