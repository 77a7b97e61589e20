"""Writes the docstrings of `_core.pyi` into the comments of rust/python, from which the module takes them.

The stubs are the only source. Without `--write` it fails if a comment differs.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUBS = ROOT / "python" / "edgesentry" / "_core.pyi"
SOURCES = ROOT / "rust" / "python" / "src"

Docs = dict[tuple[str | None, str], str]


def stub_docs() -> Docs:
    """Returns docstrings by class and member; a function has no class, a class an empty member."""
    docs: Docs = {}
    for node in ast.parse(STUBS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            docs[None, node.name] = ast.get_docstring(node) or ""
        elif isinstance(node, ast.ClassDef):
            docs[node.name, ""] = ast.get_docstring(node) or ""
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    docs[node.name, member.name] = ast.get_docstring(member) or ""
    return {name: doc for name, doc in docs.items() if doc}


def items(lines: list[str]) -> Iterator[tuple[int, str | None, str]]:
    """Returns the exported items of a file: the line of each, its class and its name."""
    methods_of: str | None = None
    attributes = ""
    for at, line in enumerate(lines):
        if line == "}":
            methods_of = None
        stripped = line.strip()
        if stripped.startswith("#["):
            attributes += stripped
            continue
        if opened := re.match(r"impl (\w+) \{", line):
            methods_of = opened[1] if "#[pymethods]" in attributes else None
        elif found := re.match(r"(?:pub\(crate\) )?struct (\w+)", line):
            if "#[pyclass" in attributes:
                yield at, found[1], ""
        elif found := re.match(r"(?:    )?(?:pub\(crate\) )?fn (\w+)", line):
            name = found[1]
            if renamed := re.search(r'#\[getter\((\w+)\)\]|name = "(\w+)"', attributes):
                name = renamed[1] or renamed[2]
            if methods_of is not None and line.startswith("    "):
                yield at, methods_of, name
            elif "#[pyfunction]" in attributes:
                yield at, None, name
        if stripped and not stripped.startswith("//"):
            attributes = "" if not continues(stripped) else attributes


def continues(line: str) -> bool:
    """Returns true for the inner lines and the end of an attribute over several lines."""
    return line in {"))]", ")]"} or line.endswith(",") or "=" in line


def documented(text: str, docs: Docs) -> str:
    """Returns a file with its comments replaced by the docstrings."""
    lines = text.split("\n")
    for at, kind, name in reversed(list(items(lines))):
        doc = docs.get((kind, name))
        if doc is None:
            continue
        start = at
        while start and is_head(lines, start - 1):
            start -= 1
        kept = [line for line in lines[start:at] if not line.strip().startswith("///")]
        indent = " " * (len(lines[at]) - len(lines[at].lstrip()))
        comment = [f"{indent}/// {line}".rstrip() for line in doc.split("\n")]
        lines[start:at] = [*comment, *kept]
    return "\n".join(lines)


def is_head(lines: list[str], at: int) -> bool:
    """Returns true for a comment or an attribute above an item, which may have several lines."""
    line = lines[at].strip()
    if line.startswith(("///", "//", "#[")):
        return True
    # The lines of an attribute such as #[pyo3(signature = (…))].
    above = next((one for one in reversed(lines[:at]) if one.strip().startswith(("#[", "fn ", "}"))), "")
    return above.strip().startswith("#[") and not above.strip().endswith("]") and bool(line)


def main() -> int:
    """Compares the comments with the stubs, or writes them."""
    docs = stub_docs()
    differ = []
    for path in sorted(SOURCES.glob("*.rs")):
        text = path.read_text(encoding="utf-8")
        new = documented(text, docs)
        if new != text:
            differ.append(path)
            if "--write" in sys.argv:
                path.write_text(new, encoding="utf-8")
    if differ and "--write" not in sys.argv:
        names = ", ".join(path.name for path in differ)
        print(f"{names}: the comments differ from _core.pyi; run tests/docstrings.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
