"""The level log: records against a checkpoint of the transparency log."""

import pickle
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import edgesentry
from edgesentry import ConfigError, RequirementError, verify_chain, write_records
from finding_examples import LOG, chain, logged, ring


@pytest.mark.filterwarnings("ignore:the key of device")  # Both devices of the example have one key.
def test_a_sound_export_is_compared_in_full(tmp_path: Path) -> None:
    export = tmp_path / "export.parquet"
    write_records(logged(), export)
    shutil.copy(LOG / "layout", tmp_path / "export.parquet.log")
    report = verify_chain(
        export,
        keys=ring("lift-01", "lift-02"),
        checkpoint=LOG / "checkpoint",
        policy=LOG / "policy",
        previous=LOG / "checkpoint-earlier",
        require=["signatures", "log"],
    )
    assert report.ok
    log = report.coverage.log
    assert log is not None
    assert (log.origin, log.size, log.records, log.after) == ("log.example/lifts", 15, 10, 0)
    assert (log.witnesses, log.quorum, log.compared, log.unknown_leaves) == (1, True, True, 0)
    assert report.coverage.provided_by["policy"] == ["auditor"]
    again = pickle.loads(pickle.dumps(report))
    assert again == report
    assert repr(pickle.loads(pickle.dumps(log))) == repr(log)


def test_without_a_layout_the_level_is_not_covered() -> None:
    with pytest.raises(RequirementError, match="not compared with the checkpoint") as uncovered:
        verify_chain(logged(), checkpoint=LOG / "checkpoint", policy=LOG / "policy", require="log")
    assert any("no layout of the log" in note for note in uncovered.value.report.coverage.not_checked)


def test_each_change_is_found() -> None:
    def counts(records: list[edgesentry.AuditRecord]) -> dict[edgesentry.FindingCode, int]:
        files: dict[str, Any] = {
            "checkpoint": LOG / "checkpoint",
            "policy": LOG / "policy",
            "log_layout": LOG / "layout",
        }
        return dict(verify_chain(records, **files).counts)

    assert counts(chain("lift-02") + chain()) == {}
    assert counts(chain()) == {"leaf_missing": 1}
    assert counts(chain(count=4) + chain("lift-02")) == {"leaf_missing": 1}
    other = edgesentry.Device.from_seed("lift-01", bytes([1]) * 32)
    forged = [other.sign(b"other", record.object_ref, timestamp_ms=record.timestamp_ms) for record in chain()]
    assert counts(forged + chain("lift-02")) == {"checkpoint_mismatch": 1}
    assert counts(chain() + chain("lift-02", 6)) == {"not_included": 1}


def test_records_that_repeat_far_away_are_compared_with_the_log(tmp_path: Path) -> None:
    """In the order of sequence their chain is verified again, and lists the findings that it counts."""
    extra = chain("lift-02", 6)
    files: dict[str, Any] = {
        "checkpoint": LOG / "checkpoint",
        "policy": LOG / "policy",
        "log_layout": LOG / "layout",
    }
    pieces = [chain() + extra, extra[5:]]
    for number, piece in enumerate(pieces):
        write_records(piece, tmp_path / f"{number}.ndjson")
    apart = verify_chain([tmp_path / "0.ndjson", tmp_path / "1.ndjson"], order="sequence", **files)
    together = verify_chain(pieces[0] + pieces[1], order="sequence", **files)
    assert dict(apart.counts) == dict(together.counts) == {"sequence_duplicate": 1, "not_included": 2}
    listed = [(finding.code, finding.sequence) for finding in apart.findings]
    assert listed == [(finding.code, finding.sequence) for finding in together.findings]
    assert len(listed) == 3


def test_unusable_inputs_are_refused(tmp_path: Path) -> None:
    both: dict[str, Any] = {"checkpoint": LOG / "checkpoint", "policy": LOG / "policy"}
    alone: dict[str, Any]
    for alone in ({"checkpoint": LOG / "checkpoint"}, {"policy": LOG / "policy"}, {"max_age": 5}):
        with pytest.raises(ValueError, match="checkpoint and policy belong together"):
            verify_chain(logged(), **alone)
    with pytest.raises(ValueError, match="checkpoint= and policy="):
        verify_chain(logged(), require="log")
    with pytest.raises(FileNotFoundError):
        verify_chain(logged(), checkpoint=tmp_path / "absent", policy=LOG / "policy")
    with pytest.raises(ConfigError, match="not a layout of a log"):
        verify_chain(logged(), **both, log_layout=LOG / "policy")
    stale = verify_chain(logged(), **both, max_age=timedelta(0))
    assert set(stale.counts) <= {"checkpoint_stale"}
