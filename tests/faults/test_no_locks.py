"""A file system without locks, or one that has them at times: packs of payloads stay whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from striking import Action, Struck, run
from test_faults import (
    EDS,
    ERASE,
    HELD,
    RECORDS,
    WORKER,
    check_ledger,
    check_packed_erasure,
    check_unpacked,
    open_ledger,
    pairs,
    with_files_and_packs,
    with_log_and_packs,
    with_packs,
)


def without_locks(name: str) -> Action:
    return Action(name, sticky=True, only="flock")


def stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "payloads" / ".packs").glob("*.pack"))


def struck(command: list[str], folder: Path, action: Action, at: int = 1) -> Struck:
    done = run(list(command), folder, action, at)
    assert all(" flock " in line and "/.packs/" in line for line in done.struck), done
    assert done.struck, done
    return done


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP"])
def test_each_process_has_a_pack_of_its_own(tmp_path: Path, name: str) -> None:
    with_packs(tmp_path)
    before = {stem: (tmp_path / "payloads/.packs" / f"{stem}.pack").read_bytes() for stem in stems(tmp_path)}
    done = struck([*WORKER, "ingest", "."], tmp_path, without_locks(name))
    assert done.code == 0, done
    new = [stem for stem in stems(tmp_path) if stem not in before]
    assert len(new) == 1, new
    assert new[0].endswith("-unlocked"), new
    for stem, content in before.items():
        assert (tmp_path / "payloads/.packs" / f"{stem}.pack").read_bytes() == content
    check_ledger(tmp_path, done, without_locks(name))
    # With locks again, the pack of the process without them stays as it is.
    content = (tmp_path / "payloads/.packs" / f"{new[0]}.pack").read_bytes()
    with open_ledger(tmp_path) as ledger:
        assert ledger.ingest_many(pairs(RECORDS)).ok
    assert (tmp_path / "payloads/.packs" / f"{new[0]}.pack").read_bytes() == content


@pytest.mark.parametrize("at", range(1, 4))
def test_a_lock_that_fails_once_is_of_no_harm(tmp_path: Path, at: int) -> None:
    with_packs(tmp_path)
    once = Action("EIO", only="flock")
    done = run([*WORKER, "ingest", "."], tmp_path, once, at)
    assert done.code == 0, done
    check_ledger(tmp_path, done, once)


def test_erasure_needs_no_locks(tmp_path: Path) -> None:
    with_log_and_packs(tmp_path)
    done = struck([str(EDS), *ERASE], tmp_path, without_locks("ENOLCK"))
    assert done.code == 0, done
    check_packed_erasure(tmp_path, done, without_locks("ENOLCK"))
    with open_ledger(tmp_path) as ledger:
        assert len(list(ledger.records())) == HELD


def test_packs_without_locks_are_not_unpacked(tmp_path: Path) -> None:
    """Nothing shows that no process writes into them: one clear error, and nothing is changed."""
    with_files_and_packs(tmp_path)
    packs = stems(tmp_path)
    done = struck([str(EDS), "--json", "unpack", "payloads"], tmp_path, without_locks("EOPNOTSUPP"))
    assert done.code == 3, done
    assert "its file system has no locks" in done.stdout, done
    assert stems(tmp_path) == packs
    check_unpacked(tmp_path, done, without_locks("EOPNOTSUPP"))


def test_the_settings_are_checked_without_locks(tmp_path: Path) -> None:
    with_packs(tmp_path)
    command = [*("config", "check", "--create", "--ledger", "ledger.db"), "--payload-store", "packs:payloads"]
    done = struck([str(EDS), *command], tmp_path, without_locks("ENOLCK"))
    assert done.code == 0, done
