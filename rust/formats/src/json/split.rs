//! Splits text into entries without decoding them.

use memchr::{memchr2, memchr3};

use super::block::{self, Block, Step};
use super::{look, objects};
use crate::format::Format;

/// The position in the file between two cuts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Splitter {
    /// Objects, before the first one: it is unknown whether each has its own line.
    Start,
    /// NDJSON, at the start of a line. For objects that start within this number of bytes, later lines are not
    /// searched: a search from an earlier line found no end.
    Lines(usize),
    /// Consecutive objects, over several lines or several on a line. Within this number of bytes, no line starts with a
    /// brace.
    Objects(usize),
    /// JSON, before the opening bracket.
    Open,
    /// JSON, before the first element or the closing bracket.
    First,
    /// JSON, after an element.
    Behind,
    /// JSON, after a comma.
    Next,
    /// JSON, after the closing bracket.
    Closed,
    /// After a fault; nothing more is read.
    Broken,
}

/// A position at which the layout is invalid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) problem: String,
}

/// The entries of a piece of text.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) entries: Vec<(u32, u32)>,
    /// The number of bytes processed.
    pub(super) consumed: usize,
    pub(super) fault: Option<Fault>,
    pub(super) splitter: Splitter,
}

impl Splitter {
    pub(super) fn new(format: Format) -> Splitter {
        if format == Format::Ndjson { Splitter::Start } else { Splitter::Open }
    }

    /// Splits `text`, which starts at the end of the last cut, into at most `max_entries`; `at_end` states that no text
    /// follows.
    pub(super) fn cut(self, text: &[u8], at_end: bool, max_entries: usize) -> Cut {
        match self {
            Splitter::Start | Splitter::Lines(_) | Splitter::Objects(_) => {
                objects::cut(self, text, at_end, max_entries)
            }
            splitter => cut_array(splitter, text, at_end, max_entries),
        }
    }
}

fn cut_array(mut splitter: Splitter, text: &[u8], at_end: bool, max_entries: usize) -> Cut {
    let mut entries = Vec::with_capacity(max_entries.min(text.len() / 512));
    let mut at = 0;
    let mut fault = None;
    let mut fail = |at: usize, problem: String| {
        fault = Some(Fault { at, problem });
        (text.len(), Splitter::Broken)
    };
    loop {
        if splitter == Splitter::Broken {
            at = text.len();
            break;
        }
        if entries.len() >= max_entries {
            break;
        }
        at += text[at..].iter().take_while(|byte| is_space(**byte)).count();
        let Some(byte) = text.get(at).copied() else {
            if at_end && splitter != Splitter::Closed {
                let problem = "the file ends before the closing bracket of its array: it was cut off";
                (at, splitter) = fail(at, problem.into());
            }
            break;
        };
        (at, splitter) = match (splitter, byte) {
            (Splitter::Open, b'[') => (at + 1, Splitter::First),
            (Splitter::First | Splitter::Behind, b']') => (at + 1, Splitter::Closed),
            (Splitter::Behind, b',') => (at + 1, Splitter::Next),
            (Splitter::First | Splitter::Next, b',' | b']') => {
                fail(at, format!("an element is missing before {:?}", char::from(byte)))
            }
            (Splitter::First | Splitter::Next, _) => match element_end(&text[at..], at_end) {
                ElementEnd::At(length) => {
                    entries.push((at as u32, (at + length) as u32));
                    (at + length, Splitter::Behind)
                }
                ElementEnd::MoreText => break,
                ElementEnd::CutOff => fail(at, "the file ends in the middle of this entry".into()),
            },
            (Splitter::Closed, _) => {
                fail(at, "there is text after the closing bracket of the array; it was not read".into())
            }
            (_, byte) => fail(
                at,
                format!(
                    "expected a comma or the closing bracket of the array, found {:?}; nothing after it was read",
                    char::from(byte)
                ),
            ),
        };
    }
    Cut { entries, consumed: at, fault, splitter }
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

enum ElementEnd {
    At(usize),
    MoreText,
    CutOff,
}

/// Returns the length of the element at the start of `text`. Objects end at their brace; any other element, which is
/// not a record, ends at the next comma or bracket.
fn element_end(text: &[u8], at_end: bool) -> ElementEnd {
    let end = if text.first() == Some(&b'{') { object_end(text) } else { other_end(text) };
    match end {
        Some(length) => ElementEnd::At(length),
        None if at_end => ElementEnd::CutOff,
        None => ElementEnd::MoreText,
    }
}

/// Returns the index after the brace that closes the object at the start of `text`.
pub(super) fn object_end(text: &[u8]) -> Option<usize> {
    let end = block::run(ObjectEnd(text));
    look(end.unwrap_or(text.len()));
    end
}

/// The search for the end of the object at the start of a text.
#[derive(Clone, Copy)]
pub(super) struct ObjectEnd<'a>(pub(super) &'a [u8]);

impl Step for ObjectEnd<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn compute<B: Block>(self, cpu: Option<B::Cpu>) -> Option<usize> {
        match cpu {
            Some(cpu) => block::object_end::<B>(cpu, self.0),
            None => search_object_end(self.0),
        }
    }
}

fn search_object_end(text: &[u8]) -> Option<usize> {
    let mut depth = 0u64;
    let mut at = 0;
    loop {
        at += memchr3(b'"', b'{', b'}', &text[at..])?;
        match text[at] {
            b'"' => at = string_end(text, at)?,
            b'{' => {
                depth += 1;
                at += 1;
            }
            _ => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
    }
}

fn other_end(text: &[u8]) -> Option<usize> {
    let end = find_other_end(text);
    look(end.unwrap_or(text.len()));
    end
}

fn find_other_end(text: &[u8]) -> Option<usize> {
    let mut depth = 0u64;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b',' | b']' | b'}' if depth == 0 => return Some(at.max(1)),
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns the index after the closing quote of the string that opens at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}
