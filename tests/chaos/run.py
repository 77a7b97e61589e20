"""Runs one schedule: `run.py SEED --template DIR [--keep DIR]`. Exit code 0 if everything holds, 1 if not.

If permitted, it runs in its own namespaces: when it ends, even by SIGKILL, the kernel ends every process,
mount and network of the schedule. Otherwise hosts are loopback addresses, no packet is dropped
and no disk fills.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from arena import EDS, NODE_PORT, ROOT, Arena
from checker import check
from relay import Faults
from schedule import NAMED, WINDOW_S, Event, Schedule, draw
from service import DIES_WITH_PARENT

INSIDE = "EDGESENTRY_CHAOS_INSIDE"
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# A directory of every system: in a separate mount namespace no other process sees it.
MOUNTED = Path("/mnt")
TEMPORARY = Path("/tmp")
MEMORY_BYTES = 1 << 30
# Time for which records are sent after the start of the last fault.
AFTERWARDS_S = 0.5
# Timeout for sending the waiting records after all faults, and for the end of a node after a signal.
RECOVERY_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 60.0
START_TIMEOUT_S = 240.0
AUDIT_PAUSE_S = 0.6
# The length of each log that is shown after a failure.
LOG_BYTES = 3000


class Run:
    """A running schedule."""

    def __init__(self, schedule: Schedule, arena: Arena) -> None:
        self.schedule = schedule
        self.arena = arena
        self.faults: list[str] = []
        self.snapshots: list[Path] = []
        self.audits: dict[str, int] = {}
        self.begin = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._auditing = True

    def say(self, text: str) -> None:
        """Adds an entry to the timeline."""
        print(f"{time.monotonic() - self.begin:7.2f} s  {text}", flush=True)

    def fault(self, text: str) -> None:
        """Reports a violation."""
        self.say(f"FAULT: {text}")
        self.faults.append(text)

    async def go(self) -> None:
        """Runs from the first record to the last check."""
        await asyncio.wait_for(self.arena.start(), START_TIMEOUT_S)
        self.say("everything runs")
        self.begin = time.monotonic()
        auditor = asyncio.create_task(self._audit())
        await asyncio.gather(*(self._at(event) for event in self.schedule.events))
        await asyncio.sleep(max(0.0, WINDOW_S + AFTERWARDS_S - (time.monotonic() - self.begin)))
        self.arena.heal()
        self.say("all faults are over")
        try:
            await asyncio.wait_for(self._recover(), RECOVERY_TIMEOUT_S)
        except TimeoutError:
            self.fault(
                f"the devices have not sent everything {RECOVERY_TIMEOUT_S:.0f} s after the last fault"
            )
        self._auditing = False
        await auditor
        await self._stop_nodes()
        self._look_at_ends()
        found, claims = await asyncio.to_thread(check, self.arena, self.snapshots)
        for text in found:
            self.fault(text)
        acknowledged = sum(len(names) for names in claims.acknowledged.values())
        self.say(
            f"{len(claims.signed)} records signed, {acknowledged} acknowledged, "
            f"{len(self.snapshots)} snapshots of heads, exit codes of eds heads: {self.audits}"
        )
        if not acknowledged or not self.snapshots:
            self.fault("nothing was acknowledged, or the auditor has seen nothing: nothing was tried")

    async def _recover(self) -> None:
        (self.arena.folder / "stop").touch()
        await asyncio.gather(
            *(self.arena.services[device.name].finished() for device in self.schedule.devices)
        )
        self.say("every device has sent everything")
        for node in self.schedule.nodes:
            if node not in self.arena.fenced:
                await self.arena.answers(self.arena.host(node).address, NODE_PORT)
        # Takes another snapshot, in which every head must extend those of the auditor.
        while not await self._take_heads(last=True):
            await asyncio.sleep(0.2)

    async def _stop_nodes(self) -> None:
        for name in self.schedule.nodes:
            if name in self.arena.fenced:
                continue
            code = await self.arena.services[name].terminate(STOP_TIMEOUT_S)
            # 3: a request was cut off that will never be complete.
            cut_off = any(event.kind == "forget" and name in event.target for event in self.schedule.events)
            if code != 0 and not (code == 3 and cut_off):
                self.fault(
                    f"{name} answered SIGTERM with {'no end' if code is None else f'exit code {code}'}"
                )

    def _look_at_ends(self) -> None:
        for name, service in self.arena.services.items():
            if name.startswith("node-"):
                # 3: the ledger could not be reached at a start; the supervisor starts it again.
                bad = [code for code in service.ends if code != 3]
                text = service.log.read_text(errors="replace") if service.log.exists() else ""
                if bad or "panicked" in text:
                    self.fault(f"{name} ended by itself with {bad}, or panicked")
            elif name.startswith("device-") and any(service.ends):
                self.fault(f"{name} ended by itself with {service.ends}")

    async def _audit(self) -> None:
        while self._auditing:
            await self._take_heads(last=False)
            await asyncio.sleep(AUDIT_PAUSE_S)

    async def _take_heads(self, *, last: bool) -> bool:
        arena = self.arena
        path = arena.folder / f"heads-{len(self.snapshots):03}.json"
        store = arena.ledger_url("auditor")
        command = ["heads", "--ledger", store, "-o", str(path), "--history", str(arena.folder / "history")]
        # The earlier heads are extended, or it is a finding. Devices resend records that only the lost
        # primary had; until then a chain may be shorter than in the auditor's snapshot.
        before = self.snapshots[-1] if self.snapshots else None
        if before is not None and (last or not self.schedule.fails_over):
            shutil.copy(before, path)
        code, text = await self._command("auditor", command, 60.0)
        self.audits[str(code)] = self.audits.get(str(code), 0) + 1
        if code == 0:
            self.snapshots.append(path)
            return True
        path.unlink(missing_ok=True)
        if code == 1:
            self.fault(f"the auditor's heads are not extended: {text}")
            return True
        if code not in (3, -9):
            self.fault(f"the auditor's command ended with {code}: {text}")
            return True
        return False

    async def _command(self, host: str, arguments: list[str], timeout_s: float) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(*self.arena.host(host).prefix, *DIES_WITH_PARENT, str(EDS), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), timeout_s)
        except TimeoutError:
            process.kill()
            await process.wait()
            return -9, "no answer"
        return process.returncode, out.decode(errors="replace")

    async def _at(self, event: Event) -> None:
        await asyncio.sleep(max(0.0, event.at_s - (time.monotonic() - self.begin)))
        if not self.arena.network.has_packets and (event.kind in ("unplug", "full")):
            self.say(f"not tried without namespaces: {event}")
            return
        self.say(str(event))
        try:
            await HANDLERS[event.kind](self, event)
        except asyncio.CancelledError:
            raise
        except Exception:
            self.fault(f"the harness failed at {event}: {traceback.format_exc()}")

    async def relay(self, event: Event) -> None:
        """Applies faults of a relay."""
        relay = self.arena.relays[event.target]
        ways = {"there": {"there"}, "back": {"back"}, "both": {"there", "back"}}[event.way]
        match event.kind:
            case "delay":
                changed = replace(relay.faults, delay_s=event.amount)
            case "loss":
                changed = replace(relay.faults, loss=event.amount)
            case "break":
                changed = replace(relay.faults, break_after=int(event.amount))
            case "reset":
                relay.reset()
                changed = replace(relay.faults, refuse=True)
            case _:
                changed = replace(relay.faults, stalled=ways)
        relay.set(changed)
        await asyncio.sleep(event.lasts_s)
        # The fault of another event on the same edge may end early with it.
        relay.set(Faults())

    async def drop(self, event: Event) -> None:
        """Packets that never arrive."""
        network, relay = self.arena.network, self.arena.relays[event.target]
        if not network.has_packets:
            await self.relay(replace(event, kind="stall"))
            return
        client, server = (self.arena.host(name).address for name in event.target.split(">"))
        middle = relay.listen[0]
        pairs = {"there": [(client, middle), (middle, server)], "back": [(server, middle), (middle, client)]}
        for pair in [*pairs["there"], *pairs["back"]] if event.way == "both" else pairs[event.way]:
            network.drop(*pair)
        await asyncio.sleep(event.lasts_s)
        # The dropped packets of other events end with it.
        network.pass_all_packets()

    async def unplug(self, event: Event) -> None:
        """Takes a link down."""
        self.arena.network.link(event.target, "down")
        await asyncio.sleep(event.lasts_s)
        if event.target not in self.arena.fenced:
            self.arena.network.link(event.target, "up")

    async def kill(self, event: Event) -> None:
        """kill -9."""
        service = self.arena.services[event.target]
        await service.kill()
        await asyncio.sleep(event.lasts_s)
        service.allow()

    async def pause(self, event: Event) -> None:
        """Stops a process for a while."""
        service = self.arena.services[event.target]
        service.hold(signal.SIGSTOP)
        await asyncio.sleep(event.lasts_s)
        service.hold(signal.SIGCONT)

    async def stop(self, event: Event) -> None:
        """Restarts a process like an operator."""
        service = self.arena.services[event.target]
        ready = service.runs.is_set()
        code = await service.terminate(STOP_TIMEOUT_S)
        # -15 and 130: it was starting, or waiting for its ledger. -9: another event has killed it meanwhile.
        if ready and code not in (0, 3, 130, -15, -9):
            self.fault(f"{event.target} answered SIGTERM with {code}")
        await asyncio.sleep(event.lasts_s)
        service.allow()

    async def clock(self, event: Event) -> None:
        """Steps the time of day, and back."""
        self.arena.set_clock(event.target, event.amount)
        await asyncio.sleep(event.lasts_s)
        self.arena.set_clock(event.target, 0)

    async def full(self, event: Event) -> None:
        """Fills a disk for a while."""
        self.arena.fill(event.target)
        await asyncio.sleep(event.lasts_s)
        self.arena.free(event.target)

    async def forget(self, event: Event) -> None:
        """Stops forwarding on open connections; new ones work."""
        self.arena.relays[event.target].forget()

    async def lose(self, event: Event) -> None:
        """Loses a node like a power failure of its machine."""
        holding_locks = event.amount > 0 and self.arena.network.has_packets
        await self.arena.lose(event.target, holding_locks=holding_locks)

    async def failover(self, event: Event) -> None:
        """Fails over as in the runbook: the primary is fenced, then the standby promoted."""
        await self.arena.give_up_primary(killed=event.way == "there", say=self.say)


HANDLERS: dict[str, Callable[[Run, Event], Awaitable[None]]] = {
    **dict.fromkeys(("delay", "loss", "reset", "break", "stall"), Run.relay),
    "drop": Run.drop,
    "unplug": Run.unplug,
    "kill": Run.kill,
    "pause": Run.pause,
    "stop": Run.stop,
    "clock": Run.clock,
    "full": Run.full,
    "forget": Run.forget,
    "lose": Run.lose,
    "failover": Run.failover,
}


def end_with_parent(task: asyncio.Task[bool]) -> None:
    """Cancels a task at SIGTERM and SIGINT, and if the pipe at standard input closes: the caller ended."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        loop.call_soon_threadsafe(task.cancel)

    threading.Thread(target=watch, daemon=True).start()


def mount_private(needed: list[Path]) -> None:
    """Mounts directories in memory that no other process sees, and keeps the required files that they hide.

    SeaweedFS names its sockets in /tmp by its ports, which are the same in every schedule.
    """

    def mount(*arguments: str | Path) -> None:
        subprocess.run(["mount", *arguments], check=True)

    for place, size in ((MOUNTED, MEMORY_BYTES), (Path("/dev/shm"), 64 << 20)):
        mount("-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", place)
    outside = MOUNTED / "outside"
    outside.mkdir()
    mount("--bind", TEMPORARY, outside)
    mount("-t", "tmpfs", "-o", "size=64m,mode=1777", "tmpfs", TEMPORARY)
    for path in needed:
        if path.is_relative_to(TEMPORARY) and not path.exists():
            inside = path if (outside / path.relative_to(TEMPORARY)).is_dir() else path.parent
            inside.mkdir(parents=True, exist_ok=True)
            mount("--bind", outside / inside.relative_to(TEMPORARY), inside)
    subprocess.run(["umount", outside], check=True)
    outside.rmdir()


async def run(seed: str, template: Path, keep: Path | None, *, namespaces: bool) -> bool:
    """Runs a schedule and prints its timeline; returns True if every check passed."""
    schedule = NAMED[seed]() if seed in NAMED else draw(int(seed))
    folder = MOUNTED if namespaces else Path(tempfile.mkdtemp(prefix="edgesentry-chaos-"))
    if namespaces:
        needed = [ROOT, Path(sys.prefix), Path(sys.base_prefix), template, *([keep] if keep else [])]
        mount_private(needed)
    folder.chmod(0o755)
    begin = time.monotonic()
    where = "network namespaces" if namespaces else "loopback addresses: no packets dropped, no disks full"
    print(f"seed {seed} on {where}; again: EDGESENTRY_CHAOS_SEED={seed} make test-chaos")
    print(schedule, flush=True)
    arena = Arena(schedule, folder, template, namespaces=namespaces)
    this = Run(schedule, arena)
    try:
        await this.go()
    except Exception:
        this.fault(f"the harness failed: {traceback.format_exc()}")
    finally:
        if this.faults:
            tell_logs(folder)
        await arena.end()
        if keep is not None:
            shutil.rmtree(keep / f"seed-{seed}", ignore_errors=True)
            shutil.copytree(
                folder, keep / f"seed-{seed}", ignore=shutil.ignore_patterns("filler", "s3", "data")
            )
        if not namespaces:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"seed {seed}: {'FAILED' if this.faults else 'survived'} in {time.monotonic() - begin:.1f} s")
    print(*(f"FAULT: {text}" for text in this.faults), sep="\n")
    return not this.faults


def tell_logs(folder: Path) -> None:
    """Prints the ends of all logs."""
    for log in sorted((folder / "logs").glob("*.log")):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            print(f"--- the end of {log.name}", file.read().decode(errors="replace"), sep="\n")


def can_unshare() -> bool:
    """Returns True if namespaces can be created and PostgreSQL runs in them."""
    if os.getuid() != 0:
        return False
    probe = subprocess.run(
        [
            *UNSHARE,
            "sh",
            "-c",
            "mount -t tmpfs tmpfs /mnt && ip link add probe-1 type veth peer name probe-2",
        ],
        capture_output=True,
    )
    return probe.returncode == 0


def main() -> int:
    """Runs the schedule of the command line, in its own namespaces if they can be created."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", help=f"a number, or one of {', '.join(NAMED)}")
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--loopback", action="store_true", help="no namespaces even where they can be made")
    options = parser.parse_args()
    if options.keep is not None:
        options.keep = options.keep.resolve()
        options.keep.mkdir(parents=True, exist_ok=True)
    # Debian has nft and ip in these directories.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    inside = os.environ.get(INSIDE)
    if inside is None and not options.loopback and can_unshare():
        os.environ[INSIDE] = "1"
        os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, *sys.argv])

    async def whole() -> bool:
        running = run(options.seed, options.template.resolve(), options.keep, namespaces=inside is not None)
        task = asyncio.create_task(running)
        end_with_parent(task)
        return await task

    try:
        return 0 if asyncio.run(whole()) else 1
    except asyncio.CancelledError:
        return 130


if __name__ == "__main__":
    sys.exit(main())
