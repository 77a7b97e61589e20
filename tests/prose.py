"""Finds the constructions that docs/style.md advises against, as far as a pattern can."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import comments

# Each pattern with the advice of docs/style.md. `prose` removes code, links and quotations before.
AVOIDED: list[tuple[str, str]] = [
    (r"\bwhat (is|are|was|were|has|had|comes|came|remains|stands|lies|nobody|no one)\b", "name the thing"),
    (r"\bwhere (there|none|nothing|no|nobody|needed|possible)\b", '"if" or "when"'),
    (r"(?<!there\s)\b(is|are|was|were) no (?!longer\b|more\b|less\b|earlier\b|later\b)\w+", '"is not a ..."'),
    (r"\b(whoever|whatever|whichever|nobody|somebody|anybody|everybody)\b", "name the actor"),
    (r"\b(is|are|be) wanted\b", '"expected" or "required"'),
    (r"\b(has|have) not (the|a|an|any)\b", '"lacks" or "does not have"'),
    (r"\banew\b", '"again", or "regenerate"'),
    (r"\b(answers|answered|answering) (with |by )?(`|\d{1,3}|an? |the )", '"returns" or "responds"'),
    (r"[.:] where (the|it|that|this|there|an?)\b", '"if" or "when"'),
    (r"\bdeparts? from\b", '"unlike" or "differs from"'),
    (r"\bmay be tried again\b", '"retryable"'),
    (r"\b(mend|mends|mended|mending)\b", '"fix" or "repair"'),
    (r"\b(tells?|told) of\b", '"reports"'),
    (r"\b(says?|said) so\b", "name the message"),
    (r"\b(takes?|took|taken|taking) (records|them|it) in\b|\brecords are taken in\b", '"ingest"'),
    (r"\bin the way of\b", '"blocks"'),
    (r"\b(foretells?|thereof|therein|thereby|whence|wherein|whereupon)\b", "a common word"),
    (r"\bbe told\b", '"alerting"'),
    (r"\bin (earnest|vain)\b", '"in an incident", "without effect"'),
    (r"\bhalf an hour\b", "the figure, such as 30 minutes, and RTO or RPO if it is one"),
]
# Further patterns for the names of tests, which state the behavior: `unknown_device_is_rejected`.
AVOIDED_IN_NAMES: list[tuple[str, str]] = [
    (r"^what\b|\bwhat (could|does|do|cannot|can|no|only|the|a|it)\b", "name the thing"),
    (r"\b(is|are|was|were) (none|told|answered|said)\b", "name the behavior"),
    (r"\b(says?|tells?) (so|why)\b", "name the behavior"),
    (r"\b(goes|go|went) on\b", '"continues"'),
    (r"\b(comes?|came) back\b", '"is restored", "is read back"'),
    (r"\b(nobody|nobodys|no one)\b", "name the actor"),
]


def compiled(avoided: list[tuple[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    """Returns the patterns, which also match a construction that is broken over two lines."""
    return [(re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE), advice) for pattern, advice in avoided]


PATTERNS = compiled(AVOIDED)
NAME_PATTERNS = PATTERNS + compiled(AVOIDED_IN_NAMES)
# The name of a test in Rust or Python.
NAME = re.compile(
    r"#\[(?:tokio::)?test\b[^\]]*\](?:\s*(?:#\[[^\]]*\]|//[^\n]*))*\s*(?:async )?fn (?P<rust>\w+)"
    r"|^[ \t]*(?:async )?def test_(?P<python>\w+)",
    re.MULTILINE,
)
FENCE = re.compile(r"^(?P<fence>\s*(```|~~~)).*?^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)


class Slip(NamedTuple):
    """A construction to avoid, with its place."""

    place: str
    line: int
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.place}:{self.line}: {self.text!r}: {self.advice}"


def blank(match: re.Match[str]) -> str:
    """Replaces a match by spaces and keeps its line breaks, so that line numbers stay."""
    return re.sub(r"[^\n]", " ", match[0])


def prose(markdown: str) -> str:
    """Returns the text of a page without code, addresses and quotations."""
    text = FENCE.sub(blank, markdown)
    text = re.sub(r"(?<!`)(`+)(?!`)[^\n]*?(?<!`)\1(?!`)", "`", text)
    text = re.sub(r"\bhttps?://[^\s)>\]]+", "`", text)
    text = re.sub(r"\]\([^)\n]*\)", "]", text)
    return re.sub(r'"[^"\n]*"', '""', text)


def slips(text: str, place: str, patterns: list[tuple[re.Pattern[str], str]] = PATTERNS) -> list[Slip]:
    """Returns the constructions in a text that the style page advises against."""
    found = []
    for pattern, advice in patterns:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Slip(place, line, " ".join(match[0].split()), advice))
    return sorted(found)


def of_page(page: Path, root: Path) -> list[Slip]:
    """Returns the slips of a Markdown page."""
    return slips(prose(page.read_text(encoding="utf-8")), page.relative_to(root).as_posix())


def of_source(file: Path, root: Path) -> list[Slip]:
    """Returns the slips in the comments of a source file."""
    read = comments.reader(file)
    text = read(file.read_text(encoding="utf-8")) if read else ""
    return slips(prose(text), file.relative_to(root).as_posix())


def of_messages(file: Path, root: Path) -> list[Slip]:
    """Returns the slips in the messages of a Rust file, without those of its tests."""
    return slips(comments.messages(file.read_text(encoding="utf-8")), file.relative_to(root).as_posix())


def of_names(source: str, place: str) -> list[Slip]:
    """Returns the slips in the names of tests."""
    found = []
    for match in NAME.finditer(source):
        name = (match["rust"] or match["python"]).replace("_", " ")
        line = source.count("\n", 0, match.end()) + 1
        found += [slip._replace(line=line) for slip in slips(name, place, NAME_PATTERNS)]
    return found
