"""Erasure from Python: the record stays, the payload goes, and only the log excuses it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import edgesentry
from edgesentry import AsyncLedger, ConfigError, Ledger, Policy, read_records, verify_chain, write_records
from support import chains, device, envelope, payload


def test_a_payload_is_erased(logged: tuple[Ledger, Policy, Path], tmp_path: Path) -> None:
    ledger, policy, config = logged
    erasure = ledger.erase("lift-01", 3, "request 7")
    assert (erasure.state, erasure.versions, erasure.problem) == ("erased", 1, None)
    third = next(record for record in ledger.records(devices="lift-01") if record.sequence == 3)
    assert erasure.payload_hash == third.payload_hash
    assert erasure.leaf is not None
    assert erasure.erased_at_ms is not None
    assert ledger.erase("lift-01", 3, "other words") == erasure
    assert asyncio.run(AsyncLedger(ledger).erase("lift-01", 3, "request 7")) == erasure
    assert ledger.payload(third) is None
    report = ledger.verify(payloads=True)
    assert report.counts == {"payload_missing": 1}
    assert "was erased, as the side under test lists it" in report.hints[0]
    # The record that is sent again is a duplicate, and its payload is not stored.
    assert ledger.ingest_many(chains([device(1)], 5), payload).counts == {"duplicate": 5}
    assert ledger.payload(third) is None

    export = tmp_path / "export.parquet"
    envelope("export", "-o", export, "--log", "--config", config)
    (tmp_path / "policy").write_text(str(policy))
    held = tmp_path / "held"
    for record in ledger.records():
        if (found := ledger.payload(record)) is not None:
            (held / record.object_ref).parent.mkdir(parents=True, exist_ok=True)
            (held / record.object_ref).write_bytes(found)
    missing = verify_chain(export, payloads=held)
    assert missing.counts == {"payload_missing": 1}
    assert "was erased, as the side under test lists it" in missing.hints[0]
    report = verify_chain(
        export,
        payloads=held,
        checkpoint=tmp_path / "export.parquet.checkpoint",
        policy=tmp_path / "policy",
        require="payloads",
    )
    assert report.ok
    coverage = report.coverage
    assert coverage.payloads is not None
    assert coverage.log is not None
    assert (coverage.payloads.erased, coverage.payloads.erased_present, coverage.log.erased) == (1, 0, 1)
    assert any("1 payload was erased" in note for note in coverage.not_checked)

    # With a record more than the log has, the log excuses none, also if the chain is read again.
    records = list(ledger.records())
    for repeated, absent in ((1, 1), (3, 2)):
        more = tmp_path / f"{repeated}.ndjson"
        write_records([record for record in records if record.sequence == repeated][:1], more)
        for sources in ([export, more], [*records, *read_records(more)]):
            report = verify_chain(
                sources,
                payloads=held,
                checkpoint=tmp_path / "export.parquet.checkpoint",
                policy=tmp_path / "policy",
                log_layout=tmp_path / "export.parquet.log",
                order="sequence",
            )
            assert report.counts == {"payload_missing": absent, "sequence_duplicate": 1, "not_included": 1}
            assert len(report.findings) == absent + 2


def test_an_impossible_erasure_is_refused(logged: tuple[Ledger, Policy, Path]) -> None:
    ledger, _, config = logged
    with pytest.raises(ValueError, match="has no record with sequence 9"):
        ledger.erase("lift-01", 9, "request 7")
    with pytest.raises(ValueError, match="the reason for an erasure"):
        ledger.erase("lift-01", 1, "")
    with pytest.raises(ValueError, match="wait must be"):
        ledger.erase("lift-01", 1, "request 7", wait=-1)
    with (
        edgesentry.open(config=config, read_only=True) as other,
        pytest.raises(ConfigError, match="open for reading only"),
    ):
        other.erase("lift-01", 1, "request 7")


def test_without_a_log_nothing_is_erased(tmp_path: Path) -> None:
    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        ledger.register_device(device(1))
        ledger.ingest_many(chains([device(1)], 1), payload).raise_for_rejections()
        with pytest.raises(ConfigError, match="eds checkpoint init"):
            ledger.erase("lift-01", 1, "request 7")
        assert ledger.verify(payloads=True).ok
