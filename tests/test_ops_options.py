"""`edgesentry.ops` has every option of the commands `eds ops` and `eds drill`, and passes each on."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edgesentry import ops

# Generated from the parser of the command by `make generated`.
COMMANDS: dict[str, list[dict[str, Any]]] = {
    command.removeprefix("eds "): arguments
    for command, arguments in json.loads((Path(__file__).parent / "command.json").read_text()).items()
    if command.startswith(("eds ops ", "eds drill "))
}
# PostgreSQL runs the first two; a supervisor runs the others.
NOT_IN_PYTHON = {
    "ops archive-wal",
    "ops fetch-wal",
    "ops receive-wal",
    "ops watch-postgres",
    "ops note-unit",
}
NAMED_OTHERWISE = {"ops restore-object": "restore_objects", "drill list": "drills"}


def function(command: str) -> Callable[..., Any]:
    name = NAMED_OTHERWISE.get(command, command.removeprefix("ops ").replace("-", "_").replace(" ", "_"))
    assert name in ops.__all__, f"edgesentry.ops.{name} for eds {command} is missing"
    found: Callable[..., Any] = getattr(ops, name)
    return found


def parameter(argument: dict[str, Any], parameters: dict[str, inspect.Parameter]) -> inspect.Parameter | None:
    name = argument["name"].removeprefix("--").replace("-", "_")
    by_position = {"id": "backup_id", "device": "device_id"}
    return parameters.get(name) or parameters.get(f"{name}_") or parameters.get(by_position.get(name, ""))


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - NOT_IN_PYTHON))
def test_every_option_is_in_python(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = function(command)
    parameters = dict(inspect.signature(asked).parameters)
    given: dict[str, object] = {}
    expected: list[str] = []
    for argument in COMMANDS[command]:
        found = parameter(argument, parameters)
        assert found is not None, f"{asked.__name__} lacks {argument['name']}"
        annotation, option = str(found.annotation), argument["name"].startswith("--")
        assert (annotation == "bool") == (not argument["takes_value"]), found
        assert ("Iterable" in annotation) == argument["repeated"], found
        if argument["required"]:
            assert found.default is inspect.Parameter.empty, found
        elif not argument["takes_value"]:
            assert found.default is False, found
        else:
            assert found.default is None, found
        if not argument["takes_value"]:
            given[found.name] = True
            expected.append(argument["name"])
        elif argument["repeated"]:
            given[found.name] = ["one", "two"]
            expected += [f"{argument['name']}={text}" for text in ("one", "two")]
        else:
            given[found.name] = "-7"
            expected.append(f"{argument['name']}=-7" if option else "-7")
    assert given.keys() == parameters.keys(), "an option that the command does not have"

    seen: list[list[str]] = []

    def run(arguments: list[str], content: str) -> object:
        seen.append(list(arguments))
        raise StopIteration(content)

    monkeypatch.setattr(ops, "_run", run)
    with pytest.raises(StopIteration):
        asked(**given)
    assert seen[0][:2] == command.split()
    assert sorted(seen[0][2:]) == sorted(expected + (["--"] if "-7" in expected else []))
    if "-7" in expected:
        assert seen[0][-2:] == ["--", "-7"], "an argument that looks like an option"
    assert asked.__doc__ is not None
    # The reference is generated from the docstrings.
    assert all(f"\n        {name}: " in asked.__doc__ for name in parameters)


def test_commands_without_a_function_are_commands() -> None:
    assert COMMANDS.keys() > NOT_IN_PYTHON | NAMED_OTHERWISE.keys()


def test_a_moment_is_passed_on_with_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def run(arguments: list[str], content: str) -> object:
        seen.append(arguments)
        return {"status": "passed", "checks": []}

    monkeypatch.setattr(ops, "_run", run)
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert ops.verify_recovery(target_time=noon) == ops.Checklist("passed", ())
    assert seen == [["ops", "verify-recovery", "--target-time=2026-01-31T12:00:00+00:00"]]
