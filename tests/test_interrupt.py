"""Ctrl-C during an operation."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgesentry import verify_chain, write_records

# Far more than a verification needs; a process that hangs fails the test.
PATIENCE_S = 60
# Far more than is written before the interrupt comes; without one, the write fails at this size.
LARGEST_FILE_BYTES = 1 << 30


@contextmanager
def file_size_limit(most_bytes: int) -> Iterator[None]:
    """Limits the size of every file; Python ignores SIGXFSZ, so the write fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


SCRIPTS = {
    "files": """
        report = edgesentry.verify_chain([path] * 100_000, threads=1)
    """,
    "signatures": """
        keys = edgesentry.KeyRing()
        keys.add("lift-09", edgesentry.Device.from_seed("lift-09", bytes([9] * 32)).public_key)
        report = edgesentry.verify_chain([path] * 100_000, keys=keys)
    """,
    "records": """
        import itertools
        records = list(edgesentry.read_records(path))
        report = edgesentry.verify_chain(itertools.cycle(records))
    """,
    "reading": """
        sum(record.sequence for record in edgesentry.read_records([path] * 100_000))
    """,
    "writing": """
        edgesentry.write_records([path] * 100_000, path + ".copy.parquet")
    """,
    "ingest": """
        import itertools
        device = edgesentry.Device.from_seed("lift-09", bytes([9] * 32))
        ledger = edgesentry.open(path + ".db")
        ledger.register_device(device)
        ledger.ingest_many((device.sign(b"x", str(n)), b"x") for n in itertools.count())
    """,
    "export": """
        import itertools
        device = edgesentry.Device.from_seed("lift-09", bytes([9] * 32))
        ledger = edgesentry.open(path + ".export.db")
        ledger.register_device(device)
        ledger.ingest_many((device.sign(b"x", str(n)), b"x") for n in range(1000))
        for _ in itertools.count(): ledger.export(path + ".export.parquet")
    """,
    "stalled": """
        import os
        reader, writer = os.pipe()
        edgesentry.verify_chain(os.fdopen(reader, "rb"))
    """,
    # The server of the bucket accepts connections, and does not respond.
    "listing": """
        import os, socket
        server = socket.create_server(("127.0.0.1", 0))
        os.environ["EDS_S3__ENDPOINT"] = f"http://127.0.0.1:{server.getsockname()[1]}"
        os.environ["EDS_S3__TIMEOUT_SECONDS"] = "600"
        os.environ["EDS_S3__ACCESS_KEY_ID"] = os.environ["EDS_S3__SECRET_ACCESS_KEY"] = "none"
        edgesentry.verify_chain("s3://bucket/records/")
    """,
    # The worker hangs while it opens a pipe without a writer.
    "hung": """
        import os
        os.mkfifo(path + ".pipe")
        edgesentry.verify_chain(path + ".pipe")
    """,
}


def interrupt(command: list[str], after_s: float) -> tuple[int, str]:
    """Runs a command, sends it SIGINT after it reports its start, and waits for its end."""
    with (
        file_size_limit(LARGEST_FILE_BYTES),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            if after_s:
                time.sleep(after_s)
            else:
                assert process.stdout.readline() == "begin\n"
                # During the native call.
                time.sleep(0.5)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    return process.returncode, errors


@pytest.mark.parametrize("name", SCRIPTS)
def test_ctrl_c_raises_keyboard_interrupt(long_export: Path, name: str) -> None:
    lines = [
        "import sys, time, edgesentry",
        "path = sys.argv[1]",
        "print('begin', flush=True)",
        "try:",
        *(f"    {line.strip()}" for line in SCRIPTS[name].strip().splitlines()),
        "except KeyboardInterrupt:",
        "    print('interrupted', file=sys.stderr, flush=True)",
        "    raise",
    ]
    script = "\n".join(lines)
    status, errors = interrupt([sys.executable, "-c", script, str(long_export)], 0)
    assert errors.startswith("interrupted\n"), errors
    assert "KeyboardInterrupt" in errors
    # Python ends itself by the signal, as a shell expects of an interrupted command.
    assert status == -signal.SIGINT


def test_an_interrupted_write_changes_no_file(tmp_path: Path, long_export: Path) -> None:
    path = tmp_path / "copy.ndjson"
    path.write_bytes(b"as it was")
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with file_size_limit(LARGEST_FILE_BYTES), pytest.raises(KeyboardInterrupt):
        write_records([long_export] * 100_000, path)
    timer.join()
    # A busy machine may take a little longer to remove the half-written file.
    deadline = time.monotonic() + PATIENCE_S
    while len(list(tmp_path.iterdir())) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"as it was"


def test_ctrl_c_ends_the_command(long_export: Path) -> None:
    command = [sys.executable, "-m", "edgesentry", "verify-chain", *[str(long_export)] * 5000]
    status, errors = interrupt(command, after_s=2)
    assert status in (130, -signal.SIGINT), errors
    assert "Traceback" not in errors


# As `nohup python ... &` starts it: SIGINT and SIGHUP are ignored.
IN_BACKGROUND = ["env", "--ignore-signal=INT,HUP"]


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGHUP), (signal.SIGTERM,)])
def test_signals_ignored_at_the_start_stay_ignored(signals: tuple[signal.Signals, ...]) -> None:
    command = [*IN_BACKGROUND, sys.executable, "-m", "edgesentry", "verify-chain", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            # It waits for more on stdin.
            time.sleep(2)
            for number in signals:
                process.send_signal(number)
                time.sleep(0.2)
            _, errors = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    # Empty stdin means nothing to verify.
    assert process.returncode == (130 if signal.SIGTERM in signals else 3), errors


def test_ctrl_c_reaches_the_main_thread_while_another_works(long_export: Path) -> None:
    ended = threading.Event()

    def work() -> None:
        # Python delivers signals only to the main thread; this thread continues to its end.
        assert verify_chain([long_export] * 50).ok is False
        ended.set()

    worker = threading.Thread(target=work)
    worker.start()
    # A Python handler runs in the main thread.
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    worker.join(PATIENCE_S)
    assert ended.is_set()
