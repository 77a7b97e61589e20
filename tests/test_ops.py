"""Operations from Python: what the command answers, as data."""

from pathlib import Path

import pytest

from edgesentry import ConfigError, ops


def test_a_drill_answers_its_report(tmp_path: Path) -> None:
    report = ops.drill("s3-object-recovery", records=20, report_dir=tmp_path)
    assert report["status"] == "passed"
    assert all(check["status"] == "passed" for check in report["checks"])
    quarter = ops.drill_report(tmp_path, html=tmp_path / "quarter.html")
    assert [run["drill"] for run in quarter["runs"]] == ["s3-object-recovery"]
    assert quarter["status"] == "unknown", "the other drills were not held"
    assert (tmp_path / "quarter.html").read_text().startswith("<!doctype html>")


def test_wrong_input_is_an_error_of_the_caller() -> None:
    with pytest.raises(ConfigError, match="no such program"):
        ops.drill("s3-object-recovery", weed="/nowhere/weed")
    with pytest.raises(ConfigError):
        ops.s3_setup("s3://audit", 0)
