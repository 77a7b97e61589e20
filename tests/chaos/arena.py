"""The world of a schedule: hosts, disks, PostgreSQL, SeaweedFS, nodes, devices, and the relays between."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import edgesentry
from edgesentry import Device, KeyRing
from network import Host, Loopback, Namespaces, Network
from relay import Faults, Relay
from schedule import Schedule
from service import DIES_WITH_PARENT, Service

ROOT = Path(__file__).parents[2]
EDS = ROOT / "target" / "release" / "eds"
SEAWEEDFS = ROOT / "scripts" / "servers" / "seaweedfs"
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)

# Attempts to leave a transaction open.
MAX_STALLS = 600
NODE_PORT = 8080
POSTGRES_PORT = 5432
S3_PORT = 8333
STANDBY = "standby1"
# The size of a disk; concurrent runs share the memory of a machine.
DISK_BYTES = {
    "ledger": 64 << 20,
    "payloads": 64 << 20,
    "field": 64 << 20,
    "db-1": 192 << 20,
    "db-2": 192 << 20,
}
LIMITS = "[serve.rate]\nrejections_per_second = 0\n"
POSTGRES = {
    "port": str(POSTGRES_PORT),
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "wal_keep_size": "64MB",
    "max_wal_size": "48MB",
    "min_wal_size": "4MB",
    "wal_sender_timeout": "3s",
    "wal_receiver_timeout": "3s",
    "wal_retrieve_retry_interval": "300ms",
    "wal_receiver_status_interval": "1s",
    "dynamic_shared_memory_type": "mmap",
}


class Arena:
    """The processes of a schedule, with their hosts and disks."""

    def __init__(self, schedule: Schedule, folder: Path, template: Path, *, namespaces: bool) -> None:
        self.schedule = schedule
        self.folder = folder
        self.template = template
        self._password = (template / "password").read_text().strip()
        self.mounts = namespaces
        names = [
            *schedule.nodes,
            *schedule.databases,
            "s3",
            "auditor",
            *(device.name for device in schedule.devices),
        ]
        kind = Namespaces if namespaces else Loopback
        self.network: Network = kind(names, len(schedule.edges))
        chance = random.Random(schedule.seed)
        self.relays = {edge: self._relay(edge, chance) for edge in schedule.edges}
        self.services: dict[str, Service] = {}
        self.keys = KeyRing()
        # Hosts that were abandoned.
        self.fenced: set[str] = set()

    def _relay(self, edge: str, chance: random.Random) -> Relay:
        server = edge.partition(">")[2]
        port = {"node": NODE_PORT, "db": POSTGRES_PORT, "s3": S3_PORT}[server.partition("-")[0]]
        listen = (self.network.relay_address(), port)
        return Relay(edge, listen, (self.host(server).address, port), chance)

    def host(self, name: str) -> Host:
        """A host."""
        return self.network.hosts[name]

    def disk(self, name: str) -> Path:
        """Returns the directory of a separate disk."""
        return self.folder / "disks" / name

    def log(self, name: str) -> Path:
        """Returns the log of a process."""
        return self.folder / "logs" / f"{name}.log"

    def _address(self, client: str | None, server: str) -> str:
        return self.relays[f"{client}>{server}"].listen[0] if client else self.host(server).address

    def ledger_url(self, client: str | None = None) -> str:
        """Returns the URL of the ledger for a client: through relays, or from outside past all faults."""
        if self.schedule.ledger == "sqlite":
            return f"sqlite:{self.disk('ledger') / 'ledger.db'}"
        hosts = [f"{self._address(client, database)}:{POSTGRES_PORT}" for database in self.schedule.databases]
        return f"postgres://edgesentry:{self._password}@{','.join(hosts)}/postgres"

    def settings(self, client: str | None = None) -> str:
        """Returns the settings of the stores for a client."""
        lines = [f'ledger = "{self.ledger_url(client)}"']
        match self.schedule.payloads:
            case "ledger":
                lines.append('payloads = "ledger"')
            case "folder":
                lines.append(f'payloads = "folder:{self.disk("payloads")}"')
            case "s3":
                address = self._address(client, "s3")
                lines += [
                    'payloads = "s3://payloads"',
                    "[s3]",
                    f'endpoint = "http://{address}:{S3_PORT}"',
                    'access_key_id = "edgesentry"\nsecret_access_key = "edgesentry-secret"',
                    "timeout_seconds = 2\nattempts = 2",
                ]
        lines.append("[postgres]\ntimeout_seconds = 3\n[ingest]\nattempts = 3")
        return "\n".join(lines) + "\n"

    async def start(self) -> None:
        """Starts all processes and waits until they serve."""
        for name in ("disks", "logs", "devices", "seeds"):
            (self.folder / name).mkdir()
        for name, size in DISK_BYTES.items():
            self.disk(name).mkdir()
            if self.mounts:
                subprocess.run(
                    ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.disk(name)], check=True
                )
        for relay in self.relays.values():
            await relay.start()
        for database in self.schedule.databases:
            self._start_postgres(database)
        if self.schedule.payloads == "s3":
            self._start_s3()
        await self._stores_answer()
        await asyncio.to_thread(self._register)
        for node in self.schedule.nodes:
            self._start_node(node)
        for node in self.schedule.nodes:
            await self.answers(self.host(node).address, NODE_PORT)
        for device in self.schedule.devices:
            self._start_device(device.name, device.sender)

    async def _stores_answer(self) -> None:
        for database in self.schedule.databases:
            while await self.sql(database, "SELECT 1") != "1":
                await asyncio.sleep(0.05)
        if self.schedule.payloads == "s3":
            await self.answers(self.host("s3").address, S3_PORT)
        if len(self.schedule.databases) == 2:
            condition = f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{STANDBY}'"
            while await self.sql("db-1", condition) != "1":
                await asyncio.sleep(0.05)

    async def answers(self, address: str, port: int) -> None:
        """Waits until a process listens at the address."""
        while True:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 2)
            except OSError:
                await asyncio.sleep(0.03)
            else:
                writer.close()
                return

    async def sql(self, database: str, statement: str) -> str:
        """Queries a PostgreSQL, bypassing all faults."""
        process = await asyncio.create_subprocess_exec(
            postgres_programs() / "psql",
            *(
                "-XqAt",
                "-h",
                self.host(database).address,
                "-p",
                str(POSTGRES_PORT),
                "-U",
                "edgesentry",
                "-d",
                "postgres",
            ),
            *("-c", statement),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PGPASSWORD": self._password, "PGCONNECT_TIMEOUT": "10"},
        )
        out, error = await process.communicate()
        return out.decode().strip() if process.returncode == 0 else error.decode()

    def _register(self) -> None:
        settings = self.folder / "stores.toml"
        write_secret(settings, self.settings())
        with edgesentry.open(config=settings) as ledger:
            for device in self.schedule.devices:
                seed = os.urandom(32)
                write_secret(self.folder / "seeds" / device.name, seed.hex() + "\n")
                signer = Device.from_seed(device.name, seed)
                ledger.register_device(signer)
                self.keys.add(device.name, signer.public_key, scheme=signer.scheme)
        self.keys.save(self.folder / "keys.json")

    def _start_postgres(self, name: str) -> None:
        data = self.disk(name) / "data"
        shutil.copytree(self.template / "data", data)
        lines = [f"{key} = '{value}'" for key, value in POSTGRES.items()]
        lines.append(f"listen_addresses = '{self.host(name).address}'")
        if len(self.schedule.databases) == 2:
            if name == "db-2":
                primary = f"host={self._address(name, 'db-1')} port={POSTGRES_PORT} user=edgesentry"
                how = f"password={self._password} application_name={STANDBY} connect_timeout=2"
                lines.append(f"primary_conninfo = '{primary} {how}'")
                (data / "standby.signal").touch()
            elif self.schedule.synchronous:
                lines.append(f"synchronous_standby_names = 'FIRST 1 ({STANDBY})'")
        with (data / "postgresql.conf").open("a") as conf:
            conf.write("\n" + "\n".join(lines) + "\n")
        with (data / "pg_hba.conf").open("a") as hba:
            hba.write("host all all 0.0.0.0/0 scram-sha-256\nhost replication all 0.0.0.0/0 scram-sha-256\n")
        own_by_postgres(self.disk(name))

        def before() -> None:
            # Every process of the server is gone; another process may have its id by now.
            (data / "postmaster.pid").unlink(missing_ok=True)

        command = (
            *self.host(name).prefix,
            *as_postgres(),
            str(postgres_programs() / "postgres"),
            "-D",
            str(data),
        )
        self._run(name, command, before=before)

    def _start_s3(self) -> None:
        place = self.folder / "s3"
        place.mkdir()
        (place / "port").write_text(f"{S3_PORT}\n")
        env = {"ADDRESS": self.host("s3").address}
        self._run("s3", (*self.host("s3").prefix, *DIES_WITH_PARENT, str(SEAWEEDFS), "run", str(place)), env)

    def _start_node(self, name: str) -> None:
        settings = self.folder / f"{name}.toml"
        host = self.host(name)
        serve = f'[serve]\nlisten = "{host.address}:{NODE_PORT}"\nallow = ["10.0.0.0/8", "127.0.0.0/8"]\n'
        write_secret(
            settings, self.settings(name) + serve + "[serve.limits]\nshutdown_seconds = 20\n" + LIMITS
        )
        command = (*host.prefix, *DIES_WITH_PARENT, str(EDS), "serve", "--config", str(settings))
        self._run(name, command, {"RUST_LOG": "warn", **self._clock(name)})

    def _start_device(self, name: str, sender: str) -> None:
        host, place = self.host(name), self.disk("field") / name
        place.mkdir()
        urls = [
            f"http://{self.relays[f'{name}>{node}'].listen[0]}:{NODE_PORT}" for node in self.schedule.nodes
        ]
        command = [
            *host.prefix,
            *DIES_WITH_PARENT,
            sys.executable,
            str(Path(__file__).with_name("field_device.py")),
        ]
        command += [
            sender,
            "--device",
            name,
            "--seed",
            str(self.folder / "seeds" / name),
            "--folder",
            str(place),
        ]
        command += [
            "--journal",
            str(self.journal(name)),
            "--stop",
            str(self.folder / "stop"),
            "--eds",
            str(EDS),
        ]
        command += [word for url in urls for word in ("--url", url)]
        self._run(name, tuple(command), self._clock(name), lives_on=False)

    def journal(self, device: str) -> Path:
        """Returns the journal of a device."""
        return self.folder / "devices" / device

    def _clock(self, name: str) -> dict[str, str]:
        if not any(event.kind == "clock" and event.target == name for event in self.schedule.events):
            return {}
        assert FAKETIME is not None, "libfaketime is missing; run scripts/servers/network install"
        self.set_clock(name, 0)
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / f"{name}.clock"),
            "FAKETIME_NO_CACHE": "1",
            # A step of the time of day does not change the monotonic clock.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set_clock(self, name: str, offset_s: float) -> None:
        """Sets the offset of a process's clock from that of the machine."""
        path = self.folder / f"{name}.clock"
        new = path.with_suffix(".new")
        new.write_text(f"{offset_s:+.0f}\n")
        new.rename(path)

    def _run(
        self,
        name: str,
        command: tuple[str, ...],
        env: dict[str, str] | None = None,
        *,
        before: object = None,
        lives_on: bool = True,
    ) -> None:
        service = Service(
            name, command, self.log(name), env, before=before if callable(before) else None, lives_on=lives_on
        )
        self.services[name] = service
        service.start()

    def heal(self) -> None:
        """Ends every fault."""
        for relay in self.relays.values():
            relay.heal()
        if self.network.has_packets:
            self.network.pass_all_packets()
            for name in self.network.hosts.keys() - self.fenced:
                self.network.link(name, "up")
        for name, service in self.services.items():
            service.hold(signal.SIGCONT)
            service.allow()
            if (self.folder / f"{name}.clock").exists():
                self.set_clock(name, 0)
        for name in DISK_BYTES:
            self.free(name)

    async def give_up_primary(self, *, killed: bool, say: Callable[[str], None]) -> None:
        """Fences db-1, by its death or by its link, and promotes db-2."""
        self.fenced.add("db-1")
        if killed or not self.network.has_packets:
            await self.services["db-1"].give_up()
            say("db-1 is dead for good")
        else:
            self.network.link("db-1", "down")
            say("db-1 is taken from the network")
        # A standby that is stopped or cannot be reached is promoted later, as by an operator.
        while await self.sql("db-2", "SELECT pg_promote(true, 60)") != "t":
            await asyncio.sleep(0.2)
        while await self.sql("db-2", "SELECT pg_is_in_recovery()") != "f":
            await asyncio.sleep(0.1)
        say("db-2 is promoted")

    async def lose(self, node: str, *, holding_locks: bool) -> None:
        """Removes a node without closing its connections."""
        if holding_locks:
            relay = self.relays[f"{node}>db-1"]
            # Lost responses leave the transaction open.
            relay.set(Faults(stalled={"back"}))
            for _ in range(MAX_STALLS):
                if await self._holds_locks(node):
                    break
                relay.heal()
                await asyncio.sleep(random.uniform(0.0, 0.1))
                relay.set(Faults(stalled={"back"}))
                await asyncio.sleep(0.1)
            else:
                raise AssertionError(f"{node} had no open transaction in {MAX_STALLS} stalls")
        self._isolate(node)
        self.fenced.add(node)
        await self.services[node].give_up()

    def _isolate(self, node: str) -> None:
        if self.network.has_packets:
            self.network.link(node, "down")
            return
        for edge, relay in self.relays.items():
            if node in edge.split(">"):
                relay.forget()

    async def _holds_locks(self, node: str) -> bool:
        address = self.relays[f"{node}>db-1"].listen[0]
        locked = (
            f"SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE client_addr = '{address}'"
            " AND relation = 'chain_heads'::regclass AND pg_locks.mode = 'RowShareLock'"
        )
        return await self.sql("db-1", locked) not in ("", "0")

    def fill(self, name: str) -> None:
        """Fills a disk."""
        if not self.mounts:
            return
        with (self.disk(name) / "filler").open("ab", buffering=0) as filler:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    pass

    def free(self, name: str) -> None:
        """Frees the space on a disk."""
        (self.disk(name) / "filler").unlink(missing_ok=True)

    async def end(self) -> None:
        """Kills all processes and unmounts the disks."""
        for service in self.services.values():
            await service.end()


def postgres_programs() -> Path:
    """Returns the program directory of the newest PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if found:
        return found[-1]
    program = shutil.which("postgres")
    assert program, "PostgreSQL is missing; install it (on Debian: apt install postgresql)"
    return Path(program).resolve().parent


def as_postgres() -> tuple[str, ...]:
    """Returns the prefix of a command that refuses to run as root."""
    if os.getuid() != 0:
        return DIES_WITH_PARENT
    return ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", *DIES_WITH_PARENT[1:])


def own_by_postgres(folder: Path) -> None:
    """Gives a directory to the user who runs PostgreSQL."""
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "postgres:", folder], check=True)
    for data in folder.glob("data"):
        data.chmod(0o700)


def write_secret(path: Path, text: str) -> None:
    """Writes a file that other users cannot read."""
    path.touch(mode=0o600)
    path.write_text(text)


def make_template(folder: Path) -> None:
    """Creates a PostgreSQL cluster for every schedule to copy, which is faster than initdb for each."""
    password = folder / "password"
    write_secret(password, os.urandom(12).hex() + "\n")
    own_by_postgres(folder)
    initdb: list[str | Path] = [
        *as_postgres(),
        postgres_programs() / "initdb",
        "-D",
        folder / "data",
        "-U",
        "edgesentry",
    ]
    initdb += ["-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "--locale=C.UTF-8"]
    initdb += ["--wal-segsize=1", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, timeout=300)
