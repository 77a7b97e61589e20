"""The level log in parts: each attack has the report of one process, in any partition of the records."""

from __future__ import annotations

import pickle
import random
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial, reduce
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import edgesentry.dask
from edgesentry import (
    AuditRecord,
    ConfigError,
    KeyRing,
    LogInputs,
    Report,
    Segments,
    UnreadableError,
    Verifier,
    lake,
    merge,
    verify_chain,
    verify_part,
    write_records,
)
from edgesentry._typing import Order
from edgesentry.testing import CATALOGUE, LOG_CATALOGUE, Log, make_fleet, make_log, write_log

FLEET = make_fleet(devices=3, records=24, seed=4)
RECORDS = list(FLEET.records)
ORDERS: list[Order] = ["position", "sequence"]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Log, dict[str, Any]]:
    """The log of the fleet, and its files."""
    log = make_log(FLEET)
    folder = tmp_path_factory.mktemp("log")
    previous = log.checkpoint(log.sizes[0])
    return log, write_log(folder, checkpoint=log.checkpoint(), layout=log.layout, previous=previous)


def written(folder: Path, records: Sequence[AuditRecord], chosen: random.Random) -> list[Path]:
    """Writes records to files of random sizes."""
    folder.mkdir(parents=True)
    cuts = sorted(chosen.randrange(len(records) + 1) for _ in range(chosen.randrange(6)))
    files: list[Path] = []
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        files.append(folder / f"{len(files)}.ndjson")
        write_records(list(records[start:end]), files[-1])
    return files


def in_parts(files: Sequence[Path], chosen: random.Random, inputs: LogInputs, **options: Any) -> Report:
    """Verifies each file as a part, merges the parts in random order, and returns their report."""
    parts = [verify_part(file, position=at, log=inputs, **options) for at, file in enumerate(files)]
    ways: list[Callable[[Segments], Segments]] = [
        lambda part: part,
        lambda part: pickle.loads(pickle.dumps(part)),
        lambda part: Segments.from_arrow(pa.table(part)),
    ]
    parts = [chosen.choice(ways)(part) for part in parts]
    chosen.shuffle(parts)
    whole = reduce(lambda one, other: merge([one, other]), parts)
    if whole.contested:
        again = verify_part(files, position=0, contested=whole.contested, log=inputs, **options)
        whole = merge([whole, chosen.choice(ways)(again)])
    return whole.report(inputs=len(files), keys=options.get("keys"), log=inputs)


@pytest.mark.parametrize("order", ORDERS)
def test_an_attack_has_the_report_of_one_process(
    order: Order, logged: tuple[Log, dict[str, Any]], tmp_path: Path
) -> None:
    log, files = logged
    chosen, inputs = random.Random(5), LogInputs(**files)
    found = set()
    for case, attack in enumerate([*CATALOGUE.values(), *CATALOGUE.values()]):
        records = list(attack(FLEET).records)
        if order == "sequence" and case % 2:
            chosen.shuffle(records)
        paths = written(tmp_path / str(case), records, chosen)
        options: dict[str, Any] = {"keys": FLEET.keys, "order": order}
        expected = verify_chain(paths, **options, **files)
        found |= set(expected.counts)
        assert in_parts(paths, chosen, inputs, **options).to_json() == expected.to_json(), str(attack)
    assert {"leaf_missing", "not_included", "checkpoint_mismatch", "sequence_gap"} <= found
    assert log.expected(RECORDS) == []


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("attack", LOG_CATALOGUE.values(), ids=str)
def test_an_attack_on_the_log_has_the_report_of_one_process(
    attack: Any, order: Order, tmp_path: Path
) -> None:
    evidence, chosen = attack(FLEET), random.Random(6)
    files = evidence.write(tmp_path / "log")
    paths = written(tmp_path / "records", list(evidence.records), chosen)
    options: dict[str, Any] = {"keys": evidence.keys, "order": order}
    expected = verify_chain(paths, **options, **files)
    inputs = pickle.loads(pickle.dumps(LogInputs(**files)))
    assert expected.counts
    found = in_parts(paths, chosen, inputs, **options)
    assert without_age(found) == without_age(expected)


def without_age(report: Report) -> str:
    """Returns the JSON of a report without the age of a checkpoint, which grows while the test runs."""
    return re.sub(r"\d+ s ago", "s ago", report.to_json())


def test_each_change_is_found(logged: tuple[Log, dict[str, Any]], tmp_path: Path) -> None:
    """A dropped tail, an edited record, a device without records."""
    inputs, chosen = LogInputs(**logged[1]), random.Random(7)
    last = max(range(len(RECORDS)), key=lambda at: (RECORDS[at].device_id, RECORDS[at].sequence))
    edited = dict(RECORDS[5].to_dict(), object_ref="other")
    cases: dict[str, tuple[list[Any], dict[str, int]]] = {
        "sound": (RECORDS, {}),
        "tail": (RECORDS[:last] + RECORDS[last + 1 :], {"leaf_missing": 1}),
        "edited": (
            [*RECORDS[:5], edited, *RECORDS[6:]],
            {"checkpoint_mismatch": 1, "checkpoint_inconsistent": 1},
        ),
        "device": ([record for record in RECORDS if record.device_id != "lift-02"], {"leaf_missing": 1}),
    }
    for name, (records, expected) in cases.items():
        report = in_parts(
            written(tmp_path / name, records, chosen), chosen, inputs, order="sequence", keys=None
        )
        counts = {code: count for code, count in report.counts.items() if code != "prev_hash_mismatch"}
        assert counts == expected, name


def test_rows_of_the_log_are_small_and_checked(logged: tuple[Log, dict[str, Any]]) -> None:
    inputs = LogInputs(**logged[1])
    records = sorted(RECORDS, key=lambda record: record.hash())
    parts = [
        verify_part(records[at::3], position=at, order="sequence", log=inputs, keys=FLEET.keys)
        for at in range(3)
    ]
    rows = pa.concat_tables([pa.table(part) for part in parts])
    assert max(len(state) for state in rows["state"].to_pylist()) <= 250
    report = merge(parts).report(log=inputs, keys=FLEET.keys)
    assert report.ok
    assert Segments.from_arrow(rows).report(log=inputs, keys=FLEET.keys) == report
    without_device = [at for at, device in enumerate(rows["device_id"].to_pylist()) if device is None]
    # A part has its row as a whole, that of its log, and its hashes.
    assert len(without_device) > 9
    for at in without_device:
        kept = [row for row in range(len(rows)) if row != at]
        other = next(row for row in without_device if row != at)
        states = rows["state"].to_pylist()
        states[at] = bytes([*states[at][:-1], states[at][-1] ^ 1])
        damaged = rows.set_column(rows.schema.get_field_index("state"), "state", pa.array(states))
        for table in (rows.take(kept), rows.take([*kept, other]), damaged):
            with pytest.raises((UnreadableError, ValueError)):
                Segments.from_arrow(table).report(log=inputs, keys=FLEET.keys)


def test_parts_are_bound_to_the_checkpoint(logged: tuple[Log, dict[str, Any]], tmp_path: Path) -> None:
    log, files = logged
    inputs = LogInputs(**files)

    def part(at: int, **options: Any) -> Segments:
        return verify_part(RECORDS[at::2], position=at, order="sequence", **options)

    whole = merge([part(0, log=inputs), part(1, log=inputs)])
    assert whole.report(log=inputs).ok
    earlier = write_log(tmp_path / "earlier", checkpoint=log.checkpoint(log.sizes[0]), layout=log.layout)
    longer = tmp_path / "layout"
    longer.write_bytes(log.layout + b"\x01\x01\x7f")
    alone = {name: files[name] for name in ("checkpoint", "policy", "log_layout")}
    others = {
        "the checkpoints of the log differ": LogInputs(**earlier),
        "the earlier checkpoints of the log differ": LogInputs(**alone),
        "the layouts of the log differ": LogInputs(**files | {"log_layout": longer}),
        "only some have a log": None,
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=message):
            merge([part(0, log=inputs), part(1, log=other)])
        with pytest.raises(ValueError, match=message):
            whole.report(log=other)
    with pytest.raises(ValueError, match="only some have a log"):
        merge([part(0), part(1)]).report(log=inputs)
    with_keys = merge([part(at, log=inputs, keys=FLEET.keys) for at in range(2)])
    with pytest.raises(ValueError, match="give the same keys to the report"):
        with_keys.report(log=inputs)
    with pytest.raises(ValueError, match="its keys are not the same"):
        with_keys.report(log=inputs, keys=FLEET.keys.subset(["lift-01"]))


def test_the_inputs_of_the_log_are_read_once(logged: tuple[Log, dict[str, Any]], tmp_path: Path) -> None:
    log, files = logged
    export = tmp_path / "export.ndjson"
    write_records(RECORDS, export)
    beside = {name: files[name] for name in ("checkpoint", "policy")}
    (tmp_path / "export.ndjson.log").write_bytes(log.layout)
    inputs = LogInputs(**beside, source=export, max_age=timedelta(0))
    state = pickle.dumps(inputs)
    (tmp_path / "export.ndjson.log").unlink()
    assert repr(files["checkpoint"])[11:-2] in repr(inputs)
    report = verify_part(export, position=0, log=pickle.loads(state)).report(log=inputs)
    # The age is that at the time of the report.
    assert dict(report.counts) == {"checkpoint_stale": 1}
    covered = report.coverage.log
    assert covered is not None
    assert (covered.compared, covered.records) == (True, len(RECORDS))
    with pytest.raises(UnreadableError, match="LogInputs is damaged"):
        pickle.loads(state.replace(b"EDSLOG1", b"EDSLOG2"))
    with pytest.raises(ValueError, match="the level log needs checkpoint and policy"):
        LogInputs()
    with pytest.raises(ValueError, match="checkpoint and policy belong together"):
        LogInputs(checkpoint=files["checkpoint"])
    with pytest.raises(ConfigError, match="not a layout of a log"):
        LogInputs(**beside, log_layout=files["policy"])
    with pytest.raises(FileNotFoundError):
        LogInputs(**beside, log_layout=tmp_path / "absent")


def test_pushed_records_are_compared_too(logged: tuple[Log, dict[str, Any]]) -> None:
    inputs = LogInputs(**logged[1])
    parts = []
    for number in range(2):
        verifier = Verifier(position=number, order="sequence", log=inputs, keys=KeyRing())
        for record in RECORDS[number::2]:
            verifier.push([record], keys=FLEET.keys.subset([record.device_id]))
        parts.append(verifier.finish())
    report = merge(parts).report(log=inputs, keys=FLEET.keys)
    assert report.ok
    assert report.coverage.log == verify_chain(RECORDS, **logged[1]).coverage.log


def verify_file(numbered: tuple[int, Path], inputs: LogInputs) -> Segments:
    number, file = numbered
    return verify_part(file, position=number, order="sequence", log=inputs, threads=1)


def test_processes_need_no_files_of_the_log(logged: tuple[Log, dict[str, Any]], tmp_path: Path) -> None:
    inputs = LogInputs(**logged[1])
    files = written(tmp_path / "records", RECORDS, random.Random(8))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        whole = merge(pool.map(partial(verify_file, inputs=inputs), enumerate(files)))
    assert whole.report(inputs=len(files), log=inputs).ok


@pytest.mark.parametrize("verify", [lake.verify, edgesentry.dask.verify])
def test_a_lake_has_the_report_of_one_process(
    verify: Callable[..., lake.LakeReport], logged: tuple[Log, dict[str, Any]], tmp_path: Path
) -> None:
    import dask

    files = logged[1]
    chosen = random.Random(9)
    cases: list[list[AuditRecord]] = [RECORDS, [*RECORDS, *RECORDS[20:25]], RECORDS[:-3]]
    with dask.config.set(scheduler="threads"):
        for case, records in enumerate(cases):
            folder = tmp_path / str(case)
            written(folder, chosen.sample(records, len(records)), chosen)
            result = verify(folder, keys=FLEET.keys, **files)
            expected = verify_chain(folder, keys=FLEET.keys, order="sequence", **files)
            assert result.report.to_json() == expected.to_json()
            again = verify(folder, keys=FLEET.keys, since=result.segments, **files)
            assert again.plan.tasks == []
            assert again.report.to_json() == expected.to_json()
            if case == 0:
                assert expected.ok
                with pytest.raises(ValueError, match="only some have a log"):
                    verify(folder, keys=FLEET.keys, since=result.segments)
    with pytest.raises(ValueError, match="checkpoint and policy belong together"):
        verify(tmp_path / "0", checkpoint=files["checkpoint"])
