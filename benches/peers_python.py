"""Verify an export of audit records in straightforward Python, and time it.

Usage: python peers_python.py cryptography|pynacl FILE KEYS

Checks the hash chain of each device and every signature (scheme payload-hash), and prints one line of JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import orjson
from blake3 import blake3

Check: TypeAlias = Callable[[bytes, bytes], bool]
"""Returns True if a signature (first) over a message (second) is valid."""


class Record(NamedTuple):
    """An audit record, byte fields as bytes."""

    device_id: str
    sequence: int
    timestamp_ms: int
    payload_hash: bytes
    signature: bytes
    prev_record_hash: bytes
    object_ref: str


def read_records(path: Path) -> list[Record]:
    """Read an export: a JSON array of objects, byte fields as arrays of integers."""
    return [
        Record(
            item["device_id"],
            item["sequence"],
            item["timestamp_ms"],
            bytes(item["payload_hash"]),
            bytes(item["signature"]),
            bytes(item["prev_record_hash"]),
            item["object_ref"],
        )
        for item in orjson.loads(path.read_bytes())
    ]


def varint(value: int) -> bytes:
    """Encode an unsigned integer as LEB128."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def canonical_bytes(record: Record) -> bytes:
    """Encode a record for its hash: postcard, fields in order."""
    device_id = record.device_id.encode()
    object_ref = record.object_ref.encode()
    return b"".join(
        (
            varint(len(device_id)),
            device_id,
            varint(record.sequence),
            varint(record.timestamp_ms),
            record.payload_hash,
            varint(len(record.signature)),
            record.signature,
            record.prev_record_hash,
            varint(len(object_ref)),
            object_ref,
        )
    )


def links_hold(records: list[Record]) -> bool:
    """Return True if each device's records continue its chain, from sequence 1 and a zero hash."""
    heads: dict[str, tuple[int, bytes]] = {}
    start = (0, bytes(32))
    for record in records:
        sequence, record_hash = heads.get(record.device_id, start)
        if record.sequence != sequence + 1 or record.prev_record_hash != record_hash:
            return False
        heads[record.device_id] = (record.sequence, blake3(canonical_bytes(record)).digest())
    return True


def cryptography_check(key: bytes) -> Check:
    """Make the check of one public key with the package cryptography."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    verify = Ed25519PublicKey.from_public_bytes(key).verify

    def check(signature: bytes, message: bytes) -> bool:
        try:
            verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return check


def pynacl_check(key: bytes) -> Check:
    """Make the check of one public key with PyNaCl."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    verify = VerifyKey(key).verify

    def check(signature: bytes, message: bytes) -> bool:
        try:
            verify(message, signature)
        except BadSignatureError:
            return False
        return True

    return check


PEERS = {"cryptography": cryptography_check, "pynacl": pynacl_check}


def peak_rss_bytes() -> int:
    """Return the largest resident size of this process so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM line")


def main() -> int:
    """Verify one export with one peer and print the outcome."""
    parser = argparse.ArgumentParser(description="Verify an export of audit records in Python, and time it.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("file", type=Path, help="export: a JSON array of records")
    parser.add_argument("keys", type=Path, help='public keys: {"device": "hex"}')
    arguments = parser.parse_args()

    keys: dict[str, str] = orjson.loads(arguments.keys.read_bytes())
    checks = {device: PEERS[arguments.peer](bytes.fromhex(key)) for device, key in keys.items()}

    start = time.perf_counter()
    records = read_records(arguments.file)
    ok = bool(records) and links_hold(records)
    start_signatures = time.perf_counter()
    for record in records:
        if record.device_id not in checks:
            parser.exit(3, f"peers_python: no key for device {record.device_id}\n")
        ok &= checks[record.device_id](record.signature, record.payload_hash)
    end = time.perf_counter()

    outcome = {
        "peer": arguments.peer,
        "records": len(records),
        "seconds": end - start,
        "seconds_signatures": end - start_signatures,
        "peak_rss_bytes": peak_rss_bytes(),
        "ok": ok,
    }
    print(json.dumps(outcome))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
