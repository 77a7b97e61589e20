//! W3C trace context: continues the trace of a caller.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{FutureExt, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The trace of a caller, as <https://www.w3.org/TR/trace-context/> carries it.
#[derive(Clone, Debug, Default)]
pub struct TraceContext(Context);

impl TraceContext {
    /// Reads the headers `traceparent` and `tracestate`, whose values `header` returns. As the standard requires, a
    /// missing or malformed value is not an error: a new trace begins.
    pub fn extract<'a>(header: impl Fn(&str) -> Option<&'a str>) -> TraceContext {
        let headers = Headers(NAMES.map(header));
        // The propagator accepts more than the standard allows, such as flags of one digit.
        if !headers.0[0].is_some_and(is_traceparent) {
            return TraceContext::default();
        }
        TraceContext(TraceContextPropagator::new().extract_with_context(&Context::new(), &headers))
    }

    /// Parses the values of both headers.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> TraceContext {
        TraceContext::extract(|name| if name == NAMES[0] { Some(traceparent) } else { tracestate })
    }

    /// Returns the current trace.
    pub fn current() -> TraceContext {
        TraceContext(Context::current())
    }

    /// Returns true if there is a trace to continue.
    pub fn is_valid(&self) -> bool {
        self.0.span().span_context().is_valid()
    }

    /// Runs `work` as part of the trace: its spans are children of the caller's.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        if self.is_valid() { work.with_context(self.0).await } else { work.await }
    }
}

const NAMES: [&str; 2] = ["traceparent", "tracestate"];

/// Returns true if a value is a valid `traceparent`:
/// <https://www.w3.org/TR/trace-context/#traceparent-header-field-values>. Versions above 00 may have further fields
/// behind another dash.
fn is_traceparent(value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(5, '-').collect();
    let [version, trace_id, parent_id, flags, rest @ ..] = &parts[..] else { return false };
    let is_id = |id: &str, digits| is_hex(id, digits) && id.bytes().any(|digit| digit != b'0');
    is_hex(version, 2)
        && *version != "ff"
        && is_id(trace_id, 32)
        && is_id(parent_id, 16)
        && is_hex(flags, 2)
        && (rest.is_empty() || *version != "00")
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// The values of `NAMES`.
struct Headers<'a>([Option<&'a str>; 2]);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0[NAMES.iter().position(|name| *name == key)?]
    }

    fn keys(&self) -> Vec<&str> {
        NAMES.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The headers that would hand a trace on to another service.
    fn headers(context: &TraceContext) -> Vec<(String, String)> {
        let mut headers = HashMap::new();
        TraceContextPropagator::new().inject_context(&context.0, &mut headers);
        headers.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    #[test]
    fn a_received_trace_context_is_passed_on() {
        let context = TraceContext::parse(PARENT, Some("vendor=1"));
        assert!(context.is_valid());
        let mut headers = headers(&context);
        headers.sort();
        let expected = [("traceparent", PARENT), ("tracestate", "vendor=1")];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_malformed_header_begins_a_new_trace() {
        for parent in
            ["", "00", "zz", &PARENT.replace("0af7", "0AF7"), &PARENT.replace('b', "g"), &PARENT[..40]]
        {
            let context = TraceContext::parse(parent, None);
            assert!(!context.is_valid(), "{parent:?}");
            assert!(headers(&context).is_empty());
        }
        assert!(!TraceContext::current().is_valid());
    }

    /// Returns `PARENT` with another version and other flags.
    fn parent(version: &str, flags_and_more: &str) -> String {
        format!("{version}{}{flags_and_more}", &PARENT[2..53])
    }

    #[test]
    fn the_header_is_parsed_by_the_standard() {
        let zero = |digits: &str| PARENT.replace(digits, &"0".repeat(digits.len()));
        let refused = [
            parent("00", "1"),
            parent("00", ""),
            parent("00", "001"),
            parent("00", "0g"),
            parent("00", "0A"),
            parent("00", "+1"),
            parent("0", "01"),
            parent("000", "01"),
            parent("FE", "01"),
            parent("+0", "01"),
            parent("ff", "01"),
            parent("ff", "01-more"),
            parent("00", "01-"),
            parent("00", "01-more"),
            parent("01", "01.more"),
            parent("01", "1"),
            zero("0af7651916cd43dd8448eb211c80319c"),
            zero("b7ad6b7169203331"),
            PARENT.replace("0af7", "af7"),
            PARENT.replace("b7ad", "b7a"),
            PARENT.replace("b7ad", "B7AD"),
            PARENT.replace("0af7", "é7"),
            PARENT.replace('-', ""),
            format!(" {PARENT}"),
            format!("{PARENT} "),
        ];
        for header in &refused {
            assert!(!TraceContext::parse(header, Some("vendor=1")).is_valid(), "{header:?}");
        }
        let sampled = |header: &str| {
            let context = TraceContext::parse(header, None);
            assert!(context.is_valid(), "{header:?}");
            headers(&context)[0].1.ends_with("-01")
        };
        // Flags that this version does not know are not passed on.
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
            assert_eq!(sampled(&parent("00", flags)), is_sampled, "{flags}");
        }
        for header in [parent("01", "01"), parent("fe", "01-"), parent("cc", "01-what-is-to-come")] {
            assert!(sampled(&header));
        }
    }

    #[tokio::test]
    async fn work_runs_inside_the_trace() {
        let headers =
            TraceContext::parse(PARENT, None).scope(async { headers(&TraceContext::current()) }).await;
        assert_eq!(headers, [("traceparent".to_owned(), PARENT.to_owned())]);
        assert!(!TraceContext::current().is_valid());
    }
}
