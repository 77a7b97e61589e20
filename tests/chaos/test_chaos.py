"""Faults of all kinds on nodes, stores and devices: no acknowledged record is lost, heads only extend.

`EDGESENTRY_CHAOS_SEED` runs these seeds, `EDGESENTRY_CHAOS_SCHEDULES` this number of random ones; see
docs/explanation/chaos.md.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from arena import make_template
from checker import Claims, Ledger
from schedule import draw
from service import descendants, lives
from support import chains, device

RUN = Path(__file__).with_name("run.py")
# Together they cover every ledger, payload store, sender and kind of fault.
FIXED = ("112", "521", "543")
JOBS = int(os.environ.get("EDGESENTRY_CHAOS_JOBS", "2"))


# Faults that are rarely drawn.
CHOSEN = ("lost", "forgotten")


def seeds() -> list[str]:
    named, count = os.environ.get("EDGESENTRY_CHAOS_SEED"), os.environ.get("EDGESENTRY_CHAOS_SCHEDULES")
    if named:
        return named.split(",")
    if count:
        first = random.SystemRandom().randrange(1 << 40)
        return [str(first + number) for number in range(int(count))]
    return [*FIXED, *CHOSEN]


SEEDS = seeds()


def run(seed: str, template: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Starts a schedule in a separate process, which ends when this pipe closes."""
    command: list[str | Path] = [sys.executable, RUN, seed, "--template", template, *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        return subprocess.CompletedProcess(command, process.wait(), out)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PostgreSQL cluster for the schedules to copy."""
    folder = tmp_path_factory.mktemp("template")
    # The user who runs PostgreSQL must reach it.
    for parent in (folder, *folder.parents):
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(parent.stat().st_mode | 0o011)
    make_template(folder)
    return folder


@pytest.fixture(scope="module")
def runs(template: Path) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """Runs all schedules, some at a time."""
    with ThreadPoolExecutor(JOBS) as threads:
        yield {seed: threads.submit(run, seed, template) for seed in SEEDS}
        threads.shutdown(cancel_futures=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_schedule_of_faults_loses_nothing(
    seed: str, runs: dict[str, Future[subprocess.CompletedProcess[str]]]
) -> None:
    done = runs[seed].result()
    assert done.returncode == 0, done.stdout


def test_the_fixed_schedules_have_everything() -> None:
    schedules = [draw(int(seed)) for seed in FIXED]
    assert {schedule.ledger for schedule in schedules} == {"sqlite", "postgres", "pair"}
    assert {schedule.payloads for schedule in schedules} == {"ledger", "folder", "s3"}
    assert any(schedule.fails_over for schedule in schedules)
    kinds = {event.kind for schedule in schedules for event in schedule.events}
    assert len(kinds) == 15, kinds
    senders = {sender.sender for schedule in schedules for sender in schedule.devices}
    assert senders == {"outbox", "push", "twins"}


def test_a_loss_is_seen(template: Path) -> None:
    done = run("asynchronous", template)
    assert done.returncode == 1, done.stdout
    assert "FAULT: ('device-" in done.stdout, done.stdout
    assert "acknowledged was" in done.stdout, done.stdout


@pytest.mark.parametrize("end", ["killed", "abandoned"])
def test_nothing_outlives_a_schedule(template: Path, end: str) -> None:
    command: list[str | Path] = [sys.executable, RUN, FIXED[2], "--template", template]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert any("everything runs" in line for line in process.stdout)
        family = descendants(process.pid)
        assert len(family) > 5
        if end == "killed":
            process.kill()
        else:
            # As after the end of the parent process.
            process.stdin.close()
        process.stdout.read()
    while any(lives(pid) for pid in family):
        time.sleep(0.05)


def test_a_seed_is_one_schedule() -> None:
    assert all(draw(seed) == draw(seed) for seed in range(100))
    assert len({str(draw(seed)) for seed in range(100)}) == 100


def claims_of(ledger: list[tuple[str, int, str]]) -> Claims:
    claims = Claims()
    for name, sequence, fingerprint in ledger:
        claims.acknowledged.setdefault((name, sequence), set()).add(fingerprint)
    return claims


def test_violated_invariants_are_reported() -> None:
    records = chains([device(1)], 3)
    places = [(record.device_id, record.sequence, record.hash().hex()) for record in records]
    claims = claims_of(places)
    claims.signed = {record.hash().hex(): record for record in records}
    assert list(Ledger(records).against(claims)) == []
    head = {"lift-01": {"sequence": 3, "hash": places[2][2]}}
    assert list(Ledger(records).against_heads(head)) == []

    [lost] = Ledger(records[:2]).against(claims)
    assert "acknowledged was" in lost
    [cut] = Ledger(records[:2]).against_heads(head)
    assert "the auditor knows lift-01 3" in cut
    other = records[2].replace(timestamp_ms=1)
    assert len(Ledger([*records, other]).faults) == 1
    [unsigned, replaced] = Ledger([*records[:2], other]).against(claims)
    assert "no device has signed" in unsigned
    assert "in the ledger is" in replaced
    twice = claims_of([*places, ("lift-01", 3, other.hash().hex())])
    twice.signed = claims.signed
    [both] = Ledger(records).against(twice)
    assert "fork: acknowledged were" in both
