"""Proofs of the transparency log from Python: from a ledger, and those of the reference."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import edgesentry
from edgesentry import Checkpoint, EdgesentryError, Ledger, Policy, ProofError, verify_proof
from support import chains, device, envelope, payload

# Generated from the parser of the command by `make generated`.
COMMANDS: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "command.json").read_text())
PAGE = Path(__file__).parent.parent / "docs" / "reference" / "log.md"


def example(name: str) -> str:
    """An example of the reference."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"<!-- example: {name} -->\n\n```text\n(.*?)```", text, re.DOTALL)
    assert found, name
    return found[1]


def test_a_ledger_proves_records_heads_and_growth(logged: tuple[Ledger, Policy, Path]) -> None:
    ledger, policy, config = logged
    with pytest.raises(ProofError, match="no checkpoint yet") as error:
        ledger.checkpoint()
    assert error.value.code == "log_no_checkpoint"
    envelope("checkpoint", "--config", config)
    old = ledger.checkpoint()
    records = list(ledger.records(devices="lift-01"))
    proof = ledger.prove("lift-01", 3)
    proven = verify_proof(proof, policy, record=records[2])
    assert (proven.kind, proven.device_id, proven.sequence) == ("record", "lift-01", 3)
    assert (proven.size, proven.root, proven.origin) == (old.size, old.root, "log.example/lifts")
    assert proven.record_hash == records[2].hash()
    wrong: dict[str, Any]
    for wrong in ({"record": records[1]}, {"device_id": "lift-02"}, {"sequence": 4}, {"kind": "head"}):
        with pytest.raises(ProofError) as error:
            verify_proof(proof, policy, **wrong)
        assert error.value.code == "proof_of_other"

    head = verify_proof(ledger.prove("lift-01"), policy, kind="head", device_id="lift-01")
    assert (head.sequence, head.record_hash) == (5, ledger.heads()["lift-01"].hash)
    absent = verify_proof(ledger.prove("lift-09"), policy, kind="absence", device_id="lift-09")
    assert absent.sequence is None
    with pytest.raises(ProofError) as error:
        ledger.prove("lift-01", 6)
    assert error.value.code == "not_logged"

    run = ledger.prove("lift-01", 2, to_sequence=4)
    several = verify_proof(run, policy, record=records[2], device_id="lift-01", sequence=2, to_sequence=4)
    assert (several.kind, several.sequence, several.to_sequence) == ("run", 2, 4)
    assert (several.index, several.record_hash) == (None, records[3].hash())
    with pytest.raises(ProofError) as error:
        verify_proof(run, policy, sequence=2)
    assert error.value.code == "proof_of_other"
    with pytest.raises(ProofError, match="1 to 4096 records") as error:
        ledger.prove("lift-01", 1, to_sequence=4097)
    assert error.value.code == "run_length"

    ledger.register_device(device(3))
    envelope("checkpoint", "--config", config)
    assert verify_proof(ledger.prove("lift-03"), policy).kind == "head"
    earlier = ledger.prove("lift-03", size=old.size)
    assert verify_proof(earlier, policy, kind="absence", min_size=old.size).size == old.size
    for limits in ({"min_size": old.size + 1}, {"max_age": 60}, {"max_age": timedelta(days=7)}):
        with pytest.raises(ProofError) as error:
            verify_proof(earlier, policy, **limits)
        assert error.value.code == "checkpoint_stale"
    with pytest.raises(ProofError) as error:
        ledger.prove("lift-03", size=1)
    assert error.value.code == "checkpoint_unknown"
    grown = ledger.prove(previous=old)
    assert verify_proof(grown, policy, previous=old).size == ledger.checkpoint().size > old.size
    with pytest.raises(ProofError) as error:
        verify_proof(grown, policy)
    assert error.value.code == "proof_incomplete"
    with pytest.raises(TypeError, match="a device"):
        ledger.prove()
    for wrong in ({"sequence": 3}, {"device_id": "lift-01", "to_sequence": 3}):
        with pytest.raises(TypeError, match="a device"):
            ledger.prove(**wrong)


def test_a_ledger_and_its_export_are_compared_with_a_checkpoint(
    logged: tuple[Ledger, Policy, Path], tmp_path: Path
) -> None:
    ledger, policy, config = logged
    export = tmp_path / "export.parquet"
    with pytest.raises(EdgesentryError, match="no checkpoint yet"):
        ledger.export(export, log=True)
    assert not export.exists()
    envelope("checkpoint", "--config", config)
    older = tmp_path / "older"
    older.write_text(str(ledger.checkpoint()), encoding="utf-8")
    ledger.register_device(device(3))
    ledger.ingest_many(chains([device(3)], 4), payload).raise_for_rejections()
    envelope("checkpoint", "--config", config)
    waiting = device(4)
    ledger.register_device(waiting)
    ledger.ingest_many(chains([waiting], 2), payload).raise_for_rejections()
    # Records without a checkpoint are not exported.
    assert ledger.export(export, log=True).records == 14
    (tmp_path / "policy").write_text(str(policy), encoding="utf-8")
    files: dict[str, Any] = {
        "checkpoint": Path(f"{export}.checkpoint"),
        "policy": tmp_path / "policy",
        "previous": older,
    }
    exported = edgesentry.verify_chain(export, **files)
    layout = Path(f"{export}.log")
    in_place = ledger.verify(**files, log_layout=layout)
    for report, after in ((exported, 0), (in_place, 2)):
        assert report.ok
        log = report.coverage.log
        assert log is not None
        assert (log.compared, log.previous, log.records, log.after) == (True, True, 14, after)
    assert ledger.verify(**files).coverage.log.compared is False  # type: ignore[union-attr]
    assert set(ledger.verify(**files, log_layout=layout, max_age=60).counts) == {"checkpoint_stale"}
    with pytest.raises(ValueError, match="all devices"):
        ledger.verify(**files, devices="lift-01")
    with pytest.raises(ValueError, match="belong together"):
        ledger.verify(checkpoint=older)
    with pytest.raises(edgesentry.RequirementError, match="the policy requires no witness"):
        ledger.verify(**files, log_layout=layout, require="log")

    with pytest.raises(edgesentry.ConfigError, match="earlier export"):
        ledger.export(export)
    with pytest.raises(ValueError, match="whole log"):
        ledger.export(tmp_path / "part.parquet", log=True, devices="lift-01")
    with pytest.raises(ValueError, match="must be a file"):
        ledger.export("/dev/null", log=True)


# These are other functions in Python, or the ledger that is open.
NOT_IN_PYTHON = {
    "--ledger",
    "--config",
    "--registered",
    "--html",
    "--junit",
    "--sarif",
    "--github",
    "--format",
    # Clients have methods of their own for a service.
    "--url",
    "--token-file",
    "--ca",
    "--cert",
    "--cert-key",
}
NAMED_OTHERWISE = {
    "files": "source",
    "--output": "path",
    "--column": "columns",
    "--device": "devices",
    "--payload-store": "payloads",
    "--expect": "kind",
    "device": "device_id",
}


@pytest.mark.parametrize(
    ("command", "functions"),
    [
        ("verify-chain", [edgesentry.verify_chain, Ledger.verify]),
        ("export", [Ledger.export]),
        ("prove record", [Ledger.prove]),
        ("prove head", [Ledger.prove]),
        ("prove consistency", [Ledger.prove]),
        ("verify-proof", [verify_proof]),
    ],
)
def test_python_has_each_option_of_the_command(command: str, functions: list[Callable[..., Any]]) -> None:
    options = {argument["name"] for argument in COMMANDS[f"eds {command}"]} - NOT_IN_PYTHON
    if command.startswith("prove"):
        options.remove("--output")
    parameters = {name for function in functions for name in inspect.signature(function).parameters}
    named = NAMED_OTHERWISE | ({"--device": "device_id"} if command == "verify-proof" else {})
    names = {named.get(option, option.removeprefix("--").replace("-", "_")) for option in options}
    assert names <= parameters
    if command == "verify-chain":
        log = {"checkpoint", "policy", "log_layout", "previous", "max_age"}
        assert all(log <= inspect.signature(function).parameters.keys() for function in functions)


def test_the_proofs_of_the_reference_hold(tmp_path: Path) -> None:
    policy = Policy(example("policy"))
    assert policy.origins == ["log.example/lifts"]
    assert policy.witnesses == ["ours"]
    assert Policy(str(policy)) == policy
    (tmp_path / "policy.txt").write_text(example("policy"))
    assert Policy.read(tmp_path / "policy.txt") == policy
    checkpoint = Checkpoint(example("checkpoint"))
    assert (checkpoint.origin, checkpoint.size) == ("log.example/lifts", 5)
    assert str(checkpoint) == example("checkpoint")
    (tmp_path / "checkpoint").write_text(example("checkpoint"), encoding="utf-8")
    assert Checkpoint.read(tmp_path / "checkpoint") == checkpoint

    proof = example("tlog-proof")
    (tmp_path / "proof").write_text(proof, encoding="utf-8")
    for given in (proof, proof.encode(), tmp_path / "proof"):
        proven = verify_proof(given, policy)
        assert (proven.kind, proven.index, proven.size) == ("record", 3, 5)
        assert proven.root == checkpoint.root
        assert (proven.cosigned, proven.quorum_time) == ({"ours": 1_800_000_000}, 1_800_000_000)
    assert verify_proof(example("heads proof"), policy).kind == "absence"
    for at in range(0, len(proof), 7):
        with pytest.raises(ProofError):
            verify_proof(proof[:at], policy)
    with pytest.raises(ProofError) as error:
        verify_proof(proof, Policy("quorum none\n"))
    assert error.value.code == "checkpoint_untrusted"


def test_a_malformed_policy_or_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(edgesentry.ConfigError, match="exactly one quorum line"):
        Policy("")
    with pytest.raises(edgesentry.ConfigError):
        Checkpoint("log.example/lifts\n")
    with pytest.raises(FileNotFoundError):
        Policy.read(tmp_path / "absent")
    with pytest.raises(TypeError, match="a proof is its text"):
        verify_proof(7, Policy("quorum none\n"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind must be"):
        verify_proof("", Policy("quorum none\n"), kind="luck")  # type: ignore[arg-type]
