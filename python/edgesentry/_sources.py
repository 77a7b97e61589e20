"""Opens objects of other libraries as sources of records; imported only when one is passed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .exceptions import UnreadableError

# The packages that read the tables of a format.
_PACKAGES = {"deltalake": "deltalake pyarrow", "pyiceberg": "'pyiceberg[pyarrow]'"}


def adapted(source: Any) -> Any:
    """Returns the rows of an object as pyarrow, or the object itself if it needs no help."""
    kind = type(source).__name__
    match type(source).__module__.partition(".")[0]:
        case "polars" if kind in ("LazyFrame", "DataFrame"):
            return _polars(source)
        case "dask" | "dask_expr" if hasattr(source, "partitions") and hasattr(source, "npartitions"):
            return _dask(source)
        case "deltalake" if kind == "DeltaTable":
            return _delta(source)
        case "pyiceberg" if hasattr(source, "scan"):
            return _iceberg(source.scan())
        case "pyiceberg" if hasattr(source, "to_arrow_batch_reader"):
            return _iceberg(source)
    return source


def table(path: os.PathLike[str], library: str | None) -> Any:
    """Opens the table in a directory with its library; None if no library reads it."""
    if library is None:
        return None
    path = Path(path)
    try:
        return _open_delta(path) if library == "deltalake" else _open_iceberg(path)
    except ModuleNotFoundError as error:
        raise UnreadableError(
            f"{path}: it is a table, and some of its files are no longer part of it; "
            f"to read the others: pip install {_PACKAGES[library]}"
        ) from error


def _open_delta(path: Path) -> Any:
    import deltalake

    return deltalake.DeltaTable(path)


def _open_iceberg(path: Path) -> Any:
    from pyiceberg.table import StaticTable

    return StaticTable.from_metadata(str(_current_metadata(path)))


def _current_metadata(path: Path) -> Path:
    """Returns the newest metadata of an Iceberg table, which the catalog knows for certain."""
    folder = path / "metadata"
    hint = folder / "version-hint.text"
    if hint.is_file():
        version = hint.read_text()[:80].strip()
        hinted = [folder / name for name in (f"v{version}.metadata.json", f"{version}.metadata.json")]
        for file in hinted:
            if re.fullmatch(r"[\w-]+", version) and file.is_file():
                return file
    numbered = []
    for file in folder.glob("*.metadata.json"):
        if number := re.match(r"v?(\d+)", file.name):
            numbered.append((int(number[1]), file))
    newest = [file for number, file in numbered if number == max(numbered)[0]]
    if len(newest) != 1:
        raise UnreadableError(
            f"{path}: it is an Iceberg table, and its newest metadata is not certain; "
            "pass catalog.load_table(...) of pyiceberg"
        )
    return newest[0]


def _delta(delta: Any) -> Any:
    # The dataset lists live files only, and refuses features of the format that it does not know.
    return delta.to_pyarrow_dataset()


def _iceberg(scan: Any) -> Any:
    return scan.to_arrow_batch_reader()


def _polars(frame: Any) -> Any:
    import polars

    schema = frame.collect_schema()
    wide = [name for name, kind in schema.items() if kind in (polars.Int128, polars.UInt128)]
    if wide:
        # The type that other libraries know. A number of 39 digits becomes null, which no record has.
        frame = frame.with_columns(polars.col(wide).cast(polars.Decimal(38, 0), strict=False))
    if isinstance(frame, polars.LazyFrame):
        return frame.collect(engine="streaming")
    return frame


def _dask(frame: Any) -> Any:
    import pyarrow

    def tables() -> Iterator[Any]:
        for partition in range(frame.npartitions):
            rows = frame.partitions[partition].compute()
            if len(rows):
                yield pyarrow.Table.from_pandas(rows)

    found = tables()
    first = next(found, None)
    if first is None:
        return pyarrow.Table.from_pandas(frame.partitions[0].compute())

    def batches() -> Iterator[Any]:
        yield from first.to_batches()
        for more in found:
            yield from more.cast(first.schema).to_batches()

    return pyarrow.RecordBatchReader.from_batches(first.schema, batches())
