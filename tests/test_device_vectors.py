"""The package signs as the vectors of devices say, which the Rust and C libraries reproduce as well."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from edgesentry import Device, KeyRing, Scheme, verify_chain

SCHEMES: dict[str, Scheme] = {"record": "record", "payload-hash": "payload-hash"}
VECTORS = Path(__file__).parent / "vectors" / "device" / "records.tsv"


def test_records_are_those_of_the_vectors() -> None:
    lines = [line.split("\t") for line in VECTORS.read_text(encoding="utf-8").splitlines()[1:]]
    assert len(lines) >= 10
    for (seed, scheme, device_id), chain in groupby(lines, key=lambda line: tuple(line[:3])):
        device = Device.from_seed(device_id, bytes.fromhex(seed), scheme=SCHEMES[scheme])
        records = []
        for _, _, _, timestamp_ms, object_ref, payload, canonical_bytes, record_hash in chain:
            record = device.sign(bytes.fromhex(payload), object_ref, int(timestamp_ms))
            assert record.canonical_bytes().hex() == canonical_bytes
            assert record.hash().hex() == record_hash
            records.append(record)
        keys = KeyRing()
        keys.add(device_id, device.public_key, scheme=SCHEMES[scheme])
        assert verify_chain(records, keys=keys).ok
