"""Operations from Python: backup and restore, drills, and the bucket of payloads.

Each function runs the command `eds` of this package in a process of its own and returns the answer of the
command with `--json` as a dataclass. On Ctrl-C that process cleans up and is waited for before
`KeyboardInterrupt` is raised; it ends with this process, too, whatever ends that.

The options are those of the command, with underscores; what is left out is as the command has it by default.
`config` is always the settings file: TOML, by default the one that `EDS_CONFIG` names. Every function raises
`ConfigError` if a setting, an option or a program is missing or wrong, and `EdgesentryError` if the work
could not be finished.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from os import PathLike
from typing import Any, TypeVar

from edgesentry import _process
from edgesentry._answers import (
    Adoption,
    ArchiveContents,
    ArchiveMark,
    ArchiverTrial,
    Backup,
    BucketSetup,
    Check,
    Checklist,
    DamagedPayload,
    Deletion,
    DrillHost,
    DrillPlan,
    DrillReport,
    DrillReports,
    DrillRun,
    DrillStep,
    Dump,
    ListedBackup,
    LogCoverage,
    LogGap,
    Measure,
    NeededProgram,
    PayloadRecovery,
    PostgresSetting,
    PostgresSettings,
    Quarter,
    Restored,
    RestoredDump,
    Retention,
    RetentionPlan,
    SetupStep,
    SignedArchive,
    SignedReport,
    Status,
    StoredFile,
    decode,
)
from edgesentry._typing import Path, Scheme
from edgesentry.exceptions import ConfigError, EdgesentryError

__all__ = [
    "Adoption",
    "ArchiveContents",
    "ArchiveMark",
    "ArchiverTrial",
    "Backup",
    "BucketSetup",
    "Check",
    "Checklist",
    "DamagedPayload",
    "Deletion",
    "DrillHost",
    "DrillPlan",
    "DrillReport",
    "DrillReports",
    "DrillRun",
    "DrillStep",
    "Dump",
    "ListedBackup",
    "LogCoverage",
    "LogGap",
    "Measure",
    "NeededProgram",
    "PayloadRecovery",
    "PostgresSetting",
    "PostgresSettings",
    "Quarter",
    "Restored",
    "RestoredDump",
    "Retention",
    "RetentionPlan",
    "SetupStep",
    "SignedArchive",
    "SignedReport",
    "Status",
    "StoredFile",
    "adopt",
    "backup",
    "backups",
    "check_archive",
    "configure_postgres",
    "drill_alert_fire",
    "drill_all",
    "drill_db_failover",
    "drill_db_restore",
    "drill_report",
    "drill_rpo",
    "drill_s3_object_recovery",
    "drill_verify_report",
    "drills",
    "dump",
    "restore",
    "restore_dump",
    "restore_objects",
    "retention",
    "s3_check",
    "s3_setup",
    "sign_archive",
    "verify_backup",
    "verify_recovery",
]

_USAGE = 2

_T = TypeVar("_T")


def _run(arguments: Iterable[str], content: str) -> Any:
    code, stdout = _process.run(arguments)
    try:
        envelope = json.loads(stdout)
    except ValueError:
        raise EdgesentryError(f"eds has ended with {code} and no answer") from None
    if error := envelope.get("error"):
        raise (ConfigError if code == _USAGE else EdgesentryError)(error["message"])
    return envelope[content]


def _ask(
    kind: type[_T],
    content: str,
    command: str,
    options: Mapping[str, object] | None = None,
    argument: Path | None = None,
) -> _T:
    """Runs a command and returns its answer, which is named `content` in the JSON."""
    arguments = [] if argument is None else ["--", os.fsdecode(argument)]
    answer: _T = decode(kind, _run([*command.split(), *_flags(options or {}), *arguments], content))
    return answer


def _flags(options: Mapping[str, object]) -> list[str]:
    flags = []
    for name, value in options.items():
        flag = "--" + name.rstrip("_").replace("_", "-")
        if value is True:
            flags.append(flag)
        elif value is not None and value is not False:
            several = [value] if isinstance(value, str) or not isinstance(value, Iterable) else value
            flags += [f"{flag}={_text(one)}" for one in several]
    return flags


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return os.fsdecode(value) if isinstance(value, PathLike) else str(value)


def backup(
    *,
    if_log_exceeds: int | None = None,
    config: Path | None = None,
) -> Backup:
    """Takes a base backup, proves it and archives it.

    Args:
        if_log_exceeds: Take it only if more log than this was written since the newest backup, in MiB.
        config: The settings file.

    Returns:
        Its manifest, or the manifest of the newest backup if `if_log_exceeds` makes another one unnecessary.
    """
    options: dict[str, object] = {"if_log_exceeds": if_log_exceeds, "config": config}
    return _ask(Backup, "backup", "ops backup", options)


def dump(
    *,
    config: Path | None = None,
) -> Dump:
    """Takes a logical dump and archives it.

    Args:
        config: The settings file.

    Returns:
        Its manifest.
    """
    options: dict[str, object] = {"config": config}
    return _ask(Dump, "dump", "ops dump", options)


def backups(
    *,
    config: Path | None = None,
) -> ArchiveContents:
    """Lists the backups and dumps of the archive.

    Args:
        config: The settings file.
    """
    options: dict[str, object] = {"config": config}
    return _ask(ArchiveContents, "archive", "ops backups", options)


def verify_backup(
    backup_id: str | None = None,
    *,
    dump: bool = False,
    allow_unsigned: bool = False,
    config: Path | None = None,
) -> Checklist:
    """Downloads a backup, compares its signature and hashes and lets PostgreSQL prove it again.

    Args:
        backup_id: The backup, or the dump with `dump`; the newest by default.
        dump: It is a dump.
        allow_unsigned: Read what is not signed although the settings name a key.
        config: The settings file.
    """
    options: dict[str, object] = {"dump": dump, "allow_unsigned": allow_unsigned, "config": config}
    return _ask(Checklist, "checklist", "ops verify-backup", options, backup_id)


def check_archive(
    *,
    contents: bool = False,
    allow_unsigned: bool = False,
    config: Path | None = None,
) -> Checklist:
    """Looks for write-ahead log that is missing; a check that fails names the missing ranges.

    Args:
        contents: Download the log and read it through: signatures, pages and records.
        allow_unsigned: Read what is not signed although the settings name a key.
        config: The settings file.
    """
    options: dict[str, object] = {
        "contents": contents,
        "allow_unsigned": allow_unsigned,
        "config": config,
    }
    return _ask(Checklist, "checklist", "ops check-archive", options)


def retention(
    *,
    apply: bool = False,
    backups: int | None = None,
    dumps: int | None = None,
    config: Path | None = None,
) -> Retention:
    """Decides what the archive no longer needs, and why.

    Args:
        apply: Delete it; without it nothing is deleted.
        backups: Days that base backups are kept.
        dumps: Days that dumps are kept.
        config: The settings file.
    """
    options: dict[str, object] = {"apply": apply, "backups": backups, "dumps": dumps, "config": config}
    return _ask(Retention, "retention", "ops retention", options)


def configure_postgres(
    *,
    apply: bool = False,
    archive_timeout: int | None = None,
    standby: str | Iterable[str] | None = None,
    no_standby: bool = False,
    weaken_durability: bool = False,
    replace_archiver: bool = False,
    eds: Path | None = None,
    config: Path | None = None,
) -> PostgresSettings:
    """Compares the settings of PostgreSQL with what archiving needs.

    Args:
        apply: Change what differs; a restart is left to the caller.
        archive_timeout: Seconds after which a segment that is not full is archived; what is set, at most 60,
            by default.
        standby: `application_name` of a synchronous standby, or several; those that are set by default.
        no_standby: Let commits wait for no standby; with `weaken_durability`.
        weaken_durability: Let commits wait for fewer standbys than now.
        replace_archiver: Replace the `archive_command` or `archive_library` of another archiver.
        eds: The program that PostgreSQL runs; that of this package by default, which the user of PostgreSQL
            must be able to run.
        config: The settings file.
    """
    options: dict[str, object] = {
        "apply": apply,
        "archive_timeout": archive_timeout,
        "standby": standby,
        "no_standby": no_standby,
        "weaken_durability": weaken_durability,
        "replace_archiver": replace_archiver,
        "eds": eds,
        "config": config,
    }
    return _ask(PostgresSettings, "postgres", "ops configure-postgres", options)


def restore(
    data: Path,
    port: int,
    *,
    target_time: datetime | str | None = None,
    target_name: str | None = None,
    backup: str | None = None,
    timeline: int | None = None,
    drill: bool = False,
    accept_loss: bool = False,
    allow_unsigned: bool = False,
    patience: int | None = None,
    eds: Path | None = None,
    config: Path | None = None,
) -> Restored:
    """Restores into an empty folder and starts the server on loopback, where it lives on.

    Args:
        data: The data folder: empty, or not there yet.
        port: The port on loopback.
        target_time: The last commit at or before this moment, with its zone; the end of the archive by
            default.
        target_name: A restore point.
        backup: The backup to begin with; the last one before the target by default.
        timeline: The timeline to follow; by default the one that the archive is on now, or was on at the
            target.
        drill: A copy to throw away, which never archives; another one archives once it is adopted.
        accept_loss: Restore to the end of the archive although segments are missing.
        allow_unsigned: Restore what is not signed although the settings name a key.
        patience: Minutes that recovery may take.
        eds: The program that PostgreSQL runs; that of this package by default, which the user of PostgreSQL
            must be able to run.
        config: The settings file.
    """
    options: dict[str, object] = {
        "data": data,
        "port": port,
        "target_time": target_time,
        "target_name": target_name,
        "backup": backup,
        "timeline": timeline,
        "drill": drill,
        "accept_loss": accept_loss,
        "allow_unsigned": allow_unsigned,
        "patience": patience,
        "eds": eds,
        "config": config,
    }
    return _ask(Restored, "restored", "ops restore", options)


def restore_dump(
    into: str,
    *,
    dump: str | None = None,
    allow_unsigned: bool = False,
    config: Path | None = None,
) -> RestoredDump:
    """Restores a logical dump into an empty database.

    Args:
        into: The URL of the database, which is there and empty.
        dump: The dump; the newest one by default.
        allow_unsigned: Restore what is not signed although the settings name a key.
        config: The settings file.
    """
    options: dict[str, object] = {
        "into": into,
        "dump": dump,
        "allow_unsigned": allow_unsigned,
        "config": config,
    }
    return _ask(RestoredDump, "restored_dump", "ops restore-dump", options)


def adopt(
    data: Path,
    *,
    take_over: bool = False,
    eds: Path | None = None,
    config: Path | None = None,
) -> Adoption:
    """Lets a restored copy archive, into the archive of the settings.

    Args:
        data: The data folder of the copy.
        take_over: Take over the archive of the original, which is stopped for good.
        eds: The program that PostgreSQL runs; that of this package by default, which the user of PostgreSQL
            must be able to run.
        config: The settings file.
    """
    options: dict[str, object] = {"data": data, "take_over": take_over, "eds": eds, "config": config}
    return _ask(Adoption, "adopted", "ops adopt", options)


def sign_archive(*, apply: bool = False, config: Path | None = None) -> SignedArchive:
    """Shows who has signed whose the archive is, and with `apply` signs it.

    Args:
        apply: Sign it as it is; without it nothing is changed.
        config: The settings file.
    """
    options: dict[str, object] = {"apply": apply, "config": config}
    return _ask(SignedArchive, "signed", "ops sign-archive", options)


def verify_recovery(
    *,
    heads: Path | None = None,
    keys: Path | None = None,
    start_heads: Path | None = None,
    scheme: Scheme | None = None,
    target_time: datetime | str | None = None,
    alertmanager: str | None = None,
    ledger: str | None = None,
    payloads: str | None = None,
    progress: str | None = None,
    config: Path | None = None,
) -> Checklist:
    """Goes through the checklist after a restore.

    Args:
        heads: Snapshot of heads from before, as `eds heads` wrote it.
        keys: Key ring; the keys that the ledger has registered by default.
        start_heads: Links after which chains begin that do not begin at sequence 1.
        scheme: Scheme of keys that name none.
        target_time: The moment that was restored to, with its zone.
        alertmanager: URL of an Alertmanager to ask for silences.
        ledger: The ledger; that of the settings by default.
        payloads: The payload store; that of the settings by default.
        progress: When progress is shown on stderr: `auto`, `always` or `never`.
        config: The settings file.
    """
    options: dict[str, object] = {
        "heads": heads,
        "keys": keys,
        "start_heads": start_heads,
        "scheme": scheme,
        "target_time": target_time,
        "alertmanager": alertmanager,
        "ledger": ledger,
        "payloads": payloads,
        "progress": progress,
        "config": config,
    }
    return _ask(Checklist, "checklist", "ops verify-recovery", options)


def s3_setup(
    bucket: str | None = None,
    *,
    retention_days: int,
    archive: bool = False,
    apply: bool = False,
    replicate_to: str | None = None,
    replication_role: str | None = None,
    policies: Path | None = None,
    lock_existing: bool = False,
    config: Path | None = None,
) -> BucketSetup:
    """Compares the bucket of payloads, or of the archive, with how it must be, and with `apply` sets it up.

    Args:
        bucket: `s3://BUCKET`; that of `payloads` in the settings by default, or of `ops.archive`.
        retention_days: Days that every new version is kept from everybody; never fewer than now.
        archive: The bucket holds the archive.
        apply: Do it; without it nothing is changed.
        replicate_to: ARN of a bucket to which the store copies.
        replication_role: ARN of the role that copies.
        policies: Folder for policies of least privilege, one a role.
        lock_existing: Look at all payloads that were stored before, and with `apply` lock them.
        config: The settings file.
    """
    options: dict[str, object] = {
        "retention_days": retention_days,
        "archive": archive,
        "apply": apply,
        "replicate_to": replicate_to,
        "replication_role": replication_role,
        "policies": policies,
        "lock_existing": lock_existing,
        "config": config,
    }
    return _ask(BucketSetup, "setup", "ops s3-setup", options, bucket)


def s3_check(
    bucket: str | None = None,
    *,
    retention_days: int | None = None,
    archive: bool = False,
    config: Path | None = None,
) -> Checklist:
    """Finds out by trying what the bucket of payloads, or of the archive, protects from.

    Args:
        bucket: `s3://BUCKET`; that of `payloads` in the settings by default, or of `ops.archive`.
        retention_days: The least retention that passes.
        archive: The bucket holds the archive.
        config: The settings file.
    """
    options: dict[str, object] = {
        "retention_days": retention_days,
        "archive": archive,
        "config": config,
    }
    return _ask(Checklist, "checklist", "ops s3-check", options, bucket)


def restore_objects(
    device_id: str | None = None,
    *,
    all_: bool = False,
    devices: Path | None = None,
    from_: int | None = None,
    to: int | None = None,
    apply: bool = False,
    ledger: str | None = None,
    payloads: str | None = None,
    config: Path | None = None,
) -> PayloadRecovery:
    """Brings payloads of devices back that were deleted or overwritten in S3.

    Args:
        device_id: The device, unless `all_` or `devices` says which.
        all_: Those of every device in the ledger.
        devices: File with the names of devices, one a line.
        from_: The lowest sequence.
        to: The highest sequence.
        apply: Do it; without it nothing is changed.
        ledger: The ledger; that of the settings by default.
        payloads: The payload store; that of the settings by default.
        config: The settings file.
    """
    options: dict[str, object] = {
        "all_": all_,
        "devices": devices,
        "from_": from_,
        "to": to,
        "apply": apply,
        "ledger": ledger,
        "payloads": payloads,
        "config": config,
    }
    return _ask(PayloadRecovery, "payloads", "ops restore-object", options, device_id)


def drills() -> tuple[DrillPlan, ...]:
    """Lists the drills, and whether the programs that they need are installed."""
    return _ask(tuple[DrillPlan, ...], "drills", "drill list")


def drill_all(
    *,
    short: bool = False,
    postgres_bin: Path | None = None,
    weed: Path | None = None,
    eds: Path | None = None,
    report_dir: Path | None = None,
    sign_key: Path | None = None,
    sign_config: Path | None = None,
    keep_days: int | None = None,
    metrics_file: Path | None = None,
) -> DrillReports:
    """Holds every drill, one after the other.

    Args:
        short: Few records, a short load, one alert.
        postgres_bin: Folder of the programs of PostgreSQL; the newest ones in the usual places by default.
        weed: The program `weed` of SeaweedFS.
        eds: The program that PostgreSQL runs; that of this package by default, which the user of PostgreSQL
            must be able to run.
        report_dir: Folder for the report of this run.
        sign_key: Seed file of the key that signs the report.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days that the report is to be kept.
        metrics_file: File for the textfile collector of node_exporter.
    """
    options: dict[str, object] = {
        "short": short,
        "postgres_bin": postgres_bin,
        "weed": weed,
        "eds": eds,
        "report_dir": report_dir,
        "sign_key": sign_key,
        "sign_config": sign_config,
        "keep_days": keep_days,
        "metrics_file": metrics_file,
    }
    return _ask(DrillReports, "drills", "drill all", options)


def drill_db_failover(
    *,
    records: int | None = None,
    load: int | None = None,
    asynchronous: bool = False,
    postgres_bin: Path | None = None,
    cluster: Path | None = None,
    stop_command: str | None = None,
    fence_command: str | None = None,
    promote_command: str | None = None,
    rejoin_command: str | None = None,
    start_command: str | None = None,
    yes: bool = False,
    report_dir: Path | None = None,
    sign_key: Path | None = None,
    sign_config: Path | None = None,
    keep_days: int | None = None,
    metrics_file: Path | None = None,
) -> DrillReport:
    """Kills the primary under load and promotes its standby: no acknowledged record may be lost.

    Args:
        records: Records in the ledger before the load begins.
        load: Records that the load brings before the crash and after each step.
        asynchronous: With an asynchronous standby: records are lost, and the drill fails.
        postgres_bin: Folder of the programs of PostgreSQL; the newest ones in the usual places by default.
        cluster: Settings whose ledger names a primary and a standby that run already.
        stop_command: Stops the primary of the cluster as a crash would.
        fence_command: Sees to it that the stopped primary takes no writes when it comes back.
        promote_command: Promotes the standby; `pg_promote` by default.
        rejoin_command: Lets the old primary come back as a standby of the new one.
        start_command: Starts the primary as it was, for the case that it cannot be fenced.
        yes: Do not ask before systems of your own are touched; nobody can be asked here.
        report_dir: Folder for the report of this run.
        sign_key: Seed file of the key that signs the report.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days that the report is to be kept.
        metrics_file: File for the textfile collector of node_exporter.
    """
    options: dict[str, object] = {
        "records": records,
        "load": load,
        "asynchronous": asynchronous,
        "postgres_bin": postgres_bin,
        "cluster": cluster,
        "stop_command": stop_command,
        "fence_command": fence_command,
        "promote_command": promote_command,
        "rejoin_command": rejoin_command,
        "start_command": start_command,
        "yes": yes,
        "report_dir": report_dir,
        "sign_key": sign_key,
        "sign_config": sign_config,
        "keep_days": keep_days,
        "metrics_file": metrics_file,
    }
    return _ask(DrillReport, "drill", "drill db-failover", options)


def drill_db_restore(
    *,
    records: int | None = None,
    archive: Path | None = None,
    back: int | None = None,
    heads: Path | None = None,
    keys: Path | None = None,
    start_heads: Path | None = None,
    scheme: Scheme | None = None,
    postgres_bin: Path | None = None,
    weed: Path | None = None,
    eds: Path | None = None,
    commit: bool = False,
    yes: bool = False,
    report_dir: Path | None = None,
    sign_key: Path | None = None,
    sign_config: Path | None = None,
    keep_days: int | None = None,
    metrics_file: Path | None = None,
) -> DrillReport:
    """Restores to the moment before records were destroyed: every chain must verify.

    Args:
        records: Records up to the moment that is restored to.
        archive: Settings whose archive is restored instead of one of the drill's own.
        back: How far back, in seconds.
        heads: Snapshot of heads from before, as `eds heads` wrote it.
        keys: Key ring; the keys that the ledger has registered by default.
        start_heads: Links after which chains begin that do not begin at sequence 1.
        scheme: Scheme of keys that name none.
        postgres_bin: Folder of the programs of PostgreSQL; the newest ones in the usual places by default.
        weed: The program `weed` of SeaweedFS.
        eds: The program that PostgreSQL runs; that of this package by default, which the user of PostgreSQL
            must be able to run.
        commit: Make a transaction on the server of the archive first.
        yes: Do not ask before systems of your own are touched; nobody can be asked here.
        report_dir: Folder for the report of this run.
        sign_key: Seed file of the key that signs the report.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days that the report is to be kept.
        metrics_file: File for the textfile collector of node_exporter.
    """
    options: dict[str, object] = {
        "records": records,
        "archive": archive,
        "back": back,
        "heads": heads,
        "keys": keys,
        "start_heads": start_heads,
        "scheme": scheme,
        "postgres_bin": postgres_bin,
        "weed": weed,
        "eds": eds,
        "commit": commit,
        "yes": yes,
        "report_dir": report_dir,
        "sign_key": sign_key,
        "sign_config": sign_config,
        "keep_days": keep_days,
        "metrics_file": metrics_file,
    }
    return _ask(DrillReport, "drill", "drill db-restore", options)


def drill_rpo(
    *,
    seconds: int | None = None,
    archive_timeout: int | None = None,
    postgres_bin: Path | None = None,
    weed: Path | None = None,
    eds: Path | None = None,
    report_dir: Path | None = None,
    sign_key: Path | None = None,
    sign_config: Path | None = None,
    keep_days: int | None = None,
    metrics_file: Path | None = None,
) -> DrillReport:
    """Loses the primary with its disk between two archived segments, and measures what is gone.

    Args:
        seconds: How long records come before the crash.
        archive_timeout: `archive_timeout` of the primary, in seconds.
        postgres_bin: Folder of the programs of PostgreSQL; the newest ones in the usual places by default.
        weed: The program `weed` of SeaweedFS.
        eds: The program that PostgreSQL runs; that of this package by default, which the user of PostgreSQL
            must be able to run.
        report_dir: Folder for the report of this run.
        sign_key: Seed file of the key that signs the report.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days that the report is to be kept.
        metrics_file: File for the textfile collector of node_exporter.
    """
    options: dict[str, object] = {
        "seconds": seconds,
        "archive_timeout": archive_timeout,
        "postgres_bin": postgres_bin,
        "weed": weed,
        "eds": eds,
        "report_dir": report_dir,
        "sign_key": sign_key,
        "sign_config": sign_config,
        "keep_days": keep_days,
        "metrics_file": metrics_file,
    }
    return _ask(DrillReport, "drill", "drill rpo", options)


def drill_s3_object_recovery(
    *,
    records: int | None = None,
    weed: Path | None = None,
    bucket: Path | None = None,
    yes: bool = False,
    report_dir: Path | None = None,
    sign_key: Path | None = None,
    sign_config: Path | None = None,
    keep_days: int | None = None,
    metrics_file: Path | None = None,
) -> DrillReport:
    """Deletes and overwrites payloads in S3, and brings them back from their versions.

    Args:
        records: Records whose payloads are stored.
        weed: The program `weed` of SeaweedFS.
        bucket: Settings whose payloads are in a bucket of a site.
        yes: Do not ask before systems of your own are touched; nobody can be asked here.
        report_dir: Folder for the report of this run.
        sign_key: Seed file of the key that signs the report.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days that the report is to be kept.
        metrics_file: File for the textfile collector of node_exporter.
    """
    options: dict[str, object] = {
        "records": records,
        "weed": weed,
        "bucket": bucket,
        "yes": yes,
        "report_dir": report_dir,
        "sign_key": sign_key,
        "sign_config": sign_config,
        "keep_days": keep_days,
        "metrics_file": metrics_file,
    }
    return _ask(DrillReport, "drill", "drill s3-object-recovery", options)


def drill_alert_fire(
    *,
    alert: str | Iterable[str] | None = None,
    within: int | None = None,
    scrape_interval: int | None = None,
    rules: Path | None = None,
    prometheus: str | None = None,
    alertmanager: str | None = None,
    listen: str | None = None,
    webhook: str | None = None,
    report_dir: Path | None = None,
    sign_key: Path | None = None,
    sign_config: Path | None = None,
    keep_days: int | None = None,
    metrics_file: Path | None = None,
) -> DrillReport:
    """Attacks a service and makes its store fail: every alert must arrive.

    Args:
        alert: Only this alert, or these.
        within: How soon each alert must arrive, in seconds.
        scrape_interval: How often the drill's own Prometheus scrapes, in seconds.
        rules: Rules for the drill's own Prometheus.
        prometheus: URL of a Prometheus that runs already.
        alertmanager: URL of the Alertmanager that this Prometheus tells.
        listen: Address of the drill's metrics, for a Prometheus that runs already.
        webhook: Address of the drill's webhook, for an Alertmanager that runs already.
        report_dir: Folder for the report of this run.
        sign_key: Seed file of the key that signs the report.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days that the report is to be kept.
        metrics_file: File for the textfile collector of node_exporter.
    """
    options: dict[str, object] = {
        "alert": alert,
        "within": within,
        "scrape_interval": scrape_interval,
        "rules": rules,
        "prometheus": prometheus,
        "alertmanager": alertmanager,
        "listen": listen,
        "webhook": webhook,
        "report_dir": report_dir,
        "sign_key": sign_key,
        "sign_config": sign_config,
        "keep_days": keep_days,
        "metrics_file": metrics_file,
    }
    return _ask(DrillReport, "drill", "drill alert-fire", options)


def drill_report(
    folder: Path,
    *,
    quarter: str | None = None,
    last_quarter: bool = False,
    key: str | None = None,
    remove_expired: bool = False,
    markdown: Path | None = None,
    html: Path | None = None,
) -> Quarter:
    """Reports what the drills of a quarter have shown, from the reports in a folder.

    Args:
        folder: The folder of reports, as `report_dir` of the drills names it.
        quarter: Such as `2026Q4`; the current one by default.
        last_quarter: The quarter before the current one.
        key: Public key: only reports that are signed with it count.
        remove_expired: Remove the reports that are to be kept no longer.
        markdown: File for the report in Markdown.
        html: File for the report as an HTML page.
    """
    options: dict[str, object] = {
        "quarter": quarter,
        "last_quarter": last_quarter,
        "key": key,
        "remove_expired": remove_expired,
        "markdown": markdown,
        "html": html,
    }
    return _ask(Quarter, "quarter", "drill report", options, folder)


def drill_verify_report(report: Path, *, key: str) -> SignedReport:
    """Verifies that the report of a drill is signed with a key.

    Args:
        report: The report, NAME.json; its signature is NAME.json.sig beside it.
        key: The public key of operations.
    """
    return _ask(SignedReport, "report", "drill verify-report", {"key": key}, report)
