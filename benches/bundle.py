"""Measures the verification of evidence bundles by each of the three verifiers.

    make bench-bundle BUNDLE="--only eds --records 1000000"

Parts:

- eds: `eds verify-bundle` on the whole log against `eds verify-chain` with the level log on exports of it
- python: verify.py on the same bundle, without signatures and with a sample of them
- page: verify.html in Chromium, with the time and the longest task of the main thread

Both sides of the first part are processes in pairs, in alternating order; the figure is the median of the
ratios of the pairs. A part that misses its limit fails the run.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from builds import ROOT, find_eds
from log import Cost, Ledgers, bench, compare, measured

# Of the speed of verify-chain on the JSON export, which is what `eds export` writes by default.
SPEED_LIMIT = 0.85
SECONDS_LIMIT, PAGE_SECONDS_LIMIT = 60.0, 60.0
# A task that is longer delays what the reader does by so much.
TASK_LIMIT_MS = 200.0
PARTS = ("eds", "python", "page")
VERIFIERS = ROOT / "rust" / "edgesentry-rs" / "src" / "log" / "bundle"
OBSERVE = """() => {
    window.longest = 0;
    new PerformanceObserver(list => {
        for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
    }).observe({ type: "longtask" });
}"""


@dataclass(frozen=True)
class Case:
    """A ledger with a log, its bundle, and the files of the auditor."""

    ledger: str
    bundle: Path
    policy: Path
    keys: Path

    def trusted(self) -> list[str | Path]:
        return ["--policy", self.policy, "--keys", self.keys]


def make(ledgers: Ledgers, records: int, devices: int, use: Callable[[Case], bool]) -> bool:
    """Makes a ledger with its log and the bundle of all of it, and removes them afterwards."""
    eds = find_eds(ROOT / "target")
    with ledgers.new("SQLite") as (ledger, _):
        # Beside the file, so that the commands find it.
        store = f"{ledger}.log"
        done = bench("ingest", ledger, records=records, devices=devices, store=store, payload_bytes=16)
        place = Path(ledger).parent
        case = Case(ledger, place / "case.tar", place / "policy", place / "keys.json")
        case.policy.write_text(f"log {done['verifier_key']}\nquorum none\n")
        measured([eds, "device", "keys", "--ledger", ledger, "-o", case.keys])
        written = measured([eds, "bundle", "-o", case.bundle, "--ledger", ledger])
        size = case.bundle.stat().st_size / 2**20
        print(
            f"\n{records:,} records of {devices:,} devices: {size:,.0f} MiB, "
            f"written in {written.seconds:.1f} s"
        )
        return use(case)


def by_eds(case: Case, pairs: int) -> bool:
    eds = find_eds(ROOT / "target")
    names = "verify-chain s | verify-bundle s | speed | from | to | verify-chain MiB | verify-bundle MiB"
    print(f"\n| export | threads | {names} | at least |\n|---|---:|{'---:|' * 8}", flush=True)
    passed = True
    for name, limit in (("export.json", SPEED_LIMIT), ("export.parquet", None)):
        export = case.bundle.parent / name
        measured([eds, "export", "--ledger", case.ledger, "-o", export, "--log"])
        for threads in ("1", "2"):
            options: list[str | Path] = [*case.trusted(), "--threads", threads]
            chain: list[str | Path] = [
                *(eds, "verify-chain", export, "--checkpoint", f"{export}.checkpoint"),
                *options,
            ]
            bundle: list[str | Path] = [eds, "verify-bundle", case.bundle, *options]
            costs = compare((partial(measured, chain), partial(measured, bundle)), pairs)
            passed &= row(f"{export.suffix[1:]} | {threads}", costs, limit)
        export.unlink()
    return passed


def row(name: str, costs: tuple[list[Cost], list[Cost]], limit: float | None) -> bool:
    """Prints a comparison. Returns whether the speed is within the limit."""
    speeds = [chain.seconds / bundle.seconds for chain, bundle in zip(*costs, strict=True)]
    ratio = statistics.median(speeds)
    cells = [f"{statistics.median(cost.seconds for cost in side):.2f}" for side in costs]
    cells += [f"{ratio:.3f}", f"{min(speeds):.3f}", f"{max(speeds):.3f}"]
    cells += [f"{max(cost.mib for cost in side):.0f}" for side in costs]
    print(f"| {name} | {' | '.join(cells)} | {'' if limit is None else f'{limit:.2f}'} |", flush=True)
    return limit is None or ratio >= limit


def by_python(case: Case) -> bool:
    print("\n| verify.py, signatures | s | MiB | at most |\n|---|---:|---:|---:|", flush=True)
    passed = True
    for signatures, limit in (("none", SECONDS_LIMIT), ("1000", None)):
        command = [sys.executable, "-I", VERIFIERS / "verify.py", case.bundle, *case.trusted()]
        cost = measured([*command, "--signatures", signatures])
        shown = "" if limit is None else f"{limit:.0f}"
        print(f"| {signatures} | {cost.seconds:.1f} | {cost.mib:.0f} | {shown} |", flush=True)
        passed &= limit is None or cost.seconds <= limit
    return passed


def by_page(case: Case) -> bool:
    # Only this part needs it.
    from playwright.sync_api import sync_playwright

    print(
        "\n| page, signatures by | s | at most | longest task, ms | at most |\n|---|---:|---:|---:|---:|",
        flush=True,
    )
    passed = True
    with sync_playwright() as playwright:
        chromium = subprocess.run([ROOT / "scripts" / "chromium"], capture_output=True, text=True, check=True)
        browser = playwright.chromium.launch(executable_path=chromium.stdout.strip(), args=["--no-sandbox"])
        for own_code in (False, True):
            page = browser.new_page()
            page.goto((VERIFIERS / "verify.html").as_uri())
            page.evaluate(OBSERVE)
            page.set_input_files("#policy-file", case.policy)
            page.set_input_files("#keys-file", case.keys)
            page.set_checked("#own", own_code)
            begin = time.perf_counter()
            page.set_input_files("#bundle", case.bundle)
            page.wait_for_selector("#results:not([hidden])", timeout=20 * 60 * 1000)
            taken = time.perf_counter() - begin
            if not page.title().startswith("✓ Valid"):
                sys.exit(f"the page reports {page.title()}")
            longest = page.evaluate("window.longest")
            limit = "" if own_code else f"{PAGE_SECONDS_LIMIT:.0f}"
            name = "the page" if own_code else "the browser"
            print(f"| {name} | {taken:.1f} | {limit} | {longest:.0f} | {TASK_LIMIT_MS:.0f} |", flush=True)
            passed &= longest <= TASK_LIMIT_MS and (own_code or taken <= PAGE_SECONDS_LIMIT)
            page.close()
        browser.close()
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="parts [default: all]")
    parser.add_argument("--pairs", type=int, default=3, help="pairs that count [default: %(default)s]")
    parser.add_argument("--records", type=int, default=1_000_000, help="[default: %(default)s]")
    parser.add_argument("--page-records", type=int, default=100_000, help="[default: %(default)s]")
    parser.add_argument("--devices", type=int, default=100, help="[default: %(default)s]")
    parser.add_argument("--scratch", type=Path, help="directory of the data [default: that of the system]")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.pairs} pairs")
    print(
        subprocess.run(
            [find_eds(ROOT / "target"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    )
    missed: list[str] = []

    def large(case: Case) -> bool:
        parts = {"eds": partial(by_eds, case, arguments.pairs), "python": partial(by_python, case)}
        missed.extend(name for name, part in parts.items() if name in arguments.only and not part())
        return True

    with tempfile.TemporaryDirectory(prefix="edgesentry-bundle-", dir=arguments.scratch) as folder:
        ledgers = Ledgers(Path(folder), "")
        if {"eds", "python"} & set(arguments.only):
            make(ledgers, arguments.records, arguments.devices, large)
        if "page" in arguments.only and not make(ledgers, arguments.page_records, arguments.devices, by_page):
            missed.append("page")
    if missed:
        sys.exit(f"limit missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
