"""Tampering with a ledger behind the service's back, by SQL."""

from __future__ import annotations

from typing import Literal, TypeAlias

from edgesentry._core import AuditRecord
from edgesentry.testing._expected import Tampered

Dialect: TypeAlias = Literal["sqlite", "postgres"]


# What the records said of their payloads, and the payloads of earlier releases.
_TAKE_PAYLOADS = [
    "CREATE TEMP TABLE taken (object_ref TEXT PRIMARY KEY, payload BLOB, stored_at_ms INTEGER);",
    "INSERT OR IGNORE INTO taken SELECT object_ref, payload, stored_at_ms FROM record_payloads "
    "JOIN audit_records USING (device_id, sequence, payload_hash);",
    "INSERT OR IGNORE INTO taken SELECT object_ref, payload, stored_at_ms FROM payloads;",
    "DELETE FROM record_payloads;",
    "DELETE FROM payloads;",
]
_PLACE_PAYLOADS = [
    "INSERT INTO record_payloads SELECT device_id, sequence, payload_hash, payload, stored_at_ms "
    "FROM audit_records JOIN taken USING (object_ref);",
    "DROP TABLE taken;",
]


def to_sql(tampered: Tampered, *, dialect: Dialect = "sqlite") -> str:
    """A script that makes a ledger hold the tampered records, and its heads agree with them.

    For SQLite it changes the payloads too, where they are in the same file: each record gets the payload that
    its object reference names, in the place where the ledger looks for it; a payload that no record names is
    deleted. Run it by `sqlite3.executescript` or by `psql`, while no service writes. A SQLite file that this
    process holds open as a `Ledger` must be altered by another process: two copies of SQLite in one do
    not see each other's locks.

    Args:
        tampered: What the ledger shall hold.
        dialect: Whose SQL.

    Raises:
        ValueError: No table can hold the records: two have one device and sequence, or their order is not
            that of their sequences; see `Tampered.fits_table`.
    """
    if not tampered.fits_table:
        raise ValueError("the key (device, sequence) of the ledger does not allow these records")
    in_file = dialect == "sqlite"
    lines = ["BEGIN;", *(_TAKE_PAYLOADS if in_file else []), "DELETE FROM audit_records;"]
    lines += [_insert(record, dialect) for record in tampered.records]
    # Whoever can write to the ledger moves its heads along.
    lines += [_move_head(record, dialect) for record in _lasts(tampered)]
    if in_file:
        lines += [
            _change_payload(reference, payload) for reference, payload in tampered.payload_changes.items()
        ]
        lines += _PLACE_PAYLOADS
    return "\n".join([*lines, "COMMIT;"])


def _insert(record: AuditRecord, dialect: Dialect) -> str:
    values = [
        _text(record.device_id),
        str(record.sequence),
        str(record.timestamp_ms),
        *(
            _bytes(value, dialect)
            for value in (record.payload_hash, record.signature, record.prev_record_hash)
        ),
        _text(record.object_ref),
        _bytes(record.hash(), dialect),
        str(record.timestamp_ms),
    ]
    return f"INSERT INTO audit_records VALUES ({', '.join(values)});"


def _lasts(tampered: Tampered) -> list[AuditRecord]:
    return list({record.device_id: record for record in tampered.records}.values())


def _move_head(record: AuditRecord, dialect: Dialect) -> str:
    return (
        f"UPDATE chain_heads SET sequence = {record.sequence}, "
        f"record_hash = {_bytes(record.hash(), dialect)} WHERE device_id = {_text(record.device_id)};"
    )


def _change_payload(reference: str, payload: bytes | None) -> str:
    if payload is None:
        return f"DELETE FROM taken WHERE object_ref = {_text(reference)};"
    return f"INSERT OR REPLACE INTO taken VALUES ({_text(reference)}, {_bytes(payload, 'sqlite')}, 0);"


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("no text of a database holds U+0000")
    quoted = value.replace("'", "''")
    return f"'{quoted}'"


def _bytes(value: bytes, dialect: Dialect) -> str:
    return f"x'{value.hex()}'" if dialect == "sqlite" else f"'\\x{value.hex()}'::bytea"
