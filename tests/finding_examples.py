"""A small tampered chain for each finding code: the examples of docs/findings/."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from edgesentry import AuditRecord, Device, KeyRing, Report, verify_bundle, verify_chain
from edgesentry.testing._tsa import TSA, pem, stamp_of

START_MS = 1_700_000_000_000
SEED = bytes([1]) * 32


def chain(device_id: str = "lift-01", count: int = 5, seed: bytes = SEED) -> list[AuditRecord]:
    """A chain with known contents."""
    device = Device.from_seed(device_id, seed)
    return [
        device.sign(f"reading {at}".encode(), f"{device_id}/{at}.bin", timestamp_ms=START_MS + at)
        for at in range(1, count + 1)
    ]


def ring(*devices: str, seed: bytes = SEED, valid_from: int = 1) -> KeyRing:
    """A key ring with the same key for all the devices."""
    keys = KeyRing()
    for device_id in devices:
        key = Device.from_seed(device_id, seed).public_key
        keys.add(device_id, key, scheme="record", valid_from=valid_from)
    return keys


def prev_hash_mismatch(_folder: Path) -> Report:
    """A timestamp is edited; the device's signature is not checked here."""
    records = chain()
    records[2] = records[2].replace(timestamp_ms=START_MS)
    return verify_chain(records)


def sequence_gap(_folder: Path) -> Report:
    """Record 3 is deleted."""
    records = chain()
    return verify_chain(records[:2] + records[3:])


def sequence_duplicate(_folder: Path) -> Report:
    """Record 3 occurs twice."""
    records = chain()
    return verify_chain(records[:3] + records[2:])


def sequence_out_of_order(_folder: Path) -> Report:
    """Records 2 and 3 are swapped."""
    records = chain()
    return verify_chain([records[0], records[2], records[1], *records[3:]])


def fork(_folder: Path) -> Report:
    """The device signs two different records at sequence 3."""
    records = chain()
    twin = Device.from_seed("lift-01", SEED).resume(records[1])
    other = twin.sign(b"another reading", "lift-01/3b.bin", timestamp_ms=START_MS + 3)
    return verify_chain([*records[:3], other, *records[3:]])


def first_record_not_genesis(_folder: Path) -> Report:
    """The first record is deleted."""
    return verify_chain(chain()[1:])


def signature_invalid(_folder: Path) -> Report:
    """A bit of the last record's signature is flipped."""
    records = chain()
    signature = bytearray(records[4].signature)
    signature[0] ^= 1
    records[4] = records[4].replace(signature=bytes(signature))
    return verify_chain(records, keys=ring("lift-01"))


def unknown_device(_folder: Path) -> Report:
    """The key ring has keys, but none of this device."""
    return verify_chain(chain(), keys=ring("lift-02"))


def key_not_valid_at_sequence(_folder: Path) -> Report:
    """The key begins at sequence 6, the chain ends at 5."""
    return verify_chain(chain(count=1), keys=ring("lift-01", valid_from=6))


def succession_invalid(_folder: Path) -> Report:
    """The device rotates its key at sequence 3, and the key ring has another key from sequence 4 on."""
    device = Device.from_seed("lift-01", SEED).resume(chain()[1])
    rotated, _payload = device.rotate(Device.from_seed("lift-01", bytes([2]) * 32), timestamp_ms=START_MS + 3)
    keys = ring("lift-01")
    other = Device.from_seed("lift-01", bytes([3]) * 32).public_key
    keys.add("lift-01", other, scheme="record", valid_from=4)
    return verify_chain([*chain()[:2], rotated], keys=keys)


def payloads(folder: Path) -> list[AuditRecord]:
    """A chain and its payloads in a directory."""
    records = chain()
    (folder / "lift-01").mkdir(parents=True, exist_ok=True)
    for record in records:
        (folder / record.object_ref).write_bytes(f"reading {record.sequence}".encode())
    return records


def payload_hash_mismatch(folder: Path) -> Report:
    """The payload of record 3 is replaced."""
    records = payloads(folder)
    (folder / "lift-01" / "3.bin").write_bytes(b"reading 33")
    return verify_chain(records, payloads=folder)


def payload_missing(folder: Path) -> Report:
    """The payload of record 3 is removed."""
    records = payloads(folder)
    (folder / "lift-01" / "3.bin").unlink()
    return verify_chain(records, payloads=folder)


def head_mismatch(_folder: Path) -> Report:
    """The last two records are cut off."""
    records = chain()
    return verify_chain(records[:3], heads=verify_chain(records).heads)


def device_missing(_folder: Path) -> Report:
    """Every record of lift-02 is left out."""
    heads = verify_chain(chain() + chain("lift-02")).heads
    return verify_chain(chain(), heads=heads)


def record_malformed(folder: Path) -> Report:
    """An entry has a field that no record has."""
    file = folder / "export.ndjson"
    file.write_text('{"device_id": "lift-01", "sequence": 1, "note": "not covered by any hash"}\n')
    return verify_chain(file)


LOG = Path(__file__).parent / "vectors" / "log"
BUNDLES = Path(__file__).parent / "vectors" / "bundle"


def in_log(records: list[AuditRecord], **changes: Any) -> Report:
    """Records against the checkpoint of a log of two chains, which rust/log/tests/level.rs makes."""
    files = {"checkpoint": LOG / "checkpoint", "policy": LOG / "policy", "log_layout": LOG / "layout"}
    return verify_chain(records, **(files | changes))


def logged() -> list[AuditRecord]:
    """The records of this log."""
    return chain() + chain("lift-02")


def checkpoint_untrusted(_folder: Path) -> Report:
    """The policy trusts another key of the log."""
    return in_log(logged(), policy=LOG / "policy-other-log")


def witness_quorum_missing(_folder: Path) -> Report:
    """The note has the signature of the log only."""
    return in_log(logged(), checkpoint=LOG / "checkpoint-uncosigned")


def checkpoint_stale(_folder: Path) -> Report:
    """An age of one day is allowed, but the policy requires no witness."""
    return in_log(logged(), policy=LOG / "policy-no-witness", max_age=timedelta(days=1))


def checkpoint_mismatch(_folder: Path) -> Report:
    """The time of a record is edited, at the end of its chain."""
    records = logged()
    records[4] = records[4].replace(timestamp_ms=records[4].timestamp_ms + 1)
    return in_log(records)


def checkpoint_inconsistent(_folder: Path) -> Report:
    """The checkpoint is older than the one that the auditor kept."""
    return in_log(logged(), checkpoint=LOG / "checkpoint-earlier", previous=LOG / "checkpoint")


def leaf_missing(_folder: Path) -> Report:
    """Every record of lift-02 is left out."""
    return in_log(chain())


def not_included(_folder: Path) -> Report:
    """A record is appended after the last one of the log."""
    return in_log(chain() + chain("lift-02", 6))


def heads_mismatch(_folder: Path) -> Report:
    """The log says that the last record of each device does not exist."""
    return in_log(logged(), checkpoint=LOG / "checkpoint-lying", log_layout=LOG / "layout-lying")


def key_not_logged(_folder: Path) -> Report:
    """The key ring has another key of lift-01."""
    return in_log(logged(), keys=ring("lift-01", seed=bytes([2]) * 32))


def timestamp_invalid(folder: Path) -> Report:
    """The time stamp is that of the earlier checkpoint."""
    earlier = (LOG / "checkpoint-earlier").read_text(encoding="utf-8")
    stamp, roots = folder / "checkpoint.tsr", folder / "roots.pem"
    stamp.write_bytes(stamp_of(earlier, TSA))
    roots.write_text(pem(TSA.root), encoding="ascii")
    return in_log(logged(), timestamps=stamp, tsa_roots=roots)


def bundle_malformed(folder: Path) -> Report:
    """A bundle lost its last bytes."""
    bundle = (BUNDLES / "full.tar").read_bytes()
    (folder / "case.tar").write_bytes(bundle[:-1200])
    return verify_bundle(folder / "case.tar", policy=BUNDLES / "policy")


EXAMPLES: dict[str, Callable[[Path], Report]] = {
    example.__name__: example
    for example in (
        prev_hash_mismatch,
        sequence_gap,
        sequence_duplicate,
        sequence_out_of_order,
        fork,
        first_record_not_genesis,
        signature_invalid,
        unknown_device,
        key_not_valid_at_sequence,
        succession_invalid,
        payload_hash_mismatch,
        payload_missing,
        head_mismatch,
        device_missing,
        record_malformed,
        checkpoint_untrusted,
        witness_quorum_missing,
        checkpoint_stale,
        checkpoint_mismatch,
        checkpoint_inconsistent,
        leaf_missing,
        not_included,
        heads_mismatch,
        key_not_logged,
        timestamp_invalid,
        bundle_malformed,
    )
}


def lines(report: Report, folder: Path) -> Iterator[str]:
    """Returns each finding as the pages show it."""
    for finding in report.findings:
        nobody = finding.input or "the log" if finding.index is None else "an entry of unknown device"
        place = finding.device_id or nobody
        if finding.sequence is not None:
            place += f" sequence {finding.sequence}"
        yield f"{finding.code}: {place}".replace(str(folder), "FOLDER")
        yield f"  expected {finding.expected}".replace(str(folder), "FOLDER")
        yield f"  actual   {finding.actual}".replace(str(folder), "FOLDER")
        if finding.cause is not None:
            yield f"  probably because of {finding.cause.code} at sequence {finding.cause.sequence}"
