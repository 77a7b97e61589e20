"""Verification on Spark: a task for each range of a file, or for each partition of a DataFrame.

Tasks return segments, which alone are shuffled. Contested records are verified again in a second job. The
kernel is that of `verify_chain`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from edgesentry._core import PackedHeads, PackedKeys, Report, Segments, Verifier, merge, verify_part
from edgesentry._typing import Contested, Path
from edgesentry.exceptions import UnreadableError
from edgesentry.lake import (
    PLACES,
    SPLIT_BYTES,
    Changed,
    File,
    Options,
    Plan,
    Task,
    groups_of,
    log_of,
    no_column,
    plan,
    release,
    repeated,
    ring_of,
    table_of,
    tasks_of,
    verify_contested,
    verify_task,
)

# The columns of segments, as Spark declares them.
_MERGED = (
    "share int, device_id string, first_sequence bigint, last_sequence bigint, records bigint, "
    "findings bigint, state binary"
)
SCHEMA = (
    "path string, bytes bigint, version string, start bigint, end bigint, run bigint, position bigint, "
    f"shares int, {_MERGED}"
)
# Rows that are verified at a time: enough to group them by device, in eight batches as Spark makes them. With
# more devices there is little to group.
_WINDOW_ROWS = 80_000
_WINDOW_DEVICES = 20_000
# Devices of a share, by the keys: about 20 MiB in the task that merges it.
_SHARE_DEVICES = 25_000
# Partitions of a job at most; a partition then has several files.
_PARTITIONS = 20_000
_PLACE, _GROUP, _DEVICE = "edgesentry_place", "edgesentry_group", "edgesentry_device"
_FIRST, _LAST = "edgesentry_first", "edgesentry_last"


@dataclass(frozen=True, slots=True)
class SparkReport:
    """The result of a verification.

    Attributes:
        report: The report on all records.
        findings: The findings of the report, a DataFrame.
        heads: The last link of each chain, a DataFrame.
        segments: The segments of all inputs, a DataFrame: the checkpoint of a later run. With heads, a later
            run takes them only if this one had `since` or `save`.
        metrics: Records, findings and devices of each input, a DataFrame.
        plan: The files that were read, and those that were not; None for a DataFrame.
    """

    report: Report
    findings: Any = field(repr=False)
    heads: Any = field(repr=False)
    segments: Any = field(repr=False)
    metrics: Any = field(repr=False)
    plan: Plan | None = field(repr=False)


def verify(
    source: Any,
    *,
    spark: Any = None,
    since: Any = None,
    save: str | None = None,
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
    shares: int | None = None,
    split_bytes: int = SPLIT_BYTES,
) -> SparkReport:
    """Verifies a table, whose rows have no order, as `verify_chain(order="sequence")`.

    Args:
        source: A DataFrame, or the files of a table, which the executors read themselves: see
            `edgesentry.lake.files`.
        spark: The session; by default the active one.
        since: Segments of earlier runs: a DataFrame, or the `save` of these runs. Their files are not read
            again. Only for files.
        save: A path below which the segments of the files of this run are written as Parquet, before they are
            merged, in a directory of their own: a `since` of the next run, also if this one fails later. Only
            for files.
        changed: See `edgesentry.lake.plan`.
        keys: Public keys, as for `verify_chain`.
        heads: Trusted heads, as for `verify_chain`, or a DataFrame. With `since` or `save` they are compared
            with the ends of the chains: pass the heads of the last records.
        start_heads: Heads after which the chains must begin.
        columns: As for `verify_chain`.
        ignore: As for `verify_chain`.
        payloads: A directory that all executors have, or `s3://BUCKET`.
        payload_sample: The share of payloads to check, and a seed: see `verify_part`.
        checkpoint: As for `verify_chain`, as are the other files of the log. Only the driver needs the files.
        policy: As for `verify_chain`.
        log_layout: As for `verify_chain`.
        previous: As for `verify_chain`.
        max_age: As for `verify_chain`.
        timestamps: As for `verify_chain`.
        tsa_roots: As for `verify_chain`.
        max_findings: Findings to keep; all are counted.
        shares: Divides segments by device into this number of shares, each merged by one task; by default one
            for each core or for each 25,000 devices with keys, or that of `since`.
        split_bytes: Larger files of Parquet are shared among tasks.

    Raises:
        ValueError: A file was rewritten or deleted: see `edgesentry.lake.plan`; or keys, heads or checkpoint
            differ from those of earlier segments.
    """
    from pyspark.sql import SparkSession

    is_frame = hasattr(source, "mapInArrow")
    if is_frame and (since is not None or save is not None):
        raise ValueError("since and save need files: pass the path of the table, not a DataFrame")
    spark = spark or (source.sparkSession if is_frame else SparkSession.getActiveSession())
    if spark is None:
        raise ValueError("there is no active Spark session; pass spark=")
    heads, start_heads = _heads_of(heads), _heads_of(start_heads)
    is_kept = since is not None or save is not None
    ring = ring_of(_arrow(keys))
    files = None if is_frame else source
    log = log_of(files, checkpoint, policy, log_layout, previous, max_age, timestamps, tsa_roots)
    options = Options(
        None if ring is None else PackedKeys(ring),
        None if is_kept or heads is None else PackedHeads(heads),
        columns,
        ignore,
        payloads and str(payloads),
        payload_sample,
        max_findings,
        log=log,
    )
    least = max(spark.sparkContext.defaultParallelism, -(-len(ring or ()) // _SHARE_DEVICES))
    job = _Job(spark, _Shipped.of(spark, options), shares or least)
    if is_frame:
        run: _Frame | _Files = _Frame(job, source, options)
    else:
        run = _Files(job, source, since, save, changed, split_bytes, shares)
    rows = run.segments()
    whole = job.merged(rows)
    inputs = run.inputs(whole)
    if whole.contested:
        whole = merge([whole, *run.again(whole.contested, rows)])
    report = whole.report(heads=heads, start_heads=start_heads, inputs=inputs, keys=log and ring, log=log)
    return SparkReport(
        report,
        spark.createDataFrame(report.findings.to_arrow(int64=True)),
        spark.createDataFrame(_table(whole.heads_table())),
        rows,
        _metrics(rows),
        run.plan,
    )


def _metrics(rows: Any) -> Any:
    from pyspark.sql import functions

    return (
        rows.groupBy("position", "path", "start")
        .agg(
            functions.sum("records").alias("records"),
            functions.sum("findings").alias("findings"),
            functions.countDistinct("device_id").alias("devices"),
        )
        .orderBy("position")
    )


class _Job:
    """What both ways of reading share."""

    def __init__(self, spark: Any, shipped: _Shipped, shares: int) -> None:
        self.spark, self.shipped, self.shares = spark, shipped, shares
        self.context = spark.sparkContext

    @contextmanager
    def described(self, description: str) -> Iterator[None]:
        """Names the jobs within it in the web interface of Spark."""
        name = "spark.job.description"
        before = self.context.getLocalProperty(name)
        self.context.setLocalProperty(name, f"edgesentry: {description}")
        try:
            yield
        finally:
            self.context.setLocalProperty(name, before)

    def each(self, items: list[Any], function: Callable[[Any], Any], schema: str) -> Any:
        """Returns the rows of a function that is applied to each item in a task of its own."""
        broadcast = self.context.broadcast(items)

        def tables(batches: Iterator[Any]) -> Iterator[Any]:
            for batch in batches:
                for at in batch["id"].to_pylist():
                    yield from function(broadcast.value[at]).to_batches()

        partitions = max(1, min(len(items), _PARTITIONS))
        return self.spark.range(0, len(items), 1, partitions).mapInArrow(tables, schema)

    def merged(self, rows: Any) -> Segments:
        """Merges the rows of each share in a task, and all shares here."""
        from pyspark.sql import functions

        columns = [name.split()[0] for name in _MERGED.split(", ")]
        shares = rows.select(columns).repartition(self.shares, "share")
        # The rows without a device come first, so that each row after them is merged at once.
        shares = shares.sortWithinPartitions("share", functions.col("device_id").isNotNull())
        with self.described("merge segments"):
            table = shares.mapInArrow(_merge_shares, _MERGED).toArrow()
        parts = [Segments.from_arrow(rows) for rows in _by_share(table.to_batches())]
        if not parts:
            # The frame has no partitions.
            options = self.shipped.options()
            parts = [verify_part([], position=0, **options.arguments([]))]
        return Segments.unite(parts)

    def kept(self, rows: Any) -> Any:
        """Computes rows once; lost ones are computed again."""
        from pyspark import StorageLevel

        return rows.persist(StorageLevel.MEMORY_AND_DISK)


class _Files:
    """Files, which tasks read by themselves."""

    def __init__(
        self,
        job: _Job,
        source: Any,
        since: Any,
        save: str | None,
        changed: Changed,
        split_bytes: int,
        shares: int | None,
    ) -> None:
        self.job, self.save = job, None if save is None else os.fspath(save)
        self.earlier = None
        before: list[Task] = []
        if since is not None:
            path = isinstance(since, str | os.PathLike)
            self.earlier = _typed(job.spark.read.parquet(os.fspath(since)) if path else since)
            # Each share of an input has one row without a device, or several.
            before = tasks_of(self.earlier.where("device_id IS NULL").select(*PLACES, "share").toArrow())
        self.plan = plan(source, since=before, changed=changed, split_bytes=split_bytes, shares=job.shares)
        if not self.plan.inputs:
            raise UnreadableError("there are no files to verify")
        kept = self.plan.kept[0].shares if self.plan.kept else job.shares
        if shares not in (None, kept):
            raise ValueError(f"the segments of since have {kept} shares, not {shares}")
        job.shares = kept

    def segments(self) -> Any:
        job, tasks = self.job, self.plan.tasks
        shipped = job.shipped

        def verified(task: Task) -> Any:
            return verify_task(task, shipped.options())

        kept = self._kept()
        if not tasks and kept is not None:
            return kept
        rows = job.each(tasks, verified, SCHEMA)
        with job.described(f"verify {len(tasks)} files or ranges of files"):
            rows = job.kept(rows) if self.save is None else self._saved(rows, tasks[0].run)
            rows.count()
        return rows if kept is None else kept.unionByName(rows)

    def _saved(self, rows: Any, run: int) -> Any:
        """Writes rows into a directory of their own: another run may write at the same time."""
        path = f"{self.save}/run={run}"
        # The name of the directory is the column. A task has all its rows in one file, or none.
        rows.drop("run").write.option("maxRecordsPerFile", 0).parquet(path)
        return _typed(self.job.spark.read.option("basePath", self.save).parquet(path))

    def _kept(self) -> Any:
        """Returns the earlier rows of files that did not change."""
        if self.earlier is None or not self.plan.kept:
            return None
        from pyspark.sql import functions

        kept = self.job.spark.createDataFrame(
            [(task.position,) for task in self.plan.kept], "position bigint"
        )
        return self.earlier.join(functions.broadcast(kept), "position", "left_semi")

    def inputs(self, _whole: Segments) -> int:
        return self.plan.inputs

    def again(self, contested: Contested, rows: Any) -> list[Segments]:
        from pyspark.sql import functions

        job, shipped = self.job, self.job.shipped
        groups = groups_of(contested, job.context.defaultParallelism)
        ranges = _ranges(job.spark, groups)
        touched = rows.join(functions.broadcast(ranges), functions.col("device_id") == functions.col(_DEVICE))
        # No signed number holds a sequence that is missing here.
        touched = touched.where(
            f"(first_sequence IS NULL OR first_sequence <= {_LAST}) AND "
            f"(last_sequence IS NULL OR {_FIRST} <= last_sequence)"
        )
        tasks = {task.position: task for task in (*self.plan.tasks, *self.plan.kept)}
        with job.described("find the files of contested records"):
            pairs = sorted(touched.select(_GROUP, "position").distinct().toArrow().to_pylist(), key=str)
        positions: dict[int, list[int]] = {}
        for pair in pairs:
            positions.setdefault(pair[_GROUP], []).append(pair["position"])
        items = [
            ([tasks[position] for position in sorted(positions.get(number, []))], group)
            for number, group in enumerate(groups)
        ]

        def verified(item: tuple[list[Task], Contested]) -> Any:
            return _pickled(verify_contested(*item, shipped.options()))

        with job.described(f"verify contested records of {len(contested)} devices again"):
            parts = job.each(items, verified, "part binary").toArrow()
        return [pickle.loads(part) for part in parts["part"].to_pylist()]


class _Frame:
    """A DataFrame: each partition is an input."""

    plan = None

    def __init__(self, job: _Job, frame: Any, options: Options) -> None:
        self.job, self.frame = job, frame
        # An unknown column is an error before any task starts.
        names: dict[str, Any] = {"columns": options.columns, "ignore": options.ignore}
        verify_part(frame.limit(0).toArrow(), position=0, **names)
        ignored = [options.ignore] if isinstance(options.ignore, str) else options.ignore or []
        self.read = frame.drop(*ignored)
        self.device = self._column((options.columns or {}).get("device_id", "device_id"))
        self.sequence = self._column((options.columns or {}).get("sequence", "sequence"))

    def _column(self, name: str) -> str:
        """Returns the name of a column, which may be in another case."""
        names = [column for column in self.read.columns if column.lower() == name.lower()]
        return name if name in names else names[0]

    def segments(self) -> Any:
        job = self.job
        shipped, shares, device = job.shipped, job.shares, self.device

        def verified(batches: Iterator[Any]) -> Iterator[Any]:
            from pyspark import TaskContext

            context = TaskContext.get()
            position = context.partitionId() if context else 0
            options = shipped.options()
            arguments = options.arguments([])
            verifier = Verifier(position=position, name=f"partition {position}", **arguments)
            _push(verifier, batches, device, options)
            task = Task(File(f"partition {position}", 0, ""), position, 0, 0, shares=shares)
            part = verifier.finish()
            del verifier
            # The keys are of no more use.
            release()
            rows = table_of(part, task)
            del part
            release()
            yield from rows.to_batches()

        with job.described("verify the partitions of a DataFrame"):
            rows = job.kept(self.read.mapInArrow(verified, SCHEMA))
            rows.count()
        return rows

    def inputs(self, whole: Segments) -> int:
        positions = list(whole.inputs)
        if positions != list(range(len(positions))):
            raise ValueError("the result of a partition is missing; run the verification again")
        return len(positions)

    def again(self, contested: Contested, _rows: Any) -> list[Segments]:
        from pyspark.sql import functions

        job, shipped = self.job, self.job.shipped
        groups = groups_of(contested, job.context.defaultParallelism)
        ranges = _ranges(job.spark, groups)
        device, sequence = functions.col(_quoted(self.device)), functions.col(_quoted(self.sequence))
        numbered = self.read.withColumn(_PLACE, functions.monotonically_increasing_id())
        records = numbered.join(
            functions.broadcast(ranges),
            (device == functions.col(_DEVICE))
            & sequence.between(functions.col(_FIRST), functions.col(_LAST)),
        ).drop(_DEVICE, _FIRST, _LAST)
        sorted_ = records.repartition(len(groups), _GROUP).sortWithinPartitions(_GROUP, _PLACE)

        def verified(batches: Iterator[Any]) -> Iterator[Any]:
            options = shipped.options()
            for number, table in _grouped(batches, _GROUP):
                # The partition is in the upper bits of the place that Spark gives.
                places = table[_PLACE].to_pylist()
                part = verify_part(
                    table.drop_columns([_PLACE, _GROUP]),
                    position=0,
                    contested=groups[number],
                    places=[(place >> 33) << 40 | place & (1 << 33) - 1 for place in places],
                    **options.arguments(groups[number]),
                )
                yield from _pickled(part).to_batches()

        with job.described(f"verify contested records of {len(contested)} devices again"):
            parts = sorted_.mapInArrow(verified, "part binary").toArrow()
        return [pickle.loads(part) for part in parts["part"].to_pylist()]


@dataclass(frozen=True)
class _Shipped:
    """The arguments of tasks. Keys, heads and the inputs of the log travel to each executor once."""

    content: Any
    plain: Options

    @classmethod
    def of(cls, spark: Any, options: Options) -> _Shipped:
        plain = replace(options, keys=None, heads=None, log=None)
        return cls(spark.sparkContext.broadcast((options.keys, options.heads, options.log)), plain)

    def options(self) -> Options:
        """Returns the arguments in the process of a task."""
        from pyspark import TaskContext

        keys, heads, log = self.content.value
        context = TaskContext.get()
        # The threads of a task are the cores of its slot.
        threads = context.cpus() if context else None
        return replace(self.plain, keys=keys, heads=heads, log=log, threads=threads)


def _merge_shares(batches: Iterator[Any]) -> Iterator[Any]:
    """Merges the rows of each share; shares come one after the other."""
    import pyarrow as pa

    for share, pieces in groupby(_pieces(batches, "share"), key=itemgetter(0)):
        merged = _table(Segments.from_arrow(_reader(batch for _, batch in pieces)))
        yield from merged.add_column(0, "share", repeated(share, pa.int32(), len(merged))).to_batches()
        del merged
        release()


def _reader(batches: Iterator[Any]) -> Any:
    """Returns a reader of batches, of which there is at least one."""
    import pyarrow as pa

    first = next(batches)
    return pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))


def _grouped(batches: Iterator[Any], name: str) -> Iterator[tuple[int, Any]]:
    """Yields the tables of equal numbers, which come one after the other."""
    import pyarrow as pa

    for number, pieces in groupby(_pieces(batches, name), key=itemgetter(0)):
        yield number, pa.Table.from_batches([batch for _, batch in pieces])


def _pieces(batches: Iterator[Any], name: str) -> Iterator[tuple[int, Any]]:
    """Yields the rows of equal numbers in each batch."""
    for batch in batches:
        start = 0
        for number, rows in groupby(batch[name].to_pylist()):
            length = sum(1 for _ in rows)
            yield number, batch.slice(start, length)
            start += length


def _by_share(batches: list[Any]) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if batches:
        table = pa.Table.from_batches(batches)
        for share in sorted(set(table["share"].to_pylist())):
            yield table.filter(pc.equal(table["share"], share))


def _push(verifier: Verifier, batches: Iterator[Any], device: str, options: Options) -> None:
    """Verifies batches with the keys and heads of their devices, in the memory of a window."""
    known: set[str | None] = set()
    for window, devices in _windows(batches, device):
        new = devices - known
        given = options.of_devices(new) if new else {}
        known |= devices
        verifier.push(_reader(_drained(window)), **given)
        is_large = len(devices) >= _WINDOW_DEVICES
        del given, devices, new
        if is_large:
            release()


def _windows(batches: Iterator[Any], device: str) -> Iterator[tuple[list[Any], set[str | None]]]:
    """Yields many batches, and the devices in them."""
    window: list[Any] = []
    devices: set[str | None] = set()
    rows = 0
    for batch in batches:
        window.append(batch)
        devices.update(batch[device].to_pylist())
        rows += len(batch)
        del batch
        if rows >= _WINDOW_ROWS or len(devices) >= _WINDOW_DEVICES:
            yield window, devices
            window, devices, rows = [], set(), 0
    if window:
        yield window, devices


def _drained(window: list[Any]) -> Iterator[Any]:
    """Yields batches, and forgets them: the reader copies each."""
    while window:
        yield window.pop(0)


def _ranges(spark: Any, groups: list[Contested]) -> Any:
    """Returns contested ranges as a DataFrame, each with the number of its group."""
    rows = [
        (device, str(first), str(last), number)
        for number, group in enumerate(groups)
        for device, ranges in group.items()
        for first, last, _ in ranges
    ]
    schema = f"{_DEVICE} string, {_FIRST} string, {_LAST} string, {_GROUP} int"
    frame = spark.createDataFrame(rows, schema)
    # Some sequences fit in no signed number of 64 bits.
    numbers = [f"CAST({name} AS decimal(20, 0)) {name}" for name in (_FIRST, _LAST)]
    return frame.selectExpr(_DEVICE, *numbers, _GROUP)


def _quoted(name: str) -> str:
    """Returns the name of a column in which a dot does not stand for a field."""
    return "`" + name.replace("`", "``") + "`"


def _typed(rows: Any) -> Any:
    """Returns segments with the columns of `SCHEMA`, in its types."""
    names = dict(column.split() for column in SCHEMA.split(", "))
    missing = names.keys() - set(rows.columns)
    if missing:
        raise UnreadableError(no_column(min(missing)))
    return rows.selectExpr(*(f"CAST({name} AS {kind}) {name}" for name, kind in names.items()))


def _pickled(part: Segments) -> Any:
    import pyarrow as pa

    return pa.Table.from_arrays([pa.repeat(pa.scalar(pickle.dumps(part), pa.binary()), 1)], ["part"])


def _table(stream: Any) -> Any:
    import pyarrow as pa

    # `pyarrow.table` would import pandas.
    return pa.RecordBatchReader.from_stream(stream).read_all()


def _arrow(value: Any) -> Any:
    """Returns the rows of a DataFrame of Spark as pyarrow; another value unchanged."""
    return value.toArrow() if hasattr(value, "mapInArrow") else value


def _heads_of(heads: Any) -> Any:
    """Returns heads in a form that pickles."""
    heads = _arrow(heads)
    if hasattr(heads, "__arrow_c_stream__") and not hasattr(heads, "heads"):
        return _table(heads)
    if isinstance(heads, str | os.PathLike):
        from edgesentry._core import read_heads

        return read_heads(heads)
    return heads
