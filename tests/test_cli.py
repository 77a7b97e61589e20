"""The command, as installed by pip."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import edgesentry
from edgesentry import AuditRecord, KeyRing, verify_chain, write_records

SCRIPT = Path(sysconfig.get_path("scripts")) / "eds"


def eds(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    command = [SCRIPT, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def export(tmp_path: Path, records: list[AuditRecord], keys: KeyRing) -> Path:
    keys.save(tmp_path / "keys.json")
    path = tmp_path / "export.json"
    write_records(records, path)
    return path


def test_the_script_and_the_module_are_one_command(export: Path) -> None:
    by_script = eds("verify-chain", export)
    module = [sys.executable, "-m", "edgesentry", "verify-chain", str(export)]
    by_module = subprocess.run(module, capture_output=True, text=True, check=False)
    assert by_script.returncode == by_module.returncode == 0
    assert by_script.stdout == by_module.stdout
    assert edgesentry.__version__ in eds("--version").stdout


def test_exit_codes_match_the_outcome(tmp_path: Path, export: Path, records: list[AuditRecord]) -> None:
    bad = tmp_path / "bad.json"
    write_records([records[0], *records[4:]], bad)
    empty = tmp_path / "empty.json"
    empty.write_text("[]")
    assert eds("verify-chain", export, "--keys", tmp_path / "keys.json").returncode == 0
    assert eds("verify-chain", bad).returncode == 1
    assert eds("verify-chain", export, "--require", "signatures").returncode == 2
    assert eds("verify-chain", export, "--nonsense").returncode == 2
    assert eds("verify-chain", empty).returncode == 3
    assert eds("verify-chain", tmp_path / "missing.json").returncode == 2
    assert eds("verify-chain", "-", stdin=export.read_bytes()).returncode == 0


def test_the_command_and_the_call_agree(tmp_path: Path, export: Path, records: list[AuditRecord]) -> None:
    bad = tmp_path / "bad.json"
    write_records([*records[:10], records[10].replace(sequence=900), *records[11:]], bad)
    keys = tmp_path / "keys.json"
    report = verify_chain(bad, keys=keys)
    assert eds("verify-chain", bad, "--keys", keys).stdout == report.summary()
    envelope = json.loads(eds("verify-chain", bad, "--keys", keys, "--json").stdout)
    assert envelope["edgesentry"]["version"] == edgesentry.__version__
    assert envelope["command"] == "verify-chain"
    assert envelope["ok"] is report.ok is False
    assert envelope["report"] == report.to_dict()


def test_heads_of_the_command_are_read_by_the_call(tmp_path: Path, export: Path) -> None:
    heads = tmp_path / "heads.json"
    heads.write_text(eds("heads", export).stdout)
    assert edgesentry.read_heads(heads) == verify_chain(export).heads
    assert verify_chain(export, heads=heads).ok
