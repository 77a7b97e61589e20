"""Devices, key rings and single signatures."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesentry import (
    AuditRecord,
    ConfigError,
    Device,
    EdgesentryError,
    Head,
    KeyRing,
    Outbox,
    verify_chain,
    verify_record,
)
from support import chains, device, key_ring


def test_a_device_continues_its_own_chain() -> None:
    signer = Device.generate("lift-01")
    assert signer.head is None
    first = signer.sign(b"door closed", "lift-01/1.bin", 1_700_000_000_000)
    second = signer.sign(bytearray(b"door open"), "lift-01/2.bin", 1_700_000_001_000)
    assert (first.sequence, first.prev_record_hash) == (1, bytes(32))
    assert (second.sequence, second.prev_record_hash) == (2, first.hash())
    assert signer.head == Head(2, second.hash())
    assert verify_chain([first, second], keys=key_ring([signer])).ok


def test_the_clock_gives_the_time_that_is_not_given() -> None:
    before = time.time_ns() // 1_000_000
    record = Device.generate("lift-01").sign(b"", "")
    assert before <= record.timestamp_ms <= time.time_ns() // 1_000_000
    with pytest.raises(ValueError, match="timestamp_ms"):
        Device.generate("lift-01").sign(b"", "", -1)


def test_a_device_resumes_after_a_head_or_a_record() -> None:
    signer = device(1)
    last = chains([signer], 3)[-1]
    for resumed in (device(1).resume(last), device(1).resume(signer.head)):
        assert resumed.sign(b"x", "y", 1) == signer.resume(last).sign(b"x", "y", 1)
    assert signer.resume(None).head is None
    assert signer.head == Head(3, last.hash())
    with pytest.raises(ValueError, match="lift-02"):
        device(2).resume(last)
    with pytest.raises(TypeError):
        signer.resume(3)  # type: ignore[arg-type]
    with pytest.raises(EdgesentryError, match="full"):
        signer.resume(Head(2**64 - 1, bytes(32))).sign(b"", "")


def test_a_seed_file_is_for_its_owner_only(tmp_path: Path) -> None:
    signer = Device.generate("lift-01")
    path = tmp_path / "lift-01.seed"
    signer.save_seed(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Device.from_seed_file("lift-01", path).public_key == signer.public_key
    assert Device.from_seed("lift-01", path.read_text().strip()).public_key == signer.public_key
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        signer.save_seed(path)
    assert path.read_bytes() == before
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Device.from_seed_file("lift-01", path)


@pytest.mark.parametrize("content", ["", "ab" * 31, "ab" * 33, "zz" * 32, "ab" * 32 + "\n\n"])
def test_a_malformed_seed_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lift-01.seed"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(ConfigError, match="64 hex digits") as caught:
        Device.from_seed_file("lift-01", path)
    assert content == "" or content.strip() not in str(caught.value)


def test_a_seed_is_never_shown() -> None:
    seed = os.urandom(32)
    assert seed.hex() not in repr(Device.from_seed("lift-01", seed))
    for wrong in (seed[:31], "ab"):
        with pytest.raises(ValueError, match="seed must be 32 bytes"):
            Device.from_seed("lift-01", wrong)
    with pytest.raises(ValueError, match="at least one character"):
        Device.generate("")
    with pytest.raises(ValueError, match="scheme"):
        Device.generate("lift-01", scheme="none")  # type: ignore[arg-type]


def test_the_scheme_decides_the_signed_fields(records: list[AuditRecord]) -> None:
    whole, payload_only = device(1), device(1, scheme="payload-hash")
    record = payload_only.sign(b"x", "y", 1)
    assert verify_record(record, payload_only.public_key)
    assert not verify_record(record, payload_only.public_key, "record")
    # The hole that scheme record closes.
    assert verify_record(record.replace(timestamp_ms=2), payload_only.public_key)
    signed = whole.sign_record(record)
    assert verify_record(signed, whole.public_key, "record")
    assert verify_record(signed, bytes.fromhex(whole.public_key), "record")
    assert not verify_record(signed.replace(timestamp_ms=2), whole.public_key, "record")
    assert whole.head is None


@given(bit=st.integers(0, 511))
def test_a_changed_signature_does_not_hold(bit: int) -> None:
    signer = device(1)
    record = signer.sign(b"x", "y", 1)
    changed = bytearray(record.signature)
    changed[bit // 8] ^= 1 << (bit % 8)
    assert not verify_record(record.replace(signature=bytes(changed)), signer.public_key, "record")


def test_weak_keys_are_refused(records: list[AuditRecord]) -> None:
    small_order = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
    for key in (small_order, "00" * 32, "ed" + "ff" * 30 + "7f", "f" * 63):
        with pytest.raises(ConfigError):
            verify_record(records[0], key)
        with pytest.raises(ConfigError):
            KeyRing().add("lift-01", key)
        with pytest.raises(ConfigError):
            KeyRing({"lift-01": key})


def test_a_key_ring_goes_to_a_file_and_back(tmp_path: Path) -> None:
    ring = KeyRing({"lift-01": device(1).public_key}, scheme="record")
    ring.add("lift-01", device(4).public_key, scheme="payload-hash", valid_from=100)
    ring.add("lift-02", bytes.fromhex(device(2).public_key))
    assert ring.devices == ["lift-01", "lift-02"]
    assert len(ring) == 2
    assert "lift-01" in ring
    assert "lift-03" not in ring
    assert ring.keys("lift-03") == []
    assert ring.keys("lift-01") == [
        {"key": device(1).public_key, "scheme": "record", "valid_from": 1},
        {"key": device(4).public_key, "scheme": "payload-hash", "valid_from": 100},
    ]
    path = tmp_path / "keys.json"
    ring.save(path)
    assert KeyRing(path) == ring
    assert KeyRing(ring) == ring
    assert path.read_text() == ring.to_json()
    with pytest.raises(ConfigError, match="two keys"):
        ring.add("lift-01", device(5).public_key, valid_from=100)
    for wrong in (-1, 2**64):
        with pytest.raises(ValueError, match="valid_from"):
            ring.add("lift-01", device(5).public_key, valid_from=wrong)


@pytest.mark.parametrize(
    "content", ["", "[", '{"a": 1}', '{"a": "00"}', '{"a": {"key": "00", "other": 1}}', "\xff"]
)
def test_a_malformed_key_ring_names_its_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"keys\.json"):
        KeyRing(path)


def test_a_ring_given_to_a_verification_stays_as_it_was(records: list[AuditRecord]) -> None:
    ring = KeyRing()
    report = verify_chain(records, keys=ring)
    assert report.counts == {"unknown_device": 3}
    ring.add("lift-01", device(1).public_key, scheme="record")
    assert verify_chain(records, keys=ring).counts == {"unknown_device": 2}


def test_a_device_rotates_its_key_and_a_ring_follows() -> None:
    lift = Device.from_seed("lift-01", bytes([1]) * 32)
    first = KeyRing(lift)
    records = [lift.sign(b"a", "1.bin", timestamp_ms=1)]
    with pytest.raises(ValueError, match="the new key is the old one"):
        lift.rotate(lift)
    with pytest.raises(ValueError, match="cannot take a key of device"):
        lift.rotate(Device.generate("lift-02"))
    record, payload = lift.rotate(Device.from_seed("lift-01", bytes([2]) * 32), timestamp_ms=2)
    records += [record, lift.sign(b"b", "3.bin", timestamp_ms=3)]
    assert record.payload_hash == Device.from_seed("x", bytes(32)).sign(payload, "x").payload_hash
    report = verify_chain(records, keys=first)
    assert list(report.counts) == ["signature_invalid", "succession_invalid"]
    keys = first.follow(records)
    assert [key["valid_from"] for key in keys.keys("lift-01")] == [1, 3]
    assert verify_chain(records, keys=keys, require="signatures").ok
    assert first.follow(records[:1]) == first
    forged = [records[0], record.replace(object_ref=record.object_ref.replace(":1:", ":2:"))]
    with pytest.raises(ConfigError, match='device "lift-01", sequence 2: '):
        first.follow(forged)


def test_an_outbox_rotates_its_key(tmp_path: Path) -> None:
    old, new = (Device.from_seed("lift-01", bytes([seed]) * 32) for seed in (1, 2))
    with Outbox(tmp_path / "outbox", old) as outbox:
        assert outbox.rotate(new).sequence == 1
        assert outbox.sign(b"x", "x.bin").sequence == 2
    with (
        Outbox(tmp_path / "outbox", old) as outbox,
        pytest.raises(EdgesentryError, match="was succeeded at sequence 1"),
    ):
        outbox.sign(b"x", "x.bin")
    with Outbox(tmp_path / "outbox", new) as outbox:
        assert outbox.sign(b"x", "x.bin").sequence == 3
