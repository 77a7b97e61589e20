"""Verification of the files of a lake as parts, on one machine or by the workers of an engine.

Segments of earlier runs are a checkpoint: a run reads only files that are not in it. Every row names the file
of its segments, with its size and version, so a file that was rewritten or deleted is noticed.
"""

from __future__ import annotations

import os
import secrets
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from edgesentry._core import (
    DeviceIds,
    KeyRing,
    LogInputs,
    PackedHeads,
    PackedKeys,
    Report,
    Segments,
    file_states,
    merge,
    verify_part,
)
from edgesentry._typing import Contested, Path
from edgesentry.exceptions import UnreadableError

# Larger files of Parquet are shared among tasks.
SPLIT_BYTES = 128 << 20
# Contested records that a task verifies again: they are sorted in memory.
CONTESTED_RECORDS = 1 << 20
# Files that a message names.
_NAMED = 10
# The columns that name a task, before those of its segments.
PLACES = ("path", "bytes", "version", "start", "end", "run", "position", "shares")
# Positions of inputs are numbers of 23 bits, and shares of 20.
_MAX_POSITION, _MAX_SHARES = (1 << 23) - 1, 1 << 20
# The columns of segments.
_OF_SEGMENTS = ("share", "device_id", "first_sequence", "last_sequence", "records", "findings", "state")

AGAIN = "pass the segments of a result, or leave since out"

Changed = Literal["refuse", "read"]


@dataclass(frozen=True, slots=True)
class File:
    """A file, as it was when it was listed.

    Attributes:
        path: Its absolute path, or its URL.
        bytes: Its size.
        version: A text that changes with each version of the file.
    """

    path: str
    bytes: int
    version: str


@dataclass(frozen=True, slots=True)
class Task:
    """A file, or the row groups of a Parquet file that begin in a range of its bytes.

    Attributes:
        file: The file.
        position: The position among the inputs of the run.
        start: The first byte.
        end: The byte after the last.
        run: A random number of the run that reads the file.
        shares: The number of shares into which its segments are divided by device.
    """

    file: File
    position: int
    start: int
    end: int
    run: int = 0
    shares: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of a run, compared with those of earlier segments.

    Attributes:
        tasks: The files to read, or their ranges.
        kept: The files and ranges whose earlier segments are used.
        rewritten: The paths of files that have another version than their earlier segments.
        deleted: The paths of files that have earlier segments and no longer exist.
    """

    tasks: list[Task]
    kept: list[Task]
    rewritten: list[str]
    deleted: list[str]

    @property
    def inputs(self) -> int:
        """The number of inputs of the run."""
        return len(self.tasks) + len(self.kept)


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of a verification, the same in every task. They pickle.

    A task decodes the keys and heads of its devices alone if they are `PackedKeys` and `PackedHeads`.
    """

    keys: KeyRing | PackedKeys | None = None
    heads: PackedHeads | None = None
    columns: Mapping[str, str] | None = None
    ignore: str | Sequence[str] | None = None
    payloads: str | None = None
    payload_sample: tuple[float, int] | None = None
    max_findings: int = 100_000
    threads: int | None = None
    log: LogInputs | None = None

    def arguments(self, devices: DeviceIds | Iterable[str | None]) -> dict[str, Any]:
        """Returns the arguments of `verify_part`, whose order is that of the sequence.

        Args:
            devices: The devices of the task.
        """
        names = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return names | self.of_devices(devices) | {"order": "sequence"}

    def of_devices(self, devices: DeviceIds | Iterable[str | None]) -> dict[str, Any]:
        """Returns the keys and heads of some devices, and all keys if they are not packed."""
        ids: DeviceIds | set[str]
        if isinstance(devices, DeviceIds):
            ids = devices
        else:
            ids = {device for device in devices if device is not None}
        keys = self.keys.of_devices(ids) if isinstance(self.keys, PackedKeys) else self.keys
        return {"keys": keys, "heads": self.heads and self.heads.of_devices(ids)}

    def devices_of(self, task: Task) -> DeviceIds | set[str]:
        """Returns the devices in a file or a range of it; none if the keys and heads are not packed."""
        if self.heads is None and not isinstance(self.keys, PackedKeys):
            return set()
        ranges = [(task.start, task.end)]
        return DeviceIds([task.file.path], ranges, columns=self.columns, ignore=self.ignore)


@dataclass(frozen=True, slots=True)
class LakeReport:
    """The result of a verification.

    Attributes:
        report: The report on all files: also on those whose earlier segments were used.
        segments: The segments of all files as a pyarrow table: the checkpoint of a later run.
        plan: The files that were read, and those that were not.
    """

    report: Report
    segments: Any = field(repr=False)
    plan: Plan = field(repr=False)


def files(source: Any) -> list[File]:
    """Returns the files that a source stands for.

    Args:
        source: A path, a directory, a pattern, an `s3:` or `file:` URL, or a list of these; or a table of
            deltalake or pyiceberg, of which only live files count.

    Raises:
        FileNotFoundError: A file is missing.
        UnreadableError: The table has rows that are deleted without a new file; pass its rows instead.
    """
    kind = type(source).__module__.partition(".")[0]
    if isinstance(source, str | os.PathLike):
        return [File(*state) for state in file_states(source)]
    if kind == "deltalake":
        if "deletionVectors" in (source.protocol().reader_features or []):
            raise UnreadableError("the table has deletion vectors; pass its rows, or purge deleted rows")
        return files(source.file_uris())
    if kind == "pyiceberg":
        scan = source.scan() if hasattr(source, "scan") else source
        if type(scan.row_filter).__name__ != "AlwaysTrue" or scan.limit is not None:
            raise UnreadableError(
                "the scan has a filter or a limit, and files are read whole; pass its rows instead"
            )
        planned = list(scan.plan_files())
        if any(task.delete_files for task in planned):
            raise UnreadableError("the table has delete files; pass its rows, or rewrite its data files")
        return files([task.file.file_path for task in planned])
    if isinstance(source, list | tuple):
        return [file for path in source for file in files(path)]
    raise TypeError(f"files are a path, a list of paths, or a table, not {type(source).__name__}")


def plan(
    source: Any,
    *,
    since: Any = None,
    changed: Changed = "refuse",
    split_bytes: int = SPLIT_BYTES,
    shares: int = 1,
) -> Plan:
    """Compares the files of a source with earlier segments.

    A file is read again if its earlier segments are not those of one run, as after two runs at the same time.

    Args:
        source: The files: see `files`.
        since: Earlier segments: the table `segments` of an earlier result, or the tasks in it.
        changed: `read` reads files again that were rewritten, and forgets those that were deleted; `refuse`
            raises an error that names them.
        split_bytes: Larger files of Parquet are shared among tasks.
        shares: Divides the segments of each task by device, unless earlier segments are used, which decide.

    Raises:
        ValueError: A file was rewritten or deleted, and `changed` is `refuse`; or all positions are taken.
        UnreadableError: `since` does not have the segments of files.
    """
    if changed not in ("refuse", "read"):
        raise ValueError(f'changed is "refuse" or "read", not {changed!r}')
    if split_bytes < 1:
        raise ValueError(f"split_bytes must be a number from 1, not {split_bytes}")
    found = {file.path: file for file in files(source)}
    earlier = since if isinstance(since, list) else tasks_of(since)
    kept = _kept(earlier, found)
    known = {task.file for task in earlier}
    paths = {file.path for file in known}
    deleted = sorted(paths - found.keys())
    rewritten = sorted(path for path in paths & found.keys() if found[path] not in known)
    if changed == "refuse" and (rewritten or deleted):
        raise ValueError(_refusal(rewritten, deleted))
    position = max((task.position for task in earlier), default=-1) + 1
    run = secrets.randbits(62)
    shares = kept[0].shares if kept else shares
    names = {task.file.path for task in kept}
    tasks = []
    for file in found.values():
        if file.path not in names:
            for start in range(0, max(file.bytes, 1), split_bytes):
                tasks.append(Task(file, position, start, min(start + split_bytes, file.bytes), run, shares))
                position += 1
    if position > _MAX_POSITION + 1:
        raise ValueError(
            f"the run needs {position} positions, and there are {_MAX_POSITION + 1}; leave since out, which "
            "numbers all inputs anew, or raise split_bytes"
        )
    return Plan(tasks, kept, rewritten, deleted)


def _kept(earlier: list[Task], found: Mapping[str, File]) -> list[Task]:
    """Returns the tasks of unchanged files whose positions no other task has: their segments are used."""
    claims: dict[int, int] = {}
    of_files: dict[File, list[Task]] = {}
    for task in earlier:
        claims[task.position] = claims.get(task.position, 0) + 1
        of_files.setdefault(task.file, []).append(task)
    kept: list[Task] = []
    for file, tasks in of_files.items():
        unclaimed = [task for task in tasks if claims[task.position] == 1]
        for run in {task.run: None for task in unclaimed}:
            of_run = [task for task in unclaimed if task.run == run]
            shares = {task.shares for task in (*kept[:1], *of_run)}
            if found.get(file.path) == file and _whole(of_run) and len(shares) == 1:
                kept += of_run
                break
    return kept


def _whole(tasks: list[Task]) -> bool:
    """Returns true if the ranges are those of the whole file."""
    end = 0
    for task in sorted(tasks, key=lambda task: task.start):
        if task.start != end:
            return False
        end = task.end
    return end == tasks[0].file.bytes


def _refusal(rewritten: list[str], deleted: list[str]) -> str:
    parts = [f"{_few(rewritten)} rewritten"] if rewritten else []
    parts += [f"{_few(deleted)} deleted"] if deleted else []
    return (
        f"{' and '.join(parts)} after the segments were made; changed='read' reads rewritten files again and "
        "forgets deleted ones"
    )


def _few(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{', '.join(paths[:_NAMED])}{more} {'was' if len(paths) == 1 else 'were'}"


def tasks_of(segments: Any) -> list[Task]:
    """Returns the files and ranges in a table of segments, which is any object with `__arrow_c_stream__`.

    Raises:
        UnreadableError: The table does not have the segments of files, or lacks some of them.
    """
    if segments is None:
        return []
    table = _columns(segments, [*PLACES, "share"])
    rows = table.group_by(list(PLACES)).aggregate([("share", "count_distinct")])
    tasks = []
    for row in rows.to_pylist():
        numbers = [row[name] for name in PLACES if name not in ("path", "version")]
        if None in row.values() or min(numbers) < 0 or not row["start"] <= row["end"] <= row["bytes"]:
            raise UnreadableError(f"the segments have an impossible row; {AGAIN}")
        if row["position"] > _MAX_POSITION or not 1 <= row["shares"] <= _MAX_SHARES:
            raise UnreadableError(f"the segments have an impossible row; {AGAIN}")
        if row["share_count_distinct"] != row["shares"]:
            raise UnreadableError(f"{row['path']}: segments of the file are missing; {AGAIN}")
        file = File(row["path"], row["bytes"], row["version"])
        tasks.append(Task(file, *(row[name] for name in ("position", "start", "end", "run", "shares"))))
    return sorted(tasks, key=lambda task: (task.position, task.file.path, task.run))


def no_column(name: str) -> str:
    """Returns the text of the error about segments without a column."""
    return f"the segments have no column {name}: they are incomplete or of another release; {AGAIN}"


def _columns(segments: Any, names: Sequence[str]) -> Any:
    """Returns columns of a table of segments as pyarrow, in their types."""
    import pyarrow as pa

    table = pa.table(segments)
    kinds = {"path": pa.string(), "version": pa.string(), "device_id": pa.string(), "state": pa.binary()}
    kinds |= {"shares": pa.int32(), "share": pa.int32()}
    columns = []
    for name in names:
        kind = kinds.get(name, pa.int64())
        if name not in table.column_names:
            raise UnreadableError(no_column(name))
        try:
            columns.append(table[name].cast(kind))
        except pa.ArrowException as error:
            problem = f"the column {name} of the segments has type {table[name].type}, expected {kind}"
            raise UnreadableError(f"{problem}; {AGAIN}") from error
    return pa.table(columns, names=list(names))


def verify_task(task: Task, options: Options) -> Any:
    """Verifies a task, and returns its segments as a pyarrow table; each row names the file.

    Args:
        task: The file, or its range.
        options: The arguments of the verification.

    Raises:
        UnreadableError: The file is not the one that was listed.
    """
    _check_version(task)
    part = verify_part(
        task.file.path,
        position=task.position,
        byte_ranges=[(task.start, task.end)],
        **options.arguments(options.devices_of(task)),
    )
    _check_version(task)
    rows = table_of(part, task)
    del part
    release()
    return rows


def release() -> None:
    """Returns free memory to the system: glibc keeps it, and a worker has many tasks in turn."""
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def table_of(part: Segments, task: Task) -> Any:
    """Returns segments as a pyarrow table whose rows name the task, divided by device.

    The column `share` has the number of the share, as in `Segments.split`.
    """
    import pyarrow as pa

    file, int64 = task.file, pa.int64()
    tables = []
    for share, one in enumerate(part.share_tables(task.shares)):
        rows = pa.RecordBatchReader.from_stream(one).read_all()
        names: dict[str, tuple[Any, Any]] = {
            "path": (file.path, pa.string()),
            "bytes": (file.bytes, int64),
            "version": (file.version, pa.string()),
            "start": (task.start, int64),
            "end": (task.end, int64),
            "run": (task.run, int64),
            "position": (task.position, int64),
            "shares": (task.shares, pa.int32()),
            "share": (share, pa.int32()),
        }
        columns = [repeated(value, kind, len(rows)) for value, kind in names.values()]
        tables.append(pa.Table.from_arrays([*columns, *rows.columns], [*names, *rows.column_names]))
    return pa.concat_tables(tables)


def repeated(value: str | int, kind: Any, count: int) -> Any:
    """Returns an array of one value.

    `pyarrow.scalar` and `pyarrow.array` would import pandas, which takes 56 MiB in each worker.
    """
    import pyarrow as pa

    if isinstance(value, int):
        numbers = array("q" if kind == pa.int64() else "i", [value]) * count
        return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(numbers)])
    text = value.encode()
    ends = array("i", [len(text) * end for end in range(count + 1)])
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(ends), pa.py_buffer(text * count)])


def _check_version(task: Task) -> None:
    file = task.file
    if file_states(file.path) != [(file.path, file.bytes, file.version)]:
        raise UnreadableError(
            f"{file.path}: the file changed after it was listed; run the verification again"
        )


def verify_contested(tasks: Sequence[Task], contested: Contested, options: Options) -> Segments:
    """Verifies contested records of these files again.

    Args:
        tasks: All files and ranges that have such records.
        contested: The records: some devices of `Segments.contested`.
        options: The arguments of the verification.
    """
    for task in tasks:
        _check_version(task)
    part = verify_part(
        [task.file.path for task in tasks],
        position=[task.position for task in tasks],
        byte_ranges=[(task.start, task.end) for task in tasks],
        contested=contested,
        **options.arguments(contested),
    )
    for task in tasks:
        _check_version(task)
    release()
    return part


def groups_of(contested: Contested, workers: int = 1) -> list[Contested]:
    """Divides contested records by device into groups that a task verifies again."""
    sizes = {device: sum(records for _, _, records in ranges) for device, ranges in contested.items()}
    most = min(CONTESTED_RECORDS, sum(sizes.values()) // workers + 1)
    groups: list[Contested] = []
    filled = most
    for device, ranges in contested.items():
        if filled >= most:
            groups.append({})
            filled = 0
        groups[-1][device] = ranges
        filled += sizes[device]
    return groups


def united(table: Any) -> Segments:
    """Merges a table of segments, whose rows are all those of its files and shares, in any order."""
    import pyarrow.compute as pc

    shares = sorted(set(table["share"].to_pylist()))
    return Segments.unite(
        Segments.from_arrow(table.filter(pc.equal(table["share"], share))) for share in shares
    )


def verify(
    source: Any,
    *,
    since: Any = None,
    changed: Changed = "refuse",
    keys: Any = None,
    heads: Any = None,
    start_heads: Any = None,
    columns: Mapping[str, str] | None = None,
    ignore: str | Sequence[str] | None = None,
    payloads: str | None = None,
    payload_sample: tuple[float, int] | None = None,
    checkpoint: Path | None = None,
    policy: Path | None = None,
    log_layout: Path | None = None,
    previous: Path | None = None,
    max_age: int | timedelta | None = None,
    timestamps: Path | Sequence[Path] | None = None,
    tsa_roots: Path | None = None,
    max_findings: int = 100_000,
    threads: int | None = None,
    split_bytes: int = SPLIT_BYTES,
    run: Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]] = map,
) -> LakeReport:
    """Verifies the files of a table, whose rows have no order, as `verify_chain(order="sequence")`.

    Args:
        source: The files: see `files`.
        since: Segments of an earlier result: their files are not read again.
        changed: See `plan`.
        keys: Public keys, as for `verify_chain`. Those of devices with earlier segments must be the same.
        heads: Trusted heads, which are compared with the ends of the chains: pass those of the last records.
        start_heads: Heads after which the chains must begin.
        columns: As for `verify_chain`.
        ignore: As for `verify_chain`.
        payloads: A directory of payloads, or `s3://BUCKET`.
        payload_sample: The share of payloads to check, and a seed: see `verify_part`.
        checkpoint: As for `verify_chain`, as are the other files of the log. Tasks do not need the files.
        policy: As for `verify_chain`.
        log_layout: As for `verify_chain`.
        previous: As for `verify_chain`.
        max_age: As for `verify_chain`.
        timestamps: As for `verify_chain`.
        tsa_roots: As for `verify_chain`.
        max_findings: Findings to keep; all are counted.
        threads: Threads of a task.
        split_bytes: Larger files of Parquet are shared among tasks.
        run: Applies a function to a list, as `map`: the workers of an engine. The function and its results
            pickle.

    Raises:
        ValueError: A file was rewritten or deleted: see `plan`; or keys, heads or checkpoint differ from
            those of earlier segments.
    """
    import pyarrow as pa

    log = log_of(source, checkpoint, policy, log_layout, previous, max_age, timestamps, tsa_roots)

    # A stream is read once.
    since = None if since is None else _columns(since, [*PLACES, *_OF_SEGMENTS])
    planned = plan(source, since=since, changed=changed, split_bytes=split_bytes)
    ring = ring_of(keys)
    packed = ring if ring is None or run is map else PackedKeys(ring)
    options = Options(
        packed,
        None,
        columns,
        ignore,
        payloads and str(payloads),
        payload_sample,
        max_findings,
        threads,
        log,
    )
    tables = list(run(_Verify(options), planned.tasks))
    if planned.kept:
        positions = pa.array([task.position for task in planned.kept], pa.int64())
        tables.append(since.filter(pa.compute.is_in(since["position"], positions)))
    rows = pa.concat_tables(tables) if tables else None
    if rows is None:
        raise UnreadableError("there are no files to verify")
    whole = united(rows)
    if whole.contested:
        tasks = {task.position: task for task in (*planned.tasks, *planned.kept)}
        groups = groups_of(whole.contested, os.cpu_count() or 1)
        again = run(_Again(options), [(_with(rows, group, tasks), group) for group in groups])
        whole = merge([whole, *again])
    report = whole.report(
        heads=heads, start_heads=start_heads, inputs=planned.inputs, keys=log and ring, log=log
    )
    return LakeReport(report, rows, planned)


def log_of(
    source: Any,
    checkpoint: Path | None,
    policy: Path | None,
    log_layout: Path | None,
    previous: Path | None,
    max_age: int | timedelta | None,
    timestamps: Path | Sequence[Path] | None,
    tsa_roots: Path | None,
) -> LogInputs | None:
    """Returns the inputs of the level log, if there are any."""
    if all(
        given is None for given in (checkpoint, policy, log_layout, previous, max_age, timestamps, tsa_roots)
    ):
        return None
    return LogInputs(
        checkpoint=checkpoint,
        policy=policy,
        log_layout=log_layout,
        previous=previous,
        max_age=max_age,
        timestamps=timestamps,
        tsa_roots=tsa_roots,
        source=source,
    )


def ring_of(keys: Any) -> KeyRing | None:
    """Returns the key ring of the keys that `verify_chain` takes, which pickles."""
    if keys is None or isinstance(keys, KeyRing):
        return keys
    return KeyRing.from_arrow(keys) if hasattr(keys, "__arrow_c_stream__") else KeyRing(keys)


def _with(rows: Any, contested: Contested, tasks: Mapping[int, Task]) -> list[Task]:
    """Returns the tasks with contested records."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = rows.filter(pc.is_in(rows["device_id"], pa.array(list(contested), pa.string())))
    columns = [
        rows[name].to_pylist() for name in ("position", "device_id", "first_sequence", "last_sequence")
    ]
    positions = {
        position
        for position, device, first, last in zip(*columns, strict=True)
        # No signed number holds a sequence that is missing here.
        if any(
            (last is None or low <= last) and (first is None or first <= high)
            for low, high, _ in contested[device]
        )
    }
    return [tasks[position] for position in sorted(positions)]


@dataclass(frozen=True, slots=True)
class _Verify:
    options: Options

    def __call__(self, task: Task) -> Any:
        return verify_task(task, self.options)


@dataclass(frozen=True, slots=True)
class _Again:
    options: Options

    def __call__(self, group: tuple[Sequence[Task], Contested]) -> Segments:
        return verify_contested(*group, self.options)
