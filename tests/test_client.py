"""Clients of a service on the network: `eds serve` in a separate process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

import edgesentry
from edgesentry import AsyncClient, AuditRecord, Client, Device, Outbox, ServiceError, payload_hash
from support import START_MS, chains, device, payload, serve


@dataclass
class Served:
    """A running service and its ledger."""

    url: str
    ledger: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A service on a SQLite ledger with three devices."""
    ledger = f"sqlite:{tmp_path / 'ledger.db'}"
    with edgesentry.open(ledger) as opened:
        for number in (1, 2, 3):
            opened.register_device(device(number))
    with serve(ledger) as url:
        yield Served(url, ledger)


def pairs(records: list[AuditRecord]) -> list[tuple[AuditRecord, bytes]]:
    return [(record, payload(record)) for record in records]


def test_records_are_sent_and_get_outcomes(served: Served) -> None:
    records = chains([device(1), device(2)], 100)
    with Client(served.url) as client:
        assert client.ingest(records[0], payload(records[0])).outcome == "accepted"
        outcomes = client.ingest_many(pairs(records))
        assert outcomes.counts == {"duplicate": 1, "accepted": 199}
        assert client.ingest_many(records, payload).counts == {"duplicate": 200}
        forged = records[5].replace(timestamp_ms=1)
        outcome = client.ingest(forged, payload(forged))
        assert (outcome.outcome, outcome.reason, outcome.sequence) == ("rejected", "signature_invalid", 3)
        # Also as plain fields.
        fields = {name: getattr(records[1], name) for name in ("device_id", "sequence", "timestamp_ms")}
        fields |= {"payload_hash": records[1].payload_hash, "signature": records[1].signature}
        fields |= {"prev_record_hash": records[1].prev_record_hash, "object_ref": records[1].object_ref}
        assert client.ingest(fields, payload(records[1])).outcome == "duplicate"
    with edgesentry.open(served.ledger) as ledger:
        assert ledger.verify(keys="registered", payloads=True).ok
        assert len(list(ledger.records())) == 200


def test_an_outbox_flushes_over_the_network(served: Served, tmp_path: Path) -> None:
    with Client(served.url) as client, Outbox(tmp_path / "outbox", device(3)) as outbox:
        for number in range(1, 21):
            outbox.sign(b"%d" % number, f"lift-03/{number}.bin", START_MS + number)
        counts = {"accepted": 20, "duplicates": 0, "waiting": 0}
        assert outbox.flush(client) == counts | {"rejection": None, "receipts": None}


def test_a_clock_record_has_the_time_of_the_service(served: Served, tmp_path: Path) -> None:
    with Client(served.url) as client, Outbox(tmp_path / "outbox", device(2)) as outbox:
        first = outbox.sign_clock(boot_counter=7, timestamp_ms=START_MS)
        known = {"type": "edgesentry-clock/v1", "timestamp_ms": START_MS, "boot_counter": 7}
        assert first.payload_hash == payload_hash(json.dumps(known, separators=(",", ":")).encode())
        assert (first.object_ref, first.timestamp_ms) == ("lift-02/clock/1.json", START_MS)
        assert outbox.flush(client)["accepted"] == 1
        second = outbox.sign_clock(boot_counter=7, uptime_ms=90_000)
        with closing(sqlite3.connect(tmp_path / "outbox")) as database:
            ((kept,),) = database.execute("SELECT payload FROM waiting").fetchall()
        assert payload_hash(kept) == second.payload_hash
        assert outbox.flush(client)["accepted"] == 1
        with pytest.raises(OverflowError):
            outbox.sign_clock(boot_counter=-1)
    clock = json.loads(kept)
    times = ["service_time_ms", "service_time_age_ms"]
    assert list(clock) == ["type", "timestamp_ms", "boot_counter", "uptime_ms", *times]
    assert (clock["boot_counter"], clock["uptime_ms"]) == (7, 90_000)
    assert clock["timestamp_ms"] == second.timestamp_ms
    assert clock["service_time_ms"] % 1000 == 0


def test_many_at_once(served: Served) -> None:
    devices = [device(1), device(2), device(3)]

    async def send() -> None:
        async with AsyncClient(served.url, at_once=8) as client:

            async def chain(signer: Device) -> None:
                for record in chains([signer], 30):
                    assert (await client.ingest(record, payload(record))).outcome == "accepted"

            await asyncio.gather(*(chain(signer) for signer in devices))

            async def more() -> AsyncIterator[tuple[AuditRecord, bytes]]:
                for record in chains([devices[0]], 10):
                    yield record, payload(record)

            assert (await client.ingest_many(more())).counts == {"accepted": 10}

    asyncio.run(send())


def test_an_unreachable_service_is_a_retryable_error(tmp_path: Path) -> None:
    records = chains([device(1)], 3)
    with Client("http://127.0.0.1:9", attempts=1) as client:
        outcome = client.ingest(records[0], payload(records[0]))
        assert (outcome.outcome, outcome.retryable) == ("error", True)
        assert "unreachable" in (outcome.error or "")
        assert client.ingest_many(pairs(records)).counts == {"error": 3}
        with Outbox(tmp_path / "outbox", device(2)) as outbox:
            outbox.sign(b"x", "x")
            with pytest.raises(ServiceError, match="unreachable") as raised:
                outbox.flush(client)
        assert raised.value.retryable
    with pytest.raises(ValueError, match="closed"):
        client.ingest(records[0], b"")
    with pytest.raises(edgesentry.ConfigError):
        Client("ftp://x")
    with pytest.raises(ValueError, match="together"):
        Client("https://x", cert="x.pem")
    with pytest.raises(ValueError, match="timeout"):
        Client("http://x", timeout=0)
