"""The contents of a schedule: stores, nodes, devices and faults, all drawn from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Ledger = Literal["sqlite", "postgres", "pair"]
Payloads = Literal["ledger", "folder", "s3"]
Sender = Literal["outbox", "push", "twins"]
Way = Literal["there", "back", "both"]
Kind = Literal[
    "delay",
    "loss",
    "reset",
    "break",
    "stall",
    "drop",
    "unplug",
    "kill",
    "pause",
    "stop",
    "clock",
    "full",
    "forget",
    "lose",
    "failover",
]

LEDGERS: tuple[Ledger, ...] = ("sqlite", "postgres", "pair")
DATABASES = ("db-1", "db-2")
# Seconds during which faults begin. The last ones end some seconds later.
WINDOW_S = 4.0
# Steps of a clock: seconds, hours (a signature of S3 is out of date) and more than a year.
CLOCK_STEPS_S = (-34_560_000, -7200, -90, -3, 3, 90, 7200, 34_560_000)


@dataclass(frozen=True)
class Event:
    """One fault."""

    at_s: float
    kind: Kind
    # A process, a host, a disk, or an edge such as `device-1>node-2`.
    target: str
    lasts_s: float = 0.0
    way: Way = "both"
    # Seconds of a delay or of a clock's step, the probability of a loss, bytes before a break; 1 if a node is
    # lost while it holds locks.
    amount: float = 0.0

    def __str__(self) -> str:
        parts = [self.kind, self.target]
        if self.kind in ("stall", "drop"):
            parts.append(self.way)
        if self.amount:
            parts.append(f"{self.amount:g}")
        if self.lasts_s:
            parts.append(f"for {self.lasts_s:.2f} s")
        return " ".join(parts)


@dataclass(frozen=True)
class Device:
    """A device in the field."""

    name: str
    # `outbox` flushes by the Python client, `push` by `eds push --outbox`. `twins` share a key, and sign
    # different records for the same place.
    sender: Sender


@dataclass(frozen=True)
class Schedule:
    """The parameters that the seed determines."""

    seed: int
    ledger: Ledger
    payloads: Payloads
    nodes: tuple[str, ...]
    devices: tuple[Device, ...]
    events: tuple[Event, ...]
    # True if a commit waits for the standby.
    synchronous: bool = True

    @property
    def databases(self) -> tuple[str, ...]:
        """The hosts of PostgreSQL; the first is the primary."""
        return {"sqlite": (), "postgres": DATABASES[:1], "pair": DATABASES}[self.ledger]

    @property
    def fails_over(self) -> bool:
        """True if the primary is abandoned."""
        return any(event.kind == "failover" for event in self.events)

    @property
    def edges(self) -> tuple[str, ...]:
        """Returns the pairs of hosts that connect."""
        return _edges(self.nodes, self.devices, self.databases, self.payloads)

    def __str__(self) -> str:
        devices = ", ".join(f"{device.name} ({device.sender})" for device in self.devices)
        head = f"ledger {self.ledger}, payloads {self.payloads}, {len(self.nodes)} nodes, {devices}"
        return "\n".join([head, *(f"  at {event.at_s:.2f} s: {event}" for event in self.events)])


def draw(seed: int) -> Schedule:
    """Returns the schedule of a seed."""
    chance = random.Random(seed)
    ledger = chance.choice(LEDGERS)
    stores: tuple[Payloads, ...] = (
        ("ledger", "folder", "s3") if ledger == "sqlite" else ("folder", "folder", "s3")
    )
    payloads = chance.choice(stores)
    nodes = tuple(f"node-{number}" for number in range(1, chance.choice((2, 2, 3)) + 1))
    fails_over = ledger == "pair" and chance.random() < 0.6
    # A record that an auditor reads from a restarted primary may not be on its standby yet. An honest device
    # sends it again after a failover; a device with a twin may send another one.
    third: Sender = "outbox" if fails_over else chance.choice(("outbox", "twins"))
    devices = (Device("device-1", "outbox"), Device("device-2", "push"), Device("device-3", third))
    databases = {"sqlite": (), "postgres": DATABASES[:1], "pair": DATABASES}[ledger]
    edges = _edges(nodes, devices, databases, payloads)
    events = [_event(chance, (ledger, payloads), nodes, devices, edges) for _ in range(chance.randint(4, 9))]
    if fails_over:
        at_s = chance.uniform(1.0, WINDOW_S - 1.0)
        events = [event for event in events if not _needs_primary(event, at_s)]
        # Killed, or isolated and killed later.
        events.append(Event(at_s, "failover", "db-1", way=chance.choice(("there", "both"))))
    if chance.random() < 0.3:
        events.append(Event(chance.uniform(1.0, WINDOW_S), "lose", nodes[-1]))
    events.sort(key=lambda event: event.at_s)
    return Schedule(seed, ledger, payloads, nodes, devices, tuple(events))


def asynchronous() -> Schedule:
    """A failover to an asynchronous standby that is behind: it loses records."""
    events = (Event(1.0, "stall", "db-2>db-1", 1.5), Event(2.0, "failover", "db-1", way="there"))
    devices = (Device("device-1", "outbox"), Device("device-2", "push"))
    return Schedule(0, "pair", "folder", ("node-1", "node-2"), devices, events, synchronous=False)


def lost_in_a_transaction() -> Schedule:
    """Loss of a node while the database waits for the rest of its transaction, which holds locks.

    A transaction that accepts all its records is a single statement, so a device sends two for each sequence.
    """
    events = (Event(2.0, "lose", "node-1", amount=1),)
    devices = (Device("device-1", "twins"), Device("device-2", "push"))
    return Schedule(0, "postgres", "folder", ("node-1", "node-2"), devices, events)


def forgotten() -> Schedule:
    """A firewall repeatedly drops the state of every connection to the database."""
    times = (0.8, 1.6, 2.4)
    events = tuple(Event(at_s, "forget", f"node-{node}>db-1") for at_s in times for node in (1, 2))
    devices = (Device("device-1", "outbox"), Device("device-2", "push"))
    return Schedule(0, "postgres", "folder", ("node-1", "node-2"), devices, events)


# Schedules that are not drawn. The first must fail.
NAMED = {"asynchronous": asynchronous, "lost": lost_in_a_transaction, "forgotten": forgotten}


def _needs_primary(event: Event, failover_s: float) -> bool:
    """Returns True if a database fault would be active during a failover."""
    concerned = "db-" in event.target
    return concerned and event.at_s + event.lasts_s > failover_s - 0.5


def _edges(
    nodes: tuple[str, ...], devices: tuple[Device, ...], databases: tuple[str, ...], payloads: Payloads
) -> tuple[str, ...]:
    edges = [f"{device.name}>{node}" for device in devices for node in nodes]
    edges += [f"{client}>{database}" for client in (*nodes, "auditor") for database in databases]
    if len(databases) == 2:
        edges.append("db-2>db-1")
    if payloads == "s3":
        edges += [f"{node}>s3" for node in nodes]
    return tuple(edges)


def _event(
    chance: random.Random,
    stores: tuple[Ledger, Payloads],
    nodes: tuple[str, ...],
    devices: tuple[Device, ...],
    edges: tuple[str, ...],
) -> Event:
    ledger, payloads = stores
    at_s = chance.uniform(0.3, WINDOW_S)
    # Shorter than all timeouts, or longer than most.
    lasts_s = chance.uniform(0.2, 1.0) if chance.random() < 0.65 else chance.uniform(2.5, 5.0)
    databases: tuple[str, ...] = {"sqlite": (), "postgres": DATABASES[:1], "pair": DATABASES}[ledger]
    servers = [*databases, *(["s3"] if payloads == "s3" else [])]
    hosts = [*nodes, *servers]
    names = [device.name for device in devices]
    way: Way = chance.choice(("there", "back", "both"))
    kind: Kind = chance.choice(
        (
            *("delay", "loss", "reset", "break", "forget", "forget"),
            *("stall", "stall", "drop", "drop", "unplug"),
            *("kill", "kill", "kill", "pause", "stop", "clock", "full"),
        )
    )
    match kind:
        case "delay":
            return Event(at_s, kind, chance.choice(edges), lasts_s, amount=chance.choice((0.02, 0.1, 0.4)))
        case "loss":
            return Event(at_s, kind, chance.choice(edges), lasts_s, amount=chance.choice((0.05, 0.3)))
        case "break":
            return Event(
                at_s, kind, chance.choice(edges), lasts_s, amount=chance.choice((1, 100, 1000, 5000))
            )
        case "forget":
            return Event(at_s, kind, chance.choice(edges))
        case "reset" | "stall" | "drop":
            return Event(at_s, kind, chance.choice(edges), lasts_s, way)
        case "unplug":
            return Event(at_s, kind, chance.choice([*hosts, *names]), lasts_s)
        case "kill":
            return Event(at_s, kind, chance.choice([*hosts, *hosts, *names]), min(lasts_s, 1.5))
        case "pause":
            return Event(at_s, kind, chance.choice(hosts), lasts_s)
        case "stop":
            return Event(at_s, kind, chance.choice(nodes), min(lasts_s, 1.5))
        case "clock":
            step_s = chance.choice(CLOCK_STEPS_S)
            return Event(at_s, kind, chance.choice([*nodes, *names]), lasts_s, amount=step_s)
        case "full" | "failover" | "lose":
            disks = ["ledger" if ledger == "sqlite" else "db-1", "field"]
            disks += ["payloads"] if payloads == "folder" else []
            disks += ["db-2"] if ledger == "pair" else []
            return Event(at_s, "full", chance.choice(disks), lasts_s)
