"""Records removed, inserted, moved or doubled, without re-linking the chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgesentry._core import AuditRecord, Device
from edgesentry._typing import Scheme
from edgesentry.testing._chain import (
    find,
    head_is_missed,
    hole,
    invalid,
    invalid_at,
    last_of,
    next_link_breaks,
    position,
)
from edgesentry.testing._expected import (
    Expectations,
    Expected,
    Expecteds,
    Tampered,
    both,
    by_scheme,
)


def delete(records: Sequence[AuditRecord], device_id: str, sequence: int, *, count: int = 1) -> Tampered:
    """Removes records from a chain; not all of them, see `remove_device`.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The first record to remove.
        count: The number of records to remove.
    """
    find(records, device_id, sequence)
    last, end = last_of(records, device_id).sequence, sequence + count
    gone = range(sequence, end)
    if sequence == 1 and end > last:
        raise ValueError("no record of the device would be left; use remove_device")
    links: Expecteds = ()
    if end <= last:
        links = (hole(device_id, sequence, end),)
    left = tuple(record for record in records if record.device_id != device_id or record.sequence not in gone)
    heads = () if end <= last else head_is_missed(records, device_id)
    return Tampered(left, Expectations(links=links, heads=heads))


def truncate(records: Sequence[AuditRecord], device_id: str, *, count: int = 1) -> Tampered:
    """Cuts off the last records of a chain.

    Args:
        records: The records.
        device_id: The victim.
        count: The number of records; fewer than the chain has.
    """
    last = last_of(records, device_id).sequence
    return delete(records, device_id, last - count + 1, count=count)


def remove_device(records: Sequence[AuditRecord], device_id: str) -> Tampered:
    """Removes all records of a device."""
    last = last_of(records, device_id).sequence
    left = tuple(record for record in records if record.device_id != device_id)
    return Tampered(left, Expectations(heads=(Expected("device_missing", device_id, last),)))


def move(records: Sequence[AuditRecord], device_id: str, sequence: int, *, behind: int) -> Tampered:
    """Moves a record after a later one of its chain.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        behind: The sequence after which it is inserted.
    """
    if behind <= sequence:
        raise ValueError("behind must be a later sequence than that of the record")
    last = last_of(records, device_id).sequence
    moved = list(records)
    target = position(records, device_id, behind)
    moved.insert(target, moved.pop(position(records, device_id, sequence)))
    links = [
        hole(device_id, sequence, sequence + 1),
        Expected("sequence_out_of_order", device_id, sequence),
    ]
    if behind < last:
        links.append(Expected("sequence_gap", device_id, behind + 1))
    return Tampered(tuple(moved), Expectations(links=tuple(links)))


def swap_with_next(records: Sequence[AuditRecord], device_id: str, sequence: int) -> Tampered:
    """Swaps a record with the next of its chain."""
    return move(records, device_id, sequence, behind=sequence + 1)


def duplicate(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, behind: int | None = None
) -> Tampered:
    """Inserts a record a second time.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        behind: The sequence after which the copy is inserted; that of the record itself if None.
    """
    behind = sequence if behind is None else behind
    if behind < sequence:
        raise ValueError("behind must not be before the sequence of the record")
    last = last_of(records, device_id).sequence
    copied = list(records)
    copied.insert(position(records, device_id, behind) + 1, find(records, device_id, sequence))
    links: Expecteds = (Expected("sequence_duplicate", device_id, sequence),)
    if sequence < behind < last:
        links += (Expected("sequence_gap", device_id, behind + 1),)
    return Tampered(tuple(copied), Expectations(links=links))


def fork(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    *,
    signer: Device,
    payload: bytes = b"another truth",
) -> Tampered:
    """Inserts a second record at a sequence, correctly linked and signed with the device's own key.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        signer: The device, at any point of its chain.
        payload: The payload of the second record.
    """
    return _forked(records, device_id, sequence, signer, payload, {})


def insert_forged(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    *,
    forger: Device,
    payload: bytes = b"another truth",
) -> Tampered:
    """Inserts a second record at a sequence, correctly linked but signed with another key.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        forger: The signer, with the device's id and scheme.
        payload: The payload of the second record.
    """
    bad = both(*invalid_at(device_id, sequence))
    return _forked(records, device_id, sequence, forger, payload, bad)


def _forked(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    signer: Device,
    payload: bytes,
    signatures: Mapping[Scheme, Expecteds],
) -> Tampered:
    victim = find(records, device_id, sequence)
    before = None if sequence == 1 else find(records, device_id, sequence - 1)
    reference = f"{victim.object_ref}.fork"
    other = signer.resume(before).sign(payload, reference, victim.timestamp_ms)
    forked = list(records)
    forked.insert(position(records, device_id, sequence) + 1, other)
    links = (
        Expected("fork", device_id, sequence),
        *next_link_breaks(records, device_id, sequence),
    )
    expectations = Expectations(links=links, signatures=signatures)
    return Tampered(tuple(forked), expectations, {reference: payload})


def renumber(records: Sequence[AuditRecord], device_id: str, sequence: int, *, by: int = 1) -> Tampered:
    """Increases the sequence of a record and of the later ones, as if records were missing; does not re-link.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The first record to renumber.
        by: The increase.
    """
    find(records, device_id, sequence)
    last = last_of(records, device_id).sequence
    renumbered = tuple(
        record.replace(sequence=record.sequence + by)
        if record.device_id == device_id and record.sequence >= sequence
        else record
        for record in records
    )
    links = [hole(device_id, sequence, sequence + by)]
    # Each record hash changed with its sequence, the previous hashes did not.
    links += [Expected("prev_hash_mismatch", device_id, at + by) for at in range(sequence + 1, last + 1)]
    expectations = Expectations(
        links=tuple(links),
        signatures=by_scheme(record=invalid(device_id, range(sequence + by, last + by + 1)), payload_hash=()),
        heads=head_is_missed(records, device_id),
    )
    return Tampered(renumbered, expectations)
