"""Telemetry in Python: `logging`, JSON lines, metrics, traces to a real receiver."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import edgesentry
from edgesentry import Device, telemetry
from support import payload

STORAGE = "edgesentry_rs.ingest.storage"
VERIFY = "edgesentry_rs.ingest.verify"
HERE = Path(__file__).parent

# A separate program, because a process has one subscriber: ingests one record, under the trace of a caller.
PROGRAM = """
import sys, edgesentry
from edgesentry import Device, telemetry
telemetry.init(**eval(sys.argv[1]))
lift = Device.generate("lift-01")
with edgesentry.open("audit.db", sys.argv[2] or None) as ledger:
    ledger.register_device(lift)
    with telemetry.trace_context("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        assert ledger.ingest(lift.sign(b"door", "lift-01/1.bin"), b"door").outcome == "accepted"
    assert ledger.ingest(lift.sign(b"door", "lift-01/2.bin"), b"another").outcome == "rejected"
"""


def run(
    folder: Path, options: Mapping[str, object], payloads: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "RUST_LOG"} | variables
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, repr(options), payloads],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def rows(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str, dict[str, object]]]:
    ours = [record for record in caplog.records if record.name.startswith("edgesentry_rs")]
    return [(record.levelname, record.name, record.getMessage(), vars(record)["fields"]) for record in ours]


def test_events_arrive_in_logging(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "edgesentry_rs")
    lift = Device.from_seed("lift-01", bytes([1] * 32), scheme="record")
    with (
        edgesentry.open(tmp_path / "audit.db") as ledger,
        edgesentry.Outbox(tmp_path / "out", lift) as outbox,
    ):
        ledger.register_device(lift)
        outbox.sign(b"door", "lift-01/1.bin")
        outbox.flush(ledger)
        second = outbox.sign(b"open", "lift-01/2.bin")
        caplog_before = rows(caplog)
        ledger.ingest(second, b"another")
    who = {"device_id": "lift-01", "sequence": 1}
    assert caplog_before == [
        ("DEBUG", "edgesentry_rs.agent", "signing record", {**who, "payload_bytes": 4}),
        ("DEBUG", STORAGE, "ingest started", {**who, "object_ref": "lift-01/1.bin", "payload_bytes": 4}),
        ("DEBUG", VERIFY, "record verified and accepted", who),
        ("INFO", STORAGE, "record accepted", {**who, "object_ref": "lift-01/1.bin"}),
        ("DEBUG", "edgesentry_rs.agent", "signing record", {**who, "sequence": 2, "payload_bytes": 4}),
    ]
    last = caplog.records[-1]
    assert (last.levelname, last.getMessage()) == ("WARNING", "payload hash mismatch — record rejected")
    assert vars(last)["device_id"] == "lift-01"
    assert last.pathname.endswith("outcomes.rs")
    assert abs(last.created - last.msecs / 1000 - int(last.created)) < 0.01


def test_signing_is_logged_with_and_without_an_outbox(caplog: pytest.LogCaptureFixture) -> None:
    lift = Device.from_seed("lift-01", bytes([1] * 32), scheme="record")
    lift.sign(b"door", "lift-01/1.bin")
    caplog.set_level(logging.DEBUG, "edgesentry_rs.agent")
    lift.sign(b"door", "lift-01/2.bin")
    fields = {"device_id": "lift-01", "sequence": 2, "payload_bytes": 4}
    assert rows(caplog) == [("DEBUG", "edgesentry_rs.agent", "signing record", fields)]


def test_levels_are_those_of_the_loggers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lift = Device.from_seed("lift-01", bytes([1] * 32), scheme="record")
    with edgesentry.open(tmp_path / "audit.db") as ledger:
        ledger.register_device(lift)

        def told() -> list[tuple[str, str]]:
            caplog.clear()
            record = lift.sign(b"x", f"lift-01/{lift.head.sequence + 1 if lift.head else 1}.bin")
            assert ledger.ingest(record, b"x").ok
            return [(level, name) for level, name, _, _ in rows(caplog)]

        caplog.set_level(logging.WARNING, "edgesentry_rs")
        assert told() == []
        caplog.set_level(logging.DEBUG, VERIFY)
        assert told() == [("DEBUG", VERIFY)]
        caplog.set_level(logging.INFO, STORAGE)
        caplog.handler.setLevel(logging.DEBUG)  # set_level has raised it as well
        assert told() == [("DEBUG", VERIFY), ("INFO", STORAGE)]
        logging.disable(logging.DEBUG)
        try:
            assert told() == [("INFO", STORAGE)]
        finally:
            logging.disable(logging.NOTSET)


def test_a_handler_may_call_back_and_may_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unraisable.append(str(args.exc_value)))
    lift = Device.from_seed("lift-01", bytes([1] * 32), scheme="record")
    heads: list[int] = []
    with edgesentry.open(tmp_path / "audit.db") as ledger:
        ledger.register_device(lift)

        class Curious(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                heads.append(ledger.heads()["lift-01"].sequence)
                raise RuntimeError("a fault of the test")

        handler = Curious()
        logging.getLogger(STORAGE).addHandler(handler)
        caplog.set_level(logging.INFO, "edgesentry_rs")
        try:
            assert ledger.ingest(lift.sign(b"x", "lift-01/1.bin"), b"x").outcome == "accepted"
        finally:
            logging.getLogger(STORAGE).removeHandler(handler)
    assert heads == [1]
    assert unraisable == ["a fault of the test"]


def test_many_threads_lose_no_event(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edgesentry_rs")
    lifts = [Device.from_seed(f"lift-{n:02}", bytes([n] * 32), scheme="record") for n in range(1, 9)]
    with edgesentry.open(tmp_path / "audit.db") as ledger:
        for lift in lifts:
            ledger.register_device(lift)

        def load(lift: Device) -> None:
            for n in range(1, 21):
                content = f"{lift.device_id} {n}".encode()
                ledger.ingest(lift.sign(content, f"{lift.device_id}/{n}.bin"), content)

        threads = [threading.Thread(target=load, args=(lift,)) for lift in lifts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for lift in lifts:
        told = [
            vars(record)["sequence"]
            for record in caplog.records
            if record.getMessage() == "record accepted" and vars(record)["device_id"] == lift.device_id
        ]
        assert told == list(range(1, 21))


def test_too_many_events_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lift, other = (Device.from_seed(f"lift-{n:02}", bytes([n] * 32), scheme="record") for n in (1, 2))
    # Three events each: more than may wait. Signing is another event, which does not count here.
    records = [(lift.sign(b"x", f"lift-01/{n}.bin"), b"x") for n in range(1, 23_001)]
    first = other.sign(b"x", "lift-02/1.bin")
    # Bypasses the handlers of pytest, which format each of them.
    logger = logging.getLogger("edgesentry_rs")
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    told: list[str] = []
    busy, free = threading.Event(), threading.Event()

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())
            busy.set()
            assert free.wait(120)

    handler = Slow()
    logger.addHandler(handler)
    with edgesentry.open(tmp_path / "audit.db") as ledger:
        ledger.register_device(lift)
        ledger.register_device(other)
        try:
            thread = threading.Thread(target=ledger.ingest, args=(first, b"x"))
            thread.start()
            assert busy.wait(120)
            # The handler blocks the other thread, but not this one.
            assert ledger.ingest_many(records).counts == {"accepted": len(records)}
        finally:
            free.set()
            thread.join()
            logger.removeHandler(handler)
    assert len(told) > 60_000
    complaints = [text for text in told if text.endswith("events were dropped: too many waited for logging")]
    missing = sum(int(text.split()[0]) for text in complaints)
    assert missing > 0
    assert len(told) - len(complaints) + missing == 3 * (len(records) + 1)
    assert f"edgesentry_telemetry_dropped_events_total {missing}\n" in telemetry.metrics_text()


def test_metrics_count_at_every_level(tmp_path: Path) -> None:
    def value(name: str) -> float:
        lines = (line.rsplit(" ", 1) for line in telemetry.metrics_text().splitlines())
        return next(float(text) for series, text in lines if series == f"edgesentry_{name}")

    names = ["ingest_accepted_total", 'ingest_rejected_total{reason="payload_hash_mismatch"}', "build_info"]
    names[2] = f'build_info{{version="{edgesentry.__version__}"}}'
    before = [value(name) for name in names]
    lift = Device.from_seed("lift-01", bytes([1] * 32), scheme="record")
    with edgesentry.open(tmp_path / "audit.db") as ledger:
        ledger.register_device(lift)
        first = lift.sign(b"x", "lift-01/1.bin")
        ledger.ingest(first, b"x")
        ledger.ingest(lift.sign(payload(first), "lift-01/2.bin"), b"another")
    assert [value(name) for name in names] == [before[0] + 1, before[1] + 1, 1]


def test_json_needs_no_python(tmp_path: Path) -> None:
    done = run(tmp_path, {"log": "json"})
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["level"], line["target"], line["fields"]["message"]) for line in lines] == [
        ("INFO", "edgesentry_rs::ingest::storage", "record accepted"),
        ("WARN", "edgesentry_rs::ingest::storage", "payload hash mismatch — record rejected"),
    ]
    assert lines[0]["fields"]["device_id"] == "lift-01"
    for folder, options, variables, wanted in [
        ("a", {"log": "text", "output": "stdout"}, {}, 2),
        ("b", {"log": "json", "output": "stdout"}, {"RUST_LOG": "warn"}, 1),
        ("c", {"log": "json", "output": "stdout", "filter": "off"}, {}, 0),
        ("d", {"output": "stdout"}, {"RUST_LOG": "trace"}, 0),
    ]:
        (tmp_path / folder).mkdir()
        done = run(tmp_path / folder, options, **variables)
        assert (len(done.stdout.splitlines()), done.stderr) == (wanted, ""), options


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(edgesentry.ConfigError, match="invalid log filter"):
        telemetry.init("json", filter="edgesentry_rs=loud")
    with pytest.raises(edgesentry.ConfigError, match="otlp_endpoint"):
        telemetry.init(otlp_endpoint="localhost:4317")
    with pytest.raises(ValueError, match="otlp_protocol"):
        telemetry.init(otlp_protocol="json")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="log must be one of"):
        telemetry.init("xml")  # type: ignore[arg-type]
    telemetry.shutdown()


@pytest.fixture
def receiver() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HERE / "otlp_receiver.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def spans(receiver: subprocess.Popen[str]) -> dict[str, list[dict[str, Any]]]:
    assert receiver.stdin is not None
    assert receiver.stdout is not None
    receiver.stdin.close()
    found: dict[str, list[dict[str, Any]]] = {}
    for line in receiver.stdout:
        span = json.loads(line)
        found.setdefault(span["name"], []).append(span)
    return found


# Payloads in the ledger are stored in its transaction.
@pytest.mark.parametrize(
    ("protocol", "payloads"), [("grpc", "folder:payloads"), ("http", "folder:payloads"), ("http", "")]
)
def test_traces_reach_a_receiver(
    tmp_path: Path, receiver: subprocess.Popen[str], protocol: str, payloads: str
) -> None:
    assert receiver.stdout is not None
    ports = json.loads(receiver.stdout.readline())
    endpoint = f"http://127.0.0.1:{ports[protocol]}"
    options = {"otlp_endpoint": endpoint, "otlp_protocol": protocol, "service_name": "lifts"}
    run(tmp_path, options, payloads)
    found = spans(receiver)
    # No events of the exporter, of HTTP or of databases.
    parents = {"verify": "ingest", "ledger_commit": "ingest", "ledger_transaction": "ledger_commit"}
    if payloads:
        parents["payload_put"] = "ingest"
    assert set(found) == {"ingest", *parents}
    assert {(span["how"], span["service"]) for spans in found.values() for span in spans} == {
        (protocol, "lifts")
    }
    ingest, second = sorted(found["ingest"], key=lambda span: span["attributes"]["sequence"])
    assert (ingest["trace_id"], ingest["parent"]) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert ingest["attributes"]["device_id"] == "lift-01"
    assert second["trace_id"] != ingest["trace_id"]
    assert second["parent"] == ""
    by_id = {span["span_id"]: span for spans in found.values() for span in spans}
    for name, parent in parents.items():
        for span in found[name]:
            assert by_id[span["parent"]]["name"] == parent
            assert span["trace_id"] == by_id[span["parent"]]["trace_id"]
    rejected = [span["events"] for span in found["ledger_commit"] if span["events"]]
    assert rejected == [["payload hash mismatch — record rejected"]]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_collector_that_is_not_there_costs_no_record(tmp_path: Path, protocol: str) -> None:
    done = run(tmp_path, {"otlp_endpoint": "http://127.0.0.1:9", "otlp_protocol": protocol})
    assert (done.stdout, done.stderr) == ("", "")
