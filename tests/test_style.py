"""README, docs, help texts and comments follow docs/style.md as far as a pattern can tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import comments
import prose

ROOT = Path(__file__).parent.parent
# The style page quotes the constructions that it advises against.
QUOTING = {"docs/style.md"}
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(ROOT / name / "README.md" for name in ("deploy", "benches", "examples/data")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
# The help texts of the command are doc comments.
SOURCES = list(
    comments.files(
        ROOT,
        (
            *(".cargo", ".ci", ".config", ".github", "benches", "deploy", "fuzz", "notebooks", "python"),
            *("rust", "scripts", "tests"),
        ),
    )
)

# The names of these tests are not yet changed.
OLD_NAMES = {
    *(f"rust/formats/src/arrow/{name}.rs" for name in ("ipc", "metadata", "pages")),
    "tests/test_lake.py",
}

# The verifiers in an evidence bundle, whose hashes are published, have the same messages.
PUBLISHED = {"rust/timestamp/src/stamp.rs"}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if name(page) not in QUOTING], ids=name)
def test_a_page_follows_the_style(page: Path) -> None:
    assert [str(slip) for slip in prose.of_page(page, ROOT)] == []


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_comments_follow_the_style(file: Path) -> None:
    assert [str(slip) for slip in prose.of_source(file, ROOT)] == []


@pytest.mark.parametrize("crate", sorted(path.parent for path in (ROOT / "rust").glob("*/src")), ids=name)
def test_messages_follow_the_style(crate: Path) -> None:
    files = sorted((crate / "src").rglob("*.rs"))
    assert files
    found = [slip for file in files for slip in prose.of_messages(file, ROOT) if slip.place not in PUBLISHED]
    assert [str(slip) for slip in found] == []


def test_names_of_tests_follow_the_style() -> None:
    files = [file for file in SOURCES if file.suffix in (".rs", ".py") and name(file) not in OLD_NAMES]
    found = [slip for file in files for slip in prose.of_names(file.read_text(encoding="utf-8"), name(file))]
    assert [str(slip) for slip in found] == []


def test_the_settings_of_the_site_follow_the_style() -> None:
    file = ROOT / "scripts/docs.toml"
    assert [str(slip) for slip in prose.slips(file.read_text(encoding="utf-8"), name(file))] == []


def test_every_kind_of_source_is_searched() -> None:
    searched = {name(file) for file in SOURCES}
    assert searched >= {
        *("Makefile", "Cargo.toml", ".ci/run", ".config/nextest.toml", ".github/workflows/ci.yml"),
        *("deploy/Containerfile", "deploy/eds.service", "deploy/cron/edgesentry-ops"),
        *("deploy/helm/edgesentry/templates/_helpers.tpl", "notebooks/01-quick-start.ipynb"),
        *("python/edgesentry/_core.pyi", "scripts/docs", "scripts/servers/lib.sh", "scripts/venv"),
        *("rust/chain/src/lib.rs", "rust/formats/src/text/style.css", "tests/hostile/producer.c"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "It shows what was there.",
        "By default, where\nthere is none, it fails.",
        "It is no manifest.",
        "Nobody reads it.",
        "A token is wanted.",
        "The service answers 503.",
        "The program answers 1 if the file is missing.",
        "It answered 0 although the server died.",
        "Revoke it.\nWhere a key may be stolen, use a new one.",
        "This departs from common advice.",
        "It takes them in, and verifies exports.",
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
        "Keep the heads where the writers of the ledger cannot change them.",
        "There is no manifest.",
        "`nobody` and ``` are code.",
        "``nobody`` is code.",
        "See https://example.com/what/is/nobody.",
        'The error is "the token is wanted".',
        "See [the page](nobody.md).",
    ],
)
def test_plain_english_passes(text: str) -> None:
    assert prose.slips(prose.prose(text), "text") == []


@pytest.mark.parametrize(
    "source",
    [
        "#[test]\nfn nobody_reads_without_a_token() {}",
        "#[test]\nfn what_is_missing_is_named() {}",
        '#[tokio::test(flavor = "multi_thread")]\nasync fn an_error_is_told() {}',
        "    #[test]\n    #[cfg(unix)]\n    // A comment.\n    fn the_log_goes_on() {}",
        "def test_another_file_is_no_report() -> None: ...",
        "    async def test_a_page_says_so(self) -> None: ...",
    ],
)
def test_slips_in_names_are_found(source: str) -> None:
    assert prose.of_names(source, "source") != []


@pytest.mark.parametrize(
    "source",
    [
        "#[test]\nfn unknown_device_is_rejected() {}",
        "fn what_is_not_a_test() {}",
        "def nobody() -> None: ...",
    ],
)
def test_plain_names_pass(source: str) -> None:
    assert prose.of_names(source, "source") == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('#[error("it is no manifest of an export")]\nEmpty,', [1]),
        ('let x = 1;\nformat!("the store of {name} \\\n    answers 503 to {what}")', [3]),
        ('// "it is no comment to search"\nlet x = "is no word";', []),
        ('#[cfg(test)]\nmod tests {\n    let x = "it is no message of the program";\n}', []),
    ],
)
def test_slips_in_messages_are_found(source: str, lines: list[int]) -> None:
    assert [slip.line for slip in prose.slips(comments.messages(source), "source")] == lines


def words(extracted: str) -> str:
    """Returns the words of extracted comments."""
    return " ".join(extracted.replace(comments.CODE, " ").split())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("// one", "one"),
        ("/// one\n//! two", "one two"),
        ("let x = 1; // one", "one"),
        ("/* one\n * two\n */ let x = 1;", "one two"),
        ('let x = "// no"; // one', "one"),
        ('let x = "\\"// no";', ""),
        ('let x = "a\n// no";', ""),
        ('let x = r#"a " // no"#; // one', "one"),
        ('let x = br"\\"; // one', "one"),
        ("let x = '\"'; // one", "one"),
        ("let x = '\\''; // one", "one"),
        ("let x = b'\\\\'; // one", "one"),
        ("let x = '\\u{1F600}'; // one", "one"),
        ("fn f<'a>(x: &'a str) {} // one", "one"),
        ('let x = "https://no";', ""),
        ("// it's one\nlet x = 'b';", "it's one"),
    ],
)
def test_comments_of_rust(source: str, expected: str) -> None:
    assert words(comments.of_rust(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# one", "one"),
        ("x = 1  # one", "one"),
        ('"""One."""', "One."),
        ('def f():\n    """One.\n\n    Two.\n    """', "One. Two."),
        ('class A:\n    x = 1\n    """One."""', "One."),
        ('x = "# no"', ""),
        ('x = """\n# no\n"""', ""),
        ('f(\n    "no"\n)', ""),
        ('f = lambda: "no"', ""),
        ('f"""no {1}"""', ""),
        ('"""One.\n\n>>> no()\nno\n\nTwo.\n"""', "One. Two."),
        ('x = "é"  # one', "one"),
    ],
)
def test_comments_of_python(source: str, expected: str) -> None:
    assert words(comments.of_python(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("#!/bin/sh\n# one", "/bin/sh one"),
        ("echo x # one", "one"),
        ("[ $# = 1 ] && echo ${x#no} a#no", ""),
        ("echo '# no' \"# no\" # one", "one"),
        ("echo 'it'\\''s # no' # one", "one"),
        ("awk '\n# no\n'", ""),
        ("cat <<'EOF'\n# no\nEOF\n# one", "one"),
        ("cat <<EOF | x\n# no\nEOF\n# one", "one"),
    ],
)
def test_comments_of_shell(source: str, expected: str) -> None:
    assert words(comments.of_shell(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# one\nkey: value # two", "one two"),
        ("url: https://no/#no", ""),
        ("text: the device's key # one", "one"),
        ("text: '# no' # one", "one"),
        ('text = "# no" # one', "one"),
        ('text = """\n# no\n""" # one', "one"),
        ("{{- /* one */ -}}\n# two", "one two"),
        ("target: ## one\n\techo", "# one"),
    ],
)
def test_comments_of_settings(source: str, expected: str) -> None:
    assert words(comments.of_settings(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("// one", "one"),
        ("let x = 'https://no'; // one", "one"),
        ("let x = `// no`;", ""),
        ("/* one */ a { background: url(https://no) }", "one"),
    ],
)
def test_comments_of_scripts(source: str, expected: str) -> None:
    assert words(comments.of_script(source)) == expected


def test_text_and_comments_of_notebooks() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["One\n", "two."]},
        {"cell_type": "code", "source": ["# three\n", "four()"]},
    ]
    assert words(comments.of_notebook(json.dumps({"cells": cells}))) == "One two. three"


@pytest.mark.parametrize(
    ("read", "source"),
    [
        (comments.of_rust, 'let x = "a\nb";\n\n    // It is\n    // no manifest.\n'),
        (comments.of_python, 'x = """a\nb"""\n\n# It is\n# no manifest.\n'),
        (comments.of_shell, "x='a\nb'\n\n# It is\n# no manifest.\n"),
        (comments.of_settings, 'x = """a\nb"""\n\n# It is\n# no manifest.\n'),
    ],
)
def test_a_slip_has_its_line(read: comments.Reader, source: str) -> None:
    assert [slip.line for slip in prose.slips(prose.prose(read(source)), "source")] == [4]


def test_no_construction_reaches_across_code() -> None:
    source = "// It tells what\nlet x = 1;\n// is here.\n"
    assert prose.slips(prose.prose(comments.of_rust(source)), "source") == []
