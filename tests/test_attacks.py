"""The catalogue of attacks: exactly the expected findings, under every scheme and level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain, combinations
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from attacks_page import page
from edgesentry import (
    ConfigError,
    Device,
    KeyRing,
    Level,
    Report,
    Scheme,
    UnreadableError,
    verify_chain,
    verify_record,
)
from edgesentry.testing import (
    CATALOGUE,
    MALFORMED_FILES,
    Attack,
    Expected,
    Fleet,
    MalformedFile,
    Tampered,
    Victim,
    assert_report,
    attacks,
    found,
    make_fleet,
    weak_keys,
    write_payloads,
)
from edgesentry.testing import _curve as curve
from edgesentry.testing.strategies import tamperings
from support import START_MS

LEVELS: tuple[Level, ...] = ("signatures", "payloads", "heads")
SUBSETS: list[tuple[Level, ...]] = list(
    chain.from_iterable(combinations(LEVELS, size) for size in range(len(LEVELS) + 1))
)
FLEETS: dict[str, Mapping[str, object]] = {
    "even": {"devices": 3, "records": 6},
    "random": {"devices": 3, "records": 7, "seed": 1},
    "alone": {"devices": 1, "records": 5, "seed": 2},
    "short": {"devices": 4, "records": 2, "seed": 3},
}
MIXES: dict[str, list[Scheme]] = {
    "record": ["record"],
    "payload-hash": ["payload-hash"],
    "mixed": ["record", "payload-hash"],
}


@pytest.fixture(scope="module", params=[f"{fleet}-{mix}" for fleet in FLEETS for mix in MIXES])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    name, mix = request.param.split("-", 1)
    return make_fleet(scheme=MIXES[mix], **FLEETS[name])  # type: ignore[arg-type]


def verify(fleet: Fleet, tampered: Tampered, levels: tuple[Level, ...], folder: Path) -> Report:
    return verify_chain(
        tampered.records,
        keys=fleet.keys if "signatures" in levels else None,
        payloads=folder if "payloads" in levels else None,
        heads=fleet.heads if "heads" in levels else None,
        threads=1,
    )


def check(fleet: Fleet, tampered: Tampered, folder: Path) -> None:
    """Every combination of levels finds exactly the expected findings."""
    folder.mkdir()
    write_payloads(tampered.payloads(fleet.payloads), folder)
    for levels in SUBSETS:
        report = verify(fleet, tampered, levels, folder)
        expected = tampered.expected(*levels, scheme=fleet.schemes)
        if tampered.records:
            assert_report(report, expected, checked=levels)
        else:
            assert not report.ok
        assert found(report) == expected


@pytest.mark.parametrize("attack", CATALOGUE.values(), ids=str)
def test_an_attack_is_found_exactly_as_said(attack: Attack, fleet: Fleet, tmp_path: Path) -> None:
    random = Random(attack.name)
    victims = attack.victims(fleet)
    if not victims:
        with pytest.raises(ValueError, match=attack.name):
            attack(fleet)
    before = fleet.records
    for at, victim in enumerate(random.sample(victims, min(3, len(victims)))):
        check(fleet, attack(fleet, victim, seed=at), tmp_path / str(at))
    assert fleet.records == before


def test_every_attack_has_victims() -> None:
    fleet = make_fleet()
    assert all(attack.victims(fleet) for attack in CATALOGUE.values())
    assert len(CATALOGUE) >= 45


def test_a_fleet_is_sound(fleet: Fleet, tmp_path: Path) -> None:
    write_payloads(fleet.payloads, tmp_path)
    report = verify_chain(fleet.records, keys=fleet.keys, payloads=tmp_path, heads=fleet.heads)
    assert_report(report, checked=LEVELS)
    assert report.coverage.devices == len(fleet.signers)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tampering=tamperings())
def test_any_tampering_is_found_exactly_as_said(
    tampering: tuple[Fleet, Attack, Tampered], tmp_path_factory: pytest.TempPathFactory
) -> None:
    fleet, _attack, tampered = tampering
    check(fleet, tampered, tmp_path_factory.mktemp("any") / "payloads")


@pytest.mark.parametrize("scheme", ["record", "payload-hash"])
def test_every_bit_of_every_field_is_guarded(scheme: Scheme, tmp_path: Path) -> None:
    fleet = make_fleet(1, 3, scheme=scheme)
    victim = Victim("lift-01", 2)
    flips = {
        attacks.flip_timestamp_bit: 64,
        attacks.flip_payload_hash_bit: 256,
        attacks.flip_signature_bit: 512,
        attacks.flip_prev_record_hash_bit: 256,
        attacks.flip_sequence_bit: 40,
    }
    for flip, bits in flips.items():
        for bit in range(bits):
            tampered = flip(fleet.records, *victim, bit=bit)
            report = verify_chain(tampered.records, keys=fleet.keys, threads=1)
            assert found(report) == tampered.expected("signatures", scheme=scheme), (flip, bit)
            assert not report.ok


# The hole of scheme payload-hash, and its remedies.


def test_the_hole_is_there_and_the_record_scheme_closes_it() -> None:
    cases: list[tuple[Scheme, bool]] = [("payload-hash", False), ("record", True)]
    for scheme, is_found in cases:
        fleet = make_fleet(scheme=scheme)
        for name in ("edit_time_and_relink", "delete_and_relink", "swap_and_relink", "append_replayed"):
            tampered = CATALOGUE[name](fleet)
            assert (not verify_chain(tampered.records, keys=fleet.keys).ok) == is_found, name
            against_heads = verify_chain(tampered.records, keys=fleet.keys, heads=fleet.heads)
            # Neither detects a replay after the trusted head.
            assert (not against_heads.ok) == (is_found or name != "append_replayed"), name


# Keys and signatures.


@pytest.mark.parametrize("name", weak_keys())
def test_a_weak_key_never_enters_a_key_ring(name: str) -> None:
    key = weak_keys()[name]
    with pytest.raises(ConfigError):
        KeyRing().add("lift-01", key)
    with pytest.raises(ConfigError):
        KeyRing({"lift-01": key.hex()})
    with pytest.raises(ConfigError):
        verify_record(make_fleet().records[0], key)


def test_the_curve_is_that_of_the_core() -> None:
    seed = bytes(range(32))
    device = Device.from_seed("lift-01", seed)
    assert curve.public_key(seed).hex() == device.public_key
    record = device.sign(b"x", "y", START_MS)
    for nonce in (None, 12345):
        signature = curve.sign(seed, record.signed_message("record"), nonce=nonce)
        assert (signature == record.signature) == (nonce is None)
        assert verify_record(record.replace(signature=signature), device.public_key, "record")
    assert record.signed_message("payload-hash") == record.payload_hash
    assert len(set(curve.torsion())) == 8
    assert all(curve.multiply(8, point) == curve.IDENTITY for point in curve.torsion())
    assert curve.multiply(curve.L, curve.BASE) == curve.IDENTITY


def test_an_accepted_encoding_is_accepted_alone_and_in_a_batch() -> None:
    fleet = make_fleet(1, 40)
    for name in ("small_order_r", "mixed_order_r"):
        for seed in range(8):
            tampered = CATALOGUE[name](fleet, Victim("lift-01", 40), seed=seed)
            last = tampered.records[-1]
            assert verify_record(last, fleet.signers["lift-01"].device().public_key, "record")
            assert verify_chain(tampered.records, keys=fleet.keys).ok


# Broken files.


@pytest.mark.parametrize("malformed", MALFORMED_FILES.values(), ids=str)
def test_a_broken_file_is_refused_exactly_as_said(malformed: MalformedFile, tmp_path: Path) -> None:
    for count in (4, 9):
        broken = malformed(make_fleet(1, count).records)
        path = tmp_path / "export"
        path.write_bytes(broken.content)
        for source in (path, broken.content):
            if broken.unreadable:
                with pytest.raises(UnreadableError):
                    verify_chain(source)
            else:
                assert_report(verify_chain(source), broken.findings)


# The helpers themselves.


def test_assert_report_lists_the_differences() -> None:
    fleet = make_fleet(1, 4)
    tampered = attacks.delete(fleet.records, "lift-01", 2)
    report = verify_chain(tampered.records, keys=fleet.keys)
    assert_report(report, [("sequence_gap", "lift-01", 3)], checked=["signatures"])
    with pytest.raises(AssertionError) as caught:
        assert_report(report, [("fork", "lift-01", 3)], checked=["heads"])
    assert str(caught.value).splitlines() == [
        "<Report findings: 1 finding in 3 records of 1 device> does not have the expected findings",
        "  heads were not checked",
        "  missing: fork, device 'lift-01', sequence 3",
        "  not expected: sequence_gap, device 'lift-01', sequence 3",
    ]
    with pytest.raises(AssertionError, match="nothing to verify"):
        assert_report(verify_chain([]))
    with pytest.raises(AssertionError, match="were not kept"):
        assert_report(verify_chain(tampered.records, max_findings=0))
    # Each as often as given.
    with pytest.raises(AssertionError, match=r"missing[^\n]*\n  and 1 finding as expected"):
        assert_report(report, [("sequence_gap", "lift-01", 3)] * 2)


def test_an_impossible_attack_is_a_value_error() -> None:
    records = make_fleet(2, 3).records
    with pytest.raises(ValueError, match="no record of device 'lift-09'"):
        attacks.delete(records, "lift-09", 1)
    with pytest.raises(ValueError, match="remove_device"):
        attacks.delete(records, "lift-01", 1, count=3)
    with pytest.raises(ValueError, match="bit 512"):
        attacks.flip_signature_bit(records, "lift-01", 1, bit=512)
    with pytest.raises(ValueError, match="swap_devices"):
        attacks.rename_device(records, "lift-01", to="lift-02")
    with pytest.raises(ValueError, match="later"):
        attacks.move(records, "lift-01", 2, behind=1)
    with pytest.raises(ValueError, match="one chain"):
        MALFORMED_FILES["line_cut"](records)


def test_an_expectation_is_a_tuple() -> None:
    assert Expected("fork", "lift-01", 3) == ("fork", "lift-01", 3)
    assert Counter([Expected("fork", "lift-01", 3)])["fork", "lift-01", 3] == 1  # type: ignore[index]


def test_the_page_of_attacks_is_that_of_the_catalogue() -> None:
    written = (Path(__file__).parent.parent / "docs" / "reference" / "attacks.md").read_text()
    assert written == page(), "run: .venv/bin/python tests/attacks_page.py > docs/reference/attacks.md"
