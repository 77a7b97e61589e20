"""Devices whose keys are elsewhere: in a token, in a program, behind a Python object."""

from __future__ import annotations

import os
import pty
import subprocess
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import edgesentry
from edgesentry import (
    AuditRecord,
    ConfigError,
    Device,
    EdgesentryError,
    KeyRing,
    Outbox,
    Pkcs11Signer,
    ProgramSigner,
    SignerError,
    update,
    verify_chain,
)
from support import device, key_ring, softhsm

SCRIPT = Path(sysconfig.get_path("scripts")) / "eds"
# The device whose seed the Python signers have, and its successor.
KEY = device(1)
NEW = Device.from_seed("lift-01", bytes([2] * 32))


def signature(message: bytes, seed: int = 1) -> bytes:
    """Signs a message with the seed of a device."""
    return Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)).sign(message)


class Element:
    """A secure element, which can fail."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self.public_key = str(Device.from_seed("lift-01", bytes([seed] * 32)).public_key)
        self.failures: list[BaseException | bytes] = []
        self.sizes: list[int] = []

    def sign(self, message: bytes) -> bytes:
        self.sizes.append(len(message))
        if not self.failures:
            return signature(message, self.seed)
        failure = self.failures.pop()
        if isinstance(failure, bytes):
            return failure
        raise failure


def test_a_python_object_signs_like_its_seed() -> None:
    element = Element()
    signers = [
        Device("lift-01", signer=element),
        Device("lift-01", signer=signature, public_key=str(KEY.public_key)),
        Device("lift-01", signer=signature, public_key=bytes.fromhex(str(KEY.public_key))),
    ]
    expected = [device(1).sign(b"x" * 100_000, "1.bin", 1)]
    for signer in signers:
        assert str(signer.public_key) == element.public_key
        assert [signer.sign(b"x" * 100_000, "1.bin", 1)] == expected
        with pytest.raises(ValueError, match="no seed"):
            signer.save_seed("seed")
    assert element.sizes == [32]


def test_a_signer_that_fails_advances_no_chain(tmp_path: Path) -> None:
    element = Element()
    signer = Device("lift-01", signer=element)
    first = signer.sign(b"one", "1.bin", 1)
    cases: list[tuple[BaseException | bytes, str, bool]] = [
        (OSError("the element is asleep"), "it raised OSError", True),
        (bytes(63), "expected a signature of 64 bytes, got 63", False),
        (bytes(64), "does not hold", False),
    ]
    with Outbox(tmp_path / "outbox.db", signer) as outbox:
        for failure, expected, retryable in cases:
            for sign in (signer.sign, outbox.sign):
                element.failures = [failure]
                with pytest.raises(SignerError, match=expected) as error:
                    sign(b"two", "2.bin", 2)
                assert error.value.retryable == retryable
                assert (error.value.__cause__ is failure) == isinstance(failure, OSError)
                assert "asleep" not in str(error.value)
        assert signer.head is not None
        assert outbox.head is not None
        assert (signer.head.hash, outbox.head.hash, outbox.waiting) == (first.hash(), first.hash(), 0)
        element.failures = [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            signer.sign(b"two", "2.bin", 2)
        records = [first, outbox.sign(b"two", "2.bin", 2)]
        assert verify_chain(records, keys=key_ring([KEY])).ok
        with edgesentry.open(tmp_path / "ledger.db") as ledger:
            ledger.register_device("lift-01", KEY.public_key, start=signer.head)
            assert outbox.flush(ledger)["accepted"] == 1


def test_a_signer_may_look_at_its_device_and_not_sign_with_it() -> None:
    seen: list[object] = []

    def sign(message: bytes) -> bytes:
        seen.append(signer.head)
        signer.sign(b"again", "2.bin", 2)
        return signature(message)

    signer = Device("lift-01", signer=sign, public_key=str(KEY.public_key))
    with pytest.raises(SignerError, match="RuntimeError") as error:
        signer.sign(b"one", "1.bin", 1)
    assert "has called its sign" in str(error.value.__cause__)
    assert seen == [None]


def test_threads_wait_for_their_turn() -> None:
    element = Element()
    signer = Device("lift-01", signer=element)
    records: list[AuditRecord] = []
    threads = [
        threading.Thread(target=lambda: records.extend(signer.sign(b"x", "x.bin", 1) for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records.sort(key=lambda record: record.sequence)
    assert verify_chain(records, keys=key_ring([KEY])).ok


def test_a_device_rotates_between_signers_that_may_fail() -> None:
    elements = Element(1), Element(2)
    signer = Device("lift-01", signer=elements[0])
    successor = Device("lift-01", signer=elements[1])
    records = [signer.sign(b"one", "1.bin", 1)]
    for element in elements:
        failure = OSError("the element is asleep")
        element.failures = [failure]
        with pytest.raises(SignerError, match="it raised OSError") as error:
            signer.rotate(successor)
        assert error.value.retryable
        assert error.value.__cause__ is failure
        element.failures = [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            signer.rotate(successor)
        assert (signer.head is not None, str(signer.public_key)) == (True, elements[0].public_key)
    records.append(signer.rotate(successor, timestamp_ms=2)[0])
    # The device raises the exceptions of the new signer, and calls the old one no more.
    elements[1].failures = [failure := OSError("again")]
    calls = len(elements[0].sizes)
    with pytest.raises(SignerError) as error:
        signer.sign(b"three", "3.bin", 3)
    assert error.value.__cause__ is failure
    records.append(signer.sign(b"three", "3.bin", 3))
    assert len(elements[0].sizes) == calls
    assert (signer.head is not None, str(signer.public_key)) == (True, elements[1].public_key)
    assert verify_chain(records, keys=key_ring([KEY]).follow(records), require="signatures").ok
    last = Device("lift-01", signer=elements[0]).resume(edgesentry.Head(2**64 - 1, bytes(32)))
    with pytest.raises(EdgesentryError, match="full"):
        last.rotate(successor)


@pytest.mark.parametrize("is_first_a_seed", [False, True])
def test_a_chain_does_not_fork_if_a_thread_rotates_while_another_signs(is_first_a_seed: bool) -> None:
    signer: Device
    has_begun, is_called_again = threading.Event(), threading.Event()

    def slow(seed: int) -> Callable[[bytes], bytes]:
        def sign(message: bytes) -> bytes:
            if has_begun.is_set():
                is_called_again.set()
            has_begun.set()
            is_called_again.wait(0.2)
            return signature(message, seed)

        return sign

    successor = Device("lift-01", signer=slow(2), public_key=str(NEW.public_key))
    if is_first_a_seed:
        signer = device(1)
    else:
        signer = Device("lift-01", signer=slow(1), public_key=str(KEY.public_key))
    records: list[AuditRecord] = []
    calls: list[Callable[[], None]] = [
        lambda: records.append(signer.sign(b"x", "x.bin", 1)),
        lambda: records.append(signer.rotate(successor, timestamp_ms=1)[0]),
    ]
    first, second = reversed(calls) if is_first_a_seed else calls
    thread = threading.Thread(target=first)
    thread.start()
    assert has_begun.wait(60)
    second()
    thread.join()
    records.sort(key=lambda record: record.sequence)
    assert [record.sequence for record in records] == [1, 2]
    assert verify_chain(records, keys=key_ring([KEY]).follow(records), require="signatures").ok
    assert str(signer.public_key) == str(NEW.public_key)


def test_a_signer_may_look_at_its_device_while_it_rotates() -> None:
    seen: list[object] = []

    def looking(seed: int) -> Callable[[bytes], bytes]:
        def sign(message: bytes) -> bytes:
            seen.append((str(signer.public_key), signer.head))
            return signature(message, seed)

        return sign

    signer = Device("lift-01", signer=looking(1), public_key=str(KEY.public_key))
    signer.rotate(Device("lift-01", signer=looking(2), public_key=str(NEW.public_key)))
    assert seen == [(str(KEY.public_key), None)] * 2


def test_a_signer_cannot_rotate_its_device() -> None:
    def sign(message: bytes) -> bytes:
        signer.rotate(NEW)
        return signature(message)

    signer = Device("lift-01", signer=sign, public_key=str(KEY.public_key))
    for call in (lambda: signer.sign(b"x", "x.bin"), lambda: signer.rotate(NEW)):
        with pytest.raises(SignerError, match="RuntimeError") as error:
            call()
        assert "rotate" in str(error.value.__cause__)
        assert signer.head is None


def test_a_signer_cannot_use_an_outbox(tmp_path: Path) -> None:
    refusals: list[str] = []
    is_asked = True

    def sign(message: bytes) -> bytes:
        if is_asked:
            for use in uses:
                with pytest.raises(RuntimeError, match="a signer cannot use an outbox") as error:
                    use()
                refusals.append(str(error.value))
        return signature(message)

    state = tmp_path / "update.state"
    update.create_state(state, "lift")
    publisher = update.PublisherKey.generate()
    trust = update.Trust("lift", 1, [publisher.public_key])
    signed = update.sign(b"image", name="lift", version=1, expires=2**52, keys=[publisher])
    signer = Device("lift-01", signer=sign, public_key=str(KEY.public_key))
    other = tmp_path / "other.db"
    with Outbox(tmp_path / "outbox.db", signer) as outbox, edgesentry.open(tmp_path / "ledger.db") as ledger:
        ledger.register_device("lift-01", KEY.public_key)
        uses: list[Callable[[], object]] = [
            lambda: outbox.sign(b"again", "2.bin", 2),
            lambda: outbox.rotate(NEW),
            lambda: outbox.flush(ledger),
            lambda: outbox.head,
            lambda: outbox.waiting,
            lambda: update.complete(state, outbox),
            lambda: Outbox(other, signer),
            outbox.close,
        ]
        signer.sign(b"one", "1.bin", 1)
        outbox.sign(b"one", "1.bin", 1)
        update.accept(signed, b"image", trust, state=state, outbox=outbox)
        successor = Device("lift-01", signer=Element(2))
        outbox.rotate(successor)
        # One signature each; the successor signs the proof of possession.
        assert len(refusals) == 4 * len(uses)
        is_asked = False
        assert outbox.sign(b"two", "4.bin", 2).sequence == 4
        # The ledger takes the succession only from its operator.
        assert outbox.flush(ledger)["accepted"] == 2
    assert not other.exists()


def test_an_exception_of_a_signer_belongs_to_its_call(tmp_path: Path) -> None:
    element = Element()
    signer = Device("lift-01", signer=element)
    state = tmp_path / "update.state"
    update.create_state(state, "lift")
    trust = update.Trust("lift", 1, [update.PublisherKey.generate().public_key])
    with Outbox(tmp_path / "outbox.db", signer) as outbox:
        calls: list[Callable[[], object]] = [
            lambda: signer.sign(b"one", "1.bin", 1),
            lambda: signer.rotate(NEW),
            lambda: signer.sign_record(KEY.sign(b"one", "1.bin", 1)),
            lambda: outbox.sign(b"one", "1.bin", 1),
            lambda: outbox.rotate(NEW),
            lambda: update.accept(b"not a manifest", b"image", trust, state=state, outbox=outbox),
        ]
        for call in calls:
            failure = OSError("the element is asleep")
            element.failures = [failure]
            with pytest.raises(SignerError) as error:
                call()
            assert error.value.__cause__ is failure
            element.failures = [KeyboardInterrupt()]
            with pytest.raises(KeyboardInterrupt):
                call()
            with pytest.raises(EdgesentryError, match="object reference") as unrelated:
                outbox.sign(b"two", "", 2)
            assert unrelated.value.__cause__ is None
        assert (signer.head, outbox.head, outbox.waiting) == (None, None, 0)


def test_a_signer_that_cannot_be_one_is_refused() -> None:
    for signer, key, expected in [
        (signature, None, "needs its public key"),
        (Element(), str(KEY.public_key), "has its public key"),
        (7, None, "a signer is"),
        (signature, bytes(31), "32 bytes or 64 hex digits"),
    ]:
        with pytest.raises((TypeError, ValueError), match=expected):
            Device("lift-01", signer=signer, public_key=key)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="weak key"):
        Device("lift-01", signer=signature, public_key="01" + "00" * 31)
    with pytest.raises(ValueError, match="at least one character"):
        Device("", signer=Element())


def test_a_token_signs(tmp_path: Path) -> None:
    module = softhsm()
    uri = "pkcs11:token=site%207;object=python"
    pin = tmp_path / "pin"
    pin.write_text("4711\n")
    pin.chmod(0o600)
    made = Pkcs11Signer.generate(uri, module=module, pin="4711")
    token = Pkcs11Signer(f"{uri}?module-path={module}", pin_file=pin)
    assert token.public_key == made.public_key
    assert token.sign(bytes(32)) == made.sign(bytes(32))
    signer = Device("lift-01", signer=token)
    with Outbox(tmp_path / "outbox.db", signer) as outbox, edgesentry.open(tmp_path / "ledger.db") as ledger:
        ledger.register_device("lift-01", signer.public_key)
        records = [outbox.sign(b"door", f"{at}.bin", at) for at in range(1, 4)]
        assert outbox.flush(ledger)["accepted"] == 3
    keys = KeyRing()
    keys.add("lift-01", token.public_key, scheme="record")
    assert verify_chain(records, keys=keys).ok
    assert "4711" not in repr(token)

    cases: list[tuple[Callable[[], Pkcs11Signer], str]] = [
        (lambda: Pkcs11Signer(f"{uri}x", module=module, pin="4711"), "no Ed25519 private key"),
        (lambda: Pkcs11Signer(uri, module="/absent.so", pin="4711"), "cannot load"),
        (lambda: Pkcs11Signer.generate(uri, module=module, pin="4711"), "is not replaced"),
    ]
    for wrong, expected in cases:
        with pytest.raises(SignerError, match=expected) as error:
            wrong()
        assert not error.value.retryable
        assert "4711" not in str(error.value)
    with pytest.raises(ValueError, match="pin-source") as refused:
        Pkcs11Signer(f"{uri}?pin-value=4711", module=module)
    assert "4711" not in str(refused.value)
    with pytest.raises(ValueError, match="not both"):
        Pkcs11Signer(uri, module=module, pin="4711", pin_file=pin)


def test_a_program_signs(tmp_path: Path) -> None:
    key = str(KEY.public_key)
    program = tmp_path / "sign"
    (tmp_path / "sign.der").write_bytes(bytes.fromhex("302e020100300506032b657004220420") + bytes([1] * 32))
    program.write_text(
        f"""#!/bin/sh
        while read -r request message; do
            [ "$request" = sign ] || {{ echo 'ok {key}'; continue; }}
            perl -e 'print pack "H*", shift' "$message" > $0.message
            openssl pkeyutl -sign -rawin -keyform DER -inkey $0.der -in $0.message -out $0.signature
            echo ok $(od -An -v -tx1 $0.signature | tr -d ' \\n')
        done
        """
    )
    program.chmod(0o700)
    signer = ProgramSigner(program)
    assert signer.public_key == key
    assert Device("lift-01", signer=signer).sign(b"x", "1.bin", 1) == device(1).sign(b"x", "1.bin", 1)
    assert ProgramSigner(program, public_key=key).sign(b"m" * 32) == signer.sign(b"m" * 32)
    other = ProgramSigner(program, public_key=str(device(2).public_key))
    with pytest.raises(SignerError, match="does not hold"):
        other.sign(b"m")
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    with pytest.raises(SignerError, match="no answer in 0 s") as error:
        ProgramSigner(program, timeout=0.3)
    assert error.value.retryable
    assert ProgramSigner(program, public_key=key, timeout=1e15).public_key == key
    for timeout in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout"):
            ProgramSigner(program, timeout=timeout)


def test_a_terminal_is_asked_for_the_pin_without_showing_it() -> None:
    module = softhsm()
    uri = "pkcs11:token=site%207;object=asked"
    key = Pkcs11Signer.generate(uri, module=module, pin="4711").public_key
    controller, terminal = pty.openpty()
    command = [str(SCRIPT), "inspect-key", uri, "--module", module]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, text=True
    ) as process:
        os.close(terminal)
        shown = b""
        while b"): " not in shown:
            shown += os.read(controller, 1024)
        os.write(controller, b"4711\n")
        assert process.stdout is not None
        assert key in process.stdout.read()
    try:
        shown += os.read(controller, 1024)
    except OSError:
        pass
    finally:
        os.close(controller)
    assert process.returncode == 0
    assert b"PIN of pkcs11:token=site%207" in shown
    assert b"4711" not in shown
