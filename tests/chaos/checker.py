"""Checks at the end of a schedule: acknowledgements, heads that an auditor has seen, payloads."""

from __future__ import annotations

import base64
import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arena import EDS, Arena
from edgesentry import AuditRecord, read_records


@dataclass
class Claims:
    """The records that the devices signed, and the acknowledged ones, from their journals."""

    signed: dict[str, AuditRecord] = field(default_factory=dict)
    payloads: dict[str, bytes] = field(default_factory=dict)
    # Hashes of acknowledged records, by device and sequence.
    acknowledged: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def read(self, device: str, journal: Path) -> None:
        """Reads the journal of a device."""
        hashes: dict[int, list[str]] = {}
        acked = 0
        for line in journal.read_bytes().splitlines():
            entry = json.loads(line)
            if "record" in entry:
                record = AuditRecord.from_dict(entry["record"])
                name = record.hash().hex()
                self.signed[name] = record
                self.payloads[name] = base64.b64decode(entry["payload"])
                hashes.setdefault(record.sequence, []).append(name)
            elif "acked" in entry:
                acked = max(acked, entry["acked"])
            elif "won" in entry:
                self.acknowledged.setdefault((device, entry["sequence"]), set()).add(entry["won"])
            elif "lost" in entry:
                if entry["reason"] != "fork":
                    self.faults.append(
                        f"{device} {entry['sequence']}: a twin was rejected as {entry['reason']}"
                    )
            elif "rejected" in entry:
                fault = f"{device}: an honest record was rejected: {entry['rejected']}"
                if fault not in self.faults:
                    self.faults.append(fault)
        for sequence in range(1, acked + 1):
            signed = hashes.get(sequence, [])
            if len(signed) != 1:
                self.faults.append(
                    f"{device} {sequence}: the outbox has signed {len(signed)} records for one place"
                )
            self.acknowledged.setdefault((device, sequence), set()).update(signed)


def check(arena: Arena, snapshots: list[Path]) -> tuple[list[str], Claims]:
    """Returns every violation, and the journals of the devices."""
    claims = Claims()
    for device in arena.schedule.devices:
        claims.read(device.name, arena.journal(device.name))
    settings = arena.folder / "stores.toml"
    export = arena.folder / "final.ndjson"
    done = eds("export", "--config", settings, "-o", export)
    if done.returncode != 0:
        return [*claims.faults, f"the ledger cannot be exported: {done.stderr}"], claims
    ledger = Ledger(read_records(export))
    faults = [*claims.faults, *ledger.faults, *ledger.against(claims)]
    for path in snapshots:
        faults += [f"{path.name}: {fault}" for fault in ledger.against_heads(heads(path))]
    faults += operation_log(settings, ledger)
    command = [
        "verify-chain",
        "--config",
        settings,
        "--ledger",
        "--payload-store",
        "--keys",
        arena.folder / "keys.json",
    ]
    if snapshots:
        command += ["--heads", highest_heads(arena.folder / "heads-known.json", snapshots)]
    done = eds(*command, "--require", "signatures,payloads")
    if done.returncode != 0:
        faults.append(f"the ledger does not verify ({done.returncode}): {done.stdout}{done.stderr}")
    return faults, claims


class Ledger:
    """Returns the hashes of the records of a ledger by device and sequence."""

    def __init__(self, records: Iterable[AuditRecord]) -> None:
        self.places: dict[tuple[str, int], str] = {}
        self.faults: list[str] = []
        for record in records:
            place, name = (record.device_id, record.sequence), record.hash().hex()
            if place in self.places:
                self.faults.append(f"{place}: fork in the ledger: {self.places[place]} and {name}")
            self.places[place] = name

    def against(self, claims: Claims) -> Iterator[str]:
        """Returns contradictions to the journals of the devices."""
        for place, name in self.places.items():
            if name not in claims.signed:
                yield f"{place}: no device has signed {name}"
        for place, names in claims.acknowledged.items():
            if len(names) > 1:
                yield f"{place}: fork: acknowledged were {sorted(names)}"
            if self.places.get(place) not in names:
                yield f"{place}: acknowledged was {sorted(names)}, in the ledger is {self.places.get(place)}"

    def against_heads(self, known: dict[str, dict[str, Any]]) -> Iterator[str]:
        """Returns the heads of a snapshot that are not in the ledger."""
        for device, head in known.items():
            found = self.places.get((device, head["sequence"]))
            if found != head["hash"]:
                yield f"the auditor knows {device} {head['sequence']} {head['hash']}, the ledger has {found}"


def heads(path: Path) -> dict[str, dict[str, Any]]:
    """Returns the heads of a snapshot."""
    content = json.loads(path.read_text())
    known: dict[str, dict[str, Any]] = content.get("heads", content)
    return known


def highest_heads(path: Path, snapshots: list[Path]) -> Path:
    """Returns one snapshot with the highest head of each chain in any of them."""
    content = json.loads(snapshots[-1].read_text())
    known: dict[str, dict[str, Any]] = content.get("heads", content)
    for snapshot in snapshots:
        for device, head in heads(snapshot).items():
            if device not in known or known[device]["sequence"] < head["sequence"]:
                known[device] = head
    path.write_text(json.dumps(content))
    return path


def operation_log(settings: Path, ledger: Ledger) -> list[str]:
    """Returns records without exactly one acceptance in the operation log."""
    places = ledger.places
    accepted: Counter[tuple[str, int]] = Counter()
    after = 0
    while True:
        done = eds(
            *("log", "--config", settings, "--outcome", "accepted"),
            *("--after", str(after), "--limit", "10000", "--json"),
        )
        if done.returncode != 0:
            return [f"the operation log cannot be read: {done.stderr}"]
        entries = json.loads(done.stdout)["log"]["entries"]
        if not entries:
            break
        after = entries[-1]["id"]
        accepted.update((entry["device_id"], entry["sequence"]) for entry in entries)
    return [
        f"{place}: accepted {accepted[place]} times says the operation log, in the ledger: {place in places}"
        for place in sorted({*accepted, *places})
        if accepted[place] != int(place in places)
    ]


def eds(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a command, bypassing all faults."""
    command = [str(EDS), *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)
