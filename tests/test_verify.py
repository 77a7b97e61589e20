"""`verify_chain`: verdicts, places of findings, inputs, errors."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesentry import (
    AuditRecord,
    ConfigError,
    Device,
    Head,
    KeyRing,
    Report,
    StoreError,
    UnreadableError,
    VerificationError,
    read_heads,
    read_records,
    verify_chain,
    write_heads,
    write_records,
)
from support import chains, device, key_ring, payload

NUMBERS = {"sequence": 64, "timestamp_ms": 64}
BYTES = {"payload_hash": 256, "signature": 512, "prev_record_hash": 256}
TEXTS = ("device_id", "object_ref")


def found(report: Report) -> list[tuple[str, str | None, int | None]]:
    return [(finding.code, finding.device_id, finding.sequence) for finding in report.findings]


# Exports of devices in the field.


def test_exports_of_the_field_verify_with_the_expected_heads(exports: Path) -> None:
    expected = json.loads((exports / "expected.json").read_text())
    for name, file in expected["files"].items():
        report = verify_chain(exports / name, keys=exports / "keys.json", require="signatures")
        assert report.ok
        assert report.verdict == "valid"
        assert len(report.findings) == 0
        assert report.coverage.records == file["records"]
        assert report.coverage.signatures is not None
        assert report.coverage.signatures.payload_hash == file["records"]
        heads = {device_id: (str(head.sequence), head.hash.hex()) for device_id, head in report.heads.items()}
        assert heads == {
            device_id: (chain["last_sequence"], chain["last_hash"])
            for device_id, chain in file["devices"].items()
        }


def test_the_records_of_the_exports_have_the_expected_hashes(exports: Path) -> None:
    expected = json.loads((exports / "expected.json").read_text())
    for name, file in expected["files"].items():
        last = {record.device_id: record.hash().hex() for record in read_records(exports / name)}
        assert last == {device_id: chain["last_hash"] for device_id, chain in file["devices"].items()}


# Every single bit.


def flips(record: AuditRecord) -> Iterator[tuple[str, AuditRecord]]:
    """Yields every record that differs from this one in one bit of one field."""
    for name, bits in NUMBERS.items():
        for bit in range(bits):
            yield name, record.replace(**{name: getattr(record, name) ^ (1 << bit)})
    for name, bits in BYTES.items():
        for bit in range(bits):
            yield name, record.replace(**{name: flipped(getattr(record, name), bit)})
    for name in TEXTS:
        raw = getattr(record, name).encode()
        for bit in range(8 * len(raw)):
            try:
                yield name, record.replace(**{name: flipped(raw, bit).decode()})
            except UnicodeDecodeError:
                continue


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


@pytest.mark.parametrize("at", range(6))
def test_every_flipped_bit_is_found_at_its_place(at: int) -> None:
    signers = [device(1), device(2)]
    records = chains(signers, 3)
    keys = key_ring(signers)
    heads = verify_chain(records).heads
    original = records[at]
    for field, tampered in flips(original):
        report = verify_chain(
            [*records[:at], tampered, *records[at + 1 :]], keys=keys, heads=heads, threads=1
        )
        assert not report.ok, (field, tampered)
        assert any(finding.index == at for finding in report.findings), (field, tampered, report.summary())
        if field not in ("device_id", "sequence"):
            assert ("signature_invalid", original.device_id, original.sequence) in found(report)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_flipped_bit_is_found_in_every_format(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    signers = [device(number) for number in range(1, data.draw(st.integers(1, 3)) + 1)]
    records = chains(signers, data.draw(st.integers(1, 5)))
    at = data.draw(st.integers(0, len(records) - 1))
    field, bits = data.draw(st.sampled_from(list((NUMBERS | BYTES).items())))
    bit = data.draw(st.integers(0, bits - 1))
    value = getattr(records[at], field)
    changed = value ^ (1 << bit) if isinstance(value, int) else flipped(value, bit)
    tampered = [*records[:at], records[at].replace(**{field: changed}), *records[at + 1 :]]
    suffix = data.draw(st.sampled_from(["json", "ndjson", "json.gz", "ndjson.zst", "arrow", "parquet"]))
    path = tmp_path_factory.mktemp("flip") / f"export.{suffix}"
    write_records(tampered, path)
    report = verify_chain(path, keys=key_ring(signers), threads=data.draw(st.integers(1, 4)))
    assert any(finding.index == at for finding in report.findings)
    assert verify_chain(tampered, keys=key_ring(signers)).counts == report.counts


# Findings, each with its place.


def test_a_sound_input_has_no_findings(records: list[AuditRecord], keys: KeyRing) -> None:
    report = verify_chain(records, keys=keys, heads=verify_chain(records))
    assert report.ok
    assert report.coverage.signatures is not None
    assert report.coverage.signatures.record == len(records)
    assert report.coverage.heads is not None
    assert report.coverage.heads.devices_without == 0
    report.raise_for_findings()


def test_a_changed_record_names_itself_as_the_cause_of_the_broken_link(
    records: list[AuditRecord], keys: KeyRing
) -> None:
    changed = records[30].replace(payload_hash=bytes(32))
    report = verify_chain([*records[:30], changed, *records[31:]], keys=keys)
    signature, link = report.findings
    assert (signature.code, signature.device_id, signature.sequence) == ("signature_invalid", "lift-01", 11)
    assert (signature.index, signature.record, signature.input) == (30, 31, "list")
    assert signature.record_hash == changed.hash().hex()
    assert signature.cause is None
    assert (link.code, link.device_id, link.sequence) == ("prev_hash_mismatch", "lift-01", 12)
    assert link.expected == changed.hash().hex()
    assert link.actual == records[30].hash().hex()
    assert link.cause is not None
    assert (link.cause.code, link.cause.sequence, link.cause.index) == ("signature_invalid", 11, 30)


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (lambda r: r[1:], ("first_record_not_genesis", "lift-01", 2)),
        (lambda r: r[:5] + r[6:], ("sequence_gap", "lift-01", 7)),
        (lambda r: [*r, r[3]], ("sequence_duplicate", "lift-01", 4)),
        (lambda r: [*r, r[3].replace(timestamp_ms=1)], ("fork", "lift-01", 4)),
        (lambda r: [*r[:4], r[5], r[4], *r[6:]], ("sequence_out_of_order", "lift-01", 5)),
        (lambda r: [*r, r[0].replace(device_id="ghost")], ("unknown_device", "ghost", 1)),
        (lambda r: r[:-1], ("head_mismatch", "lift-01", 10)),
    ],
)
def test_a_tampering_is_found_at_its_device_and_sequence(
    tamper: object, expected: tuple[str, str, int]
) -> None:
    assert callable(tamper)
    signer = device(1)
    records = chains([signer], 10)
    report = verify_chain(tamper(records), keys=key_ring([signer]), heads=verify_chain(records))
    assert expected in found(report)


def test_a_device_that_is_left_out_is_missed(records: list[AuditRecord]) -> None:
    rest = [record for record in records if record.device_id != "lift-02"]
    report = verify_chain(rest, heads=verify_chain(records))
    assert found(report) == [("device_missing", "lift-02", 40)]
    assert report.findings[0].index is None


def test_a_key_is_valid_from_its_first_sequence_on() -> None:
    old, new = device(1), Device.from_seed("lift-01", bytes([77] * 32))
    first = chains([old], 3)
    second = new.resume(first[-1]).sign(b"4", "lift-01/4.bin", 4)
    ring = KeyRing({"lift-01": [{"key": old.public_key, "scheme": "record"}]})
    ring.add("lift-01", new.public_key, scheme="record", valid_from=4)
    assert verify_chain([*first, second], keys=ring).ok
    too_late = KeyRing({"lift-01": {"key": old.public_key, "scheme": "record"}})
    too_late.add("lift-01", new.public_key, scheme="record", valid_from=5)
    report = verify_chain([*first, second], keys=too_late)
    assert found(report) == [("key_not_valid_at_sequence", "lift-01", 4)]


def test_payloads_are_hashed_again(tmp_path: Path) -> None:
    signer = device(1)
    records = chains([signer], 4)
    (tmp_path / "lift-01").mkdir()
    for record in records:
        (tmp_path / record.object_ref).write_bytes(payload(record))
    report = verify_chain(records, payloads=tmp_path)
    assert report.ok
    assert report.coverage.payloads is not None
    assert report.coverage.payloads.checked == 4
    (tmp_path / "lift-01" / "2.bin").write_bytes(b"swapped")
    (tmp_path / "lift-01" / "3.bin").unlink()
    assert found(verify_chain(records, payloads=tmp_path)) == [
        ("payload_hash_mismatch", "lift-01", 2),
        ("payload_missing", "lift-01", 3),
    ]
    # A cycle of links leads to no payload.
    (tmp_path / "lift-01" / "3.bin").symlink_to("3.bin")
    assert found(verify_chain(records, payloads=tmp_path)) == [
        ("payload_hash_mismatch", "lift-01", 2),
        ("payload_missing", "lift-01", 3),
    ]


def test_a_payload_that_cannot_be_read_is_an_error() -> None:
    # Even root cannot read it.
    record = AuditRecord.from_dict({**chains([device(1)], 1)[0].to_dict(), "object_ref": "mem"})
    with pytest.raises(StoreError, match=r"sequence 1 at .*mem"):
        verify_chain([record], payloads=Path("/proc/self"))


def test_a_range_is_verified_against_its_start_heads() -> None:
    records = chains([device(1)], 6)
    assert found(verify_chain(records[3:])) == [("first_record_not_genesis", "lift-01", 4)]
    start = {"lift-01": Head(3, records[2].hash())}
    assert verify_chain(records[3:], start_heads=start).ok
    assert not verify_chain(records[4:], start_heads=start).ok


def test_all_findings_are_counted_and_some_are_kept(records: list[AuditRecord], keys: KeyRing) -> None:
    bad = [record.replace(signature=bytes(64)) for record in records]
    report = verify_chain(bad, keys=keys, max_findings=10)
    assert len(report.findings) == 10
    assert report.counts["signature_invalid"] == len(records)
    assert sum(report.counts.values()) == report.findings_omitted + 10


# Nothing to verify never counts as valid.


@pytest.mark.parametrize("source", [[], (), b"", b"[]", b"\n", iter([])])
def test_nothing_to_verify_is_not_ok(source: bytes, keys: KeyRing) -> None:
    report = verify_chain(source, keys=keys)
    assert not report.ok
    assert report.verdict == "nothing_to_verify"
    with pytest.raises(VerificationError, match="nothing to verify") as caught:
        report.raise_for_findings()
    assert caught.value.report is report


# Sources.


def test_all_kinds_of_sources_give_one_verdict(
    tmp_path: Path, records: list[AuditRecord], keys: KeyRing
) -> None:
    path = tmp_path / "export.json"
    write_records(records, path)
    raw = path.read_bytes()
    expected = verify_chain(records, keys=keys)
    with path.open("rb") as file:
        assert verify_chain(file, keys=keys).heads == expected.heads
    for source in (
        path,
        str(path),
        [path],
        (str(path),),
        raw,
        bytearray(raw),
        memoryview(raw),
        io.BytesIO(raw),
        tuple(records),
        iter(records),
        (record for record in records),
        [record.to_dict() for record in records],
        json.loads(raw),
        read_records(path),
    ):
        report = verify_chain(source, keys=keys)
        assert report.ok, source
        assert report.heads == expected.heads
    assert verify_chain(path).inputs[0].name == str(path)
    assert verify_chain(path).inputs[0].format == "json"
    assert verify_chain(path).inputs[0].bytes == len(raw)


def test_a_chain_continues_from_one_file_to_the_next(tmp_path: Path, records: list[AuditRecord]) -> None:
    names = [tmp_path / "a.json", tmp_path / "b.ndjson.gz", tmp_path / "c.parquet"]
    for at, name in enumerate(names):
        assert write_records(records[40 * at : 40 * at + 40], name) == 40
    report = verify_chain(names)
    assert report.ok
    assert [part.entries for part in report.inputs] == [40, 40, 40]
    swapped = verify_chain([names[0], names[2], names[1]])
    assert not swapped.ok
    assert swapped.findings[0].input == str(names[2])
    assert swapped.findings[0].record == 1


def test_a_malformed_entry_is_a_finding(records: list[AuditRecord]) -> None:
    lines = [json.dumps(record.to_dict()) for record in records[:3]]
    report = verify_chain("\n".join([lines[0], '{"device_id": 1}', lines[1], lines[2]]).encode())
    finding = report.findings[0]
    assert (finding.code, finding.index, finding.device_id) == ("record_malformed", 1, None)
    assert "line 2" in finding.actual
    assert report.coverage.malformed == 1


def test_errors_of_an_iterable_are_raised_unchanged(records: list[AuditRecord]) -> None:
    class Broken(Exception):
        pass

    def broken() -> Iterator[AuditRecord]:
        yield from records
        raise Broken

    with pytest.raises(Broken):
        verify_chain(broken())

    class File:
        def read(self, size: int) -> bytes:
            raise Broken

    with pytest.raises(Broken):
        verify_chain(File())


def test_python_objects_are_read_by_the_calling_thread(records: list[AuditRecord]) -> None:
    threads = set()

    def watched() -> Iterator[AuditRecord]:
        for record in records:
            threads.add(threading.get_ident())
            yield record

    assert verify_chain(watched()).ok
    assert threads == {threading.get_ident()}


# Errors, each with its type.


def test_a_missing_file_is_file_not_found(tmp_path: Path, records: list[AuditRecord]) -> None:
    missing = tmp_path / "missing"
    for call in (
        lambda: verify_chain(missing),
        lambda: verify_chain(records, keys=missing),
        lambda: verify_chain(records, heads=missing),
        lambda: verify_chain(records, payloads=missing),
        lambda: read_records(missing),
        lambda: read_heads(missing),
        lambda: KeyRing(missing),
        lambda: Device.from_seed_file("lift-01", missing),
        lambda: write_records(records, missing / "export.json"),
    ):
        with pytest.raises(FileNotFoundError, match="missing"):
            call()


@pytest.mark.parametrize("source", [5, None, {"a": 1}, [1], object()])
def test_an_unsupported_source_is_a_type_error(source: bytes) -> None:
    with pytest.raises(TypeError):
        verify_chain(source)


def test_a_file_in_text_mode_is_a_type_error(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text("[]")
    with path.open() as file, pytest.raises(TypeError, match="binary mode"):
        verify_chain(file)  # type: ignore[arg-type]


def test_a_list_is_of_paths_or_of_records(tmp_path: Path, records: list[AuditRecord]) -> None:
    path = tmp_path / "export.json"
    write_records(records, path)
    with pytest.raises(TypeError, match="item 1"):
        verify_chain([path, records[0]])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="record 1 of the iterable"):
        verify_chain([records[0], path])  # type: ignore[arg-type]


def test_bad_arguments_are_value_errors(records: list[AuditRecord], tmp_path: Path) -> None:
    for arguments in (
        {"scheme": "ed25519"},
        {"require": "payloads"},
        {"require": ["heads"]},
        {"require": "links"},
        {"threads": 0},
        {"threads": 100_000},
        {"threads": -1},
        {"max_findings": -1},
    ):
        with pytest.raises(ValueError, match=r".+"):
            verify_chain(records, **arguments)
    with pytest.raises(ValueError, match="is empty"):
        verify_chain("")
    with pytest.raises(UnreadableError):
        verify_chain(b"hello")
    with pytest.raises(UnreadableError, match="has no files"):
        verify_chain(tmp_path)


def test_weak_and_malformed_keys_are_config_errors(records: list[AuditRecord]) -> None:
    for key in ("00" * 32, "01" + "00" * 31, "ff" * 32, "ab", ""):
        with pytest.raises(ConfigError, match="lift-01"):
            verify_chain(records, keys={"lift-01": key})
    with pytest.raises(TypeError):
        verify_chain(records, keys={1: "00" * 32})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        verify_chain(records, keys=5)  # type: ignore[arg-type]


# Reports.


def test_a_report_is_the_same_in_every_form(records: list[AuditRecord], keys: KeyRing) -> None:
    hostile = "<script>alert(1)</script>\u202e"
    report = verify_chain([*records, records[0].replace(device_id=hostile)], keys=keys)
    as_dict = report.to_dict()
    assert json.loads(report.to_json()) == as_dict
    assert json.loads(report.to_json(indent=2)) == as_dict
    assert as_dict["verdict"] == "findings"
    assert as_dict["counts"] == report.counts
    assert as_dict["findings"] == [finding.to_dict() for finding in report.findings]
    assert "FINDINGS" in report.summary()
    assert "\x1b" not in report.summary()
    html = report._repr_html_()
    assert "<script>alert" not in html
    assert html.count("<script") == html.count("</script>") == 2
    assert "\u202e" not in html
    assert "&lt;script&gt;" in html
    assert "http" not in html
    assert report == verify_chain([*records, records[0].replace(device_id=hostile)], keys=keys)
    assert report != verify_chain(records)
    with pytest.raises(VerificationError, match="1 unknown_device"):
        report.raise_for_findings()


def test_findings_are_a_sequence(records: list[AuditRecord]) -> None:
    report = verify_chain([record.replace(prev_record_hash=bytes([1] * 32)) for record in records])
    findings = report.findings
    listed = list(findings)
    assert len(findings) == len(listed) == len(records)
    assert findings[0] == listed[0]
    assert findings[-1] == listed[-1]
    assert list(findings[5:9]) == listed[5:9]
    assert list(findings[5:9][1:]) == listed[6:9]
    assert list(reversed(findings)) == listed[::-1]
    assert listed[7] in findings
    assert findings.index(listed[7]) == 7
    assert findings.count(listed[7]) == 1
    assert listed[7] not in findings[:7]
    assert len(set(listed)) == len(listed)
    with pytest.raises(IndexError):
        findings[len(listed)]
    with pytest.raises(TypeError):
        findings["0"]  # type: ignore[call-overload]


def test_heads_go_to_a_file_and_back(tmp_path: Path, records: list[AuditRecord]) -> None:
    report = verify_chain(records)
    path = tmp_path / "heads.json"
    write_heads(report, path)
    assert read_heads(path) == report.heads
    assert verify_chain(records, heads=path).ok
    assert verify_chain(records, heads=report.heads).ok
    assert verify_chain(records, heads={name: head.to_dict() for name, head in report.heads.items()}).ok
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"heads\.json"):
        read_heads(path)


# Threads and processes.


def test_other_threads_run_while_a_verification_does(long_export: Path) -> None:
    done = threading.Event()
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        before = ticks
        # One call of native code; a held GIL would stop the ticker.
        verify_chain([long_export] * 60, keys=key_ring([device(9)]))
        during = ticks - before
    finally:
        done.set()
        ticker.join()
    assert during > 20


def test_verifications_run_side_by_side(records: list[AuditRecord], keys: KeyRing) -> None:
    with ThreadPoolExecutor(8) as pool:
        reports = pool.map(lambda _: verify_chain(iter(records), keys=keys), range(40))
        assert all(report.ok for report in reports)


def verdict_of(path: Path) -> bool:
    return verify_chain(path).ok


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_verifies_too(long_export: Path) -> None:
    assert verdict_of(long_export)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(verdict_of, [long_export] * 4).get(timeout=120) == [True] * 4


THREADS = """
import os, sys, time, edgesentry
from pathlib import Path

def working():
    names = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    return sum(name.removeprefix("edgesentry-").isdigit() for name in names)

def records():
    # The threads are there before a record is asked for, and take their names soon.
    time.sleep(0.5)
    print(working())
    yield from edgesentry.read_records(sys.argv[1])

edgesentry.verify_chain(records(), threads=eval(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("variables", "argument", "expected"),
    [
        ({"OMP_NUM_THREADS": "1"}, None, 1),
        ({"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "3"}, None, 3),
        ({"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "3"}, 2, 2),
    ],
)
def test_the_environment_sets_the_threads(
    long_export: Path, variables: dict[str, str], argument: int | None, expected: int
) -> None:
    command = [sys.executable, "-c", THREADS, str(long_export), repr(argument)]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ended = subprocess.run(
        command, env={**environment, **variables}, capture_output=True, text=True, check=True
    )
    assert int(ended.stdout) == expected
