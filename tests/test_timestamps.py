"""Time stamps of checkpoints: vectors, the judgement of other programs, and a real authority."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

import timestamps
from edgesentry import (
    Checkpoint,
    ConfigError,
    Ledger,
    Policy,
    ProofError,
    verify_bundle,
    verify_chain,
    verify_timestamp,
)
from edgesentry.testing._tsa import TSA, pem
from support import device, envelope, key_ring, serve
from timestamps import CHECKPOINT, FOLDER, IMPRINT, STAMPED, Case
from tsa_server import Mode, Tsa, serve_tsa

NO_ATTRIBUTES = "it verifies a signature over the content alone, and no attribute but the digest"
OPTIONAL = "it leaves signed attributes other than the digest to the caller"
UNSORTED = "certificates that are not in the order of DER"
ODD_NAME = "a subject that it cannot parse"
# Another verdict of rfc3161-client, and why.
ORACLE_DIFFERS = {
    # It refuses these.
    "status-1": "a stamp that is granted with modifications",
    "certificates-injected": UNSORTED,
    "intermediate": UNSORTED,
    "same-name": UNSORTED,
    "same-key-id": UNSORTED,
    "root-in-another-edition": UNSORTED,
    "paths-expired-first": UNSORTED,
    "paths-expired-last": UNSORTED,
    "paths-expired-root-first": UNSORTED,
    "paths-expired-root-last": UNSORTED,
    "paths-forged-first": UNSORTED,
    "paths-forged-last": UNSORTED,
    "paths-100-signatures": UNSORTED,
    "loop-with-a-way-out": UNSORTED,
    "key-id": "a signer that is named by its key id",
    "attribute-not-read": "an attribute whose value is not DER",
    "name-parts": ODD_NAME,
    "name-values-in-hex": ODD_NAME,
    "name-without-form": ODD_NAME,
    "certificate-unusable": "a stamp with a certificate that it cannot parse",
    # It accepts these.
    "many-certificates": "it has no limit",
    "critical-extension": "it ignores extensions of the stamp",
    "rsa-2047": "it has no least length of keys",
    "sha1": "it accepts SHA-1 in the signature of a stamp",
    "certificate-sha1": "it accepts SHA-1 in the signature of a certificate",
    "attributes-none": NO_ATTRIBUTES,
    "attributes-no-type": OPTIONAL,
    "attributes-no-certificate-id": OPTIONAL,
    "attributes-type-twice": OPTIONAL,
    "attributes-digest-twice": OPTIONAL,
    "attributes-certificate-id-twice": OPTIONAL,
    "attributes-other-type": OPTIONAL,
    "other-certificate-id": OPTIONAL,
    "signer-is-a-ca": "a signer may be a CA",
    "intermediate-for-servers": "it does not look at the purposes of certificates between signer and root",
}
# Here the auditor has the certificates of the other side, so this root would be trusted.
CASES = [case for case in timestamps.cases() if case.name != "root-claimed"]


def ours(case: Case, folder: Path) -> str | None:
    """Our reason to refuse a stamp."""
    roots = folder / "roots.pem"
    # The function takes no certificates of the other side: here the auditor has them.
    roots.write_text(case.roots + (case.claimed or ""))
    try:
        stamp = verify_timestamp(case.stamp, Checkpoint(CHECKPOINT), tsa_roots=roots, nonce=case.nonce)
    except ProofError as error:
        return error.code
    assert (stamp.before_ms, stamp.authority) == (case.before_ms, case.authority)
    return None


def test_vectors_are_those_of_the_module() -> None:
    contents = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert contents == timestamps.files(), "write them with python tests/timestamps.py"


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_a_stamp_has_its_reason(case: Case, tmp_path: Path) -> None:
    assert ours(case, tmp_path) == case.reason


def rfc3161(case: Case) -> bool:
    """The verdict of rfc3161-client."""
    certificates = x509.load_pem_x509_certificates((case.roots + (case.claimed or "")).encode())
    roots = [one for one in certificates if one.issuer == one.subject]
    others = [one for one in certificates if one.issuer != one.subject]
    try:
        response = decode_timestamp_response(case.stamp)
        signers = [one for one in others if one.subject == x509.Name.from_rfc4514_string("CN=tsa.example")]
        embedded = len(response.signed_data.certificates) > 0
        verifier = VerifierBuilder(
            roots=roots,
            intermediates=[one for one in others if one not in signers],
            tsa_certificate=None if embedded or not signers else signers[0],
            nonce=case.nonce,
        ).build()
        return verifier.verify(response, IMPRINT)
    except (ValueError, VerificationError, AssertionError):
        return False


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_rfc3161_client_gives_the_same_verdict_or_a_listed_one(case: Case) -> None:
    differs = case.name in ORACLE_DIFFERS
    assert rfc3161(case) == ((case.reason is None) != differs)


KEYS = {
    "p256-sha256": ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "sha256"),
    "p384-sha384": ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "sha384"),
    "p256-sha384": ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "sha384"),
    "rsa-sha256": ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "sha256"),
    "rsa-sha512": ("-algorithm RSA -pkeyopt rsa_keygen_bits:3072", "sha512"),
}


@pytest.mark.parametrize(("key", "digest"), KEYS.values(), ids=KEYS)
def test_openssl_stamps_hold(key: str, digest: str, tmp_path: Path) -> None:
    tsa = Tsa(tmp_path / "tsa", key, digest)
    answer = tsa.stamp_of(STAMPED.encode())
    stamp = verify_timestamp(answer, Checkpoint(CHECKPOINT), tsa_roots=tsa.root)
    assert stamp.authority == "CN=tsa.example"
    assert stamp.before_ms == stamp.time_ms + 1500
    for damaged in range(20, len(answer), 97):
        changed = bytearray(answer)
        changed[damaged] ^= 0x10
        try:
            other = verify_timestamp(bytes(changed), Checkpoint(CHECKPOINT), tsa_roots=tsa.root)
            assert (other.before_ms, other.serial) == (stamp.before_ms, stamp.serial)
        except ProofError:
            pass


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "sha256"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "sha512"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "sha1"),
    ],
)
def test_weak_and_other_algorithms_are_refused(key: str, digest: str, tmp_path: Path) -> None:
    tsa = Tsa(tmp_path / "tsa", key, digest)
    answer = tsa.stamp_of(STAMPED.encode())
    with pytest.raises(ProofError) as error:
        verify_timestamp(answer, Checkpoint(CHECKPOINT), tsa_roots=tsa.root)
    assert error.value.code in {"algorithm", "signature", "untrusted"}


def test_files_that_are_not_roots_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    for text, problem in (
        ("", "no certificate"),
        (pem(TSA.signer), "no certificate is a root"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "certificate 1 cannot be used"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=problem):
            verify_timestamp(b"", Checkpoint(CHECKPOINT), tsa_roots=file)
    with pytest.raises(FileNotFoundError):
        verify_timestamp(b"", Checkpoint(CHECKPOINT), tsa_roots=tmp_path / "missing")


@pytest.fixture
def tsa(tmp_path: Path) -> Iterator[Tsa]:
    """An authority that runs."""
    with serve_tsa(Tsa(tmp_path / "tsa")) as tsa:
        yield tsa


Stamped = tuple[Ledger, Policy, Path, Tsa]


@pytest.fixture
def stamped(logged: tuple[Ledger, Policy, Path], tsa: Tsa) -> Stamped:
    """A ledger with a log that asks the authority."""
    ledger, policy, config = logged
    text = config.read_text()
    config.write_text(f'{text}\n[log.tsa]\nurls = ["{tsa.url}"]\nroots = "{tsa.root}"\n')
    return ledger, policy, config, tsa


def test_checkpoints_are_stamped_exported_and_verified(stamped: Stamped, tmp_path: Path) -> None:
    ledger, policy, config, tsa = stamped
    keys, policy_file = key_ring([device(1), device(2)]), tmp_path / "policy"
    policy_file.write_text(str(policy))
    status = envelope("checkpoint", "--config", config)["checkpoint"]
    [stamp] = status["timestamps"]
    assert (stamp["size"], stamp["authority"], stamp["tsa"]) == (status["size"], "CN=tsa.example", tsa.url)
    assert len(tsa.requests) == 1

    export = tmp_path / "export.ndjson"
    written = envelope("export", "--log", "-o", export, "--config", config)["export"]
    [file] = written["timestamp_files"]
    assert file == f"{export}.tsa-0.tsr"
    files = {"checkpoint": written["checkpoint_file"], "policy": policy_file}
    report = verify_chain(export, keys=keys, **files, timestamps=file, tsa_roots=tsa.root)
    assert report.ok
    assert report.coverage.log is not None
    [valid] = report.coverage.log.timestamps
    assert (valid.before_ms, valid.file) == (stamp["before_ms"], file)
    assert "existed before 20" in report.to_html()
    # openssl reads the same file.
    note = Path(written["checkpoint_file"])
    openssl = ["openssl", "ts", "-verify", "-data", note, "-in", file, "-CAfile", tsa.root]
    subprocess.run(openssl, check=True, capture_output=True)

    other = Tsa(tmp_path / "other")
    report = verify_chain(export, **files, timestamps=[file], tsa_roots=other.root)
    assert report.counts == {"timestamp_invalid": 1}
    [finding] = report.findings
    assert (finding.input, finding.device_id) == (file, None)
    assert str(finding.actual).startswith("untrusted: ")
    failure = envelope("verify-chain", export, "--timestamps", file, "--tsa-roots", tsa.root, exit_code=2)
    assert "--checkpoint" in failure["error"]["message"]

    # The log goes on; the stamp stays that of the older checkpoint.
    ledger.register_device(device(3))
    envelope("checkpoint", "--config", config)
    assert len(tsa.requests) == 1
    written = envelope("export", "--log", "-o", export, "--config", config)["export"]
    assert written["timestamp_files"] == []
    newer = envelope("export", "--log", "--stamped", "-o", tmp_path / "older.ndjson", "--config", config)[
        "export"
    ]
    assert Checkpoint.read(newer["checkpoint_file"]).size == stamp["size"]
    ledger.export(tmp_path / "python.ndjson", log=True, stamped=True)
    assert Checkpoint.read(tmp_path / "python.ndjson.checkpoint").size == stamp["size"]
    with pytest.raises(ValueError, match="pass both"):
        ledger.export(tmp_path / "other.ndjson", stamped=True)
    files = {"checkpoint": written["checkpoint_file"], "policy": policy_file}
    report = verify_chain(export, **files, timestamps=newer["timestamp_files"], tsa_roots=tsa.root)
    assert str(report.findings[0].actual).startswith("other_imprint: ")
    assert envelope("checkpoint", "stamp", "--config", config)["checkpoint"]["new_timestamps"] == 1
    assert len(tsa.requests) == 2


def test_bundles_have_the_stamps(stamped: Stamped, tmp_path: Path) -> None:
    ledger, policy, config, tsa = stamped
    envelope("checkpoint", "--config", config)
    file = tmp_path / "case.tar"
    written = envelope("bundle", "-o", file, "--config", config)["bundle"]
    assert {"tsa-0.pem", "tsa-0.tsr"} <= set(written["files"])
    report = verify_bundle(file, policy=policy)
    assert any("2 files of time stamps were not verified" in gap for gap in report.coverage.not_checked)
    report = verify_bundle(file, policy=policy, tsa_roots=tsa.root)
    assert report.ok
    assert report.coverage.log is not None
    assert [stamp.file for stamp in report.coverage.log.timestamps] == [f"{file}/tsa-0.tsr"]
    other = Tsa(tmp_path / "other")
    report = verify_bundle(file, policy=policy, tsa_roots=other.root)
    assert (report.counts, report.findings[0].input) == ({"timestamp_invalid": 1}, f"{file}/tsa-0.tsr")

    ledger.register_device(device(3))
    envelope("checkpoint", "--config", config)
    assert "tsa-0.tsr" not in envelope("bundle", "-o", file, "--config", config)["bundle"]["files"]
    assert ledger.bundle(file, stamped=True) == 10
    assert verify_bundle(file, policy=policy, tsa_roots=tsa.root).ok


def served(url: str, token: str) -> dict[str, Any]:
    """What a service has of time stamps, as soon as it has one."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    for _ in range(600):
        try:
            with urllib.request.urlopen(request) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            time.sleep(0.1)
    raise AssertionError("no time stamp after a minute")


def test_a_service_stamps_and_serves(stamped: Stamped) -> None:
    ledger, _policy, config, tsa = stamped
    ledger.close()
    command = [sys.executable, "-m", "edgesentry", "token", "auditor", "--scope", "read"]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    token = made.stdout.strip()
    config.write_text(f"{config.read_text()}\n{made.stderr}")
    with serve(f"sqlite:{config.parent / 'ledger.db'}", "--config", str(config)) as url:
        found = served(f"{url}/api/v1/log/timestamps", token)
    [stamp] = found["timestamps"]
    checkpoint = Checkpoint(found["checkpoint"])
    assert checkpoint.size == found["size"]
    verified = verify_timestamp(base64.b64decode(stamp["response"]), checkpoint, tsa_roots=tsa.root)
    assert (verified.before_ms, verified.authority) == (stamp["before_ms"], stamp["authority"])
    assert len(tsa.requests) == 1


@pytest.mark.parametrize("mode", ["down", "huge", "text", "cached"])
def test_an_authority_that_fails_stops_nothing(mode: Mode, stamped: Stamped) -> None:
    _ledger, _policy, config, tsa = stamped
    if mode == "cached":
        tsa.stamp_of(b"another message")
    tsa.mode = mode
    status = envelope("checkpoint", "--config", config)["checkpoint"]
    assert (status["timestamps"], status["size"] > 0) == ([], True)
    failure = envelope("checkpoint", "stamp", "--config", config, exit_code=3)["error"]
    assert failure["code"] == "tsa_failed"
    reason = {"down": "503", "huge": "has more than", "text": "malformed", "cached": "other_imprint"}[mode]
    assert reason in failure["message"]
    tsa.mode = "good"
    assert envelope("checkpoint", "stamp", "--config", config)["checkpoint"]["new_timestamps"] == 1
