//! The meaning of the findings: the pages of docs/findings/, as part of the report.

use edgesentry_chain::{FindingCode, Report};
use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};

/// Returns the explanations of the codes in the report.
pub(super) fn section(report: &Report) -> Markup {
    html! {
        section #about aria-labelledby="about-title" {
            h2 #about-title { "What the findings mean" }
            @for code in report.counts.keys() {
                article .explanation id={ "about-" (code) } tabindex="-1" {
                    h3 { code { (code) } }
                    (explanation(*code, report))
                }
            }
        }
    }
}

/// Returns the page of a code without its title and its example, which does not concern this report.
fn explanation(code: FindingCode, report: &Report) -> Markup {
    let mut wanted = Vec::new();
    // `heading`: within a heading; `keep`: within a part to include.
    let (mut heading, mut keep) = (false, true);
    let mut link_kept = false;
    let mut events = Parser::new(page(code)).peekable();
    while let Some(event) = events.next() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = true;
                if level == HeadingLevel::H2 {
                    let title = match events.peek() {
                        Some(Event::Text(text)) => text.to_string(),
                        _ => String::new(),
                    };
                    keep = title != "Example";
                    if keep {
                        wanted.push(Event::Html(format!("<h4>{title}</h4>").into()));
                    }
                }
            }
            Event::End(TagEnd::Heading(_)) => heading = false,
            _ if heading || !keep => {}
            // Links to the pages of other codes lead to their explanations here, if there are any.
            Event::Start(Tag::Link { dest_url, .. }) => {
                let target = dest_url.strip_suffix(".md").and_then(|name| name.parse::<FindingCode>().ok());
                let target = target.filter(|code| report.counts.contains_key(code));
                link_kept = target.is_some();
                if let Some(code) = target {
                    wanted.push(Event::InlineHtml(format!("<a href=\"#about-{code}\">").into()));
                }
            }
            Event::End(TagEnd::Link) => {
                if link_kept {
                    wanted.push(Event::InlineHtml("</a>".into()));
                }
            }
            other => wanted.push(other),
        }
    }
    let mut text = String::new();
    pulldown_cmark::html::push_html(&mut text, wanted.into_iter());
    // Removes the link back to the index of the pages.
    PreEscaped(text.replace("<p>All findings</p>", ""))
}

fn page(code: FindingCode) -> &'static str {
    match code {
        FindingCode::PrevHashMismatch => include_str!("../../../../docs/findings/prev_hash_mismatch.md"),
        FindingCode::SequenceGap => include_str!("../../../../docs/findings/sequence_gap.md"),
        FindingCode::SequenceDuplicate => include_str!("../../../../docs/findings/sequence_duplicate.md"),
        FindingCode::SequenceOutOfOrder => include_str!("../../../../docs/findings/sequence_out_of_order.md"),
        FindingCode::Fork => include_str!("../../../../docs/findings/fork.md"),
        FindingCode::FirstRecordNotGenesis => {
            include_str!("../../../../docs/findings/first_record_not_genesis.md")
        }
        FindingCode::SignatureInvalid => include_str!("../../../../docs/findings/signature_invalid.md"),
        FindingCode::UnknownDevice => include_str!("../../../../docs/findings/unknown_device.md"),
        FindingCode::KeyNotValidAtSequence => {
            include_str!("../../../../docs/findings/key_not_valid_at_sequence.md")
        }
        FindingCode::PayloadHashMismatch => {
            include_str!("../../../../docs/findings/payload_hash_mismatch.md")
        }
        FindingCode::PayloadMissing => include_str!("../../../../docs/findings/payload_missing.md"),
        FindingCode::HeadMismatch => include_str!("../../../../docs/findings/head_mismatch.md"),
        FindingCode::DeviceMissing => include_str!("../../../../docs/findings/device_missing.md"),
        FindingCode::BundleMalformed => include_str!("../../../../docs/findings/bundle_malformed.md"),
        FindingCode::RecordMalformed => include_str!("../../../../docs/findings/record_malformed.md"),
        FindingCode::CheckpointUntrusted => include_str!("../../../../docs/findings/checkpoint_untrusted.md"),
        FindingCode::WitnessQuorumMissing => {
            include_str!("../../../../docs/findings/witness_quorum_missing.md")
        }
        FindingCode::CheckpointStale => include_str!("../../../../docs/findings/checkpoint_stale.md"),
        FindingCode::CheckpointMismatch => include_str!("../../../../docs/findings/checkpoint_mismatch.md"),
        FindingCode::CheckpointInconsistent => {
            include_str!("../../../../docs/findings/checkpoint_inconsistent.md")
        }
        FindingCode::LeafMissing => include_str!("../../../../docs/findings/leaf_missing.md"),
        FindingCode::NotIncluded => include_str!("../../../../docs/findings/not_included.md"),
        FindingCode::HeadsMismatch => include_str!("../../../../docs/findings/heads_mismatch.md"),
        FindingCode::KeyNotLogged => include_str!("../../../../docs/findings/key_not_logged.md"),
        FindingCode::TimestampInvalid => include_str!("../../../../docs/findings/timestamp_invalid.md"),
    }
}
