"""Every finding code has a page, every page a code, and the pages show the output of a verification."""

from pathlib import Path

import pytest

from edgesentry import FINDING_CODES
from finding_examples import EXAMPLES, lines

PAGES = Path(__file__).parent.parent / "docs" / "findings"


def test_codes_and_pages_belong_together() -> None:
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    assert pages == set(FINDING_CODES)
    assert set(EXAMPLES) == set(FINDING_CODES)


def test_the_index_lists_every_page() -> None:
    index = (PAGES / "README.md").read_text()
    assert [code for code in FINDING_CODES if f"[{code}]({code}.md)" not in index] == []


@pytest.mark.parametrize("code", FINDING_CODES)
def test_a_page_shows_its_finding(code: str, tmp_path: Path) -> None:
    page = (PAGES / f"{code}.md").read_text()
    report = EXAMPLES[code](tmp_path)
    assert page.startswith(f"# {code}\n")
    assert code in report.counts
    assert "\n".join(lines(report, tmp_path)) in page
