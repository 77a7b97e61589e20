"""A process that is killed, stopped and started again, as by a supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

RESTART_PAUSE_S = 0.2
# A process dies with its parent, even if the parent is killed.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


class Service:
    """A process that runs until it is stopped, with any number of restarts."""

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        log: Path,
        env: Mapping[str, str] | None = None,
        *,
        before: Callable[[], None] | None = None,
        lives_on: bool = True,
    ) -> None:
        self.name = name
        self.log = log
        # Exit codes of unrequested ends of the process; negative ones are signals.
        self.ends: list[int] = []
        self.runs = asyncio.Event()
        self._command = command
        self._env = {**os.environ, **(env or {})}
        self._before = before
        # True if the process restarts after an unrequested end with exit code 0.
        self._lives_on = lives_on
        self._process: asyncio.subprocess.Process | None = None
        self._allowed = asyncio.Event()
        self._allowed.set()
        self._asked = False
        self._given_up = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the process."""
        self._task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        while True:
            await self._allowed.wait()
            if self._before is not None:
                self._before()
            self._asked = False
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._env,
                    start_new_session=True,
                )
            self.runs.set()
            code = await self._process.wait()
            self.runs.clear()
            if not self._asked:
                self.ends.append(code)
                if code == 0 and not self._lives_on:
                    return
            await asyncio.sleep(RESTART_PAUSE_S)

    @property
    def pid(self) -> int | None:
        """Its running process, if there is one."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def finished(self) -> None:
        """Waits for an end without a restart."""
        assert self._task is not None
        await self._task

    async def kill(self) -> None:
        """Kills the process and its descendants; it does not restart before `allow`."""
        self._allowed.clear()
        self._asked = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        # Stopped first, so that it starts nothing meanwhile.
        _send(process.pid, signal.SIGSTOP)
        family = descendants(process.pid)
        for pid in (process.pid, *family):
            _send(pid, signal.SIGKILL)
        await process.wait()
        while any(lives(pid) for pid in family):
            await asyncio.sleep(0.01)

    async def terminate(self, timeout_s: float) -> int | None:
        """Asks the process to end; returns its exit code or `None`. No restart before `allow`."""
        self._allowed.clear()
        self._asked = True
        process = self._process
        if process is None or process.returncode is not None:
            return 0
        _send(process.pid, signal.SIGTERM)
        try:
            return await asyncio.wait_for(process.wait(), timeout_s)
        except TimeoutError:
            return None

    def allow(self) -> None:
        """Allows a restart, unless the process was abandoned."""
        if not self._given_up:
            self._allowed.set()

    async def give_up(self) -> None:
        """Kills it without a restart."""
        self._given_up = True
        await self.kill()

    def hold(self, number: signal.Signals) -> None:
        """Sends SIGSTOP or SIGCONT to the process and its descendants."""
        if self.pid is not None:
            for pid in (self.pid, *descendants(self.pid)):
                _send(pid, number)

    async def end(self) -> None:
        """Kills it without a restart."""
        self.hold(signal.SIGCONT)
        await self.kill()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


def descendants(pid: int) -> list[int]:
    """Returns all descendants of a process."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            # The name in parentheses may hold spaces.
            fields = status.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, open_ = [], [pid]
    while open_:
        children = parents.get(open_.pop(), [])
        found += children
        open_ += children
    return found


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def lives(pid: int) -> bool:
    """Returns True if a process has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
