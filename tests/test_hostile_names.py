"""A list of harmful names, through everything that Python shows."""

from __future__ import annotations

import json
import logging
import unicodedata
from pathlib import Path

import pytest

import edgesentry
from edgesentry import (
    AuditRecord,
    Device,
    Head,
    HeadsRewrittenError,
    KeyRing,
    RecordMalformed,
    read_heads,
    verify_chain,
    write_heads,
    write_records,
)

NAMES: list[str] = json.loads((Path(__file__).parent / "vectors" / "hostile_names.json").read_text())
# Invisible, but not in a category of invisible characters.
BLANK = set("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe0f\U0001d159\U000e0100")


def check(text: str) -> None:
    """Fails if a terminal or a runner would act on a line, or if something in it cannot be seen."""
    for line in text.split("\n"):
        assert not any(command in line for command in ("##[", "##vso[", "##teamcity[")), line
        assert not line.lstrip().startswith("::"), line
        for character in line:
            category = unicodedata.category(character)
            seen = category not in {"Cc", "Cf", "Zl", "Zp", "Co"} and character not in BLANK
            assert seen, ascii(line)
            assert category != "Zs" or character == " ", ascii(line)


def chains() -> list[AuditRecord]:
    records = []
    for name in NAMES:
        device = Device.generate(name)
        record = device.sign(b"payload", f"payloads/{name}", 1)
        records.append(record.replace(prev_record_hash=bytes([1]) * 32))
    return records


def test_reports_and_records() -> None:
    records = chains()
    heads = {f"{name}?": Head(1, bytes(32)) for name in NAMES}
    report = verify_chain(records, keys=KeyRing(), heads=heads)
    assert report.counts["unknown_device"] == report.counts["device_missing"] == len(NAMES)
    for text in (report.summary(), str(report), repr(report), repr(report.findings), report._repr_html_()):
        check(text)
    check(report.findings._repr_html_())
    check(report.to_json())
    check(report.to_json(indent=2))
    assert {finding["device_id"] for finding in json.loads(report.to_json())["findings"]} >= set(NAMES)
    page = report.to_html()
    assert "##[" not in page
    assert "<script>alert" not in page
    for finding in report.findings:
        check(str(finding))
        check(repr(finding))
    for record in records:
        check(repr(record))
        check(record._repr_html_())
        assert eval(repr(record), {"AuditRecord": AuditRecord}) == record
    texts = [str(finding) for finding in report.findings if finding.code == "unknown_device"]
    assert len(set(texts)) == len(NAMES), "different names look different"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_devices_errors_and_files(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    device = Device.generate(name)
    check(repr(device))
    record = device.sign(b"payload", name, 1)
    ring = KeyRing()
    ring.add(name, device.public_key, scheme="record")
    check(ring.to_json())
    check(ring._repr_html_())
    with pytest.raises(edgesentry.ConfigError) as wrong:
        KeyRing({name: "zz"})
    check(str(wrong.value))
    check(str(RecordMalformed(0, name, name)))

    export, heads = tmp_path / "export.ndjson", tmp_path / "heads.json"
    write_records([record], export)
    check(export.read_text())
    assert [one.device_id for one in edgesentry.read_records(export)] == [name]
    write_heads({name: Head(1, record.hash())}, heads)
    check(heads.read_text())
    assert list(read_heads(heads)) == [name]
    with pytest.raises(HeadsRewrittenError) as rewritten:
        write_heads({f"{name}?": Head(1, record.hash())}, heads)
    check(str(rewritten.value).replace(str(heads), "heads"))

    with caplog.at_level(logging.DEBUG), edgesentry.open(f"sqlite:{tmp_path / 'ledger.db'}") as ledger:
        ledger.register_device(name, device.public_key)
        outcomes = ledger.ingest_many([(record.replace(sequence=9), b"payload")])
        with pytest.raises(edgesentry.RejectedError) as rejected:
            outcomes.raise_for_rejections()
        check(str(rejected.value))
        check(ledger._repr_html_() or "")
    check("\n".join(record.getMessage() for record in caplog.records))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_errors_that_name_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = name.replace("/", "_").encode()[:200].decode(errors="ignore")
    if "\0" not in path:
        Path(path).write_text("neither keys nor heads")
    for fails in (
        lambda: verify_chain([], keys=path),
        lambda: verify_chain([], heads=path),
        lambda: verify_chain([], manifest=path),
        lambda: verify_chain(path),
        lambda: verify_chain(f"{path}\0"),
        lambda: verify_chain([], keys=f"{path}\0"),
        lambda: verify_chain([], payloads=path),
        lambda: write_records([], f"{path}.xyz"),
        lambda: edgesentry.open(path),
    ):
        with pytest.raises((edgesentry.EdgesentryError, ValueError, OSError)) as wrong:
            fails()
        check(str(wrong.value))
