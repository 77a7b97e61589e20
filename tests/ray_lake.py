"""Verifies a lake on a local cluster of Ray. `make test-ray` runs it: Ray has an environment of its own."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import ray

import edgesentry.ray
from edgesentry import verify_chain, write_records
from edgesentry.testing import make_fleet


def main(folder: Path) -> None:
    fleet = make_fleet(devices=6, records=60, seed=9)
    records = sorted(fleet.records, key=lambda record: (record.sequence, record.device_id))
    # Some records twice, in a file of their own.
    days = [records[:100], records[100:200], records[200:], records[20:25]]
    for number, rows in enumerate(days):
        write_records(random.Random(number).sample(rows, len(rows)), folder / f"{number}.parquet")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    result = edgesentry.ray.verify(folder, keys=fleet.keys)
    expected = verify_chain(folder, keys=fleet.keys, order="sequence")
    assert result.report.counts == {"sequence_duplicate": 5}
    assert result.report.to_json() == expected.to_json()
    (folder / "3.parquet").unlink()
    again = edgesentry.ray.verify(folder, keys=fleet.keys, since=result.segments, changed="read")
    assert again.plan.tasks == []
    assert again.report.ok
    known = fleet.keys.subset(fleet.keys.devices[1:])
    missing = edgesentry.ray.verify(folder, keys=known)
    assert missing.report.counts == {"unknown_device": 1}
    ray.shutdown()
    print(f"Ray {ray.__version__}: the reports are those of one process")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
