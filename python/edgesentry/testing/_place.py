"""Where a ledger for a test is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgesentry._ledger import Ledger, open


@dataclass(frozen=True, slots=True)
class Place:
    """A place for a ledger, which the plugin makes for a test and takes away behind it.

    Attributes:
        store: `sqlite`, `postgres` or `s3`.
        url: The ledger, as `edgesentry.open` takes it.
        payloads: The payload store, as `edgesentry.open` takes it.
        config: A file of settings that it needs, or None.
    """

    store: str
    url: str
    payloads: str
    config: Path | None = None

    def open(self) -> Ledger:
        """Opens the ledger; as often as a test likes."""
        return open(self.url, self.payloads, config=self.config)
