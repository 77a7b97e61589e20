"""The catalogue: every attack by name, bound to a fleet and a victim.

The tests of the command have separate attacks in Rust (`rust/eds/src/tamper.rs`). The two are independent
oracles, and are kept apart on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from random import Random
from typing import Final, Literal, NamedTuple, NoReturn, TypeAlias, TypeVar

from edgesentry._core import Device
from edgesentry.testing import _edits, _order, _payloads, _relinked, _signatures
from edgesentry.testing._expected import Tampered
from edgesentry.testing._fleet import Fleet

Attacker: TypeAlias = Literal["writer", "key holder", "device", "payload writer"]
"""The attacker: a writer of the ledger, one who also has the device's key, the device itself by its clock,
or a writer of the payload store."""


class Victim(NamedTuple):
    """A record of a fleet."""

    device_id: str
    sequence: int


Apply: TypeAlias = Callable[[Fleet, Victim, Random], Tampered]
Choose: TypeAlias = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Attack:
    """A way of tampering with a fleet.

    Attributes:
        name: Its stable name.
        summary: The attack, in one sentence.
        attacker: The attacker.
    """

    name: str
    summary: str
    attacker: Attacker
    _apply: Apply
    _suits: Choose
    _devices: int = 1

    def __str__(self) -> str:
        return self.name

    def victims(self, fleet: Fleet) -> list[Victim]:
        """Returns the records that it can tamper with."""
        if len(fleet.signers) < self._devices:
            return []
        last = {name: len(fleet.chain(name)) for name in fleet.signers}
        return [
            Victim(name, sequence)
            for name, length in last.items()
            for sequence in range(1, length + 1)
            if self._suits(sequence, length)
        ]

    def __call__(self, fleet: Fleet, victim: Victim | None = None, *, seed: int = 0) -> Tampered:
        """Returns the tampered records of a fleet; the fleet does not change.

        Args:
            fleet: The fleet.
            victim: One of `victims`; if None, one in the middle of them.
            seed: Selects the other parameters, such as the bit to flip.

        Raises:
            TypeError: It is not a fleet, or the victim is not a pair of device and sequence.
            ValueError: The fleet has no suitable victim.
        """
        if not isinstance(fleet, Fleet):
            kind = type(fleet).__name__
            raise TypeError(f"fleet is a Fleet, not {kind}: CATALOGUE[{self.name!r}](make_fleet())")
        if victim is None:
            victims = self.victims(fleet)
            if not victims:
                raise ValueError(f"attack {self.name} needs longer chains or more devices")
            victim = victims[len(victims) // 2]
        if not isinstance(victim, tuple) or len(victim) != 2:
            raise TypeError(f'victim is a pair of device and sequence, not {victim!r}: victim=("lift-01", 5)')
        tampered = self._apply(fleet, Victim(*victim), Random(f"{self.name} {seed}"))
        return replace(tampered, schemes=fleet.schemes)


Entry = TypeVar("Entry")


class Catalogue(dict[str, Entry]):
    """A dict by name; a name that is not in it gives the nearest ones."""

    kind = "attack"

    def __missing__(self, name: str) -> NoReturn:
        raise KeyError(
            f"the catalogue has no {self.kind} {name!r}; the nearest are {nearest(str(name), self)}"
        )


def nearest(name: str, names: Collection[str]) -> str:
    """Returns the names that are like a name or share a word with it."""
    words = set(name.split("_"))
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    near += sorted((one for one in names if words & set(one.split("_"))), key=len)
    return ", ".join(list(dict.fromkeys(near or names))[:5])


CATALOGUE: Final[Catalogue[Attack]] = Catalogue()
"""Every attack by name."""


def _any(_sequence: int, _last: int) -> bool:
    return True


def _first(sequence: int, last: int) -> bool:
    return sequence == 1 < last


def _middle(sequence: int, last: int) -> bool:
    return 1 < sequence < last


def _last(sequence: int, last: int) -> bool:
    return sequence == last > 1


def _not_last(sequence: int, last: int) -> bool:
    return sequence < last


def _long_after(sequence: int, last: int) -> bool:
    return sequence + 2 <= last


def _attack(
    summary: str, *, attacker: Attacker = "writer", suits: Choose = _any, devices: int = 1
) -> Callable[[Apply], Apply]:
    def register(apply: Apply) -> Apply:
        name = apply.__name__.removeprefix("_")
        CATALOGUE[name] = Attack(name, summary, attacker, apply, suits, devices)
        return apply

    return register


def _first_that_works(choices: Iterable[int], make: Callable[[int], Tampered]) -> Tampered:
    for choice in choices:
        try:
            return make(choice)
        except ValueError:
            continue
    raise ValueError("no choice of parameters changes the records")


def _shuffled(random: Random, choices: Sequence[int]) -> list[int]:
    return random.sample(choices, len(choices))


# Bits.


@_attack("One bit of the device id is flipped.")
def _flip_device_id_bit(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    bits = _shuffled(random, range(8 * len(victim.device_id)))
    return _first_that_works(bits, lambda bit: _edits.flip_device_id_bit(fleet.records, *victim, bit=bit))


@_attack("One bit of the sequence is flipped.")
def _flip_sequence_bit(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    # Stay below the sequence at which the next key of the fleet begins.
    return _edits.flip_sequence_bit(fleet.records, *victim, bit=random.randrange(40))


@_attack("One bit of the time is flipped.")
def _flip_timestamp_bit(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _edits.flip_timestamp_bit(fleet.records, *victim, bit=random.randrange(63))


@_attack("One bit of the payload hash is flipped.")
def _flip_payload_hash_bit(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _edits.flip_payload_hash_bit(fleet.records, *victim, bit=random.randrange(256))


@_attack("One bit of R, the first half of the signature, is flipped.")
def _flip_signature_r_bit(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _edits.flip_signature_bit(fleet.records, *victim, bit=random.randrange(256))


@_attack("One bit of S, the second half of the signature, is flipped.")
def _flip_signature_s_bit(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _edits.flip_signature_bit(fleet.records, *victim, bit=random.randrange(256, 512))


@_attack("One bit of the previous hash is flipped.")
def _flip_prev_record_hash_bit(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _edits.flip_prev_record_hash_bit(fleet.records, *victim, bit=random.randrange(256))


@_attack("One bit of the object reference is flipped.")
def _flip_object_ref_bit(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    length = len(f"{victim.device_id}/{victim.sequence}.bin")
    bits = _shuffled(random, range(8 * length))
    return _first_that_works(bits, lambda bit: _edits.flip_object_ref_bit(fleet.records, *victim, bit=bit))


# Edits without re-linking.


@_attack("A payload is replaced together with the hash in its record.")
def _forge_payload(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _edits.forge_payload(fleet.records, *victim, payload=random.randbytes(20))


@_attack("A record is pointed to the payload of another.", suits=_not_last)
def _redirect_object_ref(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    other = f"{victim.device_id}/{victim.sequence + 1}.bin"
    return _edits.edit_object_ref(fleet.records, *victim, object_ref=other)


# Signatures.


@_attack("The signature is stripped: 64 zero bytes.")
def _zero_signature(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _signatures.zero_signature(fleet.records, *victim)


@_attack("S + L replaces S: the equation holds, but the encoding is not canonical.")
def _s_plus_order(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _signatures.add_order_to_s(fleet.records, *victim, times=random.randint(1, 14))


@_attack("A point of small order is added to R.")
def _torsion_added_to_r(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _signatures.add_torsion_to_r(fleet.records, *victim, times=random.randint(1, 7))


@_attack("R is not the encoding of a point of the curve.")
def _r_off_curve(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _signatures.move_r_off_curve(fleet.records, *victim)


@_attack("R = 0 is written as y = p + 1, and signed so.", attacker="key holder")
def _non_canonical_r(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    signer = fleet.signers[victim.device_id]
    return _signatures.non_canonical_r(fleet.records, *victim, seed=signer.seed, scheme=signer.scheme)


@_attack("R = 0 is written with the sign bit of x set, and signed so.", attacker="key holder")
def _negative_zero_r(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    signer = fleet.signers[victim.device_id]
    return _signatures.negative_zero_r(fleet.records, *victim, seed=signer.seed, scheme=signer.scheme)


@_attack("R is a canonical point of small order, and signed so.", attacker="key holder")
def _small_order_r(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    signer, times = fleet.signers[victim.device_id], random.randrange(8)
    return _signatures.small_order_r(
        fleet.records, *victim, seed=signer.seed, scheme=signer.scheme, times=times
    )


@_attack("R has a part of small order, and is signed so.", attacker="key holder")
def _mixed_order_r(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    signer, times = fleet.signers[victim.device_id], random.randint(1, 7)
    return _signatures.mixed_order_r(
        fleet.records, *victim, seed=signer.seed, scheme=signer.scheme, times=times
    )


@_attack("The signature of another record of the device is copied.", suits=_not_last)
def _replay_signature(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _signatures.replay_signature(fleet.records, *victim, of_sequence=victim.sequence + 1)


@_attack("A record is signed with an unregistered key.")
def _wrong_key(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _signatures.sign_with_wrong_key(fleet.records, *victim, other=_forger(fleet, victim))


@_attack(
    "A record is signed with a key of the device that is not valid at its sequence.", attacker="key holder"
)
def _key_of_other_sequence(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    other = fleet.signers[victim.device_id].next_device()
    return _signatures.sign_with_key_of_other_sequence(fleet.records, *victim, other=other)


@_attack("A record is signed under the scheme that is not registered.", attacker="key holder")
def _other_scheme(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    signer = fleet.signers[victim.device_id]
    return _signatures.sign_under_other_scheme(fleet.records, *victim, seed=signer.seed, scheme=signer.scheme)


@_attack("A record is turned into the succession of its device's key.")
def _forged_succession(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _signatures.forge_succession(fleet.records, *victim, forger=_forger(fleet, victim))


@_attack("A record is replaced by a succession to a key of the thief.", attacker="key holder")
def _own_successor(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    thief = fleet.signers[victim.device_id].device()
    successor = _forger(fleet, victim)
    return _signatures.state_own_successor(fleet.records, *victim, thief=thief, successor=successor)


@_attack("A record of a device without a key is added.")
def _unknown_device(fleet: Fleet, _victim: Victim, random: Random) -> Tampered:
    stranger = Device.from_seed("stranger", random.randbytes(32))
    return _signatures.add_unknown_device(fleet.records, stranger=stranger, payload=b"I belong here")


@_attack("A chain is continued with correct links by an attacker without its key.", suits=_last)
def _append_forged(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _signatures.append_forged(fleet.records, victim.device_id, forger=_forger(fleet, victim))


# Records removed, inserted and moved.


@_attack("The first record of a chain is deleted.", suits=_first)
def _delete_first(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _order.delete(fleet.records, *victim)


@_attack("A record in the middle of a chain is deleted.", suits=_middle)
def _delete_middle(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _order.delete(fleet.records, *victim)


@_attack("The last record of a chain is deleted.", suits=_last)
def _delete_last(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _order.delete(fleet.records, *victim)


@_attack("A chain is truncated at a record.", suits=_middle)
def _truncate(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    count = len(fleet.chain(victim.device_id)) - victim.sequence + 1
    return _order.truncate(fleet.records, victim.device_id, count=count)


@_attack("All records of a device are left out.", suits=_first, devices=2)
def _remove_device(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _order.remove_device(fleet.records, victim.device_id)


@_attack("A record is swapped with the next of its chain.", suits=_not_last)
def _swap_with_next(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _order.swap_with_next(fleet.records, *victim)


@_attack("A record is moved behind a later one of its chain.", suits=_long_after)
def _move_back(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    last = len(fleet.chain(victim.device_id))
    return _order.move(fleet.records, *victim, behind=random.randint(victim.sequence + 2, last))


@_attack("A record appears twice in a row.")
def _duplicate(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _order.duplicate(fleet.records, *victim)


@_attack("A copy of a record appears later in its chain.", suits=_not_last)
def _duplicate_later(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    last = len(fleet.chain(victim.device_id))
    behind = random.randint(victim.sequence + 1, last)
    return _order.duplicate(fleet.records, *victim, behind=behind)


@_attack("A second record at one sequence, signed with the device's own key.", attacker="key holder")
def _fork(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _order.fork(fleet.records, *victim, signer=_signer(fleet, victim))


@_attack("A second record at one sequence, signed with another key.")
def _insert_forged(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _order.insert_forged(fleet.records, *victim, forger=_forger(fleet, victim))


@_attack("A record and all later ones get higher sequences.")
def _renumber(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _order.renumber(fleet.records, *victim, by=random.randint(1, 20))


# Re-linked.


@_attack("The time of a record is edited, and the chain re-linked.")
def _edit_time_and_relink(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    by = random.randint(1, 10**9) * random.choice([-1, 1])
    return _relinked.edit_time_and_relink(fleet.records, *victim, by_ms=by)


@_attack("A record is pointed to the payload of another, and the chain re-linked.", suits=_not_last)
def _redirect_and_relink(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    other = f"{victim.device_id}/{victim.sequence + 1}.bin"
    return _relinked.edit_object_ref_and_relink(fleet.records, *victim, object_ref=other)


@_attack("A payload and the hash in its record are replaced, and the chain re-linked.")
def _forge_payload_and_relink(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _relinked.forge_payload_and_relink(fleet.records, *victim, payload=random.randbytes(20))


@_attack("A record is deleted, later ones are renumbered, and the chain re-linked.", suits=_not_last)
def _delete_and_relink(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    last = len(fleet.chain(victim.device_id))
    count = random.randint(1, last - victim.sequence)
    return _relinked.delete_and_relink(fleet.records, *victim, count=count)


@_attack("The contents of two records are swapped, and the chain re-linked.", suits=_not_last)
def _swap_and_relink(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _relinked.swap_and_relink(fleet.records, *victim)


@_attack("An old record is replayed at the end of its chain, with a new time.")
def _append_replayed(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _relinked.append_replayed(fleet.records, victim.device_id, of_sequence=victim.sequence)


@_attack("A chain is rewritten from a record on, with the device's own key.", attacker="key holder")
def _rewrite_with_key(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _relinked.rewrite_with_key(fleet.records, *victim, signer=_signer(fleet, victim))


@_attack("Two devices exchange their names, and both chains are re-linked.", suits=_first, devices=2)
def _swap_devices(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    others = [name for name in fleet.signers if name != victim.device_id and fleet.chain(name)]
    return _relinked.swap_devices(fleet.records, victim.device_id, random.choice(others))


@_attack("A device gets another name, and its chain is re-linked.", suits=_first)
def _rename_device(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _relinked.rename_device(fleet.records, victim.device_id, to="stranger")


# The device's clock.


@_attack("The device continues its chain with its clock turned back.", attacker="device", suits=_last)
def _clock_turned_back(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    return _relinked.append_with_clock_back(
        fleet.records,
        victim.device_id,
        signer=_signer(fleet, victim),
        by_ms=random.randint(1, 10**9),
    )


# Payloads.


@_attack("One bit of a stored payload is flipped.", attacker="payload writer")
def _flip_payload_bit(fleet: Fleet, victim: Victim, random: Random) -> Tampered:
    bit = random.randrange(64)
    return _payloads.flip_payload_bit(fleet.records, *victim, payloads=fleet.payloads, bit=bit)


@_attack("The stored payloads of two records are swapped.", attacker="payload writer", suits=_not_last)
def _swap_payloads(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _payloads.swap_payloads(
        fleet.records, *victim, other_sequence=victim.sequence + 1, payloads=fleet.payloads
    )


@_attack("A stored payload is removed.", attacker="payload writer")
def _remove_payload(fleet: Fleet, victim: Victim, _random: Random) -> Tampered:
    return _payloads.remove_payload(fleet.records, *victim)


def _signer(fleet: Fleet, victim: Victim) -> Device:
    return fleet.signers[victim.device_id].device()


def _forger(fleet: Fleet, victim: Victim) -> Device:
    return fleet.signers[victim.device_id].forger()
