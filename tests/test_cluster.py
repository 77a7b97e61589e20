"""Parts of a run: segments travel between processes and engines, and give the report of one process."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial, reduce
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pytest

from edgesentry import (
    AuditRecord,
    ConfigError,
    Head,
    KeyRing,
    Report,
    Segments,
    UnreadableError,
    Verifier,
    merge,
    verify_chain,
    verify_part,
    write_records,
)
from edgesentry._core import PackedHeads, PackedKeys
from edgesentry._typing import Order
from edgesentry.testing import CATALOGUE, make_fleet
from support import chains, device, key_ring

FLEET = make_fleet(devices=4, records=40, seed=3)
RECORDS = list(FLEET.records)
ORDERS: list[Order] = ["position", "sequence"]
FIELDS = (
    "device_id",
    "sequence",
    "timestamp_ms",
    "payload_hash",
    "signature",
    "prev_record_hash",
    "object_ref",
)
CASES = int(os.environ.get("EDGESENTRY_PART_CASES", "32"))


def cut(records: Sequence[AuditRecord], chosen: random.Random) -> list[list[AuditRecord]]:
    cuts = sorted(chosen.randrange(len(records) + 1) for _ in range(chosen.randrange(8)))
    return [list(records[start:end]) for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True)]


def settled(whole: Segments, files: Sequence[Path], **options: Any) -> Segments:
    """Verifies contested records again."""
    if not whole.contested:
        return whole
    with pytest.raises(ValueError, match="contested, first "):
        whole.report()
    again = verify_part(files, position=0, contested=whole.contested, **options)
    return merge([again, whole])


def plain(report: Report) -> dict[str, Any]:
    """Returns a report without the places in the inputs."""
    fields: dict[str, Any] = json.loads(report.to_json())
    del fields["inputs"]
    for finding in fields["findings"]:
        del finding["index"], finding["location"]
        finding["cause"] = finding["cause"] and (finding["cause"]["code"], finding["cause"]["sequence"])
    fields["findings"].sort(key=json.dumps)
    return fields


@pytest.mark.parametrize("order", ORDERS)
def test_any_cut_gives_the_report_of_one_process(tmp_path: Path, order: Order) -> None:
    chosen = random.Random(11)
    attacks = list(CATALOGUE.values())
    for case in range(CASES):
        tampered = list(attacks[case % len(attacks)](FLEET).records)
        if order == "sequence":
            chosen.shuffle(tampered)
        pieces = cut(tampered, chosen)
        files = [tmp_path / f"{case}-{number}.ndjson" for number in range(len(pieces))]
        for file, piece in zip(files, pieces, strict=True):
            write_records(piece, file)
        options: dict[str, Any] = {"keys": FLEET.keys, "order": order}
        parts = [verify_part(file, position=number, **options) for number, file in enumerate(files)]
        parts = [pickle.loads(pickle.dumps(part)) for part in parts]
        chosen.shuffle(parts)
        whole = reduce(lambda one, other: merge([one, other]), parts)
        report = settled(whole, files, **options).report(inputs=len(files))
        assert report.to_json() == verify_chain(files, **options).to_json()
        if order == "sequence":
            fields = (
                "sequence",
                "timestamp_ms",
                "payload_hash",
                "signature",
                "prev_record_hash",
                "object_ref",
            )
            table = sorted(
                tampered, key=lambda record: (record.device_id, *(getattr(record, name) for name in fields))
            )
            assert plain(report) == plain(verify_chain(table, keys=FLEET.keys))
        for file in files:
            file.unlink()


def verify_file(numbered: tuple[int, Path], keys: KeyRing, order: Order) -> Segments:
    number, file = numbered
    return verify_part(file, position=number, keys=keys, order=order, threads=1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_pool_verifies_files(tmp_path: Path, method: Literal["fork", "spawn"]) -> None:
    files = [tmp_path / f"{number}.parquet" for number in range(4)]
    for number, file in enumerate(files):
        write_records(RECORDS[number * 40 : number * 40 + 40], file)
    call = partial(verify_file, keys=FLEET.keys, order="position")
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        report = merge(pool.map(call, enumerate(files))).report(inputs=4)
    assert report == verify_chain(files, keys=FLEET.keys)
    assert report.ok


def grouped(records: list[AuditRecord]) -> list[list[AuditRecord]]:
    """Returns two halves, each with whole devices in the order of another."""
    ids = sorted({record.device_id for record in records})
    return [[record for record in records if record.device_id in half] for half in (ids[2:], ids[:2])]


@pytest.mark.parametrize(
    "scattered",
    [
        lambda records, _: [records[::-1]],
        lambda records, _: [records[60:], records[:60]],
        lambda records, chosen: [chosen.sample(records, len(records))],
        lambda records, chosen: cut(chosen.sample(records, len(records)), chosen),
        lambda records, _: [records[number::4] for number in range(4)],
        lambda records, _: grouped(records),
        lambda records, _: [[record] for record in records],
    ],
)
def test_intact_records_in_any_order_are_never_accused(
    scattered: Callable[[list[AuditRecord], random.Random], list[list[AuditRecord]]],
) -> None:
    pieces = scattered(RECORDS, random.Random(5))
    heads = verify_chain(RECORDS).heads
    parts = [
        verify_part(piece, position=number, keys=FLEET.keys, heads=heads, order="sequence")
        for number, piece in enumerate(pieces)
    ]
    whole = merge(parts)
    assert whole.contested == {}
    report = whole.report(heads=heads, inputs=len(pieces))
    assert report.ok, report.summary()
    rows = [record for piece in pieces for record in piece]
    assert verify_chain(rows, keys=FLEET.keys, heads=heads, order="sequence").ok
    assert verify_chain(pa.table(pl.DataFrame([row.to_dict() for row in rows])), order="sequence").ok


def test_repetitions_that_cannot_be_read_again_are_an_error() -> None:
    lift = device(1)
    chain = chains([lift], 70_000)
    with pytest.raises(UnreadableError, match="only files can be; write the records to a file"):
        verify_chain(iter([*chain, *chain[:10]]), order="sequence")


def test_counts_do_not_depend_on_the_limit_or_the_cut() -> None:
    tampered = [*RECORDS[:50], *RECORDS[20:90], *RECORDS[100:]]
    expected = verify_chain(tampered, keys=FLEET.keys).counts
    for most in (0, 1, 10, 10**6):
        parts = [
            verify_part(tampered, position=0, keys=FLEET.keys, max_findings=most, threads=threads)
            for threads in (1, 2)
        ]
        for part in parts:
            report = merge([part]).report()
            assert report.counts == expected
            assert len(report.findings) == min(most, sum(expected.values()))


def test_segments_are_a_table() -> None:
    size = -(-len(RECORDS) // 4)
    pieces = [RECORDS[at : at + size] for at in range(0, len(RECORDS), size)]
    parts = [verify_part(piece, position=at, keys=FLEET.keys) for at, piece in enumerate(pieces)]
    tables = [pa.table(part) for part in parts]
    assert tables[0].schema.names == [
        "device_id",
        "first_sequence",
        "last_sequence",
        "records",
        "findings",
        "state",
    ]
    assert {str(kind) for kind in tables[0].schema.types} == {"string", "int64", "binary"}
    for table in tables:
        of_devices = table.filter(pa.compute.is_valid(table["device_id"]))
        assert of_devices.nbytes / of_devices.num_rows <= 250
    rows = pa.concat_tables(tables).to_pylist()
    random.Random(2).shuffle(rows)
    shuffled = pa.Table.from_pylist(rows, schema=tables[0].schema)
    for table in (shuffled, pl.DataFrame(shuffled), pa.table(pl.DataFrame(shuffled))):
        assert Segments.from_arrow(table) == merge(parts)
    whole = merge(parts)
    assert (whole.records, whole.devices, whole.order) == (len(RECORDS), 4, "position")
    assert list(whole.inputs) == [0, 1, 2, 3]
    assert repr(whole).startswith("<Segments of 4 inputs: ")
    for bad in (shuffled[1:], pa.concat_tables([shuffled, shuffled[:1]])):
        with pytest.raises(UnreadableError):
            Segments.from_arrow(bad)
    damaged = shuffled.set_column(
        5, "state", [[bytes([*row["state"][:-1], 255 - row["state"][-1]]) for row in rows]]
    )
    with pytest.raises(UnreadableError, match="row 1 of the segments is damaged"):
        Segments.from_arrow(damaged)
    with pytest.raises(UnreadableError, match="column state is missing"):
        Segments.from_arrow(shuffled.drop_columns("state"))
    with pytest.raises(TypeError, match="segments come from an object with __arrow_c_stream__"):
        Segments.from_arrow(5)  # type: ignore[arg-type]


def test_parts_of_different_runs_are_refused() -> None:
    part = verify_part(RECORDS[:50], position=0, keys=FLEET.keys)
    others: list[tuple[Segments, str]] = [
        (part, "input 0 is in two parts"),
        (verify_part(RECORDS[50:], position=1), "the levels or providers of keys differ"),
        (verify_part(RECORDS[50:], position=1, keys=FLEET.keys, order="sequence"), "the orders differ"),
        (verify_part(RECORDS[50:], position=1, keys=FLEET.keys, max_findings=5), "max_findings differ"),
        (
            verify_part(RECORDS[50:], position=1, keys=FLEET.keys.subset(["lift-01"])),
            "its keys are not the same in all parts",
        ),
    ]
    for other, message in others:
        with pytest.raises(ValueError, match=message):
            merge([part, other])
    with pytest.raises(ValueError, match="input 1 is in no part"):
        merge([part, verify_part(RECORDS[50:], position=2, keys=FLEET.keys)]).report()
    with pytest.raises(ValueError, match="1 inputs, expected 2"):
        part.report(inputs=2)
    headed = verify_part(RECORDS[:50], position=0, heads=verify_chain(RECORDS).heads)
    with pytest.raises(ValueError, match="its heads are not the same"):
        headed.report(heads=verify_chain(RECORDS[:50]).heads)
    with pytest.raises(ValueError, match="no parts to merge"):
        merge([])
    with pytest.raises(TypeError, match="item 1 of the parts is dict, not Segments"):
        merge([part, {}])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="unknown order"):
        verify_part(RECORDS, position=0, order="time")  # type: ignore[arg-type]
    with pytest.raises(UnreadableError, match="a position is above"):
        verify_part(RECORDS, position=2**40)


def test_records_are_pushed() -> None:
    verifier = Verifier(position=0, keys=FLEET.keys, name="stream", threads=1)
    for at in range(0, len(RECORDS), 17):
        verifier.push(RECORDS[at : at + 17])
    report = verifier.finish().report()
    assert report.ok
    assert report.heads == verify_chain(RECORDS).heads
    assert report.inputs[0].name == "stream"
    with pytest.raises(ValueError, match="has ended"):
        verifier.finish()
    failed = Verifier(position=0)
    failed.push(RECORDS[:5])
    with pytest.raises(UnreadableError):
        failed.push(b"\x00 no export")
    with pytest.raises(ValueError, match="failed"):
        failed.finish()


def test_keys_come_with_the_records_of_their_devices() -> None:
    ids = FLEET.keys.devices
    packed = PackedKeys(FLEET.keys)
    assert pickle.loads(pickle.dumps(packed)).of_devices(set(ids)) == FLEET.keys
    assert packed.of_devices({ids[0], "lift-99"}) == FLEET.keys.subset(ids[:1])
    assert "of_devices" not in repr(packed)
    pickled = pickle.dumps(packed, protocol=4)
    # In the keys, whose bytes end shortly before the pickle does.
    for at in (20, 100):
        damaged = bytearray(pickled)
        damaged[-at] ^= 1
        with pytest.raises(UnreadableError, match="the pickle of a PackedKeys is damaged"):
            pickle.loads(bytes(damaged))

    for order in ORDERS:
        verifier = Verifier(position=0, keys=KeyRing(), order=order)
        for device_id in ids:
            rows = [record for record in RECORDS if record.device_id == device_id]
            for half in (rows[:20], rows[20:]):
                verifier.push(half, keys=packed.of_devices({device_id}))
        whole = merge([verifier.finish()])
        assert whole.report().ok
        signatures = whole.report().coverage.signatures
        assert signatures is not None
        assert (signatures.record, signatures.unchecked) == (len(RECORDS), 0)

        # Keys after records of their device would leave some of them without.
        for halves in ((RECORDS[:48], RECORDS[48:]), (RECORDS[48:], RECORDS[:48])):
            late = Verifier(position=0, keys=KeyRing(), order=order)
            late.push(halves[0])
            late.push(halves[1], keys=FLEET.keys)
            with pytest.raises(ValueError, match="its keys are not the same"):
                late.finish()
    other = Verifier(position=0, keys=FLEET.keys)
    with pytest.raises(ValueError, match='device "lift-01": its keys differ from those of an earlier batch'):
        other.push(RECORDS, keys=KeyRing({"lift-01": FLEET.keys["lift-02"][0]["key"]}))
    with pytest.raises(ValueError, match="keys of a batch need keys="):
        Verifier(position=0).push(RECORDS, keys=FLEET.keys)


def test_heads_come_with_the_records_of_their_devices() -> None:
    ids = FLEET.keys.devices
    # Of the middle of the chains, so that a part compares them with its records.
    heads = verify_chain([record for record in RECORDS if record.sequence <= 20]).heads
    packed = PackedHeads(heads)
    assert pickle.loads(pickle.dumps(packed)).of_devices(set(ids)).__reduce__() == packed.__reduce__()
    assert len(repr(packed.of_devices({ids[0], "lift-99"}))) < len(repr(packed)) + 1
    damaged = bytearray(pickle.dumps(packed, protocol=4))
    damaged[-40] ^= 1
    with pytest.raises(UnreadableError, match="the pickle of a PackedHeads is damaged"):
        pickle.loads(bytes(damaged))

    wrong = {**heads, ids[1]: Head(20, bytes(32))}
    for order in ORDERS:
        for given, counts in ((heads, {}), (wrong, {"head_mismatch": 1})):
            expected = verify_chain(RECORDS, heads=given, order=order)
            assert expected.counts == counts
            verifier = Verifier(position=0, heads={}, order=order, name=expected.inputs[0].name)
            for device_id in ids:
                rows = [record for record in RECORDS if record.device_id == device_id]
                for half in (rows[:20], rows[20:]):
                    verifier.push(half, heads=PackedHeads(given).of_devices({device_id}))
            report = merge([verifier.finish()]).report(heads=given)
            assert report.counts == counts
            assert report.coverage.heads == expected.coverage.heads

        # A head after the record that it is about would not be compared.
        late = Verifier(position=0, heads={}, order=order)
        late.push(RECORDS[:100])
        late.push(RECORDS[100:], heads=heads)
        with pytest.raises(ValueError, match="its heads are not the same"):
            late.finish()
    other = Verifier(position=0, heads=heads)
    with pytest.raises(ValueError, match='device "lift-02": its head differs from that of an earlier batch'):
        other.push(RECORDS, heads=wrong)
    with pytest.raises(ValueError, match="heads of a batch need heads="):
        Verifier(position=0).push(RECORDS, heads=heads)


def test_keys_and_heads_are_tables() -> None:
    ids = FLEET.keys.devices
    rows = [(name, key) for name in ids for key in FLEET.keys[name]]
    columns: dict[str, Any] = {
        "device_id": [name for name, _ in rows],
        "key": [key["key"] for _, key in rows],
        "scheme": [key["scheme"] for _, key in rows],
        "valid_from": [key["valid_from"] for _, key in rows],
    }
    assert KeyRing.from_arrow(pa.table(columns)) == FLEET.keys
    raw = {**columns, "key": [bytes.fromhex(key["key"]) for _, key in rows]}
    assert KeyRing.from_arrow(pl.DataFrame(raw)) == FLEET.keys
    plain = pa.table({name: raw[name][:1] for name in ("device_id", "key")})
    assert KeyRing.from_arrow(plain).keys(ids[0]) == [{**FLEET.keys[ids[0]][0], "valid_from": 1}]
    for bad, message in [
        ({**raw, "key": [bytes(32)] * len(rows)}, 'row 1: device "lift-01": weak key'),
        ({**raw, "key": [b"short"] * len(rows)}, "row 1: key has 5 bytes, expected 32"),
        ({**raw, "scheme": ["best"] * len(rows)}, 'row 1: device "lift-01": unknown signature scheme'),
    ]:
        with pytest.raises(ConfigError, match=message):
            KeyRing.from_arrow(pa.table(bad))
    row = {"device_id": ids[:1], "key": columns["key"][:1]}
    first = pa.table(row)
    for name, value, message in [
        ("key", "not hex", "keys: row 3: key is not hex digits"),
        ("key", None, "keys: row 3: key is null"),
        ("device_id", None, "keys: row 3: device_id is null"),
    ]:
        last = pa.table({**row, name: [value]}, schema=first.schema)
        with pytest.raises(UnreadableError, match=message):
            KeyRing.from_arrow(pa.concat_tables([first, first, last]))
    with pytest.raises(UnreadableError, match="column key is missing"):
        KeyRing.from_arrow(pa.table({"device_id": ids}))
    subset = FLEET.keys.subset([*ids[:2], "lift-99"])
    assert subset.devices == ids[:2]
    assert pickle.loads(pickle.dumps(subset)) == subset

    heads = pa.table(merge([verify_part(RECORDS, position=0)]).heads_table())
    assert heads.schema.field("sequence").type == pa.int64()
    report = verify_chain(RECORDS, heads=heads)
    assert report.ok
    assert report.coverage.heads is not None
    assert report.coverage.heads.trusted == 4
    with pytest.raises(ConfigError, match="has a head before"):
        verify_chain(RECORDS, heads=pa.concat_tables([heads, heads]))


def test_a_worker_of_an_engine_uses_one_thread() -> None:
    """Engines set OMP_NUM_THREADS=1 in their Python workers."""
    script = (
        "import os, edgesentry\n"
        "verifier = edgesentry.Verifier(position=0)\n"
        "def named():\n"
        "    tasks = os.listdir('/proc/self/task')\n"
        "    names = [open(f'/proc/self/task/{task}/comm').read() for task in tasks]\n"
        "    return sum(name.startswith('edgesentry-') for name in names)\n"
        "# A thread sets its name when it starts.\n"
        "while not named():\n"
        "    pass\n"
        "print(named())\n"
    )
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    variables.pop("RAYON_NUM_THREADS", None)
    output = subprocess.run(
        [sys.executable, "-c", script], env=variables, capture_output=True, check=True, text=True, timeout=60
    )
    assert int(output.stdout) == 1


def test_a_changed_key_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key_ring([device(1)]).save(path)
    records = chains([device(1)], 3)
    assert verify_chain(records, keys=path).ok
    assert verify_chain(records, keys=path).ok
    key_ring([device(2)]).save(path)
    assert verify_chain(records, keys=path).counts == {"unknown_device": 1}
