"""Fixtures of the Python tests."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

import edgesentry
from edgesentry import AuditRecord, Device, KeyRing, Ledger, Policy, write_records
from support import EXPORTS, chains, device, envelope, key_ring, payload

# A separate project, which test_plugin.py runs.
collect_ignore = ["sample_project"]

# As a terminal starts Python. `nohup make test &` ignores SIGINT, and processes of tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Chromium itself makes no requests either.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, without a network.

    Ends with the module: as long as Playwright runs, `asyncio.run` of another test in this process fails.
    """
    script = Path(__file__).parent.parent / "scripts/chromium"
    chromium = subprocess.run([script], capture_output=True, text=True, check=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.stdout.strip(), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


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


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[tuple[Ledger, Policy, Path]]:
    """A ledger with a log that has no checkpoint yet, the policy of its key, and its settings."""
    config = tmp_path / "eds.toml"
    config.write_text(
        f'ledger = "sqlite:{tmp_path / "ledger.db"}"\n'
        f'[log]\norigin = "log.example/lifts"\nkey = "{tmp_path / "log.seed"}"\n'
    )
    with edgesentry.open(config=config) as ledger:
        lifts = [device(1), device(2)]
        for lift in lifts:
            ledger.register_device(lift)
        ledger.ingest_many(chains(lifts, 5), payload).raise_for_rejections()
        key = envelope("checkpoint", "init", "--config", config)["checkpoint"]["verifier_key"]
        yield ledger, Policy(f"log {key}\nquorum none\n"), config
