"""Likely causes that a report names, and keys that know their scheme."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import edgesentry
from edgesentry import (
    AuditRecord,
    ConfigError,
    Device,
    KeyRing,
    PublicKey,
    verify_chain,
    verify_record,
    write_records,
)
from support import chains, device, envelope, payload


def chain(signer: Device, count: int) -> list[AuditRecord]:
    return [signer.sign(f"{at}".encode(), f"{at}", timestamp_ms=at) for at in range(count)]


def test_files_in_glob_order_have_the_hint_of_a_wrong_order(tmp_path: Path) -> None:
    records = chain(device(1), 110)
    for part in range(11):
        write_records(records[part * 10 : part * 10 + 10], tmp_path / f"part-{part}.ndjson")
    report = verify_chain(sorted(tmp_path.glob("part-*.ndjson")))
    assert report.counts == {"sequence_gap": 1, "sequence_out_of_order": 1}
    [hint] = report.hints
    assert hint.startswith(
        'the records of device "lift-01" are complete and linked, but do not come in the order'
    )
    assert "give the inputs in the order of their records (part-2 before part-10)" in hint
    [entry] = json.loads(report.to_json())["hints"]
    assert (entry["code"], entry["devices"], entry["message"]) == ("not_in_order", 1, hint)
    assert "Likely cause: the records of device" in report.summary()
    assert "Likely cause" in report.to_html()
    assert verify_chain([tmp_path / f"part-{part}.ndjson" for part in range(11)]).hints == []


@pytest.mark.parametrize("max_findings", [0, 3, 100_000])
def test_complete_rows_in_another_order_have_a_hint(max_findings: int) -> None:
    rows = [record for number in (1, 2, 3) for record in chain(device(number), 40)]
    shuffled = [rows[at * 7 % len(rows)] for at in range(len(rows))]
    report = verify_chain(shuffled, max_findings=max_findings)
    [hint] = report.hints
    assert hint.startswith('the records of 3 devices (the first is "lift-01") are complete and linked')
    assert hint.endswith(": sort the records by device_id and sequence")
    assert verify_chain(sorted(shuffled, key=lambda row: (row.device_id, row.sequence))).ok


def test_a_signature_under_the_other_scheme_is_reported() -> None:
    signer = device(1)
    records = chain(signer, 3)
    keys = {"lift-01": str(signer.public_key)}
    report = verify_chain(records, keys=keys, scheme="payload-hash")
    assert report.counts == {"signature_invalid": 3}
    assert "holds under scheme record: register the key with it" in str(report.findings[0].actual)
    assert report.hints == [
        '3 invalid signatures hold under scheme record, of device "lift-01": register the key with it'
    ]
    # No record is signed under this scheme.
    [gap] = (gap for gap in report.coverage.not_checked if "payload-hash" in gap)
    assert gap.startswith("signatures: 3 records were checked under scheme payload-hash, ")


def test_a_key_without_a_scheme_has_the_same_one_everywhere(tmp_path: Path) -> None:
    records, key = chains([device(1)], 3), str(device(1).public_key)
    ring = KeyRing()
    ring.add("lift-01", key)
    (tmp_path / "keys.json").write_text(json.dumps({"lift-01": key}))
    given: list[Any] = [ring, {"lift-01": key}, {"lift-01": {"key": key}}, KeyRing({"lift-01": key})]
    for keys in given:
        assert verify_chain(records, keys=keys).ok
    # Files of devices in the field have bare keys.
    assert verify_chain(records, keys=tmp_path / "keys.json").hints == [
        '3 invalid signatures hold under scheme record, of device "lift-01": register the key with it'
    ]
    assert verify_record(records[0], key)
    write_records(records, tmp_path / "export.json")
    write_records(records[:1], tmp_path / "record.json")
    envelope("verify-chain", tmp_path / "export.json", "--keys", tmp_path / "keys.json", "--scheme", "record")
    envelope("verify-record", tmp_path / "record.json", "--public-key", key)
    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        ledger.register_device("lift-01", key)
        ledger.register_device("lift-02", device(2).public_key)
        assert ledger.ingest_many([(record, payload(record)) for record in records]).ok
        assert ledger.verify(keys={"lift-01": key}).ok
        other = device(2, scheme="payload-hash").sign(b"x", "lift-02/1.bin")
        outcome = ledger.ingest(other, b"x")
    assert (outcome.reason, outcome.expected) == (
        "signature_invalid",
        f"a signature of the record scheme by key {device(2).public_key}",
    )
    assert outcome.actual is not None
    assert (
        "that holds under scheme payload-hash: register the key with it only if its owner" in outcome.actual
    )


def test_the_key_of_a_device_has_its_scheme(tmp_path: Path) -> None:
    signer, plain = device(1), Device.from_seed("lift-02", bytes([2]) * 32, scheme="payload-hash")
    records = [*chain(signer, 3), *chain(plain, 3)]
    key = signer.public_key
    assert isinstance(key, PublicKey)
    assert (len(key), key.scheme, plain.public_key.scheme) == (64, "record", "payload-hash")
    for copied in (pickle.loads(pickle.dumps(key)), copy.deepcopy(key)):
        assert (copied, copied.scheme) == (key, "record")
    ring = KeyRing()
    ring.add("lift-01", key)
    ring.add("lift-02", plain.public_key)
    for keys in (
        {"lift-01": key, "lift-02": plain.public_key},
        {"lift-01": [{"key": key}], "lift-02": plain},
        {"lift-01": (signer,), "lift-02": {"key": plain.public_key, "scheme": "payload-hash"}},
        [signer, plain],
        ring,
    ):
        assert verify_chain(records, keys=keys).ok, keys
    assert verify_chain(records[:3], keys=signer).ok
    assert verify_record(records[0], key)
    assert verify_record(records[3], plain.public_key)
    # A given scheme has priority, and JSON holds only digits.
    assert KeyRing({"a": key}).keys("a")[0]["scheme"] == "record"
    assert KeyRing({"a": {"key": key, "scheme": "payload-hash"}}).keys("a")[0]["scheme"] == "payload-hash"
    assert json.loads(json.dumps(key)) == str(key)
    with pytest.raises(TypeError, match="a Device or a list of them"):
        verify_chain(records, keys=[key])  # type: ignore[list-item]


def test_a_key_belongs_to_one_scheme() -> None:
    key = device(1).public_key
    ring = KeyRing({"lift-01": key})
    with pytest.raises(
        ConfigError, match=f'key {key[:16]}… is given to device "lift-02" with scheme payload-hash'
    ):
        ring.add("lift-02", key, scheme="payload-hash")
    with pytest.raises(ConfigError, match='to device "a" with scheme record: a key belongs to one scheme'):
        KeyRing({"a": {"key": key, "scheme": "record"}, "b": {"key": key, "scheme": "payload-hash"}})
    assert ring.devices == ["lift-01"]
