"""Measures the verification of rows of many devices as they arrive, beside the same rows sorted by device.

    make bench-interleaved INTERLEAVED="--records 4000000 --devices 10000"

Both sides are processes of `eds verify-chain` in pairs, in alternating order; the figure is the median of the
ratios of the pairs. A ratio below its limit fails the run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from builds import ROOT, find_eds
from edgesentry import Device, KeyRing, read_records

# Of the speed on rows sorted by device.
RATIO_LIMIT = 0.7
FILES = 4
START_MS = 1_700_000_000_000
BATCH_RECORDS = 50_000


@dataclass(frozen=True)
class Run:
    """The cost of one process."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def make(folder: Path, records: int, devices: int) -> None:
    """Writes the same records twice: interleaved, and sorted by device."""
    keys, batches, signed = {}, [], []
    for number in range(devices):
        device = Device.from_seed(f"lift-{number:06}", number.to_bytes(32))
        keys[device.device_id] = device.public_key
        for at in range(max(1, records // devices)):
            reference = f"s3://audit/{device.device_id}/{at}.bin"
            signed.append(device.sign(at.to_bytes(8), reference, START_MS + at * 1000))
        if len(signed) >= BATCH_RECORDS or number == devices - 1:
            batches += pa.table(read_records(signed)).to_batches()
            signed.clear()
    KeyRing(keys).save(folder / "keys.json")
    table = pa.Table.from_batches(batches)
    for name, order in (("arrival", ["sequence", "device_id"]), ("sorted", ["device_id", "sequence"])):
        rows = table.sort_by([(column, "ascending") for column in order])
        size = -(-rows.num_rows // FILES)
        for number in range(FILES):
            pq.write_table(rows.slice(number * size, size), folder / f"{name}-{number}.parquet")


def verify(eds: Path, folder: Path, name: str, levels: list[str]) -> Run:
    """Verifies the files of one order, and returns the cost."""
    files = [str(folder / f"{name}-{number}.parquet") for number in range(FILES)]
    started = time.perf_counter()
    process = subprocess.Popen([eds, "verify-chain", *files, *levels, "--json"], stdout=subprocess.PIPE)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    verdict = json.loads(output)["report"]["verdict"]
    if verdict != "valid":
        sys.exit(f"{name}: the verdict on intact records is {verdict}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> int:
    """Measures both levels and prints the ratios."""
    parser = argparse.ArgumentParser(description="Compare interleaved rows with sorted ones.")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder for the files; they are made if they are not there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    arguments = parser.parse_args()
    results = {}
    eds = find_eds(ROOT / "target")
    is_short = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "sorted-0.parquet").exists():
            make(folder, arguments.records, arguments.devices)
        for name, levels in (("links+signatures", ["--keys", str(folder / "keys.json")]), ("links", [])):
            wall, cpu, runs = [], [], {}
            for pair in range(arguments.pairs):
                order = ["arrival", "sorted"] if pair % 2 == 0 else ["sorted", "arrival"]
                for side in order:
                    runs[side] = verify(eds, folder, side, levels)
                wall.append(runs["sorted"].seconds / runs["arrival"].seconds)
                cpu.append(runs["sorted"].cpu_seconds / runs["arrival"].cpu_seconds)
            ratio, cpu_ratio = statistics.median(wall), statistics.median(cpu)
            arrival = runs["arrival"]
            print(
                f"{name}: interleaved at {ratio:.2f} of the speed of sorted rows ({cpu_ratio:.2f} by CPU), "
                f"{arguments.records / arrival.seconds:,.0f} records/s, {arrival.cpu_seconds:.1f} cpu-s, "
                f"peak {arrival.peak_mib:.0f} MiB; sorted {runs['sorted'].cpu_seconds:.1f} cpu-s, "
                f"peak {runs['sorted'].peak_mib:.0f} MiB"
            )
            results[name] = {
                "ratio": cpu_ratio,
                "sorted_microseconds": runs["sorted"].cpu_seconds / arguments.records * 1e6,
            }
            is_short |= name != "links" and cpu_ratio < RATIO_LIMIT
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if is_short else 0


if __name__ == "__main__":
    sys.exit(main())
