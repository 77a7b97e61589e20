"""Single bytes of the demo's bundle that change as in a hex editor, and what every verifier must report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import bundles

WATER = "water-branch-1"
# Code, file, device and sequence of a finding.
Place: TypeAlias = tuple[str, str | None, str | None, str]


def damaged(name: str | None) -> Place:
    return ("bundle_malformed", name, None, "")


class DemoBundle:
    """The bundle in the directory of a demo, and the auditor's files in the form of a log."""

    sizes = (0,)

    def __init__(self, folder: Path) -> None:
        self.data = (folder / "bundle/case.tar").read_bytes()
        self.trusted = folder / "log"
        self.members: dict[str, bytes] = {}
        self.headers: dict[str, int] = {}
        at = 0
        for member in bundles.unpack(self.data):
            self.members[member.name] = member.content
            self.headers[member.name] = at
            at += 512 + -(-len(member.content) // 512) * 512

    def policy(self) -> bytes:
        return (self.trusted / "policy").read_bytes()

    def key_ring(self) -> Any:
        return json.loads((self.trusted / "keys.json").read_bytes())

    def checkpoint(self, _: int) -> bytes:
        return (self.trusted / "kept").read_bytes()

    def at(self, name: str, place: int = 0) -> int:
        """Returns the offset of a byte of a content."""
        return self.headers[name] + 512 + place

    def digit(self, name: str, start: int) -> int:
        """Returns the offset of the first digit from a byte on; with another last bit it stays a digit."""
        content = self.members[name]
        return self.at(name, next(at for at in range(start, len(content)) if content[at : at + 1].isdigit()))

    def subtree(self, name: str) -> int:
        """Returns the offset of a byte in the hash of the first subtree."""
        place = 0
        for item in bundles.items(self.members[name]):
            if item.startswith(b"\0\0"):
                return self.at(name, place + 9)
            place += len(item)
        raise AssertionError(name)

    def sequence_of(self, payload: str) -> int:
        """Returns the sequence of the record that commits to a payload; it is less than 2^14."""
        payload_hash = bytes.fromhex(payload.removeprefix("payload-"))
        found = bundles.items(self.members["leaves-000"])
        leaf = next(item[2:] for item in found if item[2:3] == b"\1" and payload_hash in item)
        low, high = leaf[2 + len(WATER) : 4 + len(WATER)]
        return low if low < 0x80 else low & 0x7F | high << 7

    def changed(self, at: int) -> bytes:
        """Returns the bundle with another byte at an offset."""
        return self.data[:at] + bytes([self.data[at] ^ 1]) + self.data[at + 1 :]


def edits(demo: DemoBundle) -> dict[str, tuple[int, list[Place]]]:
    """Returns the edits by what they change: the offset, and the findings."""
    manifest, leaves, note = (demo.members[name] for name in ("manifest", "leaves-000", "checkpoint"))
    line = next(line for line in manifest.splitlines() if line.endswith(b" leaves-000"))
    payload = next(name for name in demo.members if name.startswith("payload-"))
    record = leaves.index(f"{WATER}/5.csv".encode())
    # The checkpoint that the auditor kept is the same one.
    mismatch: list[Place] = [
        ("checkpoint_inconsistent", None, None, ""),
        ("checkpoint_mismatch", None, None, ""),
    ]
    return {
        "header": (demo.headers["heads"] + 100, [damaged("heads")]),
        "manifest": (demo.digit("manifest", manifest.index(line) + 5), [damaged("leaves-000")]),
        "scope": (demo.at("manifest", manifest.index(b"devices")), [damaged("manifest")]),
        "leaf": (
            demo.at("leaves-000", record),
            [("prev_hash_mismatch", None, WATER, "6"), *mismatch, damaged("leaves-000")],
        ),
        "path": (demo.subtree("leaves-000"), [*mismatch, damaged("leaves-000")]),
        "heads": (
            demo.subtree("heads"),
            [("heads_mismatch", None, None, ""), damaged("heads")],
        ),
        "note": (
            demo.digit("checkpoint", note.index(b"\n\n") + 40),
            [("checkpoint_untrusted", None, None, ""), damaged("checkpoint")],
        ),
        "policy": (demo.at("policy", 20), [damaged("policy")]),
        "keys": (demo.at("keys", 10), [damaged("keys")]),
        "payload": (
            demo.at(payload),
            [
                ("payload_hash_mismatch", payload, WATER, str(demo.sequence_of(payload))),
                damaged(payload),
            ],
        ),
        "readme": (demo.at("readme.txt", 30), [damaged("readme.txt")]),
        "verifier": (demo.at("verify.py", 1000), [damaged("verify.py")]),
        "page": (demo.at("verify.html", 5000), [damaged("verify.html")]),
        "padding": (demo.at("checkpoint", len(note)), [damaged("checkpoint")]),
        "end": (len(demo.data) - 1, [damaged(None)]),
    }
