"""`edgesentry.Monitor`: typed results in pipelines, on the files of a log and over HTTP."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import edgesentry
from edgesentry import ConfigError, Ledger, Monitor, MonitorResult, Policy
from support import device, envelope


def test_it_verifies_a_log_as_it_grows(logged: tuple[Ledger, Policy, Path]) -> None:
    ledger, policy, config = logged
    folder = config.parent
    url = f"folder:{folder / 'ledger.db.log' / 'log'}"
    (folder / "ledger.db.log" / "log").mkdir(parents=True, exist_ok=True)
    with Monitor(url, policy=policy, state=folder / "state.db") as monitor:
        result = monitor.check()
        assert (result.outcome, result.size, result.root, result.findings) == (
            "infrastructure",
            None,
            None,
            (),
        )
        assert any("no checkpoint yet" in failure for failure in result.failures)
        for number in (3, 4):
            ledger.register_device(device(number))
            envelope("checkpoint", "--config", config)
            result = monitor.check()
            checkpoint = ledger.checkpoint()
            assert (result.outcome, result.size, result.root) == (
                "verified",
                checkpoint.size,
                checkpoint.root,
            )
            assert (result.origin, result.failures, result.witnesses) == ("log.example/lifts", (), {})
        with pytest.raises(ConfigError, match="another monitor uses this state"):
            Monitor(url, policy=policy, state=folder / "state.db")
        with pytest.raises(TypeError, match="Monitor"):
            pickle.dumps(monitor._core)
    with pytest.raises(ValueError, match="closed"):
        monitor.check()


def test_findings_stay_until_they_are_acknowledged(logged: tuple[Ledger, Policy, Path]) -> None:
    ledger, policy, config = logged
    folder = config.parent
    envelope("checkpoint", "--config", config)
    old = ledger.checkpoint()
    ledger.register_device(device(3))
    envelope("checkpoint", "--config", config)
    policy_file = folder / "policy"
    policy_file.write_text(str(policy))
    shown = folder / "ledger.db.log" / "log" / "checkpoint"
    newest = shown.read_text()
    url = f"folder:{shown.parent}"
    with Monitor(url, policy=policy_file, state=folder / "state.db", timeout=5) as monitor:
        assert monitor.check().outcome == "verified"
        shown.write_text(str(old))
        found = monitor.check()
        [finding] = found.findings
        assert (found.outcome, finding.class_, finding.code) == (
            "unverifiable",
            "unverifiable",
            "checkpoint_rolled_back",
        )
        assert (finding.times, finding.device_id, finding.first_ms) == (1, None, finding.last_ms)
        assert (found.confirmed, found.replayed, found.dropped) == (False, 0, 0)
        assert (found.keys_by_device, found.keys_by_operator) == (0, 0)
        assert finding.evidence == ("consistency.proof", "other.checkpoint", "previous.checkpoint")
        evidence = monitor.evidence(finding)
        assert tuple(evidence) == finding.evidence
        previous = edgesentry.Checkpoint(evidence["previous.checkpoint"].decode())
        proven = edgesentry.verify_proof(evidence["consistency.proof"], policy, previous=previous)
        assert proven.kind == "consistency"
        shown.write_text(newest)
        assert monitor.check().outcome == "unverifiable"
        monitor.acknowledge(finding)
        with pytest.raises(ValueError, match=f"number {finding.id}"):
            monitor.acknowledge(finding.id)
        result = monitor.check()
        assert (result.outcome, result.findings, result.confirmed) == ("verified", (), True)
        assert isinstance(result, MonitorResult)
        shown.write_text("not a note")
        assert monitor.check().outcome == "infrastructure"
    listed = envelope("monitor", "--state", folder / "state.db", "--findings")
    assert [each["code"] for each in listed["monitor"]["findings"]] == ["checkpoint_rolled_back"]


def test_arguments_that_cannot_be_used_are_refused(logged: tuple[Ledger, Policy, Path]) -> None:
    _, policy, config = logged
    state = config.parent / "state.db"
    with pytest.raises(ConfigError, match="expected the URL of a log"):
        Monitor("ftp://log.example", policy=policy, state=state)
    with pytest.raises(ValueError, match="timeout"):
        Monitor("http://127.0.0.1:9", policy=policy, state=state, timeout=0)
    with pytest.raises(ConfigError, match="the policy has no log"):
        Monitor("http://127.0.0.1:9", policy=policy, state=state, origin="log.example/doors")
    with Monitor("http://127.0.0.1:9/log", policy=policy, state=state) as monitor:
        assert monitor.check().outcome == "infrastructure"
    other = Policy(f"{policy}\n# another text of the same policy\n")
    with Monitor("http://127.0.0.1:9/log", policy=other, state=state) as monitor:
        assert monitor.check().size is None
    assert edgesentry.Monitor is Monitor
