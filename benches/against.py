"""Compares verification and ingest of two builds of `eds` in one run, as whole processes.

    make bench-against BASE=PATH    PATH is an eds, or the target directory or checkout of another commit

Each job runs in pairs, one process of each build, in alternating order; the figure is the median of the
ratios of the pairs, so other load on the machine affects both. A job above its limit fails the run.

    make bench-against BASE=PATH AGAINST="--only packs --pairs 5"    some jobs, by a part of their names
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from builds import ROOT, find_eds
from edgesentry import AuditRecord, Device, KeyRing, Scheme, verify_chain, write_records

START_MS = 1_700_000_000_000
VERIFICATION_LIMIT, INGEST_LIMIT = 1.03, 1.10
# Packs of our build against a file for each payload of the other: 1.8 and 5 times the speed.
PACKS_SINGLE_LIMIT, PACKS_BATCH_LIMIT = 1 / 1.8, 1 / 5
# Each record is a unit with its own write of the payload and its own commit.
SINGLE = {"EDS_INGEST__BATCH_RECORDS": "1"}


@dataclass(frozen=True)
class Job:
    """A job that both builds run.

    Attributes:
        name: Its name in the table.
        limit: The maximum ratio of ours to theirs that passes.
        command: The arguments of `eds`, for a new directory.
        clean: Removes the traces of a run outside its directory.
        ours: Arguments of our build that replace others, for options that earlier builds lack.
        settings: Variables of both builds.
        wal_position: Returns the position in the write-ahead log of PostgreSQL, in bytes.
    """

    name: str
    limit: float
    command: Callable[[Path], list[str]]
    clean: Callable[[Path], None] = lambda _: None
    ours: Callable[[str], str] = lambda argument: argument
    settings: Mapping[str, str] = field(default_factory=dict)
    wal_position: Callable[[], int] | None = None


Wanted: TypeAlias = Callable[[str], bool]


def packed(argument: str) -> str:
    """Puts the payloads of our build into packs."""
    if argument == "--payloads":
        return "--payload-store"
    return argument.replace("folder:", "packs:", 1) if argument.startswith("folder:") else argument


@dataclass(frozen=True)
class Shape:
    """Returns the records of some devices in turn."""

    name: str
    file: str
    devices: int
    scheme: Scheme


SHAPES = [
    Shape("10 devices", "few.ndjson", 10, "record"),
    Shape("10 devices, whole objects", "few.json", 10, "record"),
    Shape("2,000 devices", "many.ndjson", 2000, "record"),
    Shape("2,000 devices, zstd", "many.ndjson.zst", 2000, "payload-hash"),
    Shape("10 devices, Arrow", "few.arrow", 10, "payload-hash"),
    Shape("10 devices, Parquet", "few.parquet", 10, "payload-hash"),
]


def payload(record: AuditRecord) -> bytes:
    return f"{record.device_id} {record.sequence}".encode() * 8


def records(shape: Shape, count: int) -> Iterator[AuditRecord]:
    devices = [
        Device.from_seed(f"device-{number:05}", number.to_bytes(32, "big"), scheme=shape.scheme)
        for number in range(1, shape.devices + 1)
    ]
    for number in range(count):
        device = devices[number % len(devices)]
        sequence = number // len(devices) + 1
        content = f"{device.device_id} {sequence}".encode() * 8
        yield device.sign(content, f"{device.device_id}/{sequence}.bin", START_MS + 1000 * sequence)


def keys(shape: Shape) -> KeyRing:
    ring = KeyRing()
    for number in range(1, shape.devices + 1):
        device = Device.from_seed(f"device-{number:05}", number.to_bytes(32, "big"), scheme=shape.scheme)
        ring.add(device.device_id, device.public_key, scheme=device.scheme)
    return ring


def verification(name: str, arguments: list[str]) -> Job:
    return Job(f"verify {name}", VERIFICATION_LIMIT, lambda _: arguments)


def verifications(folder: Path, count: int, wanted: Wanted) -> Iterator[Job]:
    for shape in SHAPES:
        if not (wanted(f"verify {shape.name}") or wanted(f"verify {shape.name}, links")):
            continue
        path, ring = folder / shape.file, folder / f"{shape.file}.keys.json"
        write_records(records(shape, count), path)
        keys(shape).save(ring)
        assert verify_chain(path, keys=ring).ok
        yield verification(shape.name, ["verify-chain", str(path), "--keys", str(ring)])
        if path.suffix in (".json", ".arrow", ".parquet"):
            # Without signatures, reading is the larger part.
            yield verification(f"{shape.name}, links", ["verify-chain", str(path)])


def ingests(folder: Path, count: int, single: int, postgres: str | None) -> Iterator[Job]:
    """Yields the jobs of ingest; `count` records in batches, `single` records one by one."""
    shape = SHAPES[0]
    source = folder / "ingest"
    chain = list(islice(records(shape, max(count, single)), max(count, single)))
    for record in chain:
        path = source / record.object_ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload(record))
    write_records(chain[:count], folder / "ingest.ndjson")
    write_records(chain[:single], folder / "single.ndjson")
    keys(shape).save(folder / "ingest.keys.json")

    # The names of options that earlier builds have too.
    def common(name: str) -> list[str]:
        ring = str(folder / "ingest.keys.json")
        return ["ingest", str(folder / name), "--payloads-from", str(source), "--register", ring]

    def sqlite(place: Path, name: str = "ingest.ndjson") -> list[str]:
        return [*common(name), "--ledger", str(place / "ledger.db")]

    def sqlite_and_folder(place: Path, name: str = "ingest.ndjson") -> list[str]:
        return [*sqlite(place, name), "--payloads", f"folder:{place / 'payloads'}"]

    def one_by_one(place: Path) -> list[str]:
        return sqlite_and_folder(place, "single.ndjson")

    yield Job("ingest SQLite", INGEST_LIMIT, sqlite)
    yield Job("ingest SQLite and a folder", INGEST_LIMIT, sqlite_and_folder)
    yield Job("ingest SQLite and a folder, single records", INGEST_LIMIT, one_by_one, settings=SINGLE)
    yield Job("ingest SQLite and packs, before: a folder", PACKS_BATCH_LIMIT, sqlite_and_folder, ours=packed)
    yield Job(
        "ingest SQLite and packs, before: a folder, single records",
        PACKS_SINGLE_LIMIT,
        one_by_one,
        ours=packed,
        settings=SINGLE,
    )
    if postgres is None:
        return

    def psql(sql: str) -> str:
        command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", postgres, "-c", sql]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def wal_position() -> int:
        return int(psql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"))

    def database(place: Path) -> str:
        return f"against_{place.name.replace('-', '_')}"

    def into_postgres(place: Path, name: str = "ingest.ndjson") -> list[str]:
        psql(f"CREATE DATABASE {database(place)}")
        base, _, _ = postgres.rpartition("/")
        url = f"{base}/{database(place)}"
        return [*common(name), "--ledger", url, "--payloads", f"folder:{place / 'payloads'}"]

    def one_by_one_into_postgres(place: Path) -> list[str]:
        return into_postgres(place, "single.ndjson")

    def drop(place: Path) -> None:
        psql(f"DROP DATABASE {database(place)}")

    yield Job("ingest PostgreSQL and a folder", INGEST_LIMIT, into_postgres, drop, wal_position=wal_position)
    yield Job("ingest PostgreSQL and packs, before: a folder", PACKS_BATCH_LIMIT, into_postgres, drop, packed)
    yield Job(
        "ingest PostgreSQL and packs, before: a folder, single records",
        PACKS_SINGLE_LIMIT,
        one_by_one_into_postgres,
        drop,
        packed,
        SINGLE,
    )


@dataclass(frozen=True)
class Run:
    """The time of one process, from start to end, and the bytes that it added to the write-ahead log."""

    seconds: float
    wal_bytes: int


def run(eds: Path, job: Job, scratch: Path, is_ours: bool) -> Run:
    """Runs a job in one process."""
    place = scratch / uuid.uuid4().hex[:12]
    place.mkdir()
    try:
        arguments = job.command(place)
        if is_ours:
            arguments = [job.ours(argument) for argument in arguments]
        # The writes of the previous job reach the disk before this one begins.
        os.sync()
        wal_begin = job.wal_position() if job.wal_position else 0
        begin = time.perf_counter()
        ended = subprocess.run(
            [eds, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **job.settings},
        )
        taken = time.perf_counter() - begin
        if ended.returncode != 0:
            sys.exit(
                f"{eds} {' '.join(arguments)}: exit code {ended.returncode}\n{ended.stdout}{ended.stderr}"
            )
        wal_end = job.wal_position() if job.wal_position else 0
        return Run(taken, wal_end - wal_begin)
    finally:
        job.clean(place)
        shutil.rmtree(place)


Runs: TypeAlias = tuple[list[Run], list[Run]]


def compare(job: Job, builds: tuple[Path, Path], pairs: int, scratch: Path) -> Runs:
    """Returns the runs of both builds, pair by pair, after an unmeasured one."""
    runs: Runs = ([], [])
    for pair in range(-1, pairs):
        for which in (0, 1) if pair % 2 else (1, 0):
            done = run(builds[which], job, scratch, is_ours=which == 1)
            if pair >= 0:
                runs[which].append(done)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path, help="eds of the other commit, or its target folder or checkout")
    parser.add_argument("--ours", type=Path, default=ROOT / "target", help="this build [default: target]")
    parser.add_argument("--pairs", type=int, default=11, help="pairs that count [default: %(default)s]")
    parser.add_argument(
        "--records", type=int, default=200_000, help="of a verification [default: %(default)s]"
    )
    parser.add_argument("--ingest-records", type=int, default=20_000, help="[default: %(default)s]")
    parser.add_argument("--single-records", type=int, default=2_000, help="[default: %(default)s]")
    parser.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        help="only the jobs with this text in their names, such as packs; may be repeated",
    )
    parser.add_argument(
        "--postgres", default=os.environ.get("EDGESENTRY_TEST_POSTGRES"), help="URL of a server"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the ratios to FILE")
    arguments = parser.parse_args()
    builds = (find_eds(arguments.base), find_eds(arguments.ours))
    if arguments.postgres is None:
        print("no PostgreSQL: give --postgres, or run it by scripts/servers/with", file=sys.stderr)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.pairs} pairs")
    print("| job | base s | ours s | ratio | from | to | at most |\n|---|---:|---:|---:|---:|---:|---:|")
    slower, by_job = [], {}
    with tempfile.TemporaryDirectory(prefix="edgesentry-against-") as scratch:
        folder = Path(scratch) / "data"
        folder.mkdir()

        def wanted(name: str) -> bool:
            return arguments.only is None or any(text in name for text in arguments.only)

        jobs = [*verifications(folder, arguments.records, wanted)]
        if arguments.only is None or not all("verify" in text for text in arguments.only):
            jobs += ingests(folder, arguments.ingest_records, arguments.single_records, arguments.postgres)
        chosen = [job for job in jobs if wanted(job.name)]
        if not chosen:
            sys.exit(f"no job has {' or '.join(arguments.only)} in its name")
        for job in chosen:
            runs = compare(job, builds, arguments.pairs, Path(scratch))
            base, ours = ([each.seconds for each in build] for build in runs)
            ratios = [after / before for before, after in zip(base, ours, strict=True)]
            ratio = statistics.median(ratios)
            print(
                f"| {job.name} | {statistics.median(base):.3f} | {statistics.median(ours):.3f} | {ratio:.3f} "
                f"| {min(ratios):.3f} | {max(ratios):.3f} | {job.limit:.2f} |",
                flush=True,
            )
            by_job[job.name] = ratio
            if job.wal_position:
                before, after = (statistics.median(each.wal_bytes for each in build) for build in runs)
                by_job[f"{job.name}, write-ahead log"] = after / before
                print(f"{job.name}: {before:,.0f} bytes of write-ahead log before, {after:,.0f} now")
            if ratio > job.limit:
                slower.append(job.name)
    if arguments.json:
        arguments.json.write_text(json.dumps(by_job, indent=2) + "\n")
    if slower:
        sys.exit(f"slower than the limit: {', '.join(slower)}")


if __name__ == "__main__":
    main()
