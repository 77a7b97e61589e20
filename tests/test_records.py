"""Records: their fields, and reading and writing them."""

from __future__ import annotations

import json
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesentry import (
    AuditRecord,
    EdgesentryError,
    RecordMalformed,
    UnreadableError,
    read_records,
    verify_chain,
    write_records,
)

SUFFIXES = ["json", "json.gz", "json.zst", "ndjson", "jsonl", "ndjson.gz", "ndjson.zst", "arrow", "parquet"]
U64 = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
RECORDS = st.builds(
    AuditRecord,
    device_id=TEXT,
    sequence=U64,
    timestamp_ms=U64,
    payload_hash=st.binary(min_size=32, max_size=32),
    signature=st.binary(min_size=64, max_size=64),
    prev_record_hash=st.binary(min_size=32, max_size=32),
    object_ref=TEXT,
)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@given(RECORDS)
def test_canonical_bytes_follow_the_format(record: AuditRecord) -> None:
    device_id, object_ref = record.device_id.encode(), record.object_ref.encode()
    assert record.canonical_bytes() == b"".join(
        [
            varint(len(device_id)) + device_id,
            varint(record.sequence) + varint(record.timestamp_ms),
            record.payload_hash,
            b"\x40" + record.signature,
            record.prev_record_hash,
            varint(len(object_ref)) + object_ref,
        ]
    )


@given(RECORDS)
def test_a_record_survives_every_form(record: AuditRecord) -> None:
    fields = record.to_dict()
    as_json = json.loads(json.dumps(fields))
    integers = as_json | {"signature": list(record.signature), "payload_hash": list(record.payload_hash)}
    for copy in (
        AuditRecord.from_dict(fields),
        AuditRecord.from_dict(as_json),
        AuditRecord.from_dict(integers),
        record.replace(),
        pickle.loads(pickle.dumps(record)),
    ):
        assert copy == record
        assert hash(copy) == hash(record)
        assert copy.hash() == record.hash()
        assert repr(copy) == repr(record)
    assert record.replace(sequence=record.sequence ^ 1) != record
    assert record != fields


def test_records_do_not_change(records: list[AuditRecord]) -> None:
    with pytest.raises(AttributeError):
        records[0].sequence = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sequence": -1}, ValueError),
        ({"sequence": 2**64}, ValueError),
        ({"sequence": "1"}, TypeError),
        ({"timestamp_ms": 1.5}, TypeError),
        ({"device_id": 1}, TypeError),
        ({"object_ref": "\ud800"}, TypeError),
        ({"payload_hash": bytes(31)}, ValueError),
        ({"payload_hash": "ab" * 31}, ValueError),
        ({"payload_hash": "xy" * 32}, ValueError),
        ({"signature": bytes(65)}, ValueError),
        ({"signature": [256] * 64}, TypeError),
        ({"signature": None}, TypeError),
        ({"prev_hash": bytes(32)}, ValueError),
    ],
)
def test_fields_are_checked(
    records: list[AuditRecord], changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(changes))):
        records[0].replace(**changes)


def test_a_record_has_exactly_the_seven_fields(records: list[AuditRecord]) -> None:
    fields: dict[str, object] = {**records[0].to_dict()}
    del fields["object_ref"]
    with pytest.raises(ValueError, match="lacks the field object_ref"):
        AuditRecord.from_dict(fields)
    with pytest.raises(TypeError):
        AuditRecord.from_dict([1])  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_read_back(tmp_path: Path, records: list[AuditRecord], suffix: str) -> None:
    path = tmp_path / f"export.{suffix}"
    assert write_records(records, path) == len(records)
    assert list(read_records(path)) == records
    assert list(read_records([path, path])) == records * 2
    assert write_records(path, tmp_path / "copy.json") == len(records)
    assert list(read_records(tmp_path / "copy.json")) == records
    assert write_records([], path) == 0
    assert list(read_records(path)) == []


@settings(deadline=None, max_examples=50)
@given(records=st.lists(RECORDS, max_size=20), suffix=st.sampled_from(SUFFIXES))
def test_every_format_holds_any_record(
    tmp_path_factory: pytest.TempPathFactory, records: list[AuditRecord], suffix: str
) -> None:
    path = tmp_path_factory.mktemp("any") / f"export.{suffix}"
    write_records(iter(records), path)
    assert list(read_records(path)) == records


def test_the_exports_of_the_field_are_read(exports: Path) -> None:
    records = list(read_records(exports / "single_1000.json"))
    raw = json.loads((exports / "single_1000.json").read_text())
    assert records == [AuditRecord.from_dict(fields) for fields in raw]


def test_a_malformed_entry_is_raised_with_its_position(records: list[AuditRecord]) -> None:
    lines = [json.dumps(record.to_dict()) for record in records[:3]]
    export = "\n".join([lines[0], '{"sequence": 1}', lines[1], "{}", lines[2]]).encode()
    reader = read_records(export)
    assert next(reader) == records[0]
    with pytest.raises(RecordMalformed) as caught:
        next(reader)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, EdgesentryError)
    assert caught.value.index == 1
    assert "line 2" in caught.value.actual
    assert "entry 1" in str(caught.value)
    assert next(reader) == records[1]

    skipping = read_records(export, on_malformed="skip")
    assert list(skipping) == records[:3]
    assert skipping.skipped == 2
    with pytest.raises(ValueError, match="on_malformed"):
        read_records(export, on_malformed="ignore")  # type: ignore[arg-type]


def test_a_malformed_entry_leaves_no_file_behind(tmp_path: Path, records: list[AuditRecord]) -> None:
    path = tmp_path / "export.json"
    write_records(records, path)
    before = path.read_bytes()
    with pytest.raises(RecordMalformed):
        write_records(b"[{}]", path)

    def broken() -> Iterator[AuditRecord]:
        yield records[0]
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        write_records(broken(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_name_must_have_a_known_format(tmp_path: Path, records: list[AuditRecord]) -> None:
    for name in ("export", "export.csv", "export.parquet.gz"):
        with pytest.raises(ValueError, match="has no known format"):
            write_records(records, tmp_path / name)


def test_an_unreadable_input_is_an_error_of_its_own() -> None:
    with pytest.raises(UnreadableError, match="line 1, byte 0"):
        next(read_records(b"hello"))


def test_objects_that_belong_to_a_thread_are_sources(records: list[AuditRecord]) -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute("create table records (fields text)")
        rows = [(json.dumps(record.to_dict()),) for record in records]
        database.executemany("insert into records values (?)", rows)
        selected = database.execute("select fields from records order by rowid")
        assert verify_chain(json.loads(fields) for (fields,) in selected).ok
    database.close()


def test_a_reader_that_is_not_read_to_its_end_ends_by_itself(long_export: Path) -> None:
    for _ in range(20):
        assert next(read_records([long_export] * 1000)).sequence == 1
