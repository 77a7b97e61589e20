"""Records of one device within the records of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgesentry._core import AuditRecord
from edgesentry._typing import FindingCode
from edgesentry.testing._expected import Expected, Expecteds

ZERO_HASH = bytes(32)


def position(records: Sequence[AuditRecord], device_id: str, sequence: int) -> int:
    """Where the record stands.

    Raises:
        ValueError: There is no such record.
    """
    for at, record in enumerate(records):
        if record.device_id == device_id and record.sequence == sequence:
            return at
    raise ValueError(f"there is no record of device {device_id!r} at sequence {sequence}")


def find(records: Sequence[AuditRecord], device_id: str, sequence: int) -> AuditRecord:
    """The record of a device at a sequence."""
    return records[position(records, device_id, sequence)]


def edited(
    records: Sequence[AuditRecord], device_id: str, sequence: int, changes: Mapping[str, object]
) -> list[AuditRecord]:
    """The records, one of them with other values."""
    at = position(records, device_id, sequence)
    return [*records[:at], records[at].replace(**changes), *records[at + 1 :]]


def last_of(records: Sequence[AuditRecord], device_id: str) -> AuditRecord:
    """The last record of a device.

    Raises:
        ValueError: It has none.
    """
    for record in reversed(records):
        if record.device_id == device_id:
            return record
    raise ValueError(f"there is no record of device {device_id!r}")


def relink(records: list[AuditRecord], device_id: str) -> None:
    """Makes every record of a chain name the one before it, as whoever can write to a ledger can."""
    before = ZERO_HASH
    for at, record in enumerate(records):
        if record.device_id == device_id:
            if record.prev_record_hash != before:
                records[at] = record.replace(prev_record_hash=before)
            before = records[at].hash()


def next_link_breaks(records: Sequence[AuditRecord], device_id: str, sequence: int) -> Expecteds:
    """The link behind an edited record; none where it is the last."""
    if last_of(records, device_id).sequence == sequence:
        return ()
    return (Expected("prev_hash_mismatch", device_id, sequence + 1),)


def head_is_missed(records: Sequence[AuditRecord], device_id: str, sequence: int | None = None) -> Expecteds:
    """The trusted head, which the chain no longer reaches; of an edit at `sequence`, if that was the head."""
    last = last_of(records, device_id).sequence
    if sequence not in (None, last):
        return ()
    return (Expected("head_mismatch", device_id, last),)


def own_link_breaks(device_id: str, sequence: int) -> Expecteds:
    """The link of a record whose own previous hash is wrong."""
    code: FindingCode = "first_record_not_genesis" if sequence == 1 else "prev_hash_mismatch"
    return (Expected(code, device_id, sequence),)


def hole(device_id: str, sequence: int, following: int) -> Expected:
    """What is found at the record that follows where the one at `sequence` should be."""
    code: FindingCode = "first_record_not_genesis" if sequence == 1 else "sequence_gap"
    return Expected(code, device_id, following)


def invalid(device_id: str, sequences: range) -> Expecteds:
    """Signatures that do not hold."""
    return tuple(Expected("signature_invalid", device_id, sequence) for sequence in sequences)


def invalid_at(device_id: str, sequence: int) -> Expecteds:
    """The one signature of a record, which does not hold."""
    return invalid(device_id, range(sequence, sequence + 1))
