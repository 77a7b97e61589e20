"""Strategies for hypothesis (`pip install edgesentry[testing]`): devices, records, fleets, tamperings."""

from __future__ import annotations

from collections.abc import Sequence

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "edgesentry.testing.strategies needs hypothesis; run: pip install 'edgesentry[testing]'"
    ) from error

from edgesentry._core import AuditRecord, Device
from edgesentry._typing import Scheme
from edgesentry.testing._catalogue import CATALOGUE, Attack
from edgesentry.testing._expected import SCHEMES, Tampered
from edgesentry.testing._fleet import Fleet, make_fleet

__all__ = ["chains", "device_ids", "devices", "fleets", "records", "schemes", "tamperings"]

_U64 = st.integers(0, 2**64 - 1)
_SEEDS = st.integers(0, 2**32 - 1)


def schemes() -> st.SearchStrategy[Scheme]:
    """A signature scheme."""
    return st.sampled_from(SCHEMES)


def device_ids() -> st.SearchStrategy[str]:
    """A device id that any ledger accepts: not empty, at most 1,024 bytes, without U+0000."""
    characters = st.characters(codec="utf-8", exclude_characters="\0")
    return st.text(characters, min_size=1, max_size=40)


def devices(scheme: Scheme | None = None) -> st.SearchStrategy[Device]:
    """A device at the beginning of its chain, by default of any scheme."""
    of_scheme = schemes() if scheme is None else st.just(scheme)
    seeds = st.binary(min_size=32, max_size=32)
    return st.builds(
        lambda device_id, seed, scheme: Device.from_seed(device_id, seed, scheme=scheme),
        device_ids(),
        seeds,
        of_scheme,
    )


def records() -> st.SearchStrategy[AuditRecord]:
    """An unsigned record, with any values that its fields can have."""
    hashes = st.binary(min_size=32, max_size=32)
    return st.builds(
        AuditRecord,
        device_id=st.text(max_size=40),
        sequence=_U64,
        timestamp_ms=_U64,
        payload_hash=hashes,
        signature=st.binary(min_size=64, max_size=64),
        prev_record_hash=hashes,
        object_ref=st.text(max_size=60),
    )


@st.composite
def chains(draw: st.DrawFn, min_size: int = 1, max_size: int = 12) -> list[AuditRecord]:
    """The sound chain of one device."""
    device = draw(devices())
    payloads = draw(st.lists(st.binary(max_size=40), min_size=min_size, max_size=max_size))
    times = st.integers(0, 2**63 - 1)
    return [device.sign(payload, f"{number}.bin", draw(times)) for number, payload in enumerate(payloads, 1)]


def fleets(max_devices: int = 3, max_records: int = 8, *, min_records: int = 2) -> st.SearchStrategy[Fleet]:
    """A sound fleet: devices of both schemes, chains of different lengths, interleaved."""
    return st.builds(
        lambda devices, records, scheme, seed: make_fleet(devices, records, scheme=scheme, seed=seed),
        st.integers(1, max_devices),
        st.integers(min_records, max_records),
        st.lists(schemes(), min_size=1, max_size=max_devices),
        _SEEDS,
    )


@st.composite
def tamperings(
    draw: st.DrawFn, attacks: Sequence[Attack] | None = None, *, fleet: Fleet | None = None
) -> tuple[Fleet, Attack, Tampered]:
    """A fleet, an attack and its result; hypothesis draws every parameter.

    Args:
        draw: Provided by hypothesis.
        attacks: The attacks to choose from; the whole catalogue if None.
        fleet: The fleet; any if None.
    """
    victim_fleet = draw(fleets()) if fleet is None else fleet
    possible = [attack for attack in attacks or CATALOGUE.values() if attack.victims(victim_fleet)]
    attack = draw(st.sampled_from(possible))
    victim = draw(st.sampled_from(attack.victims(victim_fleet)))
    return victim_fleet, attack, attack(victim_fleet, victim, seed=draw(_SEEDS))
