"""Operations from Python: the results of the command as data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import edgesentry
from edgesentry import ConfigError, EdgesentryError, ops, write_heads
from edgesentry._answers import decode
from support import chains, device, key_ring, payload
from test_ledger import server

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts" / "servers"
KEY, SECRET = "edgesentry", "edgesentry-secret"


def s3(method: str, path: str) -> None:
    """Sends one signed request to the S3 of the tests, by a third-party client."""
    signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{KEY}:{SECRET}"]
    url = f"{server('EDGESENTRY_TEST_S3')}/{path}"
    subprocess.run(["curl", "-sf", "-X", method, *signed, url], check=True, stdout=subprocess.DEVNULL)


def output(*command: str | Path) -> str:
    """Returns the output of a program, which must succeed."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    text: str = done.stdout
    return text.strip()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def lost(content: object, decoded: object) -> Iterator[str]:
    """Returns fields of a result that the dataclass lacks, except the format number of a manifest."""
    if isinstance(content, dict) and is_dataclass(decoded):
        for name, value in content.items():
            if (type(decoded).__name__, name) in {("Backup", "backup"), ("Dump", "dump")}:
                continue
            attribute = f"{name}_" if hasattr(decoded, f"{name}_") else name
            if hasattr(decoded, attribute):
                yield from lost(value, getattr(decoded, attribute))
            else:
                yield f"{type(decoded).__name__}.{name}"
    elif isinstance(content, list) and isinstance(decoded, tuple):
        for item, each in zip(content, decoded, strict=True):
            yield from lost(item, each)


@pytest.fixture(scope="module", autouse=True)
def every_field_is_decoded() -> Iterator[None]:
    """Compares every result of these tests with its dataclass."""

    def checked(kind: Any, content: Any) -> Any:
        decoded = decode(kind, content)
        assert list(lost(content, decoded)) == []
        return decoded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgesentry.ops.decode", checked)
        yield


@dataclass
class Site:
    """A separate PostgreSQL with a ledger, an archive and a bucket of payloads, and their settings."""

    folder: Path
    url: str
    bucket: str
    config: Path
    eds: Path

    def postgres(self, command: str) -> str:
        return output(SCRIPTS / "postgres", command, self.folder / "postgres")

    def sql(self, sql: str) -> str:
        return output("psql", "-XAtq", self.url, "-c", sql)

    def archive_now(self) -> None:
        """Switches the segment and waits until it is archived."""
        segment = self.sql("SELECT pg_walfile_name(pg_switch_wal())")
        archived = f"SELECT last_archived_wal >= '{segment}' FROM pg_stat_archiver"
        until = time.monotonic() + 120
        while self.sql(archived) != "t":
            assert time.monotonic() < until, self.sql("SELECT pg_stat_archiver FROM pg_stat_archiver")
            time.sleep(0.05)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a bucket that is set up and a ledger with two chains."""
    # Not the directory of pytest: PostgreSQL may run as another user, who needs access.
    folder = Path(tempfile.mkdtemp(prefix="edgesentry-ops-"))
    folder.chmod(0o755)
    bucket = f"payloads-{uuid.uuid4().hex[:12]}"
    site = Site(folder, "", bucket, folder / "eds.toml", folder / "eds")
    # The console script needs an interpreter that the user postgres may execute; the binary does not.
    binary = ROOT / "target" / "release" / "eds"
    assert binary.is_file(), "there is no target/release/eds: run make test-python, which builds it"
    shutil.copy(binary, site.eds)
    try:
        site.url = site.postgres("start")
        archive = f"archive-{uuid.uuid4().hex[:12]}"
        s3("PUT", archive)
        site.config.write_text(
            f"""ledger = "{site.url}"
payloads = "s3://{bucket}"
[s3]
endpoint = "{server("EDGESENTRY_TEST_S3")}"
access_key_id = "{KEY}"
secret_access_key = "{SECRET}"
[ops]
archive = "s3://{archive}/ledger"
"""
        )
        planned = ops.s3_setup(f"s3://{bucket}", retention_days=1, config=site.config)
        assert not planned.applied
        assert all(step.change for step in planned.steps)
        assert ops.s3_setup(f"s3://{bucket}", retention_days=1, apply=True, config=site.config).applied
        lifts = [device(number) for number in (1, 2)]
        records = chains(lifts, 10)
        with edgesentry.open(config=site.config) as ledger:
            for lift in lifts:
                ledger.register_device(lift)
            ledger.ingest_many([(record, payload(record)) for record in records]).raise_for_rejections()
            write_heads(ledger.heads(), folder / "heads.json")
        key_ring(lifts).save(folder / "keys.json")
        yield site
    finally:
        site.postgres("stop")
        shutil.rmtree(folder)


def test_a_ledger_is_backed_up_and_restored(site: Site) -> None:
    wanted = ops.configure_postgres(eds=site.eds, config=site.config)
    assert not wanted.applied
    archive_mode = next(one for one in wanted.settings if one.name == "archive_mode")
    assert (archive_mode.is_, archive_mode.should_be) == ("off", "on")
    assert ops.configure_postgres(apply=True, eds=site.eds, archive_timeout=30, config=site.config).applied
    site.postgres("stop")
    site.postgres("start")
    set_now = ops.configure_postgres(eds=site.eds, archive_timeout=30, config=site.config)
    assert all(one.is_ == one.should_be for one in set_now.settings)

    made = ops.backup(config=site.config)
    assert "successfully verified" in made.verified
    assert ops.dump(config=site.config).entries > 0
    site.archive_now()
    listed = ops.backups(config=site.config)
    assert [there.backup for there in listed.backups] == [made]
    assert len(listed.dumps) == 1
    assert ops.check_archive(config=site.config).status == "passed"
    assert ops.verify_backup(config=site.config).status == "passed"
    assert ops.verify_backup(made.id, config=site.config).status == "passed"
    assert ops.verify_backup(dump=True, config=site.config).status == "passed"
    planned = ops.retention(config=site.config, backups=3, dumps=1)
    assert not planned.applied
    assert next(what for what, _ in planned.plan.keep) == f"backup {made.id}"
    assert ops.retention(apply=True, config=site.config).applied

    port = free_port()
    data = site.folder / "postgres" / "restored"
    restored = ops.restore(data, port, drill=True, eds=site.eds, config=site.config)
    try:
        assert (restored.backup, restored.port) == (made.id, port)
        ledger = f"{site.url.rsplit(':', 1)[0]}:{port}/postgres"
        checklist = ops.verify_recovery(
            ledger=ledger,
            heads=site.folder / "heads.json",
            keys=site.folder / "keys.json",
            config=site.config,
        )
        statuses = [check.status for check in checklist.checks]
        # No Alertmanager is configured.
        assert statuses == ["passed"] * (len(statuses) - 1) + ["unknown"]
        assert checklist.status == "unknown"
    finally:
        os.kill(restored.pid, signal.SIGQUIT)


def test_payloads_are_restored_from_their_versions(site: Site) -> None:
    checks = {
        check.name: check.status for check in ops.s3_check(f"s3://{site.bucket}", config=site.config).checks
    }
    assert checks["a version cannot be deleted"] == "passed"
    assert "failed" not in checks.values()
    assert ops.restore_objects("lift-01", config=site.config).intact == 10
    third = chains([device(1)], 3)[2].payload_hash.hex()
    s3("DELETE", f"{site.bucket}/devices/lift-01/0/3-{third}")
    looked = ops.restore_objects("lift-01", config=site.config)
    assert [(one.sequence, one.state) for one in looked.damaged] == [(3, "restorable")]
    done = ops.restore_objects("lift-01", apply=True, config=site.config, to=5)
    assert (done.looked_at, done.damaged[0].state) == (5, "restored")
    assert ops.restore_objects("lift-01", config=site.config).intact == 10


def test_a_drill_returns_its_report(tmp_path: Path) -> None:
    report = ops.drill_s3_object_recovery(records=20, report_dir=tmp_path)
    assert report.status == "passed"
    assert all(check.status == "passed" for check in report.checks)
    quarter = ops.drill_report(tmp_path, html=tmp_path / "quarter.html")
    assert [run.drill for run in quarter.runs] == ["s3-object-recovery"]
    assert quarter.status == "unknown", "the other drills were not held"
    assert (tmp_path / "quarter.html").read_text().startswith("<!doctype html>")


def without_server(config: Path) -> None:
    """Settings with a server that does not exist."""
    config.write_text(
        f"""ledger = "postgres://edgesentry@127.0.0.1:{free_port()}/postgres"
payloads = "s3://nowhere"
[s3]
endpoint = "http://127.0.0.1:{free_port()}"
access_key_id = "{KEY}"
secret_access_key = "{SECRET}"
attempts = 1
[ops]
archive = "folder:{config.parent}"
"""
    )


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (ops.backup, EdgesentryError, "Connection refused"),
        (ops.dump, EdgesentryError, "Connection refused"),
        (ops.configure_postgres, EdgesentryError, "Connection refused"),
        (ops.backups, EdgesentryError, "there is no archive"),
        (ops.check_archive, EdgesentryError, "there is no archive"),
        (ops.retention, EdgesentryError, "there is no archive"),
        (ops.verify_backup, EdgesentryError, "there is no backup"),
        (
            lambda **options: ops.verify_backup("20260131T120000Z", **options),
            EdgesentryError,
            "no backup 2026",
        ),
        (lambda **options: ops.verify_backup(dump=True, **options), ConfigError, "there is no such dump"),
        (lambda **options: ops.restore("/nowhere/data", 5440, **options), ConfigError, "does not exist"),
        (
            lambda **options: ops.restore("/tmp/data", 5440, target_time="2026-01-31 12:00", **options),
            ConfigError,
            "with its zone",
        ),
        (lambda **options: ops.s3_setup("audit", retention_days=30, **options), ConfigError, "s3://BUCKET"),
        (
            lambda **options: ops.s3_setup("s3://audit", retention_days=0, **options),
            ConfigError,
            "0 is not in",
        ),
        (lambda **options: ops.s3_check("s3://audit", **options), EdgesentryError, "audit"),
        (ops.verify_recovery, EdgesentryError, "127.0.0.1"),
        (lambda **options: ops.restore_objects("lift-01", **options), EdgesentryError, "127.0.0.1"),
    ],
)
def test_an_impossible_operation_is_an_error(
    tmp_path: Path, call: Callable[..., object], error: type[Exception], match: str
) -> None:
    without_server(tmp_path / "eds.toml")
    with pytest.raises(error, match=match) as raised:
        call(config=tmp_path / "eds.toml")
    assert raised.type is error
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["eds.toml"], "nothing is touched"


def test_wrong_input_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such program"):
        ops.drill_s3_object_recovery(weed="/nowhere/weed")
    with pytest.raises(ConfigError, match="possible values: SignatureFailureSeen"):
        ops.drill_alert_fire(alert=["NoSuchAlert"])
    with pytest.raises(EdgesentryError, match="nowhere"):
        ops.drill_report(tmp_path / "nowhere")
    for call in (ops.backup, ops.backups, ops.retention, ops.verify_recovery):
        with pytest.raises(ConfigError, match=r"nothing\.toml: cannot read the settings"):
            call(config=tmp_path / "nothing.toml")
