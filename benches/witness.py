"""Measures a witness: add-checkpoint requests a second, over HTTP, durable before each answer.

    python benches/witness.py [--logs 64] [--requests 100] [--state postgres://...] [--limit 500]

Each log has a connection of its own, and grows by one leaf with each request. The requests are made and
signed before the measurement. A figure below the limit fails the run.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from builds import ROOT, find_eds


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return node(root(leaves[:middle]), root(leaves[middle:]))


def proof(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """The consistency proof of RFC 6962, section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= middle:
        return [*proof(old, leaves[:middle], whole), root(leaves[middle:])]
    return [*proof(old - middle, leaves[middle:], False), root(leaves[:middle])]


def requests_of(number: int, count: int) -> tuple[str, list[bytes]]:
    """Returns the verifier key of a log, and its requests."""
    origin = f"bench.example/{number}"
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(origin.encode()).digest())
    public = key.public_key().public_bytes_raw()
    key_id = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
    leaves: list[bytes] = []
    made = []
    for size in range(1, count + 1):
        leaves.append(hashlib.sha256(b"\x00" + size.to_bytes(8, "big")).digest())
        hashes = proof(size - 1, leaves) if size > 1 else []
        text = f"{origin}\n{size}\n{base64.b64encode(root(leaves)).decode()}\n"
        line = base64.b64encode(key_id + key.sign(text.encode())).decode()
        lines = "".join(base64.b64encode(each).decode() + "\n" for each in hashes)
        made.append(f"old {size - 1}\n{lines}\n{text}\n— {origin} {line}\n".encode())
    vkey = base64.b64encode(b"\x01" + public).decode()
    return f"{origin}+{key_id.hex()}+{vkey}", made


def send(address: str, requests: list[bytes], ready: threading.Barrier, times: list[float]) -> None:
    connection = http.client.HTTPConnection(address)
    connection.connect()
    ready.wait()
    for request in requests:
        begin = time.perf_counter()
        connection.request("POST", "/add-checkpoint", request)
        answer = connection.getresponse()
        body = answer.read()
        times.append(time.perf_counter() - begin)
        if answer.status != 200:
            sys.exit(f"status {answer.status}: {body[:200]!r}")


def measure(eds: Path, state: str, logs: int, count: int, folder: Path) -> tuple[float, list[float]]:
    """Returns the requests a second, and the time of each."""
    made = [requests_of(number, count) for number in range(logs)]
    (folder / "logs").write_text("".join(f"log {key}\n" for key, _ in made))
    options = ["--state", state, "--key", str(folder / "witness.seed"), "--name", "witness.example"]
    subprocess.run([eds, "witness", "init", *options], check=True, capture_output=True)
    command: list[str | Path] = [
        eds,
        "witness",
        "serve",
        *options,
        "--logs",
        str(folder / "logs"),
        "--listen",
        "127.0.0.1:0",
    ]
    quiet = {**os.environ, "RUST_LOG": "off"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=quiet
    ) as witness:
        assert witness.stderr is not None
        address = json.loads(witness.stderr.readline())["fields"]["url"].removeprefix("http://")
        ready = threading.Barrier(logs + 1)
        times: list[float] = []
        threads = [threading.Thread(target=send, args=(address, each, ready, times)) for _, each in made]
        for thread in threads:
            thread.start()
        ready.wait()
        begin = time.perf_counter()
        for thread in threads:
            thread.join()
        taken = time.perf_counter() - begin
        witness.terminate()
    if len(times) != logs * count:
        sys.exit("some requests failed")
    return len(times) / taken, times


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures a witness.")
    parser.add_argument("--logs", type=int, default=64)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--state", help="an empty database; by default a SQLite file")
    parser.add_argument("--limit", type=float, default=500.0)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as name:
        folder = Path(name)
        state = words.state or f"sqlite:{folder / 'witness.db'}"
        rate, times = measure(find_eds(ROOT), state, words.logs, words.requests, folder)
    figures = {
        "requests_per_second": round(rate),
        "median_ms": round(1000 * statistics.median(times), 2),
        "p99_ms": round(1000 * statistics.quantiles(times, n=100)[98], 2),
        "logs": words.logs,
        "state": state.split(":")[0],
    }
    print(json.dumps(figures))
    if rate < words.limit:
        sys.exit(f"{rate:.0f} requests a second, the limit is {words.limit:.0f}")


if __name__ == "__main__":
    main()
