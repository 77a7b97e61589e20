"""Attacks of a hostile device on a service; each attack runs until its context ends."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import h2.config
import h2.connection
import h2.settings
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgesentry import Client
from world import HONEST, REFUSED, World, eventually, wire

# `make soak` makes each attack larger.
SCALE = int(os.environ.get("EDGESENTRY_ADVERSARY_SCALE", "1"))

Attack = Callable[[World], Iterator[None]]


def _request(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"host: {HONEST}", f"content-length: {length or len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def _send(connection: socket.socket, data: bytes) -> None:
    # The service may end a connection while it is attacked.
    with suppress(OSError):
        connection.sendall(data)


def unread_answers(world: World) -> Iterator[None]:
    """Small requests with large responses, which the client does not read."""
    body = gzip.compress(b"{}\n" * 60_000)
    request = _request("/api/v1/ingest/batch", body, "content-encoding: gzip")
    with ExitStack() as stack:
        for _ in range(40 * SCALE):
            connection = stack.enter_context(world.secure(world.connect()))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            _send(connection, request)
        yield


def unread_streams(world: World) -> Iterator[None]:
    """A flow-control window of zero, kept alive by pings."""
    body = gzip.compress(b"{}\n" * 60_000)
    with ExitStack() as stack:
        connections = []
        for _ in range(4 * SCALE):
            raw = stack.enter_context(world.connect())
            connection = stack.enter_context(world.secure(raw, "h2"))
            state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            state.local_settings = h2.settings.Settings(
                client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0}
            )
            state.initiate_connection()
            for number in range(50):
                stream = 2 * number + 1
                headers = {":method": "POST", ":path": "/api/v1/ingest/batch", ":scheme": "https"}
                headers |= {":authority": HONEST, "content-encoding": "gzip"}
                state.send_headers(stream, list(headers.items()))
                state.send_data(stream, body, end_stream=True)
            _send(connection, state.data_to_send())
            connections.append((connection, state))
        for connection, state in connections:
            state.ping(b"12345678")
            _send(connection, state.data_to_send())
        yield


def held_bodies(world: World) -> Iterator[None]:
    """Bodies that stop just before their end."""
    body = b" " * ((2 << 20) - 100)
    with ExitStack() as stack:
        connections = [stack.enter_context(world.secure(world.connect())) for _ in range(24 * SCALE)]
        for connection in connections:
            sender = threading.Thread(
                target=_send, args=(connection, _request("/api/v1/ingest", body, length=len(body) + 9))
            )
            sender.start()
            stack.callback(sender.join)
            # Unblocks the sender.
            stack.callback(_end, connection)
        eventually(lambda: world.held("body_bytes") > 12 << 20)
        yield


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def trickled_batches(world: World) -> Iterator[None]:
    """Batches that never end."""
    with ExitStack() as stack:
        connections = [stack.enter_context(world.secure(world.connect())) for _ in range(32 * SCALE)]
        for connection in connections:
            _send(connection, _request("/api/v1/ingest/batch", b'{"', length=1 << 20))
        eventually(lambda: world.held("batches") >= 4)
        yield


def half_open_handshakes(world: World) -> Iterator[None]:
    """TLS handshakes that stop after the hello."""
    if not world.tls:
        yield
        return
    context = ssl.create_default_context(cafile=world.ca)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=HONEST).do_handshake()
    hello = outgoing.read()
    with ExitStack() as stack:
        for _ in range(200 * SCALE):
            _send(stack.enter_context(world.connect()), hello)
        yield


def strangers(world: World) -> Iterator[None]:
    """Records of devices that are not registered."""
    record, content = world.record(world.hostile.resume(None))
    line = wire(record, content)
    names = (f'"stranger-{number}"'.encode() for number in range(20_000 * SCALE))
    body = gzip.compress(b"\n".join(line.replace(b'"lift-B"', name) for name in names), 1)
    with world.secure(world.connect()) as connection:
        _send(
            connection, _request("/api/v1/ingest/batch", body, "content-encoding: gzip", "connection: close")
        )
        answer = bytearray()
        while piece := connection.recv(1 << 20):
            answer += piece
        assert b'"rate_limited"' in answer
        rejected = world.metrics()['edgesentry_ingest_rejected_total{reason="unknown_device"}']
        # The burst of the settings, and the requests in progress when it was used up.
        assert rejected < 200 + 5 * 1024, rejected
        yield


def squatted_payload(world: World) -> Iterator[None]:
    """A payload under the reference of the next record of another device."""
    number = (world.lift.head.sequence if world.lift.head else 0) + 1
    forged = world.hostile.resume(None).sign(b"squatted", f"lift-A/{number}.bin", 1).replace(sequence=99)
    forged = world.hostile.sign_record(forged)
    with world.secure(world.connect()) as connection:
        _send(connection, _request("/api/v1/ingest", wire(forged, b"squatted"), "connection: close"))
        while connection.recv(1 << 16):
            pass
        yield


def unstorable_records(world: World) -> Iterator[None]:
    """Records that the ledger refuses for good, one by one and in batches, beside those of another device."""
    head = world.head("lift-B")
    hostile = world.hostile.resume(head)
    record, content = world.record(hostile)
    line = wire(record, content)
    answers: list[bytes] = []
    stop = threading.Event()

    def send(path: str, body: bytes) -> None:
        while not stop.is_set():
            # Attacks before this one have used up the rejections of the other address.
            with world.secure(world.connect(REFUSED)) as connection:
                _send(connection, _request(path, body, "connection: close"))
                parts = []
                with suppress(OSError):
                    while part := connection.recv(1 << 16):
                        parts.append(part)
                answers.append(b"".join(parts))

    with world.refusing("lift-B"):
        senders = [
            threading.Thread(target=send, args=("/api/v1/ingest", line)),
            threading.Thread(target=send, args=("/api/v1/ingest/batch", (line + b"\n") * 5)),
        ]
        for sender in senders:
            sender.start()
        try:
            eventually(lambda: len(answers) >= 4)
            yield
        finally:
            stop.set()
            for sender in senders:
                sender.join()
    # Never accepted, and never requested again; a busy service may report that it is busy.
    refused = [answer for answer in answers if b'"store"' in answer]
    assert refused, answers[-1]
    assert all(b"a retry fails until the store is repaired" in answer for answer in refused), refused[-1]
    assert not any(b'"retryable":true' in answer for answer in refused)
    assert not any(b'"outcome":"accepted"' in answer for answer in answers)
    # The obstacle is gone, and the device continues.
    with Client(world.url, ca=world.ca) as client:
        assert client.ingest(record, content).outcome == "accepted"


@contextmanager
def mqtt_client(world: World, name: str) -> Iterator[mqtt.Client]:
    """A client of the broker."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(100)
    client.connect(HONEST, world.broker)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def foreign_topics(world: World) -> Iterator[None]:
    """Requests for outcomes on topics that do not belong to the sender."""
    heard: list[str] = []
    with mqtt_client(world, "victim") as victim, mqtt_client(world, "lift-B") as hostile:
        victim.on_message = lambda *arguments: heard.append(arguments[2].payload.decode())
        done = threading.Event()
        victim.on_subscribe = lambda *_: done.set()
        victim.subscribe([("edgesentry/lift-A/#", 1), ("cmd/#", 1)])
        done.wait()
        record, content = world.record(world.lift)
        world.lift = world.lift.resume(world.sent[-1] if world.sent else None)
        forged = wire(record.replace(timestamp_ms=1), content)
        for topic in ("", "cmd/door", "edgesentry/lift-A/outcomes", "edgesentry/lift-A/x"):
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if topic:
                properties.ResponseTopic = topic
                properties.CorrelationData = b"open the door" * 100
            sent = hostile.publish("edgesentry/lift-B/records", forged, 1, properties=properties)
            sent.wait_for_publish(60)
        yield
        assert heard == []


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        unread_answers,
        unread_streams,
        trickled_batches,
        half_open_handshakes,
        strangers,
        squatted_payload,
        unstorable_records,
        foreign_topics,
        # At the end: a service without TLS notices late that they are gone, and `settle` would wait.
        held_bodies,
    )
}
