"""Inputs from the ledger or a manifest are claims: checked, marked, and not sufficient for `require`."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
from pathlib import Path

import pytest

import edgesentry
from edgesentry import (
    AuditRecord,
    Device,
    Head,
    KeyRing,
    Ledger,
    Level,
    Manifest,
    Policy,
    Report,
    RequirementError,
    VerificationError,
    verify_bundle,
    verify_chain,
)
from support import chains, device, envelope, key_ring, payload


def lifts() -> list[Device]:
    return [device(number) for number in (1, 2)]


@pytest.fixture
def records() -> list[AuditRecord]:
    return chains(lifts(), 20)


@pytest.fixture
def keys() -> KeyRing:
    return key_ring(lifts())


@pytest.fixture
def ledger_path(tmp_path: Path, records: list[AuditRecord]) -> Path:
    path = tmp_path / "audit.db"
    with edgesentry.open(path) as ledger:
        for lift in lifts():
            ledger.register_device(lift)
        assert ledger.ingest_many([(record, payload(record)) for record in records]).ok
    return path


def cut(path: Path, records: list[AuditRecord]) -> Head:
    """Removes the first 15 records of a chain, and registers the last of them as a start head."""
    last = next(record for record in records if (record.device_id, record.sequence) == ("lift-01", 15))
    database = sqlite3.connect(path)
    database.execute("DELETE FROM audit_records WHERE device_id = 'lift-01' AND sequence <= 15")
    database.execute(
        "UPDATE chain_heads SET start_sequence = 15, start_hash = ? WHERE device_id = 'lift-01'",
        (last.hash(),),
    )
    database.commit()
    database.close()
    return Head(15, last.hash())


def test_required_heads_cover_every_device(records: list[AuditRecord]) -> None:
    heads = verify_chain(records).heads
    assert verify_chain(records, heads=heads, require="heads").ok
    del heads["lift-02"]
    assert verify_chain(records, heads=heads).ok
    with pytest.raises(RequirementError, match="1 device without a trusted head") as caught:
        verify_chain(records, heads=heads, require="heads")
    assert isinstance(caught.value, VerificationError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.report.ok
    # Findings are in the report, as without claims.
    assert not verify_chain(records[3:], heads=heads, require="heads").ok


def test_the_key_ring_of_a_ledger_is_a_claim(tmp_path: Path, ledger_path: Path) -> None:
    path = tmp_path / "export.json"
    with edgesentry.open(ledger_path) as ledger:
        ledger.export(path)
        claimed = ledger.key_ring()
        assert "claims" in repr(claimed)
        for ring in (claimed, pickle.loads(pickle.dumps(claimed))):
            for report in (ledger.verify(keys=ring), verify_chain(path, keys=ring)):
                assert report.ok
                assert report.coverage.provided_by["keys"] == ["ledger"]
                assert any("claimed by the ledger" in note for note in report.coverage.not_checked)
            with pytest.raises(ValueError, match="the ledger provides only a claim"):
                ledger.verify(keys=ring, require="signatures")
            with pytest.raises(ValueError, match="the ledger provides only a claim"):
                verify_chain(path, keys=ring, require="signatures")
        # The auditor confirms that they are the right ones.
        mine = KeyRing(claimed)
        assert mine == claimed
        assert ledger.verify(keys=mine, require="signatures").ok
        assert verify_chain(path, keys=mine, require="signatures").ok


def test_the_key_ring_of_a_ledger_is_a_claim_for_a_bundle(
    logged: tuple[Ledger, Policy, Path], tmp_path: Path
) -> None:
    ledger, policy, config = logged
    envelope("checkpoint", "--config", config)
    bundle, other = tmp_path / "case.tar", KeyRing()
    other.add("lift-01", lifts()[1].public_key, scheme="record")
    ledger.bundle(bundle, keys=other)
    report = verify_bundle(bundle, policy=policy, keys=ledger.key_ring())
    # It is used, and not the claim in the bundle, which has another key.
    assert (report.ok, report.coverage.provided_by["keys"]) == (True, ["ledger"])
    assert any("claimed by the ledger" in note for note in report.coverage.not_checked)
    assert not verify_bundle(bundle, policy=policy).ok
    with pytest.raises(ValueError, match="the ledger provides only a claim"):
        verify_bundle(bundle, policy=policy, keys=ledger.key_ring(), require="signatures")
    mine = KeyRing(ledger.key_ring())
    assert verify_bundle(bundle, policy=policy, keys=mine, require="signatures").ok


def test_required_signatures_cover_every_record(records: list[AuditRecord], keys: KeyRing) -> None:
    report = verify_chain(records, keys=key_ring(lifts()[:1]), require="signatures")
    assert report.counts == {"unknown_device": 1}
    assert verify_chain(records, keys=keys, require=["signatures"]).ok


def test_a_manifest_is_a_claim(tmp_path: Path, ledger_path: Path, keys: KeyRing) -> None:
    path = tmp_path / "export.json"
    with edgesentry.open(ledger_path) as ledger:
        heads = ledger.heads()
        manifest = ledger.export(path, from_sequence=11)
    for given in (manifest, tmp_path / "export.json.manifest.json"):
        report = verify_chain(path, keys=keys, manifest=given)
        assert report.ok
        coverage = report.coverage
        assert coverage.provided_by == {
            "start_heads": ["manifest"],
            "keys": ["auditor"],
            "heads": ["manifest"],
        }
        assert coverage.heads is not None
        assert (coverage.heads.trusted, coverage.heads.claimed) == (0, 2)
        assert (coverage.links.from_claimed, coverage.links.from_trusted) == (2, 0)
        assert any("claimed by the manifest" in note for note in coverage.not_checked)
        said = (report.summary(), report.to_html(), report.to_json(), report._repr_html_())
        assert all("claimed by the manifest" in text for text in said)
        with pytest.raises(ValueError, match="the manifest provides only a claim"):
            verify_chain(path, manifest=given, require="heads")
        with pytest.raises(RequirementError, match="2 chains without a trusted beginning"):
            verify_chain(path, manifest=given, heads=heads, require="heads")
        starts = manifest.start_heads  # as if the auditor had stored them
        assert verify_chain(path, manifest=given, heads=heads, start_heads=starts, require="heads").ok


def test_a_manifest_belongs_to_one_file(
    tmp_path: Path, ledger_path: Path, records: list[AuditRecord]
) -> None:
    path = tmp_path / "export.json"
    with edgesentry.open(ledger_path) as ledger:
        manifest = ledger.export(path)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(RequirementError, match="is not the file that was exported"):
        verify_chain(path, manifest=manifest)
    edgesentry.write_records(records[:30], path)
    report = verify_chain(path, manifest=manifest)
    assert report.counts == {"head_mismatch": 2}
    assert all(finding.expected.endswith("as claimed by the manifest") for finding in report.findings)
    with pytest.raises(ValueError, match="one file"):
        verify_chain(records, manifest=manifest)
    with pytest.raises(FileNotFoundError):
        verify_chain(path, manifest=tmp_path / "absent.json")
    with pytest.raises(edgesentry.ConfigError, match="manifest"):
        verify_chain(path, manifest=path)
    with pytest.raises(TypeError, match="a manifest is a path or a Manifest"):
        verify_chain(path, manifest=3)  # type: ignore[arg-type]


def test_a_start_that_only_the_ledger_claims_is_a_finding(
    ledger_path: Path, records: list[AuditRecord], keys: KeyRing
) -> None:
    heads = verify_chain(records).heads
    everything: list[Level] = ["signatures", "payloads", "heads"]
    start = cut(ledger_path, records)
    with edgesentry.open(ledger_path) as ledger:
        report = ledger.verify(keys=keys, heads=heads, payloads=True, require=everything)
        assert report.counts == {"first_record_not_genesis": 1}
        starts = {"lift-01": start}
        report = ledger.verify(keys=keys, heads=heads, start_heads=starts, payloads=True, require=everything)
        assert report.ok
        assert report.coverage.provided_by["start_heads"] == ["auditor"]
        report = ledger.verify(keys="registered", heads="registered", start_heads="registered")
        assert report.ok
        assert set(map(tuple, report.coverage.provided_by.values())) == {("ledger",)}
        with pytest.raises(ValueError, match="the ledger provides only a claim"):
            ledger.verify(keys="registered", require="signatures")
        with pytest.raises(ValueError, match="the ledger provides only a claim"):
            ledger.verify(heads="registered", require="heads")
        with pytest.raises(RequirementError, match="1 chain without a trusted beginning"):
            ledger.verify(heads=heads, start_heads="registered", require="heads")

    async def in_place() -> Report:
        async with await edgesentry.open_async(ledger_path) as ledger:
            return await ledger.verify(keys=keys, heads=heads)

    assert asyncio.run(in_place()).counts == {"first_record_not_genesis": 1}


def test_a_manifest_is_brought_in_place(tmp_path: Path, ledger_path: Path) -> None:
    with edgesentry.open(ledger_path) as ledger:
        manifest: Manifest = ledger.export(tmp_path / "export.json", from_sequence=5)
        assert ledger.verify(manifest=manifest).coverage.provided_by == {"heads": ["manifest"]}
        database = sqlite3.connect(ledger_path)
        database.execute("DELETE FROM audit_records WHERE device_id = 'lift-02' AND sequence > 7")
        database.commit()
        database.close()
        assert ledger.verify(manifest=manifest).counts == {"head_mismatch": 1}
