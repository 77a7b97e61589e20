"""Processes with one failing system call: see strike.c."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# `make soak` sets it: every call, with every action. Otherwise a sample of the calls.
EVERY = bool(os.environ.get("EDGESENTRY_EVERY_FAULT"))
# Each run draws another sample; a failure names its seed.
SEED = int(os.environ.get("EDGESENTRY_FAULT_SEED") or random.randrange(1 << 32))
# Far more than one run takes.
PATIENCE_S = 120


@dataclass(frozen=True)
class Action:
    """The result of a call.

    Attributes:
        name: An error such as `EIO`; `short`, a write of half the bytes; or `kill`, no call and no process.
        sticky: True if all later calls fail as well, as on a disk that stays full.
        only: The prefix of the names of the calls to count; all by default.
    """

    name: str
    sticky: bool = False
    only: str = ""

    def __str__(self) -> str:
        return f"{self.name}-on" if self.sticky else self.name

    @property
    def passes(self) -> bool:
        """True if the process can continue as if the call had succeeded."""
        return self.name not in ("kill",) and not self.sticky


ACTIONS = [
    Action("EIO"),
    Action("ENOSPC"),
    Action("ENOSPC", sticky=True),
    Action("short"),
    Action("kill"),
]


@dataclass(frozen=True)
class Struck:
    """A process that has ended.

    Attributes:
        code: Its exit code; 137 after `kill`.
        calls: The number of calls that change files.
        struck: The calls that were struck, one per line, with their paths.
        stdout: Its output.
        stderr: Its error output.
    """

    code: int
    calls: int
    struck: list[str]
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"struck: {self.struck}; exit code {self.code}\n{self.stdout}{self.stderr}"


# Removed at the end of the process.
_FOLDER = tempfile.TemporaryDirectory(prefix="edgesentry-strike-")


@cache
def _program() -> Path:
    program = Path(_FOLDER.name) / "strike"
    source = HERE / "strike.c"
    subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    return program


def run(
    command: list[str | Path], folder: Path, action: Action | None = None, at: int = 0, stdin: str = ""
) -> Struck:
    """Runs a command and applies the action to its call number `at` on files below `folder`."""
    with tempfile.NamedTemporaryFile(prefix="edgesentry-strike-", mode="r") as report:
        struck: list[str | Path] = [_program(), "-r", folder, "-o", report.name]
        if action is not None:
            struck += [
                "-a",
                action.name,
                "-n",
                str(at),
                *(["-s"] if action.sticky else []),
                "-c",
                action.only,
            ]
        ended = subprocess.run(
            [*struck, "--", *command],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            cwd=folder,
        )
        *lines, total = Path(report.name).read_text().splitlines() or ["0 calls"]
    assert "strike: " not in ended.stderr, ended.stderr
    assert "panicked" not in ended.stderr, ended.stderr
    return Struck(ended.returncode, int(total.split()[0]), lines, ended.stdout, ended.stderr)


def numbers(calls: int, action: Action, most: int, scene: str) -> Iterator[int]:
    """Returns the calls to strike: all of them, and one more in case this run has more; or a sample."""
    if EVERY or calls <= most:
        yield from range(1, calls + 2)
    else:
        chosen = random.Random(f"{SEED} {scene} {action}").sample(range(1, calls + 1), most)
        yield from sorted(chosen)
