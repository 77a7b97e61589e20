"""Mutated evidence bundles from a seed: the inputs with which verifiers of bundles are compared.

`mutations` needs the standard library only. Half of the mutations of a content are *forged*: the manifest has
digest and size of the new content. The others leave the manifest as it was, as damage does.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BLOCK = 512


@dataclass(frozen=True)
class Mutation:
    """A mutated bundle, and how it came about."""

    number: int
    kind: str
    forged: bool
    description: str
    data: bytes


@dataclass
class Member:
    """A member of the archive."""

    name: str
    content: bytes


def header(name: str, size: int) -> bytes:
    """The header of a member, as docs/reference/bundle.md defines it."""
    fields = [
        name.encode().ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0" % size,
        b"00000000000\0",
        b"        0",
        bytes(100),
        b"ustar\x0000",
        bytes(64),
        b"0000000\0" * 2,
    ]
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def unpack(bundle: bytes) -> list[Member]:
    """The members of a bundle that is in order."""
    members = []
    at = 0
    while bundle[at] != 0:
        size = int(bundle[at + 124 : at + 135], 8)
        name = bundle[at : at + 100].rstrip(b"\0").decode()
        members.append(Member(name, bundle[at + BLOCK : at + BLOCK + size]))
        at += BLOCK + -(-size // BLOCK) * BLOCK
    return members


def pack(members: list[Member]) -> bytes:
    """An archive of members as they are."""
    parts = []
    for member in members:
        content = member.content
        parts += [header(member.name, len(content)), content, bytes(-len(content) % BLOCK)]
    return b"".join(parts) + bytes(2 * BLOCK)


def forge(members: list[Member]) -> list[Member]:
    """The members with a manifest that lists them as they are, in their order."""
    lines = members[0].content.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("file ")]
    for member in members[1:]:
        digest = hashlib.sha256(member.content).hexdigest()
        kept.append(f"file {digest} {len(member.content)} {member.name}\n")
    manifest = "".join(kept).encode("utf-8", "surrogateescape")
    return [Member("manifest", manifest), *members[1:]]


def items(content: bytes) -> list[bytes]:
    """The items of leaves or heads that are in order."""
    found = []
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 2], "big")
        size = 2 + length if length else 35
        found.append(content[at : at + size])
        at += size
    return found


def edit(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    """Changes some bytes: one bit, one byte, a repeated, removed or inserted span."""
    at = draw.randrange(len(content)) if content else 0
    way = draw.choice(["bit", "byte", "remove", "insert", "repeat", "zero"]) if content else "insert"
    span = draw.choice([1, 1, 1, 2, 7, 32, 33])
    end = min(len(content), at + span)
    edited = {
        "bit": lambda: content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :],
        "byte": lambda: content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :],
        "remove": lambda: content[:at] + content[end:],
        "insert": lambda: content[:at] + draw.randbytes(span) + content[at:],
        "repeat": lambda: content[:end] + content[at:end] + content[end:],
        "zero": lambda: content[:at] + bytes(end - at) + content[end:],
    }[way]()
    return edited, f"{way} at byte {at}"


@dataclass
class Element:
    """An element of DER; a primitive one has no elements, even if its content looks like some."""

    tag: int
    content: bytes
    elements: list[Element]

    @staticmethod
    def parse(data: bytes) -> Element:
        """Parses one element that is in order."""
        size, start = data[1], 2
        if size >= 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        content = data[start : start + size]
        elements = []
        at = 0
        while data[0] & 0x20 and at < len(content):
            elements.append(Element.parse(content[at:]))
            at += len(elements[-1].encode())
        return Element(data[0], content, elements)

    def encode(self) -> bytes:
        """Encodes the element."""
        content = b"".join(one.encode() for one in self.elements) if self.elements else self.content
        return bytes([self.tag]) + length(len(content)) + content

    def draw_path(self, draw: random.Random) -> list[int]:
        """Draws the way to an element: the place in each element around it."""
        path: list[int] = []
        element = self
        while element.elements and (not path or draw.random() < 0.9):
            path.append(draw.randrange(len(element.elements)))
            element = element.elements[path[-1]]
        return path

    def edited(self, path: list[int], draw: random.Random) -> tuple[bytes, str]:
        """Encodes the element with a change of the one at the end of the path."""
        if len(path) > 1:
            inner, way = self.elements[path[0]].edited(path[1:], draw)
            return self.with_parts(path[0], inner), way
        one = self.elements[path[0]]
        whole, tag = one.encode(), bytes([one.tag])
        content = one.content
        edited = edit(draw, content)[0]
        way = draw.choice(["tag", "content", "length", "remove", "repeat", "other", "empty", "insert"])
        changed = {
            "tag": bytes([draw.choice([one.tag ^ 1 << draw.randrange(8), draw.randrange(256)])]) + whole[1:],
            "content": tag + length(len(edited)) + edited,
            "length": tag + draw.choice([b"\x80", b"\x81\x05", b"\x84\xff\xff\xff\xff", b"\0"]) + content,
            "remove": b"",
            "repeat": whole + whole,
            "other": draw.choice(self.elements).encode(),
            "empty": tag + b"\0",
            "insert": whole + draw.choice([b"\x05\x00", b"\x30\x00", b"\xa0\x00", b"\x02\x01\x01"]),
        }[way]
        return self.with_parts(path[0], changed), way

    def with_parts(self, at: int, part: bytes) -> bytes:
        """Encodes the element with other bytes in place of one of its elements."""
        parts = [one.encode() for one in self.elements]
        parts[at] = part
        content = b"".join(parts)
        return bytes([self.tag]) + length(len(content)) + content


def length(size: int) -> bytes:
    """Encodes a length of DER."""
    if size < 0x80:
        return bytes([size])
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(digits)]) + digits


class Generator:
    """Draws mutations of one bundle."""

    def __init__(self, seed: int, bundle: bytes) -> None:
        """Reads the bundle, which must be in order."""
        self.draw = random.Random(seed)
        self.bundle = bundle
        self.members = unpack(bundle)
        kinds: dict[str, Callable[[], tuple[bytes, bool, str]] | None] = {
            "header": self.header,
            "manifest": self.manifest,
            "leaf": self.named("leaves-"),
            "item": self.item,
            "subtree": self.subtree,
            "checkpoint": self.named("checkpoint"),
            "note": self.note,
            "heads": self.named("heads"),
            "keys": self.named("keys"),
            "policy": self.named("policy"),
            "payload": self.named("payload-"),
            "text": self.named("readme.txt"),
            "stamp": self.named("tsa-0.tsr"),
            "certificates": self.named("tsa-0.pem"),
            "token": self.token() if any(one.name == "tsa-0.tsr" for one in self.members) else None,
            "padding": self.padding,
            "truncation": self.truncation,
            "insertion": self.insertion,
            "swap": self.swap,
            "removal": self.removal,
            "repetition": self.repetition,
            "any": self.anywhere,
        }
        self.kinds = {kind: draw for kind, draw in kinds.items() if draw is not None}

    def __iter__(self) -> Iterator[Mutation]:
        """Yields mutations without end; each kind has the same share."""
        number = 0
        names = list(self.kinds)
        while True:
            kind = names[number % len(names)]
            data, forged, description = self.kinds[kind]()
            if data != self.bundle:
                yield Mutation(number, kind, forged, description, data)
            number += 1

    def replaced(self, at: int, content: bytes) -> tuple[bytes, bool]:
        """The bundle with another content of a member, forged or not."""
        members = list(self.members)
        members[at] = Member(members[at].name, content)
        forged = self.draw.random() < 0.5
        if forged:
            members = forge(members)
        return pack(members), forged

    def offset(self, at: int) -> int:
        """The offset of the header of a member."""
        return sum(BLOCK + -(-len(member.content) // BLOCK) * BLOCK for member in self.members[:at])

    def named(self, prefix: str) -> Callable[[], tuple[bytes, bool, str]] | None:
        """Edits a member whose name begins like this, if there is one."""
        found = [at for at, member in enumerate(self.members) if member.name.startswith(prefix)]
        if not found:
            return None

        def mutate() -> tuple[bytes, bool, str]:
            at = self.draw.choice(found)
            content, description = edit(self.draw, self.members[at].content)
            data, forged = self.replaced(at, content)
            return data, forged, f"{self.members[at].name}: {description}"

        return mutate

    def token(self) -> Callable[[], tuple[bytes, bool, str]]:
        """Edits an element of a time stamp; the lengths around it are right."""
        at = next(at for at, member in enumerate(self.members) if member.name == "tsa-0.tsr")
        root = Element.parse(self.members[at].content)

        def mutate() -> tuple[bytes, bool, str]:
            path = root.draw_path(self.draw)
            content, way = root.edited(path, self.draw)
            data, forged = self.replaced(at, content)
            return data, forged, f"tsa-0.tsr: {way} at {path}"

        return mutate

    def header(self) -> tuple[bytes, bool, str]:
        """Edits a byte of a header; sometimes with the checksum that belongs to it."""
        at = self.draw.randrange(len(self.members))
        start = self.offset(at)
        block = bytearray(self.bundle[start : start + BLOCK])
        byte = self.draw.choice([self.draw.randrange(BLOCK), self.draw.randrange(124, 136), 156])
        block[byte] = self.draw.choice([0, 0x20, 0x30, 0x31, 0x37, 0x80, 0xFF, self.draw.randrange(256)])
        forged = self.draw.random() < 0.5
        if forged:
            block[148:156] = b"        "
            block[148:156] = b"%06o\0 " % sum(block)
        data = self.bundle[:start] + bytes(block) + self.bundle[start + BLOCK :]
        return data, forged, f"header of {self.members[at].name}, byte {byte}"

    def manifest(self) -> tuple[bytes, bool, str]:
        """Edits the manifest: bytes, or whole lines."""
        members = list(self.members)
        lines = members[0].content.splitlines(keepends=True)
        at = self.draw.randrange(len(lines))
        way = self.draw.choice(["bytes", "remove", "repeat", "swap", "scope", "since", "payloads"])
        if way == "bytes":
            content, way = edit(self.draw, members[0].content)
        else:
            if way == "remove":
                del lines[at]
            elif way == "repeat":
                lines.insert(at, lines[at])
            elif way == "swap":
                other = self.draw.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            elif way == "scope":
                lines[1] = self.draw.choice([b"scope full\n", b"scope devices\n", b"scope records\n"])
            elif way == "since":
                lines = [line for line in lines if not line.startswith(b"since ")]
                lines.insert(3, b"since %d\n" % self.draw.randrange(1, 40))
            else:
                lines.insert(3, b"payloads\n")
            content = b"".join(lines)
        members[0] = Member("manifest", content)
        return pack(members), False, f"manifest: {way}, line {at + 1}"

    def item(self) -> tuple[bytes, bool, str]:
        """Removes, repeats, swaps or inserts whole items of the leaves."""
        at = next(at for at, member in enumerate(self.members) if member.name == "leaves-000")
        found = items(self.members[at].content)
        one, other = self.draw.randrange(len(found)), self.draw.randrange(len(found))
        way = self.draw.choice(["remove", "repeat", "swap", "append", "unknown kind", "empty subtree"])
        if way == "remove":
            del found[one]
        elif way == "repeat":
            found.insert(one, found[one])
        elif way == "swap":
            found[one], found[other] = found[other], found[one]
        elif way == "append":
            found.append(found[other])
        elif way == "unknown kind":
            found.insert(one, b"\0\x03\x09ab")
        else:
            found.insert(one, b"\0\0" + bytes([self.draw.choice([0, 1, 2, 62, 63, 255])]) + bytes(32))
        data, forged = self.replaced(at, b"".join(found))
        return data, forged, f"items: {way} {one}, {other}"

    def subtree(self) -> tuple[bytes, bool, str]:
        """Edits level or hash of a subtree of leaves or heads; without one, a length of an item."""
        members = [at for at, one in enumerate(self.members) if one.name in ("leaves-000", "heads")]
        at = self.draw.choice(members)
        found = items(self.members[at].content)
        if not found:
            return self.bundle, False, ""
        subtrees = [one for one, item in enumerate(found) if item[:2] == b"\0\0"]
        one = self.draw.choice(subtrees) if subtrees else self.draw.randrange(len(found))
        item = bytearray(found[one])
        byte = self.draw.choice([2, self.draw.randrange(3, 35)]) if subtrees else self.draw.randrange(2)
        item[byte] ^= 1 << self.draw.randrange(8)
        found[one] = bytes(item)
        data, forged = self.replaced(at, b"".join(found))
        return data, forged, f"{self.members[at].name}: byte {byte} of item {one}"

    def note(self) -> tuple[bytes, bool, str]:
        """Edits lines of the checkpoint."""
        at = next(at for at, member in enumerate(self.members) if member.name == "checkpoint")
        lines = self.members[at].content.splitlines(keepends=True)
        one = self.draw.randrange(len(lines))
        way = self.draw.choice(["remove", "repeat", "digit", "extension", "stranger"])
        if way == "remove":
            del lines[one]
        elif way == "repeat":
            lines.insert(one, lines[one])
        elif way == "digit":
            lines[1] = b"%d\n" % max(0, int(lines[1]) + self.draw.choice([-2, -1, 1, 2, 2**62]))
        elif way == "extension":
            lines.insert(3, b"extension\n")
        else:
            lines.append("— stranger.example AAAAAAAA\n".encode())
        data, forged = self.replaced(at, b"".join(lines))
        return data, forged, f"checkpoint: {way}, line {one + 1}"

    def padding(self) -> tuple[bytes, bool, str]:
        """Sets a byte of padding, or of the end."""
        at = self.draw.randrange(len(self.members))
        end = self.offset(at) + BLOCK + len(self.members[at].content)
        free = -len(self.members[at].content) % BLOCK
        place = end + self.draw.randrange(free) if free else len(self.bundle) - 1 - self.draw.randrange(1024)
        data = self.bundle[:place] + b"\x01" + self.bundle[place + 1 :]
        return data, False, f"padding at byte {place}"

    def truncation(self) -> tuple[bytes, bool, str]:
        """Cuts the file."""
        place = self.draw.choice(
            [self.draw.randrange(len(self.bundle)), len(self.bundle) - 512, len(self.bundle) - 1]
        )
        return self.bundle[:place], False, f"cut at byte {place}"

    def insertion(self) -> tuple[bytes, bool, str]:
        """Inserts bytes anywhere, or after the end."""
        place = self.draw.choice([self.draw.randrange(len(self.bundle)), len(self.bundle)])
        more = self.draw.choice([b"\0", bytes(512), self.draw.randbytes(5)])
        return self.bundle[:place] + more + self.bundle[place:], False, f"{len(more)} bytes at {place}"

    def swap(self) -> tuple[bytes, bool, str]:
        """Exchanges two members, or their contents."""
        members = list(self.members)
        one, other = self.draw.randrange(len(members)), self.draw.randrange(len(members))
        if self.draw.random() < 0.5:
            members[one], members[other] = members[other], members[one]
            return pack(members), False, f"members {one} and {other}"
        first, second = members[one], members[other]
        members[one], members[other] = Member(first.name, second.content), Member(second.name, first.content)
        forged = self.draw.random() < 0.5 and 0 not in (one, other)
        return pack(forge(members) if forged else members), forged, f"contents of {one} and {other}"

    def removal(self) -> tuple[bytes, bool, str]:
        """Removes a member."""
        at = self.draw.randrange(1, len(self.members))
        members = self.members[:at] + self.members[at + 1 :]
        forged = self.draw.random() < 0.5
        return pack(forge(members) if forged else members), forged, f"without {self.members[at].name}"

    def repetition(self) -> tuple[bytes, bool, str]:
        """Repeats a member, or adds another one."""
        at = self.draw.randrange(1, len(self.members))
        name = self.draw.choice(
            [self.members[at].name, "leaves-001", "heads", "zzz", "tsa-0.tsr", "policy", "keys"]
        )
        members = [*self.members[:at], Member(name, self.members[at].content), *self.members[at:]]
        members[1:] = sorted(members[1:], key=lambda member: member.name)
        forged = self.draw.random() < 0.5
        return pack(forge(members) if forged else members), forged, f"{name} from {self.members[at].name}"

    def anywhere(self) -> tuple[bytes, bool, str]:
        """Flips a bit anywhere."""
        place = self.draw.randrange(len(self.bundle))
        flipped = self.bundle[place] ^ (1 << self.draw.randrange(8))
        return (
            self.bundle[:place] + bytes([flipped]) + self.bundle[place + 1 :],
            False,
            f"bit of byte {place}",
        )


def mutations(seed: int, bundle: bytes, number: int) -> Iterator[Mutation]:
    """Yields mutations of a bundle: the same for the same seed."""
    generator = iter(Generator(seed, bundle))
    for _ in range(number):
        yield next(generator)
