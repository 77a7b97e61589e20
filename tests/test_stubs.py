"""The exports of the package. `make lint` checks the stubs against them."""

from __future__ import annotations

import collections.abc
import inspect
import subprocess
import sys
from typing import get_args

import edgesentry
import edgesentry._core
from docstrings import stub_docs
from edgesentry import FINDING_CODES, REJECTION_CODES, FindingCode, Findings, RecordReader, RejectionCode

# Names that implement public functions and classes.
INTERNAL = {
    "run_command",
    "file_states",
    *("DeviceIds", "PackedHeads", "PackedKeys"),
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
    *("ImageHasher", "UpdateCheck", "complete_update", "create_update_state", "manifest_fields"),
    *("read_update_state", "save_manifest", "sign_manifest", "trust_fields", "write_manifest"),
}


def test_the_literal_of_codes_is_the_list_of_codes() -> None:
    assert get_args(FindingCode) == FINDING_CODES
    assert get_args(RejectionCode) == REJECTION_CODES


def test_everything_public_is_exported_and_documented() -> None:
    public_names = {*edgesentry.__all__, *edgesentry.update.__all__}
    assert set(edgesentry._core.__all__) - INTERNAL <= public_names
    for name in edgesentry.__all__:
        assert hasattr(edgesentry, name), name
    for name in edgesentry._core.__all__:
        public = getattr(edgesentry._core, name)
        if callable(public) and name not in ("ClientCore", "LedgerCore", "MonitorCore"):
            assert public.__doc__, name


def test_classes_have_public_modules() -> None:
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


def test_the_docstrings_are_those_of_the_stubs() -> None:
    """`help(...)` shows what an editor shows. tests/docstrings.py writes the comments of the module."""
    docs = stub_docs()
    assert len(docs) > 190
    for (kind, name), doc in docs.items():
        owner = edgesentry._core if kind is None else getattr(edgesentry._core, kind)
        public = getattr(owner, name) if name else owner
        # The docstrings of these are those of Python itself.
        if name.startswith("__") and "arrow" not in name:
            continue
        assert inspect.getdoc(public) == doc, (kind, name)


def test_every_public_member_has_a_docstring() -> None:
    for name in edgesentry.__all__:
        public = getattr(edgesentry, name)
        if not isinstance(public, type):
            continue
        for member, value in vars(public).items():
            if not member.startswith("_") and (callable(value) or inspect.isdatadescriptor(value)):
                # A field of a dataclass with slots is described in the docstring of its class.
                assert inspect.ismemberdescriptor(value) or inspect.getdoc(value), (name, member)
