"""Signed updates of devices: publishers sign the manifest of an image, devices verify and accept it.

    from edgesentry import update

    signed = update.sign("firmware.bin", name="door-controller", version=42, expires=expires, keys=[a, b])
    trust = update.Trust("door-controller", 2, [a.public_key, b.public_key])
    update.accept(signed, "firmware.bin", trust, state="update.state", outbox=outbox)

An image is a path, bytes, a file object in binary mode, or an iterable of bytes; it is never held in memory
as a whole. A refused update is an `UpdateRefusedError`, whose `code` has the reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self, TypeAlias

from edgesentry._core import (
    AuditRecord,
    ImageHasher,
    Outbox,
    PublisherKey,
    UpdateCheck,
    complete_update,
    create_update_state,
    manifest_fields,
    read_update_state,
    save_manifest,
    sign_manifest,
    trust_fields,
    write_manifest,
)
from edgesentry._typing import BinaryFile, Bytes, Path
from edgesentry.exceptions import UpdateError

__all__ = [
    "Accepted",
    "Image",
    "Manifest",
    "PublisherKey",
    "SignedManifest",
    "State",
    "Trust",
    "accept",
    "complete",
    "create_state",
    "read_state",
    "sign",
    "verify",
]

Image: TypeAlias = Path | Bytes | BinaryFile | Iterable[Bytes]
"""An image: a path, bytes, a file object in binary mode, or an iterable of bytes."""

PIECE_BYTES = 1 << 18
MAX_MANIFEST_BYTES = 1 << 13
MAX_TRUST_BYTES = 64 << 10


class Sink(Protocol):
    """A file object that the image is copied to, opened in binary mode."""

    def write(self, piece: bytes, /) -> object:
        """Writes all bytes."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The statement of the publishers about one image.

    Attributes:
        name: The product.
        version: The version, which grows with each release.
        image_hash: BLAKE3 of the image, 32 bytes.
        image_size_bytes: The size of the image.
        minimum_version: The lowest version that a device accepts after this update.
        expires_ms: The time from which devices refuse the manifest, Unix milliseconds.
    """

    name: str
    version: int
    image_hash: bytes
    image_size_bytes: int
    minimum_version: int
    expires_ms: int


@dataclass(frozen=True, slots=True, repr=False)
class SignedManifest:
    """A manifest with signatures. It is a claim until `verify` has checked it with a trust.

    Args:
        data: The file, as `eds update sign` writes it.

    Raises:
        UpdateRefusedError: It is not a manifest (`update_malformed`).
    """

    data: bytes

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", bytes(self.data))
        manifest_fields(self.data)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a manifest from a file."""
        return cls(_start_of(path, MAX_MANIFEST_BYTES))

    def write(self, path: Path) -> None:
        """Writes the manifest to a file, completely or not at all."""
        save_manifest(os.fspath(path), self.data)

    @property
    def manifest(self) -> Manifest:
        """The statement of the publishers."""
        fields = manifest_fields(self.data)
        return Manifest(**{name: fields[name] for name in Manifest.__slots__})

    @property
    def signers(self) -> tuple[str, ...]:
        """The public keys that claim to have signed, 64 hex digits each."""
        return tuple(manifest_fields(self.data)["signers"])

    def add_signatures(self, *keys: PublisherKey) -> SignedManifest:
        """Returns the manifest with the signatures of further publishers.

        Compare the manifest with the release first: a signature approves it.

        Raises:
            UpdateError: A key has signed already.
        """
        return SignedManifest(sign_manifest(self.data, list(keys)))

    def __repr__(self) -> str:
        manifest = self.manifest
        return f"<SignedManifest {manifest.name} version {manifest.version}, {len(self.signers)} signatures>"


@dataclass(frozen=True, slots=True)
class Trust:
    """The publishers that a device trusts for one product.

    Args:
        name: The product.
        threshold: The number of publishers that must have signed.
        keys: Their public keys, 64 hex digits each.

    Raises:
        UpdateError: The name, the threshold or a key cannot be used (`update_trust`).
    """

    name: str
    threshold: int
    keys: Sequence[str]

    def __post_init__(self) -> None:
        keys = [str(key) for key in self.keys]
        text = json.dumps({"name": self.name, "threshold": self.threshold, "keys": keys})
        object.__setattr__(self, "keys", tuple(trust_fields(text.encode())[2]))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Reads a trust from JSON with `name`, `threshold` and `keys`."""
        return cls(*trust_fields(text.encode() if isinstance(text, str) else text))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a trust from a JSON file."""
        text = _start_of(path, MAX_TRUST_BYTES)
        if len(text) > MAX_TRUST_BYTES:
            raise UpdateError(f"{os.fspath(path)}: more than {MAX_TRUST_BYTES} bytes", "update_trust")
        return cls.from_json(text)

    def to_json(self) -> str:
        """Returns the JSON that `eds update verify --trust` reads."""
        return json.dumps({"name": self.name, "threshold": self.threshold, "keys": list(self.keys)})


@dataclass(frozen=True, slots=True)
class State:
    """The update state of a device, as read from its file.

    Attributes:
        version: The highest accepted version; 0 before the first.
        minimum_version: The lowest version that the device accepts.
        is_stale: True if the last accepted manifest has expired: a newer one may be withheld.
    """

    version: int
    minimum_version: int
    is_stale: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """A verified update.

    Attributes:
        manifest: Its manifest.
        signatures: The number of trusted publishers that have signed.
        record: The record in the chain of the device; None without an outbox.
    """

    manifest: Manifest
    signatures: int
    record: AuditRecord | None


def sign(
    image: Image,
    *,
    name: str,
    version: int,
    expires: int | datetime,
    keys: Sequence[PublisherKey],
    minimum_version: int | None = None,
) -> SignedManifest:
    """Signs the manifest of an image.

    Args:
        image: The image.
        name: The product; a device accepts only updates of its own.
        version: The version, which grows with each release.
        expires: The time from which devices refuse the manifest: a datetime with a time zone, or Unix
            milliseconds.
        keys: The publishers that sign; others can add their signatures later.
        minimum_version: The lowest version that devices accept afterwards; by default this version.

    Raises:
        UpdateError: A field cannot be used, the image is empty, or a key signs twice (`update_unusable`).
    """
    hasher = ImageHasher()
    with closing(_pieces(image)) as pieces:
        for piece in pieces:
            hasher.write(piece)
    image_hash, size = hasher.finish()
    lowest = version if minimum_version is None else minimum_version
    unsigned = write_manifest(name, version, image_hash, size, lowest, _unix_ms(expires))
    return SignedManifest(sign_manifest(unsigned, list(keys)))


def verify(
    manifest: Path | bytes | SignedManifest,
    image: Image,
    trust: Path | Trust,
    *,
    state: Path | None = None,
    now_ms: int | None = None,
    copy_to: Sink | None = None,
) -> Accepted:
    """Verifies a manifest and an image, and changes nothing.

    Args:
        manifest: The manifest.
        image: The image. It is not read if the manifest is refused, and not beyond its signed size.
        trust: The publishers that the device trusts.
        state: The update state of the device. Without it every version is accepted.
        now_ms: The time to compare the expiry with, Unix milliseconds; by default the current time.
        copy_to: Receives the pieces of the image, such as the inactive partition. Discard it after an
            exception.

    Raises:
        UpdateRefusedError: The update is refused; `code` has the reason.
        UpdateError: The trust or the state cannot be used.
    """
    return _verify(manifest, image, trust, state, False, None, now_ms, copy_to)


def accept(
    manifest: Path | bytes | SignedManifest,
    image: Image,
    trust: Path | Trust,
    *,
    state: Path,
    outbox: Outbox | None = None,
    now_ms: int | None = None,
    copy_to: Sink | None = None,
) -> Accepted:
    """Verifies an update and remembers it in the update state, durably. Start the image after that.

    With an outbox the device first signs a record of the accepted or refused update. If power is lost between
    record and state, the next call or `complete` completes the state; the record is signed once.

    Args:
        manifest: The manifest.
        image: The image. It is not read if the manifest is refused, and not beyond its signed size.
        trust: The publishers that the device trusts.
        state: The update state of the device. No other process can accept an update meanwhile.
        outbox: The outbox of the device, for the record.
        now_ms: The time to compare the expiry with, Unix milliseconds; by default the current time.
        copy_to: Receives the pieces of the image, such as the inactive partition. Discard it after an
            exception.

    Raises:
        UpdateRefusedError: The update is refused; `code` has the reason, and `record` the record of it.
        UpdateError: The trust or the state cannot be used.
        SignerError: The signer of the device failed; the update is not accepted.
        StoreError: The outbox cannot be written; the update is not accepted.
    """
    return _verify(manifest, image, trust, state, True, outbox, now_ms, copy_to)


def complete(state: Path, outbox: Outbox) -> bool:
    """Completes an acceptance that was interrupted between its record and the state. Call it at each start.

    Returns:
        True if the state has changed.
    """
    return complete_update(os.fspath(state), outbox)


def create_state(path: Path, name: str) -> None:
    """Creates the update state of a new device, which accepts every version. Never replaces a file.

    Raises:
        FileExistsError: The file exists; a new state would accept old versions.
    """
    create_update_state(os.fspath(path), name)


def read_state(path: Path, *, now_ms: int | None = None) -> State:
    """Reads the update state of a device.

    Raises:
        UpdateError: It is damaged: refuse updates, and do not replace it by a new one (`update_state`).
    """
    return State(*read_update_state(os.fspath(path), now_ms))


def _verify(
    manifest: Path | bytes | SignedManifest,
    image: Image,
    trust: Path | Trust,
    state: Path | None,
    is_accepted: bool,
    outbox: Outbox | None,
    now_ms: int | None,
    copy_to: Sink | None,
) -> Accepted:
    known = trust if isinstance(trust, Trust) else Trust.read(trust)
    place = None if state is None else os.fspath(state)
    data = _manifest_bytes(manifest)
    check = UpdateCheck(data, known.to_json().encode(), place, is_accepted, outbox, now_ms)
    if check.admitted:
        with closing(_pieces(image)) as pieces:
            for piece in pieces:
                if not check.write(piece):
                    break
                if copy_to is not None:
                    copy_to.write(piece)
    fields: Mapping[str, Any] = check.conclude()
    stated = Manifest(**{name: fields[name] for name in Manifest.__slots__})
    return Accepted(stated, fields["signatures"], fields["record"])


def _manifest_bytes(manifest: Path | bytes | SignedManifest) -> bytes:
    if isinstance(manifest, SignedManifest):
        return manifest.data
    if isinstance(manifest, bytes | bytearray | memoryview):
        return bytes(manifest)
    return _start_of(manifest, MAX_MANIFEST_BYTES)


def _start_of(path: Path, limit: int) -> bytes:
    """Returns a file, or one byte more than the limit of a longer one."""
    with open(path, "rb") as file:
        return file.read(limit + 1)


def _pieces(image: Image) -> Generator[bytes, None, None]:
    """Returns the bytes of an image piece by piece."""
    if isinstance(image, str | os.PathLike):
        with open(image, "rb") as file:
            yield from iter(lambda: file.read(PIECE_BYTES), b"")
    elif isinstance(image, bytes | bytearray | memoryview):
        yield bytes(image)
    elif hasattr(image, "read"):
        while piece := image.read(PIECE_BYTES):
            yield _checked(piece)
    else:
        for piece in image:
            yield _checked(piece)


def _checked(piece: object) -> bytes:
    if isinstance(piece, bytes | bytearray | memoryview):
        return bytes(piece)
    if isinstance(piece, str):
        raise TypeError("the image must be bytes, not text: open the file in binary mode")
    raise TypeError(f"the image must be bytes, got {type(piece).__name__}")


def _unix_ms(time: int | datetime) -> int:
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ValueError("expires must have a time zone, such as datetime(..., tzinfo=timezone.utc)")
        return int(time.timestamp() * 1000)
    return time
