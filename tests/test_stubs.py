"""The exports of the package. `make lint` checks the stubs against them."""

from __future__ import annotations

import collections.abc
import subprocess
import sys
from typing import get_args

import edgesentry
import edgesentry._core
from edgesentry import FINDING_CODES, REJECTION_CODES, FindingCode, Findings, RecordReader, RejectionCode

# Names that implement public functions and classes.
INTERNAL = {
    "run_command",
    "ClientCore",
    "IngestAnswer",
    "LedgerCore",
    "MonitorCore",
    "init_telemetry",
    "end_telemetry",
    "metrics_text",
    "proven_fields",
    "shown",
    "_restore",
}


def test_the_literal_of_codes_is_the_list_of_codes() -> None:
    assert get_args(FindingCode) == FINDING_CODES
    assert get_args(RejectionCode) == REJECTION_CODES


def test_everything_public_is_exported_and_documented() -> None:
    assert set(edgesentry._core.__all__) - INTERNAL <= set(edgesentry.__all__)
    for name in edgesentry.__all__:
        assert hasattr(edgesentry, name), name
    for name in edgesentry._core.__all__:
        public = getattr(edgesentry._core, name)
        if callable(public) and name not in ("ClientCore", "LedgerCore", "MonitorCore"):
            assert public.__doc__, name


def test_classes_say_what_they_are() -> None:
    # polars would read a sequence as a list of objects, not as a table.
    assert not issubclass(Findings, collections.abc.Sequence)
    assert issubclass(RecordReader, collections.abc.Iterator)
    for name in edgesentry.__all__:
        public = getattr(edgesentry, name)
        if isinstance(public, type):
            assert public.__module__ in ("edgesentry", "edgesentry.exceptions"), name


def test_the_package_is_light_to_import() -> None:
    heavy = ["pyarrow", "polars", "numpy", "pandas", "tqdm", "duckdb"]
    script = f"import sys, edgesentry; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
