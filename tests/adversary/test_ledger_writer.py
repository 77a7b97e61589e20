"""An attacker with every right on the database edits it; the auditor has trusted keys, heads and payloads.

The edits are generated from the schema, after every constraint was dropped: each column of each table is
changed in several ways, its values are exchanged between rows, rows are deleted and doubled. Verification
must find each edit, or end with an error that names the place. Tables in docs/explanation/threat-model.md
list the columns that it does not read, and this test compares them with its results: the columns that the
auditor checks by comparing the registry with their own data, and those without effect.

Chains are also edited and re-linked, with and without the device's key, and cut at their beginning.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest

import edgesentry
from edgesentry import Device, Head, Ledger
from edgesentry.testing import CATALOGUE, Tampered, make_fleet, to_sql
from support import place_payloads
from test_ledger import database

THREAT_MODEL = Path(__file__).parents[2] / "docs" / "explanation" / "threat-model.md"
FLEET = make_fleet(3, 6, scheme=["record", "payload-hash"], seed=5)
# A device whose chain began elsewhere; the auditor knows where.
LATE = Device.from_seed("lift-04", bytes([4] * 32)).resume(Head(40, bytes(range(32))))
STARTS = {"lift-04": Head(40, bytes(range(32)))}
LATE_RECORDS = [LATE.sign(b"late %d" % at, f"lift-04/{at}.bin", at) for at in range(41, 45)]
PAYLOADS = {**FLEET.payloads, **{f"lift-04/{at}.bin": b"late %d" % at for at in range(41, 45)}}
RECORDS = sorted((*FLEET.records, *LATE_RECORDS), key=lambda record: (record.device_id, record.sequence))
KEYS = FLEET.keys
KEYS.add("lift-04", LATE.public_key)
# A request that no leaf of a log covers.
ERASURE = (
    "INSERT INTO erasures (device_id, sequence, payload_hash, reason, at_ms) "
    "SELECT device_id, sequence, payload_hash, 'request 7', 1 FROM audit_records "
    "WHERE device_id = 'lift-01' AND sequence = 2"
)
LONG = 2_000_000
HUGE = 100_000_000
# All of the edits, as `make soak` makes them.
EVERY = "EDGESENTRY_EVERY_FAULT" in os.environ

Kind = Literal["integer", "text", "bytes", "other"]
# `compared`: verification does not read the column, and the list of devices differs.
Verdict = Literal["found", "error", "compared", "not seen"]


@dataclass(frozen=True)
class Column:
    table: str
    name: str
    kind: Kind


@dataclass(frozen=True)
class Edit:
    """The name of the change in the documentation, and the statement that makes it."""

    place: str
    sql: str


class Sqlite:
    values: ClassVar[dict[Kind, list[str]]] = {
        "integer": ["{c} + 1", "-1", "9223372036854775807", "NULL", "1.5", "'x'", "x'00'"],
        "text": [
            "{c} || 'x'",
            "''",
            "NULL",
            f"printf('%.*c', {LONG}, 'x')",
            "7",
            "x'ff'",
            "CAST(x'ff' AS TEXT)",
        ],
        "bytes": [
            "zeroblob(length({c}))",
            "substr({c}, 2)",
            "CAST({c} || x'00' AS BLOB)",
            f"zeroblob({LONG})",
            "x''",
            "NULL",
            "'text'",
            "7",
        ],
        "other": ["NULL"],
    }
    huge = f"printf('%.*c', {HUGE}, 'x')"
    row = "rowid = (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET {position})"
    differs = "({c} IS NOT {value} OR typeof({c}) <> typeof({value}))"

    def __init__(self, folder: Path) -> None:
        self.pristine, self.path = folder / "pristine.db", folder / "ledger.db"
        with edgesentry.open(self.pristine) as ledger:
            fill(ledger)
            self.heads, self.devices = ledger.heads(), ledger.devices()
        connection = sqlite3.connect(self.pristine)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(ERASURE)
        self.schema = [
            Column(table, name, kind_of(declared))
            for (table,) in connection.execute(TABLES).fetchall()
            for (_, name, declared, *_) in connection.execute(f"PRAGMA table_info({table})").fetchall()
        ]
        for (table,) in connection.execute(TABLES).fetchall():
            # A table created from a query has no constraint and no key, and its columns accept any value.
            connection.execute(f"CREATE TABLE free AS SELECT * FROM {table} ORDER BY 1, 2")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE free RENAME TO {table}")
        connection.commit()
        self.counts = {
            column.table: connection.execute(f"SELECT count(*) FROM {column.table}").fetchone()[0]
            for column in self.schema
        }
        connection.close()

    @contextmanager
    def edited(self, sql: str) -> Iterator[bool]:
        """Edits a copy of the ledger, and yields True if the edit changed anything."""
        shutil.copyfile(self.pristine, self.path)
        if str(HUGE) in sql:
            # In a separate process, so that this one stays small: its children inherit its size.
            script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])"
            subprocess.run([sys.executable, "-c", script, str(self.path), sql], check=True)
            yield True
            return
        connection = sqlite3.connect(self.path)
        # Every statement except the last is a preparation.
        *before, last = sql.split(";\n")
        for statement in before:
            connection.execute(statement)
        changed = connection.execute(last).rowcount != 0
        connection.commit()
        connection.close()
        yield changed

    def arguments(self) -> list[str]:
        """The ledger on the command line."""
        return ["--ledger", str(self.path)]

    def open(self) -> Ledger:
        """The ledger, for reading."""
        return edgesentry.open(self.path, read_only=True)

    @contextmanager
    def tampered(self, tampered: Tampered) -> Iterator[None]:
        """Returns the ledger with other records and payloads."""
        shutil.copyfile(self.pristine, self.path)
        connection = sqlite3.connect(self.path)
        connection.executescript(to_sql(tampered))
        connection.close()
        yield


TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"


class Postgres:
    values: ClassVar[dict[Kind, list[str]]] = {
        "integer": ["{c} + 1", "-1", "9223372036854775807", "NULL"],
        "text": ["{c} || 'x'", "NULL", f"repeat('x', {LONG})"],
        "bytes": [
            "decode(repeat('00', length({c})), 'hex')",
            "substr({c}, 2)",
            f"decode(repeat('00', {LONG}), 'hex')",
            "NULL",
        ],
        "other": ["NULL"],
    }
    huge = f"repeat('x', {HUGE})"
    row = "ctid = (SELECT ctid FROM {table} ORDER BY ctid LIMIT 1 OFFSET {position})"
    differs = "{c} IS DISTINCT FROM {value}"

    def __init__(self, folder: Path) -> None:
        self.url, self.payloads = database(), folder / "payloads"
        with edgesentry.open(self.url, self.payloads) as ledger:
            fill(ledger)
            self.heads, self.devices = ledger.heads(), ledger.devices()
        self.psql(ERASURE)
        self.psql(LOOSEN)
        rows = self.psql(
            "SELECT table_name || ' ' || column_name || ' ' || data_type FROM information_schema.columns "
            "WHERE table_schema = 'public' ORDER BY 1"
        )
        parts = [row.split(" ", 2) for row in rows]
        self.schema = [Column(table, name, kind_of(declared)) for table, name, declared in parts]
        tables = sorted({column.table for column in self.schema})
        self.counts = {table: int(self.psql(f"SELECT count(*) FROM {table}")[0]) for table in tables}
        copies = (
            f"CREATE TABLE pristine.{table} AS SELECT * FROM public.{table} ORDER BY 1, 2" for table in tables
        )
        self.psql("CREATE SCHEMA pristine;\n" + ";\n".join(copies))
        self.dirty: set[str] = set()

    def psql(self, sql: str) -> list[str]:
        command = ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.url]
        done = subprocess.run(command, input=sql + ";\n", text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{sql[-300:]}: {done.stderr}"
        return done.stdout.splitlines()

    @contextmanager
    def edited(self, sql: str) -> Iterator[bool]:
        """Edits a copy of the ledger, and yields True if the edit changed anything."""
        said = self.psql(
            f"SET synchronous_commit = off;\nBEGIN;\n{self.restore(tables_edited(sql))}{sql};\nCOMMIT"
        )
        yield not said[-2].endswith(" 0")

    def arguments(self) -> list[str]:
        """The ledger on the command line."""
        return ["--ledger", self.url]

    def open(self) -> Ledger:
        """The ledger, for reading."""
        return edgesentry.open(self.url, self.payloads, read_only=True)

    @contextmanager
    def tampered(self, tampered: Tampered) -> Iterator[None]:
        """Returns the ledger with other records and payloads."""
        script = to_sql(tampered, dialect="postgres").removeprefix("BEGIN;\n").removesuffix("\nCOMMIT;")
        restore = self.restore({"audit_records", "chain_heads"})
        self.psql(f"SET synchronous_commit = off;\nBEGIN;\n{restore}{script}\nCOMMIT")
        place_payloads(self.payloads, tampered.records, tampered.payloads(PAYLOADS))
        try:
            yield
        finally:
            place_payloads(self.payloads, RECORDS, PAYLOADS)

    def restore(self, dirtied: set[str]) -> str:
        """Returns the statements that restore the ledger; then the given tables are edited."""
        edited, self.dirty = self.dirty, dirtied
        return "".join(
            f"DELETE FROM public.{table};\nINSERT INTO public.{table} SELECT * FROM pristine.{table};\n"
            for table in sorted(edited)
        )


# Drops every constraint, default and identity of the tables.
LOOSEN = """
DO $$
DECLARE r record;
BEGIN
    FOR r IN SELECT conrelid::regclass AS t, conname FROM pg_constraint
             WHERE connamespace = 'public'::regnamespace AND contype <> 'n' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', r.t, r.conname);
    END LOOP;
    FOR r IN SELECT indexrelid::regclass AS i FROM pg_index JOIN pg_class c ON c.oid = indrelid
             WHERE relnamespace = 'public'::regnamespace LOOP
        EXECUTE format('DROP INDEX %s', r.i);
    END LOOP;
    FOR r IN SELECT attrelid::regclass AS t, attname, attidentity
             FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 LOOP
        IF r.attidentity <> '' THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP IDENTITY', r.t, r.attname);
        END IF;
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', r.t, r.attname);
    END LOOP;
END $$
"""


def tables_edited(sql: str) -> set[str]:
    """Returns the tables that the statements of an edit change."""
    return set(re.findall(r"^(?:UPDATE|DELETE FROM|INSERT INTO) (\w+)", sql, re.MULTILINE))


def kind_of(declared: str) -> Kind:
    declared = declared.lower()
    if "int" in declared:
        return "integer"
    if declared in ("text", "character varying"):
        return "text"
    if declared in ("blob", "bytea"):
        return "bytes"
    return "other"


def edits(side: Sqlite | Postgres) -> Iterator[Edit]:
    """Yields every edit: each column in one row, swapped between two, in all rows; each row of a table."""
    for column in side.schema:
        c, table, place = column.name, column.table, f"{column.table}.{column.name}"
        middle = side.row.format(table=table, position=side.counts[table] // 2)
        last = side.row.format(table=table, position=max(side.counts[table] - 1, 0))
        # Connections to PostgreSQL take most of the time: unread tables get one edit for each column.
        is_short = isinstance(side, Postgres) and table != "audit_records" and not EVERY
        for value in side.values[column.kind][: 1 if is_short else None]:
            value = value.format(c=c)
            differs = side.differs.format(c=c, value=f"({value})")
            yield Edit(place, f"UPDATE {table} SET {c} = {value} WHERE {middle} AND {differs}")
            if table == "audit_records":
                yield Edit(place, f"UPDATE {table} SET {c} = {value} WHERE {last} AND {differs}")
        if is_short:
            continue
        other = f"(SELECT {c} FROM {table} WHERE {last})"
        yield Edit(
            place,
            f"CREATE TEMP TABLE two AS SELECT {c} AS a, {other} AS b FROM {table} WHERE {middle};\n"
            f"UPDATE {table} SET {c} = CASE WHEN {last} THEN (SELECT a FROM two) ELSE (SELECT b FROM two) END"
            f" WHERE ({middle} OR {last}) AND (SELECT {side.differs.format(c='a', value='b')} FROM two)",
        )
    for table, count in side.counts.items():
        middle = side.row.format(table=table, position=count // 2)
        last = side.row.format(table=table, position=max(count - 1, 0))
        yield Edit(f"rows of {table}", f"DELETE FROM {table} WHERE {middle}")
        yield Edit(f"rows of {table}", f"DELETE FROM {table} WHERE {last}")
        yield Edit(f"rows of {table}", f"DELETE FROM {table}")
        yield Edit(f"rows of {table}", f"INSERT INTO {table} SELECT * FROM {table} WHERE {middle}")
        yield Edit(f"rows of {table}", f"INSERT INTO {table} SELECT * FROM {table}")


def fill(ledger: Ledger) -> None:
    FLEET.fill(ledger)
    ledger.register_device(LATE, start=STARTS["lift-04"])
    assert ledger.ingest_many(LATE_RECORDS, PAYLOADS).ok


def verify(ledger: Ledger, heads: Mapping[str, Head], starts: Mapping[str, Head]) -> edgesentry.Report:
    """Verifies like the auditor, with trusted keys, heads, start heads and payloads."""
    return ledger.verify(keys=KEYS, heads=heads, start_heads=starts, payloads=True, threads=1)


def verdict(side: Sqlite | Postgres, table: str = "audit_records") -> tuple[Verdict, str]:
    """Returns the view of the auditor."""
    try:
        with side.open() as ledger:
            report = verify(ledger, side.heads, STARTS)
            if report.ok and table in ("devices", "chain_heads") and ledger.devices() != side.devices:
                return "compared", ""
    except edgesentry.EdgesentryError as error:
        text = str(error)
        # Asserts that the message is one sentence with the place, without a whole value or useless advice.
        assert 10 < len(text) < 500, text
        assert "\n" not in text, text
        assert "again" not in text, text
        return "error", text
    if report.ok:
        return "not seen", ""
    return "found", str(report.counts)


def documented(heading: str) -> set[str]:
    """Returns the first cells of the table under a heading of docs/explanation/threat-model.md."""
    section = THREAT_MODEL.read_text().split(f"## {heading}\n")[1].split("\n##")[0]
    first_cells = re.findall(r"^\| ([^|]*`[^|]*) \|", section, re.MULTILINE)
    return {name.replace("`", "") for cell in first_cells for name in cell.split(", ")}


def table_of(place: str) -> str:
    """Returns the table of a column or of rows."""
    return place.removeprefix("rows of ").split(".")[0]


def not_seen(side: Sqlite | Postgres) -> tuple[dict[Verdict, set[str]], dict[str, list[str]]]:
    """Returns the places by the result of their edits, and the result of each edit."""
    places: dict[Verdict, set[str]] = {"compared": set(), "not seen": set()}
    seen: dict[str, list[str]] = {}
    for edit in edits(side):
        with side.edited(edit.sql) as changed:
            if not changed:
                continue
            found, why = verdict(side, table_of(edit.place))
        if found in places:
            places[found].add(edit.place)
        seen.setdefault(edit.place, []).append(f"{found}: {edit.sql[:120]}: {why}")
    return places, seen


@pytest.fixture(scope="module", params=[Sqlite, Postgres], ids=["sqlite", "postgres"])
def side(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sqlite | Postgres:
    made: Sqlite | Postgres = request.param(tmp_path_factory.mktemp("side"))
    return made


def test_the_ledger_is_sound_before_it_is_edited(side: Sqlite | Postgres) -> None:
    with side.edited("DELETE FROM audit_records WHERE 1 = 0"), side.open() as ledger:
        report = verify(ledger, side.heads, STARTS)
    assert report.ok, report.summary()
    assert report.coverage.records == len(RECORDS)


def test_every_edit_is_seen_or_documented(side: Sqlite | Postgres) -> None:
    by_verdict, seen = not_seen(side)
    places = by_verdict["not seen"]
    entries = {entry for entry in documented("Not looked at") if table_of(entry) in side.counts}
    undocumented = {place for place in places if not entries & {place, table_of(place)}}
    for place in sorted(undocumented):
        print(place, *seen[place], sep="\n    ")
    assert not undocumented
    # The documentation lists no detected change as undetected.
    assert entries == {entry for entry in entries if entry in places | {table_of(place) for place in places}}
    compared = documented("Seen by comparing")
    assert by_verdict["compared"] <= compared
    # PostgreSQL gets one edit for each column there, which may end in an error.
    assert by_verdict["compared"] == compared or (isinstance(side, Postgres) and not EVERY)


# Attacks of the catalogue after which every link is valid.
RELINKED = [
    "edit_time_and_relink",
    "redirect_and_relink",
    "forge_payload_and_relink",
    "delete_and_relink",
    "swap_and_relink",
    "append_replayed",
    "rewrite_with_key",
    "swap_devices",
    "rename_device",
    "clock_turned_back",
]


@pytest.mark.parametrize("name", RELINKED)
def test_every_relinked_chain_is_detected_or_documented(side: Sqlite | Postgres, name: str) -> None:
    """By an attacker without the device's key, and by one who has it, on many records."""
    attack = CATALOGUE[name]
    victims = attack.victims(FLEET)
    if not EVERY:
        # The first, a middle and the last one of each device; connections to PostgreSQL take long.
        of_device = [[v for v in victims if v.device_id == device_id] for device_id in FLEET.signers]
        where = [0.0, 0.5, 0.99] if isinstance(side, Sqlite) else [0.5]
        victims = list({some[int(at * len(some))] for some in of_device if some for at in where})
    unseen = set()
    for victim in victims:
        tampered = attack(FLEET, victim)
        records = sorted(
            (*tampered.records, *LATE_RECORDS), key=lambda record: (record.device_id, record.sequence)
        )
        with side.tampered(replace(tampered, records=tuple(records))):
            found, why = verdict(side)
        assert found in ("found", "not seen"), (victim, why)
        if found == "not seen":
            unseen.add(FLEET.schemes[victim.device_id])
    expected = {"append_replayed": {"payload-hash"}, "clock_turned_back": {"record", "payload-hash"}}
    assert unseen == expected.get(name, set())
    assert (name in documented("Re-linked and not seen")) == bool(unseen)


def test_every_cut_beginning_is_seen(side: Sqlite | Postgres) -> None:
    """The first records of a chain are gone, and the ledger claims that it began after them."""
    for device_id in ("lift-01", "lift-02", "lift-04"):
        chain = [record for record in RECORDS if record.device_id == device_id]
        for last_gone in chain[:-1]:
            start = Head(last_gone.sequence, last_gone.hash())
            value = (
                f"x'{start.hash.hex()}'" if isinstance(side, Sqlite) else f"'\\x{start.hash.hex()}'::bytea"
            )
            of_device = f"WHERE device_id = '{device_id}'"
            began = f"start_sequence = {start.sequence}, start_hash = {value}"
            cut = (
                f"UPDATE chain_heads SET {began} {of_device};\n"
                f"DELETE FROM audit_records {of_device} AND sequence <= {start.sequence}"
            )
            with side.edited(cut), side.open() as ledger:
                report = verify(ledger, side.heads, STARTS)
                # A chain begins after the auditor's start head, or else at sequence 1.
                code = "sequence_gap" if device_id in STARTS else "first_record_not_genesis"
                assert set(report.counts) == {code}, (device_id, start)
                # The ledger's own start heads make it complete as a claim, which does not satisfy `require`.
                claimed = ledger.verify(keys=KEYS, heads=side.heads, start_heads="registered")
                assert claimed.ok, claimed.summary()
                with pytest.raises(edgesentry.RequirementError, match="without a trusted beginning"):
                    ledger.verify(keys=KEYS, heads=side.heads, start_heads="registered", require="heads")
                # A trusted start head makes it complete only if it is the true one.
                assert verify(ledger, side.heads, {**STARTS, device_id: start}).ok
                other = Head(start.sequence, bytes(32))
                assert not verify(ledger, side.heads, {**STARTS, device_id: other}).ok


def peak_bytes(command: list[str]) -> tuple[int, int]:
    """Returns the exit code and the peak memory of a command."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


def test_a_huge_value_is_an_error_and_not_loaded(side: Sqlite | Postgres) -> None:
    table, text = "audit_records", "object_ref"
    edit = f"UPDATE {table} SET {text} = {side.huge} WHERE {side.row.format(table=table, position=7)}"
    for command in (["verify-chain", "--registered"], ["export", "--format", "ndjson"]):
        line = [sys.executable, "-m", "edgesentry", *command, *side.arguments()]
        with side.edited(f"DELETE FROM {table} WHERE 1 = 0"):
            code, usual = peak_bytes(line)
        assert code == 0
        with side.edited(edit):
            code, peak = peak_bytes(line)
        assert code == 3
        assert peak - usual < HUGE // 2
