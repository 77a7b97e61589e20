"""Updates of devices: publishers sign, a device verifies, records and remembers; the same in the command."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import edgesentry
from edgesentry import (
    AuditRecord,
    ConfigError,
    Device,
    Outbox,
    UpdateError,
    UpdateRefusedError,
    payload_hash,
    update,
    verify_chain,
)
from edgesentry.testing import UPDATE_CATALOGUE, UpdateAttack, UpdateEvidence, sound_update
from edgesentry.testing._update_attacks import (
    DAY_MS,
    NOW_MS,
    PRODUCT,
    make_image,
    make_manifest,
    publisher,
)
from support import envelope, key_ring

VECTORS = Path(__file__).parent / "vectors" / "update"
TRUST = update.Trust(PRODUCT, 2, [publisher(number).public_key for number in (1, 2, 3)])


def outbox_of(folder: Path, signer: Device) -> Outbox:
    return Outbox(folder / "outbox.db", signer)


def refused(evidence: UpdateEvidence, files: dict[str, Any], **more: Any) -> UpdateRefusedError:
    call = update.accept if more else update.verify
    with pytest.raises(UpdateRefusedError) as raised:
        call(**files, now_ms=evidence.now_ms, **more)
    return raised.value


def command(files: dict[str, Any], now_ms: int, *more: str, exit_code: int = 0) -> dict[str, Any]:
    arguments = ["update", "verify", files["manifest"], files["image"], "--trust", files["trust"]]
    arguments += ["--state", files["state"], "--now", str(now_ms), *more]
    return envelope(*arguments, exit_code=exit_code)


def test_the_vectors_hold() -> None:
    keys = (VECTORS / "publishers.keys").read_bytes()
    signed = update.SignedManifest.read(VECTORS / "version-6.manifest")
    publishers = [keys[:32].hex(), keys[32:].hex()]
    assert sorted(signed.signers) == sorted(publishers)
    by_seed = [publisher(number) for number in (1, 2)]
    assert [key.public_key for key in by_seed] == publishers
    again = update.sign(
        b"version 6", name=PRODUCT, version=6, minimum_version=5, expires=4_000_000_000_000, keys=by_seed
    )
    assert again == signed
    trust = update.Trust(PRODUCT, 2, publishers)
    accepted = update.verify(signed, b"version 6", trust, now_ms=NOW_MS)
    assert (accepted.signatures, accepted.record) == (2, None)
    assert accepted.manifest == update.Manifest(
        PRODUCT, 6, payload_hash(b"version 6"), 9, 5, 4_000_000_000_000
    )


def test_a_state_is_that_of_the_vectors(tmp_path: Path) -> None:
    state = tmp_path / "update.state"
    update.create_state(state, PRODUCT)
    assert state.read_bytes() == (VECTORS / "new.state").read_bytes()
    assert update.read_state(state, now_ms=NOW_MS) == update.State(0, 0, True)
    keys = (VECTORS / "publishers.keys").read_bytes()
    trust = update.Trust(PRODUCT, 2, [keys[:32].hex(), keys[32:].hex()])
    update.accept(VECTORS / "version-6.manifest", b"version 6", trust, state=state, now_ms=NOW_MS)
    assert state.read_bytes()[:512] == (VECTORS / "version-6.slot").read_bytes()
    assert update.read_state(state, now_ms=NOW_MS) == update.State(6, 5, False)
    with pytest.raises(FileExistsError):
        update.create_state(state, PRODUCT)


@pytest.mark.parametrize("attack", UPDATE_CATALOGUE.values(), ids=str)
def test_an_attack_is_refused_and_recorded(attack: UpdateAttack, tmp_path: Path) -> None:
    evidence = attack()
    files = evidence.write(tmp_path)
    before = files["state"].read_bytes()
    assert refused(evidence, files).code == attack.code
    signer = Device.generate("door-01")
    with outbox_of(tmp_path, signer) as outbox:
        error = refused(evidence, files, outbox=outbox)
        assert (error.code, error.record is not None, outbox.waiting) == (attack.code, True, 1)
    assert command(files, evidence.now_ms, exit_code=1)["error"]["code"] == attack.code
    assert files["state"].read_bytes() == before


def test_the_sound_update_is_accepted_and_recorded(tmp_path: Path) -> None:
    evidence = sound_update()
    files = evidence.write(tmp_path)
    assert command(files, evidence.now_ms)["update"]["accepted"] is False
    signer = Device.generate("door-01")
    with outbox_of(tmp_path, signer) as outbox:
        accepted = update.accept(**files, outbox=outbox, now_ms=NOW_MS)
        with pytest.raises(UpdateRefusedError) as raised:
            update.accept(**(files | {"image": b"short"}), outbox=outbox, now_ms=NOW_MS)
        records = [accepted.record, raised.value.record]
        assert all(isinstance(record, AuditRecord) for record in records)
        assert verify_chain(records, keys=key_ring([signer])).ok  # type: ignore[arg-type]
        with edgesentry.open(tmp_path / "ledger.db", payloads="ledger") as ledger:
            ledger.register_device(signer)
            assert outbox.flush(ledger)["accepted"] == 2
    assert update.read_state(files["state"], now_ms=NOW_MS).version == 6


def test_an_image_comes_from_anything_that_has_bytes(tmp_path: Path) -> None:
    image, manifest = make_image(6), make_manifest(6)
    path = tmp_path / "image.bin"
    path.write_bytes(image)

    def pieces() -> Iterator[bytes]:
        yield from (image[at : at + 1000] for at in range(0, len(image), 1000))

    sources: list[Any] = [path, str(path), image, bytearray(image), memoryview(image), io.BytesIO(image)]
    for source in [*sources, pieces(), list(pieces())]:
        copy = io.BytesIO()
        assert update.verify(manifest, source, TRUST, now_ms=NOW_MS, copy_to=copy).signatures == 2
        assert copy.getvalue() == image
    for wrong in (io.StringIO("text"), ["text"], [1, 2]):
        with pytest.raises(TypeError, match="the image must be bytes"):
            update.verify(manifest, wrong, TRUST, now_ms=NOW_MS)  # type: ignore[arg-type]


def test_an_endless_image_is_read_and_copied_up_to_its_size() -> None:
    image, manifest = make_image(6), make_manifest(6)
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1000
            yield bytes(1000)

    copy = io.BytesIO()
    with pytest.raises(UpdateRefusedError) as raised:
        update.verify(manifest, endless(), TRUST, now_ms=NOW_MS, copy_to=copy)
    assert raised.value.code == "update_image_too_long"
    assert read <= len(image) + 1000
    assert len(copy.getvalue()) <= len(image)


def test_nothing_is_read_for_a_refused_manifest() -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError
        yield b""

    with pytest.raises(UpdateRefusedError) as raised:
        update.verify(make_manifest(6, publishers=(1,)), never(), TRUST, now_ms=NOW_MS)
    assert raised.value.code == "update_untrusted"


def test_an_interrupted_reader_accepts_nothing(tmp_path: Path) -> None:
    files = sound_update().write(tmp_path)

    def broken() -> Iterator[bytes]:
        yield make_image(6)[:1000]
        raise OSError("unplugged")

    before = files["state"].read_bytes()
    with outbox_of(tmp_path, Device.generate("door-01")) as outbox:
        with pytest.raises(OSError, match="unplugged"):
            update.accept(**(files | {"image": broken()}), outbox=outbox, now_ms=NOW_MS)
        assert outbox.waiting == 0
        assert not update.complete(files["state"], outbox)
        # The state is free again.
        assert update.accept(**files, outbox=outbox, now_ms=NOW_MS).manifest.version == 6
    assert files["state"].read_bytes() != before


def test_signatures_are_added_and_files_written(tmp_path: Path) -> None:
    path = tmp_path / "one.manifest"
    expires = datetime(2099, 6, 30, tzinfo=UTC)
    one = update.sign(make_image(6), name=PRODUCT, version=6, expires=expires, keys=[publisher(1)])
    assert one.manifest.expires_ms == 4_086_460_800_000
    one.write(path)
    two = update.SignedManifest.read(path).add_signatures(publisher(2))
    two.write(path)
    assert update.SignedManifest.read(path) == two
    assert (len(one.signers), len(two.signers)) == (1, 2)
    assert repr(two) == "<SignedManifest door-controller version 6, 2 signatures>"
    assert update.verify(path, make_image(6), TRUST, now_ms=NOW_MS).signatures == 2
    with pytest.raises(UpdateError, match="has already signed") as raised:
        two.add_signatures(publisher(1))
    assert raised.value.code == "update_unusable"
    with pytest.raises(ValueError, match="time zone"):
        update.sign(b"x", name=PRODUCT, version=1, expires=datetime(2099, 1, 1), keys=[publisher(1)])


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: update.Trust("a b", 1, TRUST.keys), "update_trust"),
        (lambda: update.Trust(PRODUCT, 0, TRUST.keys), "update_trust"),
        (lambda: update.Trust(PRODUCT, 4, TRUST.keys), "update_trust"),
        (lambda: update.Trust(PRODUCT, 1, ["00" * 32]), "update_trust"),
        (lambda: update.Trust.from_json("{}"), "update_trust"),
        (lambda: update.Trust.from_json(b"[]"), "update_trust"),
        (lambda: update.sign(b"", name=PRODUCT, version=1, expires=1, keys=[]), "update_unusable"),
        (lambda: update.sign(b"x", name="a/b", version=1, expires=1, keys=[]), "update_unusable"),
        (
            lambda: update.sign(b"x", name=PRODUCT, version=1, minimum_version=2, expires=1, keys=[]),
            "update_unusable",
        ),
        (lambda: update.create_state("x.state", "a b"), "update_unusable"),
    ],
)
def test_arguments_that_cannot_be_used_have_a_code(call: Any, code: str) -> None:
    with pytest.raises(UpdateError) as raised:
        call()
    assert raised.value.code == code


def test_a_damaged_state_and_a_state_in_use_are_named(tmp_path: Path) -> None:
    files = sound_update().write(tmp_path)
    files["state"].write_bytes(bytes(1024))
    for call in (lambda: update.read_state(files["state"]), lambda: update.accept(**files, now_ms=NOW_MS)):
        with pytest.raises(UpdateError, match="do not replace it by a new one") as raised:
            call()
        assert raised.value.code == "update_state"
    with pytest.raises(FileNotFoundError):
        update.read_state(tmp_path / "gone")
    (tmp_path / "long.json").write_bytes(b" " * 70_000)
    with pytest.raises(UpdateError, match="more than"):
        update.Trust.read(tmp_path / "long.json")
    with pytest.raises(UpdateRefusedError) as refusal:
        update.SignedManifest(b"x" * 100_000)
    assert refusal.value.code == "update_malformed"


def test_a_key_is_kept_in_a_file_of_its_owner(tmp_path: Path) -> None:
    key = update.PublisherKey.generate()
    key.save_seed(tmp_path / "a.seed")
    assert update.PublisherKey.from_seed_file(tmp_path / "a.seed").public_key == key.public_key
    assert repr(key) == f"<PublisherKey {key.public_key}>"
    (tmp_path / "a.seed").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        update.PublisherKey.from_seed_file(tmp_path / "a.seed")


def test_the_command_reads_and_writes_the_same_files(tmp_path: Path) -> None:
    """A manifest of Python in the command, and one of the command in Python."""
    files = sound_update().write(tmp_path)
    publisher(3).save_seed(tmp_path / "c.seed")
    made = envelope("update", "add-signature", files["manifest"], "--key", tmp_path / "c.seed")
    assert len(made["update"]["signers"]) == 3
    accepted = update.verify(**files, now_ms=NOW_MS)
    assert accepted.signatures == 3
    assert command(files, NOW_MS, "--accept")["update"]["accepted"] is True
    assert update.read_state(files["state"], now_ms=NOW_MS + 31 * DAY_MS) == update.State(6, 6, True)


def test_results_pickle_and_keys_do_not() -> None:
    accepted = update.verify(make_manifest(6), make_image(6), TRUST, now_ms=NOW_MS)
    error = UpdateRefusedError("refused", "update_rollback", None)
    for value in (accepted, TRUST, update.SignedManifest(make_manifest(6)), update.State(1, 1, False)):
        assert pickle.loads(pickle.dumps(value)) == value
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.code, again.record) == ("refused", "update_rollback", None)
    with pytest.raises(TypeError, match="secret key"):
        pickle.dumps(publisher(1))
