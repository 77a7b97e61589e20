"""Lakes and checkpoints that an attacker, another run or an accident changed."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from edgesentry import EdgesentryError, KeyRing, UnreadableError, lake, verify_chain, write_records
from edgesentry.testing import attacks
from support import device
from test_spark import FLEET, days, in_time, plain

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A directory with four files."""
    days(tmp_path / "lake", in_time(), 4)
    return tmp_path / "lake"


def replaced(segments: Any, name: str, value: Any) -> Any:
    """Returns segments of which a column has one value in all rows."""
    at = segments.column_names.index(name)
    column = pa.array([value] * len(segments), segments.schema.field(name).type)
    return segments.set_column(at, name, column)


def test_impossible_segments_are_one_error(table: Path) -> None:
    segments = lake.verify(table, keys=FLEET.keys).segments
    for name, value in (
        ("path", None),
        ("bytes", -1),
        ("end", 1 << 62),
        ("position", -1),
        ("position", 1 << 23),
        ("position", None),
        ("run", -1),
        ("shares", 0),
        ("shares", (1 << 31) - 1),
        ("share", None),
        ("version", None),
    ):
        with pytest.raises(EdgesentryError) as refused:
            lake.verify(table, keys=FLEET.keys, since=replaced(segments, name, value), changed="read")
        assert "segments" in str(refused.value), (name, value)
    for name in segments.column_names:
        if name in ("device_id", "state", "path", "run", "share", "first_sequence"):
            with pytest.raises(UnreadableError, match=f"the segments have no column {name}"):
                lake.verify(table, keys=FLEET.keys, since=segments.drop_columns(name))
    at = segments.column_names.index("position")
    named = segments.set_column(at, "position", pa.array(["x"] * len(segments)))
    with pytest.raises(UnreadableError, match="the column position of the segments has type string"):
        lake.verify(table, since=named)


def test_segments_that_lack_rows_give_no_report(table: Path) -> None:
    result = lake.verify(table, keys=FLEET.keys)
    segments = result.segments
    for rows in range(len(segments)):
        rest = pa.concat_tables([segments[:rows], segments[rows + 1 :]])
        with contextlib.suppress(UnreadableError):
            # The file of a row that is its only one is read again.
            assert plain(lake.verify(table, keys=FLEET.keys, since=rest).report) == plain(result.report)
    # One share is lost.
    (task,) = lake.plan(table / "day-00.parquet", shares=3).tasks
    divided = lake.verify_task(task, lake.Options(FLEET.keys))
    for share in range(3):
        rest = divided.filter(pa.compute.not_equal(divided["share"], share))
        with pytest.raises(UnreadableError, match=r"day-00.parquet: segments of the file are missing"):
            lake.verify(table / "day-00.parquet", keys=FLEET.keys, since=rest)
    again = lake.verify(table / "day-00.parquet", keys=FLEET.keys, since=divided)
    assert again.plan.tasks == []
    # The files of the next run have as many shares.
    later = lake.verify(table, keys=FLEET.keys, since=divided)
    assert len(later.plan.tasks) == 3
    assert plain(later.report) == plain(result.report)


def test_segments_of_two_runs_at_the_same_time_are_used_once(table: Path) -> None:
    options: dict[str, Any] = {"keys": FLEET.keys}
    expected = plain(verify_chain(table, order="sequence", **options))
    late = table / "day-03.parquet"
    hidden = late.rename(table.parent / "late.parquet")
    one = lake.verify(table, **options)
    hidden.rename(late)
    two = lake.verify(table, **options)
    both = pa.concat_tables([one.segments, two.segments])
    with pytest.raises(ValueError, match="input 3 is in two parts"):
        lake.verify(table, since=pa.concat_tables([both, both]), **options)
    for rows in (both, pa.concat_tables([two.segments, one.segments])):
        result = lake.verify(table, since=rows, **options)
        assert plain(result.report) == expected
    # They have the same positions, so that only the last file of the second run is certain.
    result = lake.verify(table, since=both, **options)
    assert len(result.plan.tasks) == 3
    again = lake.verify(table, since=pa.concat_tables([one.segments, result.segments]), **options)
    assert again.plan.tasks == []
    assert plain(again.report) == expected


def test_a_run_without_free_positions_is_refused(table: Path) -> None:
    last = lake.Task(lake.File("gone.parquet", 1, "v"), (1 << 23) - 1, 0, 1)
    with pytest.raises(ValueError, match=r"needs 8388612 positions.*leave since out"):
        lake.plan(table, since=[last], changed="read")
    before = lake.Task(last.file, last.position - 4, 0, 1)
    assert lake.plan(table, since=[before], changed="read").tasks[-1].position == last.position


def test_a_file_with_segments_of_some_ranges_is_read_again(table: Path) -> None:
    path = table / "day-00.parquet"
    size = path.stat().st_size
    result = lake.verify(path, keys=FLEET.keys, split_bytes=size // 2 + 1)
    assert len(result.plan.tasks) == 2
    for start in (0, size // 2 + 1):
        some = result.segments.filter(pa.compute.equal(result.segments["start"], start))
        again = lake.verify(path, keys=FLEET.keys, since=some)
        assert len(again.plan.tasks) == 1
        assert again.report.ok == result.report.ok
    with pytest.raises(ValueError, match="split_bytes must be a number from 1, not -1"):
        lake.verify(path, keys=FLEET.keys, split_bytes=-1)


@pytest.mark.parametrize(
    "name",
    [
        "a b.parquet",
        "a[1].parquet",
        "a%20b.parquet",
        "x*?.parquet",
        "é\n.parquet",
        "a#b&c=d.parquet",
        "'q\".parquet",
    ],
)
def test_paths_have_any_characters(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "day=2026-11-01 00%3A00" / "[x]"
    folder.mkdir(parents=True)
    write_records(in_time()[:100], folder / name)
    # A name that the first one would have as a pattern.
    write_records(in_time()[100:], folder / "a1.parquet")
    for source in (tmp_path, str(tmp_path), tmp_path.as_uri(), f"file://{quote(str(tmp_path))}"):
        result = lake.verify(source, keys=FLEET.keys)
        assert result.report.ok
        assert result.plan.inputs == 2
        assert lake.verify(source, keys=FLEET.keys, since=result.segments).plan.tasks == []


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    write_records(in_time(), tmp_path / "a.parquet")
    shutil.copy(bytes(tmp_path / "a.parquet"), bytes(tmp_path) + b"/\xff.parquet")
    with pytest.raises(UnreadableError, match="the path is not UTF-8; rename the file"):
        lake.verify(tmp_path)


def test_a_file_that_is_replaced_after_the_listing_is_an_error(table: Path) -> None:
    plan = lake.plan(table)
    task = plan.tasks[1]
    path = Path(task.file.path)
    other = attacks.delete(in_time(), "lift-02", 5).records
    write_records(other, table.parent / "other.parquet")

    def becomes_a_directory() -> None:
        path.unlink()
        path.mkdir()

    for replace in (
        lambda: (table.parent / "other.parquet").replace(path),
        lambda: path.write_bytes(b"PAR1"),
        becomes_a_directory,
        path.rmdir,
    ):
        replace()
        with pytest.raises((EdgesentryError, OSError)) as refused:
            lake.verify_task(task, lake.Options(FLEET.keys))
        assert path.name in str(refused.value)


def test_a_partition_with_the_name_of_a_field_is_refused(tmp_path: Path) -> None:
    """The directory has the values of the column, and the files lack it."""
    records = pa.table(verified_rows())
    pq.write_to_dataset(records, tmp_path / "lake", partition_cols=["device_id"])
    for verify in (lake.verify, verify_chain):
        with pytest.raises(
            UnreadableError, match='column "device_id" is missing: it is only in the names of the dir'
        ):
            verify(tmp_path / "lake", keys=FLEET.keys)
    rows = pa.dataset.dataset(tmp_path / "lake", partitioning="hive")
    assert verify_chain(rows, keys=FLEET.keys, order="sequence").ok


def verified_rows() -> Any:
    from edgesentry import read_records

    return read_records(in_time())


def test_a_directory_of_a_table_is_refused(tmp_path: Path) -> None:
    import deltalake

    folder = tmp_path / "delta"
    rows = pa.table(verified_rows())
    deltalake.write_deltalake(folder, rows[:150])
    deltalake.write_deltalake(folder, rows[150:], mode="append")
    with pytest.raises(UnreadableError, match="Delta table"):
        lake.verify(folder, keys=FLEET.keys)
    table = deltalake.DeltaTable(folder)
    assert lake.verify(table, keys=FLEET.keys).report.ok
    table.delete("sequence > 30")
    # A partition whose values are escaped in its path.
    spaced = tmp_path / "spaced"
    days_ = pa.array([f"2026-11-{1 + row % 2:02} 00:00 [x]%" for row in range(len(rows))])
    deltalake.write_deltalake(spaced, rows.append_column("day", days_), partition_by=["day"])
    result = lake.verify(deltalake.DeltaTable(spaced), keys=FLEET.keys)
    assert result.report.ok
    assert result.plan.inputs == 2


def test_repeated_sequences_that_no_signed_number_holds_are_verified_again(tmp_path: Path) -> None:
    lift = device(1)
    first = lift.sign(b"x", "x/1.bin", 1)
    last = lift.sign(b"x", "x/1.bin", 2).to_dict() | {"sequence": 2**64 - 1}
    for number in range(3):
        write_records([first.to_dict(), last][number % 2 :], tmp_path / f"{number}.parquet")
    result = lake.verify(tmp_path, keys=KeyRing([lift]))
    assert plain(result.report) == plain(verify_chain(tmp_path, keys=KeyRing([lift]), order="sequence"))
