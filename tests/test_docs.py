"""The documentation: its examples run, and its quotations are valid."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import edgesentry
from edgesentry import Device, write_heads, write_records
from edgesentry.testing import Place, serve, write_payloads
from support import chains, device, key_ring, payload
from test_plugin import passed
from test_plugin import run as run_pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Shell blocks run here, except those of the runbook, which need a cluster and have tests in rust/eds/tests.
# The first line of a block that cannot run gives the reason.
SHELL = [page for page in PAGES if not page.is_relative_to(ROOT / "docs" / "runbook")]
NOT_RUN = re.compile(r"# skip: \S.*\n")
# A page for readers who have no data yet.
EMPTY = {("docs/tutorial.md", "sh"), ("README.md", "python"), ("docs/how-to/python.md", "python")}
# The service of the examples, which the test starts.
SERVICE = "https://audit.example"
# Commands for another window run in the background here.
PRELUDE = r"""
set -euo pipefail
served= url=
trap '[ -z "$served" ] || kill "$served"' EXIT
eds() {
    if [ "$1" = serve ]; then
        if [ -n "$served" ]; then
            kill "$served"
            wait "$served"
        fi
        : > served.log
        command eds "$@" 2>>served.log & served=$!
        until url=$(sed -n 's/.*"listening","url":"\([^"]*\)".*/\1/p' served.log) && [ -n "$url" ]; do
            kill -0 "$served"
            sleep 0.05
        done
    else
        command eds "${@//SERVICE/$url}"
    fi
}
curl() {
    command curl "${@//SERVICE/$url}"
}
""".replace("SERVICE", SERVICE.replace("/", "\\/"))
EPILOGUE = """
if [ -n "$served" ]; then
    kill "$served"
    wait "$served"
    served=
fi
"""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def having(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def to_run(page: Path) -> list[str]:
    return [block for block in blocks(page, "sh") if not NOT_RUN.match(block)]


def fill(folder: Path) -> list[Device]:
    """Creates a reader's files: exports, keys, heads, payloads, settings. Returns the devices."""
    devices = [device(1), device(2)]
    records = chains(devices, 20)
    write_records(records, folder / "export.json")
    for own in ("records.ndjson", "day.ndjson"):
        write_records([record for record in records if record.device_id == "lift-01"], folder / own)
    write_heads(edgesentry.verify_chain(records).heads, folder / "heads.json")
    write_payloads({record.object_ref: payload(record) for record in records}, folder / "payloads")
    lift = ["-m", "edgesentry", "keygen", "--device", "lift-07"]
    subprocess.run([sys.executable, *lift], cwd=folder, check=True, capture_output=True)
    devices.append(Device.from_seed_file("lift-07", folder / "lift-07.seed"))
    key_ring(devices).save(folder / "keys.json")
    (folder / "eds.toml").write_text('ledger = "sqlite:served.db"\n[serve]\nlisten = ["127.0.0.1:0"]\n')
    # Pages on deployment begin in a checkout.
    (folder / "deploy").symlink_to(ROOT / "deploy")
    for shells in (".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"):
        (folder / shells).mkdir(parents=True)
    return devices


def place(folder: Path, devices: list[Device]) -> Place:
    """Creates the ledger of the settings, with the devices registered."""
    made = Place("sqlite", f"sqlite:{folder / 'served.db'}", "ledger")
    with made.open() as ledger:
        for known in devices:
            ledger.register_device(known)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and the command in PATH."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("page", having("python"), ids=name)
def test_python_blocks_run(page: Path, folder: Path) -> None:
    """One after the other, in one namespace for each page."""
    devices = [] if (name(page), "python") in EMPTY else fill(folder)
    code = [block for block in blocks(page, "python") if not NOT_RUN.match(block)]

    def run(url: str) -> None:
        names: dict[str, object] = {}
        for block in code:
            exec(compile(block.replace(SERVICE, url), str(page), "exec"), names)

    if any(SERVICE in block for block in code):
        with serve(place(folder, devices), folder) as served:
            run(served.url)
    else:
        run(SERVICE)


def test_the_tests_of_the_docs_pass(folder: Path) -> None:
    """The tests of a page: functions with fixtures, which do nothing when the page runs as a script."""
    showing = [page for page in having("python") if re.search(r"^def test_", page.read_text(), re.MULTILINE)]
    assert [name(page) for page in showing] == ["docs/how-to/testing.md"]
    for page in showing:
        shown = "\n".join(blocks(page, "python"))
        file = folder / f"test_{page.stem}.py"
        file.write_text(shown)
        assert passed(run_pytest(folder, "-q", file.name)) >= len(
            re.findall(r"^def test_", shown, re.MULTILINE)
        )


@pytest.mark.parametrize("page", [page for page in SHELL if to_run(page)], ids=name)
def test_shell_blocks_run(page: Path, folder: Path) -> None:
    """All blocks of a page in one shell, which exits at the first failed command."""
    if (name(page), "sh") not in EMPTY:
        devices = fill(folder)
        if any("eds serve" in block for block in to_run(page)):
            place(folder, devices)
    script = "\n".join([PRELUDE, *to_run(page), EPILOGUE])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_shell_block_runs_or_has_a_reason() -> None:
    """No block is hidden behind another language."""
    run = {name(page) for page in SHELL if to_run(page)}
    assert run >= {
        "README.md",
        "docs/reference/http.md",
        "docs/tutorial.md",
        "docs/how-to/install.md",
        "docs/how-to/kubernetes.md",
        "docs/how-to/pipelines.md",
        "docs/how-to/report.md",
    }
    command = re.compile(r"^(\$ |#!|(eds|pip|python|make|cargo|scripts/\S+|curl|sudo|apt) )", re.MULTILINE)
    for page in SHELL:
        for block in blocks(page, "sh"):
            assert len(NOT_RUN.findall(block)) == bool(NOT_RUN.match(block)), name(page)
        # The reference, which is generated from the parser, has usage lines.
        other = [] if page.name == "cli.md" else ["text", "console", "bash", "shell"]
        for language in other:
            for block in blocks(page, language):
                assert not command.search(block), f"{name(page)}: these are commands, in a block {language}"


def test_the_reference_has_everything_that_is_public() -> None:
    reference = (ROOT / "docs" / "reference" / "python.md").read_text()
    public = [name for name in edgesentry.__all__ if callable(getattr(edgesentry, name))]
    types = {"FindingCode", "Level", "OutcomeStatus", "RejectionCode", "Scheme", "Verdict"}
    missing = [name for name in public if f"::: edgesentry.{name}\n" not in reference and name not in types]
    assert missing == []
    for module in ("ops", "plot", "telemetry", "testing"):
        assert f"::: edgesentry.{module}\n" in reference


def test_data_in_blocks_can_be_parsed() -> None:
    for page in PAGES:
        for block in blocks(page, "json"):
            json.loads(block)
        for block in blocks(page, "ndjson"):
            assert [json.loads(line) for line in block.splitlines()]
        for block in blocks(page, "toml"):
            tomllib.loads(block)
        for block in blocks(page, "yaml"):
            yaml.safe_load(block)


def test_every_block_has_a_language() -> None:
    """So that no block escapes the tests for lack of a language."""
    for page in PAGES:
        fences = re.findall(r"^\s*```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert all(fences[::2]), f"{name(page)}: a block without a language"
