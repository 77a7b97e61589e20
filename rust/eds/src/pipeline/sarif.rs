//! SARIF 2.1.0 (OASIS Standard, 27 March 2020): a rule for every code, a result for every finding.

use edgesentry_chain::{Finding, FindingCode, Report};
use serde_json::{Value, json};

use crate::pipeline::sentence_of;
use crate::text::{count, name, sentence, shown};

/// The largest number of results: GitHub code scanning accepts no more in one run.
const MAX_RESULTS: usize = 25_000;

/// Returns the report as a SARIF log with one run.
pub(crate) fn sarif(report: &Report) -> Value {
    let results: Vec<Value> =
        report.findings.iter().take(MAX_RESULTS).map(|finding| result(report, finding)).collect();
    let total: u64 = report.counts.values().sum();
    let mut notices: Vec<Value> =
        report.coverage.not_checked.iter().map(|note| notice("warning", &note.with_level())).collect();
    notices.extend(report.hints.iter().map(|hint| notice("note", &hint.likely_cause())));
    if total > results.len() as u64 {
        notices
            .push(notice("warning", &format!("{} of {} are listed", results.len(), count(total, "finding"))));
    }
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "eds",
                "fullName": "EdgeSentry verify-chain",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": FindingCode::ALL.iter().map(|code| rule(*code)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "artifacts": report.inputs.iter().map(|input| json!({
                "location": {"uri": uri(&input.name)},
                "length": input.bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1),
            })).collect::<Vec<_>>(),
            "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": notices}],
            "results": results,
            "properties": {"providedBy": report.coverage.provided_by},
        }],
    })
}

fn notice(level: &str, text: &str) -> Value {
    json!({"level": level, "message": {"text": sentence(text)}})
}

fn rule(code: FindingCode) -> Value {
    json!({
        "id": code.name(),
        "shortDescription": {"text": code.summary()},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": [code.level().name()]},
    })
}

fn result(report: &Report, finding: &Finding) -> Value {
    let mut result = json!({
        "ruleId": finding.code.name(),
        "ruleIndex": finding.code as usize,
        "level": "error",
        "message": {"text": sentence_of(finding)},
        "properties": {
            "expected": shown(&finding.expected.to_string()),
            "actual": shown(&finding.actual.to_string()),
        },
    });
    if let Some(hash) = &finding.record_hash {
        // The same fault has the same fingerprint in the next run.
        result["partialFingerprints"] = json!({"recordHash/v1": format!("{}:{hash}", finding.code)});
    }
    let mut location = match &finding.location {
        Some(at) if at.record == 0 => {
            json!({"physicalLocation": {"artifactLocation": {"uri": uri(&at.input)}}})
        }
        Some(at) => json!({
            "physicalLocation": {"artifactLocation": {"uri": uri(&at.input)}},
            "message": {"text": format!("record {}", at.record)},
        }),
        // A missing record has no place, but code scanning rejects a result without a file: it is missing from the
        // last input, where the chain should have continued.
        None => {
            let input = report.inputs.last().map_or("<input>", |input| &*input.name);
            json!({"physicalLocation": {"artifactLocation": {"uri": uri(input)}}})
        }
    };
    if let Some(device_id) = &finding.device_id {
        let device = name(device_id);
        let qualified = match finding.sequence {
            Some(sequence) => format!("{device}/{sequence}"),
            None => device.clone(),
        };
        location["logicalLocations"] =
            json!([{"name": device, "fullyQualifiedName": qualified, "kind": "resource"}]);
    }
    result["locations"] = json!([location]);
    result
}

/// Returns a path as a relative or absolute URI reference (RFC 3986): every other byte is percent-encoded.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte.into())
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uri_references() {
        assert_eq!(uri("a/b-1.json"), "a/b-1.json");
        assert_eq!(uri("a b:c%\u{e9}"), "a%20b%3Ac%25%C3%A9");
    }
}
