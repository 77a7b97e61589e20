"""Compares a report with the expected findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import get_args

from edgesentry._core import Finding, Report
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
        TypeError: An argument has another type.
        ValueError: A level of `checked` is unknown.
    """
    __tracebackhide__ = True
    if not isinstance(report, Report):
        kind = type(report).__name__
        raise TypeError(f"report is a Report, not {kind}: assert_report(report, expected)")
    problems = [f"{level} were not checked" for level in _levels(checked) if _is_unchecked(report, level)]
    if isinstance(findings, Tampered):
        findings = findings.expected(*(level for level in LEVELS if not _is_unchecked(report, level)))
    if isinstance(findings, str):
        raise TypeError(
            f"findings are a list, not str: assert_report(report, [({findings!r}, device, sequence)])"
        )
    expected = Counter(map(_expected, findings))
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


def _levels(checked: Collection[Level]) -> Collection[Level]:
    if isinstance(checked, str):
        raise TypeError(f"checked is a list of levels, not str: checked=[{checked!r}]")
    for level in checked:
        if level not in get_args(Level):
            raise ValueError(f"checked: unknown level {level!r}; the levels are {', '.join(get_args(Level))}")
    return checked


def _is_unchecked(report: Report, level: Level) -> bool:
    return getattr(report.coverage, level) is None


def _expected(finding: object) -> Expected:
    if isinstance(finding, tuple) and len(finding) == len(Expected._fields):
        return Expected(*finding)
    kind = "Finding" if isinstance(finding, Finding) else repr(finding)
    advice = "Expected.of(finding)" if isinstance(finding, Finding) else '("sequence_gap", "lift-01", 5)'
    raise TypeError(f"an expected finding is a tuple of code, device and sequence, not {kind}: {advice}")


def _lines(what: str, findings: Counter[Expected]) -> list[str]:
    lines = [
        f"{what}: {one.code}, device {one.device_id!r}, sequence {one.sequence}"
        for one in in_order(findings.elements())
    ]
    more = len(lines) - _SHOWN
    return lines if more <= 0 else [*lines[:_SHOWN], f"{what}: {more} more"]
