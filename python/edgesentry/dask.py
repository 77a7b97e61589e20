"""Verification by the workers of Dask: `edgesentry.lake.verify` with a task for each range of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from edgesentry import lake


def verify(source: Any, **options: Any) -> lake.LakeReport:
    """Verifies files on the active cluster of Dask, with the arguments of `edgesentry.lake.verify`."""
    return lake.verify(source, **{"threads": 1} | options, run=_run)


def _run(function: Callable[[Any], Any], items: list[Any]) -> Iterable[Any]:
    from dask import compute, delayed

    apply = delayed(function, pure=False, traverse=False)
    results: Iterable[Any] = compute(*(apply(delayed(item, traverse=False)) for item in items))
    return results
