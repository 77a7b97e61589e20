"""Every system call that changes a file fails once: acknowledged records stay, and a retry is accepted.

A scene is a directory, a process that works in it, and a check of the directory afterwards. The short form
strikes a sample of its calls; `make soak` strikes every one.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from striking import ACTIONS, EVERY, HERE, ROOT, SEED, Action, Struck, numbers, run

import edgesentry
from edgesentry import (
    AuditRecord,
    Device,
    KeyRing,
    Outbox,
    read_heads,
    read_records,
    update,
    verify_bundle,
    verify_chain,
    write_records,
)
from support import chains, device, key_ring, payload
from test_receipts import TOKEN, Logged, client, kept, logged

__all__ = ["logged"]

# Calls of a scene that are struck with one action in the short form.
SAMPLE = 3
EDS = ROOT / "target" / "release" / "eds"
DEVICES = [device(1), device(2)]
RECORDS = chains(DEVICES, 6)
KEYS = key_ring(DEVICES)
# The number of records in the ledger of a template; they and their heads are trusted.
HELD = 4
WORKER = [sys.executable, str(HERE / "worker.py")]


@dataclass(frozen=True)
class Scene:
    """A process, its directory, and the check afterwards.

    Attributes:
        prepare: Fills a new directory.
        command: The process.
        check: Checks the directory after the end of the process.
    """

    prepare: Callable[[Path], None]
    command: list[str]
    check: Callable[[Path, Struck, Action], None]


def write_input(folder: Path) -> None:
    source = folder / "input"
    source.mkdir()
    write_records(RECORDS, source / "records.ndjson")
    KEYS.save(source / "keys.json")
    for record in RECORDS:
        path = source / record.object_ref
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(payload(record))


def pairs(records: list[AuditRecord]) -> list[tuple[AuditRecord, bytes]]:
    return [(record, payload(record)) for record in records]


def open_ledger(folder: Path) -> edgesentry.Ledger:
    layout = "packs" if (folder / "in-packs").exists() else "folder"
    payloads = None if (folder / "in-ledger").exists() else f"{layout}:{folder / 'payloads'}"
    return edgesentry.open(folder / "ledger.db", payloads)


def fill(folder: Path, records: list[AuditRecord]) -> None:
    with open_ledger(folder) as ledger:
        for signer in DEVICES:
            ledger.register_device(signer)
        assert ledger.ingest_many(pairs(records)).ok


def with_ledger(folder: Path) -> None:
    write_input(folder)
    fill(folder, RECORDS[:HELD])


def with_ledger_alone(folder: Path) -> None:
    """Payloads in the ledger."""
    (folder / "in-ledger").touch()
    with_ledger(folder)


def with_packs(folder: Path) -> None:
    """Payloads in packs."""
    (folder / "in-packs").touch()
    with_ledger(folder)


def with_new_packs(folder: Path) -> None:
    (folder / "in-packs").touch()
    write_input(folder)


def with_files_and_packs(folder: Path) -> None:
    """The first payloads in files, the others in packs."""
    with_ledger(folder)
    (folder / "in-packs").touch()
    with open_ledger(folder) as ledger:
        assert ledger.ingest_many(pairs(RECORDS)).ok


# The ledger.


def acknowledged(struck: Struck) -> set[tuple[str, int]]:
    words = [line.split() for line in struck.stdout.splitlines()]
    taken = [word for word in words if word and word[0] in ("accepted", "duplicate")]
    return {(device_id, int(sequence)) for _, device_id, sequence, *_ in taken}


def check_ledger(folder: Path, struck: Struck, action: Action) -> None:
    """Checks that everything acknowledged exists and verifies, and everything sent again is accepted."""
    if action.passes:
        assert struck.code == 0, struck
    said = acknowledged(struck)
    with open_ledger(folder) as ledger:
        for signer in DEVICES:
            # It is a change only if the process was to register them.
            ledger.register_device(signer)
        held = {(record.device_id, record.sequence) for record in ledger.records()}
        assert said <= held, struck
        if held:
            assert ledger.verify(keys=KEYS, payloads=True).ok, struck
        for record in ledger.records():
            assert ledger.payload(record.object_ref) == payload(record), struck
        logged = ledger.operation_log(outcome="accepted")
        # Acknowledged or not: the ledger has a record and its entry, or neither.
        assert {(entry["device_id"], entry["sequence"]) for entry in logged} == held, struck
        outcomes = ledger.ingest_many(pairs(RECORDS))
        assert outcomes.ok, (outcomes, struck)
        report = ledger.verify(keys=KEYS, payloads=True)
        assert report.ok, struck
        assert report.coverage.records == len(RECORDS)


def check_command(folder: Path, struck: Struck, action: Action) -> None:
    """Like `check_ledger`; the command repeats no call, and reports its failure."""
    if struck.code not in (0, 137):
        envelope = json.loads(struck.stdout)
        assert struck.code == 3, struck
        assert envelope["error"]["code"] in ("store", "io"), struck
    check_ledger(folder, Struck(0, 0, struck.struck, "", struck.stderr), action)


# Exports and heads.


def check_nothing_left(folder: Path, struck: Struck) -> None:
    """Only a killed process, or one that may not remove it, leaves a partial file."""
    left = [path.name for path in folder.iterdir() if path.name.endswith(".part")]
    assert not left or struck.code == 137 or " unlink" in struck.struck[0], struck


def check_whole(folder: Path, name: str, before: bytes, struck: Struck, late: tuple[str, ...] = ()) -> None:
    """Checks that a file is unchanged if the process failed; callers check that it is complete.

    The exception is a call after the file has its name: the one that makes the name durable, and `late`.
    """
    check_nothing_left(folder, struck)
    if struck.code not in (0, 137):
        _, call, path = struck.struck[0].split(" ", 2)
        is_late = call in late or (call == "fsync" and Path(path) == folder)
        assert is_late or (folder / name).read_bytes() == before, struck


def with_export(folder: Path) -> None:
    with_ledger(folder)
    with open_ledger(folder) as ledger:
        ledger.export(folder / "export.ndjson.zst")
        assert ledger.ingest_many(pairs(RECORDS)).ok
    shutil.copytree(folder, folder.parent / "old", dirs_exist_ok=True)


def old(folder: Path, name: str) -> bytes:
    return (folder.parent / "old" / name).read_bytes()


def check_export(folder: Path, struck: Struck, action: Action) -> None:
    file, manifest = "export.ndjson.zst", "export.ndjson.zst.manifest.json"
    # Of two files one gets its name first.
    check_whole(folder, file, old(folder, file), struck, late=("rename", "renameat", "renameat2"))
    found = (folder / file).read_bytes()
    report = verify_chain(folder / file, keys=KEYS)
    assert report.ok, struck
    assert report.coverage.records == (HELD if found == old(folder, file) else len(RECORDS)), struck
    described = (
        json.loads((folder / manifest).read_bytes())["records"] if (folder / manifest).exists() else None
    )
    if struck.code == 0:
        assert described == report.coverage.records == len(RECORDS), struck
    elif struck.code == 137:
        # Killed between the two renames: verification reports that they do not belong together.
        assert described in (HELD, len(RECORDS)), struck
        checked = run([EDS, "verify-chain", file, "--manifest", manifest], folder)
        belong = described == report.coverage.records
        assert checked.code == (0 if belong else 3), struck
        assert belong or "is not the file that was exported" in checked.stdout + checked.stderr, checked
    else:
        # An error never leaves the manifest of another export.
        assert described in (report.coverage.records, None), struck
        assert described is not None or "without a manifest" in struck.stderr, struck
    # Leftover files do not block the next export.
    again = run([EDS, "export", "--ledger", "ledger.db", "-o", file], folder)
    assert again.code == 0, again
    assert run([EDS, "verify-chain", file, "--manifest", manifest], folder).code == 0


def with_heads(folder: Path) -> None:
    with_ledger(folder)
    heads = run([EDS, "heads", "--ledger", "ledger.db", "-o", "heads.json"], folder)
    assert heads.code == 0, heads
    with open_ledger(folder) as ledger:
        assert ledger.ingest_many(pairs(RECORDS)).ok
    shutil.copytree(folder, folder.parent / "old", dirs_exist_ok=True)


def check_heads(folder: Path, struck: Struck, action: Action) -> None:
    check_whole(folder, "heads.json", old(folder, "heads.json"), struck)
    sequences = {head.sequence for head in read_heads(folder / "heads.json").values()}
    assert sequences in ({HELD // 2}, {len(RECORDS) // 2}), struck
    assert struck.code != 0 or sequences == {len(RECORDS) // 2}, struck
    again = run([EDS, "heads", "--ledger", "ledger.db", "-o", "heads.json"], folder)
    assert again.code == 0, again


LOG = '[log]\norigin = "log.example/lifts"\nkey = "log.seed"\n'


BUNDLE = ("bundle", "-o", "case.tar", "--page", "case.html", "--config", "eds.toml")


def with_bundle(folder: Path) -> None:
    """A ledger with a signed log, and an earlier bundle of one record with its page."""
    with_ledger(folder)
    (folder / "eds.toml").write_text(f'ledger = "sqlite:ledger.db"\n{LOG}')
    opened = run([EDS, "--json", "checkpoint", "init", "--config", "eds.toml"], folder)
    key = json.loads(opened.stdout)["checkpoint"]["verifier_key"]
    (folder / "policy").write_text(f"log {key}\nquorum none\n")
    signed = run([EDS, "checkpoint", "--config", "eds.toml"], folder)
    assert signed.code == 0, signed
    one = run([EDS, *BUNDLE, "--record", "lift-01:1"], folder)
    assert one.code == 0, one
    shutil.copytree(folder, folder.parent / "old", dirs_exist_ok=True)


def check_bundle(folder: Path, struck: Struck, action: Action) -> None:
    # The bundle gets its name first; it is complete even if the page is not written.
    name = "case.html" if "case.html" in struck.stderr else "case.tar"
    check_whole(folder, name, old(folder, name), struck)
    page = (folder / "case.html").read_text(encoding="utf-8")
    carried = base64.b64decode(page.partition('id="carried">')[2].partition("<")[0])
    for bundle in (folder / "case.tar", carried):
        report = verify_bundle(bundle, policy=folder / "policy", keys=KEYS)
        assert report.ok, struck
        assert report.coverage.records in (1, HELD), struck
        assert struck.code != 0 or report.coverage.records == HELD, struck
    again = run([EDS, *BUNDLE], folder)
    assert again.code == 0, again


READERS: dict[str, Callable[[Path], bool]] = {
    "copy.parquet": lambda path: list(read_records(path)) == RECORDS,
    "heads.json": lambda path: read_heads(path) == verify_chain(RECORDS).heads,
    "keys.json": lambda path: KeyRing(path) == KEYS,
    "seed": lambda path: Device.from_seed_file("lift-01", path).public_key == DEVICES[0].public_key,
}


def check_outputs(folder: Path, struck: Struck, action: Action) -> None:
    if action.passes:
        assert struck.code == 0, struck
    written = {line.split()[1] for line in struck.stdout.splitlines() if line.startswith("wrote ")}
    check_nothing_left(folder, struck)
    for name, is_whole in READERS.items():
        path = folder / name
        # The file is complete or does not exist.
        assert name not in written or path.exists(), struck
        assert not path.exists() or is_whole(path), (name, struck)


# Erasure.


ERASE = ("--json", "erase", "lift-01", "1", "--reason", "request 7", "--config", "eds.toml")


def with_log(folder: Path) -> None:
    """A ledger with a transparency log, and payloads in a directory."""
    with_ledger(folder)
    (folder / "eds.toml").write_text(f'ledger = "ledger.db"\npayloads = "folder:payloads"\n{LOG}')
    for command in (["init"], []):
        done = run([EDS, "checkpoint", *command, "--config", "eds.toml"], folder)
        assert done.code == 0, done


def with_log_alone(folder: Path) -> None:
    """The same with payloads in the ledger."""
    (folder / "in-ledger").touch()
    with_log(folder)
    settings = folder / "eds.toml"
    settings.write_text(settings.read_text().replace("folder:payloads", "ledger"))


def with_log_and_packs(folder: Path) -> None:
    """The same with payloads in packs."""
    (folder / "in-packs").touch()
    with_log(folder)
    settings = folder / "eds.toml"
    settings.write_text(settings.read_text().replace("folder:payloads", "packs:payloads"))


def check_packed_erasure(folder: Path, struck: Struck, action: Action) -> None:
    """Like `check_erasure`; no file has the bytes any more."""
    check_erasure(folder, struck, action)
    erased = payload(RECORDS[0])
    files = [path for path in (folder / "payloads").rglob("*") if path.is_file()]
    assert all(erased not in path.read_bytes() for path in files), struck


def check_unpacked(folder: Path, struck: Struck, action: Action) -> None:
    """Every payload is there, in a pack or in a file, and the same command finishes."""
    if struck.code not in (0, 137):
        assert json.loads(struck.stdout)["error"]["code"] == "store", struck
    for _ in range(2):
        with open_ledger(folder) as ledger:
            assert ledger.verify(keys=KEYS, payloads=True).ok, struck
        again = run([EDS, "--json", "unpack", "payloads"], folder)
        assert again.code == 0, (again, struck)
    assert not list((folder / "payloads" / ".packs").glob("*.pack")), struck
    assert len(list((folder / "payloads" / "devices").rglob("*-*"))) == len(RECORDS) + 2, struck


def check_erasure(folder: Path, struck: Struck, action: Action) -> None:
    """The payload is there or the log erases it, and the same command finishes and reports the same."""
    if struck.code not in (0, 137):
        envelope = json.loads(struck.stdout)
        assert struck.code in (2, 3), struck
        assert "payload_missing" not in envelope["error"]["message"], struck
    first, again = (run([EDS, *ERASE], folder) for _ in range(2))
    assert (first.code, again.code) == (0, 0), (first, again, struck)
    erasure = json.loads(again.stdout)["erasure"]
    assert json.loads(first.stdout)["erasure"] == erasure, struck
    assert (erasure["state"], erasure["versions"]) == ("erased", 1), struck
    status = run([EDS, "--json", "checkpoint", "status", "--config", "eds.toml"], folder)
    assert status.code == 0, (status, struck)
    assert json.loads(status.stdout)["checkpoint"]["erasures_open"] == 0, struck
    with open_ledger(folder) as ledger:
        held = {record.sequence: ledger.payload(record) for record in ledger.records(devices="lift-01")}
        assert held.pop(1) is None, struck
        others = [
            record for record in RECORDS[:HELD] if record.device_id == "lift-01" and record.sequence > 1
        ]
        assert held == {record.sequence: payload(record) for record in others}, struck
        assert ledger.verify(keys=KEYS).ok, struck


# A witness.


COSIGN = ("--json", "witness", "cosign", "request", "--config", "witness.toml")


def with_witness(folder: Path) -> None:
    """A witness that has cosigned a checkpoint of a log, and a request for the next one."""
    with_ledger(folder)
    settings = 'state = "sqlite:witness.db"\nkey = "witness.seed"\nname = "w.example"\nlogs = "policy"\n'
    (folder / "witness.toml").write_text(f"[witness]\n{settings}")
    made = run([EDS, "--json", "witness", "init", "--config", "witness.toml"], folder)
    witness = json.loads(made.stdout)["witness"]["verifier_key"]
    (folder / "eds.toml").write_text(f'ledger = "sqlite:ledger.db"\n{LOG}')
    opened = run([EDS, "--json", "checkpoint", "init", "--config", "eds.toml"], folder)
    log = json.loads(opened.stdout)["checkpoint"]["verifier_key"]
    (folder / "policy").write_text(f"log {log}\nwitness w {witness}\nquorum w\n")
    (folder / "eds.toml").write_text(f'ledger = "sqlite:ledger.db"\n{LOG}policy = "policy"\n')
    signed = run([EDS, "checkpoint", "--config", "eds.toml"], folder)
    assert signed.code == 3, signed
    request = run([EDS, "checkpoint", "request", "w", "--config", "eds.toml"], folder)
    (folder / "request").write_text(request.stdout)
    # SQLite deletes a WAL with commits if it can only read the index beside it: the state begins without one.
    with closing(sqlite3.connect(folder / "witness.db")) as state:
        state.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def check_witness(folder: Path, struck: Struck, action: Action) -> None:
    """The state has the cosignature or not; the request then gives one, and the same again."""
    lines = [run([EDS, *COSIGN], folder) for _ in range(2)]
    assert [line.code for line in lines] == [0, 0], (lines, struck)
    first, again = (json.loads(line.stdout)["witness"]["cosignature"] for line in lines)
    assert first == again, struck
    if struck.code == 0:
        assert json.loads(struck.stdout)["witness"]["cosignature"] == first, struck


# The monitor of a log.


MONITOR = (
    "--json",
    "monitor",
    "folder:ledger.db.log/log",
    "--policy",
    "policy",
    "--state",
    "state.db",
    "--once",
)


def with_monitored(folder: Path) -> None:
    """A log that a monitor has verified, and that has grown since then."""
    with_log(folder)
    init = run([EDS, "--json", "checkpoint", "init", "--config", "eds.toml"], folder)
    key = json.loads(init.stdout)["checkpoint"]["verifier_key"]
    (folder / "policy").write_text(f"log {key}\nquorum none\n")
    done = run([EDS, *MONITOR], folder)
    assert done.code == 0, done
    with open_ledger(folder) as ledger:
        ledger.register_device(device(3))
    done = run([EDS, "checkpoint", "--config", "eds.toml"], folder)
    assert done.code == 0, done


def check_monitor(folder: Path, struck: Struck, action: Action) -> None:
    """A fault of the disk is never a finding, and the same command verifies the log afterwards."""
    assert struck.code in (0, 2, 3, 137), struck
    done = run([EDS, *MONITOR], folder)
    assert done.code == 0, (done, struck)
    monitored = json.loads(done.stdout)["monitor"]
    assert (monitored["outcome"], monitored["findings"]) == ("verified", []), (monitored, struck)
    checkpoint = (folder / "ledger.db.log/log/checkpoint").read_text().splitlines()
    assert (monitored["verified"]["size"], monitored["verified"]["root"]) == (
        int(checkpoint[1]),
        checkpoint[2],
    ), struck


# The outbox.


def with_outbox(folder: Path) -> None:
    """Two records wait, and a ledger waits for them."""
    signer = Device.from_seed("lift-01", bytes([1] * 32))
    outbox = Outbox(folder / "outbox.db", signer)
    for number in range(2):
        outbox.sign(b"before", f"lift-01/before-{number}", number)
    outbox.close()
    fill(folder, [])


def check_outbox(folder: Path, struck: Struck, action: Action) -> None:
    """The ledger gets the signed records, in one chain without a fork."""
    if action.passes:
        assert struck.code == 0, struck
    said = [line.removeprefix("signed ") for line in struck.stdout.splitlines() if line.startswith("signed ")]
    signed = [AuditRecord.from_dict(json.loads(line)) for line in said]
    outbox = Outbox(folder / "outbox.db", Device.from_seed("lift-01", bytes([1] * 32)))
    next_one = outbox.sign(b"after", "lift-01/after")
    with open_ledger(folder) as ledger:
        flushed = outbox.flush(ledger)
        assert (flushed["waiting"], flushed["rejection"]) == (0, None), (flushed, struck)
        held = list(ledger.records())
        assert set(signed) | {next_one} <= set(held), struck
        assert [record.sequence for record in held] == list(range(1, len(held) + 1)), struck
        assert ledger.verify(keys=KEYS, payloads=True).ok, struck
    outbox.close()


# Updates of devices.

UPDATE = [
    *("update", "verify", "2.manifest", "2.bin", "--trust", "trust.json", "--audit", "audit.json"),
    *("--state", "update.state", "--accept"),
]
ADD = ["update", "add-signature", "2.manifest", "--key", "other.seed"]


def with_update(folder: Path) -> None:
    """A device that has accepted version 1 of one publisher, and is to accept version 2."""
    keys = []
    for seed in ("publisher.seed", "other.seed"):
        made = run([EDS, "--json", "keygen", "--output", seed], folder)
        keys.append(json.loads(made.stdout)["key"]["public_key"])
    (folder / "trust.json").write_text(json.dumps({"name": "door", "threshold": 1, "keys": keys}))
    assert run([EDS, "update", "create-state", "update.state", "--name", "door"], folder).code == 0
    for version in ("1", "2"):
        (folder / f"{version}.bin").write_text(f"version {version}")
        what = ["update", "sign", f"{version}.bin", "--name", "door", "--version", version]
        signed = [
            *what,
            "--expires",
            "2099-01-01T00:00:00Z",
            "--key",
            "publisher.seed",
            "--output",
            f"{version}.manifest",
        ]
        assert run([EDS, *signed], folder).code == 0
    first = [argument.replace("2.", "1.") for argument in UPDATE]
    assert run([EDS, *first], folder).code == 0


def accepts(folder: Path, version: int) -> bool:
    """Whether the device accepts a version, without a change of its state."""
    arguments = [argument.replace("2.", f"{version}.") for argument in UPDATE if argument != "--accept"]
    return run([EDS, *arguments], folder).code == 0


def check_update(folder: Path, struck: Struck, action: Action) -> None:
    # The state is the one from before or after the update, never a new one.
    assert accepts(folder, 2), struck
    assert not (struck.code == 0 and accepts(folder, 1)), struck
    assert run([EDS, *UPDATE], folder).code == 0, struck
    assert not accepts(folder, 1), struck


def check_signature(folder: Path, struck: Struck, action: Action) -> None:
    check_nothing_left(folder, struck)
    # The manifest is whole, with one signature or two.
    assert accepts(folder, 2), struck
    assert run([EDS, *ADD], folder).code in (0, 2), struck
    assert accepts(folder, 2), struck


RECORDED = [*UPDATE, *("--outbox", "outbox.db", "--device", "lift-01", "--key", "lift-01.seed")]


def with_recorded_update(folder: Path) -> None:
    """The same, with the outbox of the device."""
    with_update(folder)
    signer = Device.from_seed("lift-01", bytes([1] * 32))
    signer.save_seed(folder / "lift-01.seed")
    Outbox(folder / "outbox.db", signer).close()


def check_recorded_update(folder: Path, struck: Struck, action: Action) -> None:
    """At the next start the chain has a record of version 2 if and only if the device has accepted it."""
    state = folder / "update.state"
    has_accepted = update.read_state(state).version == 2
    again = folder.with_name(f"{folder.name}-again")
    shutil.copytree(folder, again)
    with outbox_of(folder) as outbox:
        records = outbox.waiting
        assert records == 1 or not (records or has_accepted), struck
        is_completed = update.complete(state, outbox)
        assert is_completed == (records == 1 and not has_accepted), struck
    assert (update.read_state(state).version == 2) == (records == 1), struck
    assert struck.code != 0 or records == 1, struck
    # A repetition of an acceptance that was interrupted has no second record, unless it was completed before.
    is_complete = struck.code == 0 or has_accepted
    for place, most in ((again, 1 + is_complete), (folder, 1 + (is_complete or is_completed))):
        assert run([EDS, *RECORDED], place).code == 0, struck
        with outbox_of(place) as outbox:
            assert 1 <= outbox.waiting <= most, struck
    shutil.rmtree(again)


def outbox_of(folder: Path) -> Outbox:
    return Outbox(folder / "outbox.db", Device.from_seed("lift-01", bytes([1] * 32)))


def eds(*arguments: str) -> list[str]:
    return [str(EDS), *arguments]


SCENES = {
    "ingest": Scene(with_ledger, [*WORKER, "ingest", "."], check_ledger),
    "ingest-in-ledger": Scene(with_ledger_alone, [*WORKER, "ingest", "."], check_ledger),
    "ingest-in-packs": Scene(with_packs, [*WORKER, "ingest", "."], check_ledger),
    "new-packs": Scene(with_new_packs, [*WORKER, "register", "."], check_ledger),
    "unpack": Scene(with_files_and_packs, eds("--json", "unpack", "payloads"), check_unpacked),
    "new-ledger": Scene(write_input, [*WORKER, "register", "."], check_ledger),
    "command": Scene(
        write_input,
        eds(
            *("--json", "ingest", "input/records.ndjson", "--payloads", "input"),
            *("--register", "input/keys.json", "--ledger", "ledger.db", "--payload-store", "folder:payloads"),
        ),
        check_command,
    ),
    "export": Scene(
        with_export, eds("export", "--ledger", "ledger.db", "-o", "export.ndjson.zst"), check_export
    ),
    "heads": Scene(with_heads, eds("heads", "--ledger", "ledger.db", "-o", "heads.json"), check_heads),
    "erase": Scene(with_log, eds(*ERASE), check_erasure),
    "erase-in-packs": Scene(with_log_and_packs, eds(*ERASE), check_packed_erasure),
    "erase-in-ledger": Scene(with_log_alone, eds(*ERASE), check_erasure),
    "witness": Scene(with_witness, eds(*COSIGN), check_witness),
    "bundle": Scene(with_bundle, eds(*BUNDLE), check_bundle),
    "monitor": Scene(with_monitored, eds(*MONITOR), check_monitor),
    "update": Scene(with_update, eds(*UPDATE), check_update),
    "update-recorded": Scene(with_recorded_update, eds(*RECORDED), check_recorded_update),
    "update-signature": Scene(with_update, eds(*ADD), check_signature),
    "outputs": Scene(write_input, [*WORKER, "outputs", "."], check_outputs),
    "sign": Scene(with_outbox, [*WORKER, "sign", "."], check_outbox),
    "flush": Scene(with_outbox, [*WORKER, "flush", "."], check_outbox),
}


@pytest.mark.parametrize("name", SCENES)
def test_each_call_fails_in_turn(name: str) -> None:
    strike_each(name, SCENES[name])


def test_each_call_of_a_flush_with_receipts_fails_in_turn(logged: Logged) -> None:
    """Four records have receipts and two wait; the records leave the outbox with their checkpoint."""
    with logged.serve() as url:

        def prepare(folder: Path) -> None:
            with logged.outbox(folder=folder) as outbox, client(url) as service:
                for number in range(4):
                    outbox.sign(b"%d" % number, f"lift-01/{number}", number)
                outbox.flush(service)
                logged.checkpoint()
                for number in range(4, 6):
                    outbox.sign(b"%d" % number, f"lift-01/{number}", number)

        def check(folder: Path, struck: Struck, action: Action) -> None:
            if action.passes:
                assert struck.code == 0, struck
            with closing(sqlite3.connect(folder / "outbox", timeout=30)) as file:
                [[checkpoints]] = file.execute("SELECT count(*) FROM checkpoint")
            assert (kept(folder), checkpoints) in [(6, 0), (2, 1)], struck
            with logged.outbox(folder=folder) as outbox, client(url) as service:
                outbox.flush(service)
                assert (outbox.waiting, outbox.pending["pending"], outbox.conflicts) == (0, 2, []), struck

        command = [*WORKER, "receipts", ".", url, TOKEN, str(logged.policy)]
        strike_each("receipts", Scene(prepare, command, check))


def strike_each(name: str, scene: Scene) -> None:
    with tempfile.TemporaryDirectory(prefix="edgesentry-faults-") as place:
        template = Path(place) / "template"
        template.mkdir()
        scene.prepare(template)
        calls = strike(scene, template, None, 0).calls
        assert calls > 3, "the calls are not counted"
        struck = {}
        with ThreadPoolExecutor(2) as threads:
            for action in ACTIONS:
                # These actions count the calls that need space, or those that write.
                fewer = action.sticky or action.name == "short"
                counted = strike(scene, template, action, 0).calls if fewer else calls
                chosen = list(numbers(counted, action, SAMPLE, name))
                ended = list(threads.map(partial(strike, scene, template, action), chosen))
                struck[str(action)] = any(one.struck for one in ended)
        # The number of calls differs a little between runs, so a sample may be after the last of them.
        assert any(struck.values()), calls
        assert not EVERY or all(done for action, done in struck.items() if action != "short"), struck


def strike(scene: Scene, template: Path, action: Action | None, at: int) -> Struck:
    """Runs the process of a scene in its own directory, and checks the result."""
    folder = template.parent / f"{action}-{at}"
    shutil.copytree(template, folder)
    try:
        struck = run(list(scene.command), folder, action, at)
        try:
            scene.check(folder, struck, action or Action("EIO"))
        except Exception as error:
            raise AssertionError(f"{action} at call {at}, seed {SEED}: {struck}") from error
        return struck
    finally:
        shutil.rmtree(folder)
