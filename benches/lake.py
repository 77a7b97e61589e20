"""Measures the verification of a lake: Spark beside one process, the memory of its workers, and the next day.

    make bench-lake LAKE="--only speed --records 4000000"
    make bench-lake BASE=PATH       PATH is an eds, or the target directory or checkout of an earlier commit

Parts:

- speed: one process of `eds` on rows of many devices as they arrive and on rows sorted by device, and Spark
  on the rows as they arrive; with BASE also one process of that build
- memory: the largest Python worker of Spark, for one long chain and for many devices
- days: a day that continues a checkpoint, beside its share of a run over all days

The sides of a comparison take turns. The figures of speed and days are CPU time, that of Spark without the
start of its session. A session verifies the files twice: the first time the JVM compiles its classes, at a
cost that does not depend on the number of records, so the limit is that of the second time. A figure above
its limit fails the run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builds import ROOT, find_eds
from interleaved import FILES, RATIO_LIMIT, Run, make, verify

# Of the CPU time of one process on sorted rows.
SPARK_LIMIT = 2.2
# Of the wall speed of one process of the base.
BASE_LIMIT = 1.5
CHAIN_MIB, DEVICES_MIB = 250, 300
# Of the share of a day.
DAY_LIMIT = 1.2
PARTS = ("speed", "memory", "days")


def children(pid: int) -> list[int]:
    """Returns the processes below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process and of those below it, with those that have ended."""
    ticks = 0
    for each in (pid, *children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def largest_worker(pid: int) -> float:
    """Returns the peak memory of the largest Python process below a process, MiB."""
    peaks = [0.0]
    for each in children(pid):
        status = Path(f"/proc/{each}/status").read_text()
        if status.startswith("Name:\tpython"):
            peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
            peaks.append(int(peak.split()[1]) / 1024)
    return max(peaks)


def run_spark(folder: Path, name: str, form: str, times: int = 1) -> list[Run]:
    """Verifies the files of one order by Spark on two cores, in one session in a process of its own."""
    command = [sys.executable, __file__, "--spark", form, "--data", str(folder), "--order", name]
    done = subprocess.run([*command, "--times", str(times)], stdout=subprocess.PIPE, text=True, check=True)
    return [Run(**json.loads(line)) for line in done.stdout.splitlines()[-times:]]


def spark_main(folder: Path, name: str, form: str, times: int) -> None:
    """Verifies by Spark, and prints the cost of each time: of files, or of a frame of one partition."""
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    from pyspark.sql import SparkSession

    import edgesentry.spark

    builder = SparkSession.builder.master("local[2]").appName("bench")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.log.level": "ERROR",
    }.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.range(1).count()
    files = [str(folder / f"{name}-{number}.parquet") for number in range(FILES)]
    source: Any = files if form == "files" else spark.read.parquet(*files).coalesce(1)
    keys = edgesentry.KeyRing(folder / "keys.json")
    for _ in range(times):
        cpu, started = cpu_seconds(os.getpid()), time.perf_counter()
        report = edgesentry.spark.verify(source, spark=spark, keys=keys).report
        seconds = time.perf_counter() - started
        cpu = cpu_seconds(os.getpid()) - cpu
        if not report.ok:
            sys.exit(f"the verdict on intact records is {report.verdict}")
        peak = largest_worker(os.getpid())
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_mib": peak}), flush=True)
    spark.stop()


@dataclass(frozen=True)
class Limit:
    """A figure and its limit."""

    name: str
    value: float
    limit: float
    is_least: bool = False

    def holds(self) -> bool:
        """Prints the figure, and returns true if it is within its limit."""
        holds = self.value >= self.limit if self.is_least else self.value <= self.limit
        bound = "at least" if self.is_least else "at most"
        verdict = "pass" if holds else "short"
        print(f"{self.name}: {self.value:.2f}, {bound} {self.limit}: {verdict}", flush=True)
        return holds


def shown(name: str, records: int, run: Run) -> None:
    """Prints the cost of a side."""
    print(
        f"{name}: {run.seconds:.1f} s, {records / run.seconds:,.0f} records/s, {run.cpu_seconds:.1f} cpu-s, "
        f"peak {run.peak_mib:.0f} MiB",
        flush=True,
    )


def speed(folder: Path, arguments: argparse.Namespace) -> bool:
    """Compares one process and Spark."""
    make_once(folder, arguments.records, arguments.devices)
    levels = ["--keys", str(folder / "keys.json")]
    eds, base = find_eds(ROOT / "target"), arguments.base and find_eds(arguments.base)
    sides = ["sorted", "arrival", "spark", *(["base"] if base else [])]
    runs: dict[str, list[Run]] = {side: [] for side in [*sides, "spark again"]}
    for pair in range(arguments.pairs):
        for side in sides if pair % 2 == 0 else sides[::-1]:
            if side == "spark":
                done = dict(zip((side, "spark again"), run_spark(folder, "arrival", "files", 2), strict=True))
            elif side == "base":
                done = {side: verify(base, folder, "arrival", levels)}
            else:
                done = {side: verify(eds, folder, side, levels)}
            for name, run in done.items():
                shown(name, arguments.records, run)
                runs[name].append(run)

    def ratio(one: str, other: str, figure: str) -> float:
        pairs = zip(runs[one], runs[other], strict=True)
        return float(statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in pairs))

    interleaved = ratio("sorted", "arrival", "cpu_seconds")
    first, again = (ratio(side, "sorted", "cpu_seconds") for side in ("spark", "spark again"))
    print(f"CPU time of Spark the first time, of one process on sorted rows: {first:.2f}")
    limits = [
        Limit("speed of interleaved rows, of sorted ones", interleaved, RATIO_LIMIT, is_least=True),
        Limit("CPU time of Spark the second time, of one process on sorted rows", again, SPARK_LIMIT),
    ]
    if base:
        wall = ratio("base", "spark", "seconds")
        limits.append(Limit("wall speed of Spark, of one process of BASE", wall, BASE_LIMIT, is_least=True))
    # Each is printed.
    held = [limit.holds() for limit in limits]
    return all(held)


def memory(folder: Path, arguments: argparse.Namespace) -> bool:
    """Measures the memory of Python workers."""
    held = []
    for name, records, devices, limit in (
        ("chain", arguments.chain, 1, CHAIN_MIB),
        ("fleet", 10 * arguments.fleet, arguments.fleet, DEVICES_MIB),
    ):
        data = folder / f"{name}-{records}"
        make_once(data, records, devices)
        for form in ("files", "frame"):
            [run] = run_spark(data, "arrival", form)
            shown(f"{records:,} records of {devices:,} devices, {form}", records, run)
            held.append(Limit("largest Python worker, MiB", run.peak_mib, limit).holds())
    return all(held)


def days(folder: Path, arguments: argparse.Namespace) -> bool:
    """Compares the last file after a checkpoint with its share of a run over all files."""
    import edgesentry
    import edgesentry.lake

    make_once(folder, arguments.records, arguments.devices)
    files = [str(folder / f"arrival-{number}.parquet") for number in range(FILES)]
    keys = edgesentry.KeyRing(folder / "keys.json")

    def cost(source: list[str], since: Any) -> tuple[float, Any]:
        before = resource.getrusage(resource.RUSAGE_SELF)
        result = edgesentry.lake.verify(source, keys=keys, since=since)
        after = resource.getrusage(resource.RUSAGE_SELF)
        if not result.report.ok:
            sys.exit(f"the verdict on intact records is {result.report.verdict}")
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, result

    ratios = []
    _, first = cost(files[:-1], None)
    for _ in range(arguments.pairs):
        whole, _ = cost(files, None)
        day, result = cost(files, first.segments)
        assert [task.file.path for task in result.plan.tasks] == files[-1:]
        print(f"all {FILES} days {whole:.1f} cpu-s, the last day {day:.1f} cpu-s", flush=True)
        ratios.append(day / (whole / FILES))
    return Limit("cost of the next day, of its share", statistics.median(ratios), DAY_LIMIT).holds()


def make_once(folder: Path, records: int, devices: int) -> None:
    """Writes the records in both orders, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sorted-0.parquet").exists():
        make(folder, records, devices)


def main() -> int:
    """Measures the parts; the exit code is 1 if a figure is above its limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path, nargs="?", help="another build, for the wall speed")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="parts [default: all]")
    for name, value, what in (
        ("--records", 1_000_000, "of speed and days"),
        ("--devices", 10_000, "of speed and days"),
        ("--chain", 2_000_000, "records of the chain"),
        ("--fleet", 100_000, "devices of memory"),
        ("--pairs", 3, "pairs that count"),
    ):
        parser.add_argument(name, type=int, default=value, help=f"{what} [default: {value}]")
    parser.add_argument("--data", type=Path, help="directory of the files, made if they are not there")
    parser.add_argument("--spark", choices=("files", "frame"), help=argparse.SUPPRESS)
    parser.add_argument("--order", help=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.spark:
        spark_main(arguments.data, arguments.order, arguments.spark, arguments.times)
        return 0
    print(f"{os.cpu_count()} cores")
    parts = {"speed": speed, "memory": memory, "days": days}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or Path(temporary)
        held = [parts[part](folder, arguments) for part in arguments.only]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
