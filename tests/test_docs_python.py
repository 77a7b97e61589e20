"""The Python code of the how-to pages runs, one block after the other, in an empty folder."""

import re
from pathlib import Path

import pytest

from attacks_page import page

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("name", ["testing.md", "dataframes.md"])
def test_the_python_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, name, "exec"), names)


def test_the_page_of_attacks_is_that_of_the_catalogue() -> None:
    written = (DOCS / "attacks.md").read_text()
    assert written == page(), "run: .venv/bin/python tests/attacks_page.py > docs/attacks.md"
