"""Witnesses against those of others: PyPI `aics-witness` as witness and client, `aics-tlog` as verifier."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from edgesentry import ConfigError, EdgesentryError, Ledger, Policy, Witness
from support import chains, device, envelope, payload
from test_ledger import database

ROOT = Path(__file__).parent.parent
ORIGIN = "log.example/lifts"

# The client of the other program, in a process of its own: it makes a log, and submits its checkpoints.
CLIENT = """
import json, sys
from aics_tlog import Checkpoint, MerkleTree, format_vkey, parse_note, parse_vkey, sign_checkpoint
from aics_tlog import verify_checkpoint, vkey_from_ed25519
from aics_witness.feeder import WitnessClient, WitnessRejected, merge_cosignatures
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
"""


@pytest.fixture(scope="session")
def aics() -> Path:
    """The directory of the other witness, its client and its verifier."""
    out = ROOT / "target" / "oracles" / "aics"
    out.parent.mkdir(parents=True, exist_ok=True)
    with (out.parent / "aics.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([ROOT / "tests" / "oracles" / "aics", out], check=True)
    return out


def python(aics: Path, *arguments: str | Path, check: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(aics)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


class TheirWitness:
    """The other witness, with a state of its own."""

    def __init__(self, aics: Path, folder: Path, log_key: str) -> None:
        self.aics, self.folder, self.port = aics, folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir()
        self.config = folder / "witness.json"
        self.run("init", "--name", "their.example/w", "--listen", f"127.0.0.1:{self.port}")
        self.run("add-log", "--origin", ORIGIN, "--vkey", log_key)
        self.key: str = json.loads(self.run("status", "--json"))["witness"]["vkey"]

    def run(self, command: str, *arguments: str) -> str:
        return python(self.aics, "-m", "aics_witness", command, "--config", self.config, *arguments)

    @contextmanager
    def serving(self) -> Iterator[None]:
        command = [sys.executable, "-m", "aics_witness", "serve", "--config", str(self.config)]
        environment = {**os.environ, "PYTHONPATH": str(self.aics)}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                for _ in range(200):
                    try:
                        get(f"{self.url}/healthz")
                        break
                    except (urllib.error.URLError, ConnectionError):
                        assert process.poll() is None
                        time.sleep(0.05)
                yield
            finally:
                process.terminate()
                process.wait(30)


@contextmanager
def our_witness(folder: Path, log_key: str, state: str | None = None) -> Iterator[tuple[str, str]]:
    """Our witness in a process of its own: its URL and its key."""
    folder.mkdir()
    (folder / "logs").write_text(f"log {log_key}\n")
    config = folder / "eds.toml"
    state = state or f"sqlite:{folder / 'witness.db'}"
    config.write_text(
        f'[witness]\nstate = "{state}"\nkey = "{folder / "witness.seed"}"\n'
        f'name = "our.example/w"\nlogs = "{folder / "logs"}"\n'
    )
    key = envelope("witness", "init", "--config", config)["witness"]["verifier_key"]
    command = [sys.executable, "-m", "edgesentry", "witness", "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--config", str(config)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "RUST_LOG": "off"},
    ) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert '"listening"' in line, line
            yield json.loads(line)["fields"]["url"], key
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


class Log:
    """A ledger with a log and a policy."""

    def __init__(self, logged: tuple[Ledger, Policy, Path]) -> None:
        self.ledger, policy, self.config = logged
        self.key = str(policy).split()[1]
        self.folder = self.config.parent
        self.sent = 5

    def ask(self, witnesses: dict[str, tuple[str, str]], quorum: int) -> None:
        """Writes the policy: key and URL of each witness."""
        lines = [f"witness {name} {key} {url}" for name, (key, url) in witnesses.items()]
        group = f"group quorum-group {quorum} {' '.join(witnesses)}"
        (self.folder / "policy").write_text(
            "\n".join([f"log {self.key}", *lines, group, "quorum quorum-group", ""])
        )
        if "policy" not in self.config.read_text():
            with self.config.open("a") as config:
                config.write(f'policy = "{self.folder / "policy"}"\n')

    def grow(self) -> None:
        self.sent += 1
        lift = device(1)
        records = chains([lift], self.sent)[-1:]
        self.ledger.ingest_many(records, payload).raise_for_rejections()

    def checkpoint(self, exit_code: int = 0) -> dict[str, Any]:
        return envelope("checkpoint", "--config", self.config, exit_code=exit_code)

    def published(self) -> Path:
        return self.folder / "ledger.db.log" / "log" / "checkpoint"


def verify(aics: Path, note: Path, log_key: str, *witness_keys: str) -> dict[str, Any]:
    """Returns the verdict of the other verifier on a note."""
    keys = [word for key in witness_keys for word in ("--witness-key", key)]
    quorum = str(len(witness_keys))
    words: list[str | Path] = [
        "--note",
        note,
        "--origin",
        ORIGIN,
        "--log-key",
        log_key,
        *keys,
        "--quorum",
        quorum,
    ]
    answer: dict[str, Any] = json.loads(python(aics, "-m", "aics_tlog", "verify-checkpoint", *words))
    return answer


def test_their_witness_cosigns_our_log(
    aics: Path, logged: tuple[Ledger, Policy, Path], tmp_path: Path
) -> None:
    log = Log(logged)
    theirs = TheirWitness(aics, tmp_path / "theirs", log.key)
    with our_witness(tmp_path / "ours", log.key) as (url, key), theirs.serving():
        log.ask({"theirs": (theirs.key, theirs.url), "ours": (key, url)}, quorum=2)
        for _ in range(3):
            made = log.checkpoint()["checkpoint"]
            assert {one["verifier_key"] for one in made["cosignatures"]} == {key, theirs.key}
            found = verify(aics, log.published(), log.key, key, theirs.key)
            assert found["ok"] is True, found
            assert sorted(found["witnesses"]) == ["our.example/w", "their.example/w"]
            log.grow()
        # Both show the same last checkpoint.
        path = f"{sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
        texts = {get(f"{each}/{path}").split(b"\n\n")[0] for each in (url, theirs.url)}
        assert texts == {log.published().read_bytes().split(b"\n\n")[0]}


def test_their_witness_that_was_rolled_back_is_noticed(
    aics: Path, logged: tuple[Ledger, Policy, Path], tmp_path: Path
) -> None:
    log = Log(logged)
    theirs = TheirWitness(aics, tmp_path / "theirs", log.key)
    log.ask({"theirs": (theirs.key, theirs.url)}, quorum=1)
    with theirs.serving():
        log.checkpoint()
    shutil.copytree(theirs.folder, tmp_path / "backup")
    log.grow()
    with theirs.serving():
        log.checkpoint()
    for file in theirs.folder.iterdir():
        file.unlink()
    shutil.copytree(tmp_path / "backup", theirs.folder, dirs_exist_ok=True)
    log.grow()
    before = log.published().read_bytes()
    with theirs.serving():
        error = log.checkpoint(exit_code=3)["error"]
        assert error["code"] == "log_quorum_missing"
        assert "its state was lost or restored" in error["message"], error
        # The log goes on, and the witness got nothing older than its own cosignature.
        assert json.loads(theirs.run("status", "--json"))["logs"][0]["size"] < 16
    assert log.published().read_bytes() == before


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_our_witness_cosigns_the_log_of_their_client(aics: Path, tmp_path: Path, kind: str) -> None:
    state = database() if kind == "postgres" else None
    program = tmp_path / "client.py"
    program.write_text(
        CLIENT
        + """
key = Ed25519PrivateKey.from_private_bytes(bytes([7] * 32))
origin = "log.example/lifts"
vkey = vkey_from_ed25519(origin, key.public_key())
if sys.argv[1] == "key":
    print(format_vkey(vkey))
    sys.exit()
url, witness = sys.argv[1:]
tree, other = MerkleTree(), MerkleTree()
client = WitnessClient(url, witness, max_attempts=1)
seen = []
for size in (1, 2, 3, 7, 8, 200):
    for made, leaf in ((tree, b"leaf"), (other, b"fork")):
        while made.size < size:
            made.append(leaf + str(made.size).encode())
    note = sign_checkpoint(Checkpoint(origin, size, tree.root()), key, origin)
    text = note.serialise()
    line = client.submit(text, tree.consistency_proof)
    merged = parse_note(merge_cosignatures(text, line))
    found = verify_checkpoint(merged, vkey, [parse_vkey(witness)], 1, expected_origin=origin)
    assert found.ok, found
    # A client that has forgotten everything learns the size from the witness.
    WitnessClient(url, witness, max_attempts=1).submit(text, tree.consistency_proof)
    seen.append(size)
fork = sign_checkpoint(Checkpoint(origin, 200, other.root()), key, origin).serialise()
try:
    client.submit(fork, other.consistency_proof)
except WitnessRejected as error:
    seen.append(error.status)
print(json.dumps(seen))
"""
    )
    log_key = python(aics, program, "key").strip()
    with our_witness(tmp_path / "ours", log_key, state) as (url, key):
        assert json.loads(python(aics, program, url, key)) == [1, 2, 3, 7, 8, 200, 422]
        config = tmp_path / "ours" / "eds.toml"
        status = envelope("witness", "status", "--config", config)["witness"]
        assert [one["size"] for one in status["logs"]] == [200]
        found = envelope("witness", "evidence", "--config", config, exit_code=1)
        assert [one["kind"] for one in found["witness"]["evidence"]] == ["two_roots"]


def test_a_witness_in_python_cosigns_a_carried_request(
    logged: tuple[Ledger, Policy, Path], tmp_path: Path
) -> None:
    log = Log(logged)
    logs, seed = tmp_path / "logs", tmp_path / "witness.seed"
    logs.write_text(f"log {log.key}\n")
    state = f"sqlite:{tmp_path / 'witness.db'}"
    with pytest.raises(ConfigError):
        Witness(state, key=seed, name="our.example/w", logs=logs)
    envelope("witness", "init", "--state", state, "--key", seed, "--name", "our.example/w")
    witness = Witness(state, key=seed, name="our.example/w", logs=logs)
    assert witness.checkpoints() == {}
    # The witness has no URL, so the log does not ask it.
    log.ask({"ours": (witness.verifier_key, "")}, quorum=1)
    for size in (14, 16):
        assert log.checkpoint(exit_code=3)["error"]["code"] == "log_quorum_missing"
        request = envelope("checkpoint", "request", "ours", "--config", log.config)["checkpoint"]["request"]
        line = witness.cosign(request)
        assert witness.cosign(request) == line
        assert witness.checkpoints()[ORIGIN].size == size
        (tmp_path / "line").write_text(f"{line}\n")
        envelope("checkpoint", "cosigned", tmp_path / "line", "--config", log.config)
        assert log.published().read_text().endswith(f"{line}\n")
        log.grow()
    with pytest.raises(EdgesentryError, match="unknown log"):
        witness.cosign(request.replace(ORIGIN, "log.example/other"))
    error = envelope("checkpoint", "request", "nobody", "--config", log.config, exit_code=2)["error"]
    assert error["code"] == "log_witness"
    error = envelope("checkpoint", "cosigned", logs, "--config", log.config, exit_code=2)["error"]
    assert error["code"] == "log_witness"
