"""Broken files, each with the expected result of reading it."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from edgesentry._core import AuditRecord, write_records
from edgesentry.testing._catalogue import Catalogue
from edgesentry.testing._expected import Expected, Expecteds

NOT_A_RECORD: Final = Expected("record_malformed", None, None)


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A broken file.

    Attributes:
        content: Its bytes.
        findings: The findings of a verification of the links; sound parts of the file are verified.
        unreadable: True if the whole file is refused with `UnreadableError`; then there are no findings.
    """

    content: bytes
    findings: Expecteds = ()
    unreadable: bool = False


Break: TypeAlias = Callable[[Sequence[AuditRecord]], BrokenFile]


@dataclass(frozen=True, slots=True)
class MalformedFile:
    """A kind of broken file.

    Attributes:
        name: Its stable name.
        summary: The fault, in one sentence.
    """

    name: str
    summary: str
    _break: Break

    def __str__(self) -> str:
        return self.name

    def __call__(self, records: Sequence[AuditRecord]) -> BrokenFile:
        """Returns the broken file of a chain that begins at sequence 1 and has at least four records."""
        if len(records) < 4 or len({record.device_id for record in records}) != 1:
            raise ValueError("a broken file needs one chain of at least four records")
        return self._break(records)


class _BrokenFiles(Catalogue[MalformedFile]):
    kind = "broken file"


MALFORMED_FILES: Final[Catalogue[MalformedFile]] = _BrokenFiles()
"""Every kind of broken file, by name."""


def _broken(summary: str) -> Callable[[Break], Break]:
    def register(make: Break) -> Break:
        name = make.__name__.removeprefix("_")
        MALFORMED_FILES[name] = MalformedFile(name, summary, make)
        return make

    return register


def _ndjson(records: Sequence[AuditRecord]) -> list[bytes]:
    return [json.dumps(record.to_dict()).encode() for record in records]


def _third_is(records: Sequence[AuditRecord], line: bytes) -> BrokenFile:
    """Returns a file whose third line is not a record, so that the fourth does not follow the second."""
    lines = _ndjson(records)
    lines[2] = line
    device_id, sequence = records[3].device_id, records[3].sequence
    gap = Expected("sequence_gap", device_id, sequence)
    return BrokenFile(b"\n".join(lines) + b"\n", (NOT_A_RECORD, gap))


def _third_with(records: Sequence[AuditRecord], name: str, value: object) -> BrokenFile:
    return _third_is(records, json.dumps({**records[2].to_dict(), name: value}).encode())


def _written(records: Sequence[AuditRecord], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"export{suffix}"
        write_records(records, path)
        return path.read_bytes()


@_broken("A line is cut in the middle of a record.")
def _line_cut(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_is(records, _ndjson(records)[2][:200])


@_broken("A JSON array ends in the middle of its last record.")
def _json_truncated(records: Sequence[AuditRecord]) -> BrokenFile:
    text = json.dumps([record.to_dict() for record in records]).encode()
    return BrokenFile(text[:-100], (NOT_A_RECORD,))


@_broken("A JSON array lacks its closing bracket.")
def _json_unclosed(records: Sequence[AuditRecord]) -> BrokenFile:
    text = json.dumps([record.to_dict() for record in records]).encode()
    return BrokenFile(text[:-1], (NOT_A_RECORD,))


@_broken("A text is not valid UTF-8.")
def _bad_utf8(records: Sequence[AuditRecord]) -> BrokenFile:
    line = _ndjson(records)[2]
    return _third_is(records, line.replace(b"lift", b"li\xff\xfe", 1))


@_broken("A hash is a byte short.")
def _short_hash(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_with(records, "payload_hash", records[2].payload_hash.hex()[:-2])


@_broken("A signature is a byte long.")
def _long_signature(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_with(records, "signature", records[2].signature.hex() + "00")


@_broken("A byte of an array is above 255.")
def _byte_out_of_range(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_with(records, "payload_hash", [256, *records[2].payload_hash[1:]])


@_broken("A sequence is 2^64.")
def _sequence_too_large(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_with(records, "sequence", 2**64)


@_broken("A number has three hundred digits.")
def _huge_number(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_with(records, "timestamp_ms", 10**300)


@_broken("A sequence is negative.")
def _negative_sequence(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_with(records, "sequence", -1)


@_broken("A sequence is a fraction.")
def _fractional_sequence(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_with(records, "sequence", 3.5)


@_broken("A field is missing.")
def _missing_field(records: Sequence[AuditRecord]) -> BrokenFile:
    fields = {name: value for name, value in records[2].to_dict().items() if name != "object_ref"}
    return _third_is(records, json.dumps(fields).encode())


@_broken("There is a field that no hash covers.")
def _unknown_field(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_with(records, "note", "nobody signed this")


@_broken("A field is there twice.")
def _duplicate_field(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_is(records, _ndjson(records)[2][:-1] + b', "sequence": 3}')


@_broken("A record is nested ten thousand levels deep.")
def _deep_nesting(records: Sequence[AuditRecord]) -> BrokenFile:
    return _third_is(records, b'{"device_id": ' + b"[" * 10_000 + b"]" * 10_000 + b"}")


@_broken("The file begins with a byte order mark.")
def _byte_order_mark(records: Sequence[AuditRecord]) -> BrokenFile:
    return BrokenFile(b"\xef\xbb\xbf" + b"\n".join(_ndjson(records)), unreadable=True)


@_broken("The file is not an export.")
def _other_format(_records: Sequence[AuditRecord]) -> BrokenFile:
    return BrokenFile(b"device_id,sequence\nlift-01,1\n", unreadable=True)


@_broken("A gzip file ends early.")
def _gzip_truncated(records: Sequence[AuditRecord]) -> BrokenFile:
    return BrokenFile(gzip.compress(b"\n".join(_ndjson(records)))[:-20], unreadable=True)


@_broken("A byte of a gzip file is changed: its checksum does not fit.")
def _gzip_damaged(records: Sequence[AuditRecord]) -> BrokenFile:
    packed = bytearray(gzip.compress(b"\n".join(_ndjson(records))))
    packed[-6] ^= 0xFF
    return BrokenFile(bytes(packed), unreadable=True)


@_broken("A zstd file ends early.")
def _zstd_truncated(records: Sequence[AuditRecord]) -> BrokenFile:
    return BrokenFile(_written(records, ".ndjson.zst")[:-20], unreadable=True)


@_broken("A Parquet file ends before its footer.")
def _parquet_truncated(records: Sequence[AuditRecord]) -> BrokenFile:
    return BrokenFile(_written(records, ".parquet")[:-50], unreadable=True)


@_broken("A Parquet file has a footer of zeros.")
def _parquet_footer_zeroed(records: Sequence[AuditRecord]) -> BrokenFile:
    whole = _written(records, ".parquet")
    footer = int.from_bytes(whole[-8:-4], "little")
    return BrokenFile(whole[: -8 - footer] + bytes(footer) + whole[-8:], unreadable=True)


@_broken("An Arrow file ends early.")
def _arrow_truncated(records: Sequence[AuditRecord]) -> BrokenFile:
    return BrokenFile(_written(records, ".arrow")[:-60], unreadable=True)
