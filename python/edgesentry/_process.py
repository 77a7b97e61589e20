"""The command `eds` as a process of its own, which ends when this one no longer waits for it."""

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
    """Runs `eds` to its end; its exit code and what it wrote to stdout.

    If the wait is interrupted, as by Ctrl-C, `eds` is asked to end, cleans up, and is waited for; asked a
    second time, it ends at once. If this process is killed, `eds` ends as well.
    """
    command = [sys.executable, "-c", _FOLLOW, "--json", *arguments]
    # PostgreSQL archives and recovers with the command of this package, which may be in no PATH.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    # Only this process has the end that is written to, and the system closes it when this process ends.
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
        # Ctrl-C, or what a handler of another signal raises. From a terminal `eds` has heard Ctrl-C itself,
        # and takes this for the same.
        except BaseException as raised:
            interruption = interruption or raised
            process.terminate()
    if interruption is not None:
        raise interruption
    return code, "".join(stdout)


def follow() -> None:
    """Runs `eds` with the arguments of this process until whoever holds the other end of stdin ends."""
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
