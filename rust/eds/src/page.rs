//! The report as one page of HTML: self-contained, without external resources, every external text escaped.
//!
//! The page is for auditors to pass on: verdict and coverage first, then the breaks of each chain, every finding, the
//! meaning of the findings, and how to repeat the verification. It works without JavaScript; with it, findings can be
//! filtered and paged.

mod about;
mod chains;
mod files;
mod findings;
mod overview;
mod parts;
mod selection;

use std::ffi::OsString;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use edgesentry_chain::{Finding, Report, Scheme, Verdict};
use edgesentry_formats::text::REPORT_STYLE as STYLE;
use edgesentry_formats::times::now_ms;
use edgesentry_rs::secret::without_password;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::page::parts::{stamp, verdict_word};
use crate::page::selection::MAX_LISTED;
pub use crate::page::selection::selected;
use crate::text::{sentence, shell_bytes, shell_word};

const SCRIPT: &str = include_str!("page/script.js");

/// The context of a report.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// The command line that made the report, without secrets; if none is given, one is derived from the report.
    pub command: Option<String>,
    /// The signature scheme of keys for which the key ring states none.
    pub scheme: Option<Scheme>,
    /// For a ledger that was verified in place: the requested devices, or none for all.
    pub ledger: Option<Vec<String>>,
    /// The time of writing, Unix milliseconds; shown in seconds.
    pub written_at_ms: u64,
}

impl Circumstances {
    /// Returns the context of a page that is written now.
    pub fn now(command: Option<String>) -> Circumstances {
        Circumstances { command, written_at_ms: now_ms() / 1000 * 1000, ..Circumstances::default() }
    }
}

/// Renders the page. Reads input files once more, to show their hashes.
pub fn render(report: &Report, circumstances: &Circumstances) -> String {
    let listed = selected(&report.findings, MAX_LISTED);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (verdict_word(report.verdict)) " – EdgeSentry verification report" }
                style { (PreEscaped(STYLE)) }
            }
            body { (body(report, &listed, circumstances)) }
        }
    };
    page.into_string()
}

fn body(report: &Report, listed: &[&Finding], circumstances: &Circumstances) -> Markup {
    let something = report.verdict != Verdict::NothingToVerify;
    html! {
        a .skip href="#main" { "Skip to the report" }
        (overview::header(report, circumstances.written_at_ms))
        (contents(report))
        main #main tabindex="-1" {
            @if something {
                (overview::coverage(report))
                (overview::not_checked(report))
            }
            @if !report.counts.is_empty() {
                (overview::kinds(report))
            }
            @if something {
                (chains::section(report))
            }
            @if !report.counts.is_empty() {
                (findings::section(report, listed))
                (about::section(report))
            }
            (files::inputs(report))
            @if something {
                (files::heads(report))
            }
            (files::reproduction(report, circumstances))
        }
        footer {
            p {
                "EdgeSentry " (env!("CARGO_PKG_VERSION")) " · " (std::env::consts::OS) " "
                (std::env::consts::ARCH) " · written " (stamp(circumstances.written_at_ms))
                " · all times in UTC; times of records are what the devices claim"
            }
        }
        @if !report.counts.is_empty() {
            script { (PreEscaped(SCRIPT)) }
        }
    }
}

fn contents(report: &Report) -> Markup {
    let (something, found) = (report.verdict != Verdict::NothingToVerify, !report.counts.is_empty());
    let sections = [
        (something, "coverage", "Coverage"),
        (something, "not-checked", "Not checked"),
        (found, "kinds", "Kinds"),
        (something, "chains", "Chains"),
        (found, "findings", "Findings"),
        (found, "about", "Explanations"),
        (true, "inputs", "Inputs"),
        (something, "heads", "Heads"),
        (true, "reproduce", "Reproduce"),
    ];
    html! {
        nav aria-label="Contents" {
            ul {
                @for (_, id, name) in sections.iter().filter(|(shown, ..)| *shown) {
                    li { a href={ "#" (id) } { (name) } }
                }
            }
        }
    }
}

/// Quotes a command line for a shell, without the passwords of URLs.
pub(crate) fn command_line(arguments: &[OsString]) -> String {
    let word = |argument: &OsString| match argument.to_str() {
        Some(argument) => shell_word(&without_password(argument)),
        None => shell_bytes(argument),
    };
    let words: Vec<String> = arguments.iter().skip(1).map(word).collect();
    sentence(&format!("eds {}", words.join(" ")))
}

/// Permits only the style and the script of the page itself.
fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> String {
        command_line(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_keeps_no_password() {
        let arguments =
            ["eds", "verify-chain", "--ledger", "postgres://eds:se/cr@t@db:5432/audit?sslmode=require"];
        assert_eq!(
            line(&arguments),
            "eds verify-chain --ledger 'postgres://eds:***@db:5432/audit?sslmode=require'"
        );
        let shown = line(&["eds", "--ledger=postgres://db/audit?user=eds&password=secret"]);
        assert!(shown.contains("password=***") && !shown.contains("secret"), "{shown}");
        // A file name that is not UTF-8 is written as its bytes.
        let name = <OsString as std::os::unix::ffi::OsStringExt>::from_vec(b"caf\xe9's.json".to_vec());
        assert_eq!(command_line(&["eds".into(), name]), r"eds $'caf\xe9\'s.json'");
        assert_eq!(line(&["eds", "a b", "x\u{202e}y"]), "eds 'a b' 'x\\u{202e}y'");
    }

    #[test]
    fn the_script_cannot_end_itself() {
        assert!(!SCRIPT.contains("</") && !STYLE.contains("</"));
    }
}
