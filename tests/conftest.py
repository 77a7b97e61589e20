"""Fixtures of the Python tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edgesentry import AuditRecord, Device, KeyRing, write_records
from support import EXPORTS, chains, device, key_ring

# A separate project, which test_plugin.py runs.
collect_ignore = ["sample_project"]

# As a terminal starts Python. `nohup make test &` ignores SIGINT, and processes of tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def exports() -> Path:
    """The directory with exports of devices in the field."""
    assert (EXPORTS / "expected.json").is_file(), "tests/vectors/exports is part of the repository"
    return EXPORTS


@pytest.fixture(scope="session")
def devices() -> list[Device]:
    """Three devices that sign whole records, at the end of the chains of `records`."""
    return [device(number) for number in (1, 2, 3)]


@pytest.fixture(scope="session")
def records(devices: list[Device]) -> list[AuditRecord]:
    """Three interleaved chains of 40 records."""
    return chains(devices, 40)


@pytest.fixture(scope="session")
def keys(devices: list[Device]) -> KeyRing:
    """The keys of the three devices."""
    return key_ring(devices)


@pytest.fixture(scope="session")
def long_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 4,000 records in one chain; passed many times, it keeps a verification busy."""
    path = tmp_path_factory.mktemp("long") / "long.ndjson"
    assert write_records(chains([device(9)], 4000), path) == 4000
    return path
