"""Counts the instructions of the pure parts under valgrind, and compares them with stored builds.

    make bench-quick                          over 10 % more than in the last stored build fails
    make bench-quick QUICK="--store 1.2.0"    stores the counts of this build, at a release

The cost of a record is the difference of two runs of different length, divided by the difference in records,
so the start of a process and the preparation are not in it. No clock is read: the figures are the same on a
loaded machine. Valgrind has a processor with AVX2 and without AVX-512 and SHA instructions, so the code for
AVX2 is counted, on every machine with AVX2.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

BENCHES = Path(__file__).resolve().parent
ROOT = BENCHES.parent
STORED = BENCHES / "quick.json"
# Of the instructions in the last stored build.
LIMIT = 1.10
DEVICES = 10

Parts: TypeAlias = dict[str, float]
"""Instructions by part, for one record or one slice."""


class QuickError(Exception):
    """The counts cannot be compared; the message gives the reason in one sentence."""


@dataclass(frozen=True)
class Stored:
    """The counts of a build that are kept in quick.json."""

    build: str
    compiler: str
    valgrind: str
    parts: Parts


@dataclass(frozen=True)
class Row:
    """A part of this build beside the first and the last stored build."""

    part: str
    instructions: float
    first: float | None
    last: float | None

    @property
    def is_loss(self) -> bool:
        return self.last is not None and self.instructions > self.last * LIMIT


def compare(parts: Parts, stored: list[Stored]) -> list[Row]:
    """Puts each part beside the first and the last build that have it; one that is missing is an error."""
    if missing := {part for each in stored for part in each.parts} - set(parts):
        raise QuickError(f"not measured: {', '.join(sorted(missing))}; remove them from quick.json")
    rows = []
    for part, instructions in parts.items():
        known = [each.parts[part] for each in stored if part in each.parts]
        first, last = (known[0], known[-1]) if known else (None, None)
        rows.append(Row(part, instructions, first, last))
    return rows


def per_unit(short: int, long: int, units: int) -> float:
    """Returns the instructions of one unit, from two runs that differ by `units`."""
    if units < 1 or long <= short:
        raise QuickError(f"the longer run took {long:,} instructions and the shorter one {short:,}")
    return round((long - short) / units, 1)


def table(rows: list[Row], stored: list[Stored]) -> str:
    """Formats the rows as a table in Markdown."""
    first, last = (stored[0].build, stored[-1].build) if stored else ("no build", "no build")

    def ratio(before: float | None, now: float) -> str:
        return f"{before:,.1f} | {now / before:.3f}" if before else " | "

    lines = [f"| part | instructions | {first} | ratio | {last} | ratio | at most |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        before = f"{ratio(row.first, row.instructions)} | {ratio(row.last, row.instructions)}"
        lines.append(f"| {row.part} | {row.instructions:,.1f} | {before} | {LIMIT:.2f} |")
    return "\n".join(lines)


def load(path: Path) -> list[Stored]:
    """Reads the stored builds, oldest first."""
    return [Stored(**each) for each in json.loads(path.read_text())] if path.exists() else []


def store(path: Path, stored: list[Stored], new: Stored) -> None:
    """Adds a build, or replaces it if it is stored already."""
    kept = [each for each in stored if each.build != new.build]
    path.write_text(json.dumps([vars(each) for each in [*kept, new]], indent=2) + "\n")


# Measurement


def instructions(command: list[str], scratch: Path) -> int:
    """Returns the instructions of a process on one thread. Exit code 1 is a verdict."""
    with tempfile.NamedTemporaryFile(dir=scratch, suffix=".log") as log:
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        environment = {**os.environ, "RAYON_NUM_THREADS": "1", "LC_ALL": "C"}
        try:
            ended = subprocess.run(
                [*valgrind, f"--log-file={log.name}", *command],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise QuickError("valgrind is not installed: scripts/servers/compilers install") from error
        if ended.returncode != 0:
            raise QuickError(f"{' '.join(command)}: exit code {ended.returncode}: {ended.stderr.strip()}")
        found = re.search(r"I\s+refs:\s+([\d,]+)", Path(log.name).read_text())
        if found is None:
            raise QuickError(f"valgrind did not count the instructions of {' '.join(command)}")
        return int(found[1].replace(",", ""))


def of_memory(parts: Path, part: str, rounds: tuple[int, int], scratch: Path) -> float:
    """Counts a part of the example `parts`."""
    short, long = (instructions([str(parts), part, str(number)], scratch) for number in rounds)
    units = subprocess.run([parts, part, "1"], capture_output=True, text=True, check=True)
    return per_unit(short, long, (rounds[1] - rounds[0]) * int(units.stdout))


# Whole slices, as a verification divides records.
SIZES = (8192, 24_576)
# The parts of `eds verify-chain`: the name of the files, and whether signatures are verified.
FILES = {
    "reading JSON and links": ("json", False),
    "reading JSON, links and signatures": ("json", True),
    "reading Parquet and links": ("parquet", False),
}
# The parts of the example, and the rounds of both runs.
MEMORY = {
    "canonical bytes and hash": ("record-hash", (2, 22)),
    "batch of signatures": ("signatures", (1, 3)),
    "fold of slices": ("fold", (20, 220)),
    "admission of a batch": ("admission", (1, 3)),
}


def of_file(eds: Path, folder: Path, suffix: str, has_keys: bool) -> float:
    """Counts a verification of two exports of different size."""

    def count(size: int) -> int:
        keys = ["--keys", str(folder / f"{size}.keys.json")] if has_keys else []
        return instructions([str(eds), "verify-chain", str(folder / f"{size}-000.{suffix}"), *keys], folder)

    return per_unit(count(SIZES[0]), count(SIZES[1]), SIZES[1] - SIZES[0])


def measure(eds: Path, parts: Path, fleet: Path) -> Parts:
    """Counts all parts, two at a time."""
    with tempfile.TemporaryDirectory(prefix="edgesentry-quick-") as scratch:
        folder = Path(scratch)
        for size in SIZES:
            for suffix in ("json", "parquet"):
                place = [
                    str(fleet),
                    str(folder / f"{size}.{suffix}"),
                    f"records={size}",
                    f"devices={DEVICES}",
                ]
                subprocess.run(place, check=True)
        jobs: dict[str, Callable[[], float]] = {}
        for name, (part, rounds) in MEMORY.items():
            jobs[name] = lambda part=part, rounds=rounds: of_memory(parts, part, rounds, folder)  # type: ignore[misc]
        for name, (suffix, has_keys) in FILES.items():
            jobs[name] = lambda suffix=suffix, has_keys=has_keys: of_file(eds, folder, suffix, has_keys)  # type: ignore[misc]
        with ThreadPoolExecutor(max_workers=2) as pool:
            running = {name: pool.submit(job) for name, job in jobs.items()}
            return {name: job.result() for name, job in running.items()}


def version(command: str) -> str:
    """Returns the version of a program, such as `1.95.0`."""
    output = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+)+", output)
    return found[0] if found else "unknown"


def has_avx2() -> bool:
    return "avx2" in re.findall(r"\w+", Path("/proc/cpuinfo").read_text())


def main() -> int:
    """Counts, compares, and stores if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    release = ROOT / "target" / "release"
    parser.add_argument("--store", metavar="BUILD", help="add the counts to quick.json under this name")
    parser.add_argument("--eds", type=Path, default=release / "eds")
    parser.add_argument("--parts", type=Path, default=release / "examples" / "parts")
    parser.add_argument("--fleet", type=Path, default=release / "examples" / "fleet")
    arguments = parser.parse_args()
    try:
        if not has_avx2():
            raise QuickError("this processor lacks AVX2, and the stored counts are of AVX2 code")
        stored = load(STORED)
        parts = measure(arguments.eds, arguments.parts, arguments.fleet)
        rows = compare(parts, stored)
    except (OSError, QuickError, subprocess.CalledProcessError) as error:
        print(f"quick: {error}", file=sys.stderr)
        return 3
    print(table(rows, stored))
    if arguments.store:
        store(STORED, stored, Stored(arguments.store, version("rustc"), version("valgrind"), parts))
        return 0
    losses = [row.part for row in rows if row.is_loss]
    if losses:
        print(f"quick: more than {LIMIT:.2f} of the last stored build: {', '.join(losses)}", file=sys.stderr)
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main())
