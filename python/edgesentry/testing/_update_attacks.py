"""Attacks on updates of devices, by an attacker who controls the network and may hold one key of a publisher.

The device trusts two of three publishers, and has installed version 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from edgesentry import update
from edgesentry._core import AuditRecord, Device
from edgesentry.testing._catalogue import Catalogue

PRODUCT: Final = "door-controller"
NOW_MS: Final = 1_790_000_000_000
DAY_MS: Final = 86_400_000
INSTALLED: Final = 5
SIGNATURE_BYTES: Final = 32 + 64


def publisher(number: int) -> update.PublisherKey:
    """Returns a publisher: 1 to 3 are trusted by the device."""
    return update.PublisherKey.from_seed(bytes([number]) * 32)


def make_image(version: int) -> bytes:
    """Returns the image of a version; all have the same size."""
    return b"".join((at * version).to_bytes(8, "little") for at in range(2_000))


def make_manifest(
    version: int,
    *,
    image: bytes | None = None,
    name: str = PRODUCT,
    publishers: tuple[int, ...] = (1, 2),
    expires_ms: int = NOW_MS + 30 * DAY_MS,
) -> bytes:
    """Returns the manifest of a version, signed by publishers."""
    image = make_image(version) if image is None else image
    keys = [publisher(number) for number in publishers]
    return update.sign(image, name=name, version=version, expires=expires_ms, keys=keys).data


@dataclass(frozen=True, slots=True)
class UpdateEvidence:
    """An update as a device receives it, and the state of the device.

    Attributes:
        manifest: The manifest.
        image: The image.
        installed: The manifest of the version that the device has accepted, version 5.
        installed_ms: The time at which it has accepted it.
        now_ms: The time of the device.
    """

    manifest: bytes
    image: bytes
    installed: bytes = field(default_factory=lambda: make_manifest(INSTALLED))
    installed_ms: int = NOW_MS
    now_ms: int = NOW_MS

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the files to a directory, and returns their paths as arguments of `update.verify`."""
        names = {"manifest": "update.manifest", "image": "update.bin", "trust": "publishers.json"}
        paths = {name: folder / file for name, file in (names | {"state": "update.state"}).items()}
        trust = update.Trust(PRODUCT, 2, [publisher(number).public_key for number in (1, 2, 3)])
        paths["manifest"].write_bytes(self.manifest)
        paths["image"].write_bytes(self.image)
        paths["trust"].write_text(trust.to_json(), encoding="utf-8")
        update.create_state(paths["state"], PRODUCT)
        image = make_image(INSTALLED)
        update.accept(self.installed, image, trust, state=paths["state"], now_ms=self.installed_ms)
        return paths


Make: TypeAlias = Callable[[], UpdateEvidence]


@dataclass(frozen=True, slots=True)
class UpdateAttack:
    """A way of making a device install another image.

    Attributes:
        name: Its stable name.
        summary: The attack, in one sentence.
        code: The code of the refusal.
    """

    name: str
    summary: str
    code: str
    _make: Make

    def __str__(self) -> str:
        return self.name

    def __call__(self) -> UpdateEvidence:
        """Returns the update as the device receives it."""
        return self._make()


UPDATE_CATALOGUE: Final[Catalogue[UpdateAttack]] = Catalogue()
"""Every attack by name."""


def sound_update() -> UpdateEvidence:
    """Returns an update that the device accepts, version 6."""
    return UpdateEvidence(make_manifest(6), make_image(6))


def _attack(summary: str, code: str) -> Callable[[Make], Make]:
    def register(make: Make) -> Make:
        name = make.__name__.removeprefix("_")
        UPDATE_CATALOGUE[name] = UpdateAttack(name, summary, code, make)
        return make

    return register


@_attack("An older release with known faults is offered, signed as it was.", "update_rollback")
def _rollback() -> UpdateEvidence:
    return UpdateEvidence(make_manifest(4), make_image(4))


@_attack("The device is kept at its version by the same manifest, after its expiry.", "update_expired")
def _freeze() -> UpdateEvidence:
    evidence = UpdateEvidence(make_manifest(INSTALLED), make_image(INSTALLED))
    return replace(evidence, now_ms=NOW_MS + 31 * DAY_MS)


@_attack("The clock of the device is set back, and an expired manifest offered.", "update_expired")
def _freeze_with_the_clock_set_back() -> UpdateEvidence:
    offered = make_manifest(6, expires_ms=NOW_MS + DAY_MS)
    return UpdateEvidence(offered, make_image(6), installed_ms=NOW_MS + 2 * DAY_MS, now_ms=0)


@_attack("The manifest of one release comes with the image of another.", "update_image_hash")
def _mix_and_match() -> UpdateEvidence:
    return UpdateEvidence(make_manifest(7), make_image(6))


@_attack("The signatures of one release are pasted below the manifest of another.", "update_untrusted")
def _signatures_of_other_release() -> UpdateEvidence:
    body, signatures = make_manifest(7), make_manifest(6)
    pasted = body[: -2 * SIGNATURE_BYTES] + signatures[-2 * SIGNATURE_BYTES :]
    return UpdateEvidence(pasted, make_image(7))


@_attack("The update of another product of the same publishers is offered.", "update_other_name")
def _other_product() -> UpdateEvidence:
    return UpdateEvidence(make_manifest(6, name="lift-drive"), make_image(6))


@_attack("Publishers sign a second image under a version that is installed.", "update_conflict")
def _second_image_of_a_version() -> UpdateEvidence:
    return UpdateEvidence(make_manifest(INSTALLED, image=make_image(6)), make_image(6))


@_attack("The image ends early.", "update_image_truncated")
def _truncated_image() -> UpdateEvidence:
    return UpdateEvidence(make_manifest(6), make_image(6)[:-1])


@_attack("The image is longer than its signed size, to fill the medium.", "update_image_too_long")
def _endless_image() -> UpdateEvidence:
    return UpdateEvidence(make_manifest(6), make_image(6) * 2)


@_attack("One bit of the image is flipped.", "update_image_hash")
def _flip_image_bit() -> UpdateEvidence:
    image = bytearray(make_image(6))
    image[len(image) // 2] ^= 1
    return UpdateEvidence(make_manifest(6), bytes(image))


@_attack("One bit of a signature is flipped.", "update_untrusted")
def _flip_signature_bit() -> UpdateEvidence:
    manifest = bytearray(make_manifest(6))
    manifest[-1] ^= 1
    return UpdateEvidence(bytes(manifest), make_image(6))


@_attack("The version in the manifest is raised after the signatures.", "update_untrusted")
def _raised_version() -> UpdateEvidence:
    manifest = bytearray(make_manifest(4))
    # The version follows the kind and the name with its length; the minimum version is lower, so both fit.
    at = 8 + 1 + len(PRODUCT)
    assert manifest[at] == 4
    manifest[at] = 9
    return UpdateEvidence(bytes(manifest), make_image(4))


@_attack("The manifest is cut off.", "update_malformed")
def _truncated_manifest() -> UpdateEvidence:
    return UpdateEvidence(make_manifest(6)[:-1], make_image(6))


@_attack("One publisher signs alone, with a stolen key.", "update_untrusted")
def _one_publisher() -> UpdateEvidence:
    return UpdateEvidence(make_manifest(6, publishers=(1,)), make_image(6))


@_attack("The signature of one publisher is there twice.", "update_malformed")
def _one_publisher_twice() -> UpdateEvidence:
    manifest = make_manifest(6, publishers=(1,))
    head, signature = manifest[: -SIGNATURE_BYTES - 1], manifest[-SIGNATURE_BYTES:]
    return UpdateEvidence(head + b"\x02" + signature + signature, make_image(6))


@_attack("Keys that the device does not trust sign beside one publisher.", "update_untrusted")
def _untrusted_publishers() -> UpdateEvidence:
    return UpdateEvidence(make_manifest(6, publishers=(1, 7, 8)), make_image(6))


@_attack("A device with the keys of publishers, by mistake, signs as for a record.", "update_untrusted")
def _key_of_other_role() -> UpdateEvidence:
    unsigned = make_manifest(6, publishers=())
    signatures = {}
    for number in (1, 2):
        device = Device.from_seed("door-01", bytes([number]) * 32, scheme="payload-hash")
        record: AuditRecord = device.sign(unsigned[:-1], "door-01/1.bin", NOW_MS)
        signatures[bytes.fromhex(publisher(number).public_key)] = record.signature
    pasted = b"".join(key + signatures[key] for key in sorted(signatures))
    return UpdateEvidence(unsigned[:-1] + b"\x02" + pasted, make_image(6))
