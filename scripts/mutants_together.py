"""Builds many mutants into one program, and runs the tests that reach each of them.

A build for each mutant takes most of the time of cargo-mutants. Here each mutant of its list becomes a
branch, and an environment variable chooses the one that is taken:

    a < b    becomes    (match (&(a), &(b)) { (l, r) => if on(7) { *l > *r } else { *l < *r } })

Each test runs once without a mutant, and records the mutants that it reaches. Then the tests that reach a
mutant run with it, the fastest first, until one fails. Some mutants cannot be branches: those in constants,
those of functions that return `impl Trait`, and those whose branches do not compile. cargo-mutants tests
them, and those that no test notices here.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tree_sitter_rust
from tree_sitter import Language, Node, Parser

CAUGHT, MISSED, TIMEOUT, LEFT = "CaughtMutant", "MissedMutant", "Timeout", "Left"

RUST = Parser(Language(tree_sitter_rust.language()))
# The nodes of the syntax tree that each kind of mutant changes.
NODES = {
    "BinaryOperator": {"binary_expression", "compound_assignment_expr"},
    "UnaryOperator": {"unary_expression"},
    "MatchArm": {"match_arm"},
    "MatchArmGuard": {"match_pattern"},
    "FnValue": {"function_item"},
    "StructField": {"field_initializer", "shorthand_field_initializer"},
}
# The part of the node that the place of the mutant, or the name of its function, identifies.
PARTS = {"BinaryOperator": "operator", "MatchArmGuard": "condition", "FnValue": "name"}
CONSTANT = {"const_item", "static_item", "array_type", "const_block"}
COMPARISONS = {"==", "!=", "<", ">", "<=", ">="}
# The branches of a library are in this module of it.
ON = "crate::mutants_together::on"
MODULE = r"""
#[doc(hidden)]
pub mod mutants_together {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

    const UNKNOWN: u32 = u32::MAX;
    const RECORD: u32 = u32::MAX - 1;
    static CHOSEN: AtomicU32 = AtomicU32::new(UNKNOWN);
    static REACHED: [AtomicBool; 8192] = [const { AtomicBool::new(false) }; 8192];

    #[inline(always)]
    pub fn on(mutant: u32) -> bool {
        let chosen = CHOSEN.load(Relaxed);
        if chosen >= RECORD { choose_or_record(mutant) } else { chosen == mutant }
    }

    #[cold]
    #[inline(never)]
    fn choose_or_record(mutant: u32) -> bool {
        if CHOSEN.load(Relaxed) == UNKNOWN {
            let text = std::env::var("EDGESENTRY_MUTANT").unwrap_or_default();
            CHOSEN.store(if text == "record" { RECORD } else { text.parse().unwrap_or(0) }, Relaxed);
        }
        let chosen = CHOSEN.load(Relaxed);
        if chosen == RECORD && !REACHED[mutant as usize].swap(true, Relaxed) {
            let path = std::env::var("EDGESENTRY_MUTANTS_REACHED").expect("a path");
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            file.and_then(|mut file| file.write_all(format!("{mutant}\n").as_bytes())).expect("written");
        }
        chosen == mutant
    }
}
"""
ALLOW = "#![allow(warnings, arithmetic_overflow, unconditional_panic, unconditional_recursion)]\n"
# The comments around a branch, which find it in the text that the compiler rejects.
MARKS = re.compile(rb"/\*<([\d+]+)\*/|/\*([\d+]+)>\*/")
MAX_ROUNDS = 40
# Tests with random input neither shrink nor keep the input of a failure.
QUIET = {"PROPTEST_DISABLE_FAILURE_PERSISTENCE": "1", "PROPTEST_MAX_SHRINK_ITERS": "0", "RUST_BACKTRACE": "0"}
MAX_MEMORY_BYTES = 6 << 30


@dataclass(frozen=True)
class Mutant:
    """A mutant of the list of cargo-mutants, with a number from 1."""

    number: int
    name: str
    file: str
    kind: str
    replacement: str
    function: str
    start: tuple[int, int]
    end: tuple[int, int]


@dataclass(frozen=True)
class Test:
    """A test of a test binary."""

    binary: str
    directory: str
    name: str


def parse_list(text: str) -> list[Mutant]:
    """Reads the list that cargo-mutants writes as JSON."""

    def place(of: Mapping[str, int]) -> tuple[int, int]:
        return of["line"], of["column"]

    return [
        Mutant(
            number=number,
            name=each["name"],
            file=each["file"],
            kind=each["genre"],
            replacement=each["replacement"],
            function=(each["function"] or {}).get("function_name", "").rpartition("::")[2],
            start=place(each["span"]["start"]),
            end=place(each["span"]["end"]),
        )
        for number, each in enumerate(json.loads(text), 1)
    ]


class Source:
    """A source file, with its mutants as branches."""

    def __init__(self, text: bytes, mutants: Iterable[Mutant]) -> None:
        self.text = text
        self.root = RUST.parse(text).root_node
        self.lines = [0, *(at.end() for at in re.finditer(b"\n", text))]
        # By the node that they change.
        self.mutants: defaultdict[tuple[int, int, str], list[Mutant]] = defaultdict(list)
        # The numbers of the mutants that are not branches.
        self.left: set[int] = set()
        for mutant in mutants:
            node = self.node_of(mutant)
            if node is None:
                self.left.add(mutant.number)
            else:
                self.mutants[key(node)].append(mutant)

    def offset(self, line: int, column: int) -> int:
        """Returns the byte of a line and a column in characters, both from 1."""
        start = self.lines[line - 1]
        return start + len(self.text[start:].decode()[: column - 1].encode())

    def of(self, node: Node) -> str:
        """Returns the original text of a node."""
        return self.text[node.start_byte : node.end_byte].decode()

    def node_of(self, mutant: Mutant) -> Node | None:
        """Returns the node that a mutant changes, or None if the mutant cannot be a branch."""
        start, end = self.offset(*mutant.start), self.offset(*mutant.end)
        last = start if mutant.kind == "FnValue" else max(start, end - 1)
        node = self.root.descendant_for_byte_range(start, last)
        while node is not None and not self.is_node_of(node, mutant, start, end):
            node = node.parent
        if node is None or (mutant.kind in ("BinaryOperator", "MatchArmGuard") and has_let(node)):
            return None
        returned = node.child_by_field_name("return_type") if mutant.kind == "FnValue" else None
        if returned is not None and re.search(r"\bimpl\b", self.of(returned)):
            return None
        outer: Node | None = node
        while outer is not None:
            if outer.type in CONSTANT:
                return None
            modifiers = [self.of(child) for child in outer.children if child.type == "function_modifiers"]
            if outer.type == "function_item" and any("const" in text.split() for text in modifiers):
                return None
            outer = outer.parent
        return node

    def is_node_of(self, node: Node, mutant: Mutant, start: int, end: int) -> bool:
        """Returns true if the mutant changes this node."""
        if node.type not in NODES[mutant.kind]:
            return False
        part = PARTS.get(mutant.kind)
        child = node.child_by_field_name(part) if part else node
        if child is None:
            return False
        if mutant.kind == "FnValue":
            return self.of(child) == mutant.function
        return child.start_byte == start and (mutant.kind != "BinaryOperator" or child.end_byte == end)

    def rendered(self, node: Node | None = None, replaced: Mapping[int, str] | None = None) -> str:
        """Returns the text of a node with its branches; `replaced` has the texts of children by their id."""
        node = node or self.root
        mutants = [each for each in self.mutants.get(key(node), []) if each.number not in self.left]
        if mutants and replaced is None:
            return self.branches(node, mutants)
        parts, at = [], node.start_byte
        for child in node.children:
            parts.append(self.text[at : child.start_byte].decode())
            parts.append((replaced or {}).get(child.id) or self.rendered(child))
            at = child.end_byte
        return "".join([*parts, self.text[at : node.end_byte].decode()])

    def branches(self, node: Node, mutants: Sequence[Mutant]) -> str:
        """Returns the text of a node that mutants change."""

        def marked(text: str, of: Sequence[Mutant] = mutants) -> str:
            numbers = "+".join(str(mutant.number) for mutant in of)
            return f"/*<{numbers}*/{text}/*{numbers}>*/"

        def child(field: str) -> Node:
            found = node.child_by_field_name(field)
            assert found is not None
            return found

        def choice(of: Callable[[str], str], operator: str) -> str:
            ways = "".join(f"if {ON}({each.number}) {{ {of(each.replacement)} }} else " for each in mutants)
            return f"{ways}{{ {of(operator)} }}"

        only = mutants[0]
        match node.type:
            case "binary_expression":
                operator = self.of(child("operator"))
                left, right = self.rendered(child("left")), self.rendered(child("right"))
                if operator in ("&&", "||"):
                    test = "!=" if operator == "&&" else "=="
                    rest = f"if l__ {test} {ON}({only.number}) {{ {right} }} else {{ l__ }}"
                    return marked(f"({{ let l__: bool = {left}; {rest} }})")
                # A comparison does not move its operands.
                by, at = ("&", "*") if operator in COMPARISONS else ("", "")
                ways = choice(lambda with_: f"{at}l__ {with_} {at}r__", operator)
                return marked(f"(match ({by}({left}), {by}({right})) {{ (l__, r__) => {ways} }})")
            case "compound_assignment_expr":
                left, right = self.rendered(child("left")), self.rendered(child("right"))
                ways = choice(lambda with_: f"{left} {with_} r__", self.of(child("operator")))
                return marked(f"{{ let r__ = {right}; {ways} }}")
            case "unary_expression":
                operator, value = self.of(node.children[0]), self.rendered(node.children[-1])
                return marked(f"({{ let v__ = {value}; {choice(lambda with_: f'{with_}v__', operator)} }})")
            case "match_arm":
                pattern = child("pattern")
                text = self.rendered(pattern) + marked(f" if !{ON}({only.number})")
                return self.rendered(node, {pattern.id: text})
            case "match_pattern":
                guard = child("condition")
                text = f"({self.rendered(guard)})"
                for mutant in mutants:
                    test = "||" if mutant.replacement == "true" else "&& !"
                    text = f"({text} {test} {ON}({mutant.number}))"
                return self.rendered(node, {guard.id: marked(text)})
            case "function_item":
                body = child("body")
                returns = (
                    marked(f"if {ON}({each.number}) {{ return {each.replacement}; }}", [each])
                    for each in mutants
                )
                return self.rendered(node, {body.id: "{ " + "".join(returns) + self.rendered(body)[1:]})
            case _:
                name = self.of(node.children[0])
                value = node.child_by_field_name("value")
                base = next(each for each in node.parent.children if each.type == "base_field_initializer")
                given = f"({self.rendered(base.children[-1])}).{name}"
                own = self.rendered(value) if value is not None else name
                return f"{name}: " + marked(f"(if {ON}({only.number}) {{ {given} }} else {{ {own} }})")


def key(node: Node) -> tuple[int, int, str]:
    """Returns what identifies a node of a file."""
    return node.start_byte, node.end_byte, node.type


def has_let(node: Node) -> bool:
    """Returns true if an expression contains `let`, whose names the rest of it may use."""
    inner = (child for child in node.children if child.type not in ("closure_expression", "block"))
    return node.type in ("let_condition", "let_chain") or any(map(has_let, inner))


def sources(tree: Path, mutants: Iterable[Mutant]) -> dict[str, Source]:
    """Returns the files that the mutants change, as branches."""
    by_file: defaultdict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_file[mutant.file].append(mutant)
    return {file: Source((tree / file).read_bytes(), of_file) for file, of_file in by_file.items()}


@dataclass
class Together:
    """A copy of the workspace whose library has the mutants as branches."""

    tree: Path
    # The root file of the library, relative to the tree.
    library: str
    sources: dict[str, Source]
    environment: Mapping[str, str]

    def build(self, library: Sequence[str], tests: Sequence[str]) -> list[Test]:
        """Builds the library and then tests, with these arguments of cargo, and returns the tests.

        Mutants whose branches do not compile are left.
        """
        for _ in range(MAX_ROUNDS):
            texts = self.write()
            if not (errors := self.errors(library)):
                break
            left: set[int] = set().union(*(self.cause(error, texts) for error in errors))
            if not left:
                sys.exit(errors[0]["rendered"])
            for source in self.sources.values():
                source.left |= left
        command = ["cargo", "test", "--locked", "--no-run", "--message-format=json", *tests]
        built = subprocess.run(
            command, cwd=self.tree, env=self.environment, stdout=subprocess.PIPE, check=True
        )
        found = []
        for message in map(json.loads, built.stdout.splitlines()):
            if message.get("executable") and message["profile"]["test"]:
                binary, directory = message["executable"], str(Path(message["manifest_path"]).parent)
                listing = [binary, "--list", "--format=terse"]
                listed = subprocess.run(
                    listing, cwd=directory, capture_output=True, text=True, check=True
                ).stdout
                names = re.findall(r"^(.*): test$", listed, re.M)
                found += [Test(binary, directory, name) for name in names]
        return found

    def write(self) -> dict[str, bytes]:
        """Writes the files with branches, and returns their texts."""
        texts = {file: source.rendered() for file, source in self.sources.items()}
        whole = texts.get(self.library) or (self.tree / self.library).read_text(encoding="utf-8")
        if MODULE not in whole:
            start = re.search(r"^(?!//!|$)", whole, re.M)
            at = start.start() if start else 0
            texts[self.library] = whole[:at] + ALLOW + whole[at:] + MODULE
        written = {file: text.encode() for file, text in texts.items()}
        for file, text in written.items():
            if (self.tree / file).read_bytes() != text:
                (self.tree / file).write_bytes(text)
        return written

    def errors(self, library: Sequence[str]) -> list[dict[str, Any]]:
        """Returns the errors of the compiler in the library."""
        command = ["cargo", "build", "--locked", "--message-format=json", *library]
        checked = subprocess.run(
            command, cwd=self.tree, env=self.environment, capture_output=True, check=False
        )
        if checked.returncode == 0:
            return []
        messages = [json.loads(line) for line in checked.stdout.splitlines()]
        errors = [each["message"] for each in messages if each.get("reason") == "compiler-message"]
        errors = [error for error in errors if error["level"] == "error" and error["spans"]]
        if not errors:
            sys.exit(checked.stderr.decode())
        return errors

    def cause(self, error: Mapping[str, Any], texts: Mapping[str, bytes]) -> set[int]:
        """Returns the mutants of the smallest branch around an error, or else those near it."""
        near: set[int] = set()
        for span in sorted(error["spans"], key=lambda span: not span["is_primary"]):
            file = next((file for file in texts if file.endswith(span["file_name"])), None)
            if file is None:
                continue
            first, last = span["byte_start"], span["byte_end"]
            marks = branches(texts[file])
            around = [mark for mark in marks if mark[0] <= first and last <= mark[1]]
            if around:
                return set(min(around, key=lambda mark: mark[1] - mark[0])[2])
            line = texts[file].rfind(b"\n", 0, first)
            near |= {number for start, _, numbers in marks if line <= start <= last for number in numbers}
        return near


def branches(text: bytes) -> list[tuple[int, int, list[int]]]:
    """Returns the start, the end and the mutants of each branch."""
    found, begun = [], defaultdict(list)
    for mark in MARKS.finditer(text):
        if mark[1]:
            begun[mark[1]].append(mark.start())
        else:
            found.append((begun[mark[2]].pop(), mark.end(), [int(number) for number in mark[2].split(b"+")]))
    return found


def run(test: Test, timeout_seconds: float, environment: Mapping[str, str]) -> tuple[int | None, float]:
    """Runs a test. Returns its exit code, or None if it took too long, and the seconds that it took."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))

    began = time.monotonic()
    try:
        ended = subprocess.run(
            [test.binary, "--exact", test.name, "--test-threads=1"],
            cwd=test.directory,
            env={**os.environ, **QUIET, **environment},
            timeout=timeout_seconds,
            preexec_fn=limit,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        ended = None
    return ended, time.monotonic() - began


def judge(
    program: Together, mutants: Sequence[Mutant], tests: Sequence[Test], directory: Path
) -> dict[str, str]:
    """Runs the tests that reach each mutant. Returns the result of each mutant by its name.

    The tests write what they reach into the directory, which it makes.
    """
    directory.mkdir(parents=True)
    left = set().union(*(source.left for source in program.sources.values()))
    reached: defaultdict[int, list[tuple[float, Test]]] = defaultdict(list)

    def record(numbered: tuple[int, Test]) -> None:
        number, test = numbered
        path = directory / str(number)
        environment = {"EDGESENTRY_MUTANT": "record", "EDGESENTRY_MUTANTS_REACHED": str(path)}
        ended, seconds = run(test, 3600, environment)
        if ended != 0:
            raise RuntimeError(f"{test.name} fails without a mutant")
        for mutant in path.read_text().split() if path.exists() else []:
            reached[int(mutant)].append((seconds, test))

    def result(mutant: Mutant) -> tuple[str, str]:
        if mutant.number in left:
            return mutant.name, LEFT
        for seconds, test in sorted(reached[mutant.number], key=lambda each: each[0]):
            ended, _ = run(test, 30 + 20 * seconds, {"EDGESENTRY_MUTANT": str(mutant.number)})
            if ended is None:
                return mutant.name, TIMEOUT
            if ended != 0:
                return mutant.name, CAUGHT
        return mutant.name, MISSED

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(record, enumerate(tests)))
        return dict(pool.map(result, mutants))
