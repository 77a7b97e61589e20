"""Plots: their contents, not their appearance."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

import edgesentry
from edgesentry import plot, verify_chain
from edgesentry.testing import attacks, make_fleet

matplotlib.use("agg")

FLEET = make_fleet(3, 20)
TAMPERED = attacks.flip_signature_bit(FLEET.records, "lift-02", 7)
REPORT = verify_chain(TAMPERED.records, keys=FLEET.keys)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    pyplot.close("all")


def labels(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def rows(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def test_a_timeline_has_a_row_a_device_and_marks_faults(tmp_path: Path) -> None:
    axes = plot.chain_timeline(TAMPERED.records, REPORT)
    assert rows(axes) == ["lift-01", "lift-02", "lift-03"]
    assert labels(axes) == ["signature_invalid (1)", "prev_hash_mismatch (1)"]
    pyplot.savefig(tmp_path / "timeline.png")
    assert os.path.getsize(tmp_path / "timeline.png") > 1000
    assert plot.chain_timeline(FLEET.records).get_legend() is None
    assert rows(plot.chain_timeline([])) == []


def test_a_missing_device_has_a_row() -> None:
    records = [record for record in FLEET.records if record.device_id != "lift-02"]
    report = verify_chain(records, heads=FLEET.heads)
    axes = plot.chain_timeline(records, report)
    assert rows(axes) == ["lift-01", "lift-02", "lift-03"]
    assert labels(axes) == ["device_missing (1)"]


def test_no_code_hides_another_one() -> None:
    records = [record.replace(signature=bytes(64), sequence=7) for record in FLEET.chain("lift-01")]
    axes = plot.finding_map(verify_chain(records, keys=FLEET.keys))
    heights = [{float(y) for y in np.asarray(line.get_ydata())} for line in axes.get_lines()]
    assert len(heights) > 2
    assert all(len(of_code) == 1 for of_code in heights)
    assert len(set.union(*heights)) == len(heights)


def test_markers_of_two_codes_do_not_touch() -> None:
    records = [record.replace(signature=bytes(64)) for record in FLEET.records]
    report = verify_chain(records, keys=FLEET.keys)
    assert set(report.counts) == {"signature_invalid", "prev_hash_mismatch"}
    for axes in (plot.finding_map(report), plot.chain_timeline(records, report)):
        axes.figure.canvas.draw()
        of_device = sorted(
            float(axes.transData.transform((0, y))[1])
            for line in axes.get_lines()
            if line.get_label() in labels(axes)
            for y in {float(y) for y in np.asarray(line.get_ydata())}
        )
        points = np.diff(of_device) * 72 / axes.figure.dpi
        assert len(of_device) == 6
        assert points.min() >= 8, "the size of a marker"


def test_devices_with_findings_come_first_in_a_crowd() -> None:
    crowd = make_fleet(60, 2)
    records = [record for record in crowd.records if record.device_id != "lift-59"]
    report = verify_chain(records, heads=crowd.heads)
    axes = plot.chain_timeline(records, report)
    assert len(rows(axes)) == 40
    assert rows(axes)[-1] == "lift-59"
    assert labels(axes) == ["device_missing (1)"]
    everything = [record.replace(signature=bytes(64)) for record in crowd.records]
    shown = rows(plot.finding_map(verify_chain(everything, keys=crowd.keys)))
    assert len(shown) == 28, "two rows for each"


def test_a_table_is_not_findings() -> None:
    with pytest.raises(TypeError) as raised:
        plot.finding_map(REPORT.findings.to_pandas())
    assert str(raised.value) == (
        "findings are a Report or Findings, not DataFrame; for a table: Findings.from_arrow(table)"
    )


def test_a_finding_map_has_a_marker_a_code() -> None:
    axes = plot.finding_map(REPORT)
    assert rows(axes) == ["lift-02"]
    assert labels(axes) == ["signature_invalid (1)", "prev_hash_mismatch (1)"]
    assert plot.finding_map(REPORT.findings[:1]).get_legend() is not None
    # A sequence is a whole number, also between two that are close.
    axes.figure.canvas.draw()
    assert all(label.get_text().isdigit() for label in axes.get_xticklabels())
    broken = verify_chain(b'{"no": "record"}\n')
    assert rows(plot.finding_map(broken)) == ["(no device)"]
    assert "no findings" in [text.get_text() for text in plot.finding_map(verify_chain([])).texts]


def test_a_device_cannot_write_into_a_plot() -> None:
    hostile = edgesentry.Device.generate("$\\frac{1}{0}$ and on and on and on and on and on")
    axes = plot.chain_timeline([hostile.sign(b"", "x", 2**64 - 1)])
    axes.figure.canvas.draw()
    assert rows(axes) == ["$\\frac{1}{0}$ and on an…"]


def test_the_service_is_shown(tmp_path: Path) -> None:
    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        FLEET.register(ledger)
        pairs = [(record, FLEET.payloads[record.object_ref]) for record in TAMPERED.records]
        ledger.ingest_many(pairs)
        log = ledger.operation_log()
        rejected = ledger.operation_log(outcome="rejected")
    given = pyplot.subplots()[1]
    assert plot.ingest_rate(log, axes=given) is given
    assert labels(given) == ["accepted (46)", "rejected (14)"]
    axes = plot.rejection_reasons(rejected)
    assert rows(axes) == ["signature_invalid", "sequence_gap"]
    assert "no rejections" in [text.get_text() for text in plot.rejection_reasons([]).texts]
    assert "no entries" in [text.get_text() for text in plot.ingest_rate([]).texts]
