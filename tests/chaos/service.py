"""A process that is killed, held and started again, as a supervisor would."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

RESTART_PAUSE_S = 0.2
# A process dies with whoever started it, even if that is killed.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


class Service:
    """A process that runs until it is stopped, in as many lives as it takes."""

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
        # Ends of the process that nobody has asked for, with exit codes: negative ones are signals.
        self.ends: list[int] = []
        self.runs = asyncio.Event()
        self._command = command
        self._env = {**os.environ, **(env or {})}
        self._before = before
        # Whether an end that nobody has asked for, with exit code 0, is followed by another life.
        self._lives_on = lives_on
        self._process: asyncio.subprocess.Process | None = None
        self._allowed = asyncio.Event()
        self._allowed.set()
        self._asked = False
        self._given_up = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins its first life."""
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
        """Its process, if one runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def finished(self) -> None:
        """Waits for an end that is not followed by another life."""
        assert self._task is not None
        await self._task

    async def kill(self) -> None:
        """Kills the process and its descendants; it does not live again before `allow`."""
        self._allowed.clear()
        self._asked = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        # Held first, so that it starts nothing meanwhile.
        _send(process.pid, signal.SIGSTOP)
        family = descendants(process.pid)
        for pid in (process.pid, *family):
            _send(pid, signal.SIGKILL)
        await process.wait()
        while any(lives(pid) for pid in family):
            await asyncio.sleep(0.01)

    async def terminate(self, timeout_s: float) -> int | None:
        """Asks the process to end; its exit code, `None` if it does not end. It rests until `allow`."""
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
        """Lets it live again, unless it was given up."""
        if not self._given_up:
            self._allowed.set()

    async def give_up(self) -> None:
        """Kills it for good."""
        self._given_up = True
        await self.kill()

    def hold(self, number: signal.Signals) -> None:
        """Sends SIGSTOP or SIGCONT to the process and its descendants."""
        if self.pid is not None:
            for pid in (self.pid, *descendants(self.pid)):
                _send(pid, number)

    async def end(self) -> None:
        """Kills it for good."""
        self.hold(signal.SIGCONT)
        await self.kill()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


def descendants(pid: int) -> list[int]:
    """All processes that a process has started, and those that they have started."""
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
    """Whether a process has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
