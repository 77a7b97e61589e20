"""Verification on a cluster of Spark: processes end in the middle; executors take Python from an archive."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import uuid
import venv
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pyarrow
import pytest

import edgesentry
from edgesentry import verify_chain, write_records
from edgesentry.testing import make_fleet
from test_lake import KEY, SECRET, put
from test_ledger import server

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "scripts/servers/spark"
FILES = 12
FLEET = make_fleet(devices=5, records=FILES * 20, seed=12)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 12 files, each in random order, and some records twice."""
    folder = tmp_path_factory.mktemp("lake")
    records = sorted(FLEET.records, key=lambda record: (record.sequence, record.device_id))
    size = len(records) // FILES
    for number in range(FILES):
        rows = records[number * size : (number + 1) * size]
        if number == FILES - 1:
            rows = [*rows, *records[100:110]]
        random.Random(number).shuffle(rows)
        write_records(rows, folder / f"{number:02}.parquet")
    return folder


@pytest.fixture(scope="module")
def expected(lake: Path) -> str:
    report = verify_chain(lake, keys=FLEET.keys, order="sequence")
    assert report.counts == {"sequence_duplicate": 10}
    return report.to_json()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("spark")
    try:
        url = subprocess.run(
            [SCRIPT, "start", folder], check=True, stdout=subprocess.PIPE, text=True, timeout=200
        ).stdout.strip()
        yield url, folder
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True, timeout=100)


class Driver:
    """A driver in a process of its own."""

    def __init__(self, master: str, log: Path, **variables: str) -> None:
        environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
        # Spark keeps a copy of an archive there.
        environment["SPARK_LOCAL_DIRS"] = str(log.parent)
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, HERE / "spark_driver.py", master],
                env={**environment, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.line() == "ready", log.read_text()[-2000:]

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, source: Path | str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        keys = json.loads(FLEET.keys.to_json())
        print(
            json.dumps({"source": str(source), "keys": keys, **arguments}),
            file=self.process.stdin,
            flush=True,
        )

    def result(self) -> dict[str, Any]:
        line = self.line()
        assert line, self.log.read_text()[-3000:]
        answer: dict[str, Any] = json.loads(line)
        return answer

    def finish(self) -> None:
        """Ends the application, which removes its temporary files."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0, self.log.read_text()[-3000:]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def driver(cluster: tuple[str, Path], tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    started: list[Driver] = []

    def start(**variables: str) -> Driver:
        started.append(Driver(cluster[0], tmp_path / f"driver-{len(started)}.log", **variables))
        return started[-1]

    yield start
    for each in started:
        each.end()


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def executors(folder: Path) -> list[int]:
    workers = [int((folder / name / "pid").read_text()) for name in ("worker-1", "worker-2")]
    return [child for worker in workers for child in children(worker)]


def python_workers(folder: Path) -> list[int]:
    """Returns the processes that run tasks: the children of the daemon of each executor."""
    daemons = [daemon for executor in executors(folder) for daemon in children(executor)]
    return [worker for daemon in daemons for worker in children(daemon)]


def finished_tasks(folder: Path) -> int:
    logs = folder.glob("worker-*/work/app-*/*/stderr")
    return sum(log.read_text(errors="replace").count("Finished task") for log in logs)


def has_finished(folder: Path, tasks: int) -> bool:
    return finished_tasks(folder) >= tasks


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("the cluster does nothing")


def test_processes_that_end_change_no_verdict(
    cluster: tuple[str, Path], driver: Callable[[], Driver], lake: Path, expected: str, tmp_path: Path
) -> None:
    folder, first = cluster[1], driver()
    first.ask(lake)
    assert first.result()["report"] == expected

    for victims in (executors, python_workers):
        before = finished_tasks(folder)
        first.ask(lake)
        # In the middle: some of the 12 tasks of the first job are done.
        wait_for(partial(has_finished, folder, before + 3))
        victim = wait_for(partial(victims, folder))[0]
        os.kill(victim, signal.SIGKILL)
        assert first.result()["report"] == expected

    # The driver ends between the two jobs: the segments are there, and no file is read twice.
    segments = str(tmp_path / "segments")
    first.ask(lake, save=segments, die=True)
    assert first.line() == ""
    assert first.process.wait(timeout=60) == -signal.SIGKILL
    second = driver()
    second.ask(lake, since=segments)
    answer = second.result()
    assert answer["read"] == 0
    # Positions are those of the first run, so the inputs are in the same order.
    assert answer["report"] == expected


class Counted(BaseHTTPRequestHandler):
    """A proxy of the S3 server that counts the objects, and fails after a number of them."""

    protocol_version = "HTTP/1.1"
    sent: ClassVar[Counter[str]] = Counter()
    fails_after: ClassVar[float] = float("inf")
    lock = threading.Lock()

    def do_GET(self) -> None:
        name = unquote(urlsplit(self.path).path)
        with Counted.lock:
            fails = name.endswith(".bin") and sum(Counted.sent.values()) >= Counted.fails_after
        if fails:
            self.answer(503, {}, b"")
            return
        address = urlsplit(server("EDGESENTRY_TEST_S3"))
        upstream = HTTPConnection(address.hostname or "", address.port)
        # The host is signed.
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for header, value in self.headers.items():
            upstream.putheader(header, value)
        upstream.endheaders()
        response = upstream.getresponse()
        body = response.read()
        upstream.close()
        if response.status == 200 and name.endswith(".bin"):
            with Counted.lock:
                Counted.sent[name] += 1
        self.answer(response.status, dict(response.getheaders()), body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        headers = {name: value for name, value in headers.items() if name.lower() != "transfer-encoding"}
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_executors_read_payloads_of_a_bucket_once(driver: Callable[..., Driver], tmp_path: Path) -> None:
    """Files and payloads are objects, which executors read by themselves; a store that fails ends the job."""
    bucket = f"lake-{uuid.uuid4().hex}"
    put(bucket)
    records = [record for record in FLEET.records if record.sequence <= 12]
    for record in records:
        (tmp_path / "payload").write_bytes(FLEET.payloads[record.object_ref])
        put(f"{bucket}/{record.object_ref}", tmp_path / "payload")
    for number in range(4):
        write_records(records[number::4], tmp_path / "records.parquet")
        put(f"{bucket}/lake/{number}.parquet", tmp_path / "records.parquet")
    with ThreadingHTTPServer(("127.0.0.1", 0), Counted) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        application = driver(
            EDS_S3__ENDPOINT=f"http://127.0.0.1:{listening.server_port}",
            EDS_S3__ACCESS_KEY_ID=KEY,
            EDS_S3__SECRET_ACCESS_KEY=SECRET,
            EDS_S3__ATTEMPTS="1",
        )
        question: dict[str, Any] = {"source": f"s3://{bucket}/lake/", "payloads": f"s3://{bucket}"}
        application.ask(**question)
        report = json.loads(application.result()["report"])
        assert (report["verdict"], report["coverage"]["records"]) == ("valid", len(records))
        assert report["coverage"]["payloads"]["checked"] == len(records)
        assert len(Counted.sent) == len(records)
        assert set(Counted.sent.values()) == {1}

        Counted.fails_after = len(records) + 20
        application.ask(**question)
        # In the middle of the payloads. There is an error, and no report.
        assert application.line() == ""
        assert application.process.wait(timeout=100) != 0
        assert "cannot read the payload" in application.log.read_text()
        listening.shutdown()


def test_executors_take_python_from_an_archive(
    cluster: tuple[str, Path], driver: Callable[..., Driver], lake: Path, expected: str, tmp_path: Path
) -> None:
    """The environment has this package; its pyarrow is a link, as a copy would be larger than the rest."""
    environment, archive = tmp_path / "environment", tmp_path / "environment.tar.gz"
    venv.create(environment, symlinks=True)
    packages = next(environment.glob("lib/*/site-packages"))
    shutil.copytree(Path(edgesentry.__file__).parent, packages / "edgesentry")
    (packages / "pyarrow").symlink_to(Path(pyarrow.__file__).parent)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for entry in environment.iterdir():
            tar.add(entry, entry.name)

    submit = f"--archives {archive}#environment pyspark-shell"
    application = driver(PYSPARK_PYTHON="./environment/bin/python", PYSPARK_SUBMIT_ARGS=submit)
    application.ask(lake)
    assert application.result()["report"] == expected
    application.finish()
    # They are large, and pytest keeps directories.
    unpacked = list(cluster[1].glob("worker-*/work/app-*/*/environment"))
    assert unpacked
    for directory in [environment, *unpacked]:
        shutil.rmtree(directory)
    archive.unlink()
