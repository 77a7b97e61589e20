"""Honest devices with their records, payloads, keys and heads: the state before tampering."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from edgesentry._core import AuditRecord, Device, Head, KeyRing, verify_chain
from edgesentry._ledger import Ledger, Outcomes
from edgesentry._typing import Scheme

START_MS = 1_700_000_000_000
NEXT_KEY_FROM = 1 << 40
"""The second key of every device of a fleet is valid from this sequence on."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A device with known secrets, for tests.

    Attributes:
        device_id: Its id.
        seed: The secret seed of its key.
        scheme: The scheme of its signatures.
        next_seed: The seed of the key that it will rotate to, registered in advance.
    """

    device_id: str
    seed: bytes = field(repr=False)
    scheme: Scheme
    next_seed: bytes = field(repr=False)

    def device(self) -> Device:
        """The device, at the beginning of its chain."""
        return Device.from_seed(self.device_id, self.seed, scheme=self.scheme)

    def next_device(self) -> Device:
        """The device with the key that is valid from `NEXT_KEY_FROM` on."""
        return Device.from_seed(self.device_id, self.next_seed, scheme=self.scheme)

    def forger(self) -> Device:
        """Returns an impostor with the same device id: its key is not registered."""
        return Device.from_seed(self.device_id, bytes(255 - byte for byte in self.seed), scheme=self.scheme)


@dataclass(frozen=True, slots=True, repr=False)
class Fleet:
    """The sound records of some devices, with their payloads and keys.

    Attributes:
        signers: The devices, by device id.
        records: Their records; those of different devices interleave.
        payloads: Their payloads, by object reference.
    """

    signers: Mapping[str, Signer]
    records: tuple[AuditRecord, ...]
    payloads: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"<Fleet of {', '.join(self.signers)}: {len(self.records)} records>"

    @property
    def schemes(self) -> dict[str, Scheme]:
        """The scheme of each device."""
        return {name: signer.scheme for name, signer in self.signers.items()}

    @property
    def keys(self) -> KeyRing:
        """The key ring of the auditor."""
        ring = KeyRing()
        for name, signer in self.signers.items():
            ring.add(name, signer.device().public_key, scheme=signer.scheme)
            ring.add(name, signer.next_device().public_key, scheme=signer.scheme, valid_from=NEXT_KEY_FROM)
        return ring

    @property
    def heads(self) -> dict[str, Head]:
        """The heads of the chains; trusted if they were taken before a tampering."""
        return verify_chain(self.records).heads

    def chain(self, device_id: str) -> list[AuditRecord]:
        """Returns the records of one device."""
        return [record for record in self.records if record.device_id == device_id]

    def pairs(self) -> list[tuple[AuditRecord, bytes]]:
        """Returns records and payloads, as `Ledger.ingest_many` takes them."""
        return [(record, self.payloads[record.object_ref]) for record in self.records]

    def register(self, ledger: Ledger) -> None:
        """Registers the devices with a ledger."""
        for signer in self.signers.values():
            ledger.register_device(signer.device())
            ledger.register_device(signer.next_device(), valid_from=NEXT_KEY_FROM)

    def fill(self, ledger: Ledger) -> Outcomes:
        """Registers the devices with a ledger and ingests all records.

        Raises:
            RejectedError: The ledger rejected a record.
        """
        self.register(ledger)
        outcomes = ledger.ingest_many(self.pairs())
        outcomes.raise_for_rejections()
        return outcomes


def make_fleet(
    devices: int = 3,
    records: int = 8,
    *,
    scheme: Scheme | Iterable[Scheme] = "record",
    seed: int = 0,
    interval_ms: int = 1000,
) -> Fleet:
    """Creates a fleet; the same arguments give the same fleet.

    Args:
        devices: The number of devices: `lift-01`, `lift-02`, …
        records: The number of records that each of them signs; half of it or more if `seed` is not 0.
        scheme: The scheme of all devices, or that of each, repeated as needed.
        seed: Selects the keys, payloads, order, times and lengths of chains.
        interval_ms: The time between two records of a device, in milliseconds; up to twice that if `seed` is
            not 0.

    Raises:
        ValueError: There would be no device.
    """
    if devices < 1:
        raise ValueError(f"devices must be 1 or more, not {devices}")
    random = Random(f"edgesentry fleet {seed}")
    schemes = (scheme,) if isinstance(scheme, str) else tuple(scheme)
    signers = {}
    for number in range(1, devices + 1):
        name = f"lift-{number:02}"
        of_device = schemes[(number - 1) % len(schemes)]
        signers[name] = Signer(name, random.randbytes(32), of_device, random.randbytes(32))
    turns = [
        name
        for name in signers
        for _ in range(random.randint((records + 1) // 2, records) if seed else records)
    ]
    if seed:
        random.shuffle(turns)
    else:
        turns = [name for _ in range(records) for name in signers]
    made, payloads = [], {}
    at_devices = {name: signer.device() for name, signer in signers.items()}
    clocks = dict.fromkeys(signers, START_MS)
    for name in turns:
        device = at_devices[name]
        sequence = 1 if device.head is None else device.head.sequence + 1
        clocks[name] += random.randint(1, 2 * interval_ms) if seed else interval_ms
        reference = f"{name}/{sequence}.bin"
        payloads[reference] = f"{name} reading {sequence}: {random.random():.6f}".encode()
        made.append(device.sign(payloads[reference], reference, clocks[name]))
    return Fleet(signers, tuple(made), payloads)


def write_payloads(payloads: Mapping[str, bytes], folder: Path) -> None:
    """Writes payloads to a directory, as `verify_chain(payloads=folder)` looks for them."""
    for reference, payload in payloads.items():
        path = folder / reference
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
