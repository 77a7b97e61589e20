"""docs/reference/errors.md lists every stable code of the code, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

import edgesentry
from edgesentry import exceptions
from error_codes import error_codes, hint_codes, problem_codes

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "errors.md"


def listed(heading: str) -> list[str]:
    """Returns the first cells of the table below a heading."""
    section = re.split(r"^##+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(f"{heading}\n")]
    rows = re.findall(r"^\| \[?`(\w+)`", text, re.MULTILINE)
    assert rows == sorted(rows), f"{heading}: not in alphabetical order"
    return rows


@pytest.mark.parametrize(
    ("heading", "codes"),
    [
        ("Command-line errors", error_codes()),
        ("HTTP problem codes", problem_codes()),
        ("Rejections", set(get_args(edgesentry.RejectionCode))),
        ("Findings", set(edgesentry.FINDING_CODES)),
        ("Likely causes", hint_codes()),
        ("Python exceptions", set(exceptions.__all__)),
    ],
)
def test_the_page_lists_the_codes_of_the_code(heading: str, codes: set[str]) -> None:
    assert len(codes) >= 3
    assert set(listed(heading)) == codes
