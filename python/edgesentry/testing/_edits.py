"""Edits of a record by an attacker who can write to the ledger but does not re-link the chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgesentry._core import AuditRecord, payload_hash
from edgesentry._typing import FindingCode
from edgesentry.testing._chain import (
    edited,
    find,
    head_is_missed,
    hole,
    invalid_at,
    last_of,
    next_link_breaks,
    own_link_breaks,
)
from edgesentry.testing._expected import (
    Expectations,
    Expected,
    Expecteds,
    Tampered,
    both,
    by_scheme,
)


def edit(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    changes: Mapping[str, object],
    *,
    links: Expecteds = (),
    under_record: Expecteds = (),
    under_payload_hash: Expecteds = (),
    payloads: Expecteds = (),
) -> Tampered:
    """Changes values of a record; `findings` are those besides the broken link after it."""
    changed = edited(records, device_id, sequence, changes)
    expectations = Expectations(
        links=(*links, *next_link_breaks(records, device_id, sequence)),
        signatures=by_scheme(record=under_record, payload_hash=under_payload_hash),
        payloads=payloads,
        heads=head_is_missed(records, device_id, sequence),
    )
    return Tampered(tuple(changed), expectations)


def flip_payload_hash_bit(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, bit: int = 60
) -> Tampered:
    """Flips a bit of the payload hash.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        bit: The bit, of 256.
    """
    record = find(records, device_id, sequence)
    changes = {"payload_hash": _flip(record.payload_hash, bit)}
    bad = invalid_at(device_id, sequence)
    payloads = (Expected("payload_hash_mismatch", device_id, sequence),)
    return edit(
        records, device_id, sequence, changes, under_record=bad, under_payload_hash=bad, payloads=payloads
    )


def flip_signature_bit(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, bit: int = 160
) -> Tampered:
    """Flips a bit of the signature.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        bit: The bit, of 512; the first 256 are those of R, the others those of S.
    """
    record = find(records, device_id, sequence)
    changes = {"signature": _flip(record.signature, bit)}
    bad = invalid_at(device_id, sequence)
    return edit(records, device_id, sequence, changes, under_record=bad, under_payload_hash=bad)


def flip_prev_record_hash_bit(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, bit: int = 5
) -> Tampered:
    """Flips a bit of the previous hash, which breaks the record's link and the one after it.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        bit: The bit, of 256.
    """
    record = find(records, device_id, sequence)
    changes = {"prev_record_hash": _flip(record.prev_record_hash, bit)}
    links, bad = own_link_breaks(device_id, sequence), invalid_at(device_id, sequence)
    return edit(records, device_id, sequence, changes, links=links, under_record=bad)


def flip_timestamp_bit(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, bit: int = 22
) -> Tampered:
    """Flips a bit of the time, which under scheme `payload-hash` no signature covers.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        bit: The bit, of 64.
    """
    record = find(records, device_id, sequence)
    changes = {"timestamp_ms": record.timestamp_ms ^ 1 << bit}
    bad = invalid_at(device_id, sequence)
    return edit(records, device_id, sequence, changes, under_record=bad)


def flip_object_ref_bit(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, bit: int = 0
) -> Tampered:
    """Flips a bit of the object reference, which under scheme `payload-hash` no signature covers.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        bit: The bit of its UTF-8 bytes.

    Raises:
        ValueError: The result is not UTF-8.
    """
    record = find(records, device_id, sequence)
    reference = _flip(record.object_ref.encode(), bit).decode()
    return edit_object_ref(records, device_id, sequence, object_ref=reference)


def edit_object_ref(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, object_ref: str
) -> Tampered:
    """Points a record to another object.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        object_ref: The new reference.
    """
    record = find(records, device_id, sequence)
    return edit(
        records,
        device_id,
        sequence,
        {"object_ref": object_ref},
        under_record=invalid_at(device_id, sequence),
        payloads=payload_behind(records, record, object_ref),
    )


def payload_behind(records: Sequence[AuditRecord], record: AuditRecord, object_ref: str) -> Expecteds:
    """Returns the finding of the payload level if a record points to another reference."""
    there = {other.payload_hash for other in records if other.object_ref == object_ref}
    if record.payload_hash in there:
        return ()
    code: FindingCode = "payload_hash_mismatch" if there else "payload_missing"
    return (Expected(code, record.device_id, record.sequence),)


def flip_device_id_bit(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, bit: int = 0
) -> Tampered:
    """Flips a bit of the device id: the record leaves its chain and begins one of an unknown device.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        bit: The bit of its UTF-8 bytes.

    Raises:
        ValueError: The result is not UTF-8, or it is another device of the records.
    """
    stranger = _flip(device_id.encode(), bit).decode()
    if any(other.device_id == stranger for other in records):
        raise ValueError(f"device {stranger!r} exists already; flip another bit")
    last = last_of(records, device_id).sequence
    links: Expecteds = ()
    if sequence > 1:
        links += (Expected("first_record_not_genesis", stranger, sequence),)
    if sequence < last:
        links += (hole(device_id, sequence, sequence + 1),)
    heads = head_is_missed(records, device_id, sequence)
    if last == 1:
        heads = (Expected("device_missing", device_id, 1),)
    changed = edited(records, device_id, sequence, {"device_id": stranger})
    unknown = both(Expected("unknown_device", stranger, sequence))
    return Tampered(tuple(changed), Expectations(links=links, signatures=unknown, heads=heads))


def flip_sequence_bit(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, bit: int = 16
) -> Tampered:
    """Flips a bit of the sequence; one key of the device must be valid at both sequences.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        bit: The bit, of 64.
    """
    last = last_of(records, device_id).sequence
    claimed = sequence ^ 1 << bit
    links: Expecteds = (_link_of_claimed(device_id, sequence, claimed),)
    if sequence < last:
        links += (_link_behind_claimed(device_id, sequence, claimed),)
    if claimed == 0:
        no_key = Expected("key_not_valid_at_sequence", device_id, 0)
        signatures = both(no_key)
    else:
        bad = invalid_at(device_id, claimed)
        signatures = by_scheme(record=bad, payload_hash=())
    changed = edited(records, device_id, sequence, {"sequence": claimed})
    heads = head_is_missed(records, device_id, sequence)
    return Tampered(tuple(changed), Expectations(links=links, signatures=signatures, heads=heads))


def _link_of_claimed(device_id: str, sequence: int, claimed: int) -> Expected:
    if sequence == 1:
        return Expected("first_record_not_genesis", device_id, claimed)
    if claimed > sequence:
        return Expected("sequence_gap", device_id, claimed)
    # Every sequence before this one has a record, except 0.
    return Expected("fork" if claimed else "sequence_out_of_order", device_id, claimed)


def _link_behind_claimed(device_id: str, sequence: int, claimed: int) -> Expected:
    if claimed < sequence:
        return Expected("sequence_gap", device_id, sequence + 1)
    code: FindingCode = "fork" if claimed == sequence + 1 else "sequence_out_of_order"
    return Expected(code, device_id, sequence + 1)


def forge_payload(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, payload: bytes = b"all is well"
) -> Tampered:
    """Replaces a payload together with the hash in its record.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        payload: The new payload.
    """
    record = find(records, device_id, sequence)
    bad = invalid_at(device_id, sequence)
    changes = {"payload_hash": payload_hash(payload)}
    tampered = edit(records, device_id, sequence, changes, under_record=bad, under_payload_hash=bad)
    return Tampered(tampered.records, tampered.expectations, {record.object_ref: payload})


def _flip(value: bytes, bit: int) -> bytes:
    if not 0 <= bit < 8 * len(value):
        raise ValueError(f"bit {bit} is out of range: expected 0 to {8 * len(value) - 1}")
    flipped = bytearray(value)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)
