"""Databases for the time of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

# The limit of one statement, in seconds.
_TIMEOUT_SECONDS = 60


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """Creates a database on a PostgreSQL server and yields its URL; drops it at the end, even if in use.

    Args:
        server: `postgres://user:password@host/database`.
        name: The name of the database: letters, digits and underscores.
    """
    _psql(server, f"CREATE DATABASE {name}")
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        _psql(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _psql(server: str, statement: str) -> None:
    if shutil.which("psql") is None:
        raise RuntimeError("psql is missing; install it (on Debian: apt install postgresql-client)")
    url = urlsplit(server)
    login, at, hosts = url.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    environment = {"PGCONNECT_TIMEOUT": "10", "PGTARGETSESSIONATTRS": "read-write", **os.environ}
    if colon:
        # Not as an argument, which every user of the machine can read.
        environment["PGPASSWORD"] = unquote(password)
    place = url._replace(netloc=f"{user}{at}{hosts}").geturl()
    command = ["psql", "--no-psqlrc", "--quiet", "--dbname", place, "--command", statement]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{hosts}: psql cannot run {statement}: {done.stderr.strip()}")
