"""The pages on compliance name files and tests that exist, and README leads to every page of docs/."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest

import prose

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "compliance"
INDEX, STRIDE = FOLDER / "README.md", FOLDER / "stride.md"
PAGES = sorted(FOLDER.glob("*.md"))
STANDARDS = [page for page in PAGES if page not in (INDEX, STRIDE)]
# The columns of a table of a standard, and of one of an interface.
CLAUSES = ["clause", "asks for", "state", "EdgeSentry", "code", "test"]
THREATS = ["class", "threat", "control", "code", "test", "rest"]
STATES = {"covered", "in part", "vendor", "not covered"}
CLASSES = ["spoofing", "tampering", "repudiation", "disclosure", "denial of service", "elevation"]
INTERFACES = [
    *("Command line", "Files", "HTTP ingest", "Console", "MQTT", "Ledger database", "Payload store"),
    *("Transparency log: store and lock", "Key of the log and signer program", "Outbox on the device"),
    *("Updates of devices", "C library", "Witness", "Monitor"),
    *("Python package", "Backups", "Supply chain"),
]
NOTHING = "—"
# A cell ends at a bar; none of the pages escapes one.
ROW = re.compile(r"^\|(.*)\|$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
IN_REPOSITORY = re.compile(r"(\.github|deploy|docs|fuzz|packaging|python|rust|scripts|tests)/")
RUST_TEST = re.compile(
    r"#\[(?:tokio::)?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*|//[^\n]*\s*)*(?:async\s+)?fn\s+(\w+)"
)
# Macros that run the functions that they name on each ledger or payload store.
RUST_MACRO = re.compile(r"^\s*on_every_\w+!\(([^;]*?)\);", re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s]+)\)")


class Row(NamedTuple):
    """A row of a table, with the section that it is in."""

    section: str
    cells: dict[str, str]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def rows(text: str, columns: list[str]) -> list[Row]:
    """Returns the rows of all tables with these columns."""
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        head: list[str] = []
        for line in section.splitlines():
            match = ROW.match(line)
            cells = [cell.strip() for cell in match[1].split("|")] if match else []
            if not head or not cells:
                head = cells
            elif head == columns and set(line) - set("|-: "):
                assert len(cells) == len(columns), line
                found.append(Row(section.splitlines()[0], dict(zip(columns, cells, strict=True))))
    return found


def tables(page: Path) -> list[Row]:
    return rows(page.read_text(encoding="utf-8"), THREATS if page == STRIDE else CLAUSES)


def exists(path: str) -> bool:
    target = (ROOT / path).resolve()
    return target.is_relative_to(ROOT) and target.exists()


@cache
def names_of_tests(path: str) -> set[str]:
    """Returns the names of the tests in a Rust or Python file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        return {
            node.name
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        }
    listed = [macro for listing in RUST_MACRO.findall(text) for macro in re.findall(r"\w+", listing)]
    return {*RUST_TEST.findall(text), *listed}


def is_test(named: str) -> bool:
    """Returns True if `file::test` names a test of this repository."""
    path, _, test = named.partition("::")
    return path.endswith((".rs", ".py")) and exists(path) and test in names_of_tests(path)


def faults(row: Row) -> list[str]:
    """Returns the names in a row that lead nowhere."""
    code, test = row.cells["code"], row.cells["test"]
    found = [f"code: {path}" for path in CODE.findall(code) if not exists(path)]
    found += [f"test: {named}" for named in CODE.findall(test) if not is_test(named)]
    # Text beside the names would escape the checks.
    for column, cell in (("code", code), ("test", test)):
        if cell != NOTHING and re.sub(r"[\s,]", "", CODE.sub("", cell)):
            found.append(f"{column}: expected names in backquotes or {NOTHING}, got {cell}")
    return found


@pytest.mark.parametrize("page", [*STANDARDS, STRIDE], ids=name)
def test_every_file_and_test_that_is_named_exists(page: Path) -> None:
    found = tables(page)
    assert found, f"{name(page)}: no table has the expected columns"
    assert [fault for row in found for fault in faults(row)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_in_the_text_exist(page: Path) -> None:
    named = CODE.findall(page.read_text(encoding="utf-8"))
    paths = [text.partition("::")[0] for text in named if IN_REPOSITORY.match(text)]
    assert [path for path in paths if not exists(path)] == []


@pytest.mark.parametrize("page", STANDARDS, ids=name)
def test_a_clause_has_a_state_and_its_evidence(page: Path) -> None:
    for row in tables(page):
        cells = row.cells
        assert all(cells.values()), cells
        assert cells["state"] in STATES, cells
        if cells["state"] == "covered":
            assert NOTHING not in (cells["code"], cells["test"]), cells
        elif cells["state"] == "in part":
            assert cells["code"] != NOTHING, cells
        else:
            assert cells["code"] == cells["test"] == NOTHING, cells
    clauses = [row.cells["clause"] for row in tables(page)]
    assert len(clauses) == len(set(clauses))


@pytest.mark.parametrize("page", STANDARDS, ids=name)
def test_a_standard_has_its_source(page: Path) -> None:
    """Title, version and address of the text that was read."""
    text = page.read_text(encoding="utf-8")
    source = re.search(r"^## Source\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert source, "no section Source"
    addresses = [row for row in ROW.findall(source[1]) if "https://" in row]
    assert addresses, "no address"


def test_each_interface_has_each_class_of_threat() -> None:
    found = tables(STRIDE)
    assert list(dict.fromkeys(row.section for row in found)) == INTERFACES
    for interface in INTERFACES:
        classes = [row.cells["class"] for row in found if row.section == interface]
        assert list(dict.fromkeys(classes)) == CLASSES, interface
    for row in found:
        assert all(row.cells.values()), row
        # A threat without a control leaves a rest.
        assert NOTHING not in (row.cells["threat"], row.cells["control"]), row
        assert row.cells["code"] != NOTHING or row.cells["rest"] != NOTHING, row


def targets(page: Path) -> list[Path]:
    """Returns the files that a page links to."""
    text = prose.FENCE.sub(prose.blank, page.read_text(encoding="utf-8"))
    links = LINK.findall(CODE.sub(prose.blank, text))
    return [(page.parent / unquote(link.partition("#")[0])).resolve() for link in links]


def test_readme_leads_to_every_page() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            assert [name(target) for target in targets(page) if not target.exists()] == [], name(page)
            waiting += [target for target in targets(page) if target.suffix == ".md"]
    assert [name(page) for page in sorted((ROOT / "docs").rglob("*.md")) if page not in seen] == []


def test_the_index_lists_every_page_with_its_rows() -> None:
    assert set(targets(INDEX)) >= set(PAGES) - {INDEX}
    text = INDEX.read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[[^]]+\]\(([\w-]+\.md)\) \|[^|]*\| (\d+) \|", text, re.MULTILINE)
    assert dict(listed) == {page.name: str(len(tables(page))) for page in STANDARDS}


@pytest.mark.parametrize(
    ("code", "test", "expected"),
    [
        ("`tests/test_compliance.py`", "`tests/test_compliance.py::test_readme_leads_to_every_page`", 0),
        (
            "`rust/serve/src`",
            "`rust/edgesentry-rs/tests/stores/crash.rs::what_is_acknowledged_survives_kill_9`",
            0,
        ),
        (NOTHING, NOTHING, 0),
        ("`rust/serve/src/gone.rs`", NOTHING, 1),
        ("`../elsewhere`", NOTHING, 1),
        ("see the service", NOTHING, 1),
        (NOTHING, "`tests/test_compliance.py::faults`", 1),
        (NOTHING, "`tests/test_compliance.py::test_gone`", 1),
        (NOTHING, "`tests/test_gone.py::test_gone`", 1),
        (NOTHING, "`rust/edgesentry-rs/tests/stores/crash.rs::rounds`", 1),
    ],
)
def test_names_that_lead_nowhere_are_reported(code: str, test: str, expected: int) -> None:
    cells = dict.fromkeys(CLAUSES, NOTHING) | {"code": code, "test": test}
    table = "## Section\n\n" + "\n".join(
        f"| {' | '.join(line)} |" for line in (CLAUSES, ["---"] * len(CLAUSES), list(cells.values()))
    )
    (row,) = rows(table, CLAUSES)
    assert len(faults(row)) == expected
