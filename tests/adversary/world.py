"""A service in a separate process, one honest device and the addresses of a hostile one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import edgesentry
from edgesentry import AuditRecord, Client, Device, Head
from pytest_edgesentry._postgres import database
from support import START_MS

MOSQUITTO = Path(__file__).parents[2] / "scripts" / "servers" / "mosquitto"

HONEST = "127.0.0.1"
HOSTILE = "127.0.0.2"
REFUSED = "127.0.0.3"

# Small limits, so that an attack on them takes little time.
LIMITS = """
[serve.limits]
body_bytes = 2097152
memory_bytes = 33554432
answer_bytes = 16777216
batches = 8
handshakes = 32
stall_seconds = 120
handshake_seconds = 120

[serve.rate]
rejections_per_second = 1
rejection_burst = 200
"""

# The maximum memory of the process under any attack: the limits above, and the memory of Python, the stores
# and the verification of a few concurrent batches.
MAX_MEMORY_BYTES = 320 << 20


@dataclass
class World:
    """The service under attack and its parties."""

    folder: Path
    ledger: str
    tls: bool
    process: subprocess.Popen[str]
    port: int
    broker: int
    lift: Device
    hostile: Device
    sent: list[AuditRecord] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address of the service."""
        return f"{'https' if self.tls else 'http'}://{HONEST}:{self.port}"

    @property
    def ca(self) -> Path | None:
        """The authority that the honest device trusts."""
        return self.folder / "server.pem" if self.tls else None

    def record(self, signer: Device, reference: str | None = None) -> tuple[AuditRecord, bytes]:
        """Signs the next record of a device; returns it with its payload."""
        number = signer.head.sequence + 1 if signer.head else 1
        content = f"{signer.device_id} {number}".encode()
        record = signer.sign(content, reference or f"{signer.device_id}/{number}.bin", START_MS + number)
        return record, content

    def prove_honest(self, records: int = 5) -> None:
        """Sends records of the honest device, all of which must be accepted, if necessary after retries."""
        with Client(self.url, ca=self.ca) as client:
            for _ in range(records):
                record, content = self.record(self.lift)
                outcome = client.ingest(record, content)
                assert outcome.outcome == "accepted", outcome
                self.sent.append(record)

    def head(self, device_id: str) -> Head | None:
        """Returns the end of a chain in the ledger."""
        with edgesentry.open(config=self.folder / "stores.toml", read_only=True) as ledger:
            return ledger.heads().get(device_id)

    @contextmanager
    def refusing(self, device_id: str) -> Iterator[None]:
        """Makes the ledger refuse the records of a device, for a permanent reason, inside the block."""
        name, of_device = "refusing", f"WHEN (NEW.device_id = '{device_id}')"
        if self.ledger.startswith("sqlite:"):
            refuse = "BEGIN SELECT RAISE(ABORT, 'it is refused'); END"
            begin = f"CREATE TRIGGER {name} BEFORE INSERT ON audit_records {of_device} {refuse}"
            end = f"DROP TRIGGER {name}"
        else:
            begin = (
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'it is refused' USING ERRCODE = 'XX001'; END $$;\n"
                f"CREATE TRIGGER {name} BEFORE INSERT ON audit_records FOR EACH ROW {of_device} "
                f"EXECUTE FUNCTION {name}()"
            )
            end = f"DROP TRIGGER {name} ON audit_records;\nDROP FUNCTION {name}()"
        self.sql(begin)
        try:
            yield
        finally:
            self.sql(end)

    def sql(self, statements: str) -> None:
        """Runs statements on the ledger in a separate process, bypassing the service."""
        if self.ledger.startswith("sqlite:"):
            script = (
                "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=60).executescript(sys.argv[2])"
            )
            path = self.ledger.removeprefix("sqlite:")
            command = [sys.executable, "-c", script, path, statements]
        else:
            command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", self.ledger, "-c", statements]
        subprocess.run(command, check=True, timeout=120)

    def memory_bytes(self) -> int:
        """Returns the peak memory of the process so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def held(self, resource: str) -> float:
        """Returns the amount of a resource that callers make the service hold."""
        return self.metrics()[f'edgesentry_resource_held{{resource="{resource}"}}']

    def settle(self) -> None:
        """Waits until the service has noticed that an attack is over."""
        eventually(lambda: self.held("batches") == self.held("body_bytes") == 0)

    def metrics(self) -> dict[str, float]:
        """Returns the metrics of the service."""
        context = ssl.create_default_context(cafile=self.ca) if self.tls else None
        with urllib.request.urlopen(f"{self.url}/metrics", context=context) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def connect(self, source: str = HOSTILE) -> socket.socket:
        """Opens a connection from a hostile address."""
        return socket.create_connection((HONEST, self.port), timeout=60, source_address=(source, 0))

    def secure(self, connection: socket.socket, *protocols: str) -> socket.socket:
        """Starts TLS on a connection, if the service uses it."""
        if not self.tls:
            return connection
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols(list(protocols) or ["http/1.1"])
        return context.wrap_socket(connection, server_hostname=HONEST)


def wire(record: AuditRecord, content: bytes) -> bytes:
    """Encodes a record with its payload for the network."""
    body = {
        "record": {
            "device_id": record.device_id,
            "sequence": record.sequence,
            "timestamp_ms": record.timestamp_ms,
            "payload_hash": record.payload_hash.hex(),
            "signature": record.signature.hex(),
            "prev_record_hash": record.prev_record_hash.hex(),
            "object_ref": record.object_ref,
        },
        "raw_payload_hex": content.hex(),
    }
    return json.dumps(body).encode()


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until a condition holds; the limit allows for a slow machine."""

    while not holds():
        time.sleep(0.05)


def _certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EdgeSentry test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HONEST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.key"
    path.touch(mode=0o600)
    path.write_bytes(private)


@contextmanager
def _broker(folder: Path) -> Iterator[int]:
    place = folder / "broker"
    run = subprocess.run(
        [MOSQUITTO, "start", place], input="", stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    try:
        yield int(run.stdout)
    finally:
        subprocess.run([MOSQUITTO, "stop", place], check=True, timeout=60)


def _server(name: str) -> str:
    address = os.environ.get(name)
    assert address, f"{name} is not set: run the tests by make test-python, or scripts/servers/with"
    return address


@contextmanager
def _stores(ledger: str, payloads: str, folder: Path) -> Iterator[tuple[str, str]]:
    """The ledger, and lines for the settings."""
    with ExitStack() as stack:
        url = f"sqlite:{folder / 'ledger.db'}"
        if ledger == "postgres":
            server = _server("EDGESENTRY_TEST_POSTGRES")
            url = stack.enter_context(database(server, f"adversary_{uuid.uuid4().hex}"))
        where, more = "ledger", ""
        if payloads == "folder":
            where = f"folder:{folder / 'payloads'}"
        elif payloads == "s3":
            where, endpoint = "s3://payloads", _server("EDGESENTRY_TEST_S3")
            more = (
                f'[s3]\nendpoint = "{endpoint}"\naccess_key_id = "edgesentry"\n'
                'secret_access_key = "edgesentry-secret"\n'
            )
        yield url, f'ledger = "{url}"\npayloads = "{where}"\n{more}'


@contextmanager
def world(ledger: str, payloads: str, tls: bool) -> Iterator[World]:
    """Starts a service on these stores, with an MQTT broker beside it."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="adversary-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        url, settings = stack.enter_context(_stores(ledger, payloads, folder))
        broker = stack.enter_context(_broker(folder))
        serve = f'[serve]\nlisten = "{HONEST}:0"\nallow = "127.0.0.0/8"\n'
        if tls:
            _certificate(folder)
            serve += f'[serve.tls]\ncertificate = "{folder}/server.pem"\nkey = "{folder}/server.key"\n'
        mqtt = (
            f'[serve.mqtt]\nbroker = "mqtt://{HONEST}:{broker}"\nclient_id = "node"\nhold_seconds = 1\n'
            'outcomes = "edgesentry/{device_id}/outcomes"\n'
        )
        config, stores = folder / "eds.toml", folder / "stores.toml"
        for path, text in ((config, settings + serve + LIMITS + mqtt), (stores, settings)):
            path.touch(mode=0o600)
            path.write_text(text)
        lift = Device.from_seed("lift-A", b"A" * 32)
        hostile = Device.from_seed("lift-B", b"B" * 32)
        with edgesentry.open(config=stores) as opened:
            for device in (lift, hostile):
                opened.register_device(device)
        command = [sys.executable, "-m", "edgesentry", "serve", "--config", str(config)]
        process = stack.enter_context(
            subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "RUST_LOG": "off"},
            )
        )
        stack.callback(process.kill)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert '"listening"' in line, line
        port = int(json.loads(line)["fields"]["url"].rsplit(":", 1)[1])
        yield World(folder, url, tls, process, port, broker, lift, hostile)
