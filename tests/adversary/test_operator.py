"""An operator with every right on the stores and the key of the log, against an auditor with a checkpoint.

Each attack names the artefact that shows it. The test asserts the exact findings with it, and those of links
and signatures alone. docs/explanation/threat-model.md has the table of the attacks, and a test compares it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgesentry
from operator_attacks import ATTACKS, Attack, audit, drop_tail, outbox, push
from operator_site import FLEET, Base, Objects, PostgresBase, SqliteBase, eds

THREAT_MODEL = Path(__file__).parents[2] / "docs" / "explanation" / "threat-model.md"


@pytest.fixture(scope="module", params=[SqliteBase, PostgresBase], ids=["sqlite-folder", "postgres-s3"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    made: Base = request.param(tmp_path_factory.mktemp("operator"))
    with made.running:
        yield made


def test_the_site_is_sound(base: Base) -> None:
    site = base.copy("late")
    assert site.found(FLEET.keys) == []
    command = audit(base, site, base.kept, previous=base.early, max_age="1d")
    run = eds(*command, "--require", "signatures,log")
    assert (run.exit_code, run.findings) == (0, []), run


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=str)
def test_an_operator_is_caught(base: Base, attack: Attack) -> None:
    evidence = attack.run(base)
    is_signer = evidence.command[0] == "checkpoint"
    log = files(evidence.site.log) if is_signer else {}
    run = eds(*evidence.command)
    assert (run.findings, run.error, run.exit_code) == (attack.findings, attack.error, attack.exit_code)
    assert evidence.site.found(evidence.keys or FLEET.keys) == attack.without
    if is_signer:
        assert files(evidence.site.log) == log, "a log that stops writes no file except evidence"


def test_a_dropped_tail_is_delivered_to_an_honest_service(base: Base) -> None:
    """The device falls silent after an operator has acknowledged and dropped its last records."""
    dishonest, honest = base.copy("late"), base.copy("late")
    outbox(base, dishonest)
    with dishonest.serve() as url:
        assert eds(*push(base, dishonest, url)).exit_code == 0
    drop_tail(dishonest)
    dishonest.checkpoint()
    assert dishonest.found(FLEET.keys) == []
    # The records are in the outbox, and reach the other service; its next checkpoint has them.
    with honest.serve() as url:
        late = eds(*push(base, dishonest, url, max_age="0s"))
        assert (late.exit_code, late.error) == (1, "receipts_overdue")
        honest.checkpoint()
        delivered = eds(*push(base, dishonest, url, max_age="0s"))
        assert (delivered.exit_code, delivered.error) == (0, None)
    with edgesentry.open(config=honest.config, read_only=True) as ledger:
        assert ledger.heads()["lift-02"].sequence == len(FLEET.chain("lift-02")) + 3
    assert honest.found(FLEET.keys) == []


def files(objects: Objects) -> dict[str, bytes]:
    """Returns the files of a log without its evidence about changes of the ledger."""
    contents = objects.contents()
    return {name: content for name, content in contents.items() if not name.startswith("log/evidence/")}


def rows() -> list[str]:
    """Returns the table of the attacks as the page has it."""
    lines = []
    for attack in ATTACKS.values():
        codes = [f"`{code}`" for code, _, _ in attack.findings]
        shown = ", ".join(codes) or f"`{attack.error}`"
        without = ", ".join(f"`{code}`" for code in attack.without) or "—"
        lines.append(f"| {attack.title} | {without} | {attack.caught_by} | {shown} |")
    return lines


def test_the_table_of_the_threat_model_has_the_attacks() -> None:
    section = THREAT_MODEL.read_text().split("## The operator\n")[1].split("\n## ")[0]
    table = re.findall(r"^\| .* \|$", section, re.MULTILINE)
    assert table[1:] == rows(), "\n".join(rows())
