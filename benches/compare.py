"""Compare ways to verify the same export of audit records, side by side on this machine.

Each contender runs in a separate process, several times; the best run counts. Prints a table, the peak
memory of each contender and whether edgesentry reaches its targets. A missed target does not fail the run;
a wrong verdict does.

Exit codes: 0 every verdict was right, 1 a contender gave a wrong verdict, 2 usage, 3 could not finish.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

BENCHES = Path(__file__).resolve().parent
DATA = BENCHES / "data"
PEERS = BENCHES / "peers"

Checks: TypeAlias = Literal["links", "links+signatures", "signatures"]
"""The checks of a contender; the time of `signatures` excludes reading the file."""


class CompareError(Exception):
    """The comparison cannot continue; the message gives the reason in one sentence."""


@dataclass(frozen=True)
class Export:
    """An export on disk, the keys of its devices, and its fault, if it has one."""

    file: Path
    keys: Path
    records: int
    fault: Literal["none", "signatures", "links"] = "none"

    def should_pass(self, checks: Checks) -> bool:
        """Return True if a contender with these checks must accept the export."""
        if self.fault == "none":
            return True
        return self.fault not in checks.split("+")


@dataclass(frozen=True)
class Contender:
    """One way to verify an export: `command` returns its command line."""

    name: str
    threads: int
    checks: Checks
    command: Callable[[Export], list[str]]
    all_bad: bool = False  # measured on the export in which every signature is bad


@dataclass(frozen=True)
class Result:
    """One run, or the best of several."""

    contender: str
    threads: int
    checks: Checks
    records: int
    seconds: float
    peak_rss_bytes: int

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds


@dataclass(frozen=True)
class Reach:
    """A target of edgesentry and the value measured: at least or at most `target` times."""

    what: str
    value: float
    target: float
    bound: Literal[">=", "<="]

    @property
    def passed(self) -> bool:
        return self.value >= self.target if self.bound == ">=" else self.value <= self.target


# Machine


def machine() -> dict[str, str | int | list[str]]:
    """Describe the processor: model, the flags that matter to the curve code, cores."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name", platform.machine()),
        "flags": [flag for flag in ("avx2", "avx512ifma") if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
    }


# Preparation


def build_peers() -> Path:
    """Build the Rust peers and return the binary."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", PEERS / "target")).resolve()
    command = ["cargo", "build", "--release", "--locked", "--quiet"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    try:
        # In its own directory, so that cargo finds the settings of benches/peers/.cargo.
        subprocess.run(command, cwd=PEERS, env=environment, check=True)
    except FileNotFoundError as error:
        raise CompareError("cargo is not installed: the peers are built with it") from error
    except subprocess.CalledProcessError as error:
        raise CompareError("the peers do not build: see the messages of cargo above") from error
    return target / "release" / "peers"


def make_export(peers: Path, records: int, devices: int, fault: Literal["none", "signatures"]) -> Export:
    """Create an export in benches/data, or reuse the existing one."""
    name = f"{records}x{devices}"
    file = DATA / (f"export-{name}.json" if fault == "none" else f"export-{name}-bad-{fault}.json")
    keys = DATA / f"keys-{name}.json"
    if not (file.exists() and keys.exists()):
        DATA.mkdir(exist_ok=True)
        partial = file.with_suffix(".part")
        command = [str(peers), "generate", str(partial), str(keys)]
        command += [f"--records={records}", f"--devices={devices}"]
        if fault == "signatures":
            command.append("--bad-signatures")
        print(f"making {file.name}", file=sys.stderr)
        if subprocess.run(command).returncode != 0:
            raise CompareError(f"cannot make {file}: see the message above")
        partial.rename(file)
    return Export(file, keys, records, fault)


def break_link(export: Export) -> Export:
    """Copy an export with one timestamp changed in its middle: the device's next link breaks."""
    file = export.file.with_name(f"{export.file.stem}-bad-links.json")
    records = json.loads(export.file.read_text())
    records[len(records) // 2]["timestamp_ms"] += 1
    file.write_text(json.dumps(records, separators=(",", ":")))
    return Export(file, export.keys, export.records, "links")


# Contenders


def peer_contenders(peers: Path) -> list[Contender]:
    """List the other ways to verify an export."""

    def python(peer: str) -> Callable[[Export], list[str]]:
        script = str(BENCHES / "peers_python.py")
        return lambda export: [sys.executable, script, peer, str(export.file), str(export.keys)]

    def rust(*command: str, threads: int = 1) -> Callable[[Export], list[str]]:
        return lambda export: [
            str(peers),
            *command,
            str(export.file),
            str(export.keys),
            f"--threads={threads}",
        ]

    contenders = [
        Contender("audit-links", 1, "links", rust("verify", "audit-links")),
        Contender("audit-signatures", 1, "links+signatures", rust("verify", "audit-signatures")),
        Contender("pynacl", 1, "links+signatures", python("pynacl")),
        Contender("cryptography", 1, "links+signatures", python("cryptography")),
    ]
    for name in ("dalek-strict", "dalek-batch", "zebra-batch", "bare"):
        command = [name] if name == "bare" else ["verify", name]
        contenders += [
            Contender(name, threads, "signatures", rust(*command, threads=threads)) for threads in (1, 2)
        ]
    return contenders


def our_contenders() -> list[Contender]:
    """List the runs of the installed package edgesentry."""
    script = str(BENCHES / "ours.py")

    def links(export: Export) -> list[str]:
        return [sys.executable, script, str(export.file)]

    def signatures(export: Export) -> list[str]:
        return [sys.executable, script, str(export.file), str(export.keys)]

    return [
        *(Contender("edgesentry", threads, "links", links) for threads in (1, 2)),
        *(Contender("edgesentry", threads, "links+signatures", signatures) for threads in (1, 2)),
        *(
            Contender(
                "edgesentry, every signature bad", threads, "links+signatures", signatures, all_bad=True
            )
            for threads in (1, 2)
        ),
    ]


def require_packages(peers_only: bool) -> None:
    """Refuse to start if a Python package is missing, rather than fail half way."""
    if missing := [name for name in ("blake3", "cryptography", "nacl", "orjson") if not installed(name)]:
        raise CompareError(f"missing {', '.join(missing)}: pip install -r {BENCHES / 'requirements.txt'}")
    if not peers_only and not installed("edgesentry"):
        raise CompareError("the package edgesentry is not installed: install it, or give --peers-only")


def installed(name: str) -> bool:
    """Return True if a package can be imported; a bare directory of that name is not a package."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


# Runs


def run(contender: Contender, export: Export, wrong: list[str]) -> Result:
    """Run a contender once; a wrong verdict is noted in `wrong`."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(contender.threads)}
    process = subprocess.run(contender.command(export), env=environment, capture_output=True, text=True)
    label = f"{contender.name} ({contender.checks}, {spell_threads(contender)})"
    if process.returncode not in (0, 1) or not process.stdout:
        reason = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise CompareError(f"{label} did not finish on {export.file.name}: {reason}")
    outcome = json.loads(process.stdout)
    if outcome["records"] != export.records:
        wrong.append(
            f"{label} saw {outcome['records']} of the {export.records} records of {export.file.name}"
        )
    if outcome["ok"] != export.should_pass(contender.checks):
        verdict = "accepts" if outcome["ok"] else "refuses"
        wrong.append(f"{label} {verdict} {export.file.name}")
    return Result(
        contender.name,
        contender.threads,
        contender.checks,
        export.records,
        outcome["seconds_signatures" if contender.checks == "signatures" else "seconds"],
        outcome["peak_rss_bytes"],
    )


def spell_threads(contender: Contender) -> str:
    """Format a contender's thread count."""
    return "1 thread" if contender.threads == 1 else f"{contender.threads} threads"


def check_verdicts(contenders: list[Contender], exports: list[Export], wrong: list[str]) -> None:
    """Run every contender once on small exports, whole and faulty: speed counts only with right verdicts."""
    for contender in contenders:
        for export in exports:
            run(contender, export, wrong)


def measure(
    contenders: list[Contender], good: Export, bad: Export, repeat: int, wrong: list[str]
) -> list[Result]:
    """Run all contenders in turn, `repeat` times over, and keep the best run of each."""
    best: dict[int, Result] = {}
    for turn in range(1, repeat + 1):
        for index, contender in enumerate(contenders):
            print(f"run {turn} of {repeat}: {contender.name}, {spell_threads(contender)}", file=sys.stderr)
            result = run(contender, bad if contender.all_bad else good, wrong)
            if index not in best or result.seconds < best[index].seconds:
                best[index] = result
    return [best[index] for index in range(len(contenders))]


# Results


def find(results: list[Result], name: str, checks: Checks, threads: int) -> Result | None:
    """Find the result of a contender, `None` if it did not run."""
    for result in results:
        if (result.contender, result.checks, result.threads) == (name, checks, threads):
            return result
    return None


def yardstick(results: list[Result], checks: Checks) -> Result | None:
    """Find our run to compare with a contender with these checks: the same job on two threads."""
    return find(results, "edgesentry", "links" if checks == "links" else "links+signatures", 2)


def table(results: list[Result]) -> str:
    """Format the results, one line per contender."""
    rows = [("contender", "checks", "threads", "records/s", "ours / it", "peak MiB")]
    for result in results:
        ours = yardstick(results, result.checks)
        rows.append(
            (
                result.contender,
                result.checks,
                str(result.threads),
                f"{result.records_per_second:,.0f}",
                f"{ours.records_per_second / result.records_per_second:.2f}" if ours else "-",
                f"{result.peak_rss_bytes / 2**20:,.0f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def reaches(results: list[Result]) -> list[Reach]:
    """Compare edgesentry on two threads with its targets; empty if it did not run."""
    ours = find(results, "edgesentry", "links+signatures", 2)
    ours_links = find(results, "edgesentry", "links", 2)
    ours_bad = find(results, "edgesentry, every signature bad", "links+signatures", 2)
    pynacl = find(results, "pynacl", "links+signatures", 1)
    audit = find(results, "audit-signatures", "links+signatures", 1)
    audit_links = find(results, "audit-links", "links", 1)
    bare = find(results, "bare", "signatures", 2)
    strict = find(results, "dalek-strict", "signatures", 2)
    if not (ours and ours_links and ours_bad and pynacl and audit and audit_links and bare and strict):
        return []
    return [
        Reach("links and signatures, speed against pynacl", pynacl.seconds / ours.seconds, 40, ">="),
        Reach("links and signatures, speed against audit-signatures", audit.seconds / ours.seconds, 22, ">="),
        Reach("links, speed against audit-links", audit_links.seconds / ours_links.seconds, 7, ">="),
        Reach("links and signatures, time against bare signatures", ours.seconds / bare.seconds, 0.6, "<="),
        Reach("every signature bad, time against dalek-strict", ours_bad.seconds / strict.seconds, 1.5, "<="),
    ]


def reach_line(reach: Reach) -> str:
    """Format one target."""
    verdict = "pass " if reach.passed else "short"
    return f"{verdict}  {reach.what}: {reach.value:.2f}x, target {reach.bound} {reach.target:g}x"


# Command


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""

    def positive(text: str) -> int:
        if (value := int(text)) < 1:
            raise ValueError
        return value

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--records", type=positive, default=100_000, help="size of the export (default 100000)"
    )
    parser.add_argument("--devices", type=positive, default=10, help="devices in the export (default 10)")
    parser.add_argument(
        "--repeat", type=positive, default=3, help="runs of each, the best counts (default 3)"
    )
    parser.add_argument("--memory", type=positive, metavar="N", help="also run edgesentry on N records, once")
    parser.add_argument("--peers-only", action="store_true", help="leave edgesentry out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    return parser.parse_args()


def compare(arguments: argparse.Namespace) -> list[str]:
    """Run the comparison, print it, and return the wrong verdicts."""
    require_packages(arguments.peers_only)
    peers = build_peers()
    ours = [] if arguments.peers_only else our_contenders()
    contenders = ours + peer_contenders(peers)
    wrong: list[str] = []

    small = make_export(peers, 2_000, 3, "none")
    faulty = [make_export(peers, 2_000, 3, "signatures"), break_link(small)]
    check_verdicts(contenders, [small, *faulty], wrong)

    good = make_export(peers, arguments.records, arguments.devices, "none")
    bad = make_export(peers, arguments.records, arguments.devices, "signatures")
    here = machine()
    flags = " ".join(here["flags"]) if isinstance(here["flags"], list) else ""
    print(f"CPU: {here['cpu']}; {flags or 'neither avx2 nor avx512ifma'}; {here['cores']} cores")
    print(
        f"{arguments.records:,} records of {arguments.devices} devices, best of {arguments.repeat}\n",
        flush=True,
    )

    results = measure(contenders, good, bad, arguments.repeat, wrong)
    reached = reaches(results)
    print(table(results))
    if reached:
        print("\nedgesentry on 2 threads:", *map(reach_line, reached), sep="\n")

    in_memory: list[Result] = []
    if arguments.memory:
        large = make_export(peers, arguments.memory, arguments.devices, "none")
        chosen = [
            c
            for c in contenders
            if c.name == "audit-links" or (c in ours and c.threads == 2 and not c.all_bad)
        ]
        in_memory = measure(chosen, large, large, 1, wrong)
        size = large.file.stat().st_size / 2**20
        print(f"\n{arguments.memory:,} records, a file of {size:,.0f} MiB, one run each:\n{table(in_memory)}")

    if arguments.json:
        document = {
            "machine": here,
            "records": arguments.records,
            "devices": arguments.devices,
            "repeat": arguments.repeat,
            "results": [asdict(result) for result in results],
            "reach": [{**asdict(reach), "passed": reach.passed} for reach in reached],
            "memory": [asdict(result) for result in in_memory],
            "wrong_verdicts": wrong,
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return wrong


def main() -> int:
    """Run the command."""
    try:
        wrong = compare(parse_arguments())
    except (CompareError, OSError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 3
    for line in dict.fromkeys(wrong):
        print(f"compare: wrong verdict: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
