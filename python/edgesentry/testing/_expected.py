"""What verification must say of tampered evidence, level by level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from edgesentry._core import AuditRecord, Finding, Report
from edgesentry._typing import FindingCode, Level, Scheme

SCHEMES: tuple[Scheme, ...] = ("record", "payload-hash")
LEVELS: tuple[Level, ...] = ("signatures", "payloads", "heads")


class Expected(NamedTuple):
    """A finding as far as it can be foretold; equal to a plain tuple of the three.

    Attributes:
        code: The code.
        device_id: The device; None for an entry too broken to name one.
        sequence: The sequence that the record claims, or that of the trusted head.
    """

    code: FindingCode
    device_id: str | None
    sequence: int | None

    @classmethod
    def of(cls, finding: Finding) -> Expected:
        """A finding in this form."""
        return cls(finding.code, finding.device_id, finding.sequence)


Expecteds: TypeAlias = tuple[Expected, ...]


def found(report: Report) -> list[Expected]:
    """The findings of a report in this form, sorted."""
    return in_order(Expected.of(finding) for finding in report.findings)


def in_order(findings: Iterable[Expected]) -> list[Expected]:
    """Sorted by device, sequence and code; entries that name no device first."""
    return sorted(findings, key=lambda one: (one.device_id or "", one.sequence or 0, one.code))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """The findings of each level. What a level finds does not depend on the others.

    A level that is empty says: under this input alone the tampering is not found.

    Attributes:
        links: Found always.
        signatures: Found besides where keys are given, by the scheme of the device's key.
        payloads: Found besides where payloads are given.
        heads: Found besides where heads are given that were taken before the tampering.
    """

    links: Expecteds = ()
    signatures: Mapping[Scheme, Expecteds] = field(default_factory=dict)
    payloads: Expecteds = ()
    heads: Expecteds = ()

    def at(self, levels: Iterable[Level], scheme: Scheme | Mapping[str, Scheme]) -> list[Expected]:
        """What a verification with these levels finds, sorted; links are always checked.

        Args:
            levels: The levels whose input is given.
            scheme: The scheme of all keys, or that of each device.
        """
        expected = list(self.links)
        for level in levels:
            if level == "signatures":
                expected += self._signatures(scheme)
            else:
                expected += self.payloads if level == "payloads" else self.heads
        return in_order(expected)

    def _signatures(self, scheme: Scheme | Mapping[str, Scheme]) -> Iterable[Expected]:
        if isinstance(scheme, str):
            return self.signatures.get(scheme, ())
        # A device without a key is found out under either scheme.
        return [
            one
            for of_scheme, findings in self.signatures.items()
            for one in findings
            if scheme.get(one.device_id or "", "record") == of_scheme
        ]


@dataclass(frozen=True, slots=True)
class Tampered:
    """What a tampering leaves behind.

    Attributes:
        records: The records afterwards, in their order.
        expectations: What verification must say of them.
        payload_changes: Payloads that were put under an object reference, or None where one was removed.
    """

    records: tuple[AuditRecord, ...]
    expectations: Expectations
    payload_changes: Mapping[str, bytes | None] = field(default_factory=dict)

    def expected(self, *levels: Level, scheme: Scheme | Mapping[str, Scheme]) -> list[Expected]:
        """What a verification with these levels must find; see `Expectations.at`."""
        return self.expectations.at(levels, scheme)

    def payloads(self, before: Mapping[str, bytes]) -> dict[str, bytes]:
        """The payloads afterwards, by object reference, from those before."""
        after = {**before, **self.payload_changes}
        return {reference: payload for reference, payload in after.items() if payload is not None}

    @property
    def fits_table(self) -> bool:
        """Whether a table with the key (device, sequence), read in its order, can hold the records."""
        last: dict[str, int] = {}
        for record in self.records:
            if record.sequence <= last.get(record.device_id, -1) or record.sequence >= 2**63:
                return False
            last[record.device_id] = record.sequence
        return True


def both(*findings: Expected) -> dict[Scheme, Expecteds]:
    """The same under either scheme."""
    return dict.fromkeys(SCHEMES, findings)


def by_scheme(*, record: Iterable[Expected], payload_hash: Iterable[Expected]) -> dict[Scheme, Expecteds]:
    """Different ones under each scheme."""
    return {"record": tuple(record), "payload-hash": tuple(payload_hash)}
