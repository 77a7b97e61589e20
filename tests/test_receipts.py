"""Receipts from Python and the command: an outbox keeps records until the log of a real service has them."""

from __future__ import annotations

import logging
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import edgesentry
from edgesentry import Client, ConfigError, EdgesentryError, Outbox, Policy, ProofError, payload_hash
from edgesentry.testing import Place, log_policy, serve
from support import device, envelope

ORIGIN = "log.example/lifts"
TOKEN = "token-of-lift-01"
SERVED = (
    f'[serve.tokens.lift-01]\nhash = "{payload_hash(TOKEN.encode()).hex()}"\n'
    'scopes = ["ingest"]\ndevices = ["lift-01"]\n'
)


@dataclass
class Logged:
    """A ledger with a log, and what its commands and its service need.

    Attributes:
        folder: The directory of its files.
        policy: The policy of its key.
    """

    folder: Path
    policy: Policy

    @property
    def url(self) -> str:
        return f"sqlite:{self.folder / 'ledger.db'}"

    def config(self, *, is_served: bool = False, interval_seconds: int | None = None) -> Path:
        """Writes settings; those of a service have its tokens, and no ledger.

        A service without an interval has another key than the log. It signs nothing, so a test decides
        when a checkpoint is signed.
        """
        key = "log.seed" if not is_served or interval_seconds else "lift-09.seed"
        path = self.folder / ("served.toml" if is_served else "eds.toml")
        path.write_text(
            ("" if is_served else f'ledger = "{self.url}"\n')
            + f'[log]\norigin = "{ORIGIN}"\nkey = "{self.folder / key}"\n'
            + f"interval_seconds = {interval_seconds or 3600}\n"
            + (SERVED if is_served else "")
        )
        return path

    def checkpoint(self) -> None:
        """Signs a checkpoint of all records."""
        envelope("checkpoint", "--config", self.config())

    @contextmanager
    def serve(self, interval_seconds: int | None = None) -> Iterator[str]:
        """Runs the service and yields its URL."""
        config = self.config(is_served=True, interval_seconds=interval_seconds)
        with serve(Place("sqlite", self.url, "ledger", config), self.folder) as served:
            yield served.url

    def outbox(self, max_receipt_age: float | None = None, folder: Path | None = None) -> Outbox:
        """Opens the outbox of the device."""
        return Outbox(
            (folder or self.folder) / "outbox",
            device(1),
            receipts="required",
            policy=self.policy,
            max_receipt_age=max_receipt_age,
        )


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    """A ledger with lift-01 and a log."""
    made = Logged(tmp_path, Policy("quorum none"))
    with edgesentry.open(made.url) as ledger:
        ledger.register_device(device(1))
    key = envelope("checkpoint", "init", "--config", made.config())["checkpoint"]["verifier_key"]
    made.policy = Policy(f"log {key}\nquorum none\n")
    made.checkpoint()
    device(9).save_seed(tmp_path / "lift-09.seed")
    return made


def client(url: str) -> Client:
    return Client(url, token=TOKEN, attempts=1)


def kept(folder: Path) -> int:
    """The number of records in the file of the outbox, which must be closed in this process."""
    with closing(sqlite3.connect(folder / "outbox", timeout=30)) as file:
        [[records]] = file.execute("SELECT count(*) FROM waiting")
    return int(records)


def test_a_record_stays_until_its_receipt_holds(logged: Logged) -> None:
    with logged.outbox() as outbox:
        for number in range(5):
            outbox.sign(b"%d" % number, f"lift-01/{number}.bin")
        with logged.serve() as url, client(url) as service:
            flushed = outbox.flush(service)
            receipts = flushed["receipts"]
            assert receipts is not None
            assert (flushed["accepted"], receipts["verified"], receipts["pending"]) == (5, 0, 5)
            assert (outbox.waiting, outbox.pending["pending"], outbox.pending["overdue"]) == (0, 5, False)
            logged.checkpoint()
            receipts = outbox.flush(service)["receipts"]
            assert receipts == {
                "pending": 0,
                "age_seconds": 0.0,
                "overdue": False,
                "verified": 5,
                "sent_again": 0,
            }
        assert (outbox.conflicts, outbox.pending["pending"]) == ([], 0)
    assert kept(logged.folder) == 0


def test_untrusted_receipts_are_refused(logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    with logged.outbox() as outbox:
        outbox.sign(b"x", "lift-01/1.bin")
        with logged.serve() as url, client(url) as service:
            outbox.flush(service)
    logged.checkpoint()
    # The file remembers that it requires receipts.
    with Outbox(logged.folder / "outbox", device(1)) as outbox:
        outbox.sign(b"y", "lift-01/2.bin")
        with (
            pytest.raises(ConfigError, match="open it with the policy"),
            client("http://127.0.0.1:9") as service,
        ):
            outbox.flush(service)
    with logged.serve() as url, client(url) as service:
        strange = Policy(log_policy())
        with (
            Outbox(logged.folder / "outbox", device(1), receipts="required", policy=strange) as outbox,
            pytest.raises(ProofError, match="the records stay in the outbox") as raised,
        ):
            outbox.flush(service)
        assert raised.value.code == "checkpoint_untrusted"
        assert "a receipt of the transparency log does not hold" in caplog.messages
        assert kept(logged.folder) == 2
        # Without receipts they leave as duplicates.
        with Outbox(logged.folder / "outbox", device(1), receipts="off") as outbox:
            assert outbox.flush(service)["receipts"] is None
    assert kept(logged.folder) == 0


def test_lost_and_overdue_records_are_reported(logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "edgesentry_rs.agent")
    with logged.outbox(max_receipt_age=0.001) as outbox:
        outbox.sign(b"x", "lift-01/1.bin")
        with logged.serve() as url, client(url) as service:
            outbox.flush(service)
        with closing(sqlite3.connect(logged.folder / "ledger.db", isolation_level=None)) as ledger:
            for table in ("audit_records", "operation_logs", "record_payloads"):
                ledger.execute(f"DELETE FROM {table}")
            ledger.execute("UPDATE chain_heads SET sequence = 0, record_hash = zeroblob(32)")
        with logged.serve() as url, client(url) as service:
            flushed = outbox.flush(service)
        receipts = flushed["receipts"]
        assert receipts is not None
        assert (flushed["accepted"], receipts["sent_again"], receipts["pending"]) == (1, 1, 1)
        assert receipts["overdue"]
        assert outbox.pending["age_seconds"] >= receipts["age_seconds"] > 0
    messages = [record.getMessage() for record in caplog.records]
    lost = "the service has lost acknowledged records, which are sent again"
    assert messages[-2:] == [lost, "acknowledged records wait too long for their receipts"]
    assert vars(caplog.records[-1])["device_id"] == "lift-01"


def test_the_arguments_belong_together(tmp_path: Path, logged: Logged) -> None:
    path = tmp_path / "other"
    with pytest.raises(ValueError, match="needs the policy"):
        Outbox(path, device(1), receipts="required")
    with pytest.raises(ValueError, match="policy= is for"):
        Outbox(path, device(1), policy=logged.policy)
    with pytest.raises(ValueError, match="must be"):
        Outbox(path, device(1), receipts="maybe")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_receipt_age"):
        Outbox(path, device(1), receipts="required", policy=logged.policy, max_receipt_age=-1)
    with Outbox(path, device(1), max_records=1) as outbox:
        outbox.sign(b"", "x")
        with pytest.raises(EdgesentryError, match="the outbox is full: it has 1 of at most 1 record,"):
            outbox.sign(b"", "x")


def test_the_command_reports_receipts(logged: Logged) -> None:
    policy, token, seed = (logged.folder / name for name in ("policy", "token", "lift-01.seed"))
    policy.write_text(str(logged.policy))
    token.write_text(TOKEN)
    device(1).save_seed(seed)
    with Outbox(logged.folder / "outbox", device(1)) as outbox:
        for number in range(3):
            outbox.sign(b"%d" % number, f"lift-01/{number}.bin")
    outbox_of: list[str | Path] = ["--outbox", logged.folder / "outbox", "--device", "lift-01", "--key", seed]

    def push(url: str, *more: str | Path, exit_code: int = 0) -> dict[str, object]:
        return envelope("push", "--url", url, *outbox_of, "--token-file", token, *more, exit_code=exit_code)

    required = ("--receipts", "required", "--policy", policy)
    with logged.serve() as url:
        answer = push(url, *required)["push"]
        assert isinstance(answer, dict)
        assert (answer["accepted"], answer["receipts"]["pending"]) == (3, 3)
        time.sleep(0.01)
        late = push(url, *required, "--receipt-max-age", "0s", exit_code=1)
        assert isinstance(late["error"], dict)
        assert late["error"]["code"] == "receipts_overdue"
        assert push(url, exit_code=2)["error"]["code"] == "config"  # type: ignore[index]
        usage = push(url, "--receipts", "required", exit_code=2)
        assert usage["error"]["code"] == "usage"  # type: ignore[index]
        logged.checkpoint()
        metrics = logged.folder / "device.prom"
        answer = push(url, *required, "--metrics-file", metrics)["push"]
        assert isinstance(answer, dict)
        expected = {"verified": 3, "sent_again": 0, "pending": 0, "age_seconds": 0, "overdue": False}
        assert answer["receipts"] == expected | {"conflicts": []}
        series = [line for line in metrics.read_text().splitlines() if not line.startswith("#")]
        assert series == [
            'edgesentry_outbox_receipts_pending_records{device="lift-01"} 0',
            'edgesentry_outbox_receipts_age_seconds{device="lift-01"} 0',
        ]


DEVICE = """
import sys
from pathlib import Path
from edgesentry import Client, EdgesentryError, Outbox, Policy
sys.path.insert(0, sys.argv[4])
from support import device
url, folder, policy = sys.argv[1], Path(sys.argv[2]), Policy(sys.argv[3])
with Client(url, token="token-of-lift-01", attempts=1) as client:
    outbox = Outbox(folder / "outbox", device(1), receipts="required", policy=policy)
    print("ready", flush=True)
    while True:
        for _ in range(3):
            outbox.sign(b"observation", "lift-01/x.bin")
        outbox.flush(client)
"""


def test_a_killed_device_loses_no_record(logged: Logged) -> None:
    """At any moment a record is in the outbox, or in the log under the kept checkpoint."""
    chance = random.Random(7)
    with logged.serve(interval_seconds=1) as url:
        rounds = 0
        while rounds < 4 or not gone(logged):
            rounds += 1
            assert rounds < 30, "no record got a receipt"
            command = [sys.executable, "-c", DEVICE, url, str(logged.folder), str(logged.policy)]
            with subprocess.Popen(
                [*command, str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                time.sleep(chance.uniform(0.5, 2))
                process.send_signal(signal.SIGKILL)
            left = gone(logged)
            if left:
                with edgesentry.open(logged.url, config=logged.config(), read_only=True) as ledger:
                    proof = ledger.prove("lift-01", max(1, left - 4000), to_sequence=left)
                proven = edgesentry.verify_proof(proof, logged.policy, device_id="lift-01")
                assert proven.to_sequence == left
        with logged.outbox() as outbox, client(url) as service:
            deadline = time.monotonic() + 60
            while outbox.flush(service)["receipts"]["pending"]:  # type: ignore[index]
                assert time.monotonic() < deadline
                time.sleep(0.2)
            head = outbox.head
    assert head is not None
    assert (gone(logged), kept(logged.folder)) == (head.sequence, 0)
    with edgesentry.open(logged.url, read_only=True) as ledger:
        assert ledger.heads()["lift-01"] == head


def gone(logged: Logged) -> int:
    """The last record that has left the outbox."""
    with closing(sqlite3.connect(logged.folder / "outbox", timeout=30)) as file:
        [[head]] = file.execute("SELECT sequence FROM device")
    return int(head) - kept(logged.folder)
