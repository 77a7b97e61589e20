"""Verification by the workers of Ray: `edgesentry.lake.verify` with a task for each range of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from edgesentry import lake


def verify(source: Any, **options: Any) -> lake.LakeReport:
    """Verifies files on the cluster of Ray, with the arguments of `edgesentry.lake.verify`."""
    return lake.verify(source, **{"threads": 1} | options, run=_run)


def _run(function: Callable[[Any], Any], items: list[Any]) -> Iterable[Any]:
    import ray

    task, shared = ray.remote(_call), ray.put(function)
    results: Iterable[Any] = ray.get([task.remote(shared, item) for item in items])
    return results


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)
