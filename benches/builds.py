"""The builds of `eds` to compare."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def find_eds(path: Path) -> Path:
    for candidate in (path, path / "release" / "eds", path / "target" / "release" / "eds"):
        if candidate.is_file():
            return candidate.resolve()
    sys.exit(f"{path}: no eds there; name the binary, its target folder or its checkout")
