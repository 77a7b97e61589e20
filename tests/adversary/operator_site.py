"""A ledger with a transparency log on real stores, and the hands of an operator with every right on them."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import edgesentry
from edgesentry import AuditRecord, payload_hash
from edgesentry.testing import (
    LOG,
    WITNESS,
    Dialect,
    Place,
    Tampered,
    log_policy,
    make_fleet,
    serve,
    to_sql,
)
from support import payload_path
from test_ledger import server

EDS = Path(__file__).parents[2] / "target" / "release" / "eds"
FLEET = make_fleet(3, 8, scheme=["payload-hash", "record"])
# The records before the first checkpoint.
EARLY = [record for record in FLEET.records if record.sequence <= 4]
LATE = [record for record in FLEET.records if record.sequence > 4]
DAY_SECONDS = 86_400
# The token of lift-02 at the services of these sites.
TOKEN = "token-of-lift-02"
SIGNED = ["curl", "-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "edgesentry:edgesentry-secret"]
# Every table of the log but `erasures`, so that a log can be opened again.
LOG_TABLES = [
    "log_state",
    "log_batches",
    "log_runs",
    "log_events",
    "log_heads",
    "log_keys",
    "checkpoints",
]


@dataclass(frozen=True)
class Run:
    """The result of a command: exit code, error code, and the findings if it is a verification."""

    exit_code: int
    error: str | None
    findings: list[tuple[str, str | None, int | None]]


def eds(*arguments: str | Path) -> Run:
    """Runs the command."""
    assert EDS.is_file(), "there is no target/release/eds: run make test-python, which builds it"
    line: list[str | Path] = [EDS, "--json", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout, done.stderr
    envelope: dict[str, Any] = json.loads(done.stdout)
    findings = [
        (finding["code"], finding["device_id"], finding["sequence"])
        for part in ("report", "monitor")
        for finding in envelope.get(part, {}).get("findings", [])
    ]
    error = envelope.get("error")
    return Run(done.returncode, error["code"] if error else None, findings)


class Objects(ABC):
    """The files of a log: names are those of docs/reference/log.md."""

    @abstractmethod
    def names(self) -> list[str]:
        """All names, sorted."""

    @abstractmethod
    def contents(self, names: Iterable[str] | None = None) -> dict[str, bytes]:
        """The contents of files; by default of all."""

    @abstractmethod
    def put(self, contents: dict[str, bytes]) -> None:
        """Writes files, also over others."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Deletes files."""


class Folder(Objects):
    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        files = (path for path in self.path.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in files)

    def contents(self, names: Iterable[str] | None = None) -> dict[str, bytes]:
        names = self.names() if names is None else names
        return {name: (self.path / name).read_bytes() for name in names}

    def put(self, contents: dict[str, bytes]) -> None:
        for name, content in contents.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(content)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            (self.path / name).unlink()


class Bucket(Objects):
    """A part of a bucket, by a third-party client."""

    def __init__(self, bucket: str, prefix: str, folder: Path) -> None:
        self.bucket, self.prefix, self.folder = bucket, prefix, folder

    def _url(self, name: str) -> str:
        return f"{server('EDGESENTRY_TEST_S3')}/{self.bucket}/{self.prefix}{name}"

    def names(self) -> list[str]:
        query = urlencode({"list-type": 2, "prefix": self.prefix})
        url = f"{server('EDGESENTRY_TEST_S3')}/{self.bucket}?{query}"
        listed = subprocess.run([*SIGNED, url], check=True, capture_output=True, text=True).stdout
        return sorted(name.removeprefix(self.prefix) for name in re.findall(r"<Key>([^<]*)</Key>", listed))

    def contents(self, names: Iterable[str] | None = None) -> dict[str, bytes]:
        names = self.names() if names is None else list(names)
        download = self.folder / "download"
        # All of them in one process.
        files = chain.from_iterable((self._url(name), "-o", str(download / name)) for name in names)
        subprocess.run([*SIGNED, "--create-dirs", *files], check=True)
        contents = Folder(download).contents()
        shutil.rmtree(download)
        return contents

    def put(self, contents: dict[str, bytes]) -> None:
        upload = self.folder / "upload"
        Folder(upload).put(contents)
        files = chain.from_iterable(("-T", str(upload / name), self._url(name)) for name in contents)
        subprocess.run([*SIGNED, *files], check=True)
        shutil.rmtree(upload)

    def delete(self, names: Iterable[str]) -> None:
        if urls := [self._url(name) for name in names]:
            subprocess.run([*SIGNED, "-X", "DELETE", *urls], check=True)


class Site(ABC):
    """A ledger, its payloads and its log.

    Attributes:
        folder: The directory of its files.
        url: The ledger.
        place: The directory or the bucket of the log.
        config: The settings of commands.
    """

    dialect: ClassVar[Dialect]

    def __init__(self, folder: Path, url: str, payloads: str, place: str, more: str = "") -> None:
        self.folder, self.url, self.place = folder, url, place
        self.config = folder / "eds.toml"
        self.seed = folder / "log.seed"
        for path in (self.config, self.seed):
            path.touch(mode=0o600)
        self.seed.write_text(f"{LOG.seed.hex()}\n")
        log = f'{more}[log]\norigin = "{LOG.name}"\nstore = "{place}"\nkey = '
        self.config.write_text(f'ledger = "{url}"\npayloads = "{payloads}"\n{log}"{self.seed}"\n')
        self._served = Place(self.dialect, url, payloads, folder / "served.toml")
        # The key of a service is another one, so it signs nothing: an attack decides when to sign.
        other = folder / "other.seed"
        other.unlink(missing_ok=True)
        FLEET.signers["lift-01"].device().save_seed(other)
        (folder / "served.toml").write_text(
            f'{log}"{other}"\n[serve.tokens.lift-02]\nhash = "{payload_hash(TOKEN.encode()).hex()}"\n'
            'scopes = ["ingest"]\ndevices = ["lift-02"]\n'
        )

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Runs the service, and yields its URL."""
        with serve(self._served, self.folder) as served:
            yield served.url

    @property
    @abstractmethod
    def log(self) -> Objects:
        """The files of the log."""

    @property
    @abstractmethod
    def payloads(self) -> Objects:
        """The payloads."""

    @abstractmethod
    def sql(self, script: str) -> None:
        """Changes the database without the service."""

    def bytes_sql(self, value: bytes) -> str:
        """Returns bytes in the notation of the database."""
        return f"x'{value.hex()}'" if self.dialect == "sqlite" else f"'\\x{value.hex()}'::bytea"

    def edit(self, tampered: Tampered) -> None:
        """Replaces the records, and moves the heads to match."""
        self.sql(to_sql(tampered, dialect=self.dialect))

    def ingest(self, records: Iterable[AuditRecord], payloads: Mapping[str, bytes] = FLEET.payloads) -> None:
        """Sends records through the service, which accepts an edit that the signature does not cover."""
        with edgesentry.open(config=self.config) as ledger:
            pairs = [(record, payloads[record.object_ref]) for record in records]
            ledger.ingest_many(pairs).raise_for_rejections()

    def checkpoint(self) -> str:
        """Sequences and signs new records, and returns the published checkpoint."""
        run = eds("checkpoint", "--config", self.config)
        assert run.exit_code == 0, run
        return self.published()

    def published(self) -> str:
        """The published checkpoint."""
        return self.log.contents(["log/checkpoint"])["log/checkpoint"].decode()

    def rebuild(self) -> str:
        """Makes the log again, with its own key, from the ledger as it is. Returns the checkpoint."""
        self.sql("".join(f"DELETE FROM {table};\n" for table in LOG_TABLES))
        self.log.delete(self.log.names())
        assert eds("checkpoint", "init", "--config", self.config).exit_code == 0
        return self.checkpoint()

    def file(self, name: str, content: str) -> Path:
        """Writes a file of the auditor."""
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        return path

    def export(self, name: str = "export.ndjson", *options: str) -> Path:
        """Exports the ledger."""
        path = self.folder / name
        run = eds("export", "--config", self.config, "-o", path, *options)
        assert run.exit_code == 0, run
        return path

    def found(self, keys: edgesentry.KeyRing) -> list[str]:
        """Returns the codes that links and signatures alone find in the ledger."""
        with edgesentry.open(config=self.config, read_only=True) as ledger:
            return sorted(finding.code for finding in ledger.verify(keys=keys, threads=1).findings)


class SqliteSite(Site):
    """SQLite, with payloads and log in directories."""

    dialect = "sqlite"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.path = folder / "ledger.db"
        self.roots = {name: folder / name for name in ("payloads", "log")}
        for root in self.roots.values():
            root.mkdir(exist_ok=True)
        super().__init__(
            folder,
            f"sqlite:{self.path}",
            f"folder:{self.roots['payloads']}",
            f"folder:{self.roots['log']}",
        )

    @property
    def log(self) -> Objects:
        return Folder(self.roots["log"])

    @property
    def payloads(self) -> Objects:
        return Folder(self.roots["payloads"])

    def sql(self, script: str) -> None:
        connection = sqlite3.connect(self.path)
        connection.executescript(script)
        connection.close()


class PostgresSite(Site):
    """PostgreSQL, with payloads and log in a bucket of SeaweedFS."""

    dialect = "postgres"

    def __init__(self, folder: Path, url: str, bucket: str) -> None:
        folder.mkdir(exist_ok=True)
        self.bucket, self.prefix = bucket, f"{folder.name}-{uuid.uuid4().hex}"
        s3 = (
            f'[s3]\nendpoint = "{server("EDGESENTRY_TEST_S3")}"\naccess_key_id = "edgesentry"\n'
            'secret_access_key = "edgesentry-secret"\n'
        )
        super().__init__(folder, url, f"s3://{bucket}", f"s3://{bucket}/{self.prefix}", s3)

    @property
    def log(self) -> Objects:
        return Bucket(self.bucket, f"{self.prefix}/", self.folder)

    @property
    def payloads(self) -> Objects:
        return Bucket(self.bucket, "", self.folder)

    def sql(self, script: str) -> None:
        psql(self.url, script)


def psql(url: str, script: str) -> None:
    """Runs a script; the data of these tests need not survive a crash."""
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", url]
    script = f"SET synchronous_commit = off;\n{script}"
    done = subprocess.run(command, input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


class Base(ABC):
    """A sound site, of which each attack gets copies.

    Attributes:
        early: The checkpoint before the records of `LATE`, cosigned two days ago.
        kept: The checkpoint after them, cosigned now.
        logs: The files of the log at each of them.
        keys: The key ring of the auditor.
        policies: Files of the policies: one requires the witness, the other trusts the key of the log alone.
        running: The services that run until the end of the tests.
    """

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder = folder
        self.running = ExitStack()
        self.copies = 0
        self.backups: dict[str, str] = {}
        with edgesentry.open(config=site.config) as ledger:
            FLEET.register(ledger)
        site.ingest(EARLY)
        assert eds("checkpoint", "init", "--config", site.config).exit_code == 0
        now = int(time.time())
        self.early = cosigned(site.checkpoint(), now - 2 * DAY_SECONDS)
        early_log = site.log.contents()
        self.keep(site, "early")
        site.ingest(LATE)
        self.kept = cosigned(site.checkpoint(), now)
        self.logs = {"early": early_log, "late": site.log.contents()}
        self.keep(site, "late")
        self.keys = folder / "keys.json"
        FLEET.keys.save(self.keys)
        self.policies = {"cosigned": folder / "policy", "unwitnessed": folder / "unwitnessed"}
        self.policies["cosigned"].write_text(log_policy())
        self.policies["unwitnessed"].write_text(log_policy(is_witnessed=False))

    @abstractmethod
    def keep(self, site: Site, name: str) -> None:
        """Keeps the ledger and the payloads as they are, as a backup does."""

    @abstractmethod
    def restored(self, name: str, folder: Path) -> Site:
        """Returns a site with the ledger of a backup."""

    def copy(self, ledger: str, log: str | None = None) -> Site:
        """Returns a copy with the ledger at `early` or `late`, and the log at the same or another time."""
        self.copies += 1
        site = self.restored(ledger, self.folder / f"copy-{self.copies}")
        site.log.put(self.logs[log or ledger])
        return site


class SqliteBase(Base):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SqliteSite(folder / "sound"))

    def keep(self, site: Site, name: str) -> None:
        assert not (site.folder / "ledger.db-wal").exists()
        for part in ("ledger.db", "payloads"):
            copy_all(site.folder / part, self.folder / name / part)

    def restored(self, name: str, folder: Path) -> Site:
        copy_all(self.folder / name, folder)
        return SqliteSite(folder)


def copy_all(source: Path, target: Path) -> None:
    """Copies a file or a directory."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


class PostgresBase(Base):
    def __init__(self, folder: Path) -> None:
        self.server = server("EDGESENTRY_TEST_POSTGRES")
        self.bucket = f"operator-{uuid.uuid4().hex}"
        subprocess.run([*SIGNED, "-X", "PUT", f"{server('EDGESENTRY_TEST_S3')}/{self.bucket}"], check=True)
        super().__init__(folder, PostgresSite(folder / "sound", self.create("template1"), self.bucket))

    def keep(self, site: Site, name: str) -> None:
        self.backups[name] = self.create(site.url.rsplit("/", 1)[1])

    def create(self, template: str) -> str:
        # The server drops it when it ends; DROP DATABASE would wait for a checkpoint of PostgreSQL.
        name = f"operator_{uuid.uuid4().hex}"
        psql(self.server, f"CREATE DATABASE {name} TEMPLATE {template};")
        return f"{self.server.rsplit('/', 1)[0]}/{name}"

    def restored(self, name: str, folder: Path) -> Site:
        # The payloads of all copies are the same; one attack alone changes any.
        return PostgresSite(folder, self.create(self.backups[name].rsplit("/", 1)[1]), self.bucket)


def cosigned(checkpoint: str, at: int) -> str:
    """Returns a checkpoint with the line of the witness, which signs each one that continues the last."""
    text, _, _ = checkpoint.partition("\n\n")
    return checkpoint + WITNESS.line(f"{text}\n", at)


def payload_object(device_id: str, sequence: int) -> str:
    """Returns the name of a payload in its store."""
    [record] = [one for one in FLEET.records if (one.device_id, one.sequence) == (device_id, sequence)]
    return payload_path(record)
