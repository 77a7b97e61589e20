"""The report page: the hashes of its inputs, and the command that produces the same report again."""

from __future__ import annotations

import hashlib
import html
import os
import re
import shlex
from pathlib import Path

import pytest

import edgesentry
from edgesentry import AuditRecord, Report, verify_chain, write_heads, write_records
from support import chains, device, payload
from test_cli import eds

LIFT = device(1)


@pytest.fixture
def records() -> list[AuditRecord]:
    return chains([device(1)], 20)


def command(report: Report) -> str:
    """Returns the command that the page shows."""
    found = re.search(r"<pre><code>(eds .*?)</code></pre>", report.to_html())
    assert found
    return html.unescape(found[1])


def repeat(report: Report, **names: str | Path) -> int:
    """Returns the exit code of the command of the page, with files in place of its placeholders."""
    words = shlex.split(command(report))
    return eds(*[names.get(word, word) for word in words[1:]]).returncode


def test_the_command_has_start_heads_and_the_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[AuditRecord]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_heads(verify_chain(records[:10]), "start.json")
    write_heads(verify_chain(records), "heads.json")
    write_records(records[10:], "range.ndjson")
    Path("keys.json").write_text(f'{{"lift-01": "{LIFT.public_key}"}}')
    report = verify_chain(
        "range.ndjson", keys="keys.json", scheme="record", start_heads="start.json", heads="heads.json"
    )
    assert report.ok
    assert " --scheme record" in command(report)
    assert repeat(report, KEYS="keys.json", HEADS="heads.json", START_HEADS="start.json") == 0
    # Under the default scheme of bare keys they would be invalid.
    assert not verify_chain("range.ndjson", keys="keys.json", start_heads="start.json").ok


def test_the_command_names_the_manifest_and_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[AuditRecord]
) -> None:
    monkeypatch.chdir(tmp_path)
    with edgesentry.open("audit.db") as ledger:
        ledger.register_device(device(1))
        assert ledger.ingest_many([(record, payload(record)) for record in records]).ok
        manifest = ledger.export("export.json", from_sequence=6)
        in_place = ledger.verify(keys="registered", payloads=True, devices="lift-01")
    report = verify_chain("export.json", manifest=manifest)
    assert report.ok
    assert repeat(report, MANIFEST="export.json.manifest.json") == 0
    assert in_place.ok
    assert (
        command(in_place)
        == "eds verify-chain --ledger audit.db --device lift-01 --payload-store --registered"
    )
    assert repeat(in_place) == 0


def test_the_hashes_stay_wherever_the_program_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[AuditRecord]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_records(records, "export.ndjson")
    odd = os.fsdecode(b"caf\xe9's.ndjson")
    Path(odd).write_bytes(Path("export.ndjson").read_bytes())
    digest = hashlib.sha256(Path(odd).read_bytes()).hexdigest()
    report = verify_chain("export.ndjson")
    odd_report = verify_chain(odd)
    # Not UTF-8: bash has a notation for it, which shlex lacks.
    assert r"caf\xe9\'s.ndjson'" in command(odd_report)
    done = eds("verify-chain", odd, "--html", "odd.html")
    assert done.returncode == 0
    page = Path("odd.html").read_text(encoding="utf-8")
    assert digest in page
    assert r"eds verify-chain $'caf\xe9\'s.ndjson' --html odd.html" in html.unescape(page)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert digest in report.to_html()
    assert digest in odd_report.to_html()
