//! Checklists as output and exit code.

use anstyle::{AnsiColor, Style};
use edgesentry_ops::check::{Check, Status, verdict};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::text::sentence;

/// Writes a checklist. Returns exit code 0 if every check passed, 1 if one failed, 3 if one is unknown.
pub(super) fn answer(output: &Output, heading: &str, checks: &[Check]) -> Result<Exit, Failure> {
    let status = verdict(checks);
    let text = text(heading, checks);
    let content = json!({"status": status, "checks": checks});
    let exit = match status {
        Status::Passed => Exit::Holds,
        Status::Failed => Exit::Findings,
        Status::Unknown => Exit::Unfinished,
    };
    output.answer(&Answer {
        ok: exit == Exit::Holds,
        name: "checklist",
        content: &content,
        text,
        failure: None,
    })?;
    Ok(exit)
}

/// Returns the checklist for people.
pub(super) fn text(heading: &str, checks: &[Check]) -> String {
    let status = verdict(checks);
    let mut text = format!("{}: {}\n", sentence(heading), styled(status));
    for check in checks {
        text.push_str(&format!("  {}  {}\n", styled_padded(check.status), sentence(&check.name)));
        text.push_str(&format!("           {}\n", sentence(&check.evidence)));
    }
    text
}

fn style(status: Status) -> Style {
    let colour = match status {
        Status::Passed => AnsiColor::Green,
        Status::Failed => AnsiColor::Red,
        Status::Unknown => AnsiColor::Yellow,
    };
    colour.on_default().bold()
}

fn styled(status: Status) -> String {
    let style = style(status);
    format!("{style}{status}{style:#}")
}

fn styled_padded(status: Status) -> String {
    let style = style(status);
    format!("{style}{status:<7}{style:#}")
}
