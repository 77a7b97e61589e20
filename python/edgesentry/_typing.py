"""Types that the stubs and the public API share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, TypedDict

from edgesentry._core import AuditRecord, Head, KeyRing, Report

Scheme: TypeAlias = Literal["payload-hash", "record"]
"""What a signature covers: the payload hash only, or the whole record."""

Level: TypeAlias = Literal["signatures", "payloads", "heads"]
"""A level of verification that needs an input of its own. Links are always checked."""

Verdict: TypeAlias = Literal["valid", "findings", "nothing_to_verify"]
"""What a report says of the whole input."""

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
    "payload_hash_mismatch",
    "payload_missing",
    "head_mismatch",
    "device_missing",
    "record_malformed",
]
"""The stable codes of findings."""

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


class KeyDict(TypedDict):
    """A public key of a device, as hex digits, with its scheme and its first valid sequence."""

    key: str
    scheme: Scheme
    valid_from: int


class BinaryFile(Protocol):
    """A file object opened in binary mode."""

    def read(self, size: int, /) -> bytes:
        """Reads at most `size` bytes; none at the end."""


class ArrowStream(Protocol):
    """An object that exports an Arrow stream: of pyarrow, polars, duckdb and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the stream as a capsule."""


class Bar(Protocol):
    """A progress bar such as tqdm makes."""

    def update(self, n: int, /) -> object:
        """Goes `n` steps further."""

    def close(self) -> object:
        """Ends the bar."""


class BarFactory(Protocol):
    """A callable that makes a progress bar, such as the class `tqdm.auto.tqdm`."""

    def __call__(self, *, total: int | None, unit: str, unit_scale: bool, desc: str) -> Bar:
        """Makes the bar; `total` is None where it is not known."""


Records: TypeAlias = Iterable[AuditRecord | Mapping[str, object]]
Source: TypeAlias = Path | Sequence[Path] | Bytes | BinaryFile | ArrowStream | Records
Keys: TypeAlias = Path | KeyRing | Mapping[str, object]
Heads: TypeAlias = Path | Report | Mapping[str, Head] | Mapping[str, HeadDict]
