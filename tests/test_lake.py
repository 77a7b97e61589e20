"""The matrix of engines and types: each row of docs/how-to/lake.md is verified as it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet
import pytest

import edgesentry
from edgesentry import (
    Device,
    EdgesentryError,
    Findings,
    KeyRing,
    Report,
    UnreadableError,
    device_statistics,
    read_records,
    verify_chain,
    write_records,
)
from edgesentry.testing import attacks, make_fleet
from test_ledger import server

# Engines warn about each other's versions.
pytestmark = pytest.mark.filterwarnings("default")

PAGE = Path(__file__).parents[1] / "docs/how-to/lake.md"
RECORDS = 150


@dataclass
class World:
    """An export of 150 records of three devices."""

    folder: Path
    keys: KeyRing
    table: Any
    path: Path
    spark: Callable[[], Any]

    def cast(self, **types: Any) -> Any:
        """Returns the table with columns of other types."""
        columns = [
            self.table[name].cast(types.get(name, self.table[name].type)) for name in self.table.column_names
        ]
        return pa.table(dict(zip(self.table.column_names, columns, strict=True)))

    def numbers(self, kind: Any) -> Any:
        """Returns the table with both numbers in another type."""
        if pa.types.is_decimal(kind):
            decimals = {
                name: pa.array([Decimal(value) for value in self.table[name].to_pylist()], kind)
                for name in ("sequence", "timestamp_ms")
            }
            return self.replace(**decimals)
        return self.cast(sequence=kind, timestamp_ms=kind)

    def times(self, kind: Any) -> Any:
        """Returns the table with a timestamp column."""
        milliseconds = self.table["timestamp_ms"].cast(pa.int64()).cast(pa.timestamp("ms"))
        return self.replace(timestamp_ms=milliseconds.cast(kind))

    def replace(self, **columns: Any) -> Any:
        """Returns the table with these columns, which may be further ones."""
        return pa.table({name: self.table[name] for name in self.table.column_names} | columns)

    def bytes(self, change: Callable[[bytes], Any], kind: Any) -> Any:
        """Returns the table with the byte columns in another form."""
        names = ("payload_hash", "signature", "prev_record_hash")
        return self.replace(
            **{
                name: pa.array([change(value) for value in self.table[name].to_pylist()], kind)
                for name in names
            }
        )


@pytest.fixture(scope="module")
def spark() -> Iterator[Callable[[], Any]]:
    """Starts Spark for the first test that needs it."""
    started: list[Any] = []

    def session() -> Any:
        if not started:
            from pyspark.sql import SparkSession

            os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
            os.environ["PYSPARK_PYTHON"] = sys.executable
            builder = SparkSession.builder.master("local[1]").appName("edgesentry")
            for name, value in {
                "spark.ui.enabled": "false",
                "spark.driver.host": "127.0.0.1",
                "spark.driver.memory": "512m",
                "spark.sql.shuffle.partitions": "1",
                "spark.sql.session.timeZone": "Asia/Tokyo",
            }.items():
                builder = builder.config(name, value)
            started.append(builder.getOrCreate())
        return started[0]

    yield session
    for each in started:
        each.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, spark: Callable[[], Any]) -> World:
    folder = tmp_path_factory.mktemp("lake")
    fleet = make_fleet(devices=3, records=50)
    path = folder / "export.parquet"
    write_records(fleet.records, path)
    return World(folder, fleet.keys, pa.table(read_records(path)), path, spark)


CASES: dict[str, Callable[[World], Any]] = {}


def case(name: str) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    """Registers the source of a row; a pair has arguments of `verify_chain` too."""

    def register(function: Callable[[World], Any]) -> Callable[[World], Any]:
        assert name not in CASES, name
        CASES[name] = function
        return function

    return register


def simple(name: str, function: Callable[[World], Any]) -> None:
    """Registers a source of one expression."""
    case(name)(function)


def written(w: World, name: str, table: Any) -> Path:
    """Writes a table as Parquet, as other libraries do."""
    path = w.folder / name
    pa.parquet.write_table(table, path)
    return path


simple("pyarrow: table", lambda w: w.table)
simple("pyarrow: dataset", lambda w: pa.dataset.dataset(w.path))
simple("pyarrow: scanner", lambda w: pa.dataset.dataset(w.path).scanner())
simple("pyarrow: reader", lambda w: w.table.to_reader())
simple("numbers: int64", lambda w: w.numbers(pa.int64()))
simple("numbers: decimal128(20, 0)", lambda w: w.numbers(pa.decimal128(20, 0)))
simple("numbers: decimal128(38, 0)", lambda w: w.numbers(pa.decimal128(38, 0)))
simple("numbers: decimal256(40, 0)", lambda w: w.numbers(pa.decimal256(40, 0)))
simple(
    "numbers: decimal128(20, 0) in Parquet",
    lambda w: written(w, "decimal.parquet", w.numbers(pa.decimal128(20, 0))),
)
simple("numbers: decimal with a fraction", lambda w: w.numbers(pa.decimal128(22, 2)))
simple("numbers: float64", lambda w: w.numbers(pa.float64()))
simple("numbers: text", lambda w: w.numbers(pa.string()))
for unit in ("ms", "us", "ns"):
    simple(f"time: timestamp[{unit}]", lambda w, unit=unit: w.times(pa.timestamp(unit)))  # type: ignore[misc]
simple(
    "time: timestamp[us, UTC] in Parquet",
    lambda w: written(w, "times.parquet", w.times(pa.timestamp("us", "UTC"))),
)
simple("text: large_string", lambda w: w.cast(device_id=pa.large_string()))
simple("text: string_view", lambda w: w.cast(device_id=pa.string_view()))
simple("text: dictionary", lambda w: w.replace(device_id=w.table["device_id"].dictionary_encode()))
simple("text: binary", lambda w: w.cast(device_id=pa.binary()))
simple("bytes: binary", lambda w: w.cast(payload_hash=pa.binary(), signature=pa.binary()))
simple("bytes: large_binary", lambda w: w.bytes(bytes, pa.large_binary()))
simple("bytes: binary_view", lambda w: w.bytes(bytes, pa.binary_view()))
simple("bytes: list of uint8", lambda w: w.bytes(list, pa.list_(pa.uint8())))
simple("bytes: list of int64", lambda w: w.bytes(list, pa.list_(pa.int64())))
simple(
    "bytes: list of int8",
    lambda w: w.bytes(lambda value: [b - 256 if b > 127 else b for b in value], pa.list_(pa.int8())),
)
simple("bytes: hex text", lambda w: w.bytes(bytes.hex, pa.string()))


@case("bytes: base64 text")
def _base64(w: World) -> Any:
    import base64

    return w.bytes(lambda value: base64.b64encode(value).decode(), pa.string())


@case("text: run-end encoded")
def _run_ends(w: World) -> Any:
    devices = pyarrow.compute.run_end_encode(w.table["device_id"].combine_chunks())
    return w.replace(device_id=devices)


def _days(w: World) -> Any:
    return w.replace(day=pa.array([f"2026-11-{1 + row % 2:02}" for row in range(RECORDS)]))


simple("columns: a further one", _days)
simple("columns: a further one, with ignore=", lambda w: (_days(w), {"ignore": ["day"]}))
simple(
    "columns: upper case", lambda w: w.table.rename_columns([name.upper() for name in w.table.column_names])
)
simple("columns: names that differ in case", lambda w: w.replace(Device_ID=w.table["device_id"]))
simple(
    "columns: another name, with columns=",
    lambda w: (
        w.table.rename_columns({"timestamp_ms": "event_time"}),
        {"columns": {"timestamp_ms": "event_time"}},
    ),
)


@case("directory: Hive partitions")
def _hive(w: World) -> Any:
    folder = w.folder / "hive"
    # One partition a device, so that the order of paths is one of the chains.
    table = w.replace(part=w.table["device_id"])
    pa.parquet.write_to_dataset(table, folder, partition_cols=["part"])
    (folder / "_SUCCESS").touch()
    return folder


@case("directory: Hive partitions as a dataset, with ignore=")
def _hive_dataset(w: World) -> Any:
    folder = w.folder / "hive-dataset"
    pa.parquet.write_to_dataset(w.replace(part=w.table["device_id"]), folder, partition_cols=["part"])
    return pa.dataset.dataset(folder, partitioning="hive"), {"ignore": "part"}


@case("directory: Hive partitions of a field")
def _hive_field(w: World) -> Any:
    pa.parquet.write_to_dataset(w.table, w.folder / "hive-field", partition_cols=["device_id"])
    return w.folder / "hive-field"


@case("directory: Hive partitions of a field as a dataset")
def _hive_field_dataset(w: World) -> Any:
    folder = w.folder / "hive-field-dataset"
    pa.parquet.write_to_dataset(w.table, folder, partition_cols=["device_id"])
    return pa.dataset.dataset(folder, partitioning="hive")


simple("pandas: frame", lambda w: pandas.read_parquet(w.path))
simple("pandas: frame with types of pyarrow", lambda w: pandas.read_parquet(w.path, dtype_backend="pyarrow"))


@case("pandas: numbers that became float64")
def _reindexed(w: World) -> Any:
    frame = pandas.read_parquet(w.path)
    return frame.assign(sequence=frame["sequence"].astype("float64"))


@case("pandas: Parquet")
def _pandas_parquet(w: World) -> Any:
    pandas.read_parquet(w.path).to_parquet(w.folder / "pandas.parquet")
    return w.folder / "pandas.parquet"


simple("polars: frame", lambda w: polars.read_parquet(w.path))
simple("polars: LazyFrame", lambda w: polars.scan_parquet(w.path))
simple("polars: stream", lambda w: polars.scan_parquet(w.path).collect(engine="streaming"))
simple("polars: Int128", lambda w: polars.read_parquet(w.path).cast({"sequence": polars.Int128}))
simple("polars: Decimal", lambda w: polars.read_parquet(w.path).cast({"sequence": polars.Decimal(20, 0)}))
simple("polars: Categorical", lambda w: polars.read_parquet(w.path).cast({"device_id": polars.Categorical}))


@case("polars: Parquet")
def _polars_parquet(w: World) -> Any:
    polars.read_parquet(w.path).write_parquet(w.folder / "polars.parquet")
    return w.folder / "polars.parquet"


simple("DuckDB: relation", lambda w: duckdb.from_parquet(str(w.path)))
simple("DuckDB: Arrow table", lambda w: duckdb.from_parquet(str(w.path)).to_arrow_table())
simple(
    "DuckDB: UHUGEINT",
    lambda w: duckdb.sql(f"SELECT * REPLACE (sequence::UHUGEINT AS sequence) FROM '{w.path}'"),
)
simple(
    "DuckDB: HUGEINT",
    lambda w: duckdb.sql(f"SELECT * REPLACE (sequence::HUGEINT AS sequence) FROM '{w.path}'"),
)


@case("DuckDB: Parquet")
def _duckdb_parquet(w: World) -> Any:
    duckdb.from_parquet(str(w.path)).write_parquet(str(w.folder / "duckdb.parquet"))
    return w.folder / "duckdb.parquet"


@case("Dask: frame")
def _dask(w: World) -> Any:
    import dask.dataframe

    # Otherwise Dask takes bytes for text.
    dask.config.set({"dataframe.convert-string": False})
    return dask.dataframe.from_pandas(pandas.read_parquet(w.path), npartitions=3)


simple("Dask: computed frame", lambda w: _dask(w).compute())


@case("Dask: Parquet, with schema=")
def _dask_parquet(w: World) -> Any:
    _dask(w).to_parquet(w.folder / "dask", schema=w.table.schema, write_index=False)
    return w.folder / "dask"


@case("DataFusion: frame")
def _datafusion(w: World) -> Any:
    import datafusion

    return datafusion.SessionContext().read_parquet(w.path)


@case("DataFusion: Parquet")
def _datafusion_parquet(w: World) -> Any:
    _datafusion(w).write_parquet(str(w.folder / "datafusion"))
    return w.folder / "datafusion", {"order": "sequence"}


def _delta_table(w: World, name: str) -> Any:
    import deltalake

    deltalake.write_deltalake(w.folder / name, w.table)
    return deltalake.DeltaTable(w.folder / name)


simple("Delta: DeltaTable", lambda w: _delta_table(w, "delta"))


@case("Delta: written from our reader")
def _delta_stream(w: World) -> Any:
    import deltalake

    deltalake.write_deltalake(w.folder / "delta-stream", read_records(w.path))
    return deltalake.DeltaTable(w.folder / "delta-stream")


@case("Delta: directory, live files only")
def _delta_live(w: World) -> Any:
    import deltalake

    table = _delta_table(w, "delta-live")
    first = next(iter(w.table["device_id"].to_pylist()))
    table.delete(f"device_id != '{first}'")
    rest = w.table.filter(pa.compute.field("device_id") != first)
    deltalake.write_deltalake(w.folder / "delta-live", rest, mode="append")
    assert len(list((w.folder / "delta-live").glob("*.parquet"))) > len(table.file_uris())
    return w.folder / "delta-live"


@case("Delta: files of the directory by a pattern")
def _delta_pattern(w: World) -> Any:
    _delta_table(w, "delta-pattern")
    return str(w.folder / "delta-pattern" / "*.parquet")


def _iceberg_table(w: World, name: str, table: Any) -> Any:
    from pyiceberg.catalog.sql import SqlCatalog

    warehouse = w.folder / name
    warehouse.mkdir()
    catalog = SqlCatalog("x", uri=f"sqlite:///{warehouse}/catalog.db", warehouse=f"file://{warehouse}")
    catalog.create_namespace("audit")
    return catalog.create_table("audit.records", table.schema)


@case("Iceberg: table")
def _iceberg(w: World) -> Any:
    table = w.numbers(pa.int64())
    iceberg = _iceberg_table(w, "iceberg", table)
    iceberg.append(table)
    return iceberg


@case("Iceberg: table of decimal(20, 0)")
def _iceberg_decimals(w: World) -> Any:
    table = w.numbers(pa.decimal128(20, 0))
    iceberg = _iceberg_table(w, "iceberg-decimal", table)
    iceberg.append(table)
    return iceberg


@case("Iceberg: directory")
def _iceberg_folder(w: World) -> Any:
    table = w.numbers(pa.int64())
    iceberg = _iceberg_table(w, "iceberg-folder", table)
    iceberg.append(table)
    return Path(iceberg.location().removeprefix("file://"))


@case("Iceberg: add_files of an int64 export, read by polars")
def _iceberg_add_files(w: World) -> Any:
    export = w.folder / "int64.parquet"
    write_records(w.path, export, int64=True)
    iceberg = _iceberg_table(w, "iceberg-add", pa.parquet.read_table(export))
    iceberg.add_files([str(export)])
    return polars.scan_iceberg(iceberg)


@case("Iceberg: add_files of an export")
def _iceberg_add_export(w: World) -> Any:
    iceberg = _iceberg_table(w, "iceberg-export", w.table)
    iceberg.add_files([str(w.path)])
    return iceberg


simple("Spark: toArrow", lambda w: w.spark().read.parquet(str(w.path)).toArrow())
simple("Spark: DataFrame", lambda w: w.spark().read.parquet(str(w.path)))
simple("Spark: toPandas", lambda w: w.spark().read.parquet(str(w.path)).toPandas())

BIGINT = (
    "device_id string, sequence bigint, timestamp_ms bigint, payload_hash binary, signature binary, "
    "prev_record_hash binary, object_ref string"
)
simple(
    "Spark: bigint DDL over an export", lambda w: w.spark().read.schema(BIGINT).parquet(str(w.path)).toArrow()
)


@case("Spark: Parquet")
def _spark_parquet(w: World) -> Any:
    w.spark().read.parquet(str(w.path)).coalesce(1).write.parquet(str(w.folder / "spark"))
    return (w.folder / "spark").as_uri()


def _spark_codec(w: World, codec: str, **options: Any) -> Any:
    frame = w.spark().read.parquet(str(w.path)).coalesce(1)
    name = f"spark-{codec}-{len(options)}"
    frame.write.options(compression=codec, **options).parquet(str(w.folder / name))
    return w.folder / name


for codec in ("zstd", "gzip", "lz4_raw"):
    simple(f"Spark: Parquet in {codec}", lambda w, codec=codec: _spark_codec(w, codec))  # type: ignore[misc]
simple(
    "Spark: Parquet with pages of version 2",
    lambda w: _spark_codec(w, "snappy", **{"parquet.writer.version": "v2"}),
)
simple(
    "Spark: numbers cast to bigint",
    lambda w: (
        w.spark()
        .read.parquet(str(w.path))
        .selectExpr("* EXCEPT (sequence)", "CAST(sequence AS bigint) AS sequence")
    ),
)


@case("Spark: Parquet with timestamps")
def _spark_times(w: World) -> Any:
    frame = w.spark().read.schema(BIGINT).parquet(str(w.path))
    frame = frame.selectExpr("*", "timestamp_millis(timestamp_ms) AS event_time").drop("timestamp_ms")
    frame.coalesce(1).write.parquet(str(w.folder / "spark-times"))
    return w.folder / "spark-times", {"columns": {"timestamp_ms": "event_time"}}


@case("Spark: JSON")
def _spark_json(w: World) -> Any:
    w.spark().read.parquet(str(w.path)).coalesce(1).write.json(str(w.folder / "spark-json"))
    return w.folder / "spark-json"


@case("Spark: partitionBy")
def _spark_partitions(w: World) -> Any:
    frame = w.spark().read.parquet(str(w.path)).selectExpr("*", "device_id AS part")
    frame.coalesce(1).write.partitionBy("part").parquet(str(w.folder / "spark-parts"))
    return w.folder / "spark-parts"


@case("Spark: createDataFrame of records")
def _spark_create(w: World) -> Any:
    return w.spark().createDataFrame(pa.table(read_records(w.path, int64=True)))


def documented() -> dict[str, str]:
    """Returns the outcome of each row of the page."""
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: outcome for name, outcome in rows if ": " in name}


def test_the_page_has_every_case() -> None:
    assert sorted(documented()) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_an_engine_gives_back_what_the_page_says(world: World, name: str) -> None:
    made = CASES[name](world)
    source, arguments = made if isinstance(made, tuple) else (made, {})
    expected = documented()[name]
    if expected != "OK":
        with pytest.raises(EdgesentryError) as refused:
            verify_chain(source, keys=world.keys, **arguments)
        assert expected.strip("`") in str(refused.value)
        return
    report = verify_chain(source, keys=world.keys, **arguments)
    assert report.ok, report
    assert report.coverage.records == RECORDS


def test_spark_takes_every_table_of_ours(world: World) -> None:
    fleet = make_fleet(devices=2, records=20)
    report = verify_chain(attacks.delete(fleet.records, "lift-02", 5, count=3).records, keys=fleet.keys)
    findings = world.spark().createDataFrame(report.findings.to_arrow(int64=True))
    assert findings.collect()[0]["code"] == "sequence_gap"
    assert Findings.from_arrow(findings.toArrow()) == report.findings
    assert world.spark().createDataFrame(report.heads_to_arrow(int64=True)).count() == 2
    statistics = device_statistics(fleet.records).to_arrow(int64=True)
    assert world.spark().createDataFrame(statistics).count() == 2


def test_functions_of_spark_verify_batches(world: World) -> None:
    """Keys travel in a closure. The numbers of the batches are decimals, those of the findings are signed."""
    keys = world.keys
    frame = world.spark().read.parquet(str(world.path))

    def verified(table: Any) -> Any:
        report = verify_chain(table, keys=keys, order="sequence")
        return pa.table({"verdict": [report.verdict], "records": [report.coverage.records]})

    def each(batches: Iterator[Any]) -> Iterator[Any]:
        yield from verified(pa.Table.from_batches(batches)).to_batches()

    def found(batches: Iterator[Any]) -> Iterator[Any]:
        report = verify_chain(pa.Table.from_batches(batches), keys=keys, order="sequence")
        yield from pa.table(report.findings.to_arrow(int64=True)).to_batches()

    columns = "verdict string, records bigint"
    whole = frame.coalesce(1).mapInArrow(each, columns).collect()
    assert [tuple(row) for row in whole] == [("valid", RECORDS)]
    devices = frame.groupBy("device_id").applyInArrow(verified, columns).collect()
    assert [tuple(row) for row in devices] == [("valid", 50)] * 3

    shorter = frame.where("NOT (device_id = 'lift-02' AND sequence = 5)").coalesce(1)
    expected = verify_chain(shorter.toArrow(), keys=keys, order="sequence").findings
    assert [finding.code for finding in expected] == ["sequence_gap"]
    schema = world.spark().createDataFrame(expected.to_arrow(int64=True)).schema
    assert Findings.from_arrow(shorter.mapInArrow(found, schema).toArrow()) == expected


def test_a_null_is_a_malformed_record(world: World) -> None:
    nulls = pa.array(
        [None, *world.table["signature"].to_pylist()[1:]], world.table.schema.field("signature").type
    )
    report = verify_chain(world.replace(signature=nulls), keys=world.keys)
    assert report.counts["record_malformed"] == 1
    assert report.coverage.records == RECORDS - 1


def test_numbers_that_no_int64_holds_are_an_error(tmp_path: Path) -> None:
    fleet = make_fleet(devices=1, records=1)
    record = json.loads(json.dumps(next(iter(read_records(fleet.records))).to_dict()))
    record["sequence"] = 2**64 - 1
    with pytest.raises(OSError, match="larger than any int64"):
        write_records([record], tmp_path / "x.parquet", int64=True)
    assert not (tmp_path / "x.parquet").exists()
    with pytest.raises(pa.ArrowInvalid, match="larger than any int64"):
        pa.table(read_records([record], int64=True))
    requested = pa.table(read_records([fleet.records[0]], int64=True)).schema
    assert pa.table(read_records([fleet.records[0]]), schema=requested).schema == requested


def test_a_ledger_is_exported_as_int64(tmp_path: Path) -> None:
    device = Device.from_seed("lift-01", bytes(32))
    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        ledger.register_device(device)
        ledger.ingest(device.sign(b"x", "lift-01/1.bin", 1), b"x")
        ledger.export(tmp_path / "a.parquet", int64=True)
    assert pa.parquet.read_schema(tmp_path / "a.parquet").field("sequence").type == pa.int64()
    assert verify_chain(tmp_path / "a.parquet").ok


def test_names_that_contradict_each_other_are_refused(world: World) -> None:
    for arguments, message in (
        ({"columns": {"day": "x"}}, "not a field of an audit record"),
        ({"ignore": ["sequence"]}, "cannot be ignored"),
        ({"columns": {"sequence": "a", "timestamp_ms": "a"}}, "two fields"),
    ):
        with pytest.raises(ValueError, match=message):
            verify_chain(world.path, **arguments)


def test_a_reader_does_not_hand_on_columns_in_another_order(world: World) -> None:
    swapped = world.table.select(
        [
            "device_id",
            "sequence",
            "timestamp_ms",
            "prev_record_hash",
            "signature",
            "payload_hash",
            "object_ref",
        ]
    )
    assert pa.table(read_records(swapped)) == world.table
    renamed = swapped.rename_columns(world.table.column_names)
    columns = {"payload_hash": "prev_record_hash", "prev_record_hash": "payload_hash"}
    assert pa.table(read_records(renamed, columns=columns)) == world.table


def test_a_path_is_a_directory_a_pattern_or_a_url(world: World, tmp_path: Path) -> None:
    devices = sorted(set(world.table["device_id"].to_pylist()))
    for device in devices:
        rows = world.table.filter(pa.compute.field("device_id") == device)
        write_records(rows, tmp_path / f"a {device}.json")
    for source in (tmp_path, str(tmp_path / "a *.json"), tmp_path.as_uri(), (tmp_path / "a *.json").as_uri()):
        report = verify_chain(source, keys=world.keys)
        assert (report.ok, report.coverage.records, len(report.inputs)) == (True, RECORDS, 3)
    with pytest.raises(EdgesentryError, match="no file has a name of this pattern"):
        verify_chain(str(tmp_path / "*.parquet"))


KEY, SECRET = "edgesentry", "edgesentry-secret"


def put(path: str, file: Path | None = None) -> None:
    """Creates a bucket, or writes an object, by a third-party client."""
    signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{KEY}:{SECRET}"]
    what = ["-X", "PUT"] if file is None else ["-T", str(file)]
    subprocess.run(
        ["curl", "-sf", *what, *signed, f"{server('EDGESENTRY_TEST_S3')}/{quote(path)}"], check=True
    )


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("EDS_S3__ENDPOINT", server("EDGESENTRY_TEST_S3"))
    monkeypatch.setenv("EDS_S3__ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("EDS_S3__SECRET_ACCESS_KEY", SECRET)
    name = f"lake-{uuid.uuid4().hex}"
    put(name)
    return name


def without_inputs(report: Report) -> dict[str, Any]:
    """Returns a report without the names and times of its inputs."""
    found: dict[str, Any] = json.loads(report.to_json())
    for each in found["inputs"]:
        for name in ("name", "path", "modified_at_ms", "modified"):
            each.pop(name, None)
    for finding in found["findings"]:
        finding.pop("input", None)
        (finding.get("location") or {}).pop("input", None)
    return found


def test_objects_have_the_verdict_of_files(bucket: str, tmp_path: Path) -> None:
    fleet = make_fleet(devices=3, records=400)
    records = attacks.delete(fleet.records, "lift-02", 20, count=3).records
    half = len(records) // 2
    names = ["day=10/b.parquet", "day=10/c.ndjson.gz", "day=9/a.parquet", "day=9-x/a.arrow"]
    parts = [records[:half], records[half : half + 50], records[half + 50 : half + 60], records[half + 60 :]]
    for name, part in zip(names, parts, strict=True):
        path = tmp_path / "day" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_records(part, path)
        put(f"{bucket}/day/{name}", path)
    hidden = tmp_path / "hidden"
    hidden.write_text("x")
    put(f"{bucket}/day/_SUCCESS", hidden)
    put(f"{bucket}/day/_temporary/0/x.parquet", hidden)
    files = verify_chain(tmp_path / "day", keys=fleet.keys)
    assert files.counts["sequence_gap"] >= 1
    for url in (f"s3://{bucket}/day/", f"s3a://{bucket}/day", f"s3://{bucket}/day/**/[a-c].*"):
        objects = verify_chain(url, keys=fleet.keys)
        assert without_inputs(objects) == without_inputs(files), url
        assert objects.inputs[0].name == f"s3://{bucket}/day/day=10/b.parquet"
    one = verify_chain(f"s3://{bucket}/day/{names[0]}", keys=fleet.keys)
    assert one.coverage.records == half
    assert (
        device_statistics([f"s3://{bucket}/day/{names[0]}", str(tmp_path / "day" / names[1])]).malformed == 0
    )

    with pytest.raises(FileNotFoundError, match="there is no such object, and no object below it"):
        verify_chain(f"s3://{bucket}/missing")
    with pytest.raises(FileNotFoundError, match="no object has a key of this pattern"):
        verify_chain(f"s3://{bucket}/day/*.json")
    with pytest.raises(OSError, match="bucket does not exist"):
        verify_chain(f"s3://{bucket}-none/x")
    with pytest.raises(UnreadableError, match="expected s3://BUCKET/KEY"):
        verify_chain("s3://a@b/x")
    put(f"{bucket}/table/_delta_log/0.json", hidden)
    put(f"{bucket}/table/day=1/a.parquet", tmp_path / "day" / names[0])
    for key in ("table/", "table/day=1/", "table/*/*.parquet", ""):
        with pytest.raises(UnreadableError, match="is a Delta table"):
            verify_chain(f"s3://{bucket}/{key}")


def test_the_command_reads_objects(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = make_fleet(devices=2, records=10)
    write_records(fleet.records, tmp_path / "a.parquet")
    fleet.keys.save(tmp_path / "keys.json")
    put(f"{bucket}/a.parquet", tmp_path / "a.parquet")
    command = [
        sys.executable,
        "-m",
        "edgesentry",
        "verify-chain",
        f"s3://{bucket}/",
        "--keys",
        str(tmp_path / "keys.json"),
        "--json",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert json.loads(done.stdout)["report"]["coverage"]["records"] == 20
    monkeypatch.setenv("EDS_S3__SECRET_ACCESS_KEY", "another-secret")
    wrong = subprocess.run(command, capture_output=True, text=True, check=False)
    assert wrong.returncode == 3
    assert "another-secret" not in wrong.stdout + wrong.stderr


class Store(BaseHTTPRequestHandler):
    """An S3 whose objects are not as they were listed."""

    protocol_version = "HTTP/1.1"
    body = b""
    requests: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.answer(200, len(self.body), '"one"')

    def do_GET(self) -> None:
        key = self.path.split("?")[0].rpartition("/")[2]
        self.requests.append(key)
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = self.body[int(found[1]) : int(found[2]) + 1] if found else self.body
        assert self.headers["If-Match"] == '"one"'
        match key:
            case "replaced":
                self.answer(412, 0, '"two"')
            case "ignores-conditions":
                self.answer(206, len(part), '"two"')
                self.wfile.write(part)
            case "ignores-ranges":
                self.answer(200, len(self.body) + len(part), '"one"')
                self.wfile.write(self.body + part)
            case "breaks-off":
                self.answer(206, len(part), '"one"')
                self.wfile.write(part[: len(part) // 2])
                self.close_connection = True
            case _:
                self.answer(206, len(part), '"one"')
                self.wfile.write(part)

    def answer(self, status: int, size: int, etag: str) -> None:
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_an_object_that_changes_or_breaks_off_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = make_fleet(devices=1, records=20)
    write_records(fleet.records, tmp_path / "a.parquet")
    Store.body = (tmp_path / "a.parquet").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        monkeypatch.setenv("EDS_S3__ENDPOINT", f"http://127.0.0.1:{store.server_port}")
        monkeypatch.setenv("EDS_S3__ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("EDS_S3__SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("EDS_S3__ATTEMPTS", "2")
        assert verify_chain("s3://x/whole", keys=fleet.keys).ok
        for key in ("replaced", "ignores-conditions"):
            with pytest.raises(OSError, match="the object was replaced or deleted while it was read"):
                verify_chain(f"s3://x/{key}")
        with pytest.raises(OSError, match="the server ignores ranges"):
            verify_chain("s3://x/ignores-ranges")
        with pytest.raises(OSError, match="cannot read"):
            verify_chain("s3://x/breaks-off")
        assert Store.requests.count("breaks-off") == 2
        store.shutdown()
