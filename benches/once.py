"""Runs one `eds verify-chain --json` and prints its verdict and its cost.

A process of its own, since Linux counts the memory of the process that starts another as memory of the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main() -> None:
    """Runs the command of the arguments."""
    started = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    report = json.loads(output)["report"]
    cost = {
        "verdict": report["verdict"],
        "records": report["coverage"]["records"],
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    main()
