"""Exceptions: failures of an operation. A fault of the evidence is a finding, never an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesentry._core import shown

if TYPE_CHECKING:
    from edgesentry._core import AuditRecord, Finding, Report
    from edgesentry._ledger import Outcomes

__all__ = [
    "ConfigError",
    "EdgesentryError",
    "HeadsRewrittenError",
    "ProofError",
    "RecordMalformed",
    "RegistryError",
    "RejectedError",
    "RequirementError",
    "ServiceError",
    "SignerError",
    "StoreError",
    "UnreadableError",
    "UpdateError",
    "UpdateRefusedError",
    "VerificationError",
]


def _records(number: int) -> str:
    return "1 record" if number == 1 else f"{number} records"


class EdgesentryError(Exception):
    """Base of the exceptions of this package."""


class ConfigError(EdgesentryError, ValueError):
    """The configuration cannot be used: a weak key, a key ring, a heads snapshot, a seed file."""


class HeadsRewrittenError(EdgesentryError):
    """Chains no longer extend the existing heads; nothing was replaced.

    A chain was cut or rewritten, or a device is gone.

    Attributes:
        place: The snapshot, or the source of the heads.
        findings: The findings that show it, one or more for each device.
    """

    def __init__(self, place: object, findings: list[Finding]) -> None:
        super().__init__(place, findings)
        self.place = place
        self.findings = findings

    def __str__(self) -> str:
        shows = "1 finding shows" if len(self.findings) == 1 else f"{len(self.findings)} findings show"
        return shown(
            f"{self.place}: {shows} that chains were cut, rewritten or left out "
            f"since the heads were taken, so nothing was replaced; the first is {self.findings[0]}"
        )


class ProofError(EdgesentryError):
    """A proof of the transparency log does not hold, proves another statement, or cannot be made.

    Attributes:
        code: The stable code, as `eds verify-proof` and `eds prove` report it.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


class RegistryError(EdgesentryError):
    """The device registry refuses a change; the message gives the reason."""


class StoreError(EdgesentryError):
    """A ledger, a payload store or a directory of payloads failed.

    The operation is safe to retry.

    Attributes:
        retryable: True if the same call may succeed later.
        component: `raw_data_store`, `audit_ledger`, `operation_log`, `outbox`, `archive` or
            `transparency_log`; empty if it is none of them.
    """

    def __init__(self, message: str, retryable: bool = False, component: str = "") -> None:
        super().__init__(message, retryable, component)
        self.retryable = retryable
        self.component = component

    def __str__(self) -> str:
        return str(self.args[0])


class ServiceError(EdgesentryError):
    """A service on the network refused a request, or could not be reached.

    The operation is safe to retry.

    Attributes:
        retryable: True if the same call may succeed later.
    """

    def __init__(self, message: str, retryable: bool = False) -> None:
        super().__init__(message, retryable)
        self.retryable = retryable

    def __str__(self) -> str:
        return str(self.args[0])


class SignerError(EdgesentryError):
    """A token, a program or another signer did not sign; no record was signed, and no chain has changed.

    Attributes:
        retryable: True if the same call may succeed later: a token that is not attached, a program that took
            too long. False for a wrong PIN, for example.
    """

    def __init__(self, message: str, retryable: bool = False) -> None:
        super().__init__(message, retryable)
        self.retryable = retryable

    def __str__(self) -> str:
        return str(self.args[0])


class RejectedError(EdgesentryError):
    """Records were not ingested.

    Attributes:
        outcomes: The outcomes of the whole call.
    """

    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__(outcomes)
        self.outcomes = outcomes

    def __str__(self) -> str:
        bad = [outcome for outcome in self.outcomes if not outcome.ok]
        first = bad[0]
        what = first.reason or first.error or first.outcome
        were = "was" if len(bad) == 1 else "were"
        return shown(
            f"{len(bad)} of {_records(len(self.outcomes))} {were} not ingested; the first is device "
            f"{first.device_id!r} sequence {first.sequence}: {what}"
        )


class UnreadableError(EdgesentryError, ValueError):
    """An input as a whole is not in a format that holds records."""


class RecordMalformed(EdgesentryError, ValueError):
    """An entry is not an audit record.

    Attributes:
        index: Position of the entry in the source, from 0, over all files.
        expected: The valid form of an entry.
        actual: The fault of this entry, with its line and byte offset or its row.
    """

    def __init__(self, index: int, expected: str, actual: str) -> None:
        super().__init__(index, expected, actual)
        self.index = index
        self.expected = expected
        self.actual = actual

    def __str__(self) -> str:
        return shown(f"entry {self.index} is not a record: expected {self.expected}, found {self.actual}")


class UpdateError(EdgesentryError, ValueError):
    """A manifest, a trust or an update state cannot be used. It is not a verdict about an update.

    Attributes:
        code: The stable code, as `eds update` reports it, such as `update_trust` or `update_state`.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


class UpdateRefusedError(EdgesentryError):
    """A device refuses an update: do not install the image.

    Attributes:
        code: The stable code, as `eds update verify` reports it, such as `update_rollback`.
        record: The record of the refusal in the chain of the device, if there is an outbox with room for it.
    """

    def __init__(self, message: str, code: str = "", record: AuditRecord | None = None) -> None:
        super().__init__(message, code, record)
        self.code = code
        self.record = record

    def __str__(self) -> str:
        return str(self.args[0])


class VerificationError(EdgesentryError):
    """The report is not ok: it has findings, or there was nothing to verify.

    Attributes:
        report: The report.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        report = self.report
        if report.verdict == "nothing_to_verify":
            return "nothing to verify: the input holds no record"
        counts = ", ".join(f"{count} {code}" for code, count in report.counts.items())
        return f"findings in {_records(report.coverage.records)}: {counts}"


class RequirementError(VerificationError, ValueError):
    """The report is valid, but does not cover a required level.

    Attributes:
        report: The report.
        reason: The level that is not covered, or that the file is not the one that the manifest describes.
    """

    def __init__(self, report: Report, reason: str) -> None:
        super().__init__(report)
        self.args = (report, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the report is valid, but not everything that was required is covered: {self.reason}"
