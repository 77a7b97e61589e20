"""Chains for the tests."""

from __future__ import annotations

import os
import shutil
import string
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgesentry import AuditRecord, Device, KeyRing, Scheme
from edgesentry.testing import write_payloads

EXPORTS = Path(__file__).parent / "vectors" / "exports"
START_MS = 1_700_000_000_000


def device(number: int, scheme: Scheme = "record") -> Device:
    """A device whose seed follows from its number."""
    return Device.from_seed(f"lift-{number:02}", bytes([number] * 32), scheme=scheme)


def chains(devices: Iterable[Device], records: int) -> list[AuditRecord]:
    """The interleaved chains of some devices, so many records each."""
    devices = list(devices)
    return list(_sign(devices, records))


def payload(record: AuditRecord) -> bytes:
    """What `chains` gives this record to commit to."""
    return f"{record.device_id} {record.sequence}".encode()


def _sign(devices: list[Device], records: int) -> Iterator[AuditRecord]:
    for _ in range(records):
        for signer in devices:
            number = signer.head.sequence + 1 if signer.head else 1
            content = f"{signer.device_id} {number}".encode()
            reference = f"{signer.device_id}/{number}.bin"
            yield signer.sign(content, reference, START_MS + 1000 * number)


def key_ring(devices: Iterable[Device]) -> KeyRing:
    """The keys of some devices."""
    ring = KeyRing()
    for signer in devices:
        ring.add(signer.device_id, signer.public_key, scheme=signer.scheme)
    return ring


@contextmanager
def serve(ledger: str, *more: str) -> Iterator[str]:
    """A service in a process of its own; its URL. It must end well when it is asked to."""
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
    # Nobody reads what it would log.
    quiet = {**os.environ, "RUST_LOG": "off"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=quiet
    ) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert line.startswith("listening on http://"), line
            yield line.removeprefix("listening on ").split(",")[0]
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


def payload_path(record: AuditRecord) -> str:
    """Where a folder keeps the payload of a record, see docs/how-to/ingest.md."""
    plain = set(string.ascii_letters + string.digits + "_-")
    device = "".join(
        chr(byte) if chr(byte) in plain else f"!{byte:02x}" for byte in record.device_id.encode()
    )
    return f"devices/{device}/{record.sequence // 10_000}/{record.sequence}-{record.payload_hash.hex()}"


def place_payloads(folder: Path, records: Iterable[AuditRecord], payloads: Mapping[str, bytes]) -> None:
    """Makes a folder of payloads hold, for each record, the payload that its object reference names."""
    shutil.rmtree(folder / "devices", ignore_errors=True)
    named = {payload_path(one): payloads[one.object_ref] for one in records if one.object_ref in payloads}
    write_payloads(named, folder)
