"""Operations from Python: backup and restore, drills, and the bucket of payloads.

Each function runs the command `eds` of this package in a separate process and returns its JSON output
(`--json`) as a dataclass. On Ctrl-C that process cleans up before `KeyboardInterrupt` is raised. It also ends
when this process ends, even by SIGKILL.

The options are those of the command, with underscores, and have the same defaults. `config` is always the
settings file: TOML, by default the one that `EDS_CONFIG` names. Every function raises `ConfigError` if a
setting, an option or a program is missing or wrong, and `EdgesentryError` if the operation failed.
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
        raise EdgesentryError(f"eds exited with code {code} and returned no JSON") from None
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
    """Runs a command and returns its result, the field `content` of its JSON output."""
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
    """Takes a base backup, verifies it and archives it.

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
    """Downloads a backup, verifies its signature and hashes and runs `pg_verifybackup` again.

    Args:
        backup_id: The backup, or the dump with `dump`; the newest by default.
        dump: Verify a dump.
        allow_unsigned: Accept unsigned files although the settings name a key.
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
    """Looks for missing write-ahead log; a failed check names the missing ranges.

    Args:
        contents: Download the log and check its signatures, pages and records.
        allow_unsigned: Accept unsigned files although the settings name a key.
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
    """Lists the files that the archive no longer needs, each with the reason, and with `apply` deletes them.

    Args:
        apply: Delete them; otherwise nothing is deleted.
        backups: Days to keep base backups.
        dumps: Days to keep dumps.
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
    """Compares the settings of PostgreSQL with those that archiving needs.

    Args:
        apply: Change settings that differ. The caller restarts the server.
        archive_timeout: Seconds after which a segment that is not full is archived; by default the current
            value, at most 60.
        standby: `application_name` of one or more synchronous standbys; by default the current ones.
        no_standby: Let commits wait for no standby; requires `weaken_durability`.
        weaken_durability: Let commits wait for fewer standbys than now.
        replace_archiver: Replace the `archive_command` or `archive_library` of another archiver.
        eds: The program that PostgreSQL runs; by default that of this package, which the user of PostgreSQL
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
    """Restores into an empty directory and starts the server on loopback, where it keeps running.

    Args:
        data: The data directory: empty, or not yet created.
        port: The port on loopback.
        target_time: Restore the commits up to and including this moment, with its zone; by default to the end
            of the archive.
        target_name: A restore point.
        backup: The backup to restore; by default the last one before the target.
        timeline: The timeline to follow; by default the current one of the archive, or the one at the target.
        drill: Restore a disposable copy, which never archives; other copies archive once adopted.
        accept_loss: Restore to the end of the archive although segments are missing.
        allow_unsigned: Restore unsigned files although the settings name a key.
        patience: The timeout of recovery, in minutes.
        eds: The program that PostgreSQL runs; by default that of this package, which the user of PostgreSQL
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
        into: The URL of an existing, empty database.
        dump: The dump; the newest one by default.
        allow_unsigned: Restore an unsigned dump although the settings name a key.
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
        data: The data directory of the copy.
        take_over: Take over the archive of the original, which must be stopped for good.
        eds: The program that PostgreSQL runs; by default that of this package, which the user of PostgreSQL
            must be able to run.
        config: The settings file.
    """
    options: dict[str, object] = {"data": data, "take_over": take_over, "eds": eds, "config": config}
    return _ask(Adoption, "adopted", "ops adopt", options)


def sign_archive(*, apply: bool = False, config: Path | None = None) -> SignedArchive:
    """Shows the signatures of the objects that name the archive's owner, and with `apply` signs them.

    Args:
        apply: Sign them as they are; otherwise nothing is changed.
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
    payload_store: str | None = None,
    progress: str | None = None,
    config: Path | None = None,
) -> Checklist:
    """Runs the checklist after a restore.

    Args:
        heads: An earlier snapshot of heads, as `eds heads` wrote it.
        keys: Key ring; by default the keys that are registered in the ledger.
        start_heads: For chains that do not begin at sequence 1, the heads before their first record.
        scheme: The scheme of keys that do not name one.
        target_time: The recovery target, with its zone.
        alertmanager: URL of an Alertmanager to ask for silences.
        ledger: The ledger; that of the settings by default.
        payload_store: The payload store; that of the settings by default.
        progress: Show progress on stderr: `auto`, `always` or `never`.
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
        "payload_store": payload_store,
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
    """Checks the setup of the bucket of payloads, or of the archive, and with `apply` completes it.

    Args:
        bucket: `s3://BUCKET`; by default that of `payloads` in the settings, or of `ops.archive`.
        retention_days: Days for which no user can delete a new version; never fewer than now.
        archive: The bucket holds the archive.
        apply: Change the bucket; otherwise nothing is changed.
        replicate_to: ARN of a bucket to which the store replicates.
        replication_role: ARN of the role that replicates.
        policies: Directory for policies of least privilege, one for each role.
        lock_existing: Check all payloads that were stored before, and with `apply` lock them.
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
    """Checks the protection of the bucket of payloads, or of the archive, by trying to break it.

    Args:
        bucket: `s3://BUCKET`; by default that of `payloads` in the settings, or of `ops.archive`.
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
    backup: Path | None = None,
    apply: bool = False,
    ledger: str | None = None,
    payload_store: str | None = None,
    config: Path | None = None,
) -> PayloadRecovery:
    """Restores deleted or overwritten payloads of devices, from S3 or from a copy of the directory.

    Args:
        device_id: The device; or use `all_` or `devices`.
        all_: Restore the payloads of every device in the ledger.
        devices: File with the ids of devices, one per line.
        from_: The lowest sequence.
        to: The highest sequence.
        backup: A copy of the payload directory, with files, packs or both, if the payloads are in one.
        apply: Restore them; otherwise nothing is changed.
        ledger: The ledger; that of the settings by default.
        payload_store: The payload store; that of the settings by default.
        config: The settings file.
    """
    options: dict[str, object] = {
        "all_": all_,
        "devices": devices,
        "from_": from_,
        "to": to,
        "backup": backup,
        "apply": apply,
        "ledger": ledger,
        "payload_store": payload_store,
        "config": config,
    }
    return _ask(PayloadRecovery, "payloads", "ops restore-object", options, device_id)


def drills() -> tuple[DrillPlan, ...]:
    """Lists the drills, with the programs that they need and their paths."""
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
    """Runs every drill, one after the other.

    Args:
        short: Use few records, a short load and one alert.
        postgres_bin: Directory of the programs of PostgreSQL; by default the newest installed version.
        weed: The program `weed` of SeaweedFS.
        eds: The program that PostgreSQL runs; by default that of this package, which the user of PostgreSQL
            must be able to run.
        report_dir: Directory for the report of this run.
        sign_key: Seed file of the key to sign the report with.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days to keep the report.
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
        load: Records of the load before the crash and after each step.
        asynchronous: Use an asynchronous standby: records are lost, and the drill fails.
        postgres_bin: Directory of the programs of PostgreSQL; by default the newest installed version.
        cluster: Settings whose ledger names a running primary and standby.
        stop_command: Stops the primary of the cluster like a crash.
        fence_command: Prevents the stopped primary from accepting writes when it starts again.
        promote_command: Promotes the standby; `pg_promote` by default.
        rejoin_command: Starts the old primary as a standby of the new one.
        start_command: Starts the primary unchanged if it cannot be fenced.
        yes: Confirm that the drill may touch your own systems; from Python there is no prompt.
        report_dir: Directory for the report of this run.
        sign_key: Seed file of the key to sign the report with.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days to keep the report.
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
        records: Records before the recovery target.
        archive: Settings whose archive is restored instead of one that the drill creates.
        back: The age of the recovery target, in seconds.
        heads: An earlier snapshot of heads, as `eds heads` wrote it.
        keys: Key ring; by default the keys that are registered in the ledger.
        start_heads: For chains that do not begin at sequence 1, the heads before their first record.
        scheme: The scheme of keys that do not name one.
        postgres_bin: Directory of the programs of PostgreSQL; by default the newest installed version.
        weed: The program `weed` of SeaweedFS.
        eds: The program that PostgreSQL runs; by default that of this package, which the user of PostgreSQL
            must be able to run.
        commit: First commit a transaction on the server of the archive.
        yes: Confirm that the drill may touch your own systems; from Python there is no prompt.
        report_dir: Directory for the report of this run.
        sign_key: Seed file of the key to sign the report with.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days to keep the report.
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
    """Loses the primary with its disk between two archived segments, and measures the loss.

    Args:
        seconds: Duration of the load before the crash.
        archive_timeout: `archive_timeout` of the primary, in seconds.
        postgres_bin: Directory of the programs of PostgreSQL; by default the newest installed version.
        weed: The program `weed` of SeaweedFS.
        eds: The program that PostgreSQL runs; by default that of this package, which the user of PostgreSQL
            must be able to run.
        report_dir: Directory for the report of this run.
        sign_key: Seed file of the key to sign the report with.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days to keep the report.
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
    """Deletes and overwrites payloads in S3, and restores them from their versions.

    Args:
        records: The number of records with a payload.
        weed: The program `weed` of SeaweedFS.
        bucket: Settings with the payload bucket of a site.
        yes: Confirm that the drill may touch your own systems; from Python there is no prompt.
        report_dir: Directory for the report of this run.
        sign_key: Seed file of the key to sign the report with.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days to keep the report.
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
        within: The deadline for each alert, in seconds.
        scrape_interval: The scrape interval of the drill's own Prometheus, in seconds.
        rules: Rules for the drill's own Prometheus.
        prometheus: URL of a running Prometheus.
        alertmanager: URL of the Alertmanager of this Prometheus.
        listen: Address of the drill's metrics, for a running Prometheus.
        webhook: Address of the drill's webhook, for a running Alertmanager.
        report_dir: Directory for the report of this run.
        sign_key: Seed file of the key to sign the report with.
        sign_config: Settings file whose `ops.signing_key` signs the report, if it names one.
        keep_days: Days to keep the report.
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
    public_key: str | None = None,
    remove_expired: bool = False,
    markdown: Path | None = None,
    html: Path | None = None,
) -> Quarter:
    """Summarizes the drills of a quarter from the reports in a directory.

    Args:
        folder: The directory of the reports, as in `report_dir` of the drills.
        quarter: Its name, such as `2026Q4`; the current one by default.
        last_quarter: Report on the quarter before the current one.
        public_key: Only reports that are signed with it count.
        remove_expired: Remove reports at the end of their retention.
        markdown: File for the report in Markdown.
        html: File for the report as an HTML page.
    """
    options: dict[str, object] = {
        "quarter": quarter,
        "last_quarter": last_quarter,
        "public_key": public_key,
        "remove_expired": remove_expired,
        "markdown": markdown,
        "html": html,
    }
    return _ask(Quarter, "quarter", "drill report", options, folder)


def drill_verify_report(report: Path, *, public_key: str) -> SignedReport:
    """Verifies that the report of a drill is signed with a key.

    Args:
        report: The report, NAME.json, with its signature NAME.json.sig beside it.
        public_key: The public key of operations.
    """
    return _ask(SignedReport, "report", "drill verify-report", {"public_key": public_key}, report)
