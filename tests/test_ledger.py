"""The ledger from Python: SQLite, and PostgreSQL and S3 with the servers of `make test`."""

from __future__ import annotations

import asyncio
import inspect
import os
import sqlite3
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import edgesentry
from edgesentry import REJECTION_CODES, AsyncClient, AsyncLedger, AuditRecord, Client, Device, Ledger, Outbox
from support import START_MS, chains, device, payload


def server(variable: str) -> str:
    """The variables of scripts/servers/with; a missing server fails the test."""
    assert variable in os.environ, (
        f"{variable} is not set: run the tests by make test, or under scripts/servers/with"
    )
    return os.environ[variable]


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger of each kind."""
    if request.param == "sqlite":
        url, payloads = f"sqlite:{tmp_path / 'ledger.db'}", None
    else:
        url, payloads = database(), f"folder:{tmp_path / 'payloads'}"
    with edgesentry.open(url, payloads) as ledger:
        yield ledger


def database() -> str:
    """A new database on the PostgreSQL of the tests."""
    url = server("EDGESENTRY_TEST_POSTGRES")
    name = f"py_{uuid.uuid4().hex}"
    with edgesentry.open(url, "folder:/tmp") as first:
        assert first.place
    subprocess.run(["psql", "-q", url, "-c", f"CREATE DATABASE {name}"], check=True)
    return f"{url.rsplit('/', 1)[0]}/{name}"


def pairs(records: list[AuditRecord]) -> list[tuple[AuditRecord, bytes]]:
    return [(record, payload(record)) for record in records]


def test_records_go_in_and_verify(ledger: Ledger, tmp_path: Path) -> None:
    lifts = [device(number) for number in (1, 2, 3)]
    records = chains(lifts, 100)
    for lift in lifts:
        ledger.register_device(lift)
        ledger.register_device(lift)
    first = ledger.ingest(records[0], payload(records[0]))
    assert (first.outcome, first.ok, first.device_id, first.sequence) == ("accepted", True, "lift-01", 1)
    outcomes = ledger.ingest_many(pairs(records))
    assert outcomes.counts == {"duplicate": 1, "accepted": 299}
    assert outcomes.ok
    assert outcomes[0].outcome == "duplicate"
    assert len(outcomes[:5]) == 5
    with pytest.warns(DeprecationWarning, match="Outcome.outcome"):
        assert first.status == "accepted"
    outcomes.raise_for_rejections()

    assert ledger.heads() == {lift.device_id: lift.head for lift in lifts}
    report = ledger.verify(keys="registered", heads=ledger.heads(), payloads=True)
    assert report.ok
    assert report.coverage.records == 300
    assert ledger.verify(keys=ledger.key_ring(), devices="lift-02").coverage.records == 100
    assert sorted(ledger.records(), key=lambda record: (record.sequence, record.device_id)) == records
    table = pyarrow.table(ledger.records(devices=["lift-01"], from_sequence=11, to_sequence=20))
    assert table["sequence"].to_pylist() == list(range(11, 21))
    since = datetime.fromtimestamp((START_MS + 99_000) / 1000, UTC)
    assert len(list(ledger.records(since=since))) == 6
    assert len(list(ledger.records(before=START_MS + 3000))) == 6
    with pytest.raises(ValueError, match="time zone"):
        ledger.records(since=datetime(2026, 1, 1))
    assert ledger.payload(records[0]) == ledger.payload("lift-01/1.bin") == payload(records[0])
    assert ledger.payload("lift-01/none.bin") is None

    manifest = ledger.export(tmp_path / "all.parquet")
    assert (manifest.records, manifest.devices, manifest.heads) == (300, 3, ledger.heads())
    assert pyarrow.parquet.read_table(tmp_path / "all.parquet").num_rows == 300
    assert edgesentry.verify_chain(tmp_path / "all.parquet", keys=ledger.key_ring(), heads=manifest.heads).ok
    part = ledger.export(tmp_path / "part.json", from_sequence=50)
    assert part.start_heads["lift-01"].sequence == 49
    assert not edgesentry.verify_chain(tmp_path / "part.json").ok
    assert edgesentry.verify_chain(tmp_path / "part.json", start_heads=part.start_heads).ok


def test_every_rejection_has_a_reason(ledger: Ledger) -> None:
    lift, late = device(1), device(2)
    ledger.register_device(lift)
    ledger.register_device(late, valid_from=5)
    records = chains([lift], 4)
    assert ledger.ingest_many(pairs(records[:3])).ok
    good = records[3]

    def signed(**changes: object) -> AuditRecord:
        return lift.sign_record(good.replace(**changes))

    cases: list[tuple[AuditRecord, bytes, str]] = [
        (good, b"another", "payload_hash_mismatch"),
        (device(9).sign(b"x", "x"), b"x", "unknown_device"),
        (good.replace(signature=bytes(64)), payload(good), "signature_invalid"),
        (signed(sequence=7), payload(good), "sequence_gap"),
        (signed(prev_record_hash=bytes(32)), payload(good), "prev_hash_mismatch"),
        (signed(sequence=2), payload(good), "fork"),
        (late.sign(b"x", "late"), b"x", "key_not_valid_at_sequence"),
        (signed(timestamp_ms=2**63), payload(good), "out_of_range"),
    ]
    outcomes = ledger.ingest_many((record, content) for record, content, _ in cases)
    assert [outcome.reason for outcome in outcomes] == [reason for *_, reason in cases]
    assert {reason for *_, reason in cases} <= set(REJECTION_CODES)
    assert not outcomes.ok
    assert all(outcome.expected and outcome.actual for outcome in outcomes)
    with pytest.raises(edgesentry.RejectedError, match="8 of 8 records were not ingested") as caught:
        outcomes.raise_for_rejections()
    assert caught.value.outcomes is outcomes
    log = ledger.operation_log(outcome="rejected")
    assert [entry["reason"] for entry in log] == [reason for *_, reason in cases]
    assert log[3]["evidence"] == cases[3][0].canonical_bytes()
    assert ledger.operation_log(after_id=log[6]["id"], reason="out_of_range")[0] == log[7]
    assert len(ledger.operation_log(limit=2)) == 2
    assert ledger.ingest(good, payload(good)).outcome == "accepted"


def test_payloads_in_every_shape(ledger: Ledger) -> None:
    lift = device(1)
    ledger.register_device(lift)
    records = chains([lift], 20)
    assert ledger.ingest_many(
        records[:5], payloads={record.object_ref: payload(record) for record in records}
    ).ok
    assert ledger.ingest_many(records[5:10], payloads=payload).ok
    assert ledger.ingest_many(records[10:15], payloads=[payload(record) for record in records[10:15]]).ok
    assert ledger.ingest_many([(record.to_dict(), payload(record)) for record in records[15:18]]).ok
    with pytest.raises(ValueError, match="shorter"):
        ledger.ingest_many(records[18:], payloads=[payload(records[18])])
    assert ledger.ingest_many(records[18:], payloads=payload).counts in (
        {"accepted": 2},
        {"duplicate": 1, "accepted": 1},
    )
    for wrong in (records, "file.json", 5, [1]):
        with pytest.raises(TypeError):
            ledger.ingest_many(wrong)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        ledger.ingest_many(records, payloads={})


def test_keys_rotate_and_are_revoked(ledger: Ledger) -> None:
    lift = device(1)
    ledger.register_device("lift-01", lift.public_key)
    assert ledger.ingest_many(pairs(chains([lift], 3))).ok
    fresh = Device.from_seed("lift-01", bytes([99] * 32)).resume(lift.head)
    with pytest.raises(edgesentry.RegistryError, match="up to sequence 3"):
        ledger.register_device(fresh, valid_from=2)
    ledger.register_device(fresh)
    record = fresh.sign(b"new key", "lift-01/4.bin")
    assert ledger.ingest(record, b"new key").ok
    assert ledger.revoke_device("lift-01", reason="retired") == 5
    assert ledger.ingest(fresh.sign(b"x", "lift-01/5.bin"), b"x").reason == "key_not_valid_at_sequence"
    (registered,) = ledger.devices()
    assert [(key["valid_from"], key["revoked_from"]) for key in registered["keys"]] == [(1, 5), (4, 5)]
    assert [key["revoked_reason"] for key in registered["keys"]] == ["retired", "retired"]
    assert registered["head"] == ledger.heads()["lift-01"]
    with pytest.raises(edgesentry.RegistryError, match="not registered"):
        ledger.revoke_device("nobody")
    with pytest.raises(edgesentry.ConfigError, match="key"):
        ledger.register_device("lift-09", "00" * 32)
    with pytest.raises(TypeError, match="public_key"):
        ledger.register_device("lift-09")
    began = device(5)
    chains([began], 4)
    ledger.register_device(began, start=began.head)
    assert ledger.ingest(began.sign(b"fifth", "lift-05/5.bin"), b"fifth").ok


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    lifts = [device(number) for number in range(1, 9)]
    for lift in lifts:
        ledger.register_device(lift)

    def ingest(lift: Device) -> None:
        for record in chains([lift], 10):
            assert ledger.ingest(record, payload(record)).outcome == "accepted"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ingest, lifts))
    assert ledger.verify(keys="registered", payloads=True).coverage.records == 80


@pytest.mark.parametrize(("own", "other"), [(AsyncLedger, Ledger), (AsyncClient, Client)])
def test_asyncio_has_the_same_arguments(own: type, other: type) -> None:
    def arguments(method: object) -> list[tuple[object, ...]]:
        assert callable(method)
        given = inspect.signature(method).parameters.values()
        return [(one.name, one.kind, one.default) for one in given if one.name != "at_once"]

    names = [name for name in vars(own) if not name.startswith("_") or name == "__init__"]
    if own is AsyncLedger:
        names.remove("__init__")  # it takes an open ledger
    assert names
    for name in names:
        assert arguments(getattr(own, name)) == arguments(getattr(other, name)), name


def test_asyncio(tmp_path: Path) -> None:
    async def run() -> None:
        async with await edgesentry.open_async(tmp_path / "ledger.db") as ledger:
            lifts = [device(number) for number in range(1, 65)]
            for lift in lifts:
                await ledger.register_device(lift)
            firsts = chains(lifts, 1)
            outcomes = await asyncio.gather(*(ledger.ingest(record, payload(record)) for record in firsts))
            assert all(outcome.outcome == "accepted" for outcome in outcomes)

            async def arriving() -> AsyncIterator[tuple[AuditRecord, bytes]]:
                for number in (2, 3):
                    for lift in lifts:
                        content = f"{number}".encode()
                        yield lift.sign(content, f"{lift.device_id}/{number}.bin"), content
                        await asyncio.sleep(0)

            assert (await ledger.ingest_many(arriving())).counts == {"accepted": 128}
            assert (await ledger.ingest_many(pairs(firsts))).counts == {"duplicate": 64}
            assert (await ledger.verify(keys="registered", payloads=True)).ok
            assert len(await ledger.records(devices="lift-07")) == 3
            assert len(await ledger.heads()) == len(await ledger.devices()) == 64
            assert (await ledger.export(tmp_path / "out.ndjson")).records == 192
            assert await ledger.payload("lift-01/1.bin") == payload(firsts[0])
            assert len(await ledger.operation_log(outcome="duplicate")) == 64
            assert len(await ledger.key_ring()) == 64
            assert await ledger.revoke_device("lift-01") == 4

    asyncio.run(run())


def test_payloads_in_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDS_S3__ENDPOINT", server("EDGESENTRY_TEST_S3"))
    monkeypatch.setenv("EDS_S3__ACCESS_KEY_ID", "edgesentry")
    monkeypatch.setenv("EDS_S3__SECRET_ACCESS_KEY", "edgesentry-secret")
    with edgesentry.open(tmp_path / "ledger.db", "s3://payloads") as ledger:
        lift = device(1)
        ledger.register_device(lift)
        record = lift.sign(b"x", "lift-01/1.bin")
        assert ledger.ingest(record, b"x").outcome == "accepted"
        assert ledger.payload("lift-01/1.bin") == b"x"
        assert ledger.verify(keys="registered", payloads=True).ok
        stray = lift.sign(b"y", "s3://another/2.bin")
        assert ledger.ingest(stray, b"y").outcome == "accepted"
        assert ledger.payload(stray) == b"y"
    monkeypatch.setenv("EDS_S3__ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("EDS_S3__ATTEMPTS", "1")
    monkeypatch.setenv("EDS_INGEST__ATTEMPTS", "1")
    with edgesentry.open(tmp_path / "ledger.db", "s3://payloads") as ledger:
        outcome = ledger.ingest(device(1).resume(stray).sign(b"z", "lift-01/2.bin"), b"z")
        assert (outcome.outcome, outcome.retryable) == ("error", True)
        with pytest.raises(edgesentry.StoreError) as caught:
            ledger.payload("lift-01/1.bin")
        assert caught.value.component == "raw_data_store"


def test_payloads_in_packs(tmp_path: Path) -> None:
    """One directory has files of an earlier setting and packs, and several ledgers may use it at once."""
    kept, lift = tmp_path / "kept", device(1)
    records = chains([lift], 60)
    with edgesentry.open(tmp_path / "ledger.db", f"folder:{kept}") as ledger:
        ledger.register_device(lift)
        assert ledger.ingest_many(pairs(records[:20])).ok
    with (
        edgesentry.open(tmp_path / "ledger.db", f"packs:{kept}") as one,
        edgesentry.open(tmp_path / "ledger.db", f"packs:{kept}") as other,
    ):
        assert one.ingest_many(pairs(records[20:40])).ok
        assert other.ingest_many(pairs(records[40:])).ok
        for ledger in (one, other):
            assert ledger.verify(keys="registered", payloads=True).ok
            assert ledger.payload(records[30]) == payload(records[30])
    assert len(list((kept / ".packs").glob("*.pack"))) == 2
    for place in (f"packs:{kept}", f"folder:{kept}"):
        with edgesentry.open(tmp_path / "ledger.db", place, read_only=True) as ledger:
            assert ledger.verify(keys="registered", payloads=True).ok
    assert edgesentry.verify_chain(records, payloads=kept).ok
    # A payload in a pack is changed, and one is cut off.
    pack = max((kept / ".packs").glob("*.pack"), key=lambda pack: payload(records[-1]) in pack.read_bytes())
    content = pack.read_bytes()
    pack.write_bytes(content.replace(payload(records[45]), b"?" * len(payload(records[45])))[:-1])
    found = edgesentry.verify_chain(records, payloads=kept).findings
    assert [(finding.code, finding.sequence) for finding in found] == [
        ("payload_hash_mismatch", 46),
        ("payload_missing", 60),
    ]


def test_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with edgesentry.open() as ledger:
        assert ledger.place.endswith("edgesentry.db")
        assert not ledger.verify().ok
    assert (tmp_path / "edgesentry.db").is_file()
    assert repr(ledger) == "<Ledger, closed>"
    with pytest.raises(ValueError, match="closed"):
        ledger.heads()
    with pytest.raises(edgesentry.ConfigError, match="there is no ledger"):
        edgesentry.open("none.db", create=False)
    with pytest.raises(edgesentry.ConfigError, match="mysql"):
        edgesentry.open("mysql://me:hush@host/x")
    Path("eds.toml").write_text("leger = 'x'\n")
    with pytest.raises(edgesentry.ConfigError, match="leger"):
        edgesentry.open(config="eds.toml")
    Path("eds.toml").write_text("ledger = 'configured.db'\n")
    with edgesentry.open(config="eds.toml") as ledger:
        assert ledger.place.endswith("configured.db")
    with pytest.raises(edgesentry.StoreError) as caught:
        edgesentry.open("postgres://me:hush@127.0.0.1:9/x", "folder:payloads")
    assert caught.value.retryable
    assert "hush" not in str(caught.value)
    Path("text.db").write_text("this is no database" * 100)
    with pytest.raises(edgesentry.StoreError, match=r"text\.db"):
        edgesentry.open("text.db")


def test_reading_only_changes_nothing(tmp_path: Path) -> None:
    path, lift = tmp_path / "ledger.db", device(1)
    with edgesentry.open(path) as ledger:
        ledger.register_device(lift)
        assert ledger.ingest_many(pairs(chains([lift], 50))).ok
    state = [(file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()]
    with edgesentry.open(path, read_only=True) as ledger:
        assert len(list(ledger.records())) == 50
        assert ledger.verify(keys="registered", payloads=True).ok
        assert len(ledger.operation_log()) == 50
        assert ledger.export(tmp_path / "export.ndjson").records == 50
        assert ledger.payload("lift-01/1.bin") is not None
        with pytest.raises(edgesentry.ConfigError, match="open for reading only"):
            ledger.ingest_many(pairs(chains([lift], 1)))
        with pytest.raises(edgesentry.StoreError, match="open read-only") as caught:
            ledger.revoke_device("lift-01")
        assert not caught.value.retryable
    for name in ("export.ndjson", "export.ndjson.manifest.json"):
        (tmp_path / name).unlink()
    assert [(file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()] == state
    with pytest.raises(edgesentry.ConfigError, match="no ledger"):
        edgesentry.open(tmp_path / "none.db", read_only=True)


def test_a_tampered_ledger_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    lift = device(1)
    with edgesentry.open(path) as ledger:
        ledger.register_device(lift)
        assert ledger.ingest_many(pairs(chains([lift], 50))).ok
    database = sqlite3.connect(path)
    database.execute("UPDATE audit_records SET timestamp_ms = 1 WHERE sequence = 7")
    database.execute("DELETE FROM audit_records WHERE sequence = 9")
    database.execute("UPDATE record_payloads SET payload = x'00' WHERE sequence = 20")
    database.commit()
    database.close()
    with edgesentry.open(path) as ledger:
        report = ledger.verify(keys={"lift-01": {"key": lift.public_key, "scheme": "record"}}, payloads=True)
        found = [(finding.code, finding.sequence) for finding in report.findings]
    assert found == [
        ("signature_invalid", 7),
        ("prev_hash_mismatch", 8),
        ("sequence_gap", 10),
        ("payload_hash_mismatch", 20),
    ]


def test_an_outbox_survives_and_flushes(tmp_path: Path) -> None:
    lift = device(1)
    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        with Outbox(tmp_path / "outbox.db", lift) as outbox:
            signed = [outbox.sign(f"{n}".encode(), f"lift-01/{n}.bin", START_MS + n) for n in range(1, 6)]
            assert outbox.waiting == 5
            flushed = outbox.flush(ledger)
            assert flushed["rejection"] is not None
            assert (flushed["waiting"], flushed["rejection"]["reason"]) == (5, "unknown_device")
            assert outbox.rejection == flushed["rejection"]
            ledger.register_device(lift)
            counts = {"accepted": 5, "duplicates": 0, "waiting": 0}
            assert outbox.flush(ledger) == counts | {"rejection": None, "receipts": None}
        with pytest.raises(ValueError, match="closed"):
            outbox.sign(b"", "x")
        with Outbox(tmp_path / "outbox.db", device(1)) as outbox:
            assert outbox.head == ledger.heads()["lift-01"]
            assert outbox.sign(b"sixth", "lift-01/6.bin").prev_record_hash == signed[4].hash()
            assert outbox.flush(ledger)["accepted"] == 1
        with pytest.raises(edgesentry.EdgesentryError, match="belongs to device"):
            Outbox(tmp_path / "outbox.db", device(2))
        assert ledger.verify(keys="registered", payloads=True).ok
