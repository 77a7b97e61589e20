"""Measures the transparency log: the cost beside ingest and verification, and the speed of the log itself.

    make bench-log LOG="--only verify --records 1000000"

Parts:

- ingest: batches into PostgreSQL with the log, a round each second, and without it
- verify: `eds verify-chain` with links and signatures, and with the level log as well
- pace: the log beside ingest at a fixed rate, into PostgreSQL and SQLite
- backfill: the log of a ledger that is older than its log
- heads: a log of many devices, and its rounds when few or no devices have sent

The two sides of a comparison are processes in pairs, in alternating order; the figure is the median of the
ratios of the pairs, so other load on the machine affects both. A ratio below its limit fails the run. CPU
time is that of the job and of PostgreSQL in comparisons of ingest, and that of our process in all others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from builds import ROOT, find_eds

INGEST_LIMIT, VERIFICATION_LIMIT = 0.95, 0.90
PARTS = ("ingest", "verify", "pace", "backfill", "heads")
BENCH = ROOT / "target" / "release" / "examples" / "log"


@dataclass(frozen=True)
class Cost:
    """The cost of a job: seconds of time, seconds of CPU time, peak memory in MiB."""

    seconds: float
    cpu: float
    mib: float


def ticks_of(process: int) -> list[int]:
    """Returns the CPU time of a process, user and system, and of its children that have ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    except FileNotFoundError:
        return [0, 0, 0, 0]
    return [int(field) for field in fields[11:15]]


class Ledgers:
    """Creates empty ledgers, and removes them with their logs."""

    def __init__(self, folder: Path, postgres: str) -> None:
        self.folder, self.postgres = folder, postgres

    def psql(self, sql: str) -> str:
        command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.postgres, "-c", sql]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def server_cpu(self) -> float:
        """Returns the CPU time of all processes of PostgreSQL, those that have ended included, seconds."""
        server = int(self.psql("SELECT pg_read_file('postmaster.pid')").split()[0])
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        ticks = sum(ticks_of(server)[:4]) + sum(sum(ticks_of(int(child))[:2]) for child in children)
        return ticks / os.sysconf("SC_CLK_TCK")

    @contextmanager
    def new(self, kind: str) -> Iterator[tuple[str, Path]]:
        """Returns a new ledger and the directory of its log."""
        name = f"log_bench_{uuid.uuid4().hex[:12]}"
        place = self.folder / name
        place.mkdir()
        if kind == "SQLite":
            try:
                yield str(place / "ledger.db"), place / "log"
            finally:
                shutil.rmtree(place)
            return
        self.psql(f"CREATE DATABASE {name}")
        try:
            # The directory stays until the end: ext4 does not reuse the inodes of files deleted just before,
            # and searching past them costs the next job CPU time.
            yield f"{self.postgres.rpartition('/')[0]}/{name}", place / "log"
        finally:
            self.psql(f"DROP DATABASE {name}")


def bench(job: str, ledger: str, **options: object) -> Any:
    """Runs a job of the example `log` and returns its JSON."""
    words = [f"{name}={value}" for name, value in options.items()]
    # The writes of the previous job reach the disk before this one begins.
    os.sync()
    ended = subprocess.run(
        [BENCH, job, ledger, *words], stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT
    )
    if ended.returncode != 0:
        sys.exit(f"{BENCH} {job} {ledger} {' '.join(words)}: exit code {ended.returncode}")
    return json.loads(ended.stdout)


def measured(command: list[str | Path]) -> Cost:
    """Runs a command that must succeed."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, stderr=out)
        _, status, usage = os.wait4(child.pid, 0)
        taken = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            out.seek(0)
            words = " ".join(str(word) for word in command)
            sys.exit(f"{words}: exit code {child.returncode}\n{out.read().decode()}")
    return Cost(taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


Sides = tuple[list[Cost], list[Cost]]


def compare(sides: tuple[Callable[[], Cost], Callable[[], Cost]], pairs: int) -> Sides:
    """Returns the costs of both sides, pair by pair, after an unmeasured one."""
    costs: Sides = ([], [])
    for pair in range(-1, pairs):
        for which in (0, 1) if pair % 2 else (1, 0):
            cost = sides[which]()
            if pair >= 0:
                costs[which].append(cost)
    return costs


def row(name: str, costs: Sides, limit: float) -> bool:
    """Prints a comparison: without the log, with it. Returns whether the speed is within the limit."""
    without, with_log = costs
    speeds = [one.seconds / other.seconds for one, other in zip(without, with_log, strict=True)]
    cpus = [one.cpu / other.cpu for one, other in zip(without, with_log, strict=True)]
    ratio = statistics.median(speeds)
    cells = [f"{statistics.median(cost.seconds for cost in side):.2f}" for side in costs]
    cells += [f"{ratio:.3f}", f"{min(speeds):.3f}", f"{max(speeds):.3f}"]
    cells += [f"{statistics.median(cost.cpu for cost in side):.2f}" for side in costs]
    cells += [f"{statistics.median(cpus):.3f}"]
    cells += [f"{max(cost.mib for cost in side):.0f}" for side in costs]
    print(f"| {name} | {' | '.join(cells)} | {limit:.2f} |", flush=True)
    return ratio >= limit


def heading(title: str) -> None:
    names = "without s | with s | speed | from | to | without CPU s | with CPU s | speed by CPU"
    print(
        f"\n{title}\n\n| job | {names} | without MiB | with MiB | at least |\n|---|{'---:|' * 11}", flush=True
    )


def ingests(ledgers: Ledgers, arguments: argparse.Namespace) -> bool:
    records = arguments.ingest_records
    heading(
        f"Ingest of {records:,} records into PostgreSQL, a round of the log each second; "
        "a tenth of the records if the payloads are stored in a directory"
    )
    logged: list[Any] = []

    def side(batch: int, in_memory: bool, with_log: bool) -> Cost:
        with ledgers.new("PostgreSQL") as (ledger, store):
            options: dict[str, object] = {"store": store} if with_log else {}
            count = records
            if not in_memory:
                payloads = store.parent / "payloads"
                payloads.mkdir()
                options["payloads"] = payloads
                count //= 10
            before = ledgers.server_cpu()
            done = bench("ingest", ledger, records=count, batch=batch, **options)
            if with_log:
                logged.append(done)
            # All work of the log counts as CPU time, even if it ends after the ingest.
            last = done["until_logged"] if with_log else done["ingest"]
            cpu = last["cpu_seconds"] + ledgers.server_cpu() - before
            return Cost(done["ingest"]["seconds"], cpu, done["peak_mib"])

    passed = True
    for in_memory in (True, False):
        for batch in (1000, 10_000):
            job = partial(side, batch, in_memory)
            costs = compare((partial(job, False), partial(job, True)), arguments.pairs)
            place = "memory" if in_memory else "a directory"
            passed &= row(f"batches of {batch:,}, payloads in {place}", costs, INGEST_LIMIT)
    rest = [done["backlog_at_end"] / done["records"] for done in logged]
    print(f"\nRecords without a position at the end of the ingest, median: {statistics.median(rest):.0%}")
    return passed


def verifications(ledgers: Ledgers, arguments: argparse.Namespace) -> bool:
    eds = find_eds(ROOT / "target")
    heading(f"Verification of {arguments.records:,} records, links and signatures against the level log")
    passed = True
    for devices in (10, 2000):
        with ledgers.new("SQLite") as (ledger, store):
            done = bench(
                "ingest", ledger, records=arguments.records, devices=devices, store=store, payload_bytes=16
            )
            place = Path(ledger).parent
            keys, policy = place / "keys.json", place / "policy"
            policy.write_text(f"log {done['verifier_key']}\nquorum none\n")
            measured([eds, "device", "keys", "--ledger", ledger, "-o", keys])
            for name in ("export.json", "export.ndjson", "export.parquet"):
                export = place / name
                measured([eds, "export", "--ledger", ledger, "-o", export, "--log"])
                for threads in (1, 2):
                    links: list[str | Path] = [
                        eds,
                        "verify-chain",
                        export,
                        "--keys",
                        keys,
                        "--threads",
                        str(threads),
                    ]
                    log: list[str | Path] = [
                        *links,
                        "--checkpoint",
                        f"{export}.checkpoint",
                        "--policy",
                        policy,
                    ]
                    costs = compare((partial(measured, links), partial(measured, log)), arguments.pairs)
                    label = f"{devices:,} devices, {export.suffix[1:]}, {threads} thread{'s'[: threads - 1]}"
                    passed &= row(label, costs, VERIFICATION_LIMIT)
    return passed


def paces(ledgers: Ledgers, arguments: argparse.Namespace) -> bool:
    print(f"\nThe log beside ingest at {arguments.rate:,} records/s, a round each second\n")
    names = "records/s | CPU s | most waiting | waiting at the end | all logged after s | MiB"
    print(f"| ledger | batches | {names} |\n|---|---:|{'---:|' * 6}", flush=True)
    for kind in ("PostgreSQL", "SQLite"):
        for batch in (1000, 10_000):
            with ledgers.new(kind) as (ledger, store):
                records = arguments.rate * arguments.seconds
                done = bench("ingest", ledger, records=records, batch=batch, rate=arguments.rate, store=store)
            begun, end = done["ingest"], done["until_logged"]["seconds"]
            cells = [f"{done['records'] / begun['seconds']:,.0f}", f"{begun['cpu_seconds']:.1f}"]
            cells += [f"{done['max_backlog']:,}", f"{done['backlog_at_end']:,}"]
            cells += [f"{end - begun['seconds']:.1f}", str(done["peak_mib"])]
            print(f"| {kind} | {batch:,} | {' | '.join(cells)} |", flush=True)
    return True


def sequences(ledgers: Ledgers, records: int, devices: int) -> bool:
    names = "leaves | s | records/s | CPU s | MiB | idle round, s | status, s | round of 10 records, s | MiB"
    print(f"| ledger | {names} |\n|---|{'---:|' * 9}", flush=True)
    for kind in ("PostgreSQL", "SQLite"):
        with ledgers.new(kind) as (ledger, store):
            bench("fill", ledger, records=records, devices=devices)
            done = bench("sequence", ledger, store=store)
        everything = done["all"]
        cells = [f"{done['leaves']:,}", f"{everything['seconds']:.1f}"]
        cells += [f"{records / everything['seconds']:,.0f}", f"{everything['cpu_seconds']:.1f}"]
        cells += [str(done["peak_mib"])]
        cells += [
            f"{done[name]['seconds']:.2f} ({done[name]['cpu_seconds']:.2f} CPU)"
            for name in ("idle", "status", "few")
        ]
        print(f"| {kind} | {' | '.join(cells)} | {done['peak_mib_of_all']} |", flush=True)
    return True


def backfill(ledgers: Ledgers, arguments: argparse.Namespace) -> bool:
    print(f"\nBackfill of {arguments.backfill_records:,} records of 100 devices\n")
    return sequences(ledgers, arguments.backfill_records, 100)


def heads(ledgers: Ledgers, arguments: argparse.Namespace) -> bool:
    print(f"\nA log of {arguments.devices:,} devices, one record each\n")
    return sequences(ledgers, arguments.devices, arguments.devices)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="parts [default: all]")
    parser.add_argument("--pairs", type=int, default=3, help="pairs that count [default: %(default)s]")
    parser.add_argument(
        "--records", type=int, default=100_000, help="of a verification [default: %(default)s]"
    )
    parser.add_argument("--ingest-records", type=int, default=200_000, help="[default: %(default)s]")
    parser.add_argument("--rate", type=int, default=20_000, help="records/s of pace [default: %(default)s]")
    parser.add_argument("--seconds", type=int, default=10, help="of pace [default: %(default)s]")
    parser.add_argument("--backfill-records", type=int, default=500_000, help="[default: %(default)s]")
    parser.add_argument("--devices", type=int, default=100_000, help="of heads [default: %(default)s]")
    parser.add_argument(
        "--postgres", default=os.environ.get("EDGESENTRY_TEST_POSTGRES"), help="URL of a server"
    )
    parser.add_argument("--scratch", type=Path, help="directory of the data [default: that of the system]")
    arguments = parser.parse_args()
    if arguments.postgres is None:
        sys.exit("no PostgreSQL: give --postgres, or run it by scripts/servers/with")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.pairs} pairs")
    parts = {"ingest": ingests, "verify": verifications, "pace": paces, "backfill": backfill, "heads": heads}
    slower = []
    with tempfile.TemporaryDirectory(prefix="edgesentry-log-", dir=arguments.scratch) as folder:
        ledgers = Ledgers(Path(folder), arguments.postgres)
        for part in arguments.only:
            if not parts[part](ledgers, arguments):
                slower.append(part)
    if slower:
        sys.exit(f"slower than the limit: {', '.join(slower)}")


if __name__ == "__main__":
    main()
