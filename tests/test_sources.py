"""Sources and keys in common forms: accepted, or refused in a sentence with the alternative."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet.encryption import (
    CryptoFactory,
    EncryptionConfiguration,
    KmsClient,
    KmsConnectionConfig,
)

from edgesentry import AuditRecord, ConfigError, KeyRing, UnreadableError, read_records, verify_chain
from test_cli import eds

KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
RAW = bytes.fromhex(KEY)
DER = bytes.fromhex("302a300506032b6570032100") + RAW
PEM = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(DER).decode()}\n-----END PUBLIC KEY-----\n"
SSH = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + RAW).decode()
JWK = json.dumps({"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(RAW).decode().rstrip("=")})
FORMS = {
    "hex": KEY,
    "hex of PostgreSQL": f"\\x{KEY}",
    "base64": base64.b64encode(RAW).decode(),
    "PEM": PEM,
    "DER in base64": base64.b64encode(DER).decode(),
    "SSH": f"ssh-ed25519 {SSH} lift-01@site",
    "JWK": JWK,
}


@pytest.fixture
def table(records: list[AuditRecord]) -> pa.Table:
    return pa.table(read_records(records))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_public_keys_of_other_programs_are_accepted(tmp_path: Path, form: str) -> None:
    ring = KeyRing({"lift-01": form}, scheme="record")
    assert ring.keys("lift-01")[0]["key"] == KEY
    ring = KeyRing()
    ring.add("lift-01", form)
    other = KeyRing()
    other.add("lift-02", form.encode())
    assert ring.keys("lift-01")[0]["key"] == other.keys("lift-02")[0]["key"] == KEY
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"lift-01": {"key": form, "scheme": "record"}}))
    assert KeyRing(path).keys("lift-01")[0]["key"] == KEY


def test_keys_of_openssl_are_inspected(tmp_path: Path) -> None:
    private, public = tmp_path / "lift-01.pem", tmp_path / "lift-01.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    private.chmod(0o600)
    done = eds("inspect-key", public, "--json")
    assert done.returncode == 0, done.stderr
    ring = KeyRing({"lift-01": public.read_text()}, scheme="record")
    assert json.loads(done.stdout)["key"]["public_key"] == ring.keys("lift-01")[0]["key"]
    # A private key is named as one, and no part of it is shown.
    done = eds("inspect-key", private)
    assert (done.returncode, done.stdout) == (2, "")
    assert "this is a private key" in done.stderr
    assert not any(line in done.stderr for line in private.read_text().splitlines())
    # Another elliptic curve.
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private],
        check=True,
    )
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    done = eds("inspect-key", public)
    assert done.returncode == 1
    assert "not an Ed25519 public key" in done.stdout + done.stderr


class Kms(KmsClient):  # type: ignore[misc]
    """Stores the keys of an encrypted file in the file itself."""

    def __init__(self, _: object) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, _: str) -> bytes:
        return base64.b64encode(key_bytes)


@pytest.mark.parametrize(
    ("plaintext_footer", "problem"),
    [(True, "its columns are encrypted"), (False, "it is Parquet with an encrypted footer")],
)
def test_encrypted_parquet_is_named(
    tmp_path: Path, table: pa.Table, plaintext_footer: bool, problem: str
) -> None:
    path = tmp_path / "a.parquet"
    chosen = EncryptionConfiguration(
        footer_key="footer", column_keys={"column": ["timestamp_ms"]}, plaintext_footer=plaintext_footer
    )
    properties = CryptoFactory(Kms).file_encryption_properties(KmsConnectionConfig(), chosen)
    pq.write_table(table, path, encryption_properties=properties)
    with pytest.raises(UnreadableError, match=f"a.parquet: {problem}; decrypt the file first") as refused:
        verify_chain(path)
    assert "damaged" not in str(refused.value)


def test_public_keys_as_bytes_are_accepted() -> None:
    for encoded in RAW, DER:
        ring = KeyRing()
        ring.add("lift-01", encoded)
        assert ring.keys("lift-01")[0]["key"] == KEY


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (PEM.replace("PUBLIC", "PRIVATE"), "private key; give the public one"),
        ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "not a public key"),
        (PEM.replace("MCow", "MCox"), "not an Ed25519 public key"),
        ("ssh-rsa AAAAB3NzaC1yc2E= a@b", "not ssh-ed25519"),
        ('{"kty": "EC", "crv": "P-256", "x": "AA"}', "JSON Web Key"),
        ("not a key", "64 hex digits"),
    ],
)
def test_other_keys_are_refused_in_a_sentence(form: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        KeyRing().add("lift-01", form)
    assert "AAAA" not in str(refused.value)


def test_the_index_of_pandas_is_named(tmp_path: Path, table: pa.Table) -> None:
    frame = table.to_pandas()
    frame.index = pd.Index(reversed(range(len(frame))))
    path = tmp_path / "a.parquet"
    frame.to_parquet(path)
    with pytest.raises(UnreadableError, match=r"index of a pandas frame.*index=False"):
        verify_chain(path)
    assert verify_chain(frame.reset_index(drop=True)).coverage.records == len(frame)


def test_decimals_of_spark_are_integers(tmp_path: Path, keys: KeyRing, table: pa.Table) -> None:
    decimals = pa.array([Decimal(value) for value in table["sequence"].to_pylist()], pa.decimal128(20, 0))
    spark = table.set_column(1, "sequence", decimals)
    path = tmp_path / "a.parquet"
    pq.write_table(spark, path)
    for source in (spark, path, str(path)):
        assert verify_chain(source, keys=keys).ok
    negative = spark.set_column(1, "sequence", pa.array([Decimal(-1)] * len(spark), pa.decimal128(20, 0)))
    assert set(verify_chain(negative).counts) == {"record_malformed"}


def test_datasets_scanners_and_parquet_files_are_sources(
    tmp_path: Path, records: list[AuditRecord], keys: KeyRing, table: pa.Table
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    dataset = pyarrow.dataset.dataset(path)
    for source in (dataset, dataset.scanner(), pq.ParquetFile(path), table.to_reader(max_chunksize=7)):
        report = verify_chain(source, keys=keys)
        assert report.ok, report.summary()
        assert report.coverage.records == len(records)
    assert list(read_records(dataset)) == records


def test_lazy_frames_are_collected_and_generators_of_paths_refused(tmp_path: Path, table: pa.Table) -> None:
    frame = pl.DataFrame(table)
    assert verify_chain(frame.lazy()).coverage.records == len(frame)
    paths: Any = tmp_path.glob("*.parquet")
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(TypeError, match=r"pass paths as a list, in the order of the records: sorted"):
        verify_chain(paths)
    assert verify_chain(sorted(tmp_path.glob("*.parquet"))).coverage.records == len(frame)


def test_rows_of_sqlite_are_records(records: list[AuditRecord], keys: KeyRing) -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    fields = list(records[0].to_dict())
    connection.execute(f"CREATE TABLE records ({', '.join(fields)})")
    for record in records:
        values = [bytes(value) if isinstance(value, list) else value for value in record.to_dict().values()]
        connection.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    assert verify_chain(connection.execute("SELECT * FROM records"), keys=keys).ok
    with pytest.raises(ValueError, match="has no field 'rowid'"):
        verify_chain(connection.execute("SELECT rowid, * FROM records"))


def test_other_encodings_of_bytes_are_read(records: list[AuditRecord], keys: KeyRing) -> None:
    def encoded(encode: Callable[[bytes], str]) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = [{**record.to_dict()} for record in records]
        for row in rows:
            for field in ("payload_hash", "signature", "prev_record_hash"):
                value = row[field]
                assert isinstance(value, bytes | list | str)
                row[field] = encode(bytes.fromhex(value) if isinstance(value, str) else bytes(value))
        return rows

    for encode in (
        lambda value: base64.b64encode(value).decode(),
        lambda value: f"\\x{value.hex()}",
        lambda value: f"0x{value.hex()}",
    ):
        rows = encoded(encode)
        for source in (rows, pa.Table.from_pylist(rows), pd.DataFrame(rows), json.dumps(rows).encode()):
            report = verify_chain(source, keys=keys)
            assert report.ok, report.summary()


def test_objects_of_jq_are_read(records: list[AuditRecord], keys: KeyRing) -> None:
    rows: list[dict[str, object]] = [{**record.to_dict()} for record in records]
    for row in rows:
        row.update({name: list(value) for name, value in row.items() if isinstance(value, bytes)})
    for indent in (1, 2, 4, "\t"):
        text = "\n".join(json.dumps(row, indent=indent) for row in rows)
        report = verify_chain(text.encode(), keys=keys)
        assert report.ok, report.summary()
        assert report.coverage.records == len(records)
