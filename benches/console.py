"""Measures the console of `eds serve`: its first page, and ingest beside ten open consoles.

    make bench-console CONSOLE="--devices 10000 --rounds 6"

- page: the first page with many devices on SQLite, from the request to its last byte, and its size; the first
  request of a new process, and the median of later ones
- ingest: batches over HTTP at full load, with and without open consoles, in rounds of alternating order on
  one service; the figure is the median of the ratios of the pairs, by wall-clock time and by CPU time of the
  service

A figure beyond its limit fails the run. The CPU ratio decides about ingest: other load on the machine affects
the time of both sides, but hardly their work.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import blake3

import edgesentry
from edgesentry import AuditRecord, Client, Device

TOKEN = "eds_" + "5" * 64
PAGE_LIMIT_SECONDS, PAGE_LIMIT_BYTES, INGEST_LIMIT = 0.2, 300_000, 0.98
WATCHERS = 10
SIGNERS = 20


def main() -> None:
    """Runs both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--records", type=int, default=20_000, help="records of a round")
    parser.add_argument("--watch", nargs=2, metavar=("URL", "COOKIE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.watch:
        watch(*chosen.watch)
        return
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        prepare(folder, chosen.devices)
        with service(folder) as (url, process):
            failures += measure_page(url, chosen.devices)
            failures += measure_ingest(url, process, chosen.rounds, chosen.records)
    if failures:
        sys.exit("\n".join(failures))


def prepare(folder: Path, devices: int) -> None:
    """Makes a ledger with signers, and with devices that have heads."""
    with edgesentry.open(f"sqlite:{folder / 'ledger.db'}") as ledger:
        for signer in signers():
            ledger.register_device(signer)
    with sqlite3.connect(folder / "ledger.db") as database:
        database.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO chain_heads "
            "SELECT printf('meter-%07d', i), 9, zeroblob(32), 0, zeroblob(32), 1, ? FROM n",
            (devices, int(time.time() * 1000) - 60_000),
        )
    token_hash = blake3.blake3(TOKEN.encode()).hexdigest()
    (folder / "eds.toml").write_text(
        f'ledger = "sqlite:{folder / "ledger.db"}"\n[serve]\nlisten = "127.0.0.1:0"\n'
        "[serve.console]\nenabled = true\n"
        f'[serve.tokens.bench]\nhash = "{token_hash}"\nscopes = ["read"]\n'
    )


def signers() -> list[Device]:
    """Returns the devices that send records."""
    return [Device.from_seed(f"lift-{n:02}", bytes([n + 1] * 32)) for n in range(SIGNERS)]


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, int]]:
    """Runs the service; yields its URL and its process id."""
    command = [sys.executable, "-m", "edgesentry", "serve", "--config", str(folder / "eds.toml")]
    quiet = {**os.environ, "RUST_LOG": "off"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=quiet) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        if '"listening"' not in line:
            sys.exit(line)
        try:
            yield json.loads(line)["fields"]["url"], process.pid
        finally:
            process.terminate()


def sign_in(url: str) -> str:
    """Returns the cookie of a new session."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    headers = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/console/login", f"token={TOKEN}", headers)
    response = connection.getresponse()
    assert response.status == 303, response.read()
    return (response.getheader("set-cookie") or "").split(";")[0]


def measure_page(url: str, devices: int) -> list[str]:
    """Measures the first page."""
    cookie = sign_in(url)
    times, size = [], 0
    for _ in range(30):
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        begin = time.perf_counter()
        connection.request("GET", "/console", headers={"cookie": cookie, "accept": "text/html"})
        response = connection.getresponse()
        size = len(response.read())
        times.append(time.perf_counter() - begin)
        assert response.status == 200
        connection.close()
        time.sleep(0.1)
    first, median = times[0], statistics.median(times[1:])
    print(
        f"page: {devices:,} devices, first request {first * 1000:.1f} ms, "
        f"median of {len(times) - 1} later ones {median * 1000:.1f} ms, "
        f"longest {max(times) * 1000:.1f} ms, {size:,} bytes"
    )
    failures = []
    if max(first, median) > PAGE_LIMIT_SECONDS:
        failures.append(f"page: over {PAGE_LIMIT_SECONDS * 1000:.0f} ms")
    if size > PAGE_LIMIT_BYTES:
        failures.append(f"page: over {PAGE_LIMIT_BYTES:,} bytes")
    return failures


def watch(url: str, cookie: str) -> None:
    """Holds open consoles until stdin ends."""

    def hold() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        connection.request("GET", "/console/events", headers={"cookie": cookie})
        response = connection.getresponse()
        assert response.status == 200
        while response.readline():
            pass

    for _ in range(5):
        threading.Thread(target=hold, daemon=True).start()
    sys.stdin.read()


@contextmanager
def consoles(url: str) -> Iterator[None]:
    """Keeps ten consoles open, of two sessions."""
    command = [sys.executable, __file__, "--watch", url]
    watchers = [
        subprocess.Popen([*command, sign_in(url)], stdin=subprocess.PIPE) for _ in range(WATCHERS // 5)
    ]
    time.sleep(1)
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.communicate()


def cpu_seconds(process: int) -> float:
    """Returns the CPU time of a process, by its clock: /proc counts in hundredths of a second."""
    scheduled = 2
    return time.clock_gettime(~process << 3 | scheduled)


def measure_ingest(url: str, process: int, rounds: int, records: int) -> list[str]:
    """Measures ingest with and without consoles."""
    devices = signers()

    def batch() -> list[tuple[AuditRecord, bytes]]:
        pairs = []
        for n in range(records):
            signer, payload = devices[n % SIGNERS], b"%d" % n
            pairs.append((signer.sign(payload, f"{n}.bin"), payload))
        return pairs

    def run() -> tuple[float, float]:
        pairs = batch()
        cpu, begin = cpu_seconds(process), time.perf_counter()
        with Client(url) as client:
            assert client.ingest_many(pairs).counts == {"accepted": records}
        return time.perf_counter() - begin, cpu_seconds(process) - cpu

    run()
    ratios: list[tuple[float, float]] = []
    for number in range(rounds):
        sides: dict[bool, tuple[float, float]] = {}
        for open_consoles in (number % 2 == 0, number % 2 == 1):
            if open_consoles:
                with consoles(url):
                    sides[True] = run()
            else:
                sides[False] = run()
        (without, cpu_without), (beside, cpu_beside) = sides[False], sides[True]
        ratios.append((without / beside, cpu_without / cpu_beside))
        print(
            f"ingest: round {number + 1}: {records / without:,.0f}/s, {cpu_without:.2f} s of CPU time; "
            f"with consoles {records / beside:,.0f}/s, {cpu_beside:.2f} s",
            flush=True,
        )
    by_time, by_cpu = (statistics.median(values) for values in zip(*ratios, strict=True))
    print(f"ingest: with {WATCHERS} consoles {by_time:.1%} of the rate, by CPU time {by_cpu:.1%}")
    return [] if by_cpu >= INGEST_LIMIT else [f"ingest: less than {INGEST_LIMIT:.0%} of the rate by CPU time"]


if __name__ == "__main__":
    main()
