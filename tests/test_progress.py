"""The progress bar: updated by the calling thread, in bytes or records."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
from functools import partial
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from tqdm.auto import tqdm

import edgesentry
from edgesentry import AuditRecord, verify_chain
from edgesentry.testing import make_fleet


class Bar:
    """A bar that records its calls."""

    made: list[Bar]

    def __init__(self, *, total: int | None, unit: str, unit_scale: bool, desc: str) -> None:
        self.total, self.unit, self.desc = total, unit, desc
        self.steps: list[int] = []
        self.threads: set[int] = set()
        self.closed = False
        type(self).made.append(self)

    def update(self, n: int, /) -> None:
        assert not self.closed
        self.steps.append(n)
        self.threads.add(threading.get_ident())

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bar() -> type[Bar]:
    return type("FreshBar", (Bar,), {"made": []})


def test_files_are_counted_in_bytes(bar: type[Bar], long_export: Path) -> None:
    verify_chain([long_export] * 20, progress=bar)
    (made,) = bar.made
    size = 20 * long_export.stat().st_size
    assert (made.total, made.unit, sum(made.steps)) == (size, "B", size)
    assert min(made.steps) > 0
    assert made.threads == {threading.get_ident()}
    assert made.closed


def test_records_are_counted_as_records(bar: type[Bar], records: list[AuditRecord]) -> None:
    verify_chain(records, progress=bar)
    (made,) = bar.made
    assert (made.total, made.unit, sum(made.steps)) == (None, " records", len(records))
    assert made.closed


def test_a_stream_has_no_total(bar: type[Bar], long_export: Path) -> None:
    with long_export.open("rb") as file:
        verify_chain(file, progress=bar)
    (made,) = bar.made
    assert (made.total, made.unit, sum(made.steps)) == (None, "B", long_export.stat().st_size)


def test_tqdm_is_such_a_bar(long_export: Path) -> None:
    out = io.StringIO()
    assert verify_chain(long_export, progress=partial(tqdm, file=out)).ok
    assert "verify: 100%" in out.getvalue()


def test_true_is_tqdm(
    long_export: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_chain(long_export, progress=True)
    assert "verify: 100%" in capsys.readouterr().err
    with edgesentry.open(long_export.with_name("true.db")) as ledger:
        make_fleet().fill(ledger)
        ledger.export(long_export.with_name("true.json"), progress=True)
    assert "export: 24.0 records " in capsys.readouterr().err
    verify_chain(long_export, progress=False)
    assert capsys.readouterr().err == ""
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        verify_chain(long_export, progress=True)


@pytest.mark.parametrize("widgets", [True, False])
@pytest.mark.parametrize("work", ["verify", "export"])
def test_a_notebook_has_the_same_bar(long_export: Path, tmp_path: Path, work: str, widgets: bool) -> None:
    hide = "" if widgets else "import sys; sys.modules['ipywidgets'] = None\n"
    does = f"edgesentry.verify_chain({str(long_export)!r}, progress=True).ok"
    if work == "export":
        with edgesentry.open(tmp_path / "ledger.db") as ledger:
            make_fleet().fill(ledger)
        place, path = str(tmp_path / "ledger.db"), str(tmp_path / "export.json")
        does = f"edgesentry.open({place!r}).export({path!r}, progress=True).records == 24"
    code = f"{hide}import edgesentry; {does}"
    cell: dict[str, object] = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": []}
    cell |= {"source": code, "execution_count": None}
    text = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, kernel_name="python3", startup_timeout=300).execute()
    shown = "".join(
        str(output.get("text", "") or output["data"]["text/plain"]) for output in notebook.cells[0].outputs
    )
    # The text of a widget is the initial one. An export does not know its total.
    done = {"verify": ("verify:   0%", "verify: 100%"), "export": ("export: ", "export: 24.0 records ")}[work]
    assert done[0 if widgets else 1] in shown
    kinds = {kind for output in notebook.cells[0].outputs for kind in output.get("data", {})}
    assert ("application/vnd.jupyter.widget-view+json" in kinds) == widgets
    assert shown.endswith("True")
    assert "Warning" not in shown


def test_records_that_go_into_a_ledger_are_counted(bar: type[Bar], tmp_path: Path) -> None:
    fleet = make_fleet()
    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        fleet.register(ledger)
        assert ledger.ingest_many(fleet.pairs(), progress=bar).ok
        (made,) = bar.made
        assert (made.total, made.unit, made.desc, sum(made.steps)) == (24, " records", "ingest", 24)
        assert made.closed
        with pytest.raises(TypeError, match="progress"):
            ledger.ingest_many(fleet.pairs(), progress=5)  # type: ignore[arg-type]
    edgesentry.device_statistics(fleet.records, progress=bar)
    assert (bar.made[1].desc, sum(bar.made[1].steps)) == ("read", 24)


def test_records_of_an_export_are_counted(bar: type[Bar], tmp_path: Path) -> None:
    fleet = make_fleet()
    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        fleet.fill(ledger)
        assert ledger.export(tmp_path / "export.json", progress=bar).records == 24
        (made,) = bar.made
        assert (made.total, made.unit, made.desc, sum(made.steps)) == (None, " records", "export", 24)
        assert made.closed
        assert made.threads == {threading.get_ident()}
        with pytest.raises(TypeError, match="progress"):
            ledger.export(tmp_path / "export.json", progress=5)  # type: ignore[arg-type]

    async def export() -> int:
        async with await edgesentry.open_async(tmp_path / "ledger.db") as ledger:
            manifest = await ledger.export(tmp_path / "b.json", devices="lift-01", progress=bar)
            return manifest.records

    assert asyncio.run(export()) == 8
    assert (bar.made[1].desc, sum(bar.made[1].steps), bar.made[1].closed) == ("export", 8, True)


def test_an_exception_of_the_bar_ends_an_export_without_half_a_file(bar: type[Bar], tmp_path: Path) -> None:
    class Broken(bar):  # type: ignore[valid-type, misc]
        def update(self, n: int, /) -> None:
            raise InterruptedError

    with edgesentry.open(tmp_path / "ledger.db") as ledger:
        make_fleet(2, 5000).fill(ledger)
        with pytest.raises(InterruptedError):
            ledger.export(tmp_path / "export.parquet", progress=Broken)
    assert bar.made[0].closed
    written = {path.name for path in tmp_path.iterdir()} - {
        f"ledger.db{more}" for more in ("", "-wal", "-shm")
    }
    # It may have come too late.
    assert written in (set(), {"export.parquet", "export.parquet.manifest.json"})


def test_an_unsupported_progress_is_a_type_error(long_export: Path) -> None:
    with pytest.raises(TypeError, match="progress"):
        verify_chain(long_export, progress=5)  # type: ignore[arg-type]


def test_an_exception_of_the_bar_ends_the_verification(bar: type[Bar], long_export: Path) -> None:
    class Stop(Exception):
        pass

    class Broken(bar):  # type: ignore[valid-type, misc]
        def update(self, n: int, /) -> None:
            raise Stop

    with pytest.raises(Stop):
        verify_chain([long_export] * 1000, progress=Broken)
    assert bar.made[0].closed


def test_the_bar_is_closed_when_the_work_fails(bar: type[Bar], records: list[AuditRecord]) -> None:
    def broken() -> object:
        for _ in range(1000):
            yield from records
        raise KeyError

    with pytest.raises(KeyError):
        verify_chain(broken(), progress=bar)  # type: ignore[arg-type]
    assert all(made.closed for made in bar.made)
