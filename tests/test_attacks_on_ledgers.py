"""The catalogue against real ledgers, altered by SQL behind the service's back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

import edgesentry
from edgesentry import Head, Ledger
from edgesentry.testing import CATALOGUE, Attack, Fleet, Tampered, found, make_fleet, to_sql
from support import payload_path, place_payloads
from test_ledger import database

Alter: TypeAlias = Callable[[Tampered], None]


class Victims:
    """A filled ledger, and a function to alter it."""

    def __init__(self, ledger: Ledger, fleet: Fleet, alter: Alter) -> None:
        self.ledger, self.fleet, self.alter = ledger, fleet, alter
        fleet.fill(ledger)
        # Trusted: taken before anything was altered.
        self.heads: dict[str, Head] = ledger.heads()


SCRIPT = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=60).executescript(sys.stdin.read())"
FLEET = make_fleet(3, 5, scheme=["record", "payload-hash"], seed=11)


@pytest.fixture(scope="module")
def sqlite_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    path = tmp_path_factory.mktemp("sqlite") / "ledger.db"

    def alter(tampered: Tampered) -> None:
        # In a separate process: two copies of SQLite in one process do not see each other's locks.
        command = [sys.executable, "-c", SCRIPT, str(path)]
        subprocess.run(command, input=to_sql(tampered), text=True, check=True)

    with edgesentry.open(path) as ledger:
        yield Victims(ledger, FLEET, alter)


@pytest.fixture(scope="module")
def postgres_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    url, payloads = database(), tmp_path_factory.mktemp("payloads")

    def alter(tampered: Tampered) -> None:
        script = to_sql(tampered, dialect="postgres")
        subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", url], input=script, text=True, check=True)
        # Each record has the payload that its reference names.
        place_payloads(payloads, tampered.records, tampered.payloads(FLEET.payloads))

    with edgesentry.open(url, f"folder:{payloads}") as ledger:
        victims = Victims(ledger, FLEET, alter)
        there = {path.relative_to(payloads).as_posix() for path in payloads.rglob("*") if path.is_file()}
        assert there == {payload_path(record) for record in FLEET.records}
        yield victims


def restoration(fleet: Fleet, tampered: Tampered) -> Tampered:
    """Returns the script that undoes a tampering."""
    return Tampered(fleet.records, tampered.expectations, fleet.payloads)


def check(victims: Victims, attack: Attack) -> None:
    fleet, ledger = victims.fleet, victims.ledger
    tampered = attack(fleet)
    if not tampered.fits_table:
        with pytest.raises(ValueError, match="does not allow"):
            to_sql(tampered)
        return
    victims.alter(tampered)
    try:
        for levels in ((), ("signatures",), ("signatures", "payloads", "heads")):
            report = ledger.verify(
                keys=fleet.keys if "signatures" in levels else None,
                heads=victims.heads if "heads" in levels else None,
                payloads="payloads" in levels,
                threads=1,
            )
            assert found(report) == tampered.expected(*levels, scheme=fleet.schemes)
    finally:
        victims.alter(restoration(fleet, tampered))


@pytest.mark.parametrize("attack", CATALOGUE.values(), ids=str)
def test_a_sqlite_ledger_altered_by_sql(sqlite_ledger: Victims, attack: Attack) -> None:
    check(sqlite_ledger, attack)


@pytest.mark.parametrize("attack", CATALOGUE.values(), ids=str)
def test_a_postgres_ledger_altered_by_sql(postgres_ledger: Victims, attack: Attack) -> None:
    check(postgres_ledger, attack)


def test_most_attacks_fit_a_table() -> None:
    """The primary key forbids only attacks that double or move a record."""
    misfits = {name for name, attack in CATALOGUE.items() if not attack(FLEET).fits_table}
    expected = {"duplicate", "duplicate_later", "fork", "insert_forged", "move_back", "swap_with_next"}
    assert misfits - {"flip_sequence_bit"} == expected


def test_a_restored_ledger_is_sound(sqlite_ledger: Victims) -> None:
    report = sqlite_ledger.ledger.verify(keys=FLEET.keys, heads=sqlite_ledger.heads, payloads=True)
    assert report.ok, report.summary()
    assert Path(sqlite_ledger.ledger.place.removeprefix("sqlite:")).name == "ledger.db"
