"""Attacks in the presence of a transparency log: exactly the expected findings, with the log and without it.

The log is made in Python from the reference, so it also shows that two programs without common code read the
same formats.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edgesentry import Policy, verify_chain
from edgesentry.testing import (
    CATALOGUE,
    LOG_CATALOGUE,
    Attack,
    Fleet,
    Log,
    LogAttack,
    assert_report,
    found,
    log_policy,
    make_fleet,
    make_log,
    write_log,
)

FLEETS = {
    "even": make_fleet(3, 6),
    "random": make_fleet(3, 7, seed=1, scheme="payload-hash"),
    "mixed": make_fleet(4, 5, seed=2, scheme=["record", "payload-hash"]),
}
README = Path(__file__).parent.parent / "docs" / "findings" / "README.md"


@pytest.fixture(scope="module", params=FLEETS)
def fleet(request: pytest.FixtureRequest) -> Fleet:
    return FLEETS[request.param]


@pytest.fixture(scope="module")
def logged(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Log, dict[str, Any]]:
    """The log of the fleet, and its files."""
    log = make_log(fleet)
    folder = tmp_path_factory.mktemp("log")
    return log, write_log(folder, checkpoint=log.checkpoint(), layout=log.layout)


def test_the_log_of_a_fleet_is_sound(fleet: Fleet, tmp_path: Path) -> None:
    log = make_log(fleet)
    files = write_log(
        tmp_path, checkpoint=log.checkpoint(), layout=log.layout, previous=log.checkpoint(log.sizes[0])
    )
    report = verify_chain(fleet.records, keys=fleet.keys, require=["signatures", "log"], **files)
    assert_report(report, checked=["signatures"])
    covered = report.coverage.log
    assert covered is not None
    assert (covered.size, covered.records, covered.after) == (len(log.leaves), len(fleet.records), 0)
    assert (covered.compared, covered.previous, covered.witnesses) == (True, True, 1)
    assert log.expected(fleet.records) == []
    assert Policy(log_policy()).witnesses == ["ours"]


@pytest.mark.parametrize("attack", CATALOGUE.values(), ids=str)
def test_an_attack_of_the_catalogue_in_a_log(
    attack: Attack, fleet: Fleet, logged: tuple[Log, dict[str, Any]]
) -> None:
    """The log adds its findings to those of the signatures, and changes none of them."""
    log, files = logged
    for victim in attack.victims(fleet)[::3]:
        tampered = attack(fleet, victim)
        report = verify_chain(tampered.records, keys=fleet.keys, threads=1, **files)
        without = tampered.expected("signatures", scheme=fleet.schemes)
        added = log.expected(tampered.records)
        assert_report(report, [*without, *added])
        # Attacks on payloads change no record.
        is_other = sorted(record.hash() for record in tampered.records) != sorted(
            record.hash() for record in fleet.records
        )
        assert bool(added) == is_other


@pytest.mark.parametrize("attack", LOG_CATALOGUE.values(), ids=str)
def test_an_attack_on_the_log_is_found_exactly_as_said(
    attack: LogAttack, fleet: Fleet, tmp_path: Path
) -> None:
    evidence = attack(fleet)
    files = evidence.write(tmp_path)
    report = verify_chain(evidence.records, keys=evidence.keys, threads=1, **files)
    assert found(report) == evidence.expected
    assert evidence.added
    without = verify_chain(evidence.records, keys=evidence.keys, threads=1)
    assert found(without) == evidence.without


def test_links_and_signatures_of_payload_hash_see_none_of_them() -> None:
    fleet = FLEETS["random"]
    assert {name for name, attack in LOG_CATALOGUE.items() if attack(fleet).without} == set()


def test_every_finding_of_the_log_has_an_attack() -> None:
    fleet = FLEETS["even"]
    codes = {one.code for attack in LOG_CATALOGUE.values() for one in attack(fleet).added}
    pages = re.findall(r"^\| \[(\w+)\].*\| log \|$", README.read_text(), re.MULTILINE)
    # Damage of a bundle, which tests/bundles.py makes.
    assert codes == set(pages) - {"bundle_malformed"}
    assert len(codes) == 10


def test_the_expectations_of_the_log_need_the_log() -> None:
    tampered = CATALOGUE["truncate"](FLEETS["even"])
    with pytest.raises(ValueError, match=r"Log\.expected"):
        tampered.expected("log", scheme="record")
