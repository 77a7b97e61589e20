"""Administration from afar: a client reads and administers the ledger of a service."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import edgesentry
from edgesentry import (
    AsyncClient,
    Checkpoint,
    Client,
    ConfigError,
    Policy,
    ServiceError,
    verify_chain,
    verify_proof,
)
from support import chains, device, envelope, key_ring, payload, serve

DEVICES = [device(1), device(2)]
RECORDS = chains(DEVICES, 1500)
LOG = '[log]\norigin = "log.example/lifts"\nkey = "log.seed"\n'


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """A service with a log and more records than fit into one page, its token, and its directory."""
    folder = tmp_path_factory.mktemp("remote")
    command = [sys.executable, "-m", "edgesentry", "token", "afar", "--scope", "read", "--scope", "admin"]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    ledger = f"sqlite:{folder / 'ledger.db'}"
    log = LOG.replace("log.seed", str(folder / "log.seed"))
    settings = folder / "eds.toml"
    settings.write_text(f'ledger = "{ledger}"\npayloads = "ledger"\n{log}{made.stderr}')
    with edgesentry.open(ledger, "ledger") as opened:
        for signer in DEVICES:
            opened.register_device(signer)
        opened.ingest_many([(record, payload(record)) for record in RECORDS]).raise_for_rejections()
    key = envelope("checkpoint", "init", "--config", settings)["checkpoint"]["verifier_key"]
    (folder / "policy").write_text(f"log {key}\nquorum none\n")
    envelope("checkpoint", "--config", settings)
    with serve(ledger, "--config", str(settings)) as url:
        yield url, made.stdout.strip(), folder


@pytest.fixture
def client(remote: tuple[str, str, Path]) -> Iterator[Client]:
    url, token, _ = remote
    with Client(url, token=token) as opened:
        yield opened


def test_remote_reads_equal_the_ledger(client: Client, remote: tuple[str, str, Path]) -> None:
    with edgesentry.open(f"sqlite:{remote[2] / 'ledger.db'}", "ledger") as ledger:
        assert client.heads() == ledger.heads()
        mine = {known["device_id"]: known for known in client.devices()}
        assert {name: mine[name] for name in ("lift-01", "lift-02")} == {
            known["device_id"]: known
            for known in ledger.devices()
            if known["device_id"] in ("lift-01", "lift-02")
        }
        last = client.operation_log(limit=10)[-1]
        assert client.operation_log(after_id=last["id"] - 1, limit=1) == [last]
        assert client.operation_log(limit=10) == ledger.operation_log(limit=10)
        held = list(ledger.records())
    assert list(client.records()) == held
    assert list(client.records(devices="lift-02", from_sequence=3, to_sequence=5)) == [
        record for record in held if record.device_id == "lift-02" and 3 <= record.sequence <= 5
    ]
    assert len(list(client.records(devices=["lift-01", "lift-02"]))) == len(held)


def test_an_export_is_whole_and_verifies(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "export.parquet"
    assert client.export(path) == len(RECORDS)
    assert verify_chain(path, keys=key_ring(DEVICES), heads=client.heads()).ok


def test_devices_are_registered_and_revoked(client: Client) -> None:
    new = device(7)
    client.register_device(new)
    client.register_device(new)
    [known] = [one for one in client.devices() if one["device_id"] == new.device_id]
    assert [key["key"] for key in known["keys"]] == [new.public_key]
    assert client.revoke_device(new.device_id, reason="lost") == 1
    [known] = [one for one in client.devices() if one["device_id"] == new.device_id]
    assert [key["revoked_reason"] for key in known["keys"]] == ["lost"]
    with pytest.raises(ServiceError, match="it is not registered") as raised:
        client.revoke_device("ghost")
    assert not raised.value.retryable
    with pytest.raises(ConfigError, match="weak key"):
        client.register_device("lift-09", "00" * 32)
    with pytest.raises(TypeError, match="public_key"):
        client.register_device("lift-09")


def test_keys_rotate_and_one_of_two_devices_is_a_warning(client: Client, tmp_path: Path) -> None:
    first, second, other = device(11), device(12), device(13)
    client.register_device(first)
    client.register_device(first.device_id, second.public_key, valid_from=5)
    ring = client.key_ring()
    keys = [(key["key"], key["valid_from"]) for key in ring.keys(first.device_id)]
    assert keys == [(first.public_key, 1), (second.public_key, 5)]
    sentence = (
        'the key of device "lift-13" is also registered for device "lift-11": each of them can sign in the '
        "name of the others; register a key of its own for each device"
    )
    with pytest.warns(UserWarning, match="also registered") as warned:
        client.register_device(other.device_id, second.public_key)
    assert [(str(one.message), one.filename) for one in warned] == [(sentence, __file__)]
    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        ledger.register_device(first)
        with pytest.warns(UserWarning, match="also registered") as warned:
            ledger.register_device(other.device_id, first.public_key)
        assert [(str(one.message), one.filename) for one in warned] == [(sentence, __file__)]


def test_proofs_hold_under_the_policy(client: Client, remote: tuple[str, str, Path]) -> None:
    policy = Policy.read(remote[2] / "policy")
    checkpoint = client.checkpoint()
    assert isinstance(checkpoint, Checkpoint)
    assert verify_proof(client.prove("lift-01", 3), policy, device_id="lift-01", sequence=3).kind == "record"
    assert verify_proof(client.prove("lift-01", 3, to_sequence=9), policy).kind == "run"
    assert verify_proof(client.prove("lift-01"), policy).kind == "head"
    assert verify_proof(client.prove("ghost"), policy).kind == "absence"
    assert verify_proof(client.prove(previous=checkpoint), policy, previous=checkpoint).kind == "consistency"
    with pytest.raises(TypeError, match="device_id"):
        client.prove()
    with pytest.raises(TypeError, match="previous="):
        client.prove("lift-01", previous=checkpoint)


def test_scopes_are_those_of_the_token(remote: tuple[str, str, Path]) -> None:
    with Client(remote[0]) as stranger:
        for call in (stranger.devices, stranger.heads, stranger.checkpoint, lambda: list(stranger.records())):
            with pytest.raises(ServiceError, match="a token with the scope read is required"):
                call()
        with pytest.raises(ServiceError, match="a token with the scope admin is required"):
            stranger.register_device(device(8))


@pytest.mark.filterwarnings("ignore:the key of device")
def test_coroutines_do_the_same(remote: tuple[str, str, Path], tmp_path: Path) -> None:
    async def work() -> int:
        async with AsyncClient(remote[0], token=remote[1]) as client:
            await client.register_device(device(8))
            await client.revoke_device(device(8).device_id)
            assert await client.heads()
            assert await client.devices()
            assert await client.operation_log(limit=1)
            assert len(await client.records(devices="lift-01", to_sequence=3)) == 3
            assert "lift-01" in await client.key_ring()
            assert (await client.checkpoint()).size > 0
            assert await client.prove("lift-01", 1)
            return await client.export(tmp_path / "export.ndjson", devices="lift-01")

    assert asyncio.run(work()) == len(RECORDS) // 2


# A service that is not honest.


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def body(handler: BaseHTTPRequestHandler, content: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for header, value in headers.items():
        handler.send_header(header, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def calls(client: Client, folder: Path) -> list[Callable[[], object]]:
    return [
        client.devices,
        client.heads,
        client.operation_log,
        lambda: list(client.records()),
        lambda: client.export(folder / "export.ndjson"),
        lambda: client.revoke_device("lift-01"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"devices": 1, "heads": [], "entries": {}, "records": 3, "next": null, "revoked_from": "1"}',
        b'{"devices": [{}], "heads": {"a": 1}, "entries": [{}], "records": [{}], "next": null}',
        b'{"devices": [null], "heads": {"a": {"sequence": "1", "hash": ""}}, "entries": [1], "records": [1]}',
        b'{"detail": "\x1b[31m"}',
    ],
)
def test_a_response_of_another_form_is_one_error(content: bytes, tmp_path: Path) -> None:
    with answering(lambda handler: body(handler, content)) as url, Client(url, attempts=1) as client:
        for call in calls(client, tmp_path):
            with pytest.raises(ServiceError, match="does not follow"):
                call()
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_repeats_ends(tmp_path: Path) -> None:
    page = {"records": [RECORDS[0].to_dict()], "next": "1:lift-01"}
    content = json.dumps(page).encode()
    with (
        answering(lambda handler: body(handler, content)) as url,
        Client(url, attempts=1) as client,
        pytest.raises(ServiceError, match="does not follow"),
    ):
        client.export(tmp_path / "export.ndjson")
    assert list(tmp_path.iterdir()) == []


def test_a_response_without_end_is_cut(tmp_path: Path) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(1 << 20))
        except OSError:
            pass

    with answering(endless) as url, Client(url, attempts=1) as client, pytest.raises(ServiceError):
        client.heads()


def test_a_redirect_is_not_followed_and_the_token_stays(tmp_path: Path) -> None:
    seen: list[Any] = []

    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        seen.append(dict(handler.headers))
        body(handler, b"{}")

    with answering(elsewhere) as other:
        moved = {"Location": f"{other}/api/v1/devices"}
        redirect = answering(lambda handler: body(handler, b"", 307, **moved))
        with redirect as url, Client(url, token="hush", attempts=1) as client:
            for call in calls(client, tmp_path):
                with pytest.raises(ServiceError) as raised:
                    call()
                assert "hush" not in str(raised.value)
    assert seen == []


def test_a_problem_cannot_reach_the_terminal() -> None:
    problem = json.dumps({"code": "malformed", "detail": "\x1b[31mred\n::error::x"}).encode()
    with (
        answering(lambda handler: body(handler, problem, 400)) as url,
        Client(url, attempts=1) as client,
        pytest.raises(ServiceError) as raised,
    ):
        client.devices()
    assert "\x1b" not in str(raised.value)
    assert "\n" not in str(raised.value)
