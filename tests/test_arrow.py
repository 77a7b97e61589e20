"""Arrow in and out: pyarrow, polars, duckdb."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

from edgesentry import (
    AuditRecord,
    KeyRing,
    RecordMalformed,
    UnreadableError,
    read_records,
    verify_chain,
    write_records,
)

SCHEMA = pa.schema(
    [
        pa.field("device_id", pa.string(), nullable=False),
        pa.field("sequence", pa.uint64(), nullable=False),
        pa.field("timestamp_ms", pa.uint64(), nullable=False),
        pa.field("payload_hash", pa.binary(32), nullable=False),
        pa.field("signature", pa.binary(64), nullable=False),
        pa.field("prev_record_hash", pa.binary(32), nullable=False),
        pa.field("object_ref", pa.string(), nullable=False),
    ]
)


@pytest.fixture
def table(records: list[AuditRecord]) -> pa.Table:
    return pa.table(read_records(records))


def test_records_are_exported_as_they_are(records: list[AuditRecord], table: pa.Table) -> None:
    assert table.schema.equals(SCHEMA)
    assert table["sequence"].to_pylist() == [record.sequence for record in records]
    assert table["signature"].to_pylist() == [record.signature for record in records]
    frame = pl.DataFrame(read_records(records))
    assert frame["payload_hash"].to_list() == [record.payload_hash for record in records]
    last = duckdb.from_arrow(read_records(records)).aggregate("device_id, max(sequence)").fetchall()
    assert sorted(last) == [("lift-01", 40), ("lift-02", 40), ("lift-03", 40)]


def test_the_rest_of_a_reader_is_exported(records: list[AuditRecord]) -> None:
    reader = read_records(iter(records))
    assert next(reader) == records[0]
    assert pa.table(reader).num_rows == len(records) - 1


def test_a_reader_is_exported_once(records: list[AuditRecord]) -> None:
    reader = read_records(records)
    assert pa.schema(reader).equals(SCHEMA)
    assert pa.table(reader).num_rows == len(records)
    with pytest.raises(ValueError, match="read once"):
        pa.table(reader)
    with pytest.raises(ValueError, match="read once"):
        next(reader)


def test_tables_of_all_libraries_verify(records: list[AuditRecord], keys: KeyRing, table: pa.Table) -> None:
    frame = pl.DataFrame(table)
    batches = table.to_batches(max_chunksize=7)
    for source in (
        table,
        batches[0],
        pa.Table.from_batches(batches),
        table.slice(0, 30),
        pa.RecordBatchReader.from_batches(table.schema, batches),
        frame,
        frame.rechunk(),
        duckdb.from_arrow(table).order("device_id, sequence"),
    ):
        report = verify_chain(source, keys=keys)
        assert report.ok, report.summary()
        assert report.inputs[0].format == "arrow"
    assert verify_chain(table, keys=keys).heads == verify_chain(records).heads


def test_a_fault_in_a_table_is_found_at_its_row(keys: KeyRing, table: pa.Table) -> None:
    frame = pl.DataFrame(table)
    changed = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 50)
        .then(pl.lit(7, pl.UInt64))
        .otherwise(pl.col("timestamp_ms"))
        .alias("timestamp_ms")
    )
    report = verify_chain(changed, keys=keys)
    assert (report.findings[0].code, report.findings[0].index) == ("signature_invalid", 50)


def test_a_row_that_is_not_a_record_is_a_finding(tmp_path: Path, table: pa.Table) -> None:
    nulls = table.set_column(0, "device_id", pa.array([None, *table["device_id"].to_pylist()[1:]]))
    report = verify_chain(nulls)
    assert (report.findings[0].code, report.findings[0].index) == ("record_malformed", 0)
    with pytest.raises(RecordMalformed):
        next(read_records(nulls))
    with pytest.raises(Exception, match="entry 0 is not a record"):
        pa.table(read_records(nulls))
    with pytest.raises(RecordMalformed):
        write_records(nulls, tmp_path / "never.json")


@pytest.mark.parametrize("column", SCHEMA.names)
def test_a_table_without_a_column_is_unreadable(table: pa.Table, column: str) -> None:
    with pytest.raises(UnreadableError, match=column):
        verify_chain(table.drop_columns([column]))


def test_files_of_the_libraries_are_read(tmp_path: Path, keys: KeyRing, table: pa.Table) -> None:
    paths = {
        name: tmp_path / f"{name}.file" for name in ("pyarrow", "polars", "duckdb", "ipc", "stream", "arrow")
    }
    pyarrow.parquet.write_table(table, paths["pyarrow"], compression="zstd", row_group_size=16)
    pl.DataFrame(table).write_parquet(paths["polars"])
    duckdb.from_arrow(table).write_parquet(str(paths["duckdb"]))
    with pyarrow.ipc.new_file(paths["ipc"], table.schema) as writer:
        writer.write_table(table)
    with pyarrow.ipc.new_stream(paths["stream"], table.schema) as writer:
        writer.write_table(table)
    pl.DataFrame(table).write_ipc(paths["arrow"])
    for path in paths.values():
        report = verify_chain(path, keys=keys)
        assert report.ok, (path, report.summary())
        raw = path.read_bytes()
        assert verify_chain(raw, keys=keys).ok
        assert verify_chain(io.BytesIO(raw), keys=keys).ok


def test_written_files_are_read_by_the_libraries(
    tmp_path: Path, records: list[AuditRecord], table: pa.Table
) -> None:
    parquet, arrow = tmp_path / "export.parquet", tmp_path / "export.arrow"
    assert write_records(table, parquet) == len(records)
    assert write_records(pl.DataFrame(table), arrow) == len(records)
    assert pyarrow.parquet.read_table(parquet).equals(table)
    assert pl.read_parquet(parquet).equals(pl.DataFrame(table))
    assert duckdb.read_parquet(str(parquet)).count("*").fetchall() == [(len(records),)]
    assert pl.read_ipc(arrow).equals(pl.DataFrame(table))


def test_findings_are_a_table(records: list[AuditRecord], keys: KeyRing) -> None:
    bad = [record.replace(signature=bytes(64)) for record in records[:30]]
    report = verify_chain([*bad, *records[30:]], keys=keys)
    frame = pl.DataFrame(report)
    assert frame.height == len(report.findings)
    assert frame.equals(pl.DataFrame(report.findings))
    for row, finding in zip(frame.iter_rows(named=True), report.findings, strict=True):
        assert row["code"] == finding.code
        assert row["device_id"] == finding.device_id
        assert row["sequence"] == finding.sequence
        assert row["timestamp_ms"] == finding.timestamp_ms
        assert row["index"] == finding.index
        assert row["expected"] == finding.expected
        assert row["actual"] == finding.actual
        assert row["record_hash"] == finding.record_hash
        assert row["cause_code"] == (finding.cause and finding.cause.code)
        assert row["cause_sequence"] == (finding.cause and finding.cause.sequence)
        assert row["cause_index"] == (finding.cause and finding.cause.index)
        assert row["input"] == finding.input
        assert row["record"] == finding.record
    assert pa.table(report.findings[3:5]).num_rows == 2
    counted = duckdb.from_arrow(report).aggregate("code, count(*)").fetchall()
    assert dict(counted) == report.counts
    assert pa.table(verify_chain(records)).num_rows == 0


def test_an_error_in_a_stream_is_raised(table: pa.Table) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        raise RuntimeError("the network is gone")

    reader = pa.RecordBatchReader.from_batches(table.schema, broken())
    with pytest.raises(UnreadableError, match="the network is gone"):
        verify_chain(reader)
