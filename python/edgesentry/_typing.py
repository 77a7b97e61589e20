"""Types of the stubs and the public API."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

from edgesentry._core import AuditRecord, Device, Head, KeyRing, Report

Scheme: TypeAlias = Literal["payload-hash", "record"]
"""The scheme of a signature: it covers the payload hash only, or the whole record."""

Order: TypeAlias = Literal["position", "sequence"]
"""The order of the records of a chain: that of the input, or that of their sequence numbers."""

Level: TypeAlias = Literal["signatures", "payloads", "heads", "log"]
"""A level of verification that needs an input of its own. Links are always checked."""

Provider: TypeAlias = Literal["auditor", "manifest", "ledger", "record", "bundle"]
"""The party that provided an input. Inputs of the auditor are trusted, others are claims."""

InputKind: TypeAlias = Literal["start_heads", "keys", "payloads", "heads", "policy"]
"""An input that a level is checked against."""

Verdict: TypeAlias = Literal["valid", "findings", "nothing_to_verify"]
"""The verdict of a report."""

FindingCode: TypeAlias = Literal[
    "prev_hash_mismatch",
    "sequence_gap",
    "sequence_duplicate",
    "sequence_out_of_order",
    "fork",
    "first_record_not_genesis",
    "signature_invalid",
    "unknown_device",
    "key_not_valid_at_sequence",
    "succession_invalid",
    "payload_hash_mismatch",
    "payload_missing",
    "head_mismatch",
    "device_missing",
    "record_malformed",
    "checkpoint_untrusted",
    "witness_quorum_missing",
    "checkpoint_stale",
    "checkpoint_mismatch",
    "checkpoint_inconsistent",
    "leaf_missing",
    "not_included",
    "heads_mismatch",
    "key_not_logged",
    "timestamp_invalid",
    "bundle_malformed",
]
"""The stable codes of findings."""

RejectionCode: TypeAlias = Literal[
    "payload_hash_mismatch",
    "unknown_device",
    "signature_invalid",
    "sequence_gap",
    "sequence_duplicate",
    "prev_hash_mismatch",
    "fork",
    "key_not_valid_at_sequence",
    "succession_invalid",
    "out_of_range",
    "object_conflict",
    "object_ref_invalid",
    "store_refused",
]
"""The reason for which the ingest service rejects a record."""

OutcomeStatus: TypeAlias = Literal["accepted", "duplicate", "rejected", "error"]
"""The outcome of a record."""

ErasureState: TypeAlias = Literal["waiting", "kept", "erased"]
"""The progress of an erasure."""

Path: TypeAlias = str | os.PathLike[str]
Bytes: TypeAlias = bytes | bytearray | memoryview
ByteField: TypeAlias = bytes | bytearray | str | Sequence[int]
"""Bytes as bytes, as hex digits, or as integers from 0 to 255."""


class RecordDict(TypedDict):
    """The seven fields of a record; byte fields as hex digits."""

    device_id: str
    sequence: int
    timestamp_ms: int
    payload_hash: str
    signature: str
    prev_record_hash: str
    object_ref: str


class HeadDict(TypedDict):
    """The fields of a head; the hash as hex digits."""

    sequence: int
    hash: str


class ExportFileDict(TypedDict):
    """A file of an export: its name without the directory, and BLAKE3 of its bytes as hex digits."""

    name: str
    format: Literal["JSON", "NDJSON", "Arrow IPC", "Parquet"]
    size_bytes: int
    blake3: str


class ExportFilterDict(TypedDict):
    """The filter of an export; None sets no limit, and an empty list stands for all devices.

    Times are Unix milliseconds; `before_ms` is excluded.
    """

    devices: list[str]
    from_sequence: int | None
    to_sequence: int | None
    from_ms: int | None
    before_ms: int | None


class KeyDict(TypedDict):
    """A public key of a device, as hex digits, with its scheme and its first valid sequence."""

    key: str
    scheme: Scheme
    valid_from: int


RevocationReason: TypeAlias = Literal["unspecified", "compromised", "superseded", "retired", "lost"]
"""Why the keys of a device are revoked."""


class RegisteredKeyDict(KeyDict):
    """A key of the device registry; from sequence `revoked_from` on it is no longer accepted.

    `revoked_reason` is None if it is not revoked, or was revoked by an earlier release.
    """

    revoked_from: int | None
    revoked_reason: RevocationReason | None


class RegisteredDeviceDict(TypedDict):
    """A device of the registry.

    `start` is the link before the first record in the ledger, if the chain does not begin at sequence 1.
    """

    device_id: str
    keys: list[RegisteredKeyDict]
    head: Head | None
    start: Head | None


class KeptRejectionDict(TypedDict):
    """The rejection of the first waiting record of an outbox."""

    sequence: int
    reason: RejectionCode
    expected: str
    actual: str


class PendingDict(TypedDict):
    """Acknowledged records of an outbox that lack their receipts.

    `age_seconds` is the time since the service first acknowledged the oldest one, by the clock of the
    device; `overdue` is whether it exceeds `max_receipt_age`.
    """

    pending: int
    age_seconds: float
    overdue: bool


class ReceiptsDict(PendingDict):
    """The receipts of a flush.

    `verified` records left the outbox. `sent_again` records were acknowledged, then lost by the service.
    """

    verified: int
    sent_again: int


class CheckpointConflictDict(TypedDict):
    """Two signed checkpoints of one log; the one shown later does not extend the one that was kept."""

    at_ms: int
    kept: str
    shown: str
    reason: str


class FlushedDict(TypedDict):
    """The result of a flush of an outbox.

    `rejection` is the reason if the flush stopped at a rejected record. `receipts` is None unless the
    outbox requires them.
    """

    accepted: int
    duplicates: int
    waiting: int
    rejection: KeptRejectionDict | None
    receipts: ReceiptsDict | None


ReceiptMode: TypeAlias = Literal["required", "off"]
"""Whether an outbox keeps each record until its receipt holds."""


LogReason: TypeAlias = RejectionCode | Literal["log_conflict"]
"""The reason of a rejection; or a record of the transparency log has replaced the record."""


class LogEntryDict(TypedDict):
    """An entry of the operation log. `evidence` holds the canonical bytes of a rejected record.

    If its signature was not verified, they are the first 512 bytes.
    """

    id: int
    at_ms: int
    device_id: str
    sequence: int | None
    outcome: Literal["accepted", "duplicate", "rejected"]
    reason: LogReason | None
    record_hash: bytes
    expected: str | None
    actual: str | None
    evidence: bytes | None


class BinaryFile(Protocol):
    """A file object opened in binary mode."""

    def read(self, size: int, /) -> bytes:
        """Reads at most `size` bytes; returns none at the end."""


class Signer(Protocol):
    """An object that has an Ed25519 key, such as the key in a secure element."""

    @property
    def public_key(self) -> str | bytes:
        """The public key, 64 hex digits or 32 bytes."""

    def sign(self, message: bytes, /) -> bytes:
        """Returns the signature of a message, 64 bytes."""


class ArrowStream(Protocol):
    """An object that exports an Arrow stream: of pyarrow, polars, duckdb and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the stream as a capsule."""


class Bar(Protocol):
    """A progress bar, such as one of tqdm."""

    def update(self, n: int, /) -> object:
        """Advances the bar by `n` steps."""

    def close(self) -> object:
        """Closes the bar."""


class BarFactory(Protocol):
    """A callable that creates a progress bar, such as the class `tqdm.auto.tqdm`."""

    def __call__(self, *, total: int | None, unit: str, unit_scale: bool, desc: str) -> Bar:
        """Creates the bar; `total` is None if it is not known."""


class LazyFrame(Protocol):
    """A query of polars that has not run yet."""

    def collect_schema(self) -> Any:
        """Returns the columns."""


class DeltaTable(Protocol):
    """A table of deltalake."""

    def to_pyarrow_dataset(self, *args: Any, **options: Any) -> Any:
        """Returns the live files."""


class IcebergTable(Protocol):
    """A table of pyiceberg."""

    def scan(self, *args: Any, **options: Any) -> Any:
        """Returns the live rows."""


class DaskFrame(Protocol):
    """A data frame of Dask."""

    @property
    def partitions(self) -> Any:
        """The parts, in order."""


LibraryTable: TypeAlias = LazyFrame | DeltaTable | IcebergTable | DaskFrame
Records: TypeAlias = Iterable[AuditRecord | Mapping[str, object]]
Source: TypeAlias = Path | Sequence[Path] | Bytes | BinaryFile | ArrowStream | LibraryTable | Records
Keys: TypeAlias = Path | KeyRing | Device | Sequence[Device] | Mapping[str, object]
Heads: TypeAlias = Path | Report | ArrowStream | Mapping[str, Head] | Mapping[str, HeadDict]
Contested: TypeAlias = dict[str, list[tuple[int, int, int]]]
