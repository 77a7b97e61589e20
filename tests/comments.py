"""Extracts the comments and docstrings of source files, line by line, for the patterns of tests/prose.py."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

# Extracts the comments of a source.
Reader: TypeAlias = Callable[[str], str]

# Replaces code: neither a letter nor a space, so that no construction reaches across code.
CODE = ";"

# Strings are part of the patterns, so that no text in them is taken for a comment.
C_LIKE = re.compile(
    r"""
      (?P<comment> //[^\n]* | /\*.*?\*/ )
    | \b[bc]?r (?P<hashes>\#*) " .*? " (?P=hashes)              # raw strings have no escapes
    | " (?: [^"\\] | \\. )* "
    | ' (?: [^'\\\n] | \\[^\n]{1,10}? ) '                       # a character, but not a lifetime
    """,
    re.VERBOSE | re.DOTALL,
)
SCRIPT = re.compile(
    r"""
      (?P<comment> (?<![^\s;]) //[^\n]* | /\*.*?\*/ )
    | " (?: [^"\\\n] | \\. )* "
    | ' (?: [^'\\\n] | \\. )* '
    | ` (?: [^`\\] | \\. )* `
    """,
    re.VERBOSE | re.DOTALL,
)
SHELL = re.compile(
    r"""
      (?P<comment> (?<![^\s;(]) \#[^\n]* )
    | \\.
    | <<-?\s* (?P<quote>['"]?) (?P<end>\w+) (?P=quote) .*? ^\s*(?P=end)$
    | " (?: [^"\\] | \\. )* "
    | ' [^']* '
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
# YAML, TOML and the like. A plain scalar of YAML may contain an apostrophe, so strings end at the line break.
SETTINGS = re.compile(
    r"""
      (?P<comment> (?<!\S) \#[^\n]* | \{\{-?\s* /\* .*? \*/ )
    | (?P<quotes> "{3} | '{3} ) .*? (?P=quotes)
    | " (?: [^"\\\n] | \\. )* "
    | (?<![^\s\[{(,=:]) ' [^'\n]* '
    """,
    re.VERBOSE | re.DOTALL,
)
MARKERS = re.compile(r"^(//[/!]?|/\*+!?|#!?|\{\{-?\s*/\*)|^\s*\*(?!\S)|\*/$", re.MULTILINE)
TESTS = re.compile(r"^#\[cfg\(test\)\]\s*mod \w+ \{.*\Z", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^\s*>>>.*?(?=^\s*$|\Z)", re.MULTILINE | re.DOTALL)


def hide(code: str) -> str:
    """Replaces the code on each line."""
    return re.sub(r"\S[^\n]*", CODE, code)


def unmark(comment: str) -> str:
    """Replaces the characters that mark a comment by spaces."""
    return MARKERS.sub(lambda marker: " " * len(marker[0]), comment)


def scan(pattern: re.Pattern[str], source: str) -> str:
    """Returns the comments that a pattern finds, with the code hidden; all lines stay."""
    parts, end = [], 0
    for match in pattern.finditer(source):
        parts.append(hide(source[end : match.start()]))
        parts.append(unmark(match[0]) if match["comment"] else hide(match[0]))
        end = match.end()
    return "".join([*parts, hide(source[end:])])


def of_rust(source: str) -> str:
    """Returns the comments of Rust, C or Go."""
    return scan(C_LIKE, source)


def messages(source: str) -> str:
    """Returns the strings of Rust that have several words, up to the module of its tests."""
    source = TESTS.sub(lambda tests: hide(tests[0]), source)
    parts, end = [], 0
    for match in C_LIKE.finditer(source):
        parts.append(hide(source[end : match.start()]))
        text = re.sub(r"\\n|\\(?=\n)|\"", lambda mark: " " * len(mark[0]), match[0])
        is_message = not match["comment"] and len(text.split()) > 3
        parts.append(CODE + text + CODE if is_message else hide(match[0]))
        end = match.end()
    return "".join([*parts, hide(source[end:])])


def of_script(source: str) -> str:
    """Returns the comments of JavaScript or CSS."""
    return scan(SCRIPT, source)


def of_shell(source: str) -> str:
    """Returns the comments of a shell script."""
    return scan(SHELL, source)


def of_settings(source: str) -> str:
    """Returns the comments of YAML, TOML, units of systemd, templates of Helm and Makefiles."""
    return scan(SETTINGS, source)


def docstrings(tree: ast.AST) -> Iterator[tuple[int, int]]:
    """Yields the positions of docstrings, including those of attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                yield node.lineno, node.col_offset


def of_python(source: str) -> str:
    """Returns the comments and docstrings of Python, without the examples in docstrings."""
    documented = set(docstrings(ast.parse(source)))
    lines = [hide(line) for line in source.split("\n")]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text = unmark(token.string)
        elif token.type == tokenize.STRING and token.start in documented:
            text = EXAMPLE.sub(lambda example: hide(example[0]), token.string.replace('"""', "   "))
        else:
            continue
        if token.line[: token.start[1]].strip():
            text = CODE + text
        for at, line in enumerate(text.split("\n"), start=token.start[0] - 1):
            lines[at] = line
    return "\n".join(lines)


def of_notebook(source: str) -> str:
    """Returns the text cells of a notebook, and the comments of its code cells."""
    parts = []
    for cell in json.loads(source)["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else of_shell(text))
    return f"\n{CODE}\n".join(parts)


READERS: dict[str, Reader] = {
    **dict.fromkeys((".rs", ".c", ".go"), of_rust),
    **dict.fromkeys((".js", ".css"), of_script),
    **dict.fromkeys((".py", ".pyi"), of_python),
    **dict.fromkeys((".toml", ".yml", ".yaml", ".tpl", ".service", ".timer"), of_settings),
    **dict.fromkeys((".sysusers", ".tmpfiles", ".mtail"), of_settings),
    ".sh": of_shell,
    ".ipynb": of_notebook,
}


def reader(path: Path) -> Reader | None:
    """Returns the function that reads the comments of a file, by its name or its first line."""
    if path.suffix in READERS:
        return READERS[path.suffix]
    if path.name in ("Makefile", "Containerfile") or path.parent.name == "cron":
        return of_settings
    if path.suffix or not path.is_file():
        return None
    with path.open("rb") as file:
        program = file.readline()
    if program.startswith(b"#!"):
        return of_python if b"python" in program else of_shell
    return None


def files(root: Path, directories: tuple[str, ...]) -> Iterator[Path]:
    """Yields the files with comments at the root and below some of its directories, without build outputs."""
    for path in sorted(root.iterdir()):
        if not path.is_dir() and reader(path) is not None:
            yield path
    for directory in directories:
        for path in sorted((root / directory).rglob("*")):
            built = {"target", "corpus", "__pycache__"}.intersection(path.relative_to(root).parts)
            if not built and path.is_file() and not path.is_symlink() and reader(path) is not None:
                yield path
