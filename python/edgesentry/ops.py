"""Operations from Python: backup and restore, drills, and the bucket of payloads.

Each function runs the command `eds` of this package in a process of its own, so that Ctrl-C and the servers
of a drill are its business, and answers what the command answers with `--json`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from os import PathLike, fspath
from typing import Any

from edgesentry.exceptions import ConfigError, EdgesentryError

__all__ = [
    "backup",
    "backups",
    "check_archive",
    "configure_postgres",
    "drill",
    "drill_report",
    "dump",
    "restore",
    "restore_objects",
    "retention",
    "s3_check",
    "s3_setup",
    "verify_backup",
    "verify_recovery",
]

_USAGE = 2


def _run(arguments: Iterable[str], content: str) -> Any:
    command = [sys.executable, "-m", "edgesentry", "--json", *arguments]
    # PostgreSQL archives and recovers with the command of this package, which may be in no PATH.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    ended = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    try:
        envelope = json.loads(ended.stdout)
    except ValueError:
        raise EdgesentryError(f"eds has ended with {ended.returncode} and no answer") from None
    if error := envelope.get("error"):
        raise (ConfigError if ended.returncode == _USAGE else EdgesentryError)(error["message"])
    return envelope[content]


def _options(options: dict[str, object]) -> list[str]:
    arguments = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            arguments.append(flag)
        elif value is not None and value is not False:
            arguments += [flag, fspath(value) if isinstance(value, PathLike) else str(value)]
    return arguments


def backup(**options: object) -> dict[str, Any]:
    """Takes a base backup, proves it and archives it.

    Args:
        options: `config`, the settings file.

    Returns:
        Its manifest: `id`, `finished_at_ms`, `first_segment`, `files` and more.

    Raises:
        ConfigError: A setting or a program is missing or wrong.
        EdgesentryError: It could not be finished; nothing half of it is listed.
    """
    answer: dict[str, Any] = _run(["ops", "backup", *_options(options)], "backup")
    return answer


def dump(**options: object) -> dict[str, Any]:
    """Takes a logical dump and archives it.

    Args:
        options: `config`.
    """
    answer: dict[str, Any] = _run(["ops", "dump", *_options(options)], "dump")
    return answer


def backups(**options: object) -> dict[str, Any]:
    """What the archive holds: `backups` with age and covered log, `dumps`, `newest_log_at_ms`.

    Args:
        options: `config`.
    """
    answer: dict[str, Any] = _run(["ops", "backups", *_options(options)], "archive")
    return answer


def verify_backup(backup_id: str | None = None, **options: object) -> dict[str, Any]:
    """Downloads a backup, compares its hashes and lets PostgreSQL prove it again.

    Args:
        backup_id: The backup; the newest where none is named.
        options: `dump=True` for a dump, `config`.

    Returns:
        The checklist: `status` and `checks`.
    """
    name = [backup_id] if backup_id is not None else []
    answer: dict[str, Any] = _run(["ops", "verify-backup", *name, *_options(options)], "checklist")
    return answer


def check_archive(**options: object) -> dict[str, Any]:
    """Looks for write-ahead log that is missing; the checklist, with the missing ranges.

    Args:
        options: `config`.
    """
    answer: dict[str, Any] = _run(["ops", "check-archive", *_options(options)], "checklist")
    return answer


def retention(*, apply: bool = False, **options: object) -> dict[str, Any]:
    """What the archive no longer needs, and why.

    Args:
        apply: Delete it; without it nothing is deleted.
        options: `backups` and `dumps`, days that they are kept, and `config`.
    """
    answer: dict[str, Any] = _run(["ops", "retention", *_options({"apply": apply, **options})], "retention")
    return answer


def configure_postgres(*, apply: bool = False, **options: object) -> dict[str, Any]:
    """Compares the settings of PostgreSQL with what archiving needs.

    Args:
        apply: Change what differs; a restart is left to the caller.
        options: `archive_timeout`, `standby`, `eds` (the program that PostgreSQL archives with; that of this
            package by default), `config`.
    """
    flags = _options({"apply": apply, **options})
    answer: dict[str, Any] = _run(["ops", "configure-postgres", *flags], "postgres")
    return answer


def restore(data: str | PathLike[str], port: int, **options: object) -> dict[str, Any]:
    """Restores into an empty folder and starts the server on loopback, where it lives on.

    Args:
        data: The data folder: empty, or not there yet.
        port: The port on loopback.
        options: `target_time` (RFC 3339 with its zone), `target_name`, `backup`, `drill`, `accept_loss`,
            `patience` in minutes, `eds` (the program that PostgreSQL recovers with; that of this package by
            default, which its user must be able to run), `config`.

    Returns:
        What was restored: `pid`, `timeline`, `last_commit`, seconds of each step, `notes`.

    Raises:
        ConfigError: Something is wrong; nothing was touched.
        EdgesentryError: The restore could not be finished, and why; no server is left running.
    """
    flags = _options({"data": fspath(data), "port": port, **options})
    answer: dict[str, Any] = _run(["ops", "restore", *flags], "restored")
    return answer


def verify_recovery(**options: object) -> dict[str, Any]:
    """Goes through the checklist after a restore: each item passes, fails or is unknown, with evidence.

    Args:
        options: `heads` (the snapshot from before the incident), `start_heads`, `ledger`, `keys`, `payloads`,
            `target_time`, `alertmanager`, `config`.
    """
    answer: dict[str, Any] = _run(["ops", "verify-recovery", *_options(options)], "checklist")
    return answer


def drill(name: str, **options: object) -> dict[str, Any]:
    """Holds a drill, such as `db-failover`, or `all`.

    Args:
        name: As `eds drill list` names it.
        options: Those of the command, with underscores: `records=1000`, `report_dir="drills"`, `short=True`.

    Returns:
        The report: `status`, `checks`, `measures` and `timeline`; for `all` the reports under `drills`.

    Raises:
        ConfigError: An option or a program is missing or wrong; nothing was started.
        EdgesentryError: The drill could not finish.
    """
    answer: dict[str, Any] = _run(["drill", name, *_options(options)], "drills" if name == "all" else "drill")
    return answer


def drill_report(folder: str | PathLike[str], **options: object) -> dict[str, Any]:
    """What the drills of a quarter have shown, from the reports in a folder.

    Args:
        folder: As `report_dir` of the drills names it.
        options: `quarter="2026Q4"`, `last_quarter=True`, `markdown=FILE`, `html=FILE`.
    """
    answer: dict[str, Any] = _run(["drill", "report", fspath(folder), *_options(options)], "quarter")
    return answer


def s3_setup(bucket: str, retention_days: int, *, apply: bool = False, **options: object) -> dict[str, Any]:
    """Compares the bucket of payloads with how it must be, and with `apply` sets it up.

    Args:
        bucket: `s3://BUCKET`.
        retention_days: Days that every payload is kept from everybody; never fewer than now.
        apply: Do it; without it nothing is changed.
        options: `replicate_to`, `replication_role`, `policies`, `config`.
    """
    flags = _options({"retention_days": retention_days, "apply": apply, **options})
    answer: dict[str, Any] = _run(["ops", "s3-setup", bucket, *flags], "setup")
    return answer


def s3_check(bucket: str, **options: object) -> dict[str, Any]:
    """What the bucket of payloads really holds to, found out by trying it.

    Args:
        bucket: `s3://BUCKET`.
        options: `retention_days`, `config`.
    """
    answer: dict[str, Any] = _run(["ops", "s3-check", bucket, *_options(options)], "checklist")
    return answer


def restore_objects(device_id: str, *, apply: bool = False, **options: object) -> dict[str, Any]:
    """Brings payloads of a device back that were deleted or overwritten in S3.

    Args:
        device_id: The device.
        apply: Do it; without it nothing is changed.
        options: `ledger`, `payloads`, `config`, and `to`; `from` of the command is `**{"from": 17}`.
    """
    flags = _options({"apply": apply, **options})
    answer: dict[str, Any] = _run(["ops", "restore-object", device_id, *flags], "payloads")
    return answer
