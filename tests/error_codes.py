"""The stable codes, read from the sources, for the test of docs/reference/errors.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The code of a failure of the command, where it is created or passed to a function that creates it.
FAILURES = [
    r'Failure::(?:usage|unfinished|interrupted)\(\s*"(\w+)"',
    r'Failure \{\s*code: "(\w+)"',
    r'let code = if [^{}]*\{ "(\w+)" \}',
    r'let code = if [^{}]*\{ "\w+" \} else \{ "(\w+)" \}',
    r'\bbytes\([^;()]*(?:\(\))?,\s*"(\w+)"\)',
]
# The codes of problem documents, as the wire types declare them.
PROBLEMS = re.compile(r"^problem_codes! \{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
# A method `code` of an error; its arms are the codes.
METHOD = re.compile(r"fn code\(&self\) -> &'static str \{\n(.*?)\n    \}\n", re.DOTALL)
ARM = re.compile(r'=>\s*(?:\{\s*)?"(\w+)"')
CONVERSION = re.compile(r"fn of_format\(.*?\n}\n", re.DOTALL)


def sources() -> list[Path]:
    """Returns the sources of all crates."""
    return sorted((ROOT / "rust").glob("*/src/**/*.rs"))


def found(patterns: list[str], text: str) -> set[str]:
    """Returns the first group of every match."""
    return {code for pattern in patterns for code in re.findall(pattern, text)}


def error_codes() -> set[str]:
    """Returns codes of the envelope `error.code` of the command, and of errors of the libraries."""
    codes: set[str] = set()
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if path.is_relative_to(ROOT / "rust" / "eds"):
            codes |= found(FAILURES, text)
        # Likely causes of findings also have codes, in a separate section.
        if path.name != "hint.rs":
            for body in METHOD.findall(text):
                codes |= set(ARM.findall(body))
        for conversion in CONVERSION.findall(text):
            codes |= set(ARM.findall(conversion))
            codes |= set(re.findall(r'=> "(\w+)"', conversion))
    return codes


def problem_codes() -> set[str]:
    """Returns codes of problem documents, without the reasons of rejections."""
    text = (ROOT / "rust" / "device" / "src" / "wire" / "problem.rs").read_text(encoding="utf-8")
    return {code for body in PROBLEMS.findall(text) for code in re.findall(r'= "(\w+)";', body)}


def hint_codes() -> set[str]:
    """Returns codes of likely causes."""
    text = (ROOT / "rust" / "chain" / "src" / "hint.rs").read_text(encoding="utf-8")
    return {code for body in METHOD.findall(text) for code in ARM.findall(body)}
