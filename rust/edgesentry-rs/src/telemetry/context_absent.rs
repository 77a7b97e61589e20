//! W3C trace context in a build without the feature `otlp`: there are no traces to continue.

/// The trace of a caller; always none.
#[derive(Clone, Debug, Default)]
pub struct TraceContext(());

impl TraceContext {
    /// Returns no trace.
    pub fn extract<'a>(_: impl Fn(&str) -> Option<&'a str>) -> TraceContext {
        TraceContext(())
    }

    /// Returns no trace.
    pub fn parse(_: &str, _: Option<&str>) -> TraceContext {
        TraceContext(())
    }

    /// Returns no trace.
    pub fn current() -> TraceContext {
        TraceContext(())
    }

    /// Returns false.
    pub fn is_valid(&self) -> bool {
        false
    }

    /// Returns no headers.
    pub fn headers(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Runs `work`.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        work.await
    }
}
