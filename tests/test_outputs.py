"""Outputs from Python: never over an input, complete or not at all, heads only by heads that extend them."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

import edgesentry
from edgesentry import (
    AuditRecord,
    ConfigError,
    Device,
    HeadsRewrittenError,
    VerificationError,
    read_heads,
    read_records,
    verify_chain,
    write_heads,
    write_records,
)


def chain(count: int, device_id: str = "lift-01") -> list[AuditRecord]:
    device = Device.from_seed(device_id, bytes(32))
    return [device.sign(f"door {n}".encode(), f"{device_id}/{n}.bin", n) for n in range(1, count + 1)]


def test_no_output_replaces_an_input(tmp_path: Path) -> None:
    jan, link, hard = tmp_path / "jan.ndjson", tmp_path / "link.ndjson", tmp_path / "hard.ndjson"
    write_records(chain(5), jan)
    link.symlink_to(jan)
    hard.hardlink_to(jan)
    before = jan.read_bytes()
    for target in (jan, link, hard, tmp_path / "." / "jan.ndjson"):
        with pytest.raises(ValueError, match="name another file"):
            write_records(str(jan), target)
        with jan.open("rb") as file, pytest.raises(ValueError, match="name another file"):
            write_records(file, target)
        with pytest.raises(ValueError, match="name another file"):
            write_heads(verify_chain(jan), target, records=jan)
    assert jan.read_bytes() == before


def test_no_output_replaces_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    with edgesentry.open(f"sqlite:{path}") as ledger:
        ledger.register_device("lift-01", Device.from_seed("lift-01", bytes(32)).public_key)
        for record, payload in zip(chain(3), (f"door {n}".encode() for n in range(1, 4)), strict=True):
            assert ledger.ingest(record, payload).ok
        for write in (
            lambda target: ledger.export(target),
            lambda target: write_records(ledger.records(), target),
            lambda target: write_heads(ledger, target),
            lambda target: edgesentry.KeyRing().save(target),
        ):
            with pytest.raises(ValueError, match="belongs to a database"):
                write(path)
        with pytest.raises(ValueError, match="belongs to a database"):
            write_heads(ledger, tmp_path / "ledger.ndjson-wal")
        assert ledger.verify().ok


def test_files_of_the_service_and_the_device_are_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        edgesentry.open(f"sqlite:{tmp_path / 'ledger.db'}").close()
        edgesentry.Outbox(tmp_path / "outbox.db", Device.generate("lift-01")).close()
        write_records(chain(1), tmp_path / "export.json")
    finally:
        os.umask(before)
    mode = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert {name: mode[name] for name in ("ledger.db", "outbox.db", "export.json")} == {
        "ledger.db": 0o600,
        "outbox.db": 0o600,
        "export.json": 0o644,
    }


def test_a_seed_that_could_not_be_saved_can_be_saved_again(tmp_path: Path) -> None:
    device = Device.generate("lift-01")
    with pytest.raises(FileNotFoundError):
        device.save_seed(tmp_path / "keys" / "lift.seed")
    (tmp_path / "keys").mkdir()
    device.save_seed(tmp_path / "keys" / "lift.seed")
    with pytest.raises(FileExistsError):
        device.save_seed(tmp_path / "keys" / "lift.seed")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["lift.seed"]


def test_heads_are_replaced_by_heads_that_extend_them(tmp_path: Path) -> None:
    heads, records = tmp_path / "heads.json", chain(9)
    write_heads(verify_chain(records[:3]), heads)
    write_heads(verify_chain(records[:3]), heads)
    with pytest.raises(ConfigError, match="records="):
        write_heads(verify_chain(records), heads)
    write_heads(verify_chain(records), heads, records=records)
    assert read_heads(heads)["lift-01"].sequence == 9
    assert len(list((tmp_path / "heads.d").iterdir())) == 2

    trusted = heads.read_text()
    with pytest.raises(HeadsRewrittenError, match="nothing was replaced") as cut:
        write_heads(verify_chain(records[:5]), heads, records=records[:5])
    assert [finding.code for finding in cut.value.findings] == ["head_mismatch"]
    with pytest.raises(HeadsRewrittenError):
        write_heads(verify_chain(records[:5]), heads)
    other = chain(9, "lift-02")
    with pytest.raises(HeadsRewrittenError, match="device_missing"):
        write_heads(verify_chain(other), heads, records=other)
    with pytest.raises(VerificationError):
        write_heads(verify_chain(records + other[1:]).heads, heads, records=records + other[1:])
    with pytest.raises(ConfigError, match="not the last record"):
        write_heads(verify_chain(records[:5]), heads, records=records)
    assert heads.read_text() == trusted

    write_heads(verify_chain(records[:5]), heads, records=records[:5], accept_rewrite="restored to noon")
    assert read_heads(heads)["lift-01"].sequence == 5
    kept = [path.read_text() for path in (tmp_path / "heads.d").glob("*.json")]
    assert len(kept) == 3
    assert trusted in kept
    assert "restored to noon" in (tmp_path / "heads.d" / "rewrites.ndjson").read_text()


def test_heads_of_a_ledger_are_held_against_its_records(tmp_path: Path) -> None:
    heads, history = tmp_path / "heads.json", tmp_path / "history"
    history.mkdir()
    with edgesentry.open(f"sqlite:{tmp_path / 'ledger.db'}") as ledger:
        ledger.register_device("lift-01", Device.from_seed("lift-01", bytes(32)).public_key)
        for at, record in enumerate(chain(6), start=1):
            assert ledger.ingest(record, f"door {at}".encode()).ok
            write_heads(ledger, heads, history=history)
        with pytest.raises(TypeError, match="leave out records"):
            write_heads(ledger, heads, records=chain(6))
    assert read_heads(heads)["lift-01"].sequence == 6
    assert len(list(history.glob("*.json"))) == 6


def test_a_snapshot_that_cannot_be_read_stays(tmp_path: Path) -> None:
    heads = tmp_path / "heads.json"
    heads.write_text('{"version": 1, "he')
    with pytest.raises(ConfigError, match="nothing was replaced"):
        write_heads(verify_chain(chain(3)), heads)
    assert heads.read_text() == '{"version": 1, "he'


def test_streams_are_written_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.ndjson"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    write_records(chain(3), fifo)
    reader.join()
    (tmp_path / "copy.ndjson").write_bytes(read[0])
    assert list(read_records(tmp_path / "copy.ndjson")) == chain(3)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
