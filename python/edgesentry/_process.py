"""Runs the command `eds` in a separate process, which ends when this one no longer waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable

_FOLLOW = "import edgesentry._process as process; process.follow()"


def run(arguments: Iterable[str]) -> tuple[int, str]:
    """Runs `eds` to its end; returns its exit code and its output on stdout.

    If the wait is interrupted, as by Ctrl-C, `eds` is asked to end, cleans up, and is waited for; a second
    interrupt ends it at once. If this process is killed, `eds` ends as well.
    """
    command = [sys.executable, "-c", _FOLLOW, "--json", *arguments]
    # PostgreSQL archives and recovers with the command of this package, which may not be in PATH.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    # Only this process has the write end of the pipe; the system closes it when this process ends.
    alive, held = os.pipe()
    try:
        with subprocess.Popen(
            command, stdin=alive, stdout=subprocess.PIPE, text=True, env={**os.environ, "PATH": path}
        ) as process:
            return _wait(process)
    finally:
        os.close(alive)
        os.close(held)


def _wait(process: subprocess.Popen[str]) -> tuple[int, str]:
    stdout: list[str] = []

    def read() -> None:
        if process.stdout is not None:
            stdout.append(process.stdout.read())

    reader = threading.Thread(target=read, daemon=True)
    interruption: BaseException | None = None
    reader.start()
    while True:
        try:
            code = process.wait()
            reader.join()
            break
        # Ctrl-C, or an exception of another signal handler. A terminal sends Ctrl-C to `eds` as well,
        # which takes this signal for the same one.
        except BaseException as raised:
            interruption = interruption or raised
            process.terminate()
    if interruption is not None:
        raise interruption
    return code, "".join(stdout)


def follow() -> None:
    """Runs `eds` with the arguments of this process, and ends it when the other end of stdin is closed."""
    alive = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def watch() -> None:
        while os.read(alive, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    from edgesentry._cli import main

    main()
