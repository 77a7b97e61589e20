"""Runs the benches, and prints each ratio beside its reach.

    make bench                   this build and the other implementations
    make bench BASE=PATH         also another build: a checkout of 6d07395 with `eds` in target/release
    make bench BENCH=--table     the table again, from the last run

Each bench leaves its results in target/bench, so one that fails does not lose those of the others. A missed
reach does not fail the run; a wrong verdict does. `--only` runs some of the benches.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from builds import ROOT

RESULTS = ROOT / "target" / "bench"
PYTHON = ROOT / ".venv" / "bin" / "python"
STORES = ("s3", "folder", "packs", "memory", "sqlite")

Document: TypeAlias = Any
"""JSON that a bench wrote."""


# Runs


@dataclass(frozen=True)
class Bench:
    """A bench: its command, and the file in target/bench for its output, if it prints the results."""

    name: str
    command: list[str]
    folder: Path = ROOT
    output: str | None = None

    def run(self) -> bool:
        """Runs the bench, and returns whether it succeeded."""
        print(f"\n{self.name}", flush=True)
        # Each checkout builds into its own target.
        environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
        if self.output is None:
            return subprocess.run(self.command, cwd=self.folder, env=environment, check=False).returncode == 0
        with (
            subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, text=True
            ) as process,
            (RESULTS / self.output).open("w") as output,
        ):
            for line in process.stdout or ():
                print(line, end="", flush=True)
                output.write(line)
        return process.returncode == 0


def benches(base: Path | None) -> Iterator[Bench]:
    """Lists the benches; those of the other build are next to ours."""
    cargo = os.environ.get("CARGO", "cargo")
    release = ["--release", "--locked"]
    ingest = [cargo, "run", *release, "--manifest-path", "benches/ingest/Cargo.toml"]
    load = [cargo, "run", *release, "--example", "load"]
    yield Bench("parts", [cargo, "bench", "--locked", "--workspace", "--bench", "*"])
    if base:
        parts = [cargo, "bench", "--locked", "--package", "edgesentry-chain", "--bench", "parts"]
        yield Bench("parts of the other build", parts, base)
    script = [str(PYTHON), "benches/compare.py", "--json", str(RESULTS / "compare.json")]
    yield Bench("compare", script)
    script = [str(PYTHON), "benches/interleaved.py", "--json", str(RESULTS / "interleaved.json")]
    yield Bench("interleaved", script)
    if base:
        script = [str(PYTHON), "benches/against.py", "--json", str(RESULTS / "against.json"), str(base)]
        yield Bench("against", script)
    yield Bench("ingest", ingest, output="ingest.jsonl")
    if base:
        yield Bench("ingest of the other build", ingest, base, "ingest-base.jsonl")
    yield Bench("load", load, output="load.jsonl")
    if base:
        yield Bench("load of the other build", load, base, "load-base.jsonl")


# Results


@dataclass(frozen=True)
class Results:
    """The results in target/bench; a result that is not there is None."""

    folder: Path
    criterion: Path
    base_criterion: Path | None = None

    def document(self, name: str) -> Document:
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else None

    def rows(self, name: str, **fields: str) -> list[Document]:
        """Returns the lines of JSON with these fields."""
        path = self.folder / name
        if not path.exists():
            return []
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if all(line.get(key) == value for key, value in fields.items())]

    def median(self, name: str, figure: str, **fields: str) -> float | None:
        figures = [row[figure] for row in self.rows(name, **fields)]
        return statistics.median(figures) if figures else None

    def part(self, name: str, is_base: bool = False) -> float | None:
        """Returns the nanoseconds of a part by criterion."""
        folder = self.base_criterion if is_base else self.criterion
        path = folder / name / "new" / "estimates.json" if folder else None
        if path is None or not path.exists():
            return None
        nanoseconds: float = json.loads(path.read_text())["median"]["point_estimate"]
        return nanoseconds


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None


@dataclass(frozen=True)
class Reach:
    """A figure and its reach."""

    part: str
    figure: float | None
    bound: float
    is_minimum: bool = True

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return "not measured"
        reached = self.figure >= self.bound if self.is_minimum else self.figure <= self.bound
        return "reached" if reached else "missed"

    def row(self) -> str:
        figure = "" if self.figure is None else f"{self.figure:.2f}"
        bound = f"at {'least' if self.is_minimum else 'most'} {self.bound:g}"
        return f"| {self.part} | {figure} | {bound} | {self.verdict} |"


BATCH = "signatures/batch/4096"
SLICE = "slice/links and signatures"
SERVICE, SQLITE = "edgesentry, PostgreSQL", "edgesentry, SQLite with payloads"
PEER = "edgesentry-audit, PostgreSQL"


def of_verification(results: Results) -> Iterator[Reach]:
    against = results.document("against.json") or {}
    reached = {each["what"]: each for each in (results.document("compare.json") or {}).get("reach", ())}
    interleaved = results.document("interleaved.json") or {}

    def speed(job: str) -> float | None:
        return ratio(1.0, against.get(f"verify {job}"))

    yield Reach(
        "batch of 4,096 signatures, one core: speed against the other build",
        ratio(results.part(BATCH, is_base=True), results.part(BATCH)),
        1.4,
    )
    if "avx512ifma" in re.findall(r"\w+", Path("/proc/cpuinfo").read_text()):
        signature = ratio(results.part(BATCH), 4096 * 1000)
        yield Reach("batch of 4,096 signatures with AVX-512 IFMA: µs a signature", signature, 1.5, False)
    tenth = ratio(results.part(f"{SLICE}, every tenth bad"), results.part(SLICE))
    yield Reach("every tenth signature bad: time against a clean export", tenth, 2, False)
    yield Reach("Arrow, links: speed against the other build", speed("10 devices, Arrow, links"), 2)
    yield Reach("Parquet, links: speed against the other build", speed("10 devices, Parquet, links"), 2)
    job = "10 devices, whole objects, links"
    yield Reach("JSON, reading and links: speed against the other build", speed(job), 1.6)
    both = interleaved.get("links+signatures", {}).get("ratio")
    yield Reach("10,000 devices that interleave: speed against sorted rows", both, 0.7)
    parquet = interleaved.get("links", {}).get("sorted_microseconds")
    yield Reach("Parquet, reading and links: µs of CPU time a record", parquet, 0.35, False)
    for what, bound, is_minimum in COMPARED:
        yield Reach(what, reached.get(what, {}).get("value"), bound, is_minimum)


# The comparisons of compare.py.
COMPARED = [
    ("links, speed against audit-links", 7, True),
    ("links and signatures, speed against pynacl", 40, True),
    ("links and signatures, speed against audit-signatures", 22, True),
    ("links and signatures, time against bare signatures", 0.6, False),
]


def of_ingest(results: Results) -> Iterator[Reach]:
    figure = "records_per_second"

    def ours(what: str, how: str) -> float | None:
        return results.median("ingest.jsonl", figure, what=what, how=how)

    def base(what: str, how: str) -> float | None:
        return results.median("ingest-base.jsonl", figure, what=what, how=how)

    one = "one record at a time"
    for callers, peers, bound in ((1, 1, 1), (16, 16, 3), (64, 16, 5)):
        peer = ours(PEER, f"{peers} threads, {one}")
        against_peer = ratio(ours(SERVICE, f"{callers} callers, {one}"), peer)
        yield Reach(f"PostgreSQL, callers {callers}: speed against the published crate", against_peer, bound)
    for what, name, how, least in (
        (SERVICE, "PostgreSQL, one caller", f"1 callers, {one}", 1.6),
        (SERVICE, "PostgreSQL, batches of 10,000", "one caller, batches of 10000", 1.5),
        (SQLITE, "SQLite, batches of 10,000", "one caller, batches of 10000", 2),
        (SQLITE, "SQLite, batches of 1,000", "one caller, batches of 1000", 1.8),
    ):
        yield Reach(f"{name}: speed against the other build", ratio(ours(what, how), base(what, how)), least)
    against = results.document("against.json") or {}
    job = "ingest PostgreSQL and a folder, write-ahead log"
    yield Reach(
        "PostgreSQL, batches: bytes of write-ahead log against the other build", against.get(job), 0.85, False
    )
    for how, job, least in (
        ("batches", "ingest SQLite and packs, before: a folder", 5),
        ("single records", "ingest SQLite and packs, before: a folder, single records", 1.8),
    ):
        speed = ratio(1.0, against.get(job))
        yield Reach(f"packs on SQLite, {how}: speed against a folder of the other build", speed, least)


def of_network(results: Results) -> Iterator[Reach]:
    def figure(file: str, name: str, payloads: str, over: str, how: str) -> float | None:
        return results.median(file, name, payloads=payloads, over=over, how=how)

    def against(payloads: str, over: str, how: str, name: str = "records_per_second") -> float | None:
        ours, base = (figure(file, name, payloads, over, how) for file in ("load.jsonl", "load-base.jsonl"))
        return ratio(ours, base)

    folder = "a folder on PostgreSQL"
    yield Reach(
        f"{folder}, batches: speed against the other build", against("folder", "in process", "batch"), 5
    )
    for over, how, least in (
        ("in process", "batch", 5),
        ("http", "single", 1.8),
        ("https", "single", 1.8),
    ):
        ours = figure("load.jsonl", "records_per_second", "packs", over, how)
        base = figure("load-base.jsonl", "records_per_second", "folder", over, how)
        yield Reach(
            f"packs on PostgreSQL, {how} over {over}: speed against a folder of the other build",
            ratio(ours, base),
            least,
        )
    for payloads in STORES:
        for over in ("http", "https"):
            pairs = zip(
                results.rows("load.jsonl", payloads=payloads, over="in process", how="batch"),
                results.rows("load.jsonl", payloads=payloads, over=over, how="batch"),
                strict=False,
            )
            times = [one["records_per_second"] / two["records_per_second"] for one, two in pairs]
            name = f"batch over {over.upper()}, payloads: {payloads}: time against in process"
            yield Reach(name, statistics.median(times) if times else None, 1.15, False)
    for over in ("http", "https"):
        speed = against("folder", over, "single")
        name = f"64 connections over {over.upper()}, {folder}"
        yield Reach(f"{name}: speed against the other build", speed, 2)
        tail = against("folder", over, "single, half load", "p99_ms")
        yield Reach(f"{name}, half load: p99 against the other build", tail, 1, False)


def table(results: Results) -> str:
    """Formats the figures beside their reach."""
    parts: tuple[Callable[[Results], Iterator[Reach]], ...] = (of_verification, of_ingest, of_network)
    lines = ["| part | measured | reach | |", "|---|---:|---:|---|"]
    lines += [reach.row() for of in parts for reach in of(results)]
    return "\n".join(lines)


def main() -> int:
    """Runs the benches and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path, nargs="?", help="checkout of the other build")
    parser.add_argument(
        "--only", nargs="+", metavar="BENCH", help="some benches: parts, compare, interleaved …"
    )
    parser.add_argument("--table", action="store_true", help="only print the table, from the last run")
    arguments = parser.parse_args()
    base = arguments.base.resolve() if arguments.base else None
    RESULTS.mkdir(parents=True, exist_ok=True)
    failed = []
    if not arguments.table:
        chosen = [
            bench
            for bench in benches(base)
            if arguments.only is None or bench.name.split()[0] in arguments.only
        ]
        failed = [bench.name for bench in chosen if not bench.run()]
    base_criterion = base / "target" / "criterion" if base else None
    results = Results(RESULTS, ROOT / "target" / "criterion", base_criterion)
    print(f"\n{table(results)}")
    if failed:
        print(f"reach: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
