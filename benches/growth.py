"""Measures how the cost of a verification grows with records, devices, threads and bad signatures.

    make bench-growth                                 all axes, up to 100,000,000 records (15 GB of disk)
    make bench-growth GROWTH="--only bad devices"     some axes; the measurements of the others are kept
    make bench-growth GROWTH="--largest 10000000"     smaller exports
    make bench-growth GROWTH=--draw                   only the plots, from benches/growth.json

Each run is a process of `eds verify-chain` on files that the example `fleet` of rust/formats writes. The cost
is its CPU time, user and system, which other load on the machine changes less than the elapsed time. Each run
is in benches/growth.json as soon as it ends. The plots are docs/images/growth-*.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib import pyplot

from builds import ROOT, find_eds

MEASUREMENTS = ROOT / "benches" / "growth.json"
IMAGES = ROOT / "docs" / "images"
FILE_RECORDS = 10_000_000
# Fewer, as each bad signature is verified alone.
BAD_RECORDS = 200_000

Axis = Literal["records", "devices", "threads", "bad"]
AXES: tuple[Axis, ...] = ("bad", "threads", "devices", "records")


@dataclass(frozen=True)
class Job:
    """One verification; `bad` is the share of signatures that fail, in per cent."""

    axis: Axis
    records: int = 1_000_000
    devices: int = 100
    bad: int = 0
    threads: int = 1
    format: str = "parquet"
    checks: Literal["links", "links+signatures"] = "links+signatures"


@dataclass(frozen=True)
class Run:
    """A job and its cost."""

    job: Job
    seconds: float
    cpu_seconds: float
    peak_mib: float

    @property
    def microseconds(self) -> float:
        """CPU time of a record."""
        return self.cpu_seconds / self.job.records * 1e6


def jobs(axis: Axis, largest: int) -> Iterator[Job]:
    """Lists the runs of an axis, those on the same files one after the other."""
    if axis == "records":
        for records in (10**6, 10**7, 10**8):
            if records <= largest:
                yield from (Job(axis, records=records, threads=threads) for threads in (2, 1))
    elif axis == "devices":
        for power in range(7):
            yield from (Job(axis, devices=10**power, threads=threads) for threads in (1, 2))
    elif axis == "bad":
        for bad in (0, 1, 10, 50, 100):
            yield from (Job(axis, records=BAD_RECORDS, bad=bad, threads=threads) for threads in (1, 2))
    else:
        for suffix in ("parquet", "json"):
            for threads in (1, 2):
                yield Job(axis, threads=threads, format=suffix, checks="links")
                yield Job(axis, threads=threads, format=suffix)


# Measurement


def make(fleet: Path, folder: Path, job: Job) -> tuple[list[Path], Path]:
    """Writes the files of a job, unless the previous job had the same, and returns them and the keys."""
    name = f"{job.format}-{job.records}-{job.devices}-{job.bad}"
    keys = folder / f"{name}.keys.json"
    if not keys.exists():
        for old in folder.iterdir():
            old.unlink()
        options = [f"records={job.records}", f"devices={job.devices}", f"bad={job.bad}"]
        options.append(f"file_records={FILE_RECORDS}")
        subprocess.run([fleet, folder / f"{name}.{job.format}", *options], check=True)
    return sorted(folder.glob(f"{name}-*.{job.format}")), keys


def verify(eds: Path, files: list[Path], keys: Path, job: Job) -> Run:
    """Runs a job; a wrong verdict ends the bench."""
    command = [str(eds), "verify-chain", *map(str, files), "--threads", str(job.threads), "--json"]
    if job.checks == "links+signatures":
        command += ["--keys", str(keys)]
    once = [sys.executable, str(ROOT / "benches" / "once.py"), *command]
    cost = json.loads(subprocess.run(once, capture_output=True, text=True, check=True).stdout)
    verdict, records = cost["verdict"], cost["records"]
    if (verdict == "valid") != (job.bad == 0) or records != job.records:
        sys.exit(f"{job}: the verdict is {verdict} on {records:,} records")
    return Run(job, **costs(cost))


def machine() -> str:
    """Returns the processor and its cores."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"


def load() -> list[Run]:
    """Reads the measurements."""
    if not MEASUREMENTS.exists():
        return []
    runs = json.loads(MEASUREMENTS.read_text())["runs"]
    return [Run(Job(**{name: each[name] for name in Job.__annotations__}), **costs(each)) for each in runs]


def costs(each: dict[str, float]) -> dict[str, float]:
    return {name: each[name] for name in ("seconds", "cpu_seconds", "peak_mib")}


def save(runs: list[Run]) -> None:
    """Writes the measurements, one run a line."""
    lines = [json.dumps({**asdict(run.job), **costs(vars(run))}) for run in runs]
    text = ",\n    ".join(lines)
    MEASUREMENTS.write_text(f'{{\n  "machine": {json.dumps(machine())},\n  "runs": [\n    {text}\n  ]\n}}\n')


def measure(axes: list[Axis], largest: int, place: Path | None) -> None:
    """Measures some axes, and replaces their earlier measurements."""
    eds, fleet = find_eds(ROOT / "target"), ROOT / "target" / "release" / "examples" / "fleet"
    for axis in axes:
        with tempfile.TemporaryDirectory(prefix="edgesentry-growth-", dir=place) as folder:
            for job in jobs(axis, largest):
                files, keys = make(fleet, Path(folder), job)
                run = verify(eds, files, keys, job)
                save([*(each for each in load() if each.job != job), run])
                print(
                    f"{axis}: {job.records:,} records, {job.devices:,} devices, {job.bad} % bad, "
                    f"{job.threads} threads, {job.format}, {job.checks}: {run.microseconds:.2f} µs of CPU "
                    f"time a record, {run.seconds:.1f} s, {run.peak_mib:.0f} MiB",
                    flush=True,
                )


# Plots

LABELS: dict[Axis, str] = {
    "records": "records",
    "devices": "devices",
    "threads": "threads",
    "bad": "bad signatures, %",
}


def series(axis: Axis, runs: list[Run]) -> dict[str, list[Run]]:
    """Returns the runs of each line of a plot, in order."""
    lines: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.job.format, run.job.checks, run.job.threads, x(run))):
        job = run.job
        many = "" if job.threads == 1 else "s"
        label = f"{job.format}, {job.checks}" if axis == "threads" else f"{job.threads} thread{many}"
        lines.setdefault(label, []).append(run)
    return lines


def x(run: Run) -> int:
    """Returns the place of a run on its axis."""
    return int(getattr(run.job, run.job.axis))


def draw(folder: Path) -> None:
    """Draws a plot for each axis that was measured."""
    matplotlib.use("agg")
    measured = load()
    for axis in AXES:
        runs = [run for run in measured if run.job.axis == axis]
        if not runs:
            continue
        # The same measurements give the same file.
        with matplotlib.rc_context({"svg.hashsalt": "edgesentry", "svg.fonttype": "none", "font.size": 9}):
            figure, (cost, memory) = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
            for label, line in series(axis, runs).items():
                places = [x(run) for run in line]
                cost.plot(places, [run.microseconds for run in line], marker="o", label=label)
                memory.plot(places, [run.peak_mib for run in line], marker="o", label=label)
            cost.set_ylabel("CPU time of a record, µs")
            memory.set_ylabel("peak memory, MiB")
            for panel in (cost, memory):
                panel.set_xlabel(LABELS[axis])
                panel.set_ylim(bottom=0)
                panel.grid(alpha=0.3)
                if axis in ("records", "devices"):
                    panel.set_xscale("log")
                if axis == "threads":
                    panel.set_xticks([1, 2])
            cost.legend()
            nothing = {"Date": None, "Creator": None}
            figure.savefig(folder / f"growth-{axis}.svg", metadata=nothing)
            pyplot.close(figure)


def main() -> None:
    """Measures and draws."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=AXES, default=AXES, help="some axes")
    parser.add_argument("--largest", type=int, default=10**8, help="records of the largest export")
    parser.add_argument("--scratch", type=Path, help="directory for the exports")
    parser.add_argument("--draw", action="store_true", help="only draw the plots")
    arguments = parser.parse_args()
    if not arguments.draw:
        measure(arguments.only, arguments.largest, arguments.scratch)
    draw(IMAGES)


if __name__ == "__main__":
    main()
