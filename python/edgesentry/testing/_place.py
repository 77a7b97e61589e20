"""The location of a ledger for a test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgesentry._ledger import Ledger, open


@dataclass(frozen=True, slots=True)
class Place:
    """A location for a ledger, which the plugin creates for a test and removes after it.

    Attributes:
        store: `sqlite`, `postgres` or `s3`.
        url: The ledger, as `edgesentry.open` takes it.
        payloads: The payload store, as `edgesentry.open` takes it.
        config: Its settings file, or None.
    """

    store: str
    url: str
    payloads: str
    config: Path | None = None

    def open(self) -> Ledger:
        """Opens the ledger; a test may do so any number of times."""
        return open(self.url, self.payloads, config=self.config)
