"""Chains for the tests."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgesentry import AuditRecord, Device, KeyRing, Scheme
from edgesentry.testing import write_payloads

EXPORTS = Path(__file__).parent / "vectors" / "exports"
START_MS = 1_700_000_000_000


def device(number: int, scheme: Scheme = "record") -> Device:
    """Returns a device whose seed is derived from its number."""
    return Device.from_seed(f"lift-{number:02}", bytes([number] * 32), scheme=scheme)


def chains(devices: Iterable[Device], records: int) -> list[AuditRecord]:
    """Returns the interleaved chains of some devices, each with the given number of records."""
    devices = list(devices)
    return list(_sign(devices, records))


def payload(record: AuditRecord) -> bytes:
    """Returns the payload that `chains` gives this record."""
    return f"{record.device_id} {record.sequence}".encode()


def _sign(devices: list[Device], records: int) -> Iterator[AuditRecord]:
    for _ in range(records):
        for signer in devices:
            number = signer.head.sequence + 1 if signer.head else 1
            content = f"{signer.device_id} {number}".encode()
            reference = f"{signer.device_id}/{number}.bin"
            yield signer.sign(content, reference, START_MS + 1000 * number)


def key_ring(devices: Iterable[Device]) -> KeyRing:
    """Returns the keys of some devices."""
    ring = KeyRing()
    for signer in devices:
        ring.add(signer.device_id, signer.public_key, scheme=signer.scheme)
    return ring


@functools.cache
def softhsm() -> str:
    """Makes a token with the PIN 4711 for this process, and returns its library.

    A process initializes the library once, so its tests share the token and use labels of their own.
    """
    script = Path(__file__).parent.parent / "scripts" / "servers" / "softhsm"
    folder = tempfile.mkdtemp(prefix="edgesentry-softhsm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = subprocess.run([script, "token", folder], check=True, capture_output=True, text=True)
    os.environ["SOFTHSM2_CONF"] = f"{folder}/softhsm2.conf"
    return done.stdout.strip()


@contextmanager
def serve(ledger: str, *more: str) -> Iterator[str]:
    """Runs a service in a separate process and yields its URL. It must exit with code 0 on SIGTERM."""
    command = [
        sys.executable,
        "-m",
        "edgesentry",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--ledger",
        ledger,
        *more,
    ]
    # No test reads its log.
    quiet = {**os.environ, "RUST_LOG": "off"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=quiet
    ) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert '"listening"' in line, line
            yield json.loads(line)["fields"]["url"]
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


def payload_path(record: AuditRecord) -> str:
    """Returns the path of a record's payload in a directory, see docs/how-to/ingest.md."""
    plain = set(string.ascii_letters + string.digits + "_-")
    device = "".join(
        chr(byte) if chr(byte) in plain else f"!{byte:02x}" for byte in record.device_id.encode()
    )
    return f"devices/{device}/{record.sequence // 10_000}/{record.sequence}-{record.payload_hash.hex()}"


def place_payloads(folder: Path, records: Iterable[AuditRecord], payloads: Mapping[str, bytes]) -> None:
    """Stores, for each record, the payload of its object reference in a directory."""
    shutil.rmtree(folder / "devices", ignore_errors=True)
    named = {payload_path(one): payloads[one.object_ref] for one in records if one.object_ref in payloads}
    write_payloads(named, folder)


def envelope(*arguments: str | Path, exit_code: int = 0, stdin: bytes | None = None) -> dict[str, Any]:
    """Runs a command and returns its envelope."""
    command = [sys.executable, "-m", "edgesentry", "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, input=stdin)
    assert done.returncode == exit_code, done.stdout + done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made
