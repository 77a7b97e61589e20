"""Reports that were kept as JSON, their comparison, and the explanation of findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgesentry import FINDING_CODES, Difference, Report, UnreadableError, verify_chain, write_records
from edgesentry.testing import LOG_CATALOGUE, make_fleet
from support import chains, device, envelope, key_ring

DEVICES = [device(1), device(2)]
RECORDS = chains(DEVICES, 6)
BAD = [*RECORDS[:4], RECORDS[4].replace(timestamp_ms=1), *RECORDS[5:], RECORDS[-1]]
BUNDLE = Path(__file__).parent / "vectors" / "bundle"


def reports(folder: Path) -> list[Report]:
    """Reports with every kind of coverage, with hints, findings of every level, and none."""
    payloads = folder / "payloads"
    payloads.mkdir()
    write_records(RECORDS[::-1], folder / "reversed.ndjson")
    write_records(BAD, folder / "bad.parquet")
    files = [folder / "reversed.ndjson", folder / "bad.parquet"]
    fleet = make_fleet()
    evidence = LOG_CATALOGUE["log_rebuilt"](fleet)
    logged = evidence.write(folder)
    return [
        verify_chain([]),
        verify_chain(RECORDS),
        verify_chain(RECORDS, keys=key_ring(DEVICES), heads=verify_chain(RECORDS)),
        verify_chain(RECORDS, keys=key_ring(DEVICES[:1]), payloads=payloads),
        verify_chain(
            RECORDS, keys={one.device_id: str(one.public_key) for one in DEVICES}, scheme="payload-hash"
        ),
        verify_chain(BAD, keys=key_ring(DEVICES), max_findings=1),
        verify_chain(files, keys=key_ring(DEVICES)),
        verify_chain(evidence.records, keys=evidence.keys, **logged),
    ]


def test_a_report_is_read_again(tmp_path: Path) -> None:
    for report in reports(tmp_path):
        again = Report.from_json(report.to_json())
        assert again == report
        assert again.to_json() == report.to_json()
        assert again.summary() == report.summary()
        assert (again.ok, again.counts, again.hints) == (report.ok, report.counts, report.hints)
        assert Report.from_json(report.to_json(indent=2).encode()) == report


def test_a_report_of_the_command_is_read_again(tmp_path: Path) -> None:
    write_records(BAD, tmp_path / "bad.json")
    key_ring(DEVICES).save(tmp_path / "keys.json")
    kept = envelope("verify-chain", tmp_path / "bad.json", "--keys", tmp_path / "keys.json", exit_code=1)
    report = Report.from_json(json.dumps(kept))
    assert report == verify_chain(tmp_path / "bad.json", keys=tmp_path / "keys.json")
    (tmp_path / "verdict.json").write_text(json.dumps(kept))
    page = tmp_path / "report.html"
    shown = envelope("report", tmp_path / "verdict.json", "--html", page, exit_code=1)
    assert shown["report"] == kept["report"]
    assert "signature_invalid" in page.read_text()
    # The page names the verification, not the command that shows it.
    assert "eds verify-chain" in page.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "report: missing field `verdict`"),
        (
            "",
            "json: expected the JSON of a report, got other text; for a file: "
            'Report.from_json(Path("verdict.json").read_text())',
        ),
        (
            '{"lift-01": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"}',
            "it is a key ring, not a report; pass it with --keys (keys= in Python)",
        ),
        (
            '{"edgesentry": {}, "command": "heads", "ok": true}',
            "it is the output of eds heads, which has no report; pass that of eds verify-chain --json",
        ),
        (
            json.dumps({**verify_chain(BAD).to_dict(), "verdict": "valid"}),
            "report: its verdict is not that of its contents; it was changed, so verify the records again",
        ),
        (
            json.dumps({**verify_chain(BAD).to_dict(), "findings": []}),
            "report: the number of its findings is not the sum of its counts; it was changed, so verify the "
            "records "
            "again",
        ),
    ],
)
def test_another_file_is_not_a_report(text: str, message: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        Report.from_json(text)
    assert str(raised.value) == message


def test_a_page_is_written_to_a_path(tmp_path: Path) -> None:
    report = verify_chain(BAD)
    page = report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == page


def test_two_reports_are_compared(tmp_path: Path) -> None:
    write_records(BAD, tmp_path / "bad.json")
    before = verify_chain(tmp_path / "bad.json")
    # The same fault at another place, one more, and one less.
    worse = [*BAD[1:-1], RECORDS[-1].replace(sequence=9)]
    after = verify_chain(worse)
    difference = before.diff(after)
    assert isinstance(difference, Difference)
    assert repr(difference) == "<Difference: 2 new, 1 gone, 1 same>"
    assert [one.code for one in difference.same] == ["prev_hash_mismatch"]
    assert [one.code for one in difference.gone] == ["sequence_duplicate"]
    assert [one.code for one in difference.new] == ["first_record_not_genesis", "sequence_gap"]
    assert difference.same[0] == after.findings.filter(code="prev_hash_mismatch")[0]
    again = Report.from_json(before.to_json())
    assert repr(again.diff(before)) == f"<Difference: 0 new, 0 gone, {len(before.findings)} same>"
    with pytest.raises(ValueError, match=r"^after keeps 0 of 2 findings; verify again with max_findings=2$"):
        before.diff(verify_chain(BAD, max_findings=0))


def test_findings_are_filtered_by_level() -> None:
    findings = verify_chain(BAD, keys=key_ring(DEVICES)).findings
    links = findings.filter(level="links")
    assert {one.level for one in links} == {"links"}
    assert len(links) + len(findings.filter(level="signatures")) == len(findings)
    assert len(findings.filter(level=["links", "signatures"], device="lift-01")) == len(
        findings.filter(device="lift-01")
    )


def test_findings_are_filtered() -> None:
    findings = verify_chain(BAD, keys=key_ring(DEVICES)).findings
    assert [one.code for one in findings] == ["signature_invalid", "prev_hash_mismatch", "sequence_duplicate"]
    assert [one.code for one in findings.filter(device="lift-02")] == ["sequence_duplicate"]
    assert [one.code for one in findings.filter(code=["signature_invalid", "sequence_duplicate"])] == [
        "signature_invalid",
        "sequence_duplicate",
    ]
    assert len(findings.filter(device="lift-01", code="sequence_duplicate")) == 0
    assert findings.filter() == findings
    with pytest.raises(
        ValueError, match=r'^unknown finding code "bad"; edgesentry.FINDING_CODES lists them$'
    ):
        findings.filter(code="bad")  # type: ignore[arg-type]


def test_a_finding_is_explained() -> None:
    finding = verify_chain(BAD, keys=key_ring(DEVICES)).findings[0]
    assert (finding.code, finding.level) == ("signature_invalid", "signatures")
    assert finding.explanation.startswith("The signature does not verify under the device's key.")
    assert "## What to do" in finding.explanation
    assert "## Example" not in finding.explanation
    assert finding.url.startswith("https://")
    assert finding.url.endswith("/docs/findings/signature_invalid.md")
    explained = envelope("explain", "signature_invalid")["finding"]
    assert explained["text"] == finding.explanation
    assert (explained["level"], explained["url"]) == ("signatures", finding.url)
    assert tuple(one["code"] for one in envelope("explain")["findings"]) == FINDING_CODES
