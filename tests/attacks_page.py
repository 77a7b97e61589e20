"""Generates docs/reference/attacks.md from the catalogue: python tests/attacks_page.py > docs/reference/attacks.md"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from edgesentry.testing import (
    CATALOGUE,
    LOG_CATALOGUE,
    MALFORMED_FILES,
    UPDATE_CATALOGUE,
    Attack,
    Expected,
    LogAttack,
    make_fleet,
    make_log,
    weak_keys,
)

HEAD = """# Attacks

The kinds of tampering in the catalogues `edgesentry.testing.CATALOGUE` and `LOG_CATALOGUE`, with the findings for each, and the attacks
on updates in `UPDATE_CATALOGUE`. This page is generated from them. Tests verify each attack under every scheme and every combination of inputs and require exactly these findings, on
records and on ledgers in SQLite and PostgreSQL that were altered by SQL.

A column names the findings that its input adds; the findings of one input do not depend on the others. **—** means that the attack
passes with this input alone. "…" stands for the same finding at every later record of the chain. The examples use three chains of
eight records, and a victim in the middle of the suitable ones. The column "log" is for a checkpoint from before the tampering, with its
layout.

Attackers: a *writer* writes to the ledger; a *key holder* also has the device's key; the *device* has a wrong clock; a
*payload writer* writes to the payload store.
"""

LOG_HEAD = """## By an operator, against the log

An operator has the database, the payloads and the key of the log, and lacks the keys of the devices and of the witness. The devices of
these examples sign under `payload-hash`, the policy requires the witness, and the auditor has a key ring. The column "links and
signatures" has the findings of the same evidence without the log. [The threat model](../explanation/threat-model.md#the-operator) has
the attacks on running stores.

| name | attack | links and signatures | shown by | log |
|---|---|---|---|---|"""

UPDATE_HEAD = """## On updates of devices

The attacker controls the network and may hold the key of one publisher. The device requires two of three publishers, and has accepted
version 5. Each attack is refused, the state of the device stays, and its chain has a record with the code.
[Updates of devices](update.md) has the steps.

| name | attack | refused with |
|---|---|---|"""

NOTES = """
## Attacks without a finding

{undetected}

The log names the record as one that came after the checkpoint. It does not judge the time.

## Attacks that pass under one scheme

With a key ring but without trusted heads and payloads, these pass under `payload-hash` but not under `record`:

{hole}

`append_replayed` passes under `payload-hash` even with heads: the chain still contains the trusted head. The log shows it in an export
up to a checkpoint from before it; a later checkpoint commits to it.

## Keys that a key ring refuses

Each is a `ConfigError` when it is added to a key ring, so no signature is verified under it: {keys}.

## Broken files

`edgesentry.testing.MALFORMED_FILES`. The valid entries of a file are verified, so the entry after a broken one has a broken link.

| name | fault | findings or exception |
|---|---|---|
"""


def page() -> str:
    """Returns the page."""
    lines = [HEAD]
    for attacker in ("writer", "key holder", "device", "payload writer"):
        lines += [
            f"## By a {attacker}\n",
            "| name | change | links | signatures, `record` | signatures, `payload-hash` | payloads | heads | log |",
            "|---|---|---|---|---|---|---|---|",
            *(row(attack) for attack in CATALOGUE.values() if attack.attacker == attacker),
            "",
        ]
    lines += [LOG_HEAD, *(log_row(attack) for attack in LOG_CATALOGUE.values()), ""]
    updates = UPDATE_CATALOGUE.values()
    lines += [UPDATE_HEAD, *(f"| `{one.name}` | {one.summary} | `{one.code}` |" for one in updates), ""]
    undetected = [f"- `{name}`: {attack.summary}" for name, attack in CATALOGUE.items() if passes(attack)]
    hole = [name for name, attack in CATALOGUE.items() if is_hole(attack)]
    lines.append(
        NOTES.format(
            undetected="\n".join(undetected),
            hole=", ".join(f"`{name}`" for name in hole),
            keys=", ".join(f"`{name}`" for name in weak_keys()),
        ).strip()
    )
    records = make_fleet(1, 8).records
    for name, malformed in MALFORMED_FILES.items():
        broken = malformed(records)
        says = "`UnreadableError`" if broken.unreadable else cell(broken.findings)
        lines.append(f"| `{name}` | {malformed.summary} | {says} |")
    return "\n".join(lines) + "\n"


def row(attack: Attack) -> str:
    """Returns a line of a table."""
    fleet = make_fleet()
    tampered = attack(fleet)
    expected = tampered.expectations
    # The schemes differ, not the victim: both come from one tampering.
    columns = [
        expected.links,
        expected.signatures.get("record", ()),
        expected.signatures.get("payload-hash", ()),
        expected.payloads,
        expected.heads,
        make_log(fleet).expected(tampered.records),
    ]
    return f"| `{attack.name}` | {attack.summary} | {' | '.join(map(cell, columns))} |"


def log_row(attack: LogAttack) -> str:
    """Returns a line of the table of attacks against the log."""
    evidence = attack(make_fleet(scheme="payload-hash"))
    without, added = cell(evidence.without), cell(evidence.added)
    return f"| `{attack.name}` | {attack.summary} | {without} | {attack.caught_by} | {added} |"


def cell(findings: Iterable[Expected]) -> str:
    """Formats findings by code: the first sequence, and whether there are more."""
    findings = list(findings)
    counts = Counter(one.code for one in findings)
    parts = []
    for code, count in counts.items():
        sequences = [one.sequence for one in findings if one.code == code and one.sequence is not None]
        where = f" {min(sequences)}" if sequences else ""
        parts.append(f"`{code}`{where}{'…' if count > 1 else ''}")
    return ", ".join(parts) or "—"


def passes(attack: Attack) -> bool:
    """Returns True if no verification finds it."""
    expected = attack(make_fleet()).expectations
    levels = (expected.links, *expected.signatures.values(), expected.payloads, expected.heads)
    return not any(levels)


def is_hole(attack: Attack) -> bool:
    """Returns True if it passes under payload-hash without heads, but not under record."""
    expected = attack(make_fleet()).expectations
    under = expected.signatures
    return not expected.links and bool(under.get("record")) and not under.get("payload-hash")


if __name__ == "__main__":
    print(page(), end="")
