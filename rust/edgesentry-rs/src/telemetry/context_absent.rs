//! W3C trace context in a build without the feature `otlp`: there are no traces to go on with.

/// The trace of a caller; here always none.
#[derive(Clone, Debug, Default)]
pub struct TraceContext(());

impl TraceContext {
    /// No trace.
    pub fn extract<'a>(_: impl Fn(&str) -> Option<&'a str>) -> TraceContext {
        TraceContext(())
    }

    /// No trace.
    pub fn parse(_: &str, _: Option<&str>) -> TraceContext {
        TraceContext(())
    }

    /// No trace.
    pub fn current() -> TraceContext {
        TraceContext(())
    }

    /// Always false.
    pub fn is_valid(&self) -> bool {
        false
    }

    /// Does `work`.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        work.await
    }
}
