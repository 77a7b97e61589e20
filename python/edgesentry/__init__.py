"""Tamper-evident audit records: verify exports, sign and read records."""

from collections.abc import Sequence as _Sequence

from edgesentry._core import (
    FINDING_CODES,
    AuditRecord,
    Cause,
    Coverage,
    Device,
    Finding,
    Findings,
    Head,
    HeadCoverage,
    Input,
    KeyRing,
    PayloadCoverage,
    RecordReader,
    Report,
    SignatureCoverage,
    __version__,
    read_heads,
    read_records,
    verify_chain,
    verify_record,
    write_heads,
    write_records,
)
from edgesentry._typing import FindingCode, Level, Scheme, Verdict
from edgesentry.exceptions import (
    ConfigError,
    EdgesentryError,
    RecordMalformed,
    StoreError,
    UnreadableError,
    VerificationError,
)

_Sequence.register(Findings)

__all__ = [
    "FINDING_CODES",
    "AuditRecord",
    "Cause",
    "ConfigError",
    "Coverage",
    "Device",
    "EdgesentryError",
    "Finding",
    "FindingCode",
    "Findings",
    "Head",
    "HeadCoverage",
    "Input",
    "KeyRing",
    "Level",
    "PayloadCoverage",
    "RecordMalformed",
    "RecordReader",
    "Report",
    "Scheme",
    "SignatureCoverage",
    "StoreError",
    "UnreadableError",
    "Verdict",
    "VerificationError",
    "__version__",
    "read_heads",
    "read_records",
    "verify_chain",
    "verify_record",
    "write_heads",
    "write_records",
]
