"""One hostile device against one honest device, on every store and transport.

The honest device's records are all accepted while an attack goes on, and the memory of the service stays
under a limit. `make soak` runs the same with EDGESENTRY_ADVERSARY_SCALE, which makes each attack larger.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import edgesentry
from attacks import ATTACKS, mqtt_client
from edgesentry import Client
from world import MAX_MEMORY_BYTES, World, wire, world

# Ledger, payloads, TLS.
PLACES = [
    ("sqlite", "ledger", True),
    ("sqlite", "folder", False),
    ("postgres", "folder", False),
    ("postgres", "s3", True),
]


@pytest.fixture(scope="module", params=PLACES, ids=lambda place: "-".join(map(str, place[:2])))
def place(request: pytest.FixtureRequest) -> Iterator[World]:
    """A service that all attacks target, one after another; at the end its ledger must be sound."""
    with world(*request.param) as made:
        yield made
        made.process.terminate()
        assert made.process.wait(120) == 0
        with edgesentry.open(config=made.folder / "stores.toml") as ledger:
            assert ledger.verify(keys="registered", payloads=True).ok


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_honest_device_is_served(place: World, attack: str) -> None:
    if attack == "unread_streams" and not place.tls:
        # HTTP/2 needs TLS: this service gets the same attack over HTTP/1.1.
        attack = "unread_answers"
    place.settle()
    with contextmanager(ATTACKS[attack])(place):
        place.prove_honest()
        batch = [place.record(place.lift) for _ in range(20)]
        with Client(place.url, ca=place.ca) as client:
            assert client.ingest_many(batch).counts == {"accepted": 20}
        place.sent += [record for record, _ in batch]
        assert place.memory_bytes() < MAX_MEMORY_BYTES


def test_an_honest_device_gets_outcomes_at_the_broker(place: World) -> None:
    """A hostile device's records are forged or cannot be stored; the other gets all of its outcomes."""
    outcomes: queue.Queue[dict[str, object]] = queue.Queue()
    place.hostile = place.hostile.resume(None)
    with mqtt_client(place, "lift-A") as honest, mqtt_client(place, "lift-B") as hostile:
        subscribed: queue.Queue[None] = queue.Queue()
        honest.on_message = lambda *arguments: outcomes.put(json.loads(arguments[2].payload))
        honest.on_subscribe = lambda *_: subscribed.put(None)
        honest.subscribe("edgesentry/lift-A/outcomes", 1)
        subscribed.get(timeout=60)
        # In a directory neither the second nor the third can be stored: a file is in place of a directory.
        for reference in ("lift-B", "lift-B/x", "x" * 300, "y/" * 500):
            record, content = place.record(place.hostile, reference)
            hostile.publish("edgesentry/lift-B/records", wire(record, content), 1).wait_for_publish(60)
            for text in (b"", b"{", wire(record.replace(timestamp_ms=1), content)):
                hostile.publish("edgesentry/lift-B/records", text, 1).wait_for_publish(60)
        for _ in range(5):
            record, content = place.record(place.lift)
            honest.publish("edgesentry/lift-A/records", wire(record, content), 1).wait_for_publish(60)
            outcome = outcomes.get(timeout=120)
            assert (outcome["sequence"], outcome["outcome"]) == (record.sequence, "accepted")
            place.sent.append(record)
    place.prove_honest()
    assert place.memory_bytes() < MAX_MEMORY_BYTES
