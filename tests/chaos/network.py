"""Hosts with separate addresses: in network namespaces if they can be created, else on loopback."""

from __future__ import annotations

import random
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

NAMESPACES = Path("/run/netns")
PACKETS = """
table inet chaos {
  set dropped { type ipv4_addr . ipv4_addr; }
  chain input { type filter hook input priority 0;
    ip saddr . ip daddr @dropped drop
  }
  chain output { type filter hook output priority 0;
    ip saddr . ip daddr @dropped drop
  }
}
"""


@dataclass(frozen=True)
class Host:
    """A host, on which processes run."""

    name: str
    address: str
    # The prefix of a command to run on the host.
    prefix: tuple[str, ...]


class Network(ABC):
    """Hosts, which reach each other through relays only, and addresses for relays."""

    hosts: dict[str, Host]

    @property
    @abstractmethod
    def has_packets(self) -> bool:
        """True if packets can be dropped and links taken down."""

    @abstractmethod
    def relay_address(self) -> str:
        """Returns an address for another relay."""

    @abstractmethod
    def drop(self, source: str, target: str) -> None:
        """Drops all packets from one address to another."""

    @abstractmethod
    def pass_all_packets(self) -> None:
        """Stops dropping packets."""

    @abstractmethod
    def link(self, host: str, state: str) -> None:
        """Sets the link of a host `up` or `down`."""


class Namespaces(Network):
    """A network namespace for each host, on a veth pair; the relays are in the namespace of the caller."""

    def __init__(self, hosts: list[str], relays: int) -> None:
        NAMESPACES.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "tmpfs", str(NAMESPACES))
        lines = ["link set lo up"]
        lines += [f"addr add {_relay(number)}/32 dev lo" for number in range(relays)]
        for number, name in enumerate(hosts):
            lines += [
                f"netns add {name}",
                f"link add v-{name} type veth peer name eth0 netns {name}",
                f"addr add {_near(number)}/30 dev v-{name}",
                f"link set v-{name} up",
            ]
        _run("ip", "-batch", "-", stdin=lines)
        for number, name in enumerate(hosts):
            inside = ["link set lo up", f"addr add {_far(number)}/30 dev eth0", "link set eth0 up"]
            inside.append(f"route add default via {_near(number)}")
            _run("ip", "-netns", name, "-batch", "-", stdin=inside)
        _run("nft", "-f", "-", stdin=[PACKETS])
        self.hosts = {
            name: Host(name, _far(number), ("nsenter", f"--net={NAMESPACES / name}"))
            for number, name in enumerate(hosts)
        }
        self._relays = iter(range(relays))

    @property
    def has_packets(self) -> bool:
        return True

    def relay_address(self) -> str:
        return _relay(next(self._relays))

    def drop(self, source: str, target: str) -> None:
        _run("nft", "add", "element", "inet", "chaos", "dropped", f"{{ {source} . {target} }}")

    def pass_all_packets(self) -> None:
        _run("nft", "flush", "set", "inet", "chaos", "dropped")

    def link(self, host: str, state: str) -> None:
        _run("ip", "link", "set", f"v-{host}", state)


class Loopback(Network):
    """An address of 127.0.0.0/8 for each host. Only the relays are between them."""

    def __init__(self, hosts: list[str], relays: int) -> None:
        # Concurrent runs do not collide: 16,000 choices, and a port in use fails the run.
        chance = random.SystemRandom()
        net = f"127.{chance.randint(1, 254)}.{chance.randrange(2, 254, 2)}"
        other = net.rsplit(".", 1)
        self.hosts = {name: Host(name, f"{net}.{number}", ()) for number, name in enumerate(hosts, 1)}
        self._relays = iter(f"{other[0]}.{int(other[1]) + 1}.{number}" for number in range(1, relays + 1))

    @property
    def has_packets(self) -> bool:
        return False

    def relay_address(self) -> str:
        return next(self._relays)

    def drop(self, source: str, target: str) -> None:
        raise NotImplementedError

    def pass_all_packets(self) -> None:
        pass

    def link(self, host: str, state: str) -> None:
        raise NotImplementedError


def _near(number: int) -> str:
    return f"10.77.{number}.1"


def _far(number: int) -> str:
    return f"10.77.{number}.2"


def _relay(number: int) -> str:
    return f"10.88.0.{number + 1}"


def _run(*command: str, stdin: list[str] | None = None) -> None:
    text = None if stdin is None else "\n".join(stdin) + "\n"
    done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
