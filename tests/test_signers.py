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

import edgesentry
from edgesentry import (
    AuditRecord,
    ConfigError,
    Device,
    KeyRing,
    Outbox,
    Pkcs11Signer,
    ProgramSigner,
    SignerError,
    verify_chain,
)
from support import device, key_ring, softhsm

SCRIPT = Path(sysconfig.get_path("scripts")) / "eds"
# The device whose seed the Python signers have.
KEY = device(1)


def signature(message: bytes) -> bytes:
    """Signs 32 bytes with the seed of a device, as the payload hash of a record of scheme `payload-hash`."""
    old = Device.from_seed("lift-01", bytes([1] * 32), scheme="payload-hash")
    return old.sign_record(old.sign(b"", "x", 1).replace(payload_hash=message)).signature


class Element:
    """A secure element, which can fail."""

    def __init__(self) -> None:
        self.public_key = str(KEY.public_key)
        self.failures: list[BaseException | bytes] = []
        self.sizes: list[int] = []

    def sign(self, message: bytes) -> bytes:
        self.sizes.append(len(message))
        if not self.failures:
            return signature(message)
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
