"""Records of one device within the records of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgesentry._core import AuditRecord
from edgesentry._typing import FindingCode
from edgesentry.testing._expected import Expected, Expecteds

ZERO_HASH = bytes(32)


def position(records: Sequence[AuditRecord], device_id: str, sequence: int) -> int:
    """Returns the position of the record.

    Raises:
        TypeError: A fleet or a tampered one stands for its records.
        ValueError: There is no such record.
    """
    if hasattr(records, "records"):
        kind = type(records).__name__
        raise TypeError(f"records are a sequence of records, not {kind}: pass {kind.lower()}.records")
    for at, record in enumerate(records):
        if record.device_id == device_id and record.sequence == sequence:
            return at
    raise ValueError(f"there is no record of device {device_id!r} at sequence {sequence}")


def find(records: Sequence[AuditRecord], device_id: str, sequence: int) -> AuditRecord:
    """Returns the record of a device at a sequence."""
    return records[position(records, device_id, sequence)]


def edited(
    records: Sequence[AuditRecord], device_id: str, sequence: int, changes: Mapping[str, object]
) -> list[AuditRecord]:
    """Returns the records, with other values in one of them."""
    at = position(records, device_id, sequence)
    return [*records[:at], records[at].replace(**changes), *records[at + 1 :]]


def last_of(records: Sequence[AuditRecord], device_id: str) -> AuditRecord:
    """Returns the last record of a device.

    Raises:
        ValueError: The device has no record.
    """
    for record in reversed(records):
        if record.device_id == device_id:
            return record
    raise ValueError(f"there is no record of device {device_id!r}")


def relink(records: list[AuditRecord], device_id: str) -> None:
    """Links every record of a chain to the previous one, as a writer of the ledger can."""
    before = ZERO_HASH
    for at, record in enumerate(records):
        if record.device_id == device_id:
            if record.prev_record_hash != before:
                records[at] = record.replace(prev_record_hash=before)
            before = records[at].hash()


def next_link_breaks(records: Sequence[AuditRecord], device_id: str, sequence: int) -> Expecteds:
    """Returns the finding of the link after an edited record; none if it is the last record."""
    if last_of(records, device_id).sequence == sequence:
        return ()
    return (Expected("prev_hash_mismatch", device_id, sequence + 1),)


def head_is_missed(records: Sequence[AuditRecord], device_id: str, sequence: int | None = None) -> Expecteds:
    """Returns the finding of the trusted head; none if the edit at `sequence` did not change the head."""
    last = last_of(records, device_id).sequence
    if sequence not in (None, last):
        return ()
    return (Expected("head_mismatch", device_id, last),)


def own_link_breaks(device_id: str, sequence: int) -> Expecteds:
    """Returns the finding of the link of a record whose previous hash is wrong."""
    code: FindingCode = "first_record_not_genesis" if sequence == 1 else "prev_hash_mismatch"
    return (Expected(code, device_id, sequence),)


def hole(device_id: str, sequence: int, following: int) -> Expected:
    """Returns the finding at the record that follows in place of the one at `sequence`."""
    code: FindingCode = "first_record_not_genesis" if sequence == 1 else "sequence_gap"
    return Expected(code, device_id, following)


def invalid(device_id: str, sequences: range) -> Expecteds:
    """Returns the findings of invalid signatures."""
    return tuple(Expected("signature_invalid", device_id, sequence) for sequence in sequences)


def invalid_at(device_id: str, sequence: int) -> Expecteds:
    """Returns the finding of a record's invalid signature."""
    return invalid(device_id, range(sequence, sequence + 1))
