"""Tampering with a ledger behind the service's back, by SQL."""

from __future__ import annotations

from typing import Literal, TypeAlias

from edgesentry._core import AuditRecord
from edgesentry.testing._expected import Tampered

Dialect: TypeAlias = Literal["sqlite", "postgres"]


# The payloads of the records, and the payloads of earlier releases.
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
    """Returns a script that replaces the records of a ledger with the tampered ones, and its heads to match.

    For SQLite it changes the payloads too, if they are in the same file: each record gets the payload of its
    object reference, at the location where the ledger looks for it; payloads without a record are deleted.
    Run it with `sqlite3.executescript` or `psql`, while no service writes. If this process has the SQLite
    file open as a `Ledger`, run it in another process: two copies of SQLite in one process do not see each
    other's locks.

    Args:
        tampered: The tampered records.
        dialect: The dialect of SQL.

    Raises:
        ValueError: No table can hold the records: two have the same device and sequence, or their order is
            not that of their sequences; see `Tampered.fits_table`.
    """
    if not tampered.fits_table:
        raise ValueError("the key (device, sequence) of the ledger does not allow these records")
    in_file = dialect == "sqlite"
    lines = ["BEGIN;", *(_TAKE_PAYLOADS if in_file else []), "DELETE FROM audit_records;"]
    lines += [_insert(record, dialect) for record in tampered.records]
    # An attacker who can write to the ledger updates its heads as well.
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
        raise ValueError("text in a database cannot contain U+0000")
    quoted = value.replace("'", "''")
    return f"'{quoted}'"


def _bytes(value: bytes, dialect: Dialect) -> str:
    return f"x'{value.hex()}'" if dialect == "sqlite" else f"'\\x{value.hex()}'::bytea"
