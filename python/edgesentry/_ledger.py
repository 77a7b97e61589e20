"""The ledger: ingest, read, verify and export records."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn, Self, TypeAlias, overload

from edgesentry._core import (
    REJECTION_CODES,
    AuditRecord,
    Checkpoint,
    Device,
    Head,
    IngestAnswer,
    KeyRing,
    LedgerCore,
    Policy,
    RecordReader,
    Report,
    read_records,
    shown,
)
from edgesentry._keys import PublicKey
from edgesentry._progress import open_bar
from edgesentry._typing import (
    BarFactory,
    ByteField,
    ErasureState,
    ExportFileDict,
    ExportFilterDict,
    Heads,
    Keys,
    Level,
    LogEntryDict,
    LogReason,
    OutcomeStatus,
    Path,
    RegisteredDeviceDict,
    RejectionCode,
    RevocationReason,
    Scheme,
    Source,
)
from edgesentry.exceptions import EdgesentryError, RejectedError

Record: TypeAlias = AuditRecord | Mapping[str, object]
Payloads: TypeAlias = Mapping[str, bytes] | Callable[[AuditRecord], bytes] | Iterable[bytes]
Time: TypeAlias = int | datetime

_OUTCOMES = ("accepted", "duplicate", "rejected")
_LOG_REASONS = (*REJECTION_CODES, "log_conflict")
_BATCH = 4096
_BATCH_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a record.

    Attributes:
        device_id: The device that the record names.
        sequence: Its sequence.
        outcome: `accepted` and `duplicate`: record and payload are durable. `rejected`: the service will
            never accept the record. `error`: a store failed; send the record again.
        reason: The reason of a rejection.
        expected: The value that the check expected.
        actual: The value that it found.
        error: The failure, in one sentence.
        retryable: True if a retry may succeed.
    """

    device_id: str
    sequence: int
    outcome: OutcomeStatus
    reason: RejectionCode | None = None
    expected: str | None = None
    actual: str | None = None
    error: str | None = None
    retryable: bool = False

    @property
    def ok(self) -> bool:
        """True if the ledger holds the record."""
        return self.outcome in ("accepted", "duplicate")

    @property
    def status(self) -> OutcomeStatus:
        """The former name of `outcome`, until the next release."""
        warnings.warn("Outcome.status is now Outcome.outcome", DeprecationWarning, stacklevel=2)
        return self.outcome

    def __bool__(self) -> NoReturn:
        raise TypeError("an outcome has no truth value: use outcome.ok")


class Outcomes(Sequence[Outcome]):
    """The outcomes of many records, in their order."""

    __module__ = "edgesentry"

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self._outcomes = list(outcomes)

    @overload
    def __getitem__(self, index: int) -> Outcome: ...
    @overload
    def __getitem__(self, index: slice) -> Outcomes: ...
    def __getitem__(self, index: int | slice) -> Outcome | Outcomes:
        """Returns the outcome at a position, or those of a slice."""
        if isinstance(index, slice):
            return Outcomes(self._outcomes[index])
        return self._outcomes[index]

    def __len__(self) -> int:
        return len(self._outcomes)

    def __bool__(self) -> NoReturn:
        raise TypeError("outcomes have no truth value: use outcomes.ok, or outcomes.raise_for_rejections()")

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        total = "1 record" if len(self) == 1 else f"{len(self)} records"
        return f"<Outcomes of {total}: {counts or 'none'}>"

    @property
    def ok(self) -> bool:
        """True if the ledger holds every one of the records."""
        return all(outcome.ok for outcome in self._outcomes)

    @property
    def counts(self) -> dict[str, int]:
        """The number of records by outcome; of rejected records, by reason."""
        return dict(Counter(outcome.reason or outcome.outcome for outcome in self._outcomes))

    def raise_for_rejections(self) -> None:
        """Raises RejectedError unless `ok`."""
        if not self.ok:
            raise RejectedError(self)


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erased payload, or one that is to be erased.

    Attributes:
        device_id: The device.
        sequence: The sequence of the record, which stays.
        payload_hash: BLAKE3 of the payload, 32 bytes.
        reason: The reason of the first request.
        requested_at_ms: The time of the first request, Unix milliseconds.
        leaf: The index of the leaf in the log.
        versions: The most versions that the store had of the payload; 0 if it did not have the payload.
        state: `erased`; `kept` by the store; `waiting` for the deletion.
        problem: The reason why the store keeps the payload.
        erased_at_ms: The time since which the store has none of it, Unix milliseconds.
    """

    device_id: str
    sequence: int
    payload_hash: bytes
    reason: str
    requested_at_ms: int
    leaf: int | None
    versions: int | None
    state: ErasureState
    problem: str | None
    erased_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of an export; the export writes it as JSON to the file's name plus `.manifest.json`.

    Attributes:
        records: The number of records.
        devices: The number of devices.
        heads: The last link of every chain in the file.
        start_heads: For chains that do not begin at sequence 1, the link before their first record. Like the
            heads they are claims of the exporter; `verify_chain(..., manifest=...)` checks them as claims.
        file: Name, format, size_bytes and blake3 of the file.
        filter: The filter of the export.
        ledger: The ledger that was exported.
        created_at_ms: The time of the export, Unix milliseconds.
    """

    records: int
    devices: int
    heads: dict[str, Head]
    start_heads: dict[str, Head]
    file: ExportFileDict
    filter: ExportFilterDict = field(repr=False)
    ledger: str = field(repr=False)
    created_at_ms: int = field(repr=False)


for _public in (Outcome, Erasure, Manifest):
    _public.__module__ = "edgesentry"


def open(
    url: Path | None = None,
    payloads: Path | None = None,
    *,
    config: Path | None = None,
    create: bool = True,
    read_only: bool = False,
) -> Ledger:
    """Opens a ledger and its payload store.

    Args:
        url: `sqlite:PATH`, a path, or `postgres://user@host,host/database`; by default the ledger of the
            settings, else `edgesentry.db` in the current directory.
        payloads: `ledger` (in the SQLite file), `folder:PATH`, the path of a directory, `packs:PATH`, or
            `s3://BUCKET`; by default `ledger` with SQLite.
        config: A TOML file of settings; by default the one that the variable EDS_CONFIG names. Variables
            `EDS_...` override it, and arguments override both.
        create: Create a missing file or directory.
        read_only: Read the ledger without changing it: this creates no file beside it, creates or migrates no
            table, and does not block its writer. It works on a read-only mount, with a PostgreSQL role that
            may only SELECT, and on a standby. Methods that write raise an exception.

    Raises:
        ConfigError: A setting is wrong or unknown, the ledger does not exist, or the file or the database
            holds other tables.
        StoreError: A store cannot be reached.
    """
    return Ledger(LedgerCore(_text(url), _text(payloads), config, create, read_only))


class Ledger:
    """An open ledger; `edgesentry.open` opens it, `close` or the end of a `with` block closes it.

    Any number of threads may use it at once; their single ingests share commits. Any number of processes may
    have the same ledger open. A process that forks must open it after the fork.
    """

    __module__ = "edgesentry"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Ledger does not pickle: it is open in this process; open it in the other one")

    def __init__(self, core: LedgerCore) -> None:
        self._core = core

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            return f"<Ledger {self.place}>"
        except ValueError:
            return "<Ledger, closed>"

    def _repr_html_(self) -> str | None:
        """Returns the place and the devices for a notebook; the plain form if the ledger cannot be read."""
        try:
            return self._core.html()
        except (ValueError, EdgesentryError):
            return None

    def close(self) -> None:
        """Closes the ledger. Calls that run in other threads are finished first."""
        self._core.close()

    @property
    def place(self) -> str:
        """The location of the ledger, without secrets."""
        return self._core.place

    def register_device(
        self,
        device: Device | str,
        public_key: ByteField | None = None,
        *,
        scheme: Scheme | None = None,
        valid_from: int | None = None,
        start: Head | None = None,
    ) -> None:
        """Registers a device, or another key of a device. Repeating a registration changes nothing.

        A key that another device has is a warning: each of them can sign in the name of the other.

        Args:
            device: A device id, or a `Device`, which brings its key and scheme.
            public_key: The key, if `device` is an id: 32 bytes or 64 hex digits.
            scheme: The scheme of its signatures; by default the scheme of the key if it is a `PublicKey`,
                else `record`.
            valid_from: The first sequence that the key signs; by default the next one of the chain.
            start: For a chain that began elsewhere: the last link that this ledger will not hold.

        Raises:
            ConfigError: The key is weak or malformed.
            RegistryError: The change would affect past records, another key begins at this sequence, or the
                key is registered with the other scheme.
        """
        device_id, public_key, scheme = _registration(device, public_key, scheme)
        _warn_of_shared_key(device_id, self._core.register(device_id, public_key, scheme, valid_from, start))

    def revoke_device(self, device_id: str, *, reason: RevocationReason = "unspecified") -> int:
        """Revokes all keys of a device from its next sequence on, and returns that sequence.

        Args:
            device_id: The device.
            reason: `compromised`, `superseded`, `retired` or `lost`; `devices` has it. The transparency log
                and key rings do not.

        Raises:
            RegistryError: The device is not registered.
        """
        return self._core.revoke(device_id, reason)

    def devices(self) -> list[RegisteredDeviceDict]:
        """Returns the registered devices with their keys and heads, sorted by device id."""
        return self._core.devices()

    def key_ring(self) -> KeyRing:
        """Returns the registered keys. A key ring does not contain revocations.

        They are a claim of the ledger and satisfy no `require`. After comparing them with the keys of the
        devices, create a trusted ring with `KeyRing(ledger.key_ring())`; a ring read from a file is trusted.
        """
        return self._core.key_ring()

    def ingest(self, record: Record, payload: bytes) -> Outcome:
        """Ingests one record; if it is accepted or a duplicate, record and payload are durable.

        Ctrl-C ends the wait; the ledger may still have accepted the record. Sending it again is safe.

        Raises:
            ValueError: The ledger was opened without a payload store.
        """
        return self._ingest([(record, payload)])[0]

    def ingest_many(
        self,
        records: Iterable[Any] | Source,
        payloads: Payloads | None = None,
        *,
        progress: bool | BarFactory | None = None,
    ) -> Outcomes:
        """Ingests records, some thousands at a time, and returns the outcome of each.

        Args:
            records: Pairs of a record and its payload; or, with `payloads`, any source of records: an
                iterable, a file, an Arrow table. Records of one device must be in the order of its chain.
            payloads: A mapping from object reference to payload, a function from record to payload, or the
                payloads in the order of the records.
            progress: True for a bar, or a callable that creates one, such as tqdm; it counts records.

        Raises:
            KeyError: The mapping lacks a payload.
            ValueError: There are fewer payloads than records, or the ledger was opened without a payload
                store.
        """
        total = len(records) if isinstance(records, Sized) and not isinstance(records, str | bytes) else None
        bar = open_bar(progress, total=total, unit=" records", name="ingest")
        outcomes: list[Outcome] = []
        try:
            for batch in _batches(_pairs(records, payloads)):
                outcomes += self._ingest(batch)
                if bar is not None:
                    bar.update(len(batch))
        finally:
            if bar is not None:
                bar.close()
        return Outcomes(outcomes)

    def _ingest(self, items: list[tuple[Record, bytes]]) -> list[Outcome]:
        answers = self._core.ingest(items)
        return [_outcome(record, answer) for (record, _), answer in zip(items, answers, strict=True)]

    def export(
        self,
        path: Path,
        *,
        devices: str | Iterable[str] | None = None,
        from_sequence: int | None = None,
        to_sequence: int | None = None,
        since: Time | None = None,
        before: Time | None = None,
        log: bool = False,
        stamped: bool = False,
        int64: bool = False,
        progress: bool | BarFactory | None = None,
    ) -> Manifest:
        """Exports records to a file, with a manifest beside it, in bounded memory.

        Args:
            path: The file; its extension selects the format: .json, .ndjson, .arrow, .parquet, the first two
                also followed by .gz or .zst.
            devices: Only these devices.
            from_sequence: The lowest sequence.
            to_sequence: The highest sequence.
            since: The earliest timestamp, Unix milliseconds or a datetime with a time zone.
            before: The first timestamp after the range. If a device's clock ran backwards, a range of time
                has gaps, which a verification reports.
            log: Only the records up to the last checkpoint of the transparency log, with the layout of the
                log in `path` plus `.log` and the checkpoint in `path` plus `.checkpoint`, for
                `verify_chain(..., checkpoint=, policy=)`. It takes no devices and no range.
            stamped: With `log`, the records up to the last checkpoint with a time stamp.
            int64: Write numbers in Arrow and Parquet as int64, for engines without unsigned types.
            progress: True for a bar, or a callable that creates one, such as tqdm; it counts records.

        Ctrl-C, or an exception of the bar, ends the export; the file is complete or does not exist.

        Raises:
            OSError: The file cannot be written; it does not exist then.
            StoreError: The ledger failed.
            ConfigError: `log` is false, and the files of the log of an earlier export are beside `path`.
            EdgesentryError: `log` is true, and the ledger has no log or no checkpoint yet; or `stamped` is
                true, and no checkpoint has a time stamp.
        """
        filters = _filters(devices, from_sequence, to_sequence, since, before)
        manifest = json.loads(self._core.export(os.fspath(path), *filters, log, stamped, int64, progress))
        names = ("records", "devices", "file", "filter", "ledger", "created_at_ms")
        fields = {name: manifest[name] for name in names}
        heads, start_heads = _heads(manifest["heads"]), _heads(manifest["start_heads"])
        return Manifest(heads=heads, start_heads=start_heads, **fields)

    def records(
        self,
        *,
        devices: str | Iterable[str] | None = None,
        from_sequence: int | None = None,
        to_sequence: int | None = None,
        since: Time | None = None,
        before: Time | None = None,
    ) -> RecordReader:
        """Returns records by device and sequence, also as an Arrow stream; filters as in `export`."""
        return self._core.records(*_filters(devices, from_sequence, to_sequence, since, before))

    def heads(self) -> dict[str, Head]:
        """Returns the last link of every chain. Keep them where a writer of the ledger cannot change them."""
        return self._core.heads()

    def verify(
        self,
        *,
        keys: Keys | None = None,
        heads: Heads | None = None,
        start_heads: Heads | None = None,
        manifest: Path | Manifest | None = None,
        checkpoint: Path | None = None,
        policy: Path | None = None,
        log_layout: Path | None = None,
        previous: Path | None = None,
        max_age: int | timedelta | None = None,
        timestamps: Path | Sequence[Path] | None = None,
        tsa_roots: Path | None = None,
        payloads: bool = False,
        devices: str | Iterable[str] | None = None,
        require: Level | Iterable[Level] | None = None,
        max_findings: int = 100_000,
        progress: bool | BarFactory | None = None,
        threads: int | None = None,
    ) -> Report:
        """Verifies the ledger in place, without an export.

        Inputs of the caller are trusted. Inputs from the ledger or a manifest are claims: they are checked,
        the report marks them as claims, and they satisfy no `require`.

        Args:
            keys: Trusted keys, as in `verify_chain`; `"registered"` for the ledger's own keys, a claim like
                `Ledger.key_ring()`.
            heads: Trusted heads from an earlier time; `"registered"` for the ledger's own, a claim.
            start_heads: For chains that do not begin at sequence 1, the head before their first record;
                `"registered"` for those registered with the devices, a claim. Without them such a beginning
                is a finding.
            manifest: The manifest of an export of this ledger: its heads are claims, which the chains must
                contain.
            checkpoint: A checkpoint of the transparency log: the records up to it must be exactly those of
                the log. Records that came after the layout count as records after the checkpoint.
            policy: Your policy, with the logs, witnesses and quorum that you trust; required with
                `checkpoint`.
            log_layout: The layout of the log, as `eds export --log` writes it; without it the records are not
                compared.
            previous: An earlier checkpoint of the same log that you kept: the log must continue it.
            max_age: The maximum age of the checkpoint by the clocks of its witnesses: seconds, or a
                timedelta.
            timestamps: Time stamps of the checkpoint (RFC 3161); required with `tsa_roots`.
            tsa_roots: Certificates in PEM: the roots of the time stamping authorities that you trust.
            payloads: Read every payload and hash it again.
            devices: Only these devices; not with `checkpoint`, which commits to all devices.
            require: Levels that must be covered in full, as in `verify_chain`.
            max_findings: Findings to keep in the report; all are counted.
            progress: True for a bar, or a callable that creates one, such as tqdm.
            threads: Number of threads; one per core by default.

        Raises:
            RequirementError: The report is valid, but a required level was not covered in full.
            ValueError: A required level lacks its input.
        """
        names = _devices(devices)
        log = (checkpoint, policy, log_layout, previous, max_age, timestamps, tsa_roots)
        return self._core.verify(
            keys,
            heads,
            start_heads,
            manifest,
            *log,
            payloads,
            names,
            require,
            max_findings,
            progress,
            threads,
        )

    def checkpoint(self) -> Checkpoint:
        """The published checkpoint of the transparency log. An auditor keeps it with the policy.

        Raises:
            ProofError: The log has no checkpoint yet.
            EdgesentryError: The ledger has no log, or its files are damaged.
        """
        return self._core.checkpoint()

    def prove(
        self,
        device_id: str | None = None,
        sequence: int | None = None,
        *,
        to_sequence: int | None = None,
        size: int | None = None,
        previous: Checkpoint | None = None,
    ) -> str:
        """A proof from the transparency log, as text; `verify_proof` verifies it.

        With a device and a sequence, that this record is in the log; with `to_sequence` also, that each
        record from `sequence` to `to_sequence` is, at most 4096. With a device alone, its last record in the
        log, or that the log does not know the device. With `previous`, that the log only grew since that
        checkpoint.

        Args:
            device_id: The device.
            sequence: The sequence of the record, or of the first one.
            to_sequence: The sequence of the last record of a run.
            size: The size of an earlier checkpoint that the proof is to be of, in leaves; by default, the
                published checkpoint.
            previous: An older checkpoint of the log.

        Raises:
            ProofError: A record is not in the log, the log has no checkpoint of this size, or it does not
                extend `previous`.
        """
        return self._core.prove(device_id, sequence, to_sequence, size, previous)

    def erase(self, device_id: str, sequence: int, reason: str, *, wait: float = 130.0) -> Erasure:
        """Permanently erases the payload of a record. The record stays, and the log records the erasure.

        The log gets a leaf with the reason, a checkpoint is signed, and then every version of the payload is
        deleted. Repeating the call continues after an interruption, and returns the same.

        Args:
            device_id: The device.
            sequence: The sequence of the record.
            reason: The reason, 1 to 1024 bytes. It stays in the log: do not name a person.
            wait: The seconds to wait for a checkpoint, if another process writes the log.

        Returns:
            The erasure. If its `state` is not `erased`, the store keeps the payload; `problem` says why.

        Raises:
            ConfigError: The ledger has no transparency log or no payload store.
            ValueError: The ledger has no such record, or the reason cannot be stored.
            EdgesentryError: The log cannot continue, or no checkpoint was signed in time.
            StoreError: A store failed; repeat the call.
        """
        return Erasure(**self._core.erase(device_id, sequence, reason, wait))

    def bundle(
        self,
        path: Path,
        *,
        devices: str | Iterable[str] = (),
        records: Iterable[tuple[str, int]] = (),
        since: Checkpoint | None = None,
        payloads: bool = False,
        keys: Keys | None = None,
        policy: Policy | None = None,
        stamped: bool = False,
        progress: bool | BarFactory | None = None,
    ) -> int:
        """Writes an evidence bundle of the transparency log; `verify_bundle` verifies it offline.

        Without devices and records it has the whole log up to the published checkpoint. The time stamps of
        the checkpoint are included. An existing file is
        replaced when the new one is complete.

        Args:
            path: The file to write.
            devices: Only the chains of these devices.
            records: Only these records: pairs of device and sequence.
            since: A checkpoint that the recipient kept: the bundle also shows that the log continues it.
            payloads: Include the payloads.
            keys: Keys to include as a claim; by default the registered ones.
            policy: A policy to include as a claim.
            stamped: Use the last checkpoint that has a time stamp, in place of the published one.
            progress: As for `verify_chain`.

        Returns:
            The number of records in the bundle.

        Raises:
            ProofError: The log does not have the records, or the store lacks a payload.
            EdgesentryError: The ledger has no log, or its files are damaged.
            OSError: The file cannot be written.
            ValueError: Both devices and records are given, or `payloads` without a payload store.
        """
        return self._core.bundle(
            path, _devices(devices), list(records), since, payloads, keys, policy, stamped, progress
        )

    def operation_log(
        self,
        *,
        device_id: str | None = None,
        outcome: str | None = None,
        reason: LogReason | None = None,
        after_id: int = 0,
        limit: int = 1000,
    ) -> list[LogEntryDict]:
        """Returns a page of the operation log, oldest first: every decision of the service, with its reason.

        Args:
            device_id: Only this device.
            outcome: Only `accepted`, `duplicate` or `rejected`.
            reason: Only this reason.
            after_id: Only entries after this one: the last entry of the previous page.
            limit: The maximum number of entries.

        Raises:
            ValueError: The outcome or the reason is unknown.
        """
        check_log_filter(outcome, reason)
        return self._core.operation_log(device_id, outcome, reason, after_id, limit)

    def payload(self, record: Record | str) -> bytes | None:
        """Returns the payload of a record; None if the store does not have it.

        Args:
            record: The record, or its object reference. A reference is slow, because all records are read to
                find its record.

        Raises:
            ValueError: Several records with different payloads have this object reference, or the ledger was
                opened without a payload store.
        """
        return self._core.payload(record)


def _text(value: Path | None) -> str | None:
    return None if value is None else os.fspath(value)


def _outcome(record: Record, answer: IngestAnswer) -> Outcome:
    device_id, sequence = _name(record)
    return Outcome(
        device_id,
        sequence,
        answer.outcome,
        reason=answer.reason,
        expected=answer.expected,
        actual=answer.actual,
        error=answer.error,
        retryable=answer.retryable,
    )


def _name(record: Record) -> tuple[str, int]:
    if isinstance(record, AuditRecord):
        return record.device_id, record.sequence
    return str(record["device_id"]), int(str(record["sequence"]))


def _warn_of_shared_key(device_id: str, others: Sequence[str]) -> None:
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        warnings.warn(
            shown(
                f"the key of device {json.dumps(device_id)} is also registered for device "
                f"{json.dumps(others[0])}{more}: each of them can sign in the name of the others; register a "
                "key of its own for each device"
            ),
            stacklevel=3,
        )


def _registration(
    device: Device | str, public_key: ByteField | None, scheme: Scheme | None
) -> tuple[str, ByteField, Scheme]:
    """Returns the device id, the key and the scheme of a registration."""
    if isinstance(device, Device):
        device_id, scheme = device.device_id, scheme or device.scheme
        public_key = device.public_key if public_key is None else public_key
    else:
        device_id = device
    if public_key is None:
        raise TypeError("a device id needs a public_key; or pass a Device")
    if scheme is None and isinstance(public_key, PublicKey):
        scheme = public_key.scheme
    return device_id, public_key, scheme or "record"


def _heads(heads: dict[str, dict[str, Any]]) -> dict[str, Head]:
    return {device: Head(head["sequence"], head["hash"]) for device, head in heads.items()}


def _devices(devices: str | Iterable[str] | None) -> list[str]:
    if devices is None:
        return []
    return [devices] if isinstance(devices, str) else list(devices)


def _filters(
    devices: str | Iterable[str] | None,
    from_sequence: int | None,
    to_sequence: int | None,
    since: Time | None,
    before: Time | None,
) -> tuple[list[str], int | None, int | None, int | None, int | None]:
    return _devices(devices), from_sequence, to_sequence, _milliseconds(since), _milliseconds(before)


def _milliseconds(time: Time | None) -> int | None:
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ValueError("a datetime needs a time zone, such as datetime.timezone.utc")
        return round(time.timestamp() * 1000)
    return time


def check_log_filter(outcome: str | None, reason: str | None) -> None:
    """Refuses a filter that no entry of the operation log can match."""
    for name, value, known in (("outcome", outcome, _OUTCOMES), ("reason", reason, _LOG_REASONS)):
        if value is not None and value not in known:
            raise ValueError(f"unknown {name} {value!r}: use {', '.join(known[:-1])} or {known[-1]}")


def _pairs(records: Iterable[Any] | Source, payloads: Payloads | None) -> Iterator[tuple[Record, bytes]]:
    if payloads is None:
        if isinstance(records, str | bytes | os.PathLike) or not isinstance(records, Iterable):
            raise TypeError("records have no payloads; pass pairs of record and payload, or payloads=")
        for pair in records:
            yield _pair(pair)
        return
    source = read_records(records)
    if isinstance(payloads, Mapping):
        for record in source:
            yield record, payloads[record.object_ref]
    elif callable(payloads):
        for record in source:
            yield record, payloads(record)
    else:
        yield from zip(source, payloads, strict=True)


def _pair(pair: object) -> tuple[Record, bytes]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"expected a pair of record and payload, got {type(pair).__name__}")
    return pair[0], pair[1]


class Batch:
    """Pairs to send together: at most `_BATCH` records, and about `_BATCH_BYTES` of payloads."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Record, bytes]] = []
        self._size_bytes = 0

    def add(self, pair: object) -> list[tuple[Record, bytes]] | None:
        """Adds a pair; returns the batch if it is full, and begins the next one."""
        record, payload = _pair(pair)
        self._pairs.append((record, payload))
        self._size_bytes += len(payload)
        is_full = len(self._pairs) == _BATCH or self._size_bytes > _BATCH_BYTES
        return self.take() if is_full else None

    def take(self) -> list[tuple[Record, bytes]]:
        """Returns the pairs so far, and begins the next batch."""
        pairs, self._pairs, self._size_bytes = self._pairs, [], 0
        return pairs


def _batches(pairs: Iterator[tuple[Record, bytes]]) -> Iterator[list[tuple[Record, bytes]]]:
    batch = Batch()
    for pair in pairs:
        if full := batch.add(pair):
            yield full
    if rest := batch.take():
        yield rest
