"""What operations return: the JSON of `eds ops` and `eds drill` as dataclasses."""

from __future__ import annotations

import types
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

Status: TypeAlias = Literal["passed", "failed", "unknown"]
"""The result of a check. `unknown`: it could not be tried, which is not a pass."""


def decode(kind: Any, content: Any) -> Any:
    """JSON as a dataclass, or as a tuple of them; fields that the dataclass does not have are left out."""
    if isinstance(kind, type) and is_dataclass(kind):
        # Names that Python keeps for itself have an underscore more.
        given = {name: name.rstrip("_") for name in _hints(kind) if name.rstrip("_") in content}
        return kind(**{name: decode(_hints(kind)[name], content[key]) for name, key in given.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if content is None else decode(arguments[0], content)
    if origin is tuple and arguments[1:] == (...,):
        return tuple(decode(arguments[0], item) for item in content)
    if origin is tuple:
        return tuple(decode(each, item) for each, item in zip(arguments, content, strict=True))
    return content


_hints = cache(get_type_hints)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a checklist or a drill.

    Attributes:
        name: The claim that was checked.
        status: Whether it holds.
        evidence: The numbers or words that the status rests on.
    """

    name: str
    status: Status
    evidence: str


@dataclass(frozen=True, slots=True)
class Checklist:
    """Checks with their verdict.

    Attributes:
        status: `failed` if a check failed, `unknown` if one could not be tried, otherwise `passed`.
        checks: The checks, in order.
    """

    status: Status
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a backup or a dump in the archive.

    Attributes:
        name: Its name.
        size_bytes: Its size.
        blake3: Its BLAKE3, as hex digits.
    """

    name: str
    size_bytes: int
    blake3: str


@dataclass(frozen=True, slots=True)
class Backup:
    """A base backup, as its manifest describes it. Times are Unix milliseconds by the clock of the server.

    Attributes:
        id: Its name.
        system_identifier: The cluster that it is of, as `pg_controldata` names it.
        wal_segment_bytes: The size of a segment of the write-ahead log.
        server_version: The version of PostgreSQL.
        server_version_number: The same as a number, such as 170006.
        timeline: The timeline of the server.
        start_lsn: Where in the write-ahead log the backup begins.
        stop_lsn: Where in the write-ahead log it ends.
        first_segment: The first segment of the write-ahead log that it needs.
        last_segment: The last one.
        started_at_ms: When it was begun.
        finished_at_ms: When it was finished; the earliest moment that it restores to.
        verified: The last words of `pg_verifybackup`.
        files: Its files.
    """

    id: str
    system_identifier: str
    wal_segment_bytes: int
    server_version: str
    server_version_number: int
    timeline: int
    start_lsn: str
    stop_lsn: str
    first_segment: str
    last_segment: str
    started_at_ms: int
    finished_at_ms: int
    verified: str
    files: tuple[StoredFile, ...]


@dataclass(frozen=True, slots=True)
class Dump:
    """A logical dump, as its manifest describes it.

    Attributes:
        id: Its name.
        system_identifier: The cluster that it is of.
        wal_segment_bytes: The size of a segment of the write-ahead log.
        server_version: The version of PostgreSQL.
        started_at_ms: When it was begun, Unix milliseconds: it holds the commits until then.
        entries: The number of entries that `pg_restore --list` shows.
        files: Its files.
    """

    id: str
    system_identifier: str
    wal_segment_bytes: int
    server_version: str
    started_at_ms: int
    entries: int
    files: tuple[StoredFile, ...]


@dataclass(frozen=True, slots=True)
class LogGap:
    """Segments of the write-ahead log that are missing.

    Attributes:
        first: The first one.
        last: The last one.
        segments: How many.
    """

    first: str
    last: str
    segments: int


@dataclass(frozen=True, slots=True)
class LogCoverage:
    """The write-ahead log that the archive holds from a segment on.

    Attributes:
        from_: The segment that it must begin with; `from` in JSON.
        newest: The last complete segment.
        receiving: The segment behind it whose beginning is there.
        gaps: The segments that are missing in between.
    """

    from_: str
    newest: str | None
    receiving: str | None
    gaps: tuple[LogGap, ...]


@dataclass(frozen=True, slots=True)
class ListedBackup:
    """A base backup in the archive.

    Attributes:
        backup: Its manifest.
        age_seconds: How old it is.
        log: The write-ahead log behind it.
    """

    backup: Backup
    age_seconds: int
    log: LogCoverage


@dataclass(frozen=True, slots=True)
class ArchiveContents:
    """The contents of an archive.

    Attributes:
        archive: Where it is.
        backups: The base backups, oldest first.
        dumps: The dumps, oldest first.
        newest_log_at_ms: When the newest write-ahead log was stored, Unix milliseconds by the clock of the
            store.
    """

    archive: str
    backups: tuple[ListedBackup, ...]
    dumps: tuple[Dump, ...]
    newest_log_at_ms: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """Something that the archive no longer needs.

    Attributes:
        what: Such as `backup 20260131T120000Z`.
        why: The reason.
        keys: Its keys, in the order in which they are deleted.
        size_bytes: Their size.
    """

    what: str
    why: str
    keys: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What is deleted and what is kept.

    Attributes:
        delete: The deletions, in order.
        keep: Backups and dumps that are kept, each with the reason.
    """

    delete: tuple[Deletion, ...]
    keep: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Retention:
    """A plan, and whether it was carried out.

    Attributes:
        applied: Whether it was carried out.
        plan: The plan.
    """

    applied: bool
    plan: RetentionPlan


@dataclass(frozen=True, slots=True)
class PostgresSetting:
    """A setting of PostgreSQL.

    Attributes:
        name: Its name.
        is_: Its value; `is` in JSON.
        should_be: The value that archiving needs.
        needs_restart: Whether a change holds only after a restart.
        why: What it is for.
        refused: Why it is not changed without an option that says so.
    """

    name: str
    is_: str
    should_be: str
    needs_restart: bool
    why: str
    refused: str | None


@dataclass(frozen=True, slots=True)
class ArchiverTrial:
    """Whether the server can archive, tried by the server as its user.

    Attributes:
        status: `unknown` if the server does not let a program be tried.
        evidence: What it said.
    """

    status: Status
    evidence: str


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """The settings of PostgreSQL, and whether those that differ were changed.

    Attributes:
        applied: Whether they were changed.
        settings: The settings.
        trial: Whether `archive_command` works.
    """

    applied: bool
    settings: tuple[PostgresSetting, ...]
    trial: ArchiverTrial


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored server that runs.

    Attributes:
        backup: The backup that it began with.
        target: How far it was to be recovered.
        data: The data folder.
        port: The port on loopback.
        pid: The process of the server, which lives on.
        followed: The timeline that was followed.
        timeline: The timeline that it writes now.
        last_commit: The last commit that was recovered, as the server says it.
        download_seconds: How long the download took.
        extract_seconds: How long the extraction took.
        recover_seconds: The time from the start of the server until it took writes.
        notes: What an operator has to know or to do.
    """

    backup: str
    target: str
    data: str
    port: int
    pid: int
    followed: int
    timeline: int
    last_commit: str | None
    download_seconds: float
    extract_seconds: float
    recover_seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestoredDump:
    """A dump that is in a database.

    Attributes:
        dump: The dump.
        taken_at_ms: When it was begun, Unix milliseconds; nothing later is in it.
        database: The database.
        tables: Tables that it has now.
        seconds: How long all of it took.
    """

    dump: str
    taken_at_ms: int
    database: str
    tables: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Adoption:
    """A restored copy that archives.

    Attributes:
        archive: The archive that it writes.
        timeline: The timeline that it is on.
        taken_over: Whether the archive was in use before.
        running: Whether a running server was told.
    """

    archive: str
    timeline: int
    taken_over: bool
    running: bool


@dataclass(frozen=True, slots=True)
class ArchiveMark:
    """An object that says whose an archive is.

    Attributes:
        key: `archive.json` names the cluster, `adopted.json` the copy that the archive was handed over to.
        content: What it says.
        signed_by: The trusted key that has signed it.
        problem: Why no signature counts, if none does.
    """

    key: str
    content: dict[str, object]
    signed_by: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class SignedArchive:
    """Who has signed whose an archive is.

    Attributes:
        archive: The archive.
        applied: Whether it was signed now.
        marks: The objects that say so.
    """

    archive: str
    applied: bool
    marks: tuple[ArchiveMark, ...]


@dataclass(frozen=True, slots=True)
class SetupStep:
    """A step of setting up a bucket.

    Attributes:
        what: What is done.
        status: `passed`: it is so, or was done. `failed`: the store refused. `unknown`: not done, or not
            supported.
        change: Whether something had to be changed, or has to be.
        evidence: The answer of the store.
    """

    what: str
    status: Status
    change: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class BucketSetup:
    """How a bucket is set up, and whether it was changed.

    Attributes:
        bucket: The bucket.
        applied: Whether it was changed.
        steps: The steps, in order.
        policies: The files of policies that were written; none if no folder was named.
    """

    bucket: str
    applied: bool
    steps: tuple[SetupStep, ...]
    policies: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class DamagedPayload:
    """A payload that a plain read does not return.

    Attributes:
        device_id: The device.
        sequence: The sequence of its record.
        object_ref: Where the record says that the payload is.
        key: The key under which the right version was found.
        state: `restorable`, `restored`, or `lost`: no version has the bytes that the record commits to.
        version: The version with the right bytes.
        evidence: What was wrong, and how many versions were looked at.
    """

    device_id: str
    sequence: int
    object_ref: str
    key: str | None
    state: Literal["intact", "restorable", "restored", "lost"]
    version: str | None
    evidence: str


@dataclass(frozen=True, slots=True)
class PayloadRecovery:
    """The payloads of a device, after looking for damage.

    Attributes:
        looked_at: How many were looked at.
        intact: How many a plain read returns.
        damaged: The others.
    """

    looked_at: int
    intact: int
    damaged: tuple[DamagedPayload, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of a drill.

    Attributes:
        name: Its name, with its unit.
        value: Its value.
        limit: The most that passes, if there is a limit.
    """

    name: str
    value: float
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class DrillStep:
    """A step of a drill.

    Attributes:
        at_ms: Milliseconds since the drill began.
        what: What happened.
    """

    at_ms: int
    what: str


@dataclass(frozen=True, slots=True)
class DrillHost:
    """The machine on which a drill was held.

    Attributes:
        name: Its name.
        system: Its operating system, kernel and architecture.
        cores: Processors that the drill could use.
    """

    name: str
    system: str
    cores: int


@dataclass(frozen=True, slots=True)
class DrillReport:
    """The report of a drill.

    Attributes:
        drill: Its name.
        about: What it rehearses.
        status: Its verdict; `unknown` if it could not finish.
        extent: `full`, `short` or `partial`; only a full one counts for alerts and quarters.
        place: The servers that it was held on.
        host: The machine on which `eds` ran.
        versions: The versions of `eds` and of the servers.
        options: The options that were in force.
        started_at_ms: When it began, Unix milliseconds.
        ended_at_ms: When it ended, Unix milliseconds.
        keep_until_ms: Until when the report is to be kept, Unix milliseconds.
        duration_ms: How long it took.
        checks: What was checked.
        measures: What was measured.
        timeline: What happened.
        files: The files of the report, if a folder was named.
    """

    drill: str
    about: str
    status: Status
    extent: Literal["full", "short", "partial"]
    place: str
    host: DrillHost
    versions: dict[str, str]
    options: dict[str, str]
    started_at_ms: int
    ended_at_ms: int
    keep_until_ms: int
    duration_ms: int
    checks: tuple[Check, ...]
    measures: tuple[Measure, ...]
    timeline: tuple[DrillStep, ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DrillReports:
    """The reports of all drills.

    Attributes:
        drills: The reports, in order.
        passed: How many passed.
        files: The files of the summary, if a folder was named.
    """

    drills: tuple[DrillReport, ...]
    passed: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeededProgram:
    """A program that a drill needs.

    Attributes:
        program: Its name.
        path: Where it is; none if it is not installed.
        package: The Debian package that has it.
    """

    program: str
    path: str | None
    package: str


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """A drill that can be held.

    Attributes:
        name: Its name.
        about: What it rehearses.
        criterion: When it passes.
        needs: The programs that it needs.
    """

    name: str
    about: str
    criterion: str
    needs: tuple[NeededProgram, ...]


@dataclass(frozen=True, slots=True)
class DrillRun:
    """A run of a drill in a quarter.

    Attributes:
        drill: The drill.
        extent: `full`, `short` or `partial`; only a full one counts.
        status: Its verdict.
        signature: Whether the report is signed: `missing`, `not checked`, `valid`, or why it is not valid.
        started_at_ms: When it began, Unix milliseconds.
    """

    drill: str
    extent: Literal["full", "short", "partial"]
    status: Status
    signature: str
    started_at_ms: int


@dataclass(frozen=True, slots=True)
class Quarter:
    """The drills of a quarter.

    Attributes:
        quarter: Such as `2026Q4`.
        status: `passed` only if every drill was held in full and the last full run of each passed.
        runs: The runs, oldest first.
        files: The files that were written.
        removed: The files that were to be kept no longer and were removed.
    """

    quarter: str
    status: Status
    runs: tuple[DrillRun, ...]
    files: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignedReport:
    """The signature of a report.

    Attributes:
        file: The report.
        valid: Whether it is signed with the key.
        signature: `valid`, `missing`, or why it is not valid.
    """

    file: str
    valid: bool
    signature: str
