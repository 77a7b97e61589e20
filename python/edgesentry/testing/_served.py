"""A service on the network for a test: `eds serve` in a separate process."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from edgesentry._client import Client
from edgesentry._core import payload_hash
from edgesentry.testing._place import Place

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Served:
    """A running service, with a client and a token.

    Attributes:
        url: Its URL, on this machine only.
        client: A client that sends to it; sending requires no token.
        token: A token with the scope `read`.
        place: Its ledger, to open beside it.
        log: The file with its log and output.
    """

    url: str
    client: Client
    token: str = field(repr=False)
    place: Place
    log: Path

    def read(self, route: str) -> bytes:
        """Returns the response to a GET with the token, such as `served.read("/api/v1/heads")`.

        Raises:
            urllib.error.HTTPError: The service returns an error.
        """
        return _fetch(self.url + route, {"Authorization": f"Bearer {self.token}"})


@contextmanager
def serve(place: Place, folder: Path) -> Iterator[Served]:
    """Runs the service on a ledger until the end of a `with` block, then stops it by SIGTERM.

    It listens on a free port of 127.0.0.1 and reports that it is ready before the block begins. Variables
    `EDS_...` do not reach it.

    Args:
        place: The ledger, which is created if it does not exist.
        folder: The directory for settings and log.

    Raises:
        RuntimeError: It does not become ready, or its exit code is not 0.
    """
    token = f"eds_{secrets.token_hex(32)}"
    settings, log = folder / "edgesentry-server.toml", folder / "edgesentry-server.log"
    settings.touch(mode=0o600)
    settings.write_text(_settings(place, token))
    command = [sys.executable, "-m", "edgesentry", "serve", "--config", str(settings), "--create"]
    theirs = ("EDS_", "RUST_LOG")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment
        )
    try:
        url = _wait_until_ready(process, log)
        with Client(url) as client:
            yield Served(url, client, token, place, log)
        process.terminate()
        _wait_until_gone(process, log)
    finally:
        process.kill()
        process.wait()


def _settings(place: Place, token: str) -> str:
    # A JSON string is a TOML string.
    lines = [f"ledger = {json.dumps(place.url)}", f"payloads = {json.dumps(place.payloads)}"]
    lines += ["[serve]", 'listen = ["127.0.0.1:0"]', "[serve.tokens.reader]", 'scopes = ["read"]']
    lines += [f"hash = {json.dumps(payload_hash(token.encode()).hex())}"]
    # The tables of the settings, such as [s3].
    lines += [place.config.read_text()] if place.config else []
    return "\n".join([*lines, ""])


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Returns its URL as soon as `/readyz` responds."""
    from urllib.error import URLError

    url, deadline = None, time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(
                f"eds serve ended at once, with exit code {process.returncode}: {_last_line(log)}"
            )
        url = url or _listening(log)
        if url is not None:
            try:
                _fetch(f"{url}/readyz", {})
            except (URLError, ConnectionError, TimeoutError):
                pass  # not yet
            else:
                return url
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"eds serve was not ready after {_START_SECONDS:.0f} s: {_last_line(log)}")


def _listening(log: Path) -> str | None:
    for line in log.read_text(errors="replace").splitlines(keepends=True):
        if '"message":"listening"' in line and line.endswith("\n"):
            url: str = json.loads(line)["fields"]["url"]
            return url
    return None


def _wait_until_gone(process: subprocess.Popen[bytes], log: Path) -> None:
    try:
        code = process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(
            f"eds serve did not stop in {_STOP_SECONDS:.0f} s; its log is {log}: {_last_line(log)}"
        ) from None
    if code != 0:
        raise RuntimeError(f"eds serve ended with exit code {code}: {_last_line(log)}")


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]


def _fetch(url: str, headers: dict[str, str]) -> bytes:
    """Reads a URL without a proxy: the service is on this machine."""
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, Request, build_opener

    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(Request(url, headers=headers), timeout=_START_SECONDS) as answer:
            body: bytes = answer.read()
            return body
    except HTTPError as error:
        problem = error.read()
        message = f"{error.reason}: {problem.decode(errors='replace')}"
        raise HTTPError(url, error.code, message, error.headers, BytesIO(problem)) from None
