//! The meaning of the findings: the pages of docs/findings/, as part of the report.

use edgesentry_chain::{FindingCode, Report};
use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};

use crate::explanations::page;

/// Returns the explanations of the codes in the report.
pub(super) fn section(report: &Report) -> Markup {
    html! {
        section #about aria-labelledby="about-title" {
            h2 #about-title { "Explanations of the findings" }
            @for (code, _) in report.kinds() {
                article .explanation id={ "about-" (code) } tabindex="-1" {
                    h3 { code { (code) } }
                    (explanation(code, report))
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
