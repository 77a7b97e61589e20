//! Recognizes a file that is passed in place of another kind of file.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Bytes at the start of a file that show that it holds records.
const HEAD_BYTES: usize = 4096;
/// Size of the largest error response that is quoted.
const MAX_PROBLEM_BYTES: usize = 64 << 10;
/// Characters quoted of an error response.
const MAX_QUOTED: usize = 200;

/// A kind of file that users confuse with others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FileKind {
    Records,
    KeyRing,
    Heads,
    Manifest,
    Report,
    /// The output of a command with `--json` that has no report, with the name of the command.
    Output(String),
    /// The error response of a service, with its words.
    Problem(String),
}

impl FileKind {
    /// Returns the kind of a file, except for key rings; `None` if it is unknown.
    pub(crate) fn of(text: &[u8]) -> Option<FileKind> {
        if is_records(text) {
            return Some(FileKind::Records);
        }
        let names: Names = serde_json::from_slice(text).ok()?;
        match names {
            Names { manifest: Some(_), heads: Some(_), .. } => Some(FileKind::Manifest),
            Names { version: Some(_), heads: Some(_), .. } => Some(FileKind::Heads),
            Names { edgesentry: Some(_), .. } => {
                Some(command(text).map_or(FileKind::Report, FileKind::Output))
            }
            Names { verdict: Some(_), coverage: Some(_), .. } => Some(FileKind::Report),
            Names { status: Some(_), .. } | Names { error: Some(_), .. }
                if text.len() <= MAX_PROBLEM_BYTES =>
            {
                problem(text).map(FileKind::Problem)
            }
            _ => None,
        }
    }

    /// Returns the name of the kind in sentences.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            FileKind::Records => "records",
            FileKind::KeyRing => "a key ring",
            FileKind::Heads => "a heads snapshot",
            FileKind::Manifest => "a manifest",
            FileKind::Report => "a report",
            FileKind::Output(_) => "the output of a command",
            FileKind::Problem(_) => "an error response",
        }
    }

    /// Returns the description of a file of this kind that was passed in place of `wanted`, and how to pass it.
    pub(crate) fn instead_of(&self, wanted: &str) -> String {
        match self {
            FileKind::Records => {
                format!("it holds records, not {wanted}; pass it as the input of the verification")
            }
            FileKind::KeyRing => {
                format!("it is a key ring, not {wanted}; pass it with --keys (keys= in Python)")
            }
            FileKind::Heads => {
                format!("it is a heads snapshot, not {wanted}; pass it with --heads (heads= in Python)")
            }
            FileKind::Manifest => {
                format!(
                    "it is the manifest of an export, not {wanted}; pass it with --manifest (manifest= in Python)"
                )
            }
            FileKind::Report => {
                format!("it is the output of eds --json, not {wanted}; eds report shows the report in it")
            }
            FileKind::Output(command) => format!("it is the output of eds {command} --json, not {wanted}"),
            FileKind::Problem(words) => format!(
                "it is the error response of a service ({words}), not {wanted}; correct the request that returned it"
            ),
        }
    }
}

/// The names of the fields of an object.
#[derive(Deserialize)]
struct Names {
    manifest: Option<IgnoredAny>,
    version: Option<IgnoredAny>,
    heads: Option<IgnoredAny>,
    edgesentry: Option<IgnoredAny>,
    verdict: Option<IgnoredAny>,
    coverage: Option<IgnoredAny>,
    status: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

/// Returns true if the first bytes are those of Parquet or Arrow, or name the fields of a record.
fn is_records(text: &[u8]) -> bool {
    let head = &text[..text.len().min(HEAD_BYTES)];
    let names = |name: &[u8]| memchr::memmem::find(head, name).is_some();
    head.starts_with(b"PAR1")
        || head.starts_with(b"ARROW1")
        || (names(b"\"payload_hash\"") && names(b"\"prev_record_hash\""))
}

/// Returns the command of an envelope, if its output has no report.
fn command(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope {
        command: Option<String>,
        report: Option<IgnoredAny>,
    }
    let Envelope { command, report } = serde_json::from_slice(text).ok()?;
    let command = command.filter(|command| report.is_none() && !command.starts_with("verify-"))?;
    Some(command.chars().take(MAX_QUOTED).collect())
}

/// Returns the words of an error response: a problem document (RFC 9457), or an object with `error`.
fn problem(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        status: Option<u16>,
        title: Option<String>,
        detail: Option<String>,
        error: Option<String>,
    }
    let Problem { status, title, detail, error } = serde_json::from_slice(text).ok()?;
    let status = status.map(|status| status.to_string());
    let words: Vec<String> = [status, title, detail, error].into_iter().flatten().collect();
    let words = words.join(", ");
    (!words.is_empty()).then(|| words.chars().take(MAX_QUOTED).collect())
}
