"""The pytest plugin of EdgeSentry: fixtures for sound fleets, attacks, ledgers and a running service.

pytest loads every installed plugin at every start, even in projects that do not use it. So this plugin is a
package beside `edgesentry` and imports `edgesentry` only when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgesentry import AuditRecord, Device, KeyRing, Ledger, Scheme
    from edgesentry.testing import Attack, Fleet, MalformedFile, Place, Served, Tampered

pytest.register_assert_rewrite("edgesentry.testing._assert")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the settings to the configuration of pytest; environment variables may set them too."""
    from pytest_edgesentry._options import add_options

    add_options(parser)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Generates one test for each attack, broken file or store if a test uses them."""
    wanted = {
        name for name in metafunc.fixturenames if name in ("edgesentry_attack", "edgesentry_malformed_file")
    }
    if wanted:
        from edgesentry.testing import CATALOGUE, MALFORMED_FILES

        for name in sorted(wanted):
            cases = CATALOGUE if name == "edgesentry_attack" else MALFORMED_FILES
            metafunc.parametrize(name, cases.values(), ids=list(cases), indirect=True)
    if "edgesentry_store" in metafunc.fixturenames:
        from pytest_edgesentry._options import stores

        metafunc.parametrize("edgesentry_store", stores(metafunc.config), indirect=True)


@pytest.fixture
def edgesentry_scheme() -> Scheme:
    """The scheme of the devices of `edgesentry_fleet`: `record`. Override it to test another."""
    return "record"


@pytest.fixture
def edgesentry_make_fleet() -> Callable[..., Fleet]:
    """`edgesentry.testing.make_fleet`, which creates a fleet of a given size."""
    from edgesentry.testing import make_fleet

    return make_fleet


@pytest.fixture
def edgesentry_fleet(edgesentry_scheme: Scheme) -> Fleet:
    """A sound fleet: three devices with eight records each, payloads, keys and heads."""
    from edgesentry.testing import make_fleet

    return make_fleet(scheme=edgesentry_scheme)


@pytest.fixture
def edgesentry_devices(edgesentry_fleet: Fleet) -> dict[str, Device]:
    """The devices of `edgesentry_fleet`, each at the end of its chain."""
    devices = {}
    for name, signer in edgesentry_fleet.signers.items():
        devices[name] = signer.device().resume(edgesentry_fleet.chain(name)[-1])
    return devices


@pytest.fixture
def edgesentry_records(edgesentry_fleet: Fleet) -> list[AuditRecord]:
    """The records of `edgesentry_fleet`, interleaved."""
    return list(edgesentry_fleet.records)


@pytest.fixture
def edgesentry_chain(edgesentry_fleet: Fleet) -> list[AuditRecord]:
    """The chain of the first device of `edgesentry_fleet`."""
    return edgesentry_fleet.chain(next(iter(edgesentry_fleet.signers)))


@pytest.fixture
def edgesentry_keys(edgesentry_fleet: Fleet) -> KeyRing:
    """The key ring of `edgesentry_fleet`."""
    return edgesentry_fleet.keys


@pytest.fixture
def edgesentry_payloads(edgesentry_fleet: Fleet, tmp_path: Path) -> Path:
    """A directory with the payloads of `edgesentry_fleet`."""
    from edgesentry.testing import write_payloads

    folder = tmp_path / "edgesentry-payloads"
    folder.mkdir()
    write_payloads(edgesentry_fleet.payloads, folder)
    return folder


@pytest.fixture
def edgesentry_attack(request: pytest.FixtureRequest) -> Attack:
    """Each attack of the catalogue in turn."""
    attack: Attack = request.param
    return attack


@pytest.fixture
def edgesentry_tampered(edgesentry_fleet: Fleet, edgesentry_attack: Attack) -> Tampered:
    """`edgesentry_fleet` after each attack of the catalogue in turn."""
    return edgesentry_attack(edgesentry_fleet)


@pytest.fixture
def edgesentry_malformed_file(request: pytest.FixtureRequest) -> MalformedFile:
    """Each broken file of the catalogue in turn."""
    malformed: MalformedFile = request.param
    return malformed


@pytest.fixture
def edgesentry_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each configured store in turn, empty, as arguments of `edgesentry.open`."""
    from pytest_edgesentry._stores import place

    with place(request.param, request.config, tmp_path) as made:
        yield made


@pytest.fixture
def edgesentry_ledger(edgesentry_store: Place) -> Iterator[Ledger]:
    """An empty, open ledger on each configured store in turn."""
    with edgesentry_store.open() as ledger:
        yield ledger


@pytest.fixture
def edgesentry_service(edgesentry_ledger: Ledger, edgesentry_fleet: Fleet) -> Ledger:
    """A running ingest service, in this process, on each configured store in turn.

    The devices of `edgesentry_fleet` are registered; none of their records is ingested yet.
    """
    edgesentry_fleet.register(edgesentry_ledger)
    return edgesentry_ledger


@pytest.fixture
def edgesentry_server(edgesentry_fleet: Fleet, tmp_path: Path) -> Iterator[Served]:
    """`eds serve` in a separate process, on a free port of this machine, with a ledger in SQLite.

    It is ready, and is stopped by SIGTERM after the test. The devices of `edgesentry_fleet` are registered;
    none of their records is ingested yet.
    """
    from edgesentry.testing import Place, serve

    place = Place("sqlite", f"sqlite:{tmp_path / 'edgesentry-server.db'}", "ledger")
    with place.open() as ledger:
        edgesentry_fleet.register(ledger)
    with serve(place, tmp_path) as served:
        yield served
