"""Data frames: findings, records and statistics in polars, pandas, pyarrow and DuckDB."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import edgesentry
from edgesentry import (
    AuditRecord,
    Device,
    Findings,
    Head,
    UnreadableError,
    device_statistics,
    read_records,
    verify_chain,
    write_records,
)
from edgesentry.testing import attacks, make_fleet
from support import START_MS, chains, device


def bad(count: int = 40) -> list[AuditRecord]:
    return [record.replace(signature=bytes(64)) for record in chains([device(1)], count)]


def test_findings_are_frames() -> None:
    report = verify_chain(bad(), keys={"lift-01": {"key": device(1).public_key, "scheme": "record"}})
    frame = report.findings.to_polars()
    assert isinstance(frame, pl.DataFrame)
    assert frame.equals(pl.DataFrame(report))
    pandas = report.findings.to_pandas()
    assert isinstance(pandas, pd.DataFrame)
    assert list(pandas["code"]) == [finding.code for finding in report.findings]
    assert list(pandas["sequence"]) == frame["sequence"].to_list()
    assert report.findings[:3].to_polars().height == 3
    assert verify_chain(chains([device(1)], 3)).findings.to_polars().height == 0


def test_integers_that_may_be_missing_stay_integers() -> None:
    large = 9_007_199_254_740_993
    records = chains([device(1)], 1)
    records.append(records[0].replace(sequence=large))
    report = verify_chain(records, heads={"lift-09": Head(1, bytes(32))})
    pandas = report.findings.to_pandas()
    assert pandas["sequence"].tolist() == [large, 1]
    assert pandas["index"].dtype == pd.UInt64Dtype()
    assert pandas["index"].isna().tolist() == [False, True]
    assert Findings.from_arrow(pandas) == report.findings
    assert device_statistics(records).to_pandas()["last_sequence"].tolist() == [large]


def test_records_are_frames() -> None:
    records = chains([device(1)], 5)
    assert read_records(records).to_polars()["sequence"].to_list() == [1, 2, 3, 4, 5]
    assert list(read_records(records).to_pandas()["timestamp_ms"]) == [r.timestamp_ms for r in records]
    reader = read_records(records)
    reader.to_polars()
    with pytest.raises(ValueError, match="read once"):
        reader.to_pandas()


def addresses(table: pa.Table) -> list[int]:
    chunks = [chunk for column in table.columns for chunk in column.chunks]
    return [buffer.address for chunk in chunks for buffer in chunk.buffers() if buffer is not None]


def test_a_table_goes_through_without_a_copy() -> None:
    """An Arrow table as a source comes out of the reader without a copy."""
    table = pa.table(read_records(chains([device(1), device(2)], 100)))
    assert addresses(pa.table(read_records(table))) == addresses(table)
    frame = read_records(table).to_polars()
    assert verify_chain(frame).ok
    # A row that is not a record is still found.
    nulls = table.set_column(0, "device_id", pa.array([None] * 200, pa.string()))
    with pytest.raises(Exception, match="entry 0 is not a record"):
        pa.table(read_records(nulls))
    taken = read_records(table)
    assert next(taken).sequence == 1
    assert pa.table(taken).num_rows == 199


def test_findings_are_handed_over_without_a_copy() -> None:
    findings = verify_chain(bad(), keys={"lift-01": device(1).public_key}).findings
    whole = pa.table(findings)
    assert addresses(pa.table(findings)) == addresses(whole)
    assert pa.table(findings[3:9]).equals(whole.slice(3, 6))


def every_kind_of_finding() -> Findings:
    """Findings with and without records, causes and places."""
    fleet = make_fleet(3, 8)
    lines = [json.dumps(record.to_dict()) for record in fleet.records]
    del lines[5]
    lines[9] = lines[9].replace('"timestamp_ms": 1', '"timestamp_ms": 2')
    content = "\n".join([*lines[:20], "{}", *lines[20:]]).encode()
    heads = {**fleet.heads, "lift-09": fleet.heads["lift-01"]}
    report = verify_chain(content, keys=fleet.keys, heads=heads)
    assert len(report.counts) > 3
    assert any(finding.cause for finding in report.findings)
    return report.findings


def test_findings_are_read_back_from_every_library() -> None:
    findings = every_kind_of_finding()
    table, frame = pa.table(findings), findings.to_polars()
    views = frame.with_columns(pl.col("code").cast(pl.Categorical), pl.col("index").cast(pl.Int32))
    kept = io.BytesIO()
    frame.write_parquet(kept)
    for source in (
        findings,
        table,
        table.to_batches()[0],
        pa.Table.from_batches(table.to_batches(max_chunksize=2)),
        pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(max_chunksize=1))),
        table.select(table.column_names[::-1]).append_column("mine", [list(range(len(findings)))]),
        frame,
        views,
        pl.read_parquet(kept.getvalue()),
        duckdb.from_arrow(table),
    ):
        back = Findings.from_arrow(source)
        assert back == findings
        assert [one.to_dict() for one in back] == [one.to_dict() for one in findings]
        assert list(map(hash, back)) == list(map(hash, findings))
        assert back.index(findings[-1]) == len(findings) - 1
        assert findings[0] in back
        assert back.count(findings[0]) == 1
        # And further, in our own form.
        assert pa.table(back).equals(table)
        assert pa.table(back[1:3]).equals(table.slice(1, 2))
    assert len(Findings.from_arrow(table.slice(0, 0))) == 0
    chosen = Findings.from_arrow(frame.filter(pl.col("code") == "record_malformed"))
    assert [finding.code for finding in chosen] == ["record_malformed"]
    other = Findings.from_arrow(frame.with_columns(actual=pl.lit("x")))
    assert other != findings
    assert other[0] not in findings


def test_findings_go_through_without_a_copy() -> None:
    table = pa.table(every_kind_of_finding())
    assert addresses(pa.table(Findings.from_arrow(table))) == addresses(table)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"sequence": pa.array(["1", "2"])}, "column sequence has type Utf8; cast it to an integer column"),
        ({"index": pa.array([1.0, 2.0])}, "column index has type Float64; cast it to an integer column"),
        ({"device_id": pa.array([1, 2])}, "column device_id has type Int64; cast it to a string column"),
        ({"code": pa.nulls(2)}, "column code has type Null; cast it to a string column"),
        ({"code": pa.array(["fork", "forks"])}, 'row 2: unknown finding code "forks"'),
        ({"code": pa.array(["fork", None])}, "row 2: code is null"),
        ({"expected": pa.array([None, "x"])}, "row 1: expected is null"),
        ({"record": pa.array([-1, 1])}, "column record has an invalid value: .*-1"),
        ({"record_hash": pa.array(["00", None])}, 'row 1: record_hash is "00", not 64 hex digits'),
        ({"cause_code": pa.array([None, "fork"])}, "row 2: cause_code and cause_index are given together"),
        ({"cause_sequence": pa.array([1, None])}, "row 1: cause_code and cause_index are given together"),
        ({"input": pa.array(["a", None])}, "row 1: input and record are given together"),
    ],
)
def test_a_table_that_holds_no_findings_is_refused(changed: dict[str, pa.Array], problem: str) -> None:
    columns = {name: pa.nulls(2, pa.string()) for name in pa.schema(every_kind_of_finding()).names}
    numbers = ("sequence", "timestamp_ms", "index", "cause_sequence", "cause_index", "record")
    columns |= dict.fromkeys(numbers, pa.nulls(2, pa.uint64()))
    columns |= {
        "code": pa.array(["fork"] * 2),
        "expected": pa.array(["x"] * 2),
        "actual": pa.array(["y"] * 2),
    }
    assert len(Findings.from_arrow(pa.table(columns))) == 2
    with pytest.raises(UnreadableError, match=f"^Table: {problem}"):
        Findings.from_arrow(pa.table(columns | changed))


def test_a_table_without_findings_columns_is_refused() -> None:
    table = pa.table(every_kind_of_finding())
    with pytest.raises(UnreadableError, match=r"^Table: column cause_index is missing; findings have"):
        Findings.from_arrow(table.drop_columns(["cause_index"]))
    with pytest.raises(UnreadableError, match=r"^RecordReader: columns code, index, .* are missing"):
        Findings.from_arrow(read_records(bad()))
    with pytest.raises(UnreadableError, match="column code appears twice; keep one"):
        Findings.from_arrow(table.append_column("code", table["code"]))
    with pytest.raises(TypeError, match="__arrow_c_stream__, not list"):
        Findings.from_arrow([])  # type: ignore[arg-type]

    def broken() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        raise RuntimeError("the network is gone")

    with pytest.raises(UnreadableError, match="the network is gone"):
        Findings.from_arrow(pa.RecordBatchReader.from_batches(table.schema, broken()))


@pytest.mark.parametrize(("method", "module"), [("to_polars", "polars"), ("to_pandas", "pandas")])
def test_a_library_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, method: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for stream in (verify_chain(bad(1)).findings, read_records(bad(1)), device_statistics(bad(1))):
        with pytest.raises(ImportError, match=f"{method} needs {module}; run: pip install {module}"):
            getattr(stream, method)()


def test_duckdb_asks_over_the_capsule() -> None:
    fleet = make_fleet(3, 50)
    table = pa.table(read_records(fleet.records))
    counted = duckdb.from_arrow(table).aggregate("device_id, count(*)").order("device_id")
    assert counted.fetchall() == [("lift-01", 50), ("lift-02", 50), ("lift-03", 50)]
    ranked = duckdb.from_arrow(pa.table(device_statistics(table))).order("records DESC, device_id")
    assert ranked.fetchall()[0][:2] == ("lift-01", 50)


# Statistics.


def at(device: Device, times: list[int]) -> list[AuditRecord]:
    return [device.sign(b"x", f"{number}", START_MS + time) for number, time in enumerate(times, 1)]


def row(source: object, device_id: str = "lift-01", **options: int) -> dict[str, Any]:
    rows = device_statistics(source, **options).to_dicts()  # type: ignore[arg-type]
    (wanted,) = [one for one in rows if one["device_id"] == device_id]
    return wanted


def test_a_steady_device() -> None:
    steady = at(device(1), [0, 1000, 2000, 3000])
    assert row(steady) == {
        "device_id": "lift-01",
        "records": 4,
        "duplicates": 0,
        "first_sequence": 1,
        "last_sequence": 4,
        "missing": 0,
        "earliest_ms": START_MS,
        "latest_ms": START_MS + 3000,
        "first_ms": START_MS,
        "last_ms": START_MS + 3000,
        "rate_per_hour": 3600.0,
        # 1000 to one part in sixteen.
        "interval_median_ms": 992,
        "longest_gap_ms": 1000,
        "longest_gap_sequence": 2,
        "gaps": 0,
        "clock_backwards": 0,
        "clock_backwards_max_ms": None,
        "clock_backwards_sequence": None,
        "clock_forwards": 0,
        "clock_forwards_max_ms": None,
        "clock_forwards_sequence": None,
        "clock_ahead": None,
        "silence_ms": 0,
    }


def test_gaps_silence_and_a_clock_that_ran_backwards() -> None:
    uneven = at(device(1), [0, 1000, 2000, 500_000, 499_000, 500_000])
    other = at(device(2), [0, 600_000])
    found = row(uneven + other)
    assert (found["gaps"], found["longest_gap_ms"], found["longest_gap_sequence"]) == (1, 498_000, 4)
    assert (found["clock_backwards"], found["clock_backwards_max_ms"]) == (1, 1000)
    assert found["clock_backwards_sequence"] == 5
    assert (found["silence_ms"], row(uneven + other, "lift-02")["silence_ms"]) == (100_000, 0)
    assert row(uneven, until_ms=START_MS + 700_000)["silence_ms"] == 200_000
    assert row(uneven, until_ms=0)["silence_ms"] == 0
    assert (row(uneven, gap_ms=10**9)["gaps"], row(uneven, gap_ms=1)["gaps"]) == (0, 4)
    with pytest.raises(ValueError, match="gap_ms"):
        device_statistics(uneven, gap_ms=0)


def test_a_clock_that_jumped_shows_its_records() -> None:
    hour = 3_600_000
    jumped = at(device(1), [0, 1000, 2000, 2000 + hour, 3000 + hour, 4000, 5000])
    found = row(jumped, now_ms=START_MS + 2000)
    assert (found["clock_forwards"], found["clock_forwards_max_ms"]) == (1, hour)
    assert (found["clock_forwards_sequence"], found["clock_backwards_sequence"]) == (4, 6)
    assert (found["clock_ahead"], row(jumped, now_ms=2**64 - 1)["clock_ahead"]) == (4, 0)
    assert (found["first_ms"], found["last_ms"]) == (START_MS, START_MS + 5000)
    calm = row(jumped, jump_ms=2 * hour)
    assert (calm["clock_forwards"], calm["clock_forwards_max_ms"]) == (0, None)
    assert row(jumped, jump_ms=500)["clock_forwards"] == 5
    # Records are missing: their time passed, too.
    assert row(jumped[:2] + jumped[3:])["clock_forwards"] == 0
    with pytest.raises(ValueError, match="jump_ms"):
        device_statistics(jumped, jump_ms=0)


def test_duplicates_and_missing_sequences() -> None:
    records = make_fleet(1, 9).records
    doubled = attacks.duplicate(records, "lift-01", 4, behind=7).records
    assert (row(doubled)["records"], row(doubled)["duplicates"], row(doubled)["missing"]) == (10, 1, 0)
    holed = attacks.delete(records, "lift-01", 3, count=2).records
    assert (row(holed)["missing"], row(holed)["duplicates"], row(holed)["last_sequence"]) == (2, 0, 9)
    once = row(records[:1])
    assert (once["rate_per_hour"], once["interval_median_ms"], once["longest_gap_ms"]) == (None,) * 3


def test_a_clock_turned_back_shows() -> None:
    fleet = make_fleet(1, 5)
    late = attacks.append_with_clock_back(
        fleet.records, "lift-01", signer=fleet.signers["lift-01"].device(), by_ms=5000
    )
    assert verify_chain(late.records, keys=fleet.keys, heads=fleet.heads).ok
    found = row(late.records)
    assert (found["clock_backwards"], found["clock_backwards_max_ms"]) == (1, 5000)


def test_statistics_of_every_source(tmp_path: Path) -> None:
    fleet = make_fleet(3, 20, seed=4)
    expected = device_statistics(fleet.records).to_dicts()
    assert sum(int(str(one["records"])) for one in expected) == len(fleet.records)
    for name in ("export.json", "export.ndjson.zst", "export.parquet", "export.arrow"):
        write_records(fleet.records, tmp_path / name)
        assert device_statistics(tmp_path / name).to_dicts() == expected
    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        fleet.fill(ledger)
        assert device_statistics(ledger.records()).to_dicts() == expected
    assert len(device_statistics([])) == 0
    assert device_statistics(b'{"no": "record"}\n{}\n').malformed == 2
    with pytest.raises(FileNotFoundError):
        device_statistics(tmp_path / "none.json")


def test_statistics_are_a_table() -> None:
    statistics = device_statistics(make_fleet(3, 5).records)
    table = pa.table(statistics)
    assert table.schema == pa.schema(statistics)
    assert table.column_names == statistics.columns
    assert table.to_pylist() == statistics.to_dicts()
    assert statistics.to_polars().to_dicts() == statistics.to_dicts()
    assert list(statistics.to_pandas().columns) == statistics.columns
    assert repr(statistics) == "<Statistics of 3 devices>"
    assert '<th scope="col">silence_ms</th>' in statistics._repr_html_()


def test_every_column_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "how-to" / "dataframes.md").read_text()
    documentation = Path(edgesentry._core.__file__).with_name("_core.pyi").read_text()
    for column in device_statistics([]).columns:
        assert f"`{column}`" in page
        assert f"`{column}`" in documentation
