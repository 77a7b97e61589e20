"""The installed package: modules, command, manual pages, completions; and the cost of an import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARE = Path(sysconfig.get_path("data")) / "share"


def python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_manual_pages_and_completions_come_with_it() -> None:
    installed = {str(path) for path in distribution("edgesentry").files or ()}
    for path in (ROOT / "packaging" / "data").rglob("*"):
        if path.is_file():
            target = Path(sysconfig.get_path("data")) / path.relative_to(ROOT / "packaging" / "data")
            assert target.read_bytes() == path.read_bytes()
            assert any(
                name.endswith(path.relative_to(ROOT / "packaging" / "data").as_posix()) for name in installed
            )
    assert (SHARE / "man/man1/eds.1").is_file()


def test_completions_equal_the_output_of_the_command() -> None:
    shells = {
        "bash": "bash-completion/completions/eds",
        "zsh": "zsh/site-functions/_eds",
        "fish": "fish/vendor_completions.d/eds.fish",
    }
    eds = Path(sysconfig.get_path("scripts")) / "eds"
    for shell, path in shells.items():
        script = subprocess.run([eds, "completions", shell], capture_output=True, check=True).stdout
        assert script == (SHARE / path).read_bytes()
    bash = SHARE / shells["bash"]
    words = "COMP_WORDS=(eds verify-chain --ht); COMP_CWORD=2; _eds eds --ht verify-chain"
    complete = f"source {bash}; {words}; echo $COMPREPLY"
    done = subprocess.run(["bash", "-c", complete], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "--html"


def test_an_import_loads_little() -> None:
    """Modules, not milliseconds, which mean nothing on a busy machine."""
    script = (
        "import sys; before = set(sys.modules); import edgesentry; print(*sorted(set(sys.modules) - before))"
    )
    loaded = python("-c", script).split()
    assert len(loaded) < 80, loaded
    heavy = {
        "asyncio",
        "concurrent.futures",
        "numpy",
        "pandas",
        "polars",
        "pyarrow",
        "matplotlib",
        "hypothesis",
        "pytest",
    }
    assert heavy.isdisjoint(loaded)


def test_embedded_files_are_in_the_sdist() -> None:
    """Maturin includes the crates; files beside them must be listed."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["maturin"]
    patterns = [entry["path"] for entry in settings["include"]]
    beside = set()
    for source in (ROOT / "rust").glob("*/src/**/*.rs"):
        for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
            file = (source.parent / path).resolve()
            assert file.is_file()
            if not file.is_relative_to(ROOT / "rust"):
                beside.add(file)
    named = {file for pattern in patterns for file in ROOT.glob(pattern)}
    assert beside
    assert beside - named == set()


def test_the_extras_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"plot", "testing", "notebook"} <= set(project["optional-dependencies"])
    assert project["dependencies"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["riscv64"], "PROCESSOR: expected x86_64 or aarch64, got riscv64"),
        (["--glibc", "musl"], "--glibc: expected a version such as 2.17 or 2.28, got musl"),
        (["aarch64"], "Rust has no standard library for aarch64-unknown-linux-gnu; run rustup target add"),
    ],
)
def test_a_portable_wheel_that_cannot_be_built_is_refused_first(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    rustc = tmp_path / "rustc"
    rustc.write_text(f"#!/bin/sh\necho {tmp_path}\n")
    rustc.chmod(0o755)
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "wheel-portable", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.returncode != 0
    assert message in done.stderr
