"""Tables with invalid memory: damaged, changed by another thread, or of hostile producers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from edgesentry import AuditRecord, KeyRing, UnreadableError, read_records, verify_chain

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def table(records: list[AuditRecord]) -> pa.Table:
    return pa.table(read_records(records))


def with_offsets(column: pa.Array, offsets: np.ndarray) -> pa.Array:
    """The same values under other offsets."""
    _, _, values = column.buffers()
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, pa.py_buffer(offsets), values])


@pytest.mark.parametrize("last", [0x7FFFFFF0, "one more", "a page more", -1])
@pytest.mark.parametrize("name", ["device_id", "object_ref"])
def test_offsets_out_of_a_column_are_refused(table: pa.Table, name: str, last: int | str) -> None:
    column = table[name].combine_chunks()
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int32)[: len(column) + 1].copy()
    size = column.buffers()[2].size
    at = table.schema.get_field_index(name)
    damaged = table.set_column(at, table.schema.field(at), with_offsets(column, offsets))
    # pyarrow validates them only when it creates the array.
    offsets[-1] = {"one more": size + 1, "a page more": size + 4096}.get(str(last), last)
    for source in (damaged, damaged.to_batches()[0], damaged.to_reader()):
        with pytest.raises(UnreadableError, match="damaged"):
            verify_chain(source)
    with pytest.raises(UnreadableError, match="damaged"):
        list(read_records(damaged))


def test_a_damaged_file_that_pyarrow_opened_is_refused(tmp_path: Path, table: pa.Table) -> None:
    path = tmp_path / "a.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    data = bytearray(path.read_bytes())
    last = np.int32(sum(len(ref) for ref in table["object_ref"].to_pylist())).tobytes()
    at = data.rindex(last)
    data[at : at + 4] = np.int32(0x7FFFFFF0).tobytes()
    with pa.ipc.open_file(pa.py_buffer(bytes(data))) as reader:
        damaged = reader.read_all()
    with pytest.raises(UnreadableError):
        verify_chain(damaged)


@pytest.mark.parametrize("name", [b"object_ref", b"item"])
def test_names_that_are_not_utf8_are_refused(table: pa.Table, name: bytes) -> None:
    """pyarrow opens a file with such a name without checking it."""
    lists = pa.array(table["payload_hash"].to_pylist(), pa.list_(pa.uint8()))
    table = table.set_column(3, "payload_hash", lists)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    assert name in data
    damaged = pa.ipc.open_stream(data.replace(name, b"\xff" * len(name))).read_all()
    for source in (damaged, damaged.to_reader()):
        with pytest.raises(UnreadableError, match="names that are not UTF-8"):
            verify_chain(source)
    with pytest.raises(UnreadableError, match="names that are not UTF-8"):
        list(read_records(damaged))
    # Here pyarrow itself may notice, a UnicodeDecodeError.
    with pytest.raises(ValueError, match=r"UTF-8|utf-8"):
        verify_chain(damaged.to_batches()[0])


def test_a_table_that_another_thread_changes_is_read_without_harm(table: pa.Table) -> None:
    column = table["object_ref"].combine_chunks()
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int32)[: len(column) + 1].copy()
    sound = offsets.copy()
    at = table.schema.get_field_index("object_ref")
    changing = table.set_column(at, table.schema.field(at), with_offsets(column, offsets))
    ended = threading.Event()

    def change() -> None:
        while not ended.is_set():
            offsets[1:] = 0x7FFFFFF0
            offsets[:] = sound
            offsets[5] = -7
            offsets[:] = sound

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            with contextlib.suppress(UnreadableError):
                assert verify_chain(changing).coverage.records <= len(column)
    finally:
        ended.set()
        thread.join()


def test_copies_are_of_the_rows_that_are_read(
    records: list[AuditRecord], keys: KeyRing, table: pa.Table
) -> None:
    types = {
        "large": table.schema.set(0, pa.field("device_id", pa.large_string())),
        "view": table.schema.set(6, pa.field("object_ref", pa.string_view())),
        "binary view": table.schema.set(3, pa.field("payload_hash", pa.binary_view())),
        "dictionary": table.schema.set(0, pa.field("device_id", pa.dictionary(pa.int8(), pa.string()))),
        "binary": table.schema.set(4, pa.field("signature", pa.large_binary())),
    }
    for name, schema in types.items():
        cast = table.cast(schema)
        assert verify_chain(cast, keys=keys).ok, name
        for start in (0, 1, 9, 37):
            part = cast.slice(start, 50)
            assert list(read_records(part)) == records[start : start + 50], (name, start)
        nulls = pa.concat_tables([cast, cast.slice(3, 20)]).slice(5)
        assert len(list(read_records(nulls))) == nulls.num_rows
    lists = table["payload_hash"].to_pylist()
    for kind in (pa.list_(pa.int8()), pa.large_list(pa.uint8()), pa.list_(pa.int16(), 32)):
        signed = kind.value_type == pa.int8()
        values = [[byte - 256 if signed and byte > 127 else byte for byte in value] for value in lists]
        changed = table.set_column(3, "payload_hash", pa.array(values, kind))
        assert list(read_records(changed.slice(7, 30))) == records[7:37], kind


def test_page_checksums_of_parquet_are_verified(tmp_path: Path, table: pa.Table) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    assert verify_chain(path).coverage.records == table.num_rows
    data = bytearray(path.read_bytes())
    # One from the middle: the first and the last are in the statistics too.
    data[data.index(table["object_ref"][50].as_py().encode())] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match=r"damaged .*CRC"):
        verify_chain(path)


def test_brotli_is_named_and_not_called_damaged(tmp_path: Path, table: pa.Table) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression="brotli")
    with pytest.raises(
        UnreadableError, match="Brotli, which is not supported; write it with zstd"
    ) as refused:
        verify_chain(path)
    assert "damaged" not in str(refused.value)


def test_hostile_producers_end_in_a_report_or_an_error(tmp_path: Path) -> None:
    """1,200 producers, or EDGESENTRY_HOSTILE_PRODUCERS of them under AddressSanitizer."""
    library = tmp_path / "hostile.so"
    count = os.environ.get("EDGESENTRY_HOSTILE_PRODUCERS")
    environment = dict(os.environ)
    sanitize = []
    if count is not None:
        sanitize = ["-fsanitize=address"]
        runtime = subprocess.run(
            ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        )
        environment |= {"LD_PRELOAD": runtime.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
    source = ROOT / "tests" / "hostile" / "producer.c"
    subprocess.run(["cc", "-O1", *sanitize, "-shared", "-fPIC", "-o", library, source], check=True)
    consumer = ROOT / "tests" / "hostile" / "consumer.py"
    ran = subprocess.run(
        [sys.executable, consumer, library, "0", count or "1200"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert ran.returncode == 0, ran.stdout[-500:] + ran.stderr[-2000:]
