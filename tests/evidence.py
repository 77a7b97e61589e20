"""Makes evidence bundles from docs/reference/bundle.md, with its own keys and none of the project's code."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bundles import header

ORIGIN = "log.example/lifts"
START_MS = 1_700_000_000_000
SIGNED_S = 1_800_000_000
Place: TypeAlias = tuple[bytes, int]


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def text(value: bytes) -> bytes:
    return varint(len(value)) + value


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\0" + leaf).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """Returns the root of RFC 6962, section 2.1, level by level: a node without a sibling moves up."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    level = list(hashes)
    while len(level) > 1:
        pairs = range(0, len(level) - 1, 2)
        above = [hashlib.sha256(b"\1" + level[at] + level[at + 1]).digest() for at in pairs]
        level = above + level[len(above) * 2 :]
    return level[0]


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


@dataclass
class Signer:
    """A key of notes: that of a log (kind 1) or of a witness (kind 4)."""

    name: str
    kind: int
    key: Ed25519PrivateKey

    @classmethod
    def of(cls, name: str, kind: int, seed: int) -> Signer:
        return cls(name, kind, Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)))

    @property
    def id(self) -> bytes:
        named = self.name.encode() + b"\n" + bytes([self.kind]) + public_bytes(self.key)
        return hashlib.sha256(named).digest()[:4]

    def vkey(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64_of(bytes([self.kind]) + public_bytes(self.key))}"

    def line(self, note: str, time: int = SIGNED_S) -> str:
        if self.kind == 1:
            signature = self.key.sign(note.encode())
        else:
            signed = f"cosignature/v1\ntime {time}\n{note}".encode()
            signature = time.to_bytes(8, "big") + self.key.sign(signed)
        return f"\u2014 {self.name} {base64_of(self.id + signature)}\n"


@dataclass
class Entry:
    """A record before it is encoded."""

    device_id: bytes
    sequence: int
    payload_hash: bytes
    previous: bytes = bytes(32)
    timestamp_ms: int = START_MS
    signature: bytes = bytes(64)
    object_ref: bytes = b"lift/1.bin"

    def encode(self, with_signature: bool = True) -> bytes:
        return b"".join(
            [
                text(self.device_id),
                varint(self.sequence),
                varint(self.timestamp_ms),
                self.payload_hash,
                text(self.signature) if with_signature else b"",
                self.previous,
                text(self.object_ref),
            ]
        )

    def hash(self) -> bytes:
        return blake3(self.encode()).digest()

    def sign(self, key: Ed25519PrivateKey, scheme: str) -> None:
        message = self.payload_hash
        if scheme == "record":
            context = "edgesentry-rs 2026 record signature v1"
            message = blake3(self.encode(False), derive_key_context=context).digest()
        self.signature = key.sign(message)


@dataclass
class Lift:
    """A device: its keys by their first sequence, and the end of its chain."""

    device_id: bytes
    scheme: str = "record"
    keys: dict[int, Ed25519PrivateKey] = field(default_factory=dict)
    start: Place | None = None
    sequence: int = 0
    hash: bytes = bytes(32)

    def state(self, entry: Entry, key: Ed25519PrivateKey, encoding: bytes | None = None) -> bytes:
        """Makes a record the succession to a key, or to its `encoding`; signs it, and returns its payload."""
        old = self.keys[max(valid_from for valid_from in self.keys if valid_from <= max(1, entry.sequence))]
        kind, new = bytes([self.scheme == "record"]), encoding or public_bytes(key)
        context = text(b"edgesentry-rs 2026 key succession v1")
        place = text(entry.device_id) + varint(min(entry.sequence + 1, 2**64 - 1))
        statement = context + place + kind + public_bytes(old) + kind + new
        proof = key.sign(statement)
        reference = f"edgesentry:succession:1:{self.scheme}:{new.hex()}:{proof.hex()}"
        entry.object_ref = reference.encode()
        entry.payload_hash = blake3(statement + proof).digest()
        entry.sign(old, self.scheme)
        return statement + proof


def heads_entry(device_id: bytes, sequence: int, record_hash: bytes, start: tuple[int, bytes]) -> bytes:
    return b"\x10" + text(device_id) + varint(sequence) + record_hash + varint(start[0]) + start[1]


class Log:
    """A log with devices, batch by batch."""

    def __init__(self, origin: str = ORIGIN) -> None:
        self.origin = origin
        self.log_key = Signer.of(origin, 1, 101)
        self.witnesses = [Signer.of(f"witness-{n}.example", 4, 110 + n) for n in (1, 2, 3)]
        self.lifts: dict[bytes, Lift] = {}
        self.leaves: list[bytes] = [self.opened(origin)]
        self.payloads: dict[bytes, bytes] = {}
        self.signed: dict[bytes, Entry] = {}
        self.records = 0
        self.sizes: list[int] = []

    @staticmethod
    def opened(origin: str) -> bytes:
        return b"\6" + text(origin.encode()) + varint(0) + b"\0" + varint(START_MS)

    def register(
        self,
        name: bytes,
        seed: int,
        scheme: str = "record",
        valid_from: int = 1,
        start: tuple[int, bytes] | None = None,
    ) -> Lift:
        """Registers a key and adds its leaf."""
        lift = self.lifts.setdefault(name, Lift(name, scheme))
        key = lift.keys[valid_from] = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
        if start is not None:
            lift.sequence, lift.hash = start
        option = b"\0" if start is None else b"\1" + varint(start[0]) + start[1]
        body = [text(name), varint(valid_from), public_bytes(key), bytes([scheme == "record"]), option]
        self.leaves.append(b"\3" + b"".join(body) + varint(START_MS))
        lift.start = lift.start or (None if start is None else (start[1], start[0]))
        return lift

    def record(self, name: bytes, payload: bytes | None = None) -> Entry:
        """Adds the next record of a device."""
        lift = self.lifts[name]
        sequence = lift.sequence + 1
        payload = b"%s %d" % (name, sequence) if payload is None else payload
        payload_hash = blake3(payload).digest()
        entry = Entry(name, sequence, payload_hash, lift.hash, START_MS + 1000 * sequence)
        valid = max(valid_from for valid_from in lift.keys if valid_from <= sequence)
        entry.sign(lift.keys[valid], lift.scheme)
        self.payloads[payload_hash] = payload
        self.add(entry)
        return entry

    def succeed(self, name: bytes) -> Entry:
        """Adds the record by which a device states its next key."""
        lift = self.lifts[name]
        sequence = lift.sequence + 1
        entry = Entry(name, sequence, bytes(32), lift.hash, START_MS + 1000 * sequence)
        payload = lift.state(entry, lift.keys[sequence + 1])
        self.payloads[entry.payload_hash] = payload
        self.add(entry)
        return entry

    def add(self, entry: Entry) -> None:
        lift = self.lifts[entry.device_id]
        lift.sequence, lift.hash = entry.sequence, entry.hash()
        self.leaves.append(b"\1" + entry.encode())
        self.signed[self.leaves[-1]] = entry
        self.records += 1

    def erase(self, name: bytes, sequence: int, payload_hash: bytes | None = None) -> None:
        """Adds the erasure of a payload, and drops the payload."""
        entries = (entry for _, entry in self.entries())
        erased = next(entry for entry in entries if (entry.device_id, entry.sequence) == (name, sequence))
        self.payloads.pop(erased.payload_hash, None)
        body = [text(name), varint(sequence), payload_hash or erased.payload_hash, text(b"asked")]
        self.leaves.append(b"\5" + b"".join(body) + varint(START_MS))

    def heads(self) -> list[tuple[bytes, bytes]]:
        """Returns the entries of the heads tree by device."""
        entries = []
        for name, lift in sorted(self.lifts.items()):
            start = (lift.start[1], lift.start[0]) if lift.start else (0, bytes(32))
            entries.append((name, heads_entry(name, lift.sequence, lift.hash, start)))
        return entries

    def heads_leaf(self) -> bytes:
        entries = self.heads()
        root = tree_root([leaf_hash(entry) for _, entry in entries])
        return b"\2" + varint(self.records) + varint(len(entries)) + root + varint(START_MS)

    def entries(self) -> list[tuple[int, Entry]]:
        """Returns the records as they were signed, with their leaves."""
        return [(at, self.signed[leaf]) for at, leaf in enumerate(self.leaves) if leaf in self.signed]

    def close(self) -> int:
        """Adds the heads leaf of a batch. Returns the size."""
        self.leaves.append(self.heads_leaf())
        self.sizes.append(len(self.leaves))
        return len(self.leaves)

    def root(self, size: int) -> bytes:
        return tree_root([leaf_hash(leaf) for leaf in self.leaves[:size]])

    def note(self, size: int) -> str:
        return f"{self.origin}\n{size}\n{base64_of(self.root(size))}\n"

    def checkpoint(self, size: int | None = None, witnesses: Iterable[int] = (0, 1)) -> bytes:
        """Returns a signed checkpoint."""
        note = self.note(self.sizes[-1] if size is None else size)
        lines = [self.log_key.line(note), *(self.witnesses[at].line(note, SIGNED_S + at) for at in witnesses)]
        return (note + "\n" + "".join(lines)).encode()

    def stamped(self, size: int | None = None) -> bytes:
        """Returns the bytes that a time stamp of the checkpoint is about."""
        note = self.note(self.sizes[-1] if size is None else size)
        return (note + "\n" + self.log_key.line(note)).encode()

    def policy(self, quorum: str = "two") -> bytes:
        """Returns a policy that requires two of three witnesses."""
        names = [f"witness w{at} {witness.vkey()}" for at, witness in enumerate(self.witnesses)]
        lines = [f"log {self.log_key.vkey()}", *names, "group two 2 w0 w1 w2", f"quorum {quorum}"]
        return ("\n".join(lines) + "\n").encode()

    def keys(self) -> bytes:
        """Returns the member `keys`."""
        lines = [
            f"key {base64_of(name)} {valid_from} {lift.scheme} {public_bytes(key).hex()}\n"
            for name, lift in sorted(self.lifts.items())
            for valid_from, key in sorted(lift.keys.items())
        ]
        return "".join(lines).encode()

    def key_ring(self) -> dict[str, list[dict[str, object]]]:
        """Returns the key ring of an auditor."""
        return {
            name.decode(): [
                {"key": public_bytes(key).hex(), "scheme": lift.scheme, "valid_from": valid_from}
                for valid_from, key in sorted(lift.keys.items())
            ]
            for name, lift in self.lifts.items()
        }

    # -- Bundles --

    def full(self, size: int | None = None, **more: bool) -> Bundle:
        """Returns the bundle of scope full."""
        size = self.sizes[-1] if size is None else size
        items = b"".join(item(leaf) for leaf in self.leaves[:size])
        return self._bundle("full", size, items, **more)

    def of_devices(self, names: Sequence[bytes], since: int | None = None, **more: bool) -> Bundle:
        """Returns the bundle of some devices."""
        size = self.sizes[-1]
        ids = tuple(text(name) for name in names)

        def is_part(at: int) -> bool:
            leaf = self.leaves[at]
            return at == size - 1 or (leaf[0] in (1, 3, 4, 5) and leaf[1:].startswith(ids))

        bundle = self._bundle("devices", size, subtrees(self.leaves[:size], is_part, since), **more)
        bundle.since = since
        bundle.names = [f"device {base64_of(name)}" for name in sorted(names)]
        entries = self.heads()
        known = [device_id for device_id, _ in entries]
        near = set()
        for name in names:
            at = sum(device_id < name for device_id in known)
            near |= {at} if name in known else {at - 1, at}
        bundle.members["heads"] = subtrees([entry for _, entry in entries], near.__contains__, None)
        return bundle

    def of_records(
        self, places: Sequence[tuple[bytes, int]], since: int | None = None, **more: bool
    ) -> Bundle:
        """Returns the bundle of single records."""
        size = self.sizes[-1]
        wanted = {text(name) + varint(sequence) for name, sequence in places}

        def is_part(at: int) -> bool:
            return self.leaves[at][0] in (1, 5) and any(self.leaves[at][1:].startswith(one) for one in wanted)

        bundle = self._bundle("records", size, subtrees(self.leaves[:size], is_part, since), **more)
        bundle.since = since
        bundle.names = [f"record {sequence} {base64_of(name)}" for name, sequence in sorted(places)]
        return bundle

    def _bundle(
        self, scope: str, size: int, items: bytes, payloads: bool = False, claims: bool = True
    ) -> Bundle:
        members = {"checkpoint": self.checkpoint(size), "leaves-000": items}
        if claims:
            members.update(keys=self.keys(), policy=self.policy())
        if payloads:
            shown = {digest: data for digest, data in self.payloads.items() if digest in items}
            members.update({f"payload-{digest.hex()}": data for digest, data in shown.items()})
        return Bundle(scope, members, payloads=payloads)


def item(leaf: bytes) -> bytes:
    return len(leaf).to_bytes(2, "big") + leaf


def subtrees(leaves: Sequence[bytes], is_part: object, since: int | None) -> bytes:
    """Returns items: the leaves that are part of the bundle, and the largest subtrees over the others."""
    assert callable(is_part)
    out = []
    at = 0
    while at < len(leaves):
        if is_part(at):
            out.append(item(leaves[at]))
            at += 1
            continue
        end = next((one for one in range(at, len(leaves)) if is_part(one)), len(leaves))
        if since is not None and at < since < end:
            end = since
        level = 0
        while at % (2 << level) == 0 and at + (2 << level) <= end:
            level += 1
        root = tree_root([leaf_hash(leaf) for leaf in leaves[at : at + (1 << level)]])
        out.append(b"\0\0" + bytes([level]) + root)
        at += 1 << level
    return b"".join(out)


@dataclass
class Bundle:
    """The parts of a bundle, which a test may change before it is packed."""

    scope: str
    members: dict[str, bytes]
    payloads: bool = False
    since: int | None = None
    names: list[str] = field(default_factory=list)
    created: int = START_MS

    def manifest(self, members: Mapping[str, bytes]) -> bytes:
        lines = ["edgesentry-bundle@v1", f"scope {self.scope}", f"created {self.created}"]
        lines += [f"since {self.since}"] if self.since is not None else []
        lines += ["payloads"] if self.payloads else []
        lines += self.names
        for name, data in sorted(members.items()):
            lines.append(f"file {hashlib.sha256(data).hexdigest()} {len(data)} {name}")
        return ("\n".join(lines) + "\n").encode()

    def pack(self, manifest: bytes | None = None) -> bytes:
        """Returns the bytes of the bundle, with another manifest if one is given."""
        manifest = self.manifest(self.members) if manifest is None else manifest
        parts = [member("manifest", manifest)]
        parts += [member(name, data) for name, data in sorted(self.members.items())]
        return b"".join(parts) + bytes(1024)


def member(name: str, data: bytes) -> bytes:
    return header(name, len(data)) + data + bytes(-len(data) % 512)


def sample_log() -> Log:
    """Returns a log with two schemes, a new key, a chain with a start and a device without a record."""
    log = Log()
    for number in (1, 2, 3):
        log.register(b"lift-%02d" % number, number, "payload-hash" if number == 3 else "record")
    log.register(b"lift-09", 9)
    for _ in range(7):
        for number in (1, 2, 3):
            log.record(b"lift-%02d" % number)
    log.close()
    log.register(b"lift-01", 41, valid_from=10)
    log.register(b"lift-05", 5, start=(100, bytes([7] * 32)))
    for name in [b"lift-01"] * 6 + [b"lift-05"] * 4:
        log.record(name)
    log.leaves.append(b"\4" + text(b"lift-02") + varint(8) + varint(START_MS))
    log.close()
    log.record(b"lift-03")
    log.leaves.append(b"\5" + text(b"lift-02") + varint(2) + bytes(32) + text(b"asked") + varint(START_MS))
    log.close()
    return log


def erased_log() -> Log:
    """Returns the log of `sample_log`, which then erases two payloads of lift-01 and one of lift-05."""
    log = sample_log()
    for name, sequence in ((b"lift-01", 3), (b"lift-01", 9), (b"lift-05", 102)):
        log.erase(name, sequence)
    log.close()
    return log


def erased_bundles(log: Log) -> dict[str, Bundle]:
    """Returns bundles of a log with payloads, of each scope."""
    return {
        "full": log.full(payloads=True),
        "devices": log.of_devices([b"lift-01", b"lift-02"], payloads=True),
        "records": log.of_records([(b"lift-01", 3), (b"lift-01", 4), (b"lift-05", 102)], payloads=True),
    }


def small_log() -> Log:
    """Returns a log with one record."""
    log = Log()
    log.register(b"lift-01", 1)
    log.record(b"lift-01")
    log.close()
    return log


def forged_logs(seed: int, number: int) -> Iterator[tuple[str, Log, Bundle]]:
    """Yields changes, logs that an operator with all keys of the log falsified by them, and their bundles.

    Root and signatures are those of the falsified leaves, so only the later steps can find the change.
    """
    draw = random.Random(seed)
    for _ in range(number):
        log = sample_log()
        changes = []
        for _ in range(draw.choice([1, 1, 2, 3])):
            name, change = draw.choice(FORGERIES)
            at = draw.randrange(len(log.leaves))
            change(draw, log, at)
            changes.append(f"{name} at leaf {at}")
        if draw.random() < 0.7:
            log.leaves[-1] = log.heads_leaf()
        size = len(log.leaves) - draw.choice([0, 0, 0, 0, 1, 3])
        scope = draw.choice(["full", "full", "devices", "records"])
        log.sizes[-1] = size
        places = [(b"lift-01", 3), (b"lift-02", draw.randrange(1, 12)), (b"lift-05", 102)]
        payloads = draw.random() < 0.4
        if scope == "full":
            bundle = log.full(size, payloads=payloads)
            bundle.members["leaves-000"] += b"".join(item(leaf) for leaf in log.leaves[size:])
        elif scope == "devices":
            names = draw.sample([b"a", *(b"lift-%02d" % at for at in (1, 2, 3, 4, 5, 9))], 3)
            bundle = log.of_devices(
                sorted(names), draw.choice([None, None, 5, log.sizes[0]]), payloads=payloads
            )
        else:
            bundle = log.of_records(places, payloads=payloads)
        yield f"{scope} {size}: {', '.join(changes)}", log, bundle


def resign(draw: random.Random, log: Log, at: int) -> None:
    """Changes fields of a record; sometimes the device signs it again."""
    entry = next((one for one in log.entries() if one[0] == at), None)
    if entry is None:
        return
    record = entry[1]
    field_name = draw.choice(
        ["sequence", "timestamp_ms", "previous", "device_id", "object_ref", "payload_hash"]
    )
    values: dict[str, list[object]] = {
        "sequence": [0, 1, record.sequence - 1, record.sequence + 1, record.sequence + 5, 2**64 - 1],
        "timestamp_ms": [0, 2**64 - 1],
        "previous": [bytes(32), bytes([3] * 32)],
        "device_id": [b"lift-01", b"lift-04", b"lift-99", b""],
        "object_ref": [b"", b"\xc3\xa9" * 70],
        "payload_hash": [bytes(32)],
    }
    value = draw.choice(values[field_name])
    setattr(record, field_name, max(0, value) if isinstance(value, int) else value)
    lift = log.lifts.get(record.device_id)
    if lift is not None and draw.random() < 0.5:
        record.sign(draw.choice(list(lift.keys.values())), draw.choice(["record", "payload-hash"]))
    log.leaves[at] = b"\1" + record.encode()


def state_successor(draw: random.Random, log: Log, at: int) -> None:
    """Makes a record the succession to a key, often with a fault; the device signs it."""
    entry = next((one for one in log.entries() if one[0] == at), None)
    if entry is None or entry[1].device_id not in log.lifts:
        return
    record = entry[1]
    lift = log.lifts[record.device_id]
    if draw.random() < 0.2:
        record.sequence = draw.choice([2**64 - 1, record.sequence + 1])
    keys = [*lift.keys.values(), Ed25519PrivateKey.from_private_bytes(bytes([77] * 32))]
    weak = [None, None, None, bytes(32), b"\1" + bytes(31), bytes([2] * 32), b"\xff" * 32]
    lift.state(record, draw.choice(keys), draw.choice(weak))
    edits: list[Callable[[bytes], bytes]] = [
        lambda reference: reference,
        lambda reference: reference.upper(),
        lambda reference: reference + b":",
        lambda reference: reference.replace(b":1:", b":2:"),
        lambda reference: reference.replace(b"record", b"payload-hash"),
        lambda reference: reference[:-1] + b"0",
        lambda reference: reference.replace(b"edgesentry:s", b"edgesentry:S"),
        lambda reference: b"edgesentry:succession:" + bytes([0xC3, 0xA9]),
        lambda reference: b"\xef\xbb\xbf" + reference,
    ]
    record.object_ref = draw.choice([edits[0], *edits])(record.object_ref)
    if draw.random() < 0.5:
        old = lift.keys[max(one for one in lift.keys if one <= max(1, record.sequence))]
        record.sign(old, lift.scheme)
    log.leaves[at] = b"\1" + record.encode()


def corrupt(draw: random.Random, log: Log, at: int) -> None:
    leaf = bytearray(log.leaves[at])
    place = draw.randrange(len(leaf))
    leaf[place] ^= 1 << draw.randrange(8)
    log.leaves[at] = bytes(leaf)


def move(draw: random.Random, log: Log, at: int) -> None:
    log.leaves.insert(draw.randrange(len(log.leaves)), log.leaves.pop(at))


def add_leaf(draw: random.Random, log: Log, at: int) -> None:
    log.leaves.insert(
        at,
        draw.choice(
            [
                b"\7unknown",
                b"\0",
                b"\1",
                b"\2\0\0" + bytes(32) + b"\0",
                b"\3" + text(b"lift-02") + b"\1" + bytes(32) + b"\2\0\0",
                b"\3" + text(b"lift-02") + b"\1" + bytes(32) + b"\0\1\5" + bytes([8] * 32) + b"\0",
                b"\3" + text(b"lift-88") + b"\1" + bytes(32) + b"\0\0\0",
                b"\4" + text(b"lift-02") + b"\x80\0\0",
                b"\5" + text(b"lift-02") + b"\1" + bytes(32) + text(b"\xff") + b"\0",
                Log.opened("log.example/other"),
                Log.opened(""),
                log.leaves[at],
            ]
        ),
    )


def new_root(draw: random.Random, log: Log, at: int) -> None:
    log.records += draw.choice([-1, 1])
    log.leaves[-1] = log.heads_leaf()


def erase(draw: random.Random, log: Log, at: int) -> None:
    """Erases the payload of a record; sometimes before the record, or under another hash."""
    entries = [entry for _, entry in log.entries()]
    if not entries:
        return
    entry = draw.choice(entries)
    log.erase(entry.device_id, entry.sequence, draw.choice([None, None, None, bytes(32)]))
    log.leaves.insert(draw.choice([at, len(log.leaves) - 1]), log.leaves.pop())


FORGERIES: list[tuple[str, Callable[[random.Random, Log, int], None]]] = [
    ("resign", resign),
    ("resign", resign),
    ("state_successor", state_successor),
    ("corrupt", corrupt),
    ("move", move),
    ("add", add_leaf),
    ("repeat", lambda draw, log, at: log.leaves.insert(draw.randrange(len(log.leaves)), log.leaves[at])),
    ("remove", lambda draw, log, at: None if len(log.leaves) < 3 else log.leaves.__delitem__(at)),
    ("count", new_root),
    ("erase", erase),
    ("erase", erase),
]
