"""Results of operations: the JSON of `eds ops` and `eds drill` as dataclasses."""

from __future__ import annotations

import types
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

Status: TypeAlias = Literal["passed", "failed", "unknown"]
"""The result of a check. `unknown`: the check could not run, which is not a pass."""


def decode(kind: Any, content: Any) -> Any:
    """Converts JSON to a dataclass, or to a tuple of them; unknown fields are ignored."""
    if isinstance(kind, type) and is_dataclass(kind):
        # Names that are keywords of Python have a trailing underscore.
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
        status: Its result.
        evidence: The reason for the status.
    """

    name: str
    status: Status
    evidence: str


@dataclass(frozen=True, slots=True)
class Checklist:
    """Checks with their verdict.

    Attributes:
        status: `failed` if a check failed, `unknown` if one could not run, otherwise `passed`.
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
        system_identifier: The system identifier of its cluster, as `pg_controldata` shows it.
        wal_segment_bytes: The size of a segment of the write-ahead log.
        server_version: The version of PostgreSQL.
        server_version_number: The same as a number, such as 170006.
        timeline: The timeline of the server.
        start_lsn: The position in the write-ahead log at which the backup begins.
        stop_lsn: The position in the write-ahead log at which it ends.
        first_segment: The first segment of the write-ahead log that it needs.
        last_segment: The last one.
        started_at_ms: The time of its start.
        finished_at_ms: The time of its end; the earliest moment that it restores to.
        verified: The last message of `pg_verifybackup`.
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
        system_identifier: The system identifier of its cluster.
        wal_segment_bytes: The size of a segment of the write-ahead log.
        server_version: The version of PostgreSQL.
        started_at_ms: The time of its start, Unix milliseconds: it holds the commits until then.
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
        segments: The number of segments.
    """

    first: str
    last: str
    segments: int


@dataclass(frozen=True, slots=True)
class LogCoverage:
    """The write-ahead log in the archive, beginning with a segment.

    Attributes:
        from_: The segment that it must begin with; `from` in JSON.
        newest: The last complete segment.
        receiving: The next segment, if its beginning was received.
        gaps: The missing segments in between.
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
        age_seconds: Its age.
        log: The write-ahead log after it.
    """

    backup: Backup
    age_seconds: int
    log: LogCoverage


@dataclass(frozen=True, slots=True)
class ArchiveContents:
    """The contents of an archive.

    Attributes:
        archive: Its location.
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
    """A backup, a dump or write-ahead log that the archive no longer needs.

    Attributes:
        what: Its name, such as `backup 20260131T120000Z`.
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
    """The deletions, and the backups and dumps to keep.

    Attributes:
        delete: The deletions, in order.
        keep: Backups and dumps to keep, each with the reason.
    """

    delete: tuple[Deletion, ...]
    keep: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Retention:
    """A retention plan and its state.

    Attributes:
        applied: True if the deletions were made.
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
        needs_restart: True if a change takes effect only after a restart.
        why: Its purpose.
        refused: The reason why a change needs an explicit option.
    """

    name: str
    is_: str
    should_be: str
    needs_restart: bool
    why: str
    refused: str | None


@dataclass(frozen=True, slots=True)
class ArchiverTrial:
    """The result of an archiving trial, which the server runs as its user.

    Attributes:
        status: Its result; `unknown` if the server does not allow the trial of a program.
        evidence: The message of the server.
    """

    status: Status
    evidence: str


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """The settings of PostgreSQL that archiving needs, and their state.

    Attributes:
        applied: True if those that differ were changed.
        settings: The settings.
        trial: The trial of `archive_command`.
    """

    applied: bool
    settings: tuple[PostgresSetting, ...]
    trial: ArchiverTrial


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored, running server.

    Attributes:
        backup: The restored backup.
        target: The recovery target.
        data: The data directory.
        port: The port on loopback.
        pid: The process id of the server, which keeps running.
        followed: The timeline that recovery followed.
        timeline: The timeline that it writes now.
        last_commit: The last recovered commit, as the server reports it.
        download_seconds: The duration of the download.
        extract_seconds: The duration of the extraction.
        recover_seconds: The time from the start of the server until it accepted writes.
        notes: Notes and tasks for the operator.
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
    """A dump restored to a database.

    Attributes:
        dump: The dump.
        taken_at_ms: The start of the dump, Unix milliseconds; it holds no later commit.
        database: The database.
        tables: The number of tables of the database after the restore.
        seconds: The duration of the restore.
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
        timeline: Its timeline.
        taken_over: True if the archive was in use before.
        running: True if the server was running and was notified.
    """

    archive: str
    timeline: int
    taken_over: bool
    running: bool


@dataclass(frozen=True, slots=True)
class ArchiveMark:
    """An object that names the owner of an archive.

    Attributes:
        key: `archive.json` names the cluster, `adopted.json` the copy that took over the archive.
        content: Its content.
        signed_by: The trusted key that signed it.
        problem: The fault of the signature, if there is one.
    """

    key: str
    content: dict[str, object]
    signed_by: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class SignedArchive:
    """The signatures of the objects that name the owner of an archive.

    Attributes:
        archive: The archive.
        applied: True if this call signed them.
        marks: The objects.
    """

    archive: str
    applied: bool
    marks: tuple[ArchiveMark, ...]


@dataclass(frozen=True, slots=True)
class SetupStep:
    """A step of setting up a bucket.

    Attributes:
        what: Its description.
        status: `passed`: already set, or done. `failed`: the store refused. `unknown`: not done, or not
            supported.
        change: True if a change was or is necessary.
        evidence: The response of the store.
    """

    what: str
    status: Status
    change: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class BucketSetup:
    """The setup of a bucket, and its state.

    Attributes:
        bucket: The bucket.
        applied: True if the bucket was changed.
        steps: The steps, in order.
        policies: The policy files that were written; none if no directory was given.
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
        object_ref: The location of the payload according to the record.
        key: The key of the right version.
        state: `restorable`, `restored`, `erased` with `eds erase`, or `lost`: no version has the bytes that
            the record commits to.
        version: The version with the right bytes.
        evidence: The fault, and the number of versions read.
    """

    device_id: str
    sequence: int
    object_ref: str
    key: str | None
    state: Literal["intact", "restorable", "restored", "lost", "erased"]
    version: str | None
    evidence: str


@dataclass(frozen=True, slots=True)
class PayloadRecovery:
    """The state of the payloads of a device.

    Attributes:
        looked_at: The number of payloads checked.
        intact: The number of payloads that a plain read returns.
        damaged: The damaged payloads.
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
        limit: The maximum value that passes, if there is one.
    """

    name: str
    value: float
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class DrillStep:
    """A step of a drill.

    Attributes:
        at_ms: Milliseconds since the drill began.
        what: Its description.
    """

    at_ms: int
    what: str


@dataclass(frozen=True, slots=True)
class DrillHost:
    """The machine that ran a drill.

    Attributes:
        name: Its name.
        system: Its operating system, kernel and architecture.
        cores: The number of processors available to the drill.
    """

    name: str
    system: str
    cores: int


@dataclass(frozen=True, slots=True)
class DrillReport:
    """The report of a drill.

    Attributes:
        drill: Its name.
        about: Its purpose.
        status: Its verdict; `unknown` if it could not finish.
        extent: `full`, `short` or `partial`; only a full one counts for alerts and quarters.
        place: The servers that it ran on.
        host: The machine that ran `eds`.
        versions: The versions of `eds` and of the servers.
        options: The options, defaults included.
        started_at_ms: The time of its start, Unix milliseconds.
        ended_at_ms: The time of its end, Unix milliseconds.
        keep_until_ms: The end of the retention of the report, Unix milliseconds.
        duration_ms: Its duration.
        checks: The checks.
        measures: The measures.
        timeline: The events, in order.
        files: The files of the report, if a directory was given.
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
        passed: The number of drills that passed.
        files: The files of the summary, if a directory was given.
    """

    drills: tuple[DrillReport, ...]
    passed: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeededProgram:
    """A program that a drill needs.

    Attributes:
        program: Its name.
        path: Its path; None if it is not installed.
        package: The Debian package that contains it.
    """

    program: str
    path: str | None
    package: str


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """An available drill.

    Attributes:
        name: Its name.
        about: Its purpose.
        criterion: The condition under which it passes.
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
        signature: `missing`, `not checked`, `valid`, or the reason why the signature is not valid.
        started_at_ms: The time of its start, Unix milliseconds.
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
        quarter: Its name, such as `2026Q4`.
        status: `passed` only if every drill had a full run and the last full run of each passed.
        runs: The runs, oldest first.
        files: The files that were written.
        removed: The files removed at the end of their retention.
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
        valid: True if it is signed with the key.
        signature: `valid`, `missing`, or the reason why it is not valid.
    """

    file: str
    valid: bool
    signature: str
