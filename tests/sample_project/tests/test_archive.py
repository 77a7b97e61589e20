"""The archive refuses every attack of the catalogue that its inputs can detect."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from lift_archive import SuspiciousArchive, archive

import edgesentry
from edgesentry import Level, Report
from edgesentry.testing import Attack, Fleet, MalformedFile, Tampered, assert_report, write_payloads
from edgesentry.testing.strategies import tamperings

LEVELS: tuple[Level, ...] = ("signatures", "payloads", "heads")


def test_a_sound_fleet_is_archived(
    edgesentry_fleet: Fleet, edgesentry_payloads: Path, tmp_path: Path
) -> None:
    fleet = edgesentry_fleet
    report = archive(
        fleet.records,
        tmp_path / "archive.parquet",
        keys=fleet.keys,
        heads=fleet.heads,
        payloads=edgesentry_payloads,
    )
    assert_report(report, checked=LEVELS)
    assert edgesentry.verify_chain(tmp_path / "archive.parquet", keys=fleet.keys).ok


def test_an_attack_is_not_archived(
    edgesentry_fleet: Fleet, edgesentry_attack: Attack, edgesentry_tampered: Tampered, tmp_path: Path
) -> None:
    fleet, tampered = edgesentry_fleet, edgesentry_tampered
    folder, path = tmp_path / "payloads", tmp_path / "archive.parquet"
    folder.mkdir()
    write_payloads(tampered.payloads(fleet.payloads), folder)
    expected = tampered.expected(*LEVELS, scheme="record")

    def attempt() -> Report:
        return archive(tampered.records, path, keys=fleet.keys, heads=fleet.heads, payloads=folder)

    if not expected:
        # No verification can detect these: the device itself made them.
        assert edgesentry_attack.attacker in ("device", "key holder")
        attempt()
        return
    with pytest.raises(SuspiciousArchive) as caught:
        attempt()
    assert_report(caught.value.report, expected, checked=LEVELS)
    assert not path.exists()


def test_a_broken_file_does_not_pass(
    edgesentry_malformed_file: MalformedFile, edgesentry_chain: list[edgesentry.AuditRecord], tmp_path: Path
) -> None:
    broken = edgesentry_malformed_file(edgesentry_chain)
    path = tmp_path / "received"
    path.write_bytes(broken.content)
    if broken.unreadable:
        with pytest.raises(edgesentry.UnreadableError):
            edgesentry.verify_chain(path)
    else:
        assert_report(edgesentry.verify_chain(path), broken.findings)


@settings(max_examples=20, deadline=None)
@given(tampering=tamperings())
def test_any_tampering(tampering: tuple[Fleet, Attack, Tampered]) -> None:
    fleet, _attack, tampered = tampering
    if tampered.records:
        report = edgesentry.verify_chain(tampered.records, keys=fleet.keys, heads=fleet.heads)
        assert_report(report, tampered.expected("signatures", "heads", scheme=fleet.schemes))
