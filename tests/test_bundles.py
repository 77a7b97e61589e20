"""Evidence bundles from the command and from Python: written, verified, mutated."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from bundles import forge, header, mutations, pack, unpack
from edgesentry import (
    Checkpoint,
    ConfigError,
    KeyRing,
    Ledger,
    Policy,
    ProofError,
    RequirementError,
    verify_bundle,
)
from support import device, envelope, key_ring

ROOT = Path(__file__).parent.parent
VECTORS = Path(__file__).parent / "vectors" / "bundle"
TEXTS = ROOT / "rust/edgesentry-rs/src/log/bundle"
CASES = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def signed(logged: tuple[Ledger, Policy, Path]) -> tuple[Ledger, Policy, Path]:
    """A ledger with a signed log, the policy of its key, and its settings."""
    envelope("checkpoint", "--config", logged[2])
    return logged


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["bundle"]))
def test_vectors_give_their_results(case: dict[str, Any]) -> None:
    policy, previous = (VECTORS / case[name] if case[name] else None for name in ("policy", "previous"))
    keys = KeyRing(VECTORS / case["keys"]) if case["keys"] else None
    bundle = VECTORS / case["bundle"]
    for source in (bundle, bundle.read_bytes(), io.BytesIO(bundle.read_bytes())):
        report = verify_bundle(source, keys=keys, policy=policy, previous=previous)
        assert (report.verdict, report.counts) == (case["verdict"], case["counts"])
        found = [(finding.code, finding.device_id, finding.sequence) for finding in report.findings]
        assert found == [(one["code"], one["device_id"], one["sequence"]) for one in case["findings"]]


def test_a_ledger_writes_bundles(signed: tuple[Ledger, Policy, Path], tmp_path: Path) -> None:
    ledger, policy, config = signed
    keys, old = key_ring([device(1), device(2)]), ledger.checkpoint()
    file = tmp_path / "case.tar"
    assert ledger.bundle(file) == 10
    report = verify_bundle(file, policy=policy, keys=keys, require="signatures")
    assert (report.ok, report.coverage.records, report.coverage.devices) == (True, 10, 2)

    assert ledger.bundle(file, devices="lift-01", payloads=True) == 5
    report = verify_bundle(file, policy=policy, keys=keys, require=["signatures", "payloads"])
    assert (report.ok, report.coverage.records) == (True, 5)
    assert ledger.bundle(file, devices=["lift-02", "lift-99"]) == 5
    assert verify_bundle(file, policy=policy, keys=keys).ok
    assert ledger.bundle(file, records=[("lift-02", 4), ("lift-01", 2), ("lift-01", 2)]) == 2
    assert verify_bundle(file, policy=policy, keys=keys).ok
    with pytest.raises(RequirementError, match="the policy requires no witness"):
        verify_bundle(file, policy=policy, keys=keys, require="log")
    with pytest.raises(ConfigError, match="no policy"):
        verify_bundle(file, keys=keys)
    with pytest.raises(ValueError, match="log is required"):
        verify_bundle(file, keys=keys, require="log")
    ledger.bundle(file, policy=policy)
    assert "policy_claimed" in {
        gap["code"] for gap in json.loads(verify_bundle(file).to_json())["coverage"]["gaps"]
    }

    ledger.register_device(device(3))
    envelope("checkpoint", "--config", config)
    other = Checkpoint(str(Checkpoint.read(VECTORS / "checkpoint-forked")))
    scopes: list[dict[str, Any]] = [{}, {"devices": "lift-01"}, {"records": [("lift-02", 4)]}]
    for scope in scopes:
        ledger.bundle(file, since=old, **scope)
        report = verify_bundle(file, policy=policy, keys=keys, previous=old)
        assert report.coverage.log is not None
        assert (report.ok, report.coverage.log.previous) == (True, True)
        assert "checkpoint_inconsistent" in verify_bundle(file, policy=policy, previous=other).counts


def test_a_bundle_is_written_whole_or_not_at_all(signed: tuple[Ledger, Policy, Path], tmp_path: Path) -> None:
    ledger, policy, config = signed
    file = tmp_path / "case.tar"
    file.write_bytes(b"before")
    for wrong, code in (
        ({"records": [("lift-01", 6)]}, "not_logged"),
        ({"devices": ["lift-98", "lift-99"]}, "bundle_empty"),
    ):
        with pytest.raises(ProofError) as error:
            ledger.bundle(file, **wrong)
        assert error.value.code == code
    with pytest.raises(ValueError, match="devices or records"):
        ledger.bundle(file, devices="lift-01", records=[("lift-01", 1)])
    assert file.read_bytes() == b"before"
    with pytest.raises(FileNotFoundError):
        ledger.bundle(tmp_path / "missing" / "case.tar")
    ledger.close()
    place = tmp_path / "ledger.db"
    failure = envelope("bundle", "-o", place, "--config", config, exit_code=2)["error"]
    assert failure["code"] == "output_refused"
    policy_file = tmp_path / "policy"
    policy_file.write_text(str(policy))
    failure = envelope("bundle", "-o", policy_file, "--policy", policy_file, "--config", config, exit_code=2)[
        "error"
    ]
    assert failure["code"] == "output_refused"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_the_command_writes_and_verifies(signed: tuple[Ledger, Policy, Path], tmp_path: Path) -> None:
    ledger, policy, config = signed
    ledger.close()
    keys, trusted, file = tmp_path / "keys.json", tmp_path / "policy", tmp_path / "case.tar"
    key_ring([device(1), device(2)]).save(keys)
    trusted.write_text(str(policy))
    given = ("--policy", trusted, "--keys", keys)
    answer = envelope("bundle", "-o", file, "--device", "lift-01", "--payload-store", "--config", config)[
        "bundle"
    ]
    assert (answer["records"], answer["files"][0]) == (5, "checkpoint")
    first = file.read_bytes()
    report = envelope("verify-bundle", file, *given, "--require", "signatures,payloads")["report"]
    assert report["verdict"] == "valid"
    assert {gap["code"] for gap in report["coverage"]["gaps"]} == {"no_witnesses", "part_of_log"}
    assert envelope("verify-bundle", "-", *given, stdin=first)["report"]["verdict"] == "valid"
    assert (
        envelope("verify-bundle", file, *given, "--require", "log", exit_code=2)["error"]["code"]
        == "required_not_covered"
    )
    assert envelope("verify-bundle", file, exit_code=2)["error"]["code"] == "policy_missing"
    assert envelope("verify-bundle", tmp_path, *given, exit_code=2)["error"]["code"] == "io"
    with tarfile.open(file) as archive:
        assert archive.getnames()[:2] == ["manifest", "checkpoint"]
    envelope("bundle", "-o", file, "--record", "lift-01:3", "--config", config)
    assert envelope("verify-bundle", file, *given)["report"]["coverage"]["records"] == 1
    failure = envelope("bundle", "-o", "-", "--config", config, exit_code=2)["error"]
    assert failure["code"] == "usage"
    plain = [sys.executable, "-m", "edgesentry", "bundle", "-o", "-", "--config", str(config)]
    out = subprocess.run(plain, capture_output=True, check=True, timeout=60).stdout
    assert verify_bundle(out, policy=policy).coverage.records == 10


def test_a_bundle_has_the_published_verifiers(signed: tuple[Ledger, Policy, Path], tmp_path: Path) -> None:
    ledger, policy, _ = signed
    file, keys, trusted = tmp_path / "case.tar", tmp_path / "keys.json", tmp_path / "policy"
    key_ring([device(1), device(2)]).save(keys)
    trusted.write_text(str(policy))
    ledger.bundle(file, devices="lift-01", payloads=True)
    members = {member.name: member.content for member in unpack(file.read_bytes())}
    page = (ROOT / "docs/how-to/evidence.md").read_text(encoding="utf-8")
    for name in ("readme.txt", "verify.html", "verify.py"):
        assert members[name] == (TEXTS / name).read_bytes()
        if name != "readme.txt":
            assert f"| `{name}` | `{hashlib.sha256(members[name]).hexdigest()}` |" in page
            assert name in members["readme.txt"].decode("ascii")
    (tmp_path / "verify.py").write_bytes(members["verify.py"])
    command = [sys.executable, "-I", "verify.py", "case.tar", "--policy", "policy", "--keys", "keys.json"]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(done.stdout)["report"]
    assert (report["verdict"], report["coverage"]["records"]) == ("valid", 5)


def test_a_page_carries_the_bundle(signed: tuple[Ledger, Policy, Path], tmp_path: Path) -> None:
    ledger, _, config = signed
    file, page = tmp_path / "case.tar", tmp_path / "case.html"
    command = ("bundle", "-o", file, "--config", config, "--page")
    answer = envelope(*command, page, "--device", "lift-01")["bundle"]
    assert answer["page"] == str(page)
    before, element, after = (TEXTS / "verify.html").read_text(encoding="utf-8").partition('id="carried">')
    carried = base64.b64encode(file.read_bytes()).decode()
    assert page.read_text(encoding="utf-8") == before + element + carried + after
    for refused in (("bundle", "-o", "-", "--config", config, "--page", page), (*command, "-")):
        assert "--page needs a file" in envelope(*refused, exit_code=2)["error"]["message"]
    assert envelope(*command, file, exit_code=2)["error"]["code"] == "output_refused"

    # A bundle that is too large for a page is there nevertheless, and the page is the one before.
    large = bytes(6 << 20)
    lift = device(1).resume(list(ledger.records(devices="lift-01"))[-1])
    more = [
        (lift.sign(large + bytes([number]), f"{number}.bin"), large + bytes([number])) for number in range(3)
    ]
    ledger.ingest_many(more).raise_for_rejections()
    envelope("checkpoint", "--config", config)
    failure = envelope(*command, page, "--device", "lift-01", "--payload-store", exit_code=2)["error"]
    assert failure["code"] == "bundle_too_large"
    assert "the bundle is written" in failure["message"]
    assert file.stat().st_size > 16 << 20
    assert carried in page.read_text(encoding="utf-8")


def test_an_erased_payload_is_not_handed_over(signed: tuple[Ledger, Policy, Path], tmp_path: Path) -> None:
    ledger, policy, _ = signed
    file, keys = tmp_path / "case.tar", key_ring([device(1), device(2)])
    erasure = ledger.erase("lift-01", 2, "request 7", wait=60)
    assert erasure.state == "erased"
    parts: list[tuple[dict[str, Any], int]] = [
        ({}, 10),
        ({"devices": "lift-01"}, 5),
        ({"records": [("lift-01", 2), ("lift-02", 3)]}, 2),
    ]
    for part, records in parts:
        assert ledger.bundle(file, payloads=True, **part) == records
        payloads = [one.name for one in unpack(file.read_bytes()) if one.name.startswith("payload-")]
        assert len(payloads) == records - 1
        assert f"payload-{erasure.payload_hash.hex()}" not in payloads
        report = verify_bundle(file, policy=policy, keys=keys, require=["payloads", "signatures"])
        assert report.ok
        assert report.coverage.payloads is not None
        assert (report.coverage.payloads.checked, report.coverage.payloads.erased) == (records, 1)
        assert any("1 payload was erased" in note for note in report.coverage.not_checked)
        other = Policy((VECTORS / "policy").read_text())
        report = verify_bundle(file, policy=other, keys=keys)
        assert report.counts == {"payload_missing": 1, "checkpoint_untrusted": 1}
        assert "was erased, as the side under test lists it" in report.hints[0]
    ledger.bundle(file, payloads=True, policy=policy)
    report = verify_bundle(file, keys=keys)
    assert (report.counts, len(report.hints)) == ({"payload_missing": 1}, 1)
    ledger.close()
    trusted = tmp_path / "policy"
    trusted.write_text(str(policy))
    given = (file, "--policy", trusted, "--require", "payloads")
    gap = {"level": "payloads", "code": "payload_erased", "payloads": 1}
    assert gap in envelope("verify-bundle", *given)["report"]["coverage"]["gaps"]


def test_an_erasure_without_a_leaf_in_the_checkpoint_is_refused(
    signed: tuple[Ledger, Policy, Path], tmp_path: Path
) -> None:
    """Its payload must not be handed over, and no leaf would excuse it."""
    ledger, _, _ = signed
    file = tmp_path / "case.tar"
    third = next(record for record in ledger.records(devices="lift-01") if record.sequence == 3)
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        row = ("lift-01", 3, third.payload_hash, "request 8", 1, 400)
        database.execute(
            "INSERT INTO erasures (device_id, sequence, payload_hash, reason, at_ms, log_index)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
    database.close()
    for part in ({}, {"devices": "lift-01"}, {"records": [("lift-01", 3)]}):
        with pytest.raises(ProofError, match="sequence 3: the payload is to be erased") as error:
            ledger.bundle(file, payloads=True, **part)
        assert error.value.code == "payload_erased"
    assert not file.exists()
    assert ledger.bundle(file, devices="lift-02", payloads=True) == 5
    assert ledger.bundle(file) == 10


@pytest.mark.parametrize("name", ["full-payloads", "devices-absent", "devices-payloads", "records", "claims"])
def test_mutated_bundles_are_found(name: str) -> None:
    """Each mutation gives a report; those that pass have changed a claim of the manifest only."""
    bundle = (VECTORS / f"{name}.tar").read_bytes()
    assert pack(unpack(bundle)) == pack(forge(unpack(bundle))) == bundle
    assert header("manifest", len(unpack(bundle)[0].content)) == bundle[:512]
    policy, keys = VECTORS / "policy", KeyRing(VECTORS / "keys.json")
    leaves = {member.name: member.content for member in unpack(bundle)}["leaves-000"]
    for mutation in mutations(19, bundle, 300):
        report = verify_bundle(mutation.data, policy=policy, keys=keys)
        if report.verdict == "valid":
            assert mutation.forged or mutation.kind in ("manifest", "any"), mutation
            after = {member.name: member.content for member in unpack(mutation.data)}
            assert after["leaves-000"] == leaves, mutation


def test_stdin_is_one_input() -> None:
    """A policy from stdin would leave nothing of the bundle."""
    refused = envelope("verify-bundle", "-", "--policy", "-", exit_code=2)
    assert refused["error"]["code"] == "usage"
    assert "stdin (-) can be read only once" in refused["error"]["message"]
