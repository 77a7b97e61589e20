"""A transparency log of a fleet, written in Python after docs/reference/log.md.

It shares no code with the log of the service: each is an oracle for the other. For tests only: it is slow,
and computes a root from all leaves.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from edgesentry._core import AuditRecord
from edgesentry.testing import _curve
from edgesentry.testing._expected import Expected, in_order
from edgesentry.testing._fleet import NEXT_KEY_FROM, START_MS, Fleet, Signer

COSIGNED_AT = 1_700_000_000
"""The time at which the witness signs by default, Unix seconds: long ago."""

_ED25519, _COSIGNATURE = b"\x01", b"\x04"
_ZERO_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A key that signs checkpoints.

    Attributes:
        name: Its name; that of a log is its origin.
        seed: The secret seed.
        is_witness: True for the key of a witness, False for the key of a log.
    """

    name: str
    seed: bytes = field(repr=False)
    is_witness: bool = False

    @property
    def verifier_key(self) -> str:
        """The public key as policies have it."""
        key = self._kind + _public_key(self.seed)
        return f"{self.name}+{self._id.hex()}+{_base64(key)}"

    @property
    def _kind(self) -> bytes:
        return _COSIGNATURE if self.is_witness else _ED25519

    @property
    def _id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + self._kind + _public_key(self.seed)).digest()[:4]

    def line(self, text: str, at: int = COSIGNED_AT) -> str:
        """Returns the signature line for the text of a checkpoint.

        Args:
            text: The text.
            at: The time that a witness signs, Unix seconds.
        """
        if self.is_witness:
            message = f"cosignature/v1\ntime {at}\n{text}"
            signature = at.to_bytes(8, "big") + _sign(self.seed, message.encode())
        else:
            signature = _sign(self.seed, text.encode())
        return f"\N{EM DASH} {self.name} {_base64(self._id + signature)}\n"


LOG = NoteSigner("log.example/fleet", bytes([1]) * 32)
"""The log of `make_log`."""
WITNESS = NoteSigner("witness.example", bytes([2]) * 32, is_witness=True)
"""Its witness."""


def log_policy(*, is_witnessed: bool = True) -> str:
    """Returns the policy of an auditor who trusts `LOG`.

    Args:
        is_witnessed: True if `WITNESS` must have signed; False if the signature of the log suffices.
    """
    witness = f"witness ours {WITNESS.verifier_key}\nquorum ours\n" if is_witnessed else "quorum none\n"
    return f"log {LOG.verifier_key}\n{witness}"


# A record, or the bytes of another leaf.
_Leaf: TypeAlias = AuditRecord | bytes


@dataclass(frozen=True, slots=True)
class Log:
    """A transparency log.

    Attributes:
        leaves: The leaves in order: a record, or the bytes of another leaf.
        sizes: The sizes of its checkpoints, ascending.
        signer: The key of the log.
    """

    leaves: tuple[_Leaf, ...]
    sizes: tuple[int, ...]
    signer: NoteSigner = LOG

    def text(self, size: int | None = None) -> str:
        """Returns the text of a checkpoint: origin, size and root.

        Args:
            size: The number of leaves; by default all.
        """
        size = len(self.leaves) if size is None else size
        root = tree_root([_bytes(leaf) for leaf in self.leaves[:size]])
        return f"{self.signer.name}\n{size}\n{_base64(root)}\n"

    def checkpoint(
        self, size: int | None = None, *, witness: NoteSigner | None = WITNESS, at: int = COSIGNED_AT
    ) -> str:
        """Returns a signed checkpoint.

        Args:
            size: The number of leaves; by default all.
            witness: The witness that also signs, if any.
            at: The time of the witness, Unix seconds.
        """
        text = self.text(size)
        return f"{text}\n{self.signer.line(text)}" + (witness.line(text, at) if witness else "")

    @property
    def layout(self) -> bytes:
        """The layout, as `eds export --log` writes it."""
        return b"EDSLOG1\n" + b"".join(_items(self.leaves))

    @property
    def heads_root(self) -> bytes:
        """The root of the heads in the last leaf, 32 bytes."""
        time = len(_varint(START_MS))
        return _bytes(self.leaves[-1])[-32 - time : -time]

    def logged(self, size: int | None = None) -> list[AuditRecord]:
        """Returns the records up to a size, in the order of the log."""
        return [leaf for leaf in self.leaves[:size] if isinstance(leaf, AuditRecord)]

    def lying(self) -> Log:
        """Returns the log with a false last leaf: the heads of one record before."""
        *_, hidden = records = self.logged()
        shorter = [leaf for leaf in self.leaves[:-1] if leaf is not hidden]
        lie = _heads_leaf(shorter, START_MS, records=len(records))
        return replace(self, leaves=(*self.leaves[:-1], lie))

    def expected(self, records: Iterable[AuditRecord]) -> list[Expected]:
        """Returns the findings of the level `log` if records are compared with the last checkpoint, sorted.

        Args:
            records: The records of an export.
        """
        logged = {(record.device_id, record.sequence): record for record in self.logged()}
        findings, found, is_changed, is_repeated = [], set(), False, False
        for record in records:
            place = (record.device_id, record.sequence)
            if place not in logged:
                findings.append(Expected("not_included", *place))
                continue
            is_repeated |= place in found
            is_changed |= record != logged[place]
            found.add(place)
        missing: dict[str, int] = {}
        for device_id, sequence in sorted(logged.keys() - found):
            missing.setdefault(device_id, sequence)
        findings += [Expected("leaf_missing", *place) for place in missing.items()]
        if is_repeated:
            findings.append(Expected("not_included", None, None))
        # The root is computed only if each leaf is there once.
        if is_changed and not is_repeated and not missing:
            findings.append(Expected("checkpoint_mismatch", None, None))
        return in_order(findings)


def make_log(fleet: Fleet, records: Sequence[AuditRecord] | None = None, *, signer: NoteSigner = LOG) -> Log:
    """Creates the log of a fleet: one checkpoint after the first half of each chain, one after all records.

    Args:
        fleet: The fleet.
        records: Other records; by default those of the fleet. A log of changed records differs from the
            log of the fleet in these records, and in the heads.
        signer: The key of the log.
    """
    leaves: list[_Leaf] = [b"\x06" + _text(signer.name) + _varint(0) + b"\x00" + _varint(START_MS)]
    for name, device in sorted(fleet.signers.items()):
        leaves += _keys(name, device)
    chains = {name: len(fleet.chain(name)) for name in sorted(fleet.signers)}
    ordered = sorted(fleet.records if records is None else records, key=_place)
    sizes = []
    for is_later in (False, True):
        leaves += [
            record
            for record in ordered
            if (record.sequence > chains.get(record.device_id, 0) // 2) == is_later
        ]
        leaves.append(_heads_leaf(leaves, START_MS))
        sizes.append(len(leaves))
    return Log(tuple(leaves), tuple(sizes), signer)


def _place(record: AuditRecord) -> tuple[bytes, int]:
    return record.device_id.encode(), record.sequence


def _keys(device_id: str, signer: Signer) -> Iterator[bytes]:
    for valid_from, device in ((1, signer.device()), (NEXT_KEY_FROM, signer.next_device())):
        scheme = b"\x01" if signer.scheme == "record" else b"\x00"
        key = bytes.fromhex(device.public_key)
        yield b"".join(
            (b"\x03", _text(device_id), _varint(valid_from), key, scheme, b"\x00", _varint(START_MS))
        )


def _heads_leaf(leaves: Sequence[_Leaf], at_ms: int, *, records: int | None = None) -> bytes:
    """Returns the heads leaf behind other leaves. A device has an entry if it has a key or a record."""
    heads: dict[bytes, tuple[int, bytes]] = {}
    count = 0
    for leaf in leaves:
        if isinstance(leaf, AuditRecord):
            heads[_text(leaf.device_id)] = (leaf.sequence, leaf.hash())
            count += 1
        elif leaf[0] == 3:
            # The id of a device of a test is shorter than 128 bytes.
            heads.setdefault(leaf[1 : 2 + leaf[1]], (0, _ZERO_HASH))
    start = _varint(0) + _ZERO_HASH
    entries = [
        b"\x10" + device_id + _varint(sequence) + hash_ + start
        for device_id, (sequence, hash_) in sorted(heads.items(), key=lambda head: head[0][1:])
    ]
    records = count if records is None else records
    return b"\x02" + _varint(records) + _varint(len(entries)) + tree_root(entries) + _varint(at_ms)


def _items(leaves: Sequence[_Leaf]) -> Iterator[bytes]:
    run: list[AuditRecord] = []
    for leaf in (*leaves, None):
        if run and not (
            isinstance(leaf, AuditRecord)
            and (leaf.device_id, leaf.sequence) == (run[-1].device_id, run[-1].sequence + 1)
        ):
            yield b"\x00" + _text(run[0].device_id) + _varint(run[0].sequence) + _varint(len(run))
            run = []
        if isinstance(leaf, AuditRecord):
            run.append(leaf)
        elif leaf is not None:
            yield b"\x01" + _varint(len(leaf)) + leaf


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Returns the root of the Merkle tree over some leaves (RFC 6962, section 2.1)."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def _bytes(leaf: _Leaf) -> bytes:
    return b"\x01" + leaf.canonical_bytes() if isinstance(leaf, AuditRecord) else leaf


def _varint(number: int) -> bytes:
    encoding = bytearray()
    while number >= 0x80:
        encoding.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoding, number])


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _varint(len(encoded)) + encoded


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@cache
def _public_key(seed: bytes) -> bytes:
    return _curve.public_key(seed)


@cache
def _sign(seed: bytes, message: bytes) -> bytes:
    return _curve.sign(seed, message)


def write_log(
    folder: Path,
    *,
    checkpoint: str,
    layout: bytes,
    policy: str | None = None,
    previous: str | None = None,
    timestamps: Sequence[bytes] = (),
    tsa_roots: str | None = None,
) -> dict[str, Any]:
    """Writes the files of a log to a directory, and returns them as `verify_chain` takes them.

    Args:
        folder: The directory.
        checkpoint: The checkpoint.
        layout: The layout.
        policy: The policy; by default that of `log_policy`.
        previous: The earlier checkpoint, if any.
        timestamps: The time stamps of the checkpoint.
        tsa_roots: The certificates of the roots of time stamping authorities, required with `timestamps`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"checkpoint": checkpoint, "policy": log_policy() if policy is None else policy}
    if previous is not None:
        texts["previous"] = previous
    if tsa_roots is not None:
        texts["tsa_roots"] = tsa_roots
    files: dict[str, Any] = {name: folder / name for name in (*texts, "log_layout")}
    for name, text in texts.items():
        files[name].write_text(text, encoding="utf-8")
    files["log_layout"].write_bytes(layout)
    if timestamps:
        files["timestamps"] = [folder / f"{number}.tsr" for number in range(len(timestamps))]
        for path, stamp in zip(files["timestamps"], timestamps, strict=True):
            path.write_bytes(stamp)
    return files
