"""Plots of records, findings and the operation log, by matplotlib (`pip install edgesentry[plot]`).

Each function draws on the given axes, or on new ones, and returns them; use matplotlib for titles, sizes and
files. The colours suit readers with a colour vision deficiency, and each colour has its own marker.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from itertools import accumulate
from typing import TYPE_CHECKING, Any

try:
    import pyarrow
    import pyarrow.compute as compute
    from matplotlib import dates, pyplot
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "edgesentry.plot needs matplotlib and pyarrow; run: pip install 'edgesentry[plot]'"
    ) from error

from edgesentry._core import FINDING_CODES, Findings, Report, read_records
from edgesentry._typing import FindingCode, LogEntryDict, Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["chain_timeline", "finding_map", "ingest_rate", "rejection_reasons"]

# Okabe and Ito, "Color Universal Design", 2008, without the yellow, which is too pale on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("X", "s", "^", "v", "D", "P", "*", "o", "<", ">", "p", "h", "d", "8")
_SOUND = "#9AA5B1"
# More dots than this on one row cannot be distinguished.
_MOST_POINTS = 20_000
_MOST_DEVICES = 40
# More rows than this make a page of findings too high. A device has one for each code, so it has fewer.
_MOST_ROWS = 56
_LINE = "#E4E7EB"
# The year 9000: matplotlib draws no date after 9999, margins included.
_LAST_MS = 221_845_392_000_000


def chain_timeline(source: Source, report: Report | None = None, *, axes: Axes | None = None) -> Axes:
    """Plots the times of the records, one row for each device; records with findings are marked.

    A finding without a record, such as a missed head, is marked at the end of its chain; for a missing device
    that is the end of the last chain.

    Args:
        source: As for `verify_chain`; also `ledger.records()`.
        report: The report of the same records; without it nothing is marked.
        axes: The axes to draw on; new axes if None.
    """
    table = pyarrow.table(read_records(source, on_malformed="skip"))
    found = compute.unique(table["device_id"]).to_pylist()
    # A device without a record has a row of its own, if a finding names it.
    findings = () if report is None else report.findings
    named = {one.device_id for one in findings if one.device_id is not None}
    devices = {*found, *named}
    # Devices with findings before others, if there are too many.
    shown = sorted(sorted(devices, key=lambda device: (device not in named, device))[:_MOST_DEVICES])
    axes = _axes(axes, height=1.2 + 0.4 * len(shown))
    for row, device in enumerate(shown):
        times = table.filter(compute.equal(table["device_id"], device))["timestamp_ms"]
        stride = max(1, -(-len(times) // _MOST_POINTS))
        drawn = _days(times.to_pylist()[::stride])
        axes.plot(
            drawn,
            [row] * len(drawn),
            marker="|",
            markersize=9,
            linestyle="none",
            color=_SOUND,
            zorder=1,
        )
    if report is not None:
        rows = {device: row for row, device in enumerate(shown)}
        _mark_faults(axes, table, report, rows)
    _name_rows(axes, shown, len(devices), range(len(shown)))
    axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    _time_axis(axes, "time by the device's clock (UTC)")
    axes.set_title("Chains")
    return axes


def _mark_faults(axes: Axes, table: pyarrow.Table, report: Report, rows: Mapping[str, int]) -> None:
    times: dict[tuple[str | None, int | None], int] = {}
    ends: dict[str | None, int] = {}
    wanted = {(one.device_id, one.sequence) for one in report.findings}
    faults = {(one.device_id, one.code) for one in report.findings}
    columns = (table[name].to_pylist() for name in ("device_id", "sequence", "timestamp_ms"))
    for device, sequence, time in zip(*columns, strict=True):
        ends[device] = time
        if (device, sequence) in wanted:
            times[device, sequence] = time
    last = max(ends.values(), default=0)
    codes_of: dict[str, list[FindingCode]] = {
        device: [code for code in report.counts if (device, code) in faults] for device in rows
    }
    for code in report.counts:
        at: list[tuple[int, float]] = []
        for one in report.findings:
            if one.code == code and one.device_id in rows and one.device_id is not None:
                # Findings without a record are marked at the end of the chain.
                time = times.get((one.device_id, one.sequence), ends.get(one.device_id, last))
                # A marker must not hide those of other codes at the same record.
                codes = codes_of[one.device_id]
                offset = (codes.index(code) - (len(codes) - 1) / 2) * min(0.3, 0.8 / len(codes))
                at.append((time, rows[one.device_id] + offset))
        if at:
            days, of_rows = _days([time for time, _ in at]), [row for _, row in at]
            axes.plot(days, of_rows, label=f"{code} ({len(at)})", zorder=2, **_style(code))
    if axes.get_legend_handles_labels()[0]:
        _legend(axes)


def finding_map(findings: Report | Findings, *, axes: Axes | None = None) -> Axes:
    """Plots findings by sequence: one marker for each finding, one row for each code of a device.

    Args:
        findings: A report or its findings. Findings without a device have their own row.
        axes: The axes to draw on; new axes if None.

    Raises:
        TypeError: It is another object, such as a data frame.
    """
    if not isinstance(findings, (Report, Findings)):
        kind = type(findings).__name__
        raise TypeError(
            f"findings are a Report or Findings, not {kind}; for a table: Findings.from_arrow(table)"
        )
    listed = list(findings.findings if isinstance(findings, Report) else findings)
    sequences: dict[str, dict[FindingCode, list[int]]] = defaultdict(lambda: defaultdict(list))
    for one in listed:
        at = one.sequence if one.sequence is not None else one.index or 0
        sequences[one.device_id or "(no device)"][one.code].append(at)
    # The devices with most findings, as far as their rows fit.
    ranked = sorted(sequences, key=lambda name: -sum(map(len, sequences[name].values())))
    ends = accumulate(len(sequences[name]) for name in ranked)
    shown = sorted(name for name, end in zip(ranked, ends, strict=True) if end <= _MOST_ROWS)
    codes = list(dict.fromkeys(one.code for one in listed))
    rows = [(name, code) for name in shown for code in codes if code in sequences[name]]
    axes = _axes(axes, height=1.2 + 0.22 * max(4, len(rows)))
    for code in codes:
        at_rows = [
            (sequence, row)
            for row, (name, of_row) in enumerate(rows)
            if of_row == code
            for sequence in sequences[name][code]
        ]
        axes.plot(
            [sequence for sequence, _ in at_rows],
            [row for _, row in at_rows],
            label=f"{code} ({len(at_rows)})",
            **_style(code),
        )
    if listed:
        _legend(axes)
    else:
        axes.text(0.5, 0.5, "no findings", ha="center", va="center", transform=axes.transAxes)
    lasts = [last - 1 for last in accumulate(len(sequences[name]) for name in shown)]
    for last in lasts[:-1]:
        axes.axhline(last + 0.5, color=_LINE, zorder=0)
    middles = [last - (len(sequences[name]) - 1) / 2 for last, name in zip(lasts, shown, strict=True)]
    _name_rows(axes, shown, len(sequences), middles)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_xlabel("sequence")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_title("Findings")
    return axes


def ingest_rate(log: Iterable[LogEntryDict], *, bins: int = 60, axes: Axes | None = None) -> Axes:
    """Plots the records per second that the ingest service decided, by outcome.

    Args:
        log: Entries of the operation log, such as `ledger.operation_log()`.
        bins: The number of equal time spans.
        axes: The axes to draw on; new axes if None.
    """
    axes = _axes(axes)
    times: dict[str, list[int]] = {}
    for entry in log:
        times.setdefault(entry["outcome"], []).append(entry["at_ms"])
    if times:
        first = min(min(of_outcome) for of_outcome in times.values())
        last = max(max(of_outcome) for of_outcome in times.values())
        width = max(1.0, (last - first + 1) / bins)
        starts = [first + width * number for number in range(bins)]
        for colour, outcome in zip(_COLOURS, sorted(times), strict=False):
            counts = Counter(min(bins - 1, int((time - first) / width)) for time in times[outcome])
            rates = [counts[number] * 1000 / width for number in range(bins)]
            label = f"{outcome} ({len(times[outcome])})"
            axes.step(_days(starts), rates, where="post", color=colour, label=label)
        _legend(axes)
    else:
        axes.text(0.5, 0.5, "no entries", ha="center", va="center", transform=axes.transAxes)
    _time_axis(axes, "time of the service (UTC)")
    axes.set_ylabel("records a second")
    axes.set_title("Ingest rate")
    return axes


def rejection_reasons(log: Iterable[LogEntryDict], *, axes: Axes | None = None) -> Axes:
    """Plots the reasons of rejections, the most frequent one on top.

    Args:
        log: Entries of the operation log, such as `ledger.operation_log(outcome="rejected")`.
        axes: The axes to draw on; new axes if None.
    """
    reasons = Counter(entry["reason"] or "" for entry in log if entry["outcome"] == "rejected")
    ranked = reasons.most_common()[::-1]
    axes = _axes(axes, height=1.2 + 0.4 * max(1, len(ranked)))
    if ranked:
        bars = axes.barh([reason for reason, _ in ranked], [count for _, count in ranked], color=_COLOURS[0])
        axes.bar_label(bars, padding=3)
        axes.margins(x=0.1)
    else:
        axes.text(0.5, 0.5, "no rejections", ha="center", va="center", transform=axes.transAxes)
    axes.set_xlabel("records")
    axes.set_title("Rejections")
    return axes


def _axes(axes: Axes | None, *, height: float = 3.2) -> Axes:
    if axes is not None:
        return axes
    return pyplot.subplots(figsize=(9, min(height, 14)), layout="constrained")[1]


def _style(code: FindingCode) -> dict[str, Any]:
    """Returns the marker of a code, the same in every plot."""
    number = FINDING_CODES.index(code)
    return {
        "linestyle": "none",
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 8,
        "color": _COLOURS[number % len(_COLOURS)],
    }


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")


def _name_rows(axes: Axes, names: Sequence[str], of_all: int, places: Sequence[float]) -> None:
    # A device chooses its name: limit its length, and do not read it as a formula.
    labels = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]
    axes.set_yticks(places, labels, parse_math=False)
    if of_all > len(names):
        axes.set_ylabel(f"{len(names)} of {of_all} devices")
    axes.grid(axis="x", color=_LINE, zorder=0)


def _time_axis(axes: Axes, name: str) -> None:
    # The type stubs of matplotlib do not cover its dates.
    locator: Any = dates.AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.set_xlabel(name)


def _days(milliseconds: Iterable[float]) -> list[float]:
    """Converts Unix milliseconds to days, matplotlib's unit. A device may claim any time."""
    return [min(time, _LAST_MS) / 86_400_000 for time in milliseconds]
