"""Signatures with another key, or in an encoding that no honest signer creates."""

from __future__ import annotations

from collections.abc import Sequence

from edgesentry._core import AuditRecord, Device
from edgesentry._typing import Scheme
from edgesentry.testing import _curve
from edgesentry.testing._chain import find, head_is_missed, invalid_at, last_of, next_link_breaks
from edgesentry.testing._edits import edit
from edgesentry.testing._expected import Expectations, Expected, Expecteds, Tampered, both

_OTHER: dict[Scheme, Scheme] = {"record": "payload-hash", "payload-hash": "record"}


def set_signature(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    *,
    signature: bytes,
    findings: Expecteds | None = None,
) -> Tampered:
    """Replaces the signature of a record.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        signature: The new signature, 64 bytes.
        findings: The findings of the signature level under either scheme; if None, an invalid signature.
    """
    if findings is None:
        findings = invalid_at(device_id, sequence)
    changes = {"signature": signature}
    return edit(records, device_id, sequence, changes, under_record=findings, under_payload_hash=findings)


def zero_signature(records: Sequence[AuditRecord], device_id: str, sequence: int) -> Tampered:
    """Strips the signature: 64 zero bytes."""
    return set_signature(records, device_id, sequence, signature=bytes(64))


def add_order_to_s(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, times: int = 1
) -> Tampered:
    """Adds the order of the group to S: the equation still holds, and a signature would be malleable.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        times: The multiple, from 1 to 14.
    """
    signature = find(records, device_id, sequence).signature
    s = int.from_bytes(signature[32:], "little") + times * _curve.L
    return set_signature(records, device_id, sequence, signature=signature[:32] + s.to_bytes(32, "little"))


def add_torsion_to_r(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, times: int = 1
) -> Tampered:
    """Adds a point of small order to R without the key: the challenge changes, and the equation breaks.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        times: The point, from 1 to 7.
    """
    signature = find(records, device_id, sequence).signature
    r = _curve.decode(signature[:32])
    if r is None:
        raise ValueError("R of the signature is not a point of the curve")
    moved = _curve.encode(_curve.add(r, _curve.torsion()[times]))
    return set_signature(records, device_id, sequence, signature=moved + signature[32:])


def move_r_off_curve(records: Sequence[AuditRecord], device_id: str, sequence: int) -> Tampered:
    """Replaces R with an encoding that is not of a point on the curve."""
    signature = find(records, device_id, sequence).signature
    off = _curve.off_curve(signature[:32])
    return set_signature(records, device_id, sequence, signature=off + signature[32:])


def non_canonical_r(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, seed: bytes, scheme: Scheme
) -> Tampered:
    """Signs with the device's key and R = 0, written as y = p + 1: a verifier that reduces y accepts it.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        seed: The device's secret seed.
        scheme: The device's scheme.
    """
    return _signed_with_r(records, device_id, sequence, seed, scheme, (_curve.P + 1).to_bytes(32, "little"))


def negative_zero_r(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, seed: bytes, scheme: Scheme
) -> Tampered:
    """Signs with the device's key and R = 0, written with the sign bit set although x is 0.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        seed: The device's secret seed.
        scheme: The device's scheme.
    """
    return _signed_with_r(records, device_id, sequence, seed, scheme, (1 | 1 << 255).to_bytes(32, "little"))


def _signed_with_r(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    seed: bytes,
    scheme: Scheme,
    r_encoding: bytes,
) -> Tampered:
    message = find(records, device_id, sequence).signed_message(scheme)
    signature = _curve.sign(seed, message, nonce=0, r_encoding=r_encoding)
    return set_signature(records, device_id, sequence, signature=signature)


def small_order_r(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    *,
    seed: bytes,
    scheme: Scheme,
    times: int = 0,
) -> Tampered:
    """Signs with the device's key and an R of small order, canonically encoded.

    The predicate accepts it: only the holder of the key can create it, so it is not a forgery. It reveals the
    key to every reader.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        seed: The device's secret seed.
        scheme: The device's scheme.
        times: The point, of eight.
    """
    message = find(records, device_id, sequence).signed_message(scheme)
    signature = _curve.sign(seed, message, nonce=0, torsion_part=_curve.torsion()[times])
    return set_signature(records, device_id, sequence, signature=signature, findings=())


def mixed_order_r(
    records: Sequence[AuditRecord],
    device_id: str,
    sequence: int,
    *,
    seed: bytes,
    scheme: Scheme,
    times: int = 1,
) -> Tampered:
    """Signs with the device's key and an R with a part of small order, canonically encoded.

    The predicate, which multiplies by the cofactor, accepts it, alone and in a batch; verifiers without the
    cofactor do not. Only the holder of the key can create it.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        seed: The device's secret seed.
        scheme: The device's scheme.
        times: The point of small order to add, from 1 to 7.
    """
    message = find(records, device_id, sequence).signed_message(scheme)
    signature = _curve.sign(seed, message, torsion_part=_curve.torsion()[times])
    return set_signature(records, device_id, sequence, signature=signature, findings=())


def replay_signature(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, of_sequence: int
) -> Tampered:
    """Copies the signature of another record, with another payload, of the same device.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        of_sequence: The record whose signature is copied.

    Raises:
        ValueError: Both commit to the same payload; under scheme `payload-hash` the signature is valid then.
    """
    victim, other = find(records, device_id, sequence), find(records, device_id, of_sequence)
    if victim.payload_hash == other.payload_hash:
        raise ValueError("both records commit to the same payload")
    return set_signature(records, device_id, sequence, signature=other.signature)


def sign_with_wrong_key(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, other: Device
) -> Tampered:
    """Signs a record with a key that does not belong to the device.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        other: The signer, with the scheme of the device.
    """
    signature = other.sign_record(find(records, device_id, sequence)).signature
    return set_signature(records, device_id, sequence, signature=signature)


def sign_with_key_of_other_sequence(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, other: Device
) -> Tampered:
    """Signs a record with a key of the device that is not valid at its sequence: a retired or a future one.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        other: The device with that key, which is in the key ring with the same scheme.
    """
    signature = other.sign_record(find(records, device_id, sequence)).signature
    findings = (Expected("key_not_valid_at_sequence", device_id, sequence),)
    return set_signature(records, device_id, sequence, signature=signature, findings=findings)


def forge_succession(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, forger: Device
) -> Tampered:
    """Turns a record into the succession of its device's key, without that key.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        forger: The stated successor, with the device's id and scheme.
    """
    # The reference of a succession by another key: its proof is one, but of another statement.
    other = Device.from_seed(device_id, bytes(32), scheme=forger.scheme)
    reference = other.rotate(forger, timestamp_ms=0)[0].object_ref
    stated = (Expected("succession_invalid", device_id, sequence),)
    return edit(
        records,
        device_id,
        sequence,
        {"object_ref": reference},
        under_record=(*invalid_at(device_id, sequence), *stated),
        under_payload_hash=stated,
        payloads=(Expected("payload_missing", device_id, sequence),),
    )


def state_own_successor(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, thief: Device, successor: Device
) -> Tampered:
    """Replaces a record by a succession to another key, signed with the device's key.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        thief: The device with its key.
        successor: The device with the key of the thief, which is not in the key ring.
    """
    victim = find(records, device_id, sequence)
    before = find(records, device_id, sequence - 1) if sequence > 1 else None
    record, payload = thief.resume(before).rotate(successor, timestamp_ms=victim.timestamp_ms)
    changed = [record if one is victim else one for one in records]
    expectations = Expectations(
        links=next_link_breaks(records, device_id, sequence),
        signatures=both(Expected("succession_invalid", device_id, sequence)),
        heads=head_is_missed(records, device_id, sequence),
    )
    return Tampered(tuple(changed), expectations, {record.object_ref: payload})


def sign_under_other_scheme(
    records: Sequence[AuditRecord], device_id: str, sequence: int, *, seed: bytes, scheme: Scheme
) -> Tampered:
    """Signs the message of the other scheme with the device's key: a downgrade if a record could choose.

    Args:
        records: The records.
        device_id: The victim's device.
        sequence: The victim's sequence.
        seed: The device's secret seed.
        scheme: The scheme of the registered key.
    """
    signer = Device.from_seed(device_id, seed, scheme=_OTHER[scheme])
    signature = signer.sign_record(find(records, device_id, sequence)).signature
    return set_signature(records, device_id, sequence, signature=signature)


def add_unknown_device(records: Sequence[AuditRecord], *, stranger: Device, payload: bytes) -> Tampered:
    """Adds a first record of a device that is not in the key ring.

    Args:
        records: The records.
        stranger: The signer, at the beginning of its chain.
        payload: The payload of the record.
    """
    reference = f"{stranger.device_id}/1.bin"
    latest = max(record.timestamp_ms for record in records)
    record = stranger.resume(None).sign(payload, reference, latest)
    unknown = both(Expected("unknown_device", stranger.device_id, 1))
    return Tampered((*records, record), Expectations(signatures=unknown), {reference: payload})


def append_forged(
    records: Sequence[AuditRecord], device_id: str, *, forger: Device, payload: bytes = b"all is well"
) -> Tampered:
    """Continues a chain without the device's key: correctly linked, signed with another key.

    Args:
        records: The records.
        device_id: The victim.
        forger: The signer, with the device's id and scheme.
        payload: The payload of the record.
    """
    last = last_of(records, device_id)
    reference = f"{device_id}/forged.bin"
    record = forger.resume(last).sign(payload, reference, last.timestamp_ms + 1)
    bad = both(Expected("signature_invalid", device_id, record.sequence))
    return Tampered((*records, record), Expectations(signatures=bad), {reference: payload})


def weak_keys() -> dict[str, bytes]:
    """Returns public keys that every key ring refuses with `ConfigError`.

    The eight points of small order, for which signatures need no secret; their encodings that are not
    canonical; and a key with a part of small order, whose verdict would depend on the verifier.
    """
    keys = {f"small_order_{times}": _curve.encode(point) for times, point in enumerate(_curve.torsion())}
    for name, y in (("zero", 0), ("one", 1)):
        for sign in (0, 1):
            encoding = (y + _curve.P | sign << 255).to_bytes(32, "little")
            keys[f"non_canonical_{name}_sign_{sign}"] = encoding
    keys["negative_zero"] = (1 | 1 << 255).to_bytes(32, "little")
    sound = _curve.decode(_curve.public_key(bytes(32)))
    assert sound is not None
    for times in range(1, 8):
        mixed = _curve.add(sound, _curve.torsion()[times])
        keys[f"mixed_order_{times}"] = _curve.encode(mixed)
    keys["off_curve"] = _curve.off_curve(_curve.public_key(bytes(32)))
    return keys
