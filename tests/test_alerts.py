"""The alerts: promtool accepts them, each is tested to fire and to stay silent, and each has a page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted(PROMETHEUS.glob("*.rules.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.test.yml"))
RUNBOOK = ROOT / "docs" / "runbook" / "alerts.md"
PAGES = "https://example.invalid/edgesentry/blob/main/"
SCRAPE_SECONDS = 15


def run(*command: str | Path) -> str:
    """Returns the output of a program, which must exist and succeed."""
    assert shutil.which(command[0]), f"{command[0]} is missing: scripts/servers/prometheus install"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts(path: Path) -> list[dict[str, Any]]:
    """Returns the alerting rules of a file."""
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for path in RULES for rule in alerts(path)}


def test_prometheus_accepts_rules_and_configuration() -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", *RULES)
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_pass_their_tests(path: Path) -> None:
    run("promtool", "test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tested_to_fire_and_to_stay_silent(alert: str) -> None:
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    of_alert = [
        (test["name"], bool(case.get("exp_alerts")))
        for test in tests
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]
    assert any(fires for name, fires in of_alert if f"{alert} fires" in name)
    silent = {name for name, _ in of_alert if f"{alert} stays silent" in name}
    assert silent, "a test of its own in which it never fires"
    assert not any(fires for name, fires in of_alert if name in silent)


def test_the_tests_run_at_the_documented_interval() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]
    assert config == {"scrape_interval": "15s", "evaluation_interval": "15s"}
    for path in TESTS:
        assert yaml.safe_load(path.read_text())["evaluation_interval"] == "15s"
    for name in ("ingest", "log", "monitor"):
        for test in yaml.safe_load((PROMETHEUS / "tests" / f"{name}.test.yml").read_text())["tests"]:
            assert test["interval"] == "15s", test["name"]


@pytest.mark.parametrize("alert", ALERTS)
def test_a_window_holds_four_scrapes(alert: str) -> None:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    for number, unit in re.findall(r"\[(\d+)([smhd])\]", ALERTS[alert]["expr"]):
        assert int(number) * seconds[unit] >= 4 * SCRAPE_SECONDS


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_severity_and_a_runbook(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"P0", "P1", "P2"}
    assert rule["annotations"].keys() == {"summary", "response", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"{PAGES}docs/runbook/alerts.md#{alert.lower()}"


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_page(alert: str) -> None:
    page = pages()[alert]
    severity = ALERTS[alert]["labels"]["severity"]
    assert page.startswith(f"{severity}. "), page[:80]
    for part in ("**Symptom**", "**Check**", "**Do**", "**Over when**"):
        assert part in page, part
    assert "```sh\n" in page
    assert "```text\n" in page, "what the command shows"


def test_every_page_has_an_alert() -> None:
    assert pages().keys() == ALERTS.keys()


def pages() -> dict[str, str]:
    """The pages of the runbook by alert."""
    parts = re.split(r"^## (.+)\n\n", RUNBOOK.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    ("severity", "receiver"), [("P0", "p0"), ("P1", "p1"), ("P2", "tickets"), ("none", "tickets")]
)
def test_alertmanager_routes_by_severity(severity: str, receiver: str) -> None:
    config = PROMETHEUS / "alertmanager.yml"
    run("amtool", "check-config", config)
    routed = run("amtool", "config", "routes", "test", f"--config.file={config}", f"severity={severity}")
    assert routed.strip() == receiver


def test_log_alerts_have_the_same_names_and_severities() -> None:
    for rule in alerts(ROOT / "deploy" / "logs" / "loki.rules.yml"):
        ours = ALERTS[rule["alert"]]
        assert rule["labels"] == ours["labels"]
        assert rule["annotations"]["runbook_url"] == ours["annotations"]["runbook_url"]
