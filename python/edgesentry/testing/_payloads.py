"""Payloads changed, swapped or removed; the records stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgesentry._core import AuditRecord, payload_hash
from edgesentry.testing._chain import find
from edgesentry.testing._expected import Expectations, Expected, Tampered


def flip_payload_bit(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    *,
    payloads: Mapping[str, bytes],
    bit: int = 0,
) -> Tampered:
    """Flips a bit of a stored payload.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        payloads: The payloads by object reference.
        bit: The bit.
    """
    reference = find(records, device_id, sequence).object_ref
    changed = bytearray(payloads[reference])
    changed[bit // 8] ^= 1 << bit % 8
    expectations = Expectations(payloads=(Expected("payload_hash_mismatch", device_id, sequence),))
    return Tampered(tuple(records), expectations, {reference: bytes(changed)})


def remove_payload(records: Sequence[AuditRecord], device_id: str, sequence: int) -> Tampered:
    """Removes a stored payload."""
    reference = find(records, device_id, sequence).object_ref
    expectations = Expectations(payloads=(Expected("payload_missing", device_id, sequence),))
    return Tampered(tuple(records), expectations, {reference: None})


def swap_payloads(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    *,
    other_sequence: int,
    payloads: Mapping[str, bytes],
) -> Tampered:
    """Swaps the stored payloads of two records of a device.

    Args:
        records: The records.
        device_id: The device.
        sequence: One record.
        other_sequence: The other, with another payload.
        payloads: The payloads by object reference.
    """
    here, there = (find(records, device_id, at).object_ref for at in (sequence, other_sequence))
    if payload_hash(payloads[here]) == payload_hash(payloads[there]):
        raise ValueError("both payloads are the same")
    expectations = Expectations(
        payloads=tuple(Expected("payload_hash_mismatch", device_id, at) for at in (sequence, other_sequence))
    )
    changes = {here: payloads[there], there: payloads[here]}
    return Tampered(tuple(records), expectations, changes)
