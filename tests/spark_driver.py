"""A driver of Spark for tests: each line of its input is a verification, each line of its output a result.

A line is JSON with the arguments of `edgesentry.spark.verify`; `die` ends the process before it merges.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from pyspark.sql import SparkSession

import edgesentry.spark
from edgesentry import KeyRing


def session(master: str) -> SparkSession:
    builder = SparkSession.builder.master(master).appName("edgesentry")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.executor.memory": "512m",
        "spark.executor.cores": "1",
        "spark.task.maxFailures": "8",
        "spark.sql.session.timeZone": "UTC",
    }.items():
        builder = builder.config(name, value)
    # The settings of S3 are those of the environment of the executors.
    for name, value in os.environ.items():
        if name.startswith("EDS_"):
            builder = builder.config(f"spark.executorEnv.{name}", value)
    return builder.getOrCreate()


def end(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    spark = session(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        arguments: dict[str, Any] = json.loads(line)
        if arguments.pop("die", False):
            setattr(edgesentry.spark._Job, "merged", end)  # noqa: B010
        keys = KeyRing(arguments.pop("keys"))
        result = edgesentry.spark.verify(arguments.pop("source"), spark=spark, keys=keys, **arguments)
        read = None if result.plan is None else len(result.plan.tasks)
        print(json.dumps({"report": result.report.to_json(), "read": read}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
