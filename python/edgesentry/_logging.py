"""Events of the Rust core as records of `logging`; called by the core."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterable
from contextvars import ContextVar

Event = tuple[str, int, float, str, int, str, dict[str, object]]

# Who listens to nothing is not told of rejections on stderr, as libraries should have it.
logging.getLogger("edgesentry_rs").addHandler(logging.NullHandler())

_trace: ContextVar[tuple[str, str | None] | None] = ContextVar("edgesentry_trace", default=None)


def levels(names: Iterable[str]) -> list[int]:
    """The lowest level that each logger wants."""
    disabled = logging.root.manager.disable
    return [max(logging.getLogger(name).getEffectiveLevel(), disabled + 1, 1) for name in names]


def emit(events: Iterable[Event]) -> None:
    """Hands events to their loggers."""
    for name, level, created, path, line, message, fields in events:
        logger = logging.getLogger(name)
        if not logger.isEnabledFor(level):
            continue
        record = logger.makeRecord(name, level, path, line, message, (), None)
        # When it happened, not when it is told.
        record.relativeCreated += (created - record.created) * 1000
        record.created = created
        record.msecs = int(created % 1 * 1000)
        record.__dict__["fields"] = fields
        for key, value in fields.items():
            record.__dict__.setdefault(key, value)
        logger.handle(record)


def dropped(count: int) -> None:
    """Says that some events are missing."""
    logging.getLogger("edgesentry_rs").warning("%d events were dropped: too many waited for logging", count)


def current_trace() -> tuple[str, str | None] | None:
    """The trace of the caller."""
    return _trace.get()


def _end() -> None:
    from edgesentry._core import end_telemetry

    end_telemetry()


atexit.register(_end)
