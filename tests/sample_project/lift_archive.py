"""A small pipeline: records of devices are ingested, and an archive is written only if they verify."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import edgesentry
from edgesentry import AuditRecord, Client, Head, KeyRing, Ledger, Report


class SuspiciousArchive(Exception):
    """The records to archive do not verify."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.summary())
        self.report = report


def receive(ledger: Ledger, pairs: Iterable[tuple[AuditRecord, bytes]]) -> dict[str, int]:
    """Ingests records; returns the number of each outcome."""
    return ledger.ingest_many(pairs).counts


def forward(client: Client, pairs: Iterable[tuple[AuditRecord, bytes]]) -> dict[str, int]:
    """Forwards records to the service of the head office; returns the number of each outcome."""
    return client.ingest_many(pairs).counts


def archive(
    records: Iterable[AuditRecord],
    path: Path,
    *,
    keys: KeyRing,
    heads: dict[str, Head],
    payloads: Path | None = None,
) -> Report:
    """Writes an archive if its records verify."""
    records = list(records)
    report = edgesentry.verify_chain(records, keys=keys, heads=heads, payloads=payloads)
    if not report.ok:
        raise SuspiciousArchive(report)
    edgesentry.write_records(records, path)
    return report
