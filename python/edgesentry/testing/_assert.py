"""Compares a report with the expected findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from edgesentry._core import Report
from edgesentry._typing import FindingCode, Level
from edgesentry.testing._expected import LEVELS, Expected, Tampered, found, in_order

_SHOWN = 20


def assert_report(
    report: Report,
    findings: Tampered | Iterable[Expected | tuple[FindingCode, str | None, int | None]] = (),
    *,
    checked: Collection[Level] = (),
) -> None:
    """Asserts that a report has exactly these findings, each as often as given, in any order.

    A report that has nothing to verify passes only if findings are expected.

    Args:
        report: The report.
        findings: `Expected`, or tuples of code, device id and sequence. None: the report must be ok. A
            `Tampered` stands for its expected findings at the levels that the report has checked.
        checked: Levels that must have been checked, so that a test does not pass because its verification was
            given no keys, payloads or heads.

    Raises:
        AssertionError: A finding is missing or unexpected, or a level was not checked; the message names it.
    """
    __tracebackhide__ = True
    if not isinstance(report, Report):
        kind = type(report).__name__
        raise TypeError(f"report is a Report, not {kind}: assert_report(report, expected)")
    problems = [f"{level} were not checked" for level in checked if getattr(report.coverage, level) is None]
    if isinstance(findings, Tampered):
        levels = [level for level in LEVELS if getattr(report.coverage, level) is not None]
        findings = findings.expected(*levels)
    expected = Counter(Expected(*finding) for finding in findings)
    actual = Counter(found(report))
    problems += _lines("missing", expected - actual) + _lines("not expected", actual - expected)
    if report.findings_omitted:
        problems.append(f"findings that were not kept: {report.findings_omitted}; raise max_findings")
    if not expected and report.verdict == "nothing_to_verify":
        problems.append("there was nothing to verify")
    if problems:
        same = (expected & actual).total()
        head = f"{report!r} does not have the expected findings"
        tail = [f"  and {same} {'finding' if same == 1 else 'findings'} as expected"] if same else []
        raise AssertionError("\n".join([head, *(f"  {problem}" for problem in problems), *tail]))


def _lines(what: str, findings: Counter[Expected]) -> list[str]:
    lines = [
        f"{what}: {one.code}, device {one.device_id!r}, sequence {one.sequence}"
        for one in in_order(findings.elements())
    ]
    more = len(lines) - _SHOWN
    return lines if more <= 0 else [*lines[:_SHOWN], f"{what}: {more} more"]
