"""Edits by an attacker who can write to the ledger and re-links the chain.

Links never detect these. Signatures of scheme `record` do; under scheme `payload-hash` only trusted heads do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgesentry._core import AuditRecord, Device, payload_hash
from edgesentry.testing._chain import (
    edited,
    find,
    head_is_missed,
    invalid,
    invalid_at,
    last_of,
    position,
    relink,
)
from edgesentry.testing._edits import payload_behind
from edgesentry.testing._expected import (
    Expectations,
    Expected,
    Expecteds,
    Tampered,
    both,
    by_scheme,
)


def edit_time_and_relink(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, by_ms: int = -3_600_000
) -> Tampered:
    """Changes the time of a record: the hole in scheme `payload-hash`.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        by_ms: The change in milliseconds.
    """
    time = find(records, device_id, sequence).timestamp_ms + by_ms
    return _edit_and_relink(records, device_id, sequence, {"timestamp_ms": time})


def edit_object_ref_and_relink(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, object_ref: str
) -> Tampered:
    """Points a record to another object; the payload level finds that the object is missing or differs.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        object_ref: The new reference.
    """
    payloads = payload_behind(records, find(records, device_id, sequence), object_ref)
    return _edit_and_relink(records, device_id, sequence, {"object_ref": object_ref}, payloads=payloads)


def forge_payload_and_relink(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, payload: bytes = b"all is well"
) -> Tampered:
    """Replaces a payload and the hash in its record, which the signature of every scheme covers.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        payload: The new payload.
    """
    bad = invalid_at(device_id, sequence)
    change = {"payload_hash": payload_hash(payload)}
    tampered = _edit_and_relink(records, device_id, sequence, change, under_payload_hash=bad)
    reference = find(records, device_id, sequence).object_ref
    return Tampered(tampered.records, tampered.expectations, {reference: payload})


def _edit_and_relink(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    changes: Mapping[str, object],
    *,
    under_payload_hash: Expecteds = (),
    payloads: Expecteds = (),
) -> Tampered:
    last = last_of(records, device_id).sequence
    changed = edited(records, device_id, sequence, changes)
    relink(changed, device_id)
    expectations = Expectations(
        signatures=by_scheme(
            record=invalid(device_id, range(sequence, last + 1)), payload_hash=under_payload_hash
        ),
        payloads=payloads,
        heads=head_is_missed(records, device_id),
    )
    return Tampered(tuple(changed), expectations)


def delete_and_relink(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, count: int = 1
) -> Tampered:
    """Removes records and renumbers the later ones.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The first record to remove.
        count: The number of records to remove; at least one record of the device must remain.
    """
    last = last_of(records, device_id).sequence
    gone = range(sequence, sequence + count)
    if count >= last or gone.stop > last + 1:
        raise ValueError(f"the device has only {last} records")
    left = []
    for record in records:
        if record.device_id == device_id and record.sequence >= gone.stop:
            left.append(record.replace(sequence=record.sequence - count))
        elif record.device_id != device_id or record.sequence < sequence:
            left.append(record)
    relink(left, device_id)
    bad = invalid(device_id, range(sequence, last - count + 1))
    expectations = Expectations(
        signatures=by_scheme(record=bad, payload_hash=()), heads=head_is_missed(records, device_id)
    )
    return Tampered(tuple(left), expectations)


def swap_and_relink(records: Sequence[AuditRecord], device_id: str, sequence: int) -> Tampered:
    """Swaps the contents of a record and the next, and renumbers them.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The first of the two.
    """
    last = last_of(records, device_id).sequence
    here, there = position(records, device_id, sequence), position(records, device_id, sequence + 1)
    swapped = list(records)
    swapped[here] = records[there].replace(sequence=sequence)
    swapped[there] = records[here].replace(sequence=sequence + 1)
    relink(swapped, device_id)
    bad = invalid(device_id, range(sequence, last + 1))
    expectations = Expectations(
        signatures=by_scheme(record=bad, payload_hash=()), heads=head_is_missed(records, device_id)
    )
    return Tampered(tuple(swapped), expectations)


def append_replayed(
    records: Sequence[AuditRecord], device_id: str, *, of_sequence: int, after_ms: int = 1000
) -> Tampered:
    """Continues a chain with an old observation and its old signature, as if it were a new one.

    Heads do not detect it: the chain still contains the trusted head.

    Args:
        records: The records.
        device_id: The victim.
        of_sequence: The record to replay.
        after_ms: The time from the last record to its date, in milliseconds.
    """
    last = last_of(records, device_id)
    replayed = find(records, device_id, of_sequence).replace(
        sequence=last.sequence + 1,
        timestamp_ms=last.timestamp_ms + after_ms,
        prev_record_hash=last.hash(),
    )
    bad = (Expected("signature_invalid", device_id, replayed.sequence),)
    signatures = by_scheme(record=bad, payload_hash=())
    return Tampered((*records, replayed), Expectations(signatures=signatures))


def rewrite_with_key(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    *,
    signer: Device,
    payload: Callable[[AuditRecord], bytes] = lambda record: b"rewritten %d" % record.sequence,
) -> Tampered:
    """Rewrites a chain from a record on, with the device's own key and matching payloads.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The first record to rewrite.
        signer: The device.
        payload: The payload of each rewritten record.
    """
    signer = signer.resume(None if sequence == 1 else find(records, device_id, sequence - 1))
    rewritten, payloads = list(records), {}
    for at, record in enumerate(records):
        if record.device_id == device_id and record.sequence >= sequence:
            content = payload(record)
            payloads[record.object_ref] = content
            rewritten[at] = signer.sign(content, record.object_ref, record.timestamp_ms)
    heads = head_is_missed(records, device_id)
    return Tampered(tuple(rewritten), Expectations(heads=heads), payloads)


def swap_devices(records: Sequence[AuditRecord], device_id: str, other_id: str) -> Tampered:
    """Swaps the ids of two devices, and re-links both chains.

    Args:
        records: The records.
        device_id: One device.
        other_id: The other, with another key.
    """
    names = {device_id: other_id, other_id: device_id}
    last = {name: last_of(records, name).sequence for name in names}
    swapped = [record.replace(device_id=names.get(record.device_id, record.device_id)) for record in records]
    bad: Expecteds = ()
    heads: Expecteds = ()
    for name, other in names.items():
        relink(swapped, name)
        bad += invalid(name, range(1, last[other] + 1))
        heads += (Expected("head_mismatch", name, last[name]),)
    return Tampered(tuple(swapped), Expectations(signatures=both(*bad), heads=heads))


def rename_device(records: Sequence[AuditRecord], device_id: str, *, to: str) -> Tampered:
    """Changes the device id in all records of a device, and re-links the chain.

    Args:
        records: The records.
        device_id: The victim.
        to: An id that no device has.
    """
    last = last_of(records, device_id).sequence
    if any(record.device_id == to for record in records):
        raise ValueError(f"device {to!r} exists already; use swap_devices")
    renamed = [
        record.replace(device_id=to) if record.device_id == device_id else record for record in records
    ]
    relink(renamed, to)
    expectations = Expectations(
        signatures=both(Expected("unknown_device", to, 1)),
        heads=(Expected("device_missing", device_id, last),),
    )
    return Tampered(tuple(renamed), expectations)


def append_with_clock_back(
    records: Sequence[AuditRecord],
    device_id: str,
    *,
    signer: Device,
    payload: bytes = b"late",
    by_ms: int = 86_400_000,
) -> Tampered:
    """Continues the chain by the device itself, with its clock turned back.

    No verification detects it: a record does not prove that the clock of the device was right. The column
    `clock_backwards` of `edgesentry.device_statistics` shows it.

    Args:
        records: The records.
        device_id: The device.
        signer: The device with its key.
        payload: The payload of the record.
        by_ms: The time by which the clock is behind the last record, in milliseconds.
    """
    last = last_of(records, device_id)
    reference = f"{device_id}/{last.sequence + 1}.bin"
    late = signer.resume(last).sign(payload, reference, max(0, last.timestamp_ms - by_ms))
    return Tampered((*records, late), Expectations(), {reference: payload})
