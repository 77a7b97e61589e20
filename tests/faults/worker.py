"""The processes of the fault tests. They print each acknowledgement at once.

    worker.py JOB FOLDER [URL TOKEN POLICY]

A failed call is repeated a limited number of times: a single failure must not block it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import edgesentry
from edgesentry import (
    Client,
    Device,
    EdgesentryError,
    KeyRing,
    Ledger,
    Outbox,
    Policy,
    read_records,
    write_heads,
    write_records,
)

T = TypeVar("T")

ATTEMPTS = 3


def say(*words: object) -> None:
    print(*words, flush=True)


def persist(call: Callable[[], T]) -> T:
    """Makes a call until it succeeds."""
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except (EdgesentryError, OSError) as error:
            say("error", type(error).__name__, getattr(error, "retryable", None), error)
            if attempt + 1 == ATTEMPTS:
                sys.exit(3)
    raise AssertionError


def open_ledger(folder: Path) -> Ledger:
    layout = "packs" if (folder / "in-packs").exists() else "folder"
    payloads = None if (folder / "in-ledger").exists() else f"{layout}:{folder / 'payloads'}"
    return persist(lambda: edgesentry.open(folder / "ledger.db", payloads))


def ingest(folder: Path) -> None:
    """Ingests records one by one, then the rest at once."""
    records = list(read_records(folder / "input" / "records.ndjson"))
    pairs = [(record, (folder / "input" / record.object_ref).read_bytes()) for record in records]
    half = len(pairs) // 2
    with open_ledger(folder) as ledger:
        waiting = [[pair] for pair in pairs[:half]] + [pairs[half:]]
        for batch in waiting:
            for attempt in range(ATTEMPTS):
                outcomes = ledger.ingest_many(batch)
                for outcome in outcomes:
                    say(
                        outcome.outcome, outcome.device_id, outcome.sequence, outcome.retryable, outcome.error
                    )
                if outcomes.ok:
                    break
                if attempt + 1 == ATTEMPTS:
                    sys.exit(3)


def register(folder: Path) -> None:
    """Creates a ledger with devices and their first records."""
    keys = KeyRing(folder / "input" / "keys.json")
    with open_ledger(folder) as ledger:
        for device_id in keys.devices:
            [key] = keys.keys(device_id)
            persist(partial(ledger.register_device, device_id, key["key"], scheme=key["scheme"]))
            say("registered", device_id)
    ingest(folder)


def sign(folder: Path) -> None:
    """Signs records into an outbox; prints each signed one."""
    device = Device.from_seed("lift-01", bytes([1] * 32))
    outbox = persist(lambda: Outbox(folder / "outbox.db", device))
    for number in range(4):
        record = persist(partial(outbox.sign, bytes([number]), f"lift-01/{number}", number))
        say("signed", json.dumps(record.to_dict()))
    outbox.close()


def flush(folder: Path) -> None:
    """Flushes an outbox into a ledger."""
    device = Device.from_seed("lift-01", bytes([1] * 32))
    outbox = persist(lambda: Outbox(folder / "outbox.db", device))
    with open_ledger(folder) as ledger:
        flushed = persist(lambda: outbox.flush(ledger))
        say("flushed", json.dumps(flushed))
    outbox.close()


def receipts(folder: Path) -> None:
    """Flushes an outbox that requires receipts into a service."""
    url, token, policy = sys.argv[3:]
    device = Device.from_seed("lift-01", bytes([1] * 32), scheme="record")
    required = partial(Outbox, receipts="required", policy=Policy(policy))
    outbox = persist(lambda: required(folder / "outbox", device))
    with Client(url, token=token) as client:
        say("flushed", json.dumps(persist(lambda: outbox.flush(client))))
    outbox.close()


def outputs(folder: Path) -> None:
    """Writes the files that Python writes."""
    records = list(read_records(folder / "input" / "records.ndjson"))
    report = edgesentry.verify_chain(records)
    device = Device.from_seed("lift-01", bytes([1] * 32))
    jobs: dict[str, Callable[[], object]] = {
        "copy.parquet": lambda: write_records(records, folder / "copy.parquet"),
        "heads.json": lambda: write_heads(report, folder / "heads.json"),
        "keys.json": lambda: KeyRing(folder / "input" / "keys.json").save(folder / "keys.json"),
        "seed": lambda: device.save_seed(folder / "seed"),
    }
    for name, job in jobs.items():
        persist(job)
        say("wrote", name)


JOBS = {job.__name__: job for job in (ingest, register, sign, flush, receipts, outputs)}

if __name__ == "__main__":
    JOBS[sys.argv[1]](Path(sys.argv[2]))
