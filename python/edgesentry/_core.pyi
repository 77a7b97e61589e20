"""The Rust core of EdgeSentry."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal, Self, final, overload

import pandas
import polars

from edgesentry._keys import PublicKey
from edgesentry._ledger import Ledger, Manifest
from edgesentry._typing import (
    ArrowStream,
    BarFactory,
    ByteField,
    Bytes,
    FindingCode,
    FlushedDict,
    HeadDict,
    Heads,
    InputKind,
    KeptRejectionDict,
    KeyDict,
    Keys,
    Level,
    LogEntryDict,
    OutcomeStatus,
    Path,
    Provider,
    RecordDict,
    RegisteredDeviceDict,
    RejectionCode,
    Scheme,
    Source,
    Verdict,
)

__all__ = [
    "FINDING_CODES",
    "REJECTION_CODES",
    "AuditRecord",
    "Cause",
    "ChainSpan",
    "ClientCore",
    "Coverage",
    "Device",
    "Finding",
    "Findings",
    "Head",
    "HeadCoverage",
    "Input",
    "KeyRing",
    "LedgerCore",
    "LinkCoverage",
    "LogCoverage",
    "Outbox",
    "PayloadCoverage",
    "RecordReader",
    "Report",
    "SignatureCoverage",
    "Statistics",
    "__version__",
    "_restore",
    "create_database",
    "device_statistics",
    "drop_database",
    "end_telemetry",
    "init_telemetry",
    "metrics_text",
    "payload_hash",
    "read_heads",
    "read_records",
    "run_command",
    "shown",
    "verify_chain",
    "verify_record",
    "write_heads",
    "write_records",
]

FINDING_CODES: Final[tuple[FindingCode, ...]]
"""Every finding code, in the order of the documentation."""

REJECTION_CODES: Final[tuple[RejectionCode, ...]]
"""Every reason for which the ingest service does not take a record."""

__version__: Final[str]

@final
class AuditRecord:
    """One entry of a device's chain: seven fields. Immutable, comparable, hashable, picklable.

    Args:
        device_id: The device that wrote the record.
        sequence: 1, 2, 3, ... per device; at most 2**64 - 1.
        timestamp_ms: When the device observed it, Unix milliseconds by the device's clock.
        payload_hash: BLAKE3 of the payload, 32 bytes.
        signature: Ed25519 signature, 64 bytes: R then S.
        prev_record_hash: Record hash of the previous record of this device, 32 bytes; zero for the first.
        object_ref: Where the payload is, such as `s3://bucket/lift-01/1.bin`.

    Byte fields may be given as bytes, as hex digits, or as integers from 0 to 255.

    Raises:
        TypeError: A field has the wrong type.
        ValueError: A number is out of range or a byte field has the wrong length.
    """

    def __new__(
        cls,
        *,
        device_id: str,
        sequence: int,
        timestamp_ms: int,
        payload_hash: ByteField,
        signature: ByteField,
        prev_record_hash: ByteField,
        object_ref: str,
    ) -> Self: ...
    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> AuditRecord:
        """Makes a record from a mapping with exactly the seven fields, such as an object of a JSON export.

        Raises:
            TypeError: A field has the wrong type.
            ValueError: A field is missing, unknown, out of range or of the wrong length.
        """

    @property
    def device_id(self) -> str:
        """The device that wrote the record."""

    @property
    def sequence(self) -> int:
        """1, 2, 3, ... per device."""

    @property
    def timestamp_ms(self) -> int:
        """When the device observed it, Unix milliseconds by the device's clock."""

    @property
    def payload_hash(self) -> bytes:
        """BLAKE3 of the payload, 32 bytes."""

    @property
    def signature(self) -> bytes:
        """Ed25519 signature, 64 bytes: R then S."""

    @property
    def prev_record_hash(self) -> bytes:
        """Record hash of the previous record of this device, 32 bytes; zero for the first."""

    @property
    def object_ref(self) -> str:
        """Where the payload is."""

    def hash(self) -> bytes:
        """The record hash: BLAKE3 of the canonical bytes, 32 bytes."""

    def canonical_bytes(self) -> bytes:
        """The bytes that are hashed: the seven fields as postcard encodes them."""

    def signed_message(self, scheme: Scheme) -> bytes:
        """The 32 bytes that a signature under this scheme covers.

        Under `payload-hash` the payload hash; under `record` the derived digest of the record without its
        signature.
        """

    def to_dict(self) -> RecordDict:
        """The seven fields; byte fields as hex digits, so that the dict can be written as JSON."""

    def replace(self, **changes: object) -> AuditRecord:
        """A copy with some fields changed. The signature is not renewed; see `Device.sign_record`.

        Raises:
            TypeError: A field has the wrong type.
            ValueError: A field is unknown, out of range or of the wrong length.
        """

    def _repr_html_(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, tuple[RecordDict]]: ...

@final
class Head:
    """The last record of a chain: its sequence and its record hash.

    Args:
        sequence: The sequence of the last record.
        hash: Its record hash, 32 bytes.
    """

    def __new__(cls, sequence: int, hash: ByteField) -> Self: ...
    @property
    def sequence(self) -> int:
        """The sequence of the last record."""

    @property
    def hash(self) -> bytes:
        """Its record hash, 32 bytes."""

    def to_dict(self) -> HeadDict:
        """The sequence, and the hash as hex digits."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, tuple[int, bytes]]: ...

@final
class Device:
    """A device that signs its records and continues its own chain. Safe to use from several threads.

    Made by `generate`, `from_seed` or `from_seed_file`. The seed is kept in memory that is zeroized when the
    device is gone, and is never shown.
    """

    @classmethod
    def generate(cls, device_id: str, *, scheme: Scheme = "record") -> Device:
        """A new device with a key of its own, at the beginning of its chain.

        Args:
            device_id: Its id, not empty.
            scheme: What its signatures cover. `payload-hash` is for devices of the field that know nothing
                else.
        """

    @classmethod
    def from_seed(cls, device_id: str, seed: ByteField, *, scheme: Scheme = "record") -> Device:
        """The device whose secret seed is these 32 bytes, at the beginning of its chain.

        Raises:
            ValueError: The seed is not 32 bytes, or the id is empty.
        """

    @classmethod
    def from_seed_file(cls, device_id: str, path: Path, *, scheme: Scheme = "record") -> Device:
        """The device whose seed is in a file, as `save_seed` and `eds keygen` write it.

        Raises:
            FileNotFoundError: There is no such file.
            ConfigError: Others than the owner may read the file, or it is no seed file.
        """

    def save_seed(self, path: Path) -> None:
        """Writes the seed to a new file that only its owner can read (mode 0600).

        Raises:
            FileExistsError: The file is there; a seed is never overwritten.
        """

    def sign(self, payload: Bytes, object_ref: str, timestamp_ms: int | None = None) -> AuditRecord:
        """Signs the next record of the chain.

        Args:
            payload: What was observed; the record commits to its BLAKE3 hash.
            object_ref: Where the payload is kept.
            timestamp_ms: Unix milliseconds; the clock of this machine if None.

        Raises:
            EdgesentryError: The sequence has reached its largest value.
        """

    def sign_record(self, record: AuditRecord) -> AuditRecord:
        """A copy of the record with this device's signature; the chain of the device is not touched.

        For tests: this is what an attacker who holds the key could do.
        """

    def resume(self, last: Head | AuditRecord | None) -> Device:
        """The same device, continuing after the last record that it signed; None for the beginning.

        Raises:
            ValueError: The record is of another device.
        """

    @property
    def device_id(self) -> str:
        """The device id."""

    @property
    def scheme(self) -> Scheme:
        """What its signatures cover."""

    @property
    def public_key(self) -> PublicKey:
        """The public key to register, 64 hex digits, with its scheme."""

    @property
    def head(self) -> Head | None:
        """The last record signed; None at the beginning."""

@final
class KeyRing:
    """The public keys of the devices, each key with its scheme and its first valid sequence.

    Args:
        keys: A path to a key ring in JSON, another ring, or a mapping from device id to a key: 64 hex digits,
            a `PublicKey` or a `Device`, which bring their scheme, a dict with `key` and optionally `scheme`
            and `valid_from`, or a list of such; or a `Device`, or a list of them.
        scheme: The scheme of keys that neither name nor bring one.

    A ring that you make is yours: `verify_chain` trusts it. That of `Ledger.key_ring` is a claim of the
    ledger; a ring made of it is yours again.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The keys are malformed, one of them is weak, or one is there with both schemes.
    """

    def __new__(cls, keys: Keys | None = None, *, scheme: Scheme = "payload-hash") -> Self: ...
    def add(
        self, device_id: str, key: ByteField, *, scheme: Scheme | None = None, valid_from: int = 1
    ) -> None:
        """Adds a key.

        Args:
            device_id: The device.
            key: Its public key, 32 bytes or 64 hex digits.
            scheme: What its signatures cover; by default the scheme of the key if it is a `PublicKey`, else
                `payload-hash`.
            valid_from: The first sequence that it signs; it holds until the next key of the device begins.

        Raises:
            ConfigError: The key is weak, the ring has it with the other scheme, or the device has another key
                from this sequence.
        """

    @property
    def devices(self) -> list[str]:
        """The ids of the devices that have a key, sorted."""

    def keys(self, device_id: str) -> list[KeyDict]:
        """The keys of a device in the order in which they become valid; none for an unknown device."""

    def to_json(self) -> str:
        """The ring as JSON in the form that `KeyRing` and `--keys` read."""

    def save(self, path: Path) -> None:
        """Writes the ring as JSON, replacing what was there.

        Raises:
            OSError: The file cannot be written.
        """

    def _repr_html_(self) -> str: ...
    def __len__(self) -> int: ...
    def __contains__(self, device_id: object, /) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Cause:
    """The earlier finding that probably explains a later one."""

    @property
    def code(self) -> FindingCode:
        """Its code."""

    @property
    def sequence(self) -> int | None:
        """The sequence of its record; None for a malformed entry."""

    @property
    def index(self) -> int:
        """The position of its record, from 0, over all inputs."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Finding:
    """One failed check: where, what was expected, what was found."""

    @property
    def code(self) -> FindingCode:
        """The stable code; docs/findings has a page for each."""

    @property
    def device_id(self) -> str | None:
        """The device; None for an entry too broken to name one."""

    @property
    def sequence(self) -> int | None:
        """The sequence that the record claims; for a truncated chain or a missing device that of the head."""

    @property
    def timestamp_ms(self) -> int | None:
        """The time that the record claims, Unix milliseconds; None where there is no record."""

    @property
    def index(self) -> int | None:
        """Position of the record, from 0, over all inputs; None where the fault is an absence."""

    @property
    def expected(self) -> str:
        """What the check expected; hashes as hex digits."""

    @property
    def actual(self) -> str:
        """What it found; hashes as hex digits."""

    @property
    def record_hash(self) -> str | None:
        """Hash of the record as found, 64 hex digits; None where there is no record."""

    @property
    def cause(self) -> Cause | None:
        """The earlier finding that probably explains this one."""

    @property
    def input(self) -> str | None:
        """The name of the input that holds the record, such as its path."""

    @property
    def record(self) -> int | None:
        """The number of the record in that input, from 1."""

    def to_dict(self) -> dict[str, object]:
        """The finding as in the JSON form of the report."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Findings:
    """The findings of a report: a sequence, and an Arrow stream of one row a finding.

    Arrow columns: code, device_id, sequence, timestamp_ms, index, expected, actual, record_hash, cause_code,
    cause_sequence, cause_index, input, record. Hashes are hex digits.
    """

    @classmethod
    def from_arrow(cls, table: ArrowStream) -> Findings:
        """Findings from a table of them, such as one that was kept as Parquet or filtered in polars.

        The columns may come in any order, and in any type that holds them; further ones are left out. Those
        that have the types of `Findings` are handed on by it as the very same buffers.

        Args:
            table: Any object with `__arrow_c_stream__`: of pyarrow, polars, DuckDB and others.

        Raises:
            TypeError: The object exports no Arrow.
            UnreadableError: A column is missing or of another type, or a row is no finding.
        """

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: int, /) -> Finding: ...
    @overload
    def __getitem__(self, key: slice, /) -> Findings: ...
    def __iter__(self) -> Iterator[Finding]: ...
    def __reversed__(self) -> Iterator[Finding]: ...
    def __contains__(self, value: object, /) -> bool: ...
    def index(self, value: Finding) -> int:
        """The position of a finding.

        Raises:
            ValueError: It is not among them.
        """

    def count(self, value: Finding) -> int:
        """How often a finding is among them."""

    def to_polars(self) -> polars.DataFrame:
        """The findings as a polars data frame, over the same buffers.

        Raises:
            ImportError: polars is not installed.
        """

    def to_pandas(self) -> pandas.DataFrame:
        """The findings as a pandas data frame.

        Raises:
            ImportError: pandas or pyarrow is not installed.
        """

    def __arrow_c_schema__(self) -> object:
        """Exports the schema of the stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the findings as an Arrow stream."""

    def _repr_html_(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class LinkCoverage:
    """How the beginnings of chains are known. Chains that do not begin where they should are findings."""

    @property
    def from_first(self) -> int:
        """Chains that begin at sequence 1."""

    @property
    def from_trusted(self) -> int:
        """Chains that begin after a start head which the auditor brought."""

    @property
    def from_claimed(self) -> int:
        """Chains that begin after a start head which the side under test claims."""

@final
class SignatureCoverage:
    """Signatures that were decided."""

    @property
    def payload_hash(self) -> int:
        """Records decided under scheme `payload-hash`, which covers the payload hash only."""

    @property
    def record(self) -> int:
        """Records decided under scheme `record`, which covers the whole record."""

    @property
    def unchecked(self) -> int:
        """Records not decided: no key for the device, or none valid at the sequence."""

@final
class PayloadCoverage:
    """Payloads that were looked for."""

    @property
    def checked(self) -> int:
        """Payloads looked for, and hashed where found."""

@final
class HeadCoverage:
    """Heads that were compared."""

    @property
    def trusted(self) -> int:
        """Heads that the auditor brought."""

    @property
    def claimed(self) -> int:
        """Heads that the side under test claims."""

    @property
    def devices_without(self) -> int:
        """Devices in the input without a trusted head."""

    @property
    def devices_claimed(self) -> int:
        """Those of them for which a head is claimed."""

@final
class LogCoverage:
    """A log that was compared with a checkpoint."""

    @property
    def origin(self) -> str:
        """The name of the log."""

    @property
    def size(self) -> int:
        """The number of leaves up to the checkpoint."""

    @property
    def records(self) -> int:
        """Records of the input up to the checkpoint."""

    @property
    def after(self) -> int:
        """Records of the log after the checkpoint, which were not compared."""

    @property
    def unknown_leaves(self) -> int:
        """Leaves of kinds that this release does not know; only their hashes were checked."""

    @property
    def witnesses(self) -> int:
        """Witnesses of the policy that have signed the checkpoint."""

    @property
    def quorum(self) -> bool:
        """True if the policy requires witnesses."""

    @property
    def compared(self) -> bool:
        """True if the root was computed from the records and compared with the checkpoint."""

@final
class Coverage:
    """What was checked and what was not."""

    @property
    def records(self) -> int:
        """Records whose links were checked."""

    @property
    def devices(self) -> int:
        """Devices among them."""

    @property
    def malformed(self) -> int:
        """Entries that are no records."""

    @property
    def links(self) -> LinkCoverage:
        """How the beginnings of the chains are known."""

    @property
    def signatures(self) -> SignatureCoverage | None:
        """Signatures; None where no keys were given."""

    @property
    def payloads(self) -> PayloadCoverage | None:
        """Payloads; None where no payloads were given."""

    @property
    def heads(self) -> HeadCoverage | None:
        """Heads; None if there were none."""

    @property
    def log(self) -> LogCoverage | None:
        """The log; None if no checkpoint was given."""

    @property
    def not_checked(self) -> list[str]:
        """What was not checked, and what could therefore go unnoticed; one sentence each."""

    @property
    def provided_by(self) -> dict[InputKind, list[Provider]]:
        """The inputs that the levels were checked against, and by whom each was provided."""

@final
class Input:
    """One of the inputs of a verification."""

    @property
    def name(self) -> str:
        """Its name, such as a file path."""

    @property
    def format(self) -> str:
        """How it is written, such as `json`, `ndjson+gzip` or `parquet`."""

    @property
    def entries(self) -> int:
        """Entries read from it, malformed ones included."""

    @property
    def bytes(self) -> int | None:
        """Its size in bytes; None where it has none."""

@final
class ChainSpan:
    """What one chain spans."""

    @property
    def records(self) -> int:
        """Records found."""

    @property
    def lowest_sequence(self) -> int:
        """The lowest sequence found, wherever it stands."""

    @property
    def highest_sequence(self) -> int:
        """The highest."""

    @property
    def earliest_ms(self) -> int:
        """The earliest time that a record claims, Unix milliseconds."""

    @property
    def latest_ms(self) -> int:
        """The latest."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Report:
    """What a verification found. Its truth value means nothing: ask `ok`."""

    @property
    def ok(self) -> bool:
        """Whether all that was asked was checked and holds. False where there was nothing to verify."""

    @property
    def verdict(self) -> Verdict:
        """`valid`, `findings` or `nothing_to_verify`."""

    @property
    def findings(self) -> Findings:
        """The findings in the order of their records; findings without a record last."""

    @property
    def findings_omitted(self) -> int:
        """Findings that were counted but not kept."""

    @property
    def hints(self) -> list[str]:
        """Likely causes of many findings at once, and their cures; one sentence each.

        `to_dict()["hints"]` has them with their codes and figures.
        """

    @property
    def counts(self) -> dict[FindingCode, int]:
        """How many findings of each code, those that were not kept included."""

    @property
    def heads(self) -> dict[str, Head]:
        """The last link of each chain, as found, by device id."""

    @property
    def chains(self) -> dict[str, ChainSpan]:
        """What each chain spans, by device id."""

    @property
    def coverage(self) -> Coverage:
        """What was checked and what was not."""

    @property
    def inputs(self) -> list[Input]:
        """The inputs, in the order in which they were read."""

    def summary(self) -> str:
        """The report for people, as `eds verify-chain` prints it."""

    def to_dict(self) -> dict[str, object]:
        """The report as `eds verify-chain --json` gives it."""

    def to_json(self, *, indent: int | None = None) -> str:
        """The report as JSON, on one line or indented by so many blanks."""

    def to_html(self) -> str:
        """The report as one self-contained page, as `eds verify-chain --html` writes it.

        Reads the inputs once more where they are files, to show their hashes; a file that has changed since
        it was verified gets none.
        """

    def raise_for_findings(self) -> None:
        """Does nothing where the report is ok.

        Raises:
            VerificationError: There are findings, or there was nothing to verify.
        """

    def __arrow_c_schema__(self) -> object:
        """Exports the schema of the stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the findings as an Arrow stream; see `Findings`."""

    def _repr_html_(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Statistics:
    """How each device reported, one row a device; made by `device_statistics`. An Arrow stream.

    Times are those of the devices' own clocks. Columns:

    - `device_id`
    - `records`: how many were found, repeated ones included
    - `duplicates`: how many of them have a sequence that was there before
    - `first_sequence`, `last_sequence`: the lowest and the highest
    - `missing`: sequences between these two at which there is no record
    - `earliest_ms`, `latest_ms`: the earliest and the latest time of a record, Unix milliseconds
    - `rate_per_hour`: records an hour between these two; null where that is no time
    - `interval_median_ms`: the median time from one record to the next, to one part in sixteen
    - `longest_gap_ms`, `longest_gap_sequence`: the longest such time, and the record behind it
    - `gaps`: such times that are longer than `gap_ms`, or than ten medians; to one part in sixteen
    - `clock_backwards`: how often a record is dated before the one ahead of it
    - `clock_backwards_max_ms`, `clock_backwards_sequence`: the furthest such step, and its record
    - `silence_ms`: from the latest record to `until_ms`; 0 where that is earlier

    Columns in `_ms` are milliseconds.
    """

    @property
    def malformed(self) -> int:
        """Entries of the source that are no records, and so count nowhere."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""

    def to_dicts(self) -> list[dict[str, str | int | float | None]]:
        """The rows as dicts, by device id."""

    def to_polars(self) -> polars.DataFrame:
        """The table as a polars data frame, over the same buffers.

        Raises:
            ImportError: polars is not installed.
        """

    def to_pandas(self) -> pandas.DataFrame:
        """The table as a pandas data frame.

        Raises:
            ImportError: pandas or pyarrow is not installed.
        """

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object:
        """Exports the schema of the stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the table as an Arrow stream."""

    def _repr_html_(self) -> str: ...

@final
class RecordReader(Iterator[AuditRecord]):
    """The records of a source, one by one, in bounded memory; made by `read_records`.

    Also an Arrow stream, to be read once, of the records that were not yet taken, for pyarrow, polars, duckdb
    and others. Columns: device_id, sequence, timestamp_ms, payload_hash, signature, prev_record_hash,
    object_ref; the byte fields as fixed-size binary.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> AuditRecord:
        """The next record.

        Raises:
            RecordMalformed: The entry is no record. The reader can go on with the entry after it.
        """

    @property
    def skipped(self) -> int:
        """Malformed entries that were skipped so far."""

    def to_polars(self) -> polars.DataFrame:
        """The rest of the records as a polars data frame, once.

        Raises:
            ImportError: polars is not installed.
        """

    def to_pandas(self) -> pandas.DataFrame:
        """The rest of the records as a pandas data frame, once.

        Raises:
            ImportError: pandas or pyarrow is not installed.
        """

    def __arrow_c_schema__(self) -> object:
        """Exports the schema of the stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the rest of the records as an Arrow stream, once; then the reader is of no more use.

        Raises:
            ValueError: The records have gone into a stream before.
        """

def verify_chain(
    source: Source,
    *,
    keys: Keys | None = None,
    payloads: Path | None = None,
    heads: Heads | None = None,
    start_heads: Heads | None = None,
    manifest: Path | Manifest | None = None,
    checkpoint: Path | None = None,
    policy: Path | None = None,
    log_layout: Path | None = None,
    previous: Path | None = None,
    max_age: int | timedelta | None = None,
    scheme: Scheme = "payload-hash",
    require: Level | Iterable[Level] | None = None,
    progress: bool | BarFactory | None = None,
    threads: int | None = None,
    max_findings: int = 100_000,
) -> Report:
    """Verifies records and says what was found. Links are always checked, more where its input is given.

    The work runs on threads of its own without the GIL, in bounded memory whatever the size of the source.
    Ctrl-C raises KeyboardInterrupt within 200 ms.

    Args:
        source: A path or a list of paths (JSON, NDJSON, Arrow IPC or Parquet, recognised by content, also in
            gzip or zstd), the bytes of such a file, a binary file object, an iterable of records or of
            mappings with the seven fields, or an object with `__arrow_c_stream__`. Python objects are read by
            the calling thread.
        keys: Public keys, to check signatures: see `KeyRing`.
        payloads: A folder of payloads, to hash them again.
        heads: Trusted heads that the chains must contain, to find truncated chains and missing devices: a
            path, an earlier report, or a mapping from device id to `Head`.
        start_heads: Heads after which the chains must begin, for an export that starts mid-chain.
        manifest: The manifest of the export, which is one file: a path, or the result of `Ledger.export`. Its
            heads, and its start heads if you bring none, are claims of the exporter: they are checked, and
            the report says that they are claims.
        checkpoint: A checkpoint of the transparency log: the records must be exactly those of the log up to it.
        policy: Your policy, with the logs, witnesses and quorum that you trust; needed with `checkpoint`.
        log_layout: The layout of the log, as `eds export --log` writes it; by default the file with `.log` after
            the name of the export, if `source` is one path and that file exists.
        previous: A checkpoint of the same log that you kept from earlier: the log must continue it.
        max_age: The highest age of the checkpoint by the clocks of its witnesses: seconds, or a timedelta.
        scheme: The scheme of keys that do not name one.
        require: Levels that must be covered in full by what you bring. `heads` requires both ends of each
            chain: a trusted head, and a beginning at sequence 1 or after a trusted start head. `log` requires
            all records of a log up to the checkpoint, and no others.
        progress: True for a `tqdm.auto` bar, or a callable that makes such a bar.
        threads: Threads to verify with. If None, the variable RAYON_NUM_THREADS decides, else
            OMP_NUM_THREADS, else there is one a core; a CPU limit of a container counts.
        max_findings: Findings to keep in the report; all are counted.

    Returns:
        The report. Faults of the evidence are findings in it, never exceptions.

    Raises:
        FileNotFoundError: A file is missing.
        OSError: A file cannot be read.
        ConfigError: Keys, heads, checkpoint, policy or layout are unreadable, or a key is weak.
        UnreadableError: An input is not in a format that holds records.
        StoreError: A payload is there but cannot be read.
        TypeError: An argument has the wrong type.
        ValueError: An argument has a wrong value, or a required level lacks its input.
        RequirementError: The report is valid, but a required level was not covered in full, or the file is
            another than the manifest describes. It has the report.
        KeyboardInterrupt: Ctrl-C. The threads end by themselves soon after.
    """

def device_statistics(
    source: Source,
    *,
    gap_ms: int | None = None,
    until_ms: int | None = None,
    progress: bool | BarFactory | None = None,
    threads: int | None = None,
) -> Statistics:
    """Reads records and says of each device how it reported: rate, gaps, silence, clock, duplicates.

    Nothing is verified, and nothing here is a finding: a device may be silent, late or wrong about the time
    for honest reasons. One pass, in bounded memory; Ctrl-C raises KeyboardInterrupt within 200 ms.

    Args:
        source: As for `verify_chain`; also the records of a ledger, `ledger.records()`.
        gap_ms: The time from one record to the next above which it is a gap, in milliseconds; ten times the
            device's median if None.
        until_ms: Until when silence is counted, Unix milliseconds; the latest time of all records if None.
        progress: As for `verify_chain`.
        threads: As for `verify_chain`.

    Raises:
        FileNotFoundError: A file is missing.
        UnreadableError: An input is not in a format that holds records.
    """

def payload_hash(payload: Bytes) -> bytes:
    """The hash by which a record commits to a payload: BLAKE3, 32 bytes."""

def create_database(url: str, name: str) -> str:
    """Makes a database on a PostgreSQL server for a test, and returns its URL."""

def drop_database(url: str, name: str) -> None:
    """Drops a database of `create_database`."""

def verify_record(record: AuditRecord, key: ByteField, scheme: Scheme | None = None) -> bool:
    """Whether the signature of one record holds under a public key.

    Args:
        record: The record.
        key: The public key, 32 bytes or 64 hex digits.
        scheme: What the signature covers; by default the scheme of the key if it is a `PublicKey`, else
            `payload-hash`.

    Raises:
        ConfigError: The key is weak or malformed.
    """

def _restore(kind: str, state: bytes) -> Any:
    """Makes a result of its pickle."""

def read_records(source: Source, *, on_malformed: Literal["raise", "skip"] = "raise") -> RecordReader:
    """Reads the records of a source one by one, or as an Arrow stream. Nothing is verified.

    Args:
        source: As for `verify_chain`.
        on_malformed: What to do with an entry that is no record: raise `RecordMalformed`, or skip and count
            it.

    Raises:
        FileNotFoundError: A file is missing.
        UnreadableError: An input is not in a format that holds records; raised when the first record is
            taken.
    """

def write_records(records: Source, path: Path) -> int:
    """Writes records to a file, in the format that its name says, and returns how many there were.

    The file appears under its name only when it is complete.

    Args:
        records: As for `verify_chain`.
        path: `.json`, `.ndjson` or `.jsonl`, also with `.gz` or `.zst` behind; `.arrow` or `.parquet`.

    Raises:
        ValueError: The name does not say a format.
        RecordMalformed: An entry of the source is no record; nothing is written.
        OSError: The file cannot be written.
    """

def read_heads(path: Path) -> dict[str, Head]:
    """Reads a heads snapshot, as `write_heads` and `eds heads` write it.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It is no heads snapshot.
    """

def write_heads(
    heads: Heads | Ledger,
    path: Path,
    *,
    records: Source | None = None,
    history: Path | None = None,
    accept_rewrite: str | None = None,
) -> None:
    """Writes a heads snapshot; verify later exports against it with `heads=`.

    A snapshot that is there is replaced only by heads that extend it: every chain must still hold the record
    at the old head. Every state is kept under its time in a history.

    Args:
        heads: A report, a mapping from device id to `Head`, or a ledger, whose records show that its heads
            extend the old ones.
        path: Where to write it.
        records: The records that the heads are of, as `verify_chain` takes them; needed once a chain has gone
            on since the old heads, unless `heads` is a ledger.
        history: Folder for a dated copy of every state; by default `heads.d` for `heads.json`.
        accept_rewrite: Why heads that do not extend the old ones are accepted, such as a restore. It goes
            into the log of the history.

    Raises:
        HeadsRewrittenError: A chain was cut, rewritten or left out since the old heads; nothing was replaced.
        VerificationError: The records themselves do not hold.
        ConfigError: What is there is no snapshot, or records are needed.
        ValueError: The path is that of a source or a database.
        OSError: The file cannot be written.
    """

def shown(text: str) -> str:
    """Text that an exception quotes, so that neither a terminal nor a runner of a pipeline acts on it."""

def init_telemetry(
    log: str | None,
    filter: str | None,
    output: str,
    otlp_endpoint: str | None,
    otlp_protocol: str,
    otlp_timeout_seconds: int,
    service_name: str,
) -> None:
    """What `edgesentry.telemetry.init` stands on."""

def end_telemetry() -> None:
    """What `edgesentry.telemetry.shutdown` stands on."""

def metrics_text() -> str:
    """The metrics of this process in the Prometheus text format, every series from the beginning.

    They count whatever the log level. docs/reference/telemetry.md lists them.
    """

def run_command(argv: Sequence[str]) -> int:
    """Runs the command `eds` and returns its exit code; the first argument is the program's name."""

@final
class ClientCore:
    """What `edgesentry.Client` stands on."""

    def __new__(
        cls,
        url: str,
        token: str | None,
        ca: Path | None,
        identity: tuple[Path, Path] | None,
        timeout: float,
        attempts: int,
    ) -> Self: ...
    def close(self) -> None: ...
    def ingest(
        self, record: AuditRecord | Mapping[str, object], payload: bytes
    ) -> tuple[OutcomeStatus, RejectionCode | None, str | None, str | None, str | None, bool]: ...
    def ingest_many(
        self, items: list[tuple[AuditRecord | Mapping[str, object], bytes]]
    ) -> list[tuple[OutcomeStatus, RejectionCode | None, str | None, str | None, str | None, bool]]: ...

@final
class LedgerCore:
    """What `edgesentry.Ledger` stands on."""

    def __new__(
        cls, url: str | None, payloads: str | None, config: Path | None, create: bool, read_only: bool
    ) -> Self: ...
    def close(self) -> None: ...
    @property
    def place(self) -> str: ...
    def register(
        self, device_id: str, key: ByteField, scheme: Scheme, valid_from: int | None, start: Head | None
    ) -> None: ...
    def revoke(self, device_id: str) -> int: ...
    def key_ring(self) -> KeyRing: ...
    def devices(self) -> list[RegisteredDeviceDict]: ...
    def html(self) -> str: ...
    def ingest(
        self, items: Sequence[tuple[AuditRecord | Mapping[str, object], bytes]]
    ) -> list[tuple[OutcomeStatus, RejectionCode | None, str | None, str | None, str | None, bool]]: ...
    def export(
        self,
        path: Path,
        devices: Sequence[str],
        from_sequence: int | None,
        to_sequence: int | None,
        from_ms: int | None,
        before_ms: int | None,
        progress: bool | BarFactory | None,
    ) -> str: ...
    def records(
        self,
        devices: Sequence[str],
        from_sequence: int | None,
        to_sequence: int | None,
        from_ms: int | None,
        before_ms: int | None,
    ) -> RecordReader: ...
    def heads(self) -> dict[str, Head]: ...
    def verify(
        self,
        keys: Keys | None,
        heads: Heads | None,
        start_heads: Heads | None,
        manifest: Path | Manifest | None,
        payloads: bool,
        devices: Sequence[str],
        require: Level | Iterable[Level] | None,
        max_findings: int,
        progress: bool | BarFactory | None,
        threads: int | None,
    ) -> Report: ...
    def operation_log(
        self, device_id: str | None, outcome: str | None, reason: str | None, after_id: int, limit: int
    ) -> list[LogEntryDict]: ...
    def payload(self, record: AuditRecord | Mapping[str, object] | str) -> bytes | None: ...

@final
class Outbox:
    """A device that signs into a durable buffer, one SQLite file, and sends from it in order.

    A record is in the outbox before `sign` returns, and leaves it only when the service has answered that it
    holds the very same record. A crash between any two steps costs a resend and nothing else.

    Args:
        path: The file; made where it is missing.
        device: Who signs. A new outbox begins after the head of the device; one that is there knows its own.

    Raises:
        EdgesentryError: The outbox belongs to another device, or continues another chain.
        StoreError: The file cannot be opened.
    """

    def __new__(cls, path: Path, device: Device) -> Self: ...
    def sign(self, payload: Bytes, object_ref: str, timestamp_ms: int | None = None) -> AuditRecord:
        """Signs the next record of the chain and keeps it, durably, with its payload.

        Args:
            payload: What the record commits to.
            object_ref: Where the service shall keep the payload.
            timestamp_ms: Unix milliseconds; now by default.

        Raises:
            EdgesentryError: No ledger could take the record, or the chain is full.
            StoreError: The outbox cannot be written.
        """

    def flush(self, service: object) -> FlushedDict:
        """Sends what waits, in order, until nothing waits or the service rejects a record.

        Args:
            service: A `Client` of a service on the network, or an open `Ledger` with a payload store.

        Raises:
            StoreError: A store failed; what was not acknowledged still waits.
            ServiceError: The service refused or could not be reached; what was not acknowledged still waits.
        """

    @property
    def waiting(self) -> int:
        """How many records wait."""

    @property
    def head(self) -> Head | None:
        """The last link that was signed."""

    @property
    def rejection(self) -> KeptRejectionDict | None:
        """Why the service did not take the first record that waits, the last time it was asked."""

    def close(self) -> None:
        """Closes the file."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
