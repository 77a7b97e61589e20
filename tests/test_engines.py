"""Verification of the files of a lake as parts, on one machine and by engines other than Spark."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import edgesentry
import edgesentry.dask
from edgesentry import (
    Device,
    KeyRing,
    Segments,
    StoreError,
    UnreadableError,
    lake,
    merge,
    verify_chain,
    verify_part,
    write_records,
)
from edgesentry.testing import CATALOGUE
from test_lake import KEY, SECRET, put
from test_ledger import server
from test_spark import FLEET, RECORDS, days, in_time, plain

pytestmark = pytest.mark.filterwarnings("default")

HERE = Path(__file__).parent


def shuffled(records: Any, seed: int = 3) -> list[Any]:
    return random.Random(seed).sample(list(records), len(records))


def test_shares_have_the_report_of_the_whole() -> None:
    for number, attack in enumerate(CATALOGUE.values()):
        records = shuffled(attack(FLEET).records, number)
        cuts = [records[start::3] for start in range(3)]
        parts = [
            verify_part(rows, position=at, keys=FLEET.keys, order="sequence", max_findings=number % 7)
            for at, rows in enumerate(cuts)
        ]
        divided = [part.split(4) for part in parts]
        for part, split in zip(parts, divided, strict=True):
            tables = [pa.table(table) for table in part.share_tables(4)]
            assert tables == [pa.table(share) for share in split]
        rows = [pa.concat_tables([pa.table(part[share]) for part in divided]) for share in range(4)]
        whole = Segments.unite([Segments.from_arrow(table) for table in reversed(rows)])
        assert whole == merge(parts)
        assert whole.contested == merge(parts).contested
        busy = next(merged for table in rows if (merged := Segments.from_arrow(table)).devices)
        with pytest.raises(UnreadableError, match="a device is in two shares"):
            Segments.unite([busy, whole])
        with pytest.raises(UnreadableError, match="shares do not have the same inputs"):
            Segments.unite(
                [Segments.from_arrow(rows[0]), merge([parts[0].split(4)[1], parts[1].split(4)[1]])]
            )
    for shares in (0, 2**21):
        for divide in (parts[0].split, parts[0].share_tables):
            with pytest.raises(ValueError, match="shares must be a number"):
                divide(shares)


def test_parts_in_the_order_of_position_are_divided_too() -> None:
    parts = [verify_part(RECORDS[at::2], position=at, keys=FLEET.keys) for at in range(2)]
    united = Segments.unite(
        [merge(shares) for shares in zip(*(part.split(3) for part in parts), strict=True)]
    )
    assert united == merge(parts)


def test_ranges_of_a_file_are_the_whole_file(tmp_path: Path) -> None:
    write_records(in_time(), tmp_path / "a.parquet")
    pq.write_table(pq.read_table(tmp_path / "a.parquet"), tmp_path / "a.parquet", row_group_size=20)
    size = (tmp_path / "a.parquet").stat().st_size
    for cut in (1, 4, 100, size // 3, size - 1, size):
        ranges = [(start, min(start + cut, size)) for start in range(0, size, cut)] if cut > 50 else []
        ranges = ranges or [(0, cut), (cut, size)]
        parts = [
            verify_part(
                tmp_path / "a.parquet", position=at, byte_ranges=[each], keys=FLEET.keys, order="sequence"
            )
            for at, each in enumerate(ranges)
        ]
        report = merge(parts).report(inputs=len(ranges))
        assert report.ok
        assert report.coverage.records == len(RECORDS)
    for name in ("a.ndjson", "a.json", "a.arrow", "a.ndjson.gz"):
        write_records(in_time(), tmp_path / name)
        parts = [
            verify_part(tmp_path / name, position=at, byte_ranges=[each], order="sequence")
            for at, each in enumerate([(0, 10), (10, 10**6)])
        ]
        assert [part.records for part in parts] == [len(RECORDS), 0]
    with pytest.raises(ValueError, match="start and the end of a range for each file"):
        verify_part(tmp_path / "a.parquet", position=0, byte_ranges=[])
    with pytest.raises(ValueError, match="needs a source of paths"):
        verify_part(RECORDS, position=0, byte_ranges=[(0, 1)])
    with pytest.raises(ValueError, match="need contested"):
        verify_part(RECORDS, position=[0])


def test_heads_of_a_report_are_compared_with_the_ends_of_chains() -> None:
    parts = [verify_part(in_time()[at::2], position=at, order="sequence") for at in range(2)]
    whole = merge(parts)
    heads = verify_chain(RECORDS).heads
    assert whole.report(heads=heads).ok
    coverage = whole.report(heads=heads).coverage.heads
    assert coverage is not None
    assert coverage.trusted == 6
    cut = merge([verify_part(in_time()[:-3], position=0, order="sequence")])
    assert cut.report(heads=heads).counts == {"head_mismatch": 1}
    other = {**heads, "lift-01": edgesentry.Head(heads["lift-01"].sequence, bytes(32))}
    assert whole.report(heads=other).counts == {"head_mismatch": 1}
    earlier = verify_chain(in_time()[:60]).heads
    with pytest.raises(ValueError, match=r"its head at sequence 1. is before the last record"):
        whole.report(heads=earlier)
    assert (
        merge(
            [verify_part(in_time()[at::2], position=at, heads=earlier, order="sequence") for at in range(2)]
        )
        .report(heads=earlier)
        .ok
    )


def engines() -> list[Any]:
    return [lake.verify, edgesentry.dask.verify]


@pytest.mark.parametrize("engine", [0, 1])
def test_an_engine_gives_the_report_of_one_process(tmp_path: Path, engine: int) -> None:
    import dask

    verify = engines()[engine]
    with dask.config.set(scheduler="processes", num_workers=2):
        folder = tmp_path / "lake"
        days(folder, [*in_time(), *in_time()[20:25]], 4)
        result = verify(folder, keys=FLEET.keys)
        assert result.report.to_json() == verify_chain(folder, keys=FLEET.keys, order="sequence").to_json()
        write_records(in_time()[:0], folder / "day-09.parquet")
        again = verify(folder, keys=FLEET.keys, since=result.segments)
        assert [Path(task.file.path).name for task in again.plan.tasks] == ["day-09.parquet"]
        assert plain(again.report) == plain(result.report)


def test_random_lakes_have_the_report_of_one_process(tmp_path: Path) -> None:
    chosen = random.Random(17)
    names = list(CATALOGUE)
    for case in range(12):
        records = shuffled(CATALOGUE[names[case * 5 % len(names)]](FLEET).records, case)
        folder = tmp_path / str(case)
        folder.mkdir()
        earlier = None
        for number in range(3):
            write_records(records[number::3], folder / f"{number}.{chosen.choice(['parquet', 'ndjson'])}")
            result = lake.verify(folder, keys=FLEET.keys, since=earlier)
            assert len(result.plan.tasks) == 1
            earlier = result.segments
        assert plain(result.report) == plain(verify_chain(folder, keys=FLEET.keys, order="sequence"))


def test_only_the_changed_files_are_read_again(tmp_path: Path) -> None:
    days(tmp_path, in_time(), 4)
    result = lake.verify(tmp_path, keys=FLEET.keys)
    same = lake.verify(tmp_path, keys=FLEET.keys, since=result.segments)
    assert same.plan.tasks == []
    assert same.report == result.report
    (tmp_path / "day-01.parquet").rename(tmp_path / "moved.parquet")
    os.utime(tmp_path / "day-02.parquet", ns=(1, 1))
    with pytest.raises(ValueError, match=r"day-02.parquet was rewritten and .*day-01.parquet was deleted"):
        lake.verify(tmp_path, keys=FLEET.keys, since=result.segments)
    again = lake.verify(tmp_path, keys=FLEET.keys, since=result.segments, changed="read")
    assert {Path(task.file.path).name for task in again.plan.tasks} == {"moved.parquet", "day-02.parquet"}
    assert again.report.ok
    assert again.report.heads == result.report.heads
    os.utime(tmp_path / "day-02.parquet", ns=(2, 2))
    others = FLEET.keys.subset(["lift-01"])
    with pytest.raises(ValueError, match="keys are not the same"):
        lake.verify(tmp_path, keys=others, since=again.segments, changed="read")
    with pytest.raises(ValueError, match='changed is "refuse" or "read"'):
        lake.plan(tmp_path, changed="ignore")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="files are a path, a list of paths, or a table, not dict"):
        lake.files({})


def test_the_command_reads_rows_in_any_order(tmp_path: Path) -> None:
    days(tmp_path, in_time(), 3)
    command = [sys.executable, "-m", "edgesentry", "verify-chain", str(tmp_path), "--json"]
    assert subprocess.run([*command, "--order", "sequence"], check=False).returncode == 0
    assert subprocess.run(command, check=False).returncode == 1
    assert subprocess.run([*command, "--order", "time"], check=False).returncode == 2


def test_tables_have_their_live_files(tmp_path: Path) -> None:
    from test_lake import _iceberg_table

    class World:
        folder = tmp_path

    write_records(in_time(), tmp_path / "all.parquet", int64=True)
    table = pq.read_table(tmp_path / "all.parquet")
    iceberg = _iceberg_table(World, "iceberg", table)  # type: ignore[arg-type]
    iceberg.append(table[:100])
    iceberg.append(table[100:])
    result = lake.verify(iceberg, keys=FLEET.keys)
    assert result.report.ok
    assert result.plan.inputs == 2


class Store(BaseHTTPRequestHandler):
    """An S3 with payloads, which counts reads."""

    protocol_version = "HTTP/1.1"
    reads: ClassVar[dict[str, int]] = {}
    missing: ClassVar[set[str]] = set()
    broken = False
    running = 0
    most = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        key = unquote(self.path.split("?")[0]).removeprefix("/payloads/")
        with Store.lock:
            Store.running += 1
            Store.most = max(Store.most, Store.running)
        name = key.rpartition("/")[2]
        found = number_of(key)
        with Store.lock:
            Store.running -= 1
            if found is not None:
                Store.reads[name] = Store.reads.get(name, 0) + 1
        if Store.broken and found is not None:
            self.answer(503, b"")
        elif found is None or name in Store.missing:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self.answer(200, f"payload {found}".encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def number_of(key: str) -> int | None:
    """Returns the number of a payload under its object reference; the name of its record is not there."""
    name = key.rpartition("/")[2]
    return (
        int(name.removesuffix(".bin"))
        if key.startswith("lift-01/") and name.removesuffix(".bin").isdigit()
        else None
    )


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Store]]:
    Store.reads, Store.missing, Store.broken, Store.most = {}, set(), False, 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        monkeypatch.setenv("EDS_S3__ENDPOINT", f"http://127.0.0.1:{listening.server_port}")
        monkeypatch.setenv("EDS_S3__ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("EDS_S3__SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("EDS_S3__ATTEMPTS", "1")
        yield Store
        listening.shutdown()


def test_payloads_are_read_from_a_bucket_once(store: type[Store], tmp_path: Path) -> None:
    device = Device.from_seed("lift-01", bytes(32))
    records = [device.sign(f"payload {at}".encode(), f"lift-01/{at}.bin", at + 1) for at in range(200)]
    keys = KeyRing({"lift-01": device.public_key})
    days(tmp_path, records, 2)
    result = lake.verify(tmp_path, keys=keys, payloads="s3://payloads", threads=1)
    assert result.report.ok
    assert result.report.coverage.payloads is not None
    assert result.report.coverage.payloads.checked == 200
    assert store.reads == {f"{at}.bin": 1 for at in range(200)}
    assert store.most <= 64

    store.reads.clear()
    store.missing = {"7.bin"}
    result = lake.verify(tmp_path, keys=keys, payloads="s3://payloads")
    assert result.report.counts == {"payload_missing": 1}

    store.reads.clear()
    samples = [
        lake.verify(tmp_path, payloads="s3://payloads", payload_sample=(0.25, seed)).report.coverage.payloads
        for seed in (1, 1, 2)
    ]
    checked = [sample.checked for sample in samples if sample is not None]
    assert checked[0] == checked[1]
    assert all(20 < each < 80 for each in checked)
    assert sum(store.reads.values()) == sum(checked)
    assert max(store.reads.values()) <= 3

    store.broken = True
    with pytest.raises(StoreError, match="cannot read the payload"):
        lake.verify(tmp_path, payloads="s3://payloads")
    with pytest.raises(ValueError, match="payload_sample needs payloads"):
        lake.verify(tmp_path, payload_sample=(0.5, 1))
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        lake.verify(tmp_path, payloads="s3://payloads", payload_sample=(2.0, 1))


def test_processes_read_payloads_of_a_bucket_once(store: type[Store], tmp_path: Path) -> None:
    device = Device.from_seed("lift-01", bytes(32))
    records = [device.sign(f"payload {at}".encode(), f"lift-01/{at}.bin", at + 1) for at in range(120)]
    keys = KeyRing({"lift-01": device.public_key})
    days(tmp_path, records, 4)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        result = lake.verify(tmp_path, keys=keys, payloads="s3://payloads", threads=1, run=pool.map)
        assert result.report.ok
        assert result.report.coverage.payloads is not None
        assert result.report.coverage.payloads.checked == 120
        assert store.reads == {f"{at}.bin": 1 for at in range(120)}
        store.broken = True
        with pytest.raises(StoreError, match="cannot read the payload"):
            lake.verify(tmp_path, keys=keys, payloads="s3://payloads", threads=1, run=pool.map)


def test_files_and_payloads_are_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDS_S3__ENDPOINT", server("EDGESENTRY_TEST_S3"))
    monkeypatch.setenv("EDS_S3__ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("EDS_S3__SECRET_ACCESS_KEY", SECRET)
    bucket = f"lake-{uuid.uuid4().hex}"
    put(bucket)
    device = Device.from_seed("lift-01", bytes(32))
    records = [
        device.sign(f"payload {at}".encode(), f"s3://{bucket}/raw/{at}.bin", at + 1) for at in range(6)
    ]
    for at in range(6):
        (tmp_path / "payload").write_bytes(f"payload {at}".encode())
        put(f"{bucket}/raw/{at}.bin", tmp_path / "payload")
    for number, file in enumerate(days(tmp_path / "lake", records, 2)):
        put(f"{bucket}/lake/{number}.parquet", file)
    source, keys = f"s3://{bucket}/lake/", KeyRing({"lift-01": device.public_key})
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        result = lake.verify(source, keys=keys, payloads=f"s3://{bucket}", run=pool.map)
    assert result.report.ok
    assert result.report.coverage.payloads is not None
    assert result.report.coverage.payloads.checked == 6
    put(f"{bucket}/lake/1.parquet", tmp_path / "lake/day-00.parquet")
    with pytest.raises(ValueError, match=rf"s3://{bucket}/lake/1.parquet was rewritten"):
        lake.verify(source, keys=keys, payloads=f"s3://{bucket}", since=result.segments)


MEMORY = """
import dataclasses, sys
import pyarrow as pa
from edgesentry import KeyRing, Verifier, lake, spark
from edgesentry._core import PackedKeys

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

way, source, ring, share = sys.argv[1:]
options = lake.Options(keys=PackedKeys(KeyRing(ring)) if ring else None, max_findings=0, threads=1)
before = peak()
if way == "task":
    (task,) = lake.plan(source).tasks
    table = lake.verify_task(dataclasses.replace(task, end=int(task.end * float(share))), options)
    assert table.num_rows > 1
else:
    batches = iter(pa.ipc.open_stream(open(source, "rb")))
    if way == "frame":
        verifier = Verifier(position=0, **options.arguments([]))
        spark._push(verifier, batches, "device_id", options)
        assert verifier.finish().records
    else:
        assert sum(len(batch) for batch in spark._merge_shares(batches)) > 1
print(peak() - before, peak())
"""


def memory_of(
    file: Path, keys: Path | str = "", share: float = 1.0, way: str = "task"
) -> tuple[float, float]:
    """Returns the memory that a task takes, and that of its process, MiB."""
    command = [sys.executable, "-c", MEMORY, way, str(file), str(keys), str(share)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    took, peak = (int(number) / 1024 for number in output.split())
    return took, peak


def test_the_memory_of_a_task_does_not_grow_with_a_chain(tmp_path: Path) -> None:
    """`make bench-lake` has a chain of 2,000,000 records."""
    count = 700_000
    random_bytes = random.Random(1).randbytes(64 * count)

    def column(size: int) -> Any:
        return pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(size), count, [None, pa.py_buffer(random_bytes[: size * count])]
        )

    # Each link is a finding that is counted and not kept.
    columns = {"payload_hash": column(32), "signature": column(64), "prev_record_hash": column(32)}
    numbers = pa.array(range(1, count + 1), pa.int64())
    text = {"device_id": pa.repeat("lift-01", count), "object_ref": pa.repeat("lift-01/1.bin", count)}
    table = pa.table(text | columns | {"sequence": numbers, "timestamp_ms": numbers})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=count // 10)
    some, _ = memory_of(tmp_path / "a.parquet", share=0.45)
    all_, peak = memory_of(tmp_path / "a.parquet")
    # The further records would take 70 MiB as rows of Arrow alone.
    assert all_ - some <= 24
    assert peak <= 250


DEVICES = 20_000


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with records of many devices in the order of time, and with as many of few devices."""
    folder = tmp_path_factory.mktemp("fleet")
    for name, devices in (("few", 1000), ("many", DEVICES)):
        signers = [Device.from_seed(f"lift-{number:06}", number.to_bytes(32)) for number in range(devices)]
        KeyRing(signers).save(folder / f"{name}.json")
        rows = [device.sign(b"x", "x/1.bin", 1) for _ in range(DEVICES // devices) for device in signers]
        write_records(rows, folder / f"{name}.parquet")
        table = pq.read_table(folder / f"{name}.parquet")
        with pa.ipc.new_stream(folder / f"{name}.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=10_000)
    return folder


# A window of a frame also has the keys of its devices.
@pytest.mark.parametrize(("way", "device_bytes"), [("task", 1300), ("frame", 2000)])
def test_the_memory_of_a_task_is_limited_for_each_device(fleet: Path, way: str, device_bytes: int) -> None:
    """`make bench-lake` has 100,000 devices."""
    suffix = "parquet" if way == "task" else "arrow"
    few, many = (
        memory_of(fleet / f"{name}.{suffix}", fleet / f"{name}.json", way=way) for name in ("few", "many")
    )
    assert many[0] - few[0] <= (DEVICES - 1000) * device_bytes / (1 << 20)
    assert many[1] <= 200


def test_the_memory_of_a_merge_does_not_grow_with_the_files(tmp_path: Path) -> None:
    signers = [Device.from_seed(f"lift-{number:06}", number.to_bytes(32)) for number in range(4000)]
    tables = []
    for position in range(12):
        rows = [device.sign(b"x", "x/1.bin", 1) for device in signers]
        part = verify_part(rows, position=position, order="sequence", max_findings=0)
        tables.append(lake.table_of(part, lake.Task(lake.File("x", 1, ""), position, 0, 1)))
    took = []
    for count in (2, 12):
        with pa.ipc.new_stream(tmp_path / "rows.arrow", tables[0].schema) as writer:
            for table in tables[:count]:
                writer.write_table(table, max_chunksize=10_000)
        took.append(memory_of(tmp_path / "rows.arrow", way="merge")[0])
    # The rows of the further files take 40 MiB if they are all decoded first.
    assert took[1] - took[0] <= 8


def test_engines_are_imported_when_they_are_used() -> None:
    script = (
        "import edgesentry, edgesentry.lake, edgesentry.dask, edgesentry.ray, edgesentry.spark, sys\n"
        "print([name for name in ('ray', 'dask', 'pyspark', 'pyarrow') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert output.stdout.strip() == "[]"


def test_the_page_names_tests_that_exist() -> None:
    page = (HERE.parent / "docs/how-to/cluster.md").read_text()
    rows = re.findall(r"^\| (\d+)\. [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 13))
    for _, tests in rows:
        text = ""
        for name in re.findall(r"`([\w.]+)`", tests):
            if name.endswith((".py", ".rs")):
                folder = "tests" if name.endswith(".py") else "rust/formats/tests"
                text = (HERE.parent / folder / name).read_text()
            else:
                assert f"def {name}(" in text, name
