"""Telemetry: metrics, logs and traces of the ingest service.

Events arrive in `logging`, under loggers such as `edgesentry_rs.ingest.storage`, without any set-up: each record has
the event's fields as attributes, and all of them as a dict in `fields`. `init` writes them as JSON instead, or sends
traces to a collector, without running Python code for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from edgesentry._core import end_telemetry, init_telemetry, metrics_text
from edgesentry._logging import _trace

__all__ = ["init", "metrics_text", "shutdown", "trace_context"]


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
    """Sets how this process tells what the core does; may be called again, and then sets it anew.

    Args:
        log: Writes events as lines of JSON or text; None writes none. `logging` gets them all the same.
        filter: Which events are written, such as `edgesentry_rs=info,edgesentry_rs::ingest::verify=debug`; the
            variable `RUST_LOG` comes before it. By default `edgesentry_rs=info`.
        output: Where the lines go: the file descriptor, not `sys.stderr`.
        otlp_endpoint: The collector that traces are sent to, such as `http://127.0.0.1:4317`; None sends none.
        otlp_protocol: `grpc`, or `http` for protobuf over HTTP.
        otlp_timeout_seconds: How long the collector may take to answer.
        service_name: What the service is called in traces.

    Raises:
        ConfigError: The filter or the endpoint is none.
        ValueError: Another argument is wrong.
    """
    init_telemetry(log, filter, output, otlp_endpoint, otlp_protocol, otlp_timeout_seconds, service_name)


def shutdown() -> None:
    """Hands over the events that wait, sends the last spans, and sends no more. Happens by itself at exit."""
    end_telemetry()


@contextmanager
def trace_context(traceparent: str, tracestate: str | None = None) -> Iterator[None]:
    """Records that are ingested inside belong to this trace of W3C trace context.

    Args:
        traceparent: The header of that name. One that is malformed is, as the standard wants it, ignored.
        tracestate: The header of that name.
    """
    token = _trace.set((traceparent, tracestate))
    try:
        yield
    finally:
        _trace.reset(token)
