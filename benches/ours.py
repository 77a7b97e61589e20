"""Verify an export with the installed package edgesentry, and time the call.

Usage: python ours.py FILE [KEYS]

Checks the links and, if keys are given, every signature; prints the same line of JSON as the peers.
RAYON_NUM_THREADS sets the threads.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import edgesentry

# isort: split
from peers_python import peak_rss_bytes


def verify(file: Path, keys: Path | None) -> tuple[int, bool]:
    """Return the number of records and whether all of them are valid: only this function uses the package."""
    report = edgesentry.verify_chain(file, keys=keys)
    return report.coverage.records, report.ok


def main() -> int:
    """Verify one export and print the outcome."""
    parser = argparse.ArgumentParser(description="Verify an export with edgesentry, and time the call.")
    parser.add_argument("file", type=Path, help="export: a JSON array of records")
    parser.add_argument("keys", type=Path, nargs="?", help='public keys: {"device": "hex"}')
    arguments = parser.parse_args()

    start = time.perf_counter()
    records, ok = verify(arguments.file, arguments.keys)
    seconds = time.perf_counter() - start

    outcome = {
        "peer": "edgesentry",
        "records": records,
        "seconds": seconds,
        "seconds_signatures": None,
        "peak_rss_bytes": peak_rss_bytes(),
        "ok": ok,
    }
    print(json.dumps(outcome))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
