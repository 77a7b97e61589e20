"""Databases for the time of a test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, unquote, urlencode

# The limit of one statement, in seconds.
_TIMEOUT_SECONDS = 60
# Names of edgesentry for parameters of libpq; psql refuses others, such as statement-cache-capacity.
_PARAMETERS = {
    "ssl-mode": "sslmode",
    "ssl-root-cert": "sslrootcert",
    "ssl-ca": "sslrootcert",
    "ssl-cert": "sslcert",
    "ssl-key": "sslkey",
    **{name: name for name in ("host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "user")},
}
# The host part may have several hosts with ports, which urllib does not read.
_URL = re.compile(r"(?P<scheme>postgres(?:ql)?://)(?P<authority>[^/?#]*)(?:/[^?#]*)?(?P<query>\?[^#]*)?")


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """Creates a database on a PostgreSQL server and yields its URL; drops it at the end, even if in use.

    Args:
        server: `postgres://user:password@host/database`.
        name: The name of the database: letters, digits and underscores.
    """
    # The arguments have the password.
    __tracebackhide__ = True
    url = _URL.fullmatch(server)
    if url is None:
        raise ValueError("expected a URL postgres://user:password@host/database")
    _psql(server, f"CREATE DATABASE {name}")
    try:
        yield f"{url['scheme']}{url['authority']}/{name}{url['query'] or ''}"
    finally:
        _psql(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _psql(server: str, statement: str) -> None:
    __tracebackhide__ = True
    if shutil.which("psql") is None:
        raise RuntimeError("psql is missing; install it (on Debian: apt install postgresql-client)")
    place, password = _without_password(server)
    environment = {"PGCONNECT_TIMEOUT": "10", "PGTARGETSESSIONATTRS": "read-write", **os.environ}
    if password is not None:
        # Not as an argument, which every user of the machine can read.
        environment["PGPASSWORD"] = password
    command = ["psql", "--no-psqlrc", "--no-password", "--quiet", "--dbname", place, "--command", statement]
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"psql cannot run {statement}: {done.stderr.strip()}")


def _without_password(server: str) -> tuple[str, str | None]:
    """Returns the URL for psql, and the password."""
    url = _URL.fullmatch(server)
    assert url is not None
    login, at, hosts = url["authority"].rpartition("@")
    user, colon, text = login.partition(":")
    password = unquote(text) if colon else None
    query = parse_qsl((url["query"] or "?")[1:], keep_blank_values=True)
    password = next((value for key, value in query if key == "password"), password)
    kept = [(_PARAMETERS[key], value) for key, value in query if key in _PARAMETERS]
    database = re.sub(r"[?#].*", "", server[len(url["scheme"]) + len(url["authority"]) :])
    parameters = f"?{urlencode(kept)}" if kept else ""
    return f"{url['scheme']}{user}{at}{hosts}{database}{parameters}", password
