"""Verification on Spark, on the cores of this machine."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import edgesentry.lake
import edgesentry.spark
from edgesentry import (
    AuditRecord,
    Device,
    Head,
    KeyRing,
    Report,
    UnreadableError,
    merge,
    verify_chain,
    write_records,
)
from edgesentry._core import PackedHeads, PackedKeys
from edgesentry.testing import CATALOGUE, attacks, make_fleet, make_log, write_log

# Spark warns about the versions of other libraries.
pytestmark = pytest.mark.filterwarnings("default")

FLEET = make_fleet(devices=6, records=60, seed=9)
RECORDS = list(FLEET.records)


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").appName("edgesentry")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.sql.shuffle.partitions": "2",
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def days(folder: Path, records: list[AuditRecord], count: int, seed: int = 1) -> list[Path]:
    """Writes records as a table of some files, each in random order."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    size = -(-len(records) // count)
    for number in range(count):
        rows = records[number * size : (number + 1) * size]
        files.append(folder / f"day-{number:02}.parquet")
        write_records(random.Random(seed).sample(rows, len(rows)), files[-1], int64=True)
    return files


def in_time() -> list[AuditRecord]:
    return sorted(RECORDS, key=lambda record: (record.sequence, record.device_id))


def plain(report: Report) -> dict[str, Any]:
    """Returns a report without inputs and the places in them."""
    fields: dict[str, Any] = json.loads(report.to_json())
    del fields["inputs"]
    for finding in fields["findings"]:
        del finding["index"], finding["location"]
        finding["cause"] = finding["cause"] and (finding["cause"]["code"], finding["cause"]["sequence"])
    fields["findings"].sort(key=json.dumps)
    return fields


@pytest.mark.parametrize("name", ["none", "fork", "delete", "duplicate", "truncate"])
def test_files_have_the_report_of_one_process(spark: Any, tmp_path: Path, name: str) -> None:
    tampered = {
        "none": in_time(),
        "delete": list(attacks.delete(in_time(), "lift-02", 5, count=3).records),
        "duplicate": [*in_time(), *in_time()[10:15]],
        "truncate": in_time()[:-20],
    }
    records = tampered[name] if name in tampered else list(CATALOGUE["fork"](FLEET).records)
    days(tmp_path, records, 4)
    heads = verify_chain(RECORDS).heads
    result = edgesentry.spark.verify(tmp_path, spark=spark, keys=FLEET.keys, heads=heads)
    expected = verify_chain(tmp_path, keys=FLEET.keys, heads=heads, order="sequence")
    assert result.report.to_json() == expected.to_json()
    assert result.report.ok == (name == "none")
    assert result.findings.count() == len(expected.findings)
    assert {row["device_id"]: row["sequence"] for row in result.heads.collect()} == {
        device: head.sequence for device, head in expected.heads.items()
    }
    assert sum(row["records"] for row in result.metrics.collect()) == len(records)


def test_a_frame_has_the_report_of_its_rows(spark: Any, tmp_path: Path) -> None:
    days(tmp_path, [*in_time(), *in_time()[30:60]], 3)
    frame = spark.read.parquet(str(tmp_path)).selectExpr("*", "'x' AS day")
    with pytest.raises(UnreadableError, match='column "day" is not a field'):
        edgesentry.spark.verify(frame, keys=FLEET.keys)
    with pytest.raises(ValueError, match="since and save need files"):
        edgesentry.spark.verify(frame, since=tmp_path)
    expected = verify_chain(tmp_path, keys=FLEET.keys, order="sequence")
    assert expected.counts == {"sequence_duplicate": 30}
    for rows in (frame, frame.repartition(5), frame.orderBy("payload_hash")):
        result = edgesentry.spark.verify(rows, keys=FLEET.keys, ignore="day")
        assert plain(result.report) == plain(expected)
        assert {finding.input for finding in result.report.findings} <= {
            f"partition {number}" for number in range(8)
        }
    none = edgesentry.spark.verify(frame.where("1 = 0"), keys=FLEET.keys, ignore=["day"])
    assert none.report.verdict == "nothing_to_verify"


def test_files_and_frames_are_compared_with_the_log(spark: Any, tmp_path: Path) -> None:
    log = make_log(FLEET)
    files = write_log(tmp_path / "log", checkpoint=log.checkpoint(), layout=log.layout)
    days(tmp_path / "sound", in_time(), 4)
    days(tmp_path / "short", [*in_time()[:-7], *in_time()[20:25]], 4)
    for name in ("sound", "short"):
        folder = tmp_path / name
        expected = verify_chain(folder, keys=FLEET.keys, order="sequence", **files)
        assert expected.ok == (name == "sound")
        result = edgesentry.spark.verify(folder, spark=spark, keys=FLEET.keys, **files)
        assert result.report.to_json() == expected.to_json()
        # The executors have no files of the log, and rows go to one task for each share.
        frame = spark.read.parquet(str(folder))
        again = edgesentry.spark.verify(frame, keys=FLEET.keys, **files)
        assert plain(again.report) == plain(expected)
        assert again.report.coverage.log == expected.coverage.log
    with pytest.raises(ValueError, match="checkpoint and policy belong together"):
        edgesentry.spark.verify(tmp_path / "sound", spark=spark, checkpoint=files["checkpoint"])


def test_other_names_and_types_of_columns(spark: Any, tmp_path: Path) -> None:
    days(tmp_path, in_time(), 2)
    frame = spark.read.parquet(str(tmp_path)).selectExpr(
        "device_id AS device",
        "CAST(sequence AS decimal(20, 0)) AS number",
        "timestamp_millis(timestamp_ms) AS time",
        *("payload_hash", "signature", "prev_record_hash", "object_ref"),
    )
    columns = {"device_id": "device", "sequence": "number", "timestamp_ms": "time"}
    for rows in (frame, frame.union(frame)):
        result = edgesentry.spark.verify(rows, keys=FLEET.keys, columns=columns)
        assert result.report.coverage.records == rows.count()
    assert result.report.counts == {"sequence_duplicate": len(RECORDS)}
    frame.coalesce(1).write.parquet(str(tmp_path / "named"))
    result = edgesentry.spark.verify(tmp_path / "named", spark=spark, keys=FLEET.keys, columns=columns)
    assert result.report.ok


def test_a_giant_chain_is_shared_among_tasks(spark: Any, tmp_path: Path) -> None:
    devices = [Device.from_seed(f"lift-{number:02}", bytes([number]) * 32) for number in range(20)]
    # One chain has half of the records.
    turns = [devices[0 if at % 2 else 1 + at // 2 % 19] for at in range(6000)]
    records = [device.sign(b"x", "x/1.bin", at + 1) for at, device in enumerate(turns)]
    write_records(records, tmp_path / "one.parquet")
    table = pq.read_table(tmp_path / "one.parquet")
    pq.write_table(table, tmp_path / "one.parquet", row_group_size=500)
    size = (tmp_path / "one.parquet").stat().st_size
    result = edgesentry.spark.verify(tmp_path, spark=spark, keys=KeyRing(devices), split_bytes=size // 4)
    assert result.report.ok
    assert result.report.coverage.records == len(records)
    giant = [row["records"] for row in result.segments.where("device_id = 'lift-00'").collect()]
    assert len(giant) >= max(4, spark.sparkContext.defaultParallelism)
    assert sum(giant) == len(records) // 2
    assert max(giant) <= len(records) // 4


def test_a_task_decodes_the_keys_of_its_devices(spark: Any, tmp_path: Path) -> None:
    halves = [FLEET.keys.devices[:2], FLEET.keys.devices[2:]]
    for number, half in enumerate(halves):
        rows = [record for record in RECORDS if record.device_id in half]
        write_records(rows, tmp_path / f"{number}.{'ndjson' if number else 'parquet'}")
    plan = edgesentry.lake.plan(tmp_path)
    options = edgesentry.lake.Options(keys=PackedKeys(FLEET.keys))
    shipped = edgesentry.spark._Shipped.of(spark, options)

    def devices(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            for at in batch["id"].to_pylist():
                options = shipped.options()
                keys = options.of_devices(options.devices_of(plan.tasks[at]))["keys"]
                assert keys is not None
                yield pa.RecordBatch.from_pydict({"id": [at] * len(keys), "device_id": keys.devices})

    rows = spark.range(2).mapInArrow(devices, "id bigint, device_id string").collect()
    assert [[row["device_id"] for row in rows if row["id"] == at] for at in range(2)] == halves
    assert edgesentry.spark.verify(tmp_path, spark=spark, keys=FLEET.keys).report.ok
    # A device without a key has none in a task either.
    known = FLEET.keys.subset(halves[0])
    result = edgesentry.spark.verify(tmp_path, spark=spark, keys=known)
    assert result.report.counts == {"unknown_device": len(halves[1])}
    frame = spark.read.parquet(str(tmp_path / "0.parquet"))
    renamed = frame.withColumnRenamed("device_id", "DEVICE_ID").repartition(3)
    assert edgesentry.spark.verify(renamed, keys=FLEET.keys).report.ok


def test_a_task_decodes_the_heads_of_its_devices(spark: Any, tmp_path: Path) -> None:
    days(tmp_path, in_time(), 3)
    # Of the middle of the chains: the end of a chain would not need them in a task.
    heads = verify_chain([record for record in RECORDS if record.sequence <= 30]).heads
    wrong = {**heads, "lift-03": Head(30, bytes(32))}
    frame = spark.read.parquet(str(tmp_path)).repartition(3)
    for given in (heads, wrong):
        expected = verify_chain(tmp_path, keys=FLEET.keys, heads=given, order="sequence")
        assert expected.ok == (given is heads)
        result = edgesentry.spark.verify(tmp_path, spark=spark, keys=FLEET.keys, heads=given)
        assert result.report.to_json() == expected.to_json()
        assert plain(edgesentry.spark.verify(frame, keys=FLEET.keys, heads=given).report) == plain(expected)
        without_keys = edgesentry.spark.verify(tmp_path, spark=spark, heads=given)
        assert without_keys.report.counts == expected.counts
    binary = frame.withColumn("device_id", frame.device_id.cast("binary"))
    basis: dict[str, Any]
    for basis in ({"heads": heads}, {"keys": FLEET.keys}):
        with pytest.raises(UnreadableError, match='"device_id" has type Binary; cast it to a string'):
            edgesentry.spark.verify(binary, **basis)
    # Segments that met heads in their tasks are of this run alone.
    with pytest.raises(ValueError, match="heads are not the same in all parts"):
        edgesentry.spark.verify(tmp_path, spark=spark, keys=FLEET.keys, since=result.segments)
    options = edgesentry.lake.Options(heads=PackedHeads(heads))
    (task,) = edgesentry.lake.plan(tmp_path / "day-00.parquet").tasks
    of_task = options.of_devices(options.devices_of(task))["heads"]
    assert len(of_task.__reduce__()[1][1]) == len(options.heads.__reduce__()[1][1])
    some = options.of_devices({"lift-01"})["heads"]
    assert len(some.__reduce__()[1][1]) < len(of_task.__reduce__()[1][1]) / 4


def test_runs_at_the_same_time_write_beside_each_other(spark: Any, tmp_path: Path) -> None:
    lake, kept = tmp_path / "lake", tmp_path / "segments"
    days(lake, in_time(), 4)
    options: dict[str, Any] = {"spark": spark, "keys": FLEET.keys, "save": kept}
    expected = plain(verify_chain(lake, keys=FLEET.keys, order="sequence"))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(edgesentry.spark.verify, lake, **options) for _ in range(2)]
        assert all(plain(run.result().report) == expected for run in runs)
    assert len(list(kept.glob("run=*"))) == 2
    # Both have the same positions, so neither is certain.
    again = edgesentry.spark.verify(lake, since=kept, **options)
    assert plain(again.report) == expected
    last = edgesentry.spark.verify(lake, since=kept, **options)
    assert plain(last.report) == expected
    assert last.plan is not None
    assert last.plan.tasks == []
    with pytest.raises(UnreadableError, match="the segments have no column run"):
        edgesentry.spark.verify(lake, since=last.segments.drop("run"), **options)
    with pytest.raises(UnreadableError, match="segments of the file are missing"):
        edgesentry.spark.verify(lake, since=last.segments.where("share = 0"), **options)
    # A run that ended in the middle of its files.
    for file in list(kept.glob("run=*/part-*"))[::2]:
        file.unlink()
    assert plain(edgesentry.spark.verify(lake, since=kept, **options).report) == expected


def test_a_frame_may_have_columns_named_first_and_last(spark: Any, tmp_path: Path) -> None:
    days(tmp_path, [*in_time(), *in_time()[30:60]], 3)
    names = {
        "device_id": "a device",
        "sequence": "last",
        "object_ref": "first",
        "payload_hash": "contested_device",
    }
    frame = spark.read.parquet(str(tmp_path)).withColumnsRenamed(names)
    result = edgesentry.spark.verify(frame, keys=FLEET.keys, columns=names)
    assert result.report.counts == {"sequence_duplicate": 30}
    assert plain(result.report) == plain(verify_chain(tmp_path, keys=FLEET.keys, order="sequence"))


def test_the_files_of_a_checkpoint_are_not_opened(spark: Any, tmp_path: Path) -> None:
    size = len(RECORDS) // 4
    files = days(tmp_path, in_time()[: 3 * size], 3)
    first = edgesentry.spark.verify(tmp_path, spark=spark, keys=FLEET.keys)
    segments = first.segments.localCheckpoint()
    write_records(in_time()[3 * size :], tmp_path / "day-03.parquet")
    expected = verify_chain(tmp_path, keys=FLEET.keys, order="sequence")
    for file in files:
        # Other bytes of the same size and time.
        state = file.stat()
        file.write_bytes(bytes(state.st_size))
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    result = edgesentry.spark.verify(tmp_path, spark=spark, keys=FLEET.keys, since=segments)
    assert plain(result.report) == plain(expected)
    assert result.report.heads == expected.heads
    assert result.plan is not None
    new = {task.position for task in result.plan.tasks}
    read = sum(row["records"] for row in result.metrics.collect() if row["position"] in new)
    assert read <= 1.2 * len(RECORDS) / 4


def test_the_next_run_reads_only_new_files(spark: Any, tmp_path: Path) -> None:
    lake, kept = tmp_path / "lake", str(tmp_path / "segments")
    records = in_time()
    quarter = -(-len(records) // 4)
    all_files = days(tmp_path / "staged", records, 4)
    lake.mkdir()
    for number, file in enumerate(all_files):
        file.rename(lake / file.name)
        heads = verify_chain(records[: (number + 1) * quarter], order="sequence").heads
        result = edgesentry.spark.verify(
            lake, spark=spark, keys=FLEET.keys, heads=heads, since=kept if number else None, save=kept
        )
        assert result.report.ok
        assert result.plan is not None
        assert [Path(task.file.path).name for task in result.plan.tasks] == [file.name]
        full = verify_chain(lake, keys=FLEET.keys, heads=heads, order="sequence")
        assert plain(result.report) == plain(full)

    old = verify_chain(records[:quarter], order="sequence").heads
    with pytest.raises(ValueError, match=r"before the last record.*use the head of the last record"):
        edgesentry.spark.verify(lake, spark=spark, keys=FLEET.keys, heads=old, since=kept)

    # A compaction: two files become one.
    write_records([*records[quarter : 3 * quarter]], lake / "compact.parquet")
    (lake / "day-01.parquet").unlink()
    (lake / "day-02.parquet").unlink()
    with pytest.raises(ValueError, match=r"day-01.parquet, .*day-02.parquet were deleted after the segments"):
        edgesentry.spark.verify(lake, spark=spark, keys=FLEET.keys, since=kept)
    result = edgesentry.spark.verify(
        lake, spark=spark, keys=FLEET.keys, since=kept, save=kept, changed="read"
    )
    assert result.report.ok
    assert result.plan is not None
    assert [Path(task.file.path).name for task in result.plan.tasks] == ["compact.parquet"]

    # A tampered day, under the name of the intact one.
    last = records[3 * quarter :]
    victim = last[10]
    tampered = attacks.delete(last, victim.device_id, victim.sequence).records
    write_records(tampered, lake / "day-03.parquet")
    with pytest.raises(ValueError, match=r"day-03.parquet was rewritten"):
        edgesentry.spark.verify(lake, spark=spark, keys=FLEET.keys, since=kept)
    result = edgesentry.spark.verify(lake, spark=spark, keys=FLEET.keys, since=kept, changed="read")
    assert result.plan is not None
    assert len(result.plan.tasks) == 1
    assert plain(result.report) == plain(verify_chain(lake, keys=FLEET.keys, order="sequence"))
    assert not result.report.ok


def test_contested_records_in_kept_files_are_found(spark: Any, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    days(lake, in_time(), 3)
    first = edgesentry.spark.verify(lake, spark=spark, keys=FLEET.keys, shares=3)
    segments = first.segments.localCheckpoint()
    write_records(in_time()[5:9], lake / "late.parquet")
    result = edgesentry.spark.verify(lake, spark=spark, keys=FLEET.keys, since=segments)
    assert result.plan is not None
    assert len(result.plan.tasks) == 1
    assert result.report.counts == {"sequence_duplicate": 4}
    assert plain(result.report) == plain(verify_chain(lake, keys=FLEET.keys, order="sequence"))
    with pytest.raises(ValueError, match="have 3 shares"):
        edgesentry.spark.verify(lake, spark=spark, keys=FLEET.keys, since=segments, shares=2)


def test_a_file_that_changes_during_the_run_ends_it(spark: Any, tmp_path: Path) -> None:
    days(tmp_path, in_time(), 2)
    plan = edgesentry.lake.plan(tmp_path)
    write_records(in_time()[:5], tmp_path / "day-01.parquet")
    with pytest.raises(UnreadableError, match="changed after it was listed"):
        edgesentry.lake.verify_task(plan.tasks[1], edgesentry.lake.Options())


def test_a_worker_uses_the_cores_of_its_slot(spark: Any, tmp_path: Path) -> None:
    shipped = edgesentry.spark._Shipped.of(spark, edgesentry.lake.Options())

    def threads(batches: Iterator[Any]) -> Iterator[Any]:
        list(batches)
        yield pa.RecordBatch.from_pydict({"threads": pa.array([shipped.options().threads], pa.int32())})

    assert [row["threads"] for row in spark.range(2).mapInArrow(threads, "threads int").collect()] == [1, 1]


def test_a_table_of_delta_has_its_live_files(spark: Any, tmp_path: Path) -> None:
    import deltalake

    folder = tmp_path / "delta"
    for number in range(3):
        days(tmp_path / "staged", in_time()[number * 90 : number * 90 + 90], 1)
        table = pq.read_table(tmp_path / "staged/day-00.parquet")
        deltalake.write_deltalake(folder, table, mode="append")
    first = edgesentry.spark.verify(deltalake.DeltaTable(folder), spark=spark, keys=FLEET.keys)
    assert first.report.ok
    segments = first.segments.localCheckpoint()
    deltalake.DeltaTable(folder).optimize.compact()
    with pytest.raises(ValueError, match="were deleted after the segments were made"):
        edgesentry.spark.verify(deltalake.DeltaTable(folder), spark=spark, keys=FLEET.keys, since=segments)
    again = edgesentry.spark.verify(
        deltalake.DeltaTable(folder), spark=spark, keys=FLEET.keys, since=segments, changed="read"
    )
    assert plain(again.report) == plain(first.report)


def test_jobs_are_named(spark: Any, tmp_path: Path) -> None:
    days(tmp_path, in_time(), 2)
    spark.sparkContext.setLocalProperty("spark.job.description", "mine")
    edgesentry.spark.verify(tmp_path, spark=spark, keys=FLEET.keys)
    assert spark.sparkContext.getLocalProperty("spark.job.description") == "mine"
    spark.sparkContext.setLocalProperty("spark.job.description", None)


def test_segments_of_a_run_are_those_of_one_process(spark: Any, tmp_path: Path) -> None:
    days(tmp_path, in_time(), 2)
    result = edgesentry.spark.verify(tmp_path, spark=spark, keys=FLEET.keys)
    one = edgesentry.lake.verify(tmp_path, keys=FLEET.keys)
    table = result.segments.toArrow()
    # Spark divides them into more shares.
    assert edgesentry.lake.united(table) == edgesentry.lake.united(one.segments)
    assert merge([edgesentry.lake.united(table)]).report() == one.report
