"""README and docs, help texts included, follow docs/style.md as far as a pattern can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

import prose

ROOT = Path(__file__).parent.parent
# The style page quotes the constructions that it advises against.
PENDING = {"docs/style.md"}
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(ROOT / name / "README.md" for name in ("deploy", "benches")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if name(page) not in PENDING], ids=name)
def test_a_page_follows_the_style(page: Path) -> None:
    assert [str(slip) for slip in prose.of_page(page, ROOT)] == []


@pytest.mark.parametrize(
    "text",
    [
        "It shows what was there.",
        "By default, where\nthere is none, it fails.",
        "It is no manifest.",
        "Nobody reads it.",
        "A token is wanted.",
        "The service answers 503.",
        "Files are written anew.",
    ],
)
def test_slips_are_found(text: str) -> None:
    assert len(prose.slips(text, "text")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "It says what to do if it is no longer there.",
        "The directory where the file is.",
        "There is no manifest.",
        "`nobody` and ``` are code.",
    ],
)
def test_plain_english_passes(text: str) -> None:
    assert prose.slips(prose.prose(text), "text") == []
