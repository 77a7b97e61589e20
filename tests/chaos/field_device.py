"""A device in the field, in a process that may be killed at any time: `field_device.py SENDER OPTIONS`.

It signs records, sends them, and keeps a journal of signed and acknowledged records.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import select
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgesentry import AuditRecord, Client, Device, EdgesentryError, Outbox

ATTEMPTS = 2
TIMEOUT_S = 2


@dataclass(frozen=True)
class Options:
    """The location of the device and the services that it sends to."""

    device: str
    seed: Path
    folder: Path
    journal: Path
    urls: list[str]
    eds: str
    stop: Path


class Journal:
    """The journal of the device. A written line survives the end of the process."""

    def __init__(self, path: Path) -> None:
        # A kill may have cut off the last line; ignore it.
        if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
            path.write_bytes(content[: content.rfind(b"\n") + 1])
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def entries(self) -> Iterator[dict[str, object]]:
        """Returns all lines so far."""
        return iter([json.loads(line) for line in self.path.read_bytes().splitlines()])

    def write(self, **entry: object) -> None:
        """Adds a line."""
        os.write(self._file, json.dumps(entry).encode() + b"\n")

    def signed(self, record: AuditRecord, payload: bytes) -> None:
        """Records a signed record."""
        fields = {**record.to_dict()}
        self.write(signed=record.sequence, record=fields, payload=base64.b64encode(payload).decode())

    def note(self, what: str) -> None:
        """Writes a message for readers, with its time."""
        self.write(note=what, at_s=time.monotonic())


def payload_of(chance: random.Random) -> bytes:
    """Returns an observation: mostly small, sometimes several pages."""
    return chance.randbytes(chance.choice((0, 10, 300, 3000, 40_000)))


def pause(chance: random.Random) -> None:
    """Waits a little. time.sleep() fails when libfaketime steps the clock."""
    select.select([], [], [], chance.uniform(0.01, 0.08))


def send_outbox(options: Options, journal: Journal, *, by_command: bool) -> None:
    """Signs into an outbox and sends from it."""
    chance = random.Random()
    path = options.folder / "outbox"
    # Devices begin at different nodes.
    turn = int(options.device.rpartition("-")[2])
    while True:
        try:
            # Before the outbox is opened: two copies of SQLite in one process release each other's locks.
            journal_waiting(path, options.device, journal)
            with Outbox(path, Device.from_seed_file(options.device, options.seed)) as outbox:
                while True:
                    draining = options.stop.exists()
                    for _ in range(0 if draining else chance.randint(1, 4)):
                        payload = payload_of(chance)
                        number = outbox.head.sequence + 1 if outbox.head else 1
                        journal.signed(outbox.sign(payload, f"{options.device}/{number}.bin"), payload)
                    url = options.urls[turn % len(options.urls)]
                    rejection = push(url, path, options) if by_command else flush(url, outbox)
                    if rejection is not None:
                        journal.write(rejected=rejection)
                    head = outbox.head.sequence if outbox.head else 0
                    journal.write(acked=head - outbox.waiting)
                    if draining and (outbox.waiting == 0 or rejection is not None):
                        return
                    pause(chance)
        except (EdgesentryError, sqlite3.OperationalError) as error:
            journal.note(f"{type(error).__name__}: {error}")
            turn += 1
            pause(chance)


def journal_waiting(path: Path, device_id: str, journal: Journal) -> None:
    """Records signed records that are missing from the journal after a kill or an error."""
    if not path.exists():
        return
    noted = {entry["signed"] for entry in journal.entries() if "signed" in entry}
    with closing(sqlite3.connect(path, timeout=30)) as outbox:
        present = outbox.execute("SELECT 1 FROM sqlite_master WHERE name = 'waiting'").fetchone()
        outbox.row_factory = sqlite3.Row
        for row in outbox.execute("SELECT * FROM waiting ORDER BY sequence") if present else []:
            if row["sequence"] not in noted:
                fields = {"device_id": device_id, **row}
                payload = fields.pop("payload")
                journal.signed(AuditRecord.from_dict(fields), payload)


def flush(url: str, outbox: Outbox) -> object:
    """Sends by the Python client; returns the rejection, if there is one."""
    with Client(url, timeout=TIMEOUT_S, attempts=ATTEMPTS) as client:
        return outbox.flush(client).get("rejection")


def push(url: str, path: Path, options: Options) -> object:
    """Sends by the command; returns the rejection, if there is one."""
    command: list[str | Path] = [
        options.eds,
        "push",
        "--url",
        url,
        "--outbox",
        path,
        "--device",
        options.device,
    ]
    command += ["--key", options.seed, "--timeout", str(TIMEOUT_S), "--attempts", str(ATTEMPTS), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1, 3):
        raise AssertionError(f"eds push ended with {done.returncode}: {done.stderr}")
    answer = json.loads(done.stdout)
    if done.returncode == 3:
        raise EdgesentryError(str(answer.get("error", answer)))
    return answer["push"]["rejection"]


def send_twins(options: Options, journal: Journal) -> None:
    """Signs two records for each sequence of the chain and sends both at once: one may be accepted."""
    chance = random.Random()
    head, pair = resume(journal)
    device = Device.from_seed_file(options.device, options.seed)
    with ThreadPoolExecutor(2) as threads:
        while True:
            if not pair:
                if options.stop.exists():
                    return
                for twin in (1, 2):
                    payload = b"%d " % twin + payload_of(chance)
                    record = device.resume(head).sign(payload, f"{options.device}/twin-{twin}")
                    pair.append((record, payload))
                    journal.signed(record, payload)
            urls = [options.urls[(chance.randrange(2) + twin) % len(options.urls)] for twin in (0, 1)]
            outcomes = list(threads.map(lambda url, sent: send(url, *sent), urls, pair))
            decided = [outcome for outcome in outcomes if outcome is not None]
            for (record, _), outcome in zip(pair, outcomes, strict=True):
                if outcome in ("accepted", "duplicate"):
                    journal.write(won=record.hash().hex(), sequence=record.sequence)
                    head = record
                elif outcome is not None:
                    journal.write(lost=record.hash().hex(), sequence=record.sequence, reason=outcome)
            if len(decided) == 2:
                pair = []
            pause(chance)


def send(url: str, record: AuditRecord, payload: bytes) -> str | None:
    """Sends one record; returns its status or reason, `None` if it is undecided."""
    try:
        with Client(url, timeout=TIMEOUT_S, attempts=ATTEMPTS) as client:
            outcome = client.ingest(record, payload)
    except EdgesentryError:
        return None
    if outcome.outcome == "error":
        return None
    return outcome.reason or outcome.outcome


def resume(journal: Journal) -> tuple[AuditRecord | None, list[tuple[AuditRecord, bytes]]]:
    """Returns the last acknowledged record, and the next pair if it was signed."""
    signed: dict[int, list[tuple[AuditRecord, bytes]]] = {}
    won: dict[int, str] = {}
    for entry in journal.entries():
        if "record" in entry:
            record = AuditRecord.from_dict(entry["record"])  # type: ignore[arg-type]
            signed.setdefault(record.sequence, []).append((record, base64.b64decode(str(entry["payload"]))))
        elif "won" in entry:
            won[int(str(entry["sequence"]))] = str(entry["won"])
    last = max(won, default=0)
    head = next((record for record, _ in signed.get(last, []) if record.hash().hex() == won[last]), None)
    # Nothing is sent before the journal has both; a single one after a kill was not sent.
    pair = signed.get(last + 1, [])[-2:]
    return head, pair if len(pair) == 2 else []


def main() -> None:
    """Runs until the stop file exists and everything is sent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sender", choices=["outbox", "push", "twins"])
    parser.add_argument("--device", required=True)
    for path in ("seed", "folder", "journal", "stop"):
        parser.add_argument(f"--{path}", required=True, type=Path)
    parser.add_argument("--eds", required=True)
    parser.add_argument("--url", dest="urls", action="append", required=True)
    arguments = vars(parser.parse_args())
    sender = arguments.pop("sender")
    options = Options(**arguments)
    journal = Journal(options.journal)
    if sender == "twins":
        send_twins(options, journal)
    else:
        send_outbox(options, journal, by_command=sender == "push")


if __name__ == "__main__":
    main()
