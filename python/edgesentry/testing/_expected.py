"""The expected findings of tampered evidence, by level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from edgesentry._core import AuditRecord, Finding, Report
from edgesentry._typing import FindingCode, Level, Scheme

SCHEMES: tuple[Scheme, ...] = ("record", "payload-hash")
LEVELS: tuple[Level, ...] = ("signatures", "payloads", "heads")


class Expected(NamedTuple):
    """The predictable part of a finding; equal to a plain tuple of the three.

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
        """Converts a finding to this form."""
        return cls(finding.code, finding.device_id, finding.sequence)


Expecteds: TypeAlias = tuple[Expected, ...]


def found(report: Report) -> list[Expected]:
    """Returns the findings of a report in this form, sorted.

    Raises:
        TypeError: It is not a report.
    """
    if not isinstance(report, Report):
        kind = type(report).__name__
        raise TypeError(f"report is a Report, not {kind}; found(verify_chain(tampered.records, ...))")
    return in_order(Expected.of(finding) for finding in report.findings)


def in_order(findings: Iterable[Expected]) -> list[Expected]:
    """Sorts by device, sequence and code; entries without a device come first."""
    return sorted(findings, key=lambda one: (one.device_id or "", one.sequence or 0, one.code))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """The findings of each level, which do not depend on the other levels.

    An empty level does not detect the tampering.

    Attributes:
        links: The findings of every verification.
        signatures: The further findings if keys are given, by the scheme of the device's key.
        payloads: The further findings if payloads are given.
        heads: The further findings if heads from before the tampering are given.
    """

    links: Expecteds = ()
    signatures: Mapping[Scheme, Expecteds] = field(default_factory=dict)
    payloads: Expecteds = ()
    heads: Expecteds = ()

    def at(self, levels: Iterable[Level], scheme: Scheme | Mapping[str, Scheme]) -> list[Expected]:
        """Returns the findings of a verification with these levels, sorted; links are always checked.

        Args:
            levels: The levels whose input is given.
            scheme: The scheme of all keys, or that of each device.

        Raises:
            ValueError: A level or a scheme is unknown, or the level is `log`, whose findings depend on the
                log: see `Log.expected`.
        """
        if isinstance(scheme, str) and scheme not in SCHEMES:
            raise ValueError(f"unknown scheme {scheme!r}: use {' or '.join(map(repr, SCHEMES))}")
        expected = list(self.links)
        for level in levels:
            if level == "signatures":
                expected += self._signatures(scheme)
            elif level == "log":
                raise ValueError("the findings of level log depend on the log; take them from Log.expected")
            elif level in LEVELS:
                expected += self.payloads if level == "payloads" else self.heads
            else:
                raise ValueError(f"unknown level {level!r}; the levels are {', '.join(LEVELS)}")
        return in_order(expected)

    def _signatures(self, scheme: Scheme | Mapping[str, Scheme]) -> Iterable[Expected]:
        if isinstance(scheme, str):
            return self.signatures.get(scheme, ())
        # A device without a key is found under either scheme.
        return [
            one
            for of_scheme, findings in self.signatures.items()
            for one in findings
            if scheme.get(one.device_id or "", "record") == of_scheme
        ]


@dataclass(frozen=True, slots=True)
class Tampered:
    """The result of a tampering.

    Attributes:
        records: The tampered records, in their order.
        expectations: Their expected findings.
        payload_changes: New payloads by object reference; None for a removed one.
        schemes: The scheme of each device of the fleet; None if the records come from no fleet.
    """

    records: tuple[AuditRecord, ...]
    expectations: Expectations
    payload_changes: Mapping[str, bytes | None] = field(default_factory=dict)
    schemes: Mapping[str, Scheme] | None = None

    def __repr__(self) -> str:
        devices = {record.device_id for record in self.records}
        return f"<Tampered: {len(self.records)} records of {len(devices)} devices>"

    def expected(self, *levels: Level, scheme: Scheme | Mapping[str, Scheme] | None = None) -> list[Expected]:
        """Returns the expected findings of a verification with these levels; see `Expectations.at`.

        Args:
            levels: The levels whose input is given.
            scheme: The scheme of all keys, or that of each device; by default that of the fleet.

        Raises:
            TypeError: The level is `signatures`, and the records come from no fleet.
            ValueError: A level or a scheme is unknown.
        """
        known = self.schemes if scheme is None else scheme
        if known is None and "signatures" in levels:
            raise TypeError(
                'expected() does not know the schemes of these records: expected(..., scheme="record")'
            )
        return self.expectations.at(levels, known or "record")

    def payloads(self, before: Mapping[str, bytes]) -> dict[str, bytes]:
        """Returns the tampered payloads by object reference, from the original ones."""
        after = {**before, **self.payload_changes}
        return {reference: payload for reference, payload in after.items() if payload is not None}

    @property
    def fits_table(self) -> bool:
        """True if a table with the key (device, sequence), read in its order, can hold the records."""
        last: dict[str, int] = {}
        for record in self.records:
            if record.sequence <= last.get(record.device_id, -1) or record.sequence >= 2**63:
                return False
            last[record.device_id] = record.sequence
        return True


def both(*findings: Expected) -> dict[Scheme, Expecteds]:
    """Returns the same findings under either scheme."""
    return dict.fromkeys(SCHEMES, findings)


def by_scheme(*, record: Iterable[Expected], payload_hash: Iterable[Expected]) -> dict[Scheme, Expecteds]:
    """Returns different findings under each scheme."""
    return {"record": tuple(record), "payload-hash": tuple(payload_hash)}
