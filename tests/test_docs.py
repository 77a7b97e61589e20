"""The documentation: what it shows runs, and what it quotes can be read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgesentry import write_records
from support import chains, device, key_ring

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Pages whose shell blocks run here, in a folder that holds an export. Those of others need what is not here,
# such as a cluster or a checkout. Tests of their own hold them.
SHELL = ["docs/tutorial.md", "docs/how-to/report.md", "docs/how-to/pipelines.md"]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def having(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an export and its key ring, and the command on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    devices = [device(1), device(2)]
    write_records(chains(devices, 20), tmp_path / "export.json")
    key_ring(devices).save(tmp_path / "keys.json")
    return tmp_path


@pytest.mark.parametrize("page", having("python"), ids=name)
def test_python_blocks_run(page: Path, folder: Path) -> None:
    """One after the other, in one namespace a page."""
    if page.name == "README.md" and page.parent == ROOT:
        for made in folder.iterdir():
            made.unlink()
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", [ROOT / page for page in SHELL], ids=name)
def test_shell_blocks_run(page: Path, folder: Path) -> None:
    """All of a page in one shell, which ends at the first command that fails."""
    if page.name == "tutorial.md":
        for made in folder.iterdir():
            made.unlink()
    script = "set -euo pipefail\n" + "\n".join(blocks(page, "sh"))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_json_and_toml_can_be_read() -> None:
    for page in PAGES:
        for block in blocks(page, "json"):
            json.loads(block)
        for block in blocks(page, "toml"):
            tomllib.loads(block)


def test_every_block_says_its_language() -> None:
    """So that none escapes the tests for want of one."""
    for page in PAGES:
        fences = re.findall(r"^\s*```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert all(fences[::2]), f"{name(page)}: a block without a language"
