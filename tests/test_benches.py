"""The arithmetic of the benches, and the stored measurements. Nothing here measures."""

from __future__ import annotations

from pathlib import Path

import pytest

import growth
import quick
from quick import QuickError, Stored


def stored(build: str, **parts: float) -> Stored:
    return Stored(build, "1.95.0", "3.19.0", parts)


def losses(parts: dict[str, float], builds: list[Stored]) -> list[str]:
    return [row.part for row in quick.compare(parts, builds) if row.is_loss]


def test_a_part_fails_over_ten_per_cent_more_instructions() -> None:
    builds = [stored("6d07395", hash=1000.0, fold=1000.0, links=1000.0)]
    assert losses({"hash": 1110.0, "fold": 1090.0, "links": 800.0}, builds) == ["hash"]


def test_the_last_stored_build_is_the_limit() -> None:
    builds = [stored("6d07395", hash=2000.0), stored("1.0.0", hash=1000.0)]
    assert losses({"hash": 1110.0}, builds) == ["hash"]
    assert losses({"hash": 1090.0}, builds) == []
    (row,) = quick.compare({"hash": 1090.0}, builds)
    assert (row.first, row.last) == (2000.0, 1000.0)


def test_a_part_counts_from_the_build_that_has_it_first() -> None:
    builds = [stored("6d07395", hash=1000.0), stored("1.0.0", hash=1000.0, admission=500.0)]
    assert losses({"hash": 1000.0, "admission": 560.0}, builds) == ["admission"]
    assert losses({"hash": 1000.0, "admission": 500.0, "new": 1.0}, builds) == []


def test_a_stored_part_that_is_not_measured_is_an_error() -> None:
    with pytest.raises(QuickError, match=r"not measured: fold"):
        quick.compare({"hash": 1000.0}, [stored("6d07395", hash=1000.0, fold=1000.0)])


def test_the_cost_of_a_unit_is_the_difference_of_two_runs() -> None:
    assert quick.per_unit(1_000_000, 1_250_000, 1000) == 250.0
    with pytest.raises(QuickError):
        quick.per_unit(1_000_000, 1_000_000, 1000)


def test_a_build_is_stored_once(tmp_path: Path) -> None:
    place = tmp_path / "quick.json"
    for count in (100.0, 200.0):
        quick.store(place, quick.load(place), stored("6d07395", hash=count))
    quick.store(place, quick.load(place), stored("1.0.0", hash=50.0))
    builds = quick.load(place)
    assert [(each.build, each.parts) for each in builds] == [
        ("6d07395", {"hash": 200.0}),
        ("1.0.0", {"hash": 50.0}),
    ]
    assert "| hash | 60.0 | 200.0 | 0.300 | 50.0 | 1.200 | 1.10 |" in quick.table(
        quick.compare({"hash": 60.0}, builds), builds
    )


def test_every_part_is_stored() -> None:
    builds = quick.load(quick.STORED)
    assert builds[0].build == "6d07395"
    assert set(builds[-1].parts) == set(quick.MEMORY) | set(quick.FILES)


def test_the_plots_are_those_of_the_measurements(tmp_path: Path) -> None:
    growth.draw(tmp_path)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert drawn
    assert drawn == {path.name: path.read_bytes() for path in growth.IMAGES.glob("growth-*.svg")}
