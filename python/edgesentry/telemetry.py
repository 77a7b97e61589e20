"""Telemetry: metrics, logs and traces of the ingest service.

Events arrive in `logging`, under loggers such as `edgesentry_rs.ingest.storage`, without any setup: each
record has the event's fields as attributes, and all of them as a dict in `fields`. `init` writes them as
JSON, or sends traces to a collector, without running Python code for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from edgesentry._core import end_telemetry, init_telemetry, metrics_text

__all__ = ["init", "metrics_text", "shutdown", "trace_context"]

_trace: ContextVar[tuple[str, str | None] | None] = ContextVar("edgesentry_trace", default=None)


def init(
    log: Literal["json", "text"] | None = None,
    *,
    filter: str | None = None,
    output: Literal["stderr", "stdout"] = "stderr",
    otlp_endpoint: str | None = None,
    otlp_protocol: Literal["grpc", "http"] = "grpc",
    otlp_timeout_seconds: int = 5,
    service_name: str = "edgesentry",
) -> None:
    """Configures the telemetry of this process. Another call replaces the configuration.

    Args:
        log: Writes events as lines of JSON or text; None writes none. `logging` always receives them.
        filter: The events to write, such as `edgesentry_rs=info,edgesentry_rs::ingest::verify=debug`;
            the variable `RUST_LOG` overrides it. By default `edgesentry_rs=info`.
        output: The destination of the lines: the file descriptor, not `sys.stderr`.
        otlp_endpoint: The collector of the traces, such as `http://127.0.0.1:4317`; None for none.
        otlp_protocol: `grpc`, or `http` for protobuf over HTTP.
        otlp_timeout_seconds: The timeout of a request to the collector.
        service_name: The name of the service in traces.

    Raises:
        ConfigError: The filter or the endpoint is malformed.
        ValueError: Another argument is wrong.
    """
    import edgesentry._logging  # noqa: F401 (sends the last spans at exit)

    init_telemetry(log, filter, output, otlp_endpoint, otlp_protocol, otlp_timeout_seconds, service_name)


def shutdown() -> None:
    """Hands over waiting events, sends the last spans, and stops sending. Called automatically at exit."""
    end_telemetry()


@contextmanager
def trace_context(traceparent: str, tracestate: str | None = None) -> Iterator[None]:
    """Adds records ingested inside the block to this trace of W3C trace context.

    Args:
        traceparent: The header of that name. A malformed one is ignored, as the standard requires.
        tracestate: The header of that name.
    """
    token = _trace.set((traceparent, tracestate))
    try:
        yield
    finally:
        _trace.reset(token)
