"""Events of the Rust core as records of `logging`; the core imports this module at its first call."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterable

from edgesentry._core import end_telemetry

Event = tuple[str, int, float, str, int, str, dict[str, object]]

# Without a handler of the application, rejections do not go to stderr, as is usual for libraries.
logging.getLogger("edgesentry_rs").addHandler(logging.NullHandler())

# Hands over waiting events and sends the last spans.
atexit.register(end_telemetry)


def levels(names: Iterable[str]) -> list[int]:
    """The lowest enabled level of each logger."""
    disabled = logging.root.manager.disable
    return [max(logging.getLogger(name).getEffectiveLevel(), disabled + 1, 1) for name in names]


def emit(events: Iterable[Event]) -> None:
    """Hands events to their loggers."""
    for name, level, created, path, line, message, fields in events:
        logger = logging.getLogger(name)
        if not logger.isEnabledFor(level):
            continue
        record = logger.makeRecord(name, level, path, line, message, (), None)
        # The time of the event, not of its delivery.
        record.relativeCreated += (created - record.created) * 1000
        record.created = created
        record.msecs = int(created % 1 * 1000)
        record.__dict__["fields"] = fields
        for key, value in fields.items():
            record.__dict__.setdefault(key, value)
        logger.handle(record)


def dropped(count: int) -> None:
    """Reports that some events are missing."""
    logging.getLogger("edgesentry_rs").warning("%d events were dropped: too many waited for logging", count)
