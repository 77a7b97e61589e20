"""The Rust core of EdgeSentry."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, BinaryIO, Final, Literal, NoReturn, Self, final, overload

import pandas
import polars
import pyarrow

from edgesentry._difference import Difference
from edgesentry._keys import PublicKey
from edgesentry._ledger import Ledger, Manifest
from edgesentry._typing import (
    ArrowStream,
    BarFactory,
    ByteField,
    Bytes,
    CheckpointConflictDict,
    Contested,
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
    Order,
    OutcomeStatus,
    Path,
    PendingDict,
    Provider,
    ReceiptMode,
    RecordDict,
    RegisteredDeviceDict,
    RejectionCode,
    Scheme,
    Signer,
    Source,
    Verdict,
)

__all__ = [
    "FINDING_CODES",
    "REJECTION_CODES",
    "AuditRecord",
    "Cause",
    "ChainSpan",
    "Checkpoint",
    "ClientCore",
    "Coverage",
    "Device",
    "DeviceIds",
    "Finding",
    "Findings",
    "Head",
    "HeadCoverage",
    "ImageHasher",
    "IngestAnswer",
    "Input",
    "KeyRing",
    "LedgerCore",
    "LinkCoverage",
    "LogCoverage",
    "LogInputs",
    "MonitorCore",
    "Outbox",
    "PackedHeads",
    "PackedKeys",
    "PayloadCoverage",
    "Pkcs11Signer",
    "Policy",
    "ProgramSigner",
    "PublisherKey",
    "RecordReader",
    "Report",
    "Segments",
    "SignatureCoverage",
    "Statistics",
    "TimeStamp",
    "UpdateCheck",
    "Verifier",
    "Witness",
    "__version__",
    "_restore",
    "complete_update",
    "create_update_state",
    "device_statistics",
    "end_telemetry",
    "file_states",
    "init_telemetry",
    "manifest_fields",
    "merge",
    "metrics_text",
    "payload_hash",
    "proven_fields",
    "read_heads",
    "read_records",
    "read_update_state",
    "run_command",
    "save_manifest",
    "shown",
    "sign_manifest",
    "trust_fields",
    "verify_bundle",
    "verify_chain",
    "verify_part",
    "verify_record",
    "verify_timestamp",
    "write_heads",
    "write_manifest",
    "write_records",
]

FINDING_CODES: Final[tuple[FindingCode, ...]]
"""Every finding code, in the order of the documentation."""

REJECTION_CODES: Final[tuple[RejectionCode, ...]]
"""Every reason for which the ingest service rejects a record."""

__version__: Final[str]

@final
class AuditRecord:
    """An entry of a device's chain, with seven fields. Immutable, comparable, hashable, picklable.

    Args:
        device_id: The device that wrote the record.
        sequence: 1, 2, 3, ... per device; at most 2**64 - 1.
        timestamp_ms: The time of the observation, Unix milliseconds by the device's clock.
        payload_hash: BLAKE3 of the payload, 32 bytes.
        signature: Ed25519 signature, 64 bytes: R then S.
        prev_record_hash: Record hash of the previous record of this device, 32 bytes; zero for the first.
        object_ref: The location of the payload, such as `s3://bucket/lift-01/1.bin`.

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
        """Creates a record from a mapping with exactly the seven fields, such as an object of a JSON export.

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
        """The time of the observation, Unix milliseconds by the device's clock."""

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
        """The location of the payload."""

    def hash(self) -> bytes:
        """Returns the record hash: BLAKE3 of the canonical bytes, 32 bytes."""

    def canonical_bytes(self) -> bytes:
        """Returns the bytes that the record hash covers: the seven fields in postcard encoding."""

    def signed_message(self, scheme: Scheme) -> bytes:
        """Returns the 32 bytes that a signature under this scheme covers.

        `payload-hash` covers the payload hash, `record` the derived digest of the record without its
        signature.
        """

    def to_dict(self) -> RecordDict:
        """Returns the seven fields, with byte fields as hex digits; the dict can be written as JSON."""

    def replace(self, **changes: object) -> AuditRecord:
        """Returns a copy with some fields changed. It keeps the old signature; see `Device.sign_record`.

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
        """Returns the sequence, and the hash as hex digits."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, tuple[int, bytes]]: ...

@final
class Pkcs11Signer:
    """An Ed25519 key in a token: a smart card, a USB token, a hardware security module.

    If the token was removed, the next signature finds it again. A wrong PIN is tried once.

    Args:
        uri: The PKCS#11 URI of the private key, such as `pkcs11:token=site-7;object=lift-01`.
        module: The library of the token, if the URI has no `module-path`.
        pin: The PIN.
        pin_file: A file with the PIN, mode 0600. Without both, the `pin-source` of the URI or the environment
            variable `EDS_PKCS11_PIN`.

    Raises:
        SignerError: No key or several keys match, or the token, its library or the PIN cannot be used.
        ValueError: The URI has another form.
    """

    def __new__(
        cls, uri: str, *, module: Path | None = None, pin: str | None = None, pin_file: Path | None = None
    ) -> Self: ...
    @classmethod
    def generate(
        cls, uri: str, *, module: Path | None = None, pin: str | None = None, pin_file: Path | None = None
    ) -> Pkcs11Signer:
        """Makes a key in the token, under the label `object` of the URI. The private key cannot leave it.

        Raises:
            SignerError: The token has a key of this label, or cannot make the key.
        """

    @property
    def public_key(self) -> str:
        """The public key, 64 hex digits."""

    def sign(self, message: Bytes) -> bytes:
        """Returns the Ed25519 signature of a message, verified.

        Raises:
            SignerError: The token did not sign.
        """

    def __reduce__(self) -> NoReturn: ...

@final
class ProgramSigner:
    """An Ed25519 key in another program, which answers one line for each line.

    The program gets no arguments. It is started when it is needed, and ended with this object.

    Args:
        program: The program.
        public_key: Its public key, 64 hex digits. The program is asked for it if it is None.
        timeout: Seconds that the program has for an answer.

    Raises:
        SignerError: The program does not start, or gives no public key.
        ConfigError: The public key is weak.
    """

    def __new__(cls, program: Path, *, public_key: str | None = None, timeout: float = 30.0) -> Self: ...
    @property
    def public_key(self) -> str:
        """The public key, 64 hex digits."""

    def sign(self, message: Bytes) -> bytes:
        """Returns the Ed25519 signature of a message, verified.

        Raises:
            SignerError: The program did not sign.
        """

    def __reduce__(self) -> NoReturn: ...

@final
class Device:
    """A device that signs its records and continues its own chain. Safe to use from several threads.

    Created by `generate`, `from_seed` or `from_seed_file`, or with a signer that has the key. A seed is kept
    in memory that is zeroized when the device is dropped, and is never shown.

    Args:
        device_id: Its id, not empty.
        signer: A `Pkcs11Signer`, a `ProgramSigner`, an object with `public_key` and `sign(message)`, or a
            function that gets a message and returns its Ed25519 signature. The message has 32 bytes, never a
            payload; that of the successor in a rotation is the statement of the succession. The signature is
            verified. An outbox calls the signer on a thread of its own. While it signs, it gets a
            `RuntimeError` from each use of an outbox, and from `sign` and `rotate` of its device.
        public_key: The public key of a function, 64 hex digits or 32 bytes.
        scheme: The scheme of its signatures.

    Raises:
        ConfigError: The public key is weak.
        ValueError: The id is empty, or a public key is missing.
    """

    def __new__(
        cls,
        device_id: str,
        *,
        signer: Signer | Callable[[bytes], bytes],
        public_key: str | bytes | PublicKey | None = None,
        scheme: Scheme = "record",
    ) -> Self: ...
    @classmethod
    def generate(cls, device_id: str, *, scheme: Scheme = "record") -> Device:
        """Creates a device with a new key, at the beginning of its chain.

        Args:
            device_id: Its id, not empty.
            scheme: The scheme of its signatures. `payload-hash` is for devices that support nothing else.
        """

    @classmethod
    def from_seed(cls, device_id: str, seed: ByteField, *, scheme: Scheme = "record") -> Device:
        """Creates a device from its 32-byte secret seed, at the beginning of its chain.

        Raises:
            ValueError: The seed is not 32 bytes, or the id is empty.
        """

    @classmethod
    def from_seed_file(cls, device_id: str, path: Path, *, scheme: Scheme = "record") -> Device:
        """Creates a device from a seed file, as `save_seed` and `eds keygen` write it.

        Raises:
            FileNotFoundError: The file does not exist.
            ConfigError: Users other than the owner may read the file, or it is not a seed file.
        """

    def save_seed(self, path: Path) -> None:
        """Writes the seed to a new file that only its owner can read (mode 0600).

        Raises:
            FileExistsError: The file exists; a seed is never overwritten.
            ValueError: The device has no seed: a signer has its key.
        """

    def sign(self, payload: Bytes, object_ref: str, timestamp_ms: int | None = None) -> AuditRecord:
        """Signs the next record of the chain.

        Args:
            payload: The observation; the record commits to its BLAKE3 hash.
            object_ref: The location of the payload.
            timestamp_ms: Unix milliseconds; the clock of this machine if None.

        Raises:
            EdgesentryError: The sequence has reached its largest value.
            SignerError: The signer failed; the chain has not changed.
        """

    def rotate(self, successor: Device, *, timestamp_ms: int | None = None) -> tuple[AuditRecord, bytes]:
        """Signs the succession of this device's key as the next record, and continues as `successor`.

        The record states the new key, which signs from the following sequence on. It is an ordinary record of
        the chain: store and send it with its payload.

        Args:
            successor: The device of the same id with the new key, such as
                `Device.generate(device.device_id)`. Keep its seed first.
            timestamp_ms: Unix milliseconds; the clock of this machine if None.

        Returns:
            The record and its payload.

        Raises:
            EdgesentryError: The sequence has reached its largest value.
            SignerError: A signer failed; the device has its key still, and the chain has not changed.
            ValueError: The successor has another id, the same key, or a weaker scheme.
        """

    def sign_record(self, record: AuditRecord) -> AuditRecord:
        """Returns a copy of the record with this device's signature; the device's chain does not change.

        For tests of an attacker who holds the key.

        Raises:
            SignerError: The signer failed.
        """

    def resume(self, last: Head | AuditRecord | None) -> Device:
        """Returns the same device, continuing after the last record that it signed; None for the beginning.

        Raises:
            ValueError: The record belongs to another device.
        """

    @property
    def device_id(self) -> str:
        """The device id."""

    @property
    def scheme(self) -> Scheme:
        """The scheme of its signatures."""

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
        scheme: The scheme of keys that have none of their own; by default `record`, and in a file
            `payload-hash`, as in the files of devices in the field.

    `verify_chain` trusts a ring that you create. The ring of `Ledger.key_ring` is a claim of the ledger; a
    ring created from it is trusted.

    Raises:
        FileNotFoundError: The file does not exist.
        ConfigError: The keys are malformed, a key is weak, or a key has both schemes.
    """

    def __new__(cls, keys: Keys | None = None, *, scheme: Scheme | None = None) -> Self: ...
    def add(
        self, device_id: str, key: ByteField, *, scheme: Scheme | None = None, valid_from: int = 1
    ) -> None:
        """Adds a key, and warns if another device has it: each could sign in the name of the other.

        Args:
            device_id: The device.
            key: Its public key, 32 bytes or 64 hex digits.
            scheme: The scheme of its signatures; by default the scheme of the key if it is a `PublicKey`,
                else `record`.
            valid_from: The first sequence that it signs; it is valid until the next key of the device begins.

        Raises:
            ConfigError: The key is weak, the ring has it with the other scheme, or another key of the device
                begins at this sequence.
        """

    def follow(
        self,
        source: Source,
        *,
        progress: bool | BarFactory | None = None,
        threads: int | None = None,
    ) -> KeyRing:
        """Returns this ring with the successor keys that its devices have announced in their records.

        Reads the records once, in order, and checks successions only: verify the same records with the ring
        that it returns, and with heads or a checkpoint. An attacker who has stolen a key can also announce a
        successor.

        Args:
            source: As for `verify_chain`.
            progress: As for `verify_chain`.
            threads: As for `verify_chain`.

        Raises:
            ConfigError: A succession does not hold, or contradicts the ring.
            FileNotFoundError: A file is missing.
            UnreadableError: An input is not in a format that holds records.
        """

    @property
    def devices(self) -> list[str]:
        """The ids of the devices that have a key, sorted."""

    def keys(self, device_id: str) -> list[KeyDict]:
        """Returns the keys of a device in the order in which they become valid; empty if it is unknown."""

    @classmethod
    def from_arrow(cls, table: ArrowStream, *, scheme: Scheme | None = None) -> KeyRing:
        """Reads keys from a table: `device_id`, `key`, and optionally `scheme` and `valid_from`.

        Each key is checked once, here. A pickle of the ring, as engines send it to workers, is not checked
        again.

        Args:
            table: An object with `__arrow_c_stream__`. `key` has 32 bytes, or 64 hex digits.
            scheme: The scheme of keys that have none of their own; by default `record`.

        Raises:
            TypeError: The object exports no Arrow.
            UnreadableError: A column is missing or has another type.
            ConfigError: A key is weak or malformed, or has both schemes.
        """

    def subset(self, devices: Iterable[str]) -> KeyRing:
        """Returns a ring with the keys of these devices alone, for a worker that has no others.

        A device that the ring lacks is left out: its records are an `unknown_device`.
        """

    def to_json(self) -> str:
        """Returns the ring as JSON, which `KeyRing` and `--keys` read."""

    def save(self, path: Path) -> None:
        """Writes the ring as JSON, replacing an existing file.

        Raises:
            OSError: The file cannot be written.
        """

    def _repr_html_(self) -> str: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[str]: ...
    def __getitem__(self, device_id: str, /) -> list[KeyDict]: ...
    def __contains__(self, device_id: object, /) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Cause:
    """The earlier finding that probably caused a later one."""

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
    """One failed check: its place, the expected value and the actual one."""

    @property
    def code(self) -> FindingCode:
        """The stable code; docs/findings has a page for each."""

    @property
    def level(self) -> Literal["links"] | Level:
        """The level of the check."""

    @property
    def explanation(self) -> str:
        """The meaning of the code, usual causes and what to do, as `eds explain` prints it."""

    @property
    def url(self) -> str:
        """The address of the page of the code."""

    @property
    def device_id(self) -> str | None:
        """The device; None for an entry too broken to name one."""

    @property
    def sequence(self) -> int | None:
        """The sequence that the record claims; for a truncated chain or a missing device that of the head."""

    @property
    def timestamp_ms(self) -> int | None:
        """The time that the record claims, Unix milliseconds; None if there is no record."""

    @property
    def index(self) -> int | None:
        """Position of the record, from 0, over all inputs; None if a record or chain is missing."""

    @property
    def expected(self) -> str:
        """The expected value; hashes as hex digits."""

    @property
    def actual(self) -> str:
        """The actual value; hashes as hex digits."""

    @property
    def record_hash(self) -> str | None:
        """Hash of the record as found, 64 hex digits; None if there is no record."""

    @property
    def cause(self) -> Cause | None:
        """The earlier finding that probably caused this one."""

    @property
    def input(self) -> str | None:
        """The name of the input that holds the record, such as its path."""

    @property
    def record(self) -> int | None:
        """The number of the record in that input, from 1; 0 for the input as a whole."""

    def to_dict(self) -> dict[str, object]:
        """Returns the finding as in the JSON report."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Findings:
    """The findings of a report: a sequence, and an Arrow stream with one row for each finding.

    Arrow columns: code, device_id, sequence, timestamp_ms, index, expected, actual, record_hash, cause_code,
    cause_sequence, cause_index, input, record. Hashes are hex digits.
    """

    @classmethod
    def from_arrow(cls, table: ArrowStream) -> Findings:
        """Reads findings from a table, such as one that was stored as Parquet or filtered in polars.

        The columns may have any order, and any type that holds their values; other columns are ignored.
        Columns that have the types of `Findings` are not copied.

        Args:
            table: Any object with `__arrow_c_stream__`: of pyarrow, polars, DuckDB and others.

        Raises:
            TypeError: The object exports no Arrow.
            UnreadableError: A column is missing or has another type, or a row is not a finding.
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
        """Returns the position of a finding.

        Raises:
            ValueError: The findings do not contain it.
        """

    def count(self, value: Finding) -> int:
        """Returns the number of findings that are equal to this one."""

    def filter(
        self,
        *,
        device: str | Sequence[str] | None = None,
        code: FindingCode | Sequence[FindingCode] | None = None,
        level: Literal["links"] | Level | Sequence[Literal["links"] | Level] | None = None,
    ) -> Findings:
        """Returns the findings of some devices, codes and levels, in their order.

        Args:
            device: A device id, or a list of them.
            code: A code, or a list of them.
            level: The level of the check, or a list of levels.

        Raises:
            ValueError: There is no such code or level.
        """

    def to_polars(self) -> polars.DataFrame:
        """Returns the findings as a polars data frame, without copying them.

        Raises:
            ImportError: polars is not installed.
        """

    def to_pandas(self) -> pandas.DataFrame:
        """Returns the findings as a pandas data frame, with nullable integers.

        Raises:
            ImportError: pandas or pyarrow is not installed.
        """

    def to_arrow(self, *, int64: bool = False) -> pyarrow.Table:
        """Returns the findings as a pyarrow table.

        Args:
            int64: Numbers are int64, for engines without unsigned types such as Spark.

        Raises:
            ImportError: pyarrow is not installed.
            ValueError: With `int64`, a number is larger than any int64.
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
    """The number of chains by their beginning. A chain with an unexpected beginning is a finding."""

    @property
    def from_first(self) -> int:
        """Chains that begin at sequence 1."""

    @property
    def from_trusted(self) -> int:
        """Chains that begin after a start head of the auditor."""

    @property
    def from_claimed(self) -> int:
        """Chains that begin after a start head which the side under test claims."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class SignatureCoverage:
    """Signatures that were checked."""

    @property
    def payload_hash(self) -> int:
        """Records checked under scheme `payload-hash`, which covers the payload hash only."""

    @property
    def record(self) -> int:
        """Records checked under scheme `record`, which covers the whole record."""

    @property
    def unchecked(self) -> int:
        """Records not checked: the device has no key, or none that is valid at the sequence."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class PayloadCoverage:
    """Payloads that were checked."""

    @property
    def checked(self) -> int:
        """Payloads looked for, and hashed if they were found."""

    @property
    def erased(self) -> int:
        """Missing payloads that the log of a trusted checkpoint says were erased: no findings."""

    @property
    def erased_present(self) -> int:
        """Payloads that this log says were erased, and that are there with the bytes of their records."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class HeadCoverage:
    """Heads that were compared."""

    @property
    def trusted(self) -> int:
        """Heads of the auditor."""

    @property
    def claimed(self) -> int:
        """Heads that the side under test claims."""

    @property
    def devices_without(self) -> int:
        """Devices in the input without a trusted head."""

    @property
    def devices_claimed(self) -> int:
        """Devices without a trusted head but with a claimed one."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

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
    def erased(self) -> int:
        """Records of the input whose payloads were erased, by the log; 0 if the checkpoint is not trusted."""

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

    @property
    def previous(self) -> bool | None:
        """True if the log was compared with the earlier checkpoint; None if there was none."""

    @property
    def predecessor(self) -> tuple[str, int, str] | None:
        """The log that this one succeeds: name, size and root in base64 of its last checkpoint.

        None if there is none, or if the checkpoint of this log is not trusted.
        """

    @property
    def timestamps(self) -> list[TimeStamp]:
        """The valid time stamps of the checkpoint."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class TimeStamp:
    """A valid time stamp of a checkpoint."""

    @property
    def file(self) -> str:
        """The name of the file."""

    @property
    def authority(self) -> str:
        """The subject of the certificate of the time stamping authority."""

    @property
    def serial(self) -> str:
        """The serial number of the stamp in hex."""

    @property
    def time_ms(self) -> int:
        """The time in the stamp, Unix milliseconds, rounded up."""

    @property
    def before_ms(self) -> int:
        """The checkpoint existed before this time: that of the stamp and its accuracy, Unix milliseconds."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Coverage:
    """The checks that were made, and those that were not."""

    @property
    def records(self) -> int:
        """Records whose links were checked."""

    @property
    def devices(self) -> int:
        """Devices among them."""

    @property
    def malformed(self) -> int:
        """Entries that are not records."""

    @property
    def links(self) -> LinkCoverage:
        """Chains by their beginning."""

    @property
    def signatures(self) -> SignatureCoverage | None:
        """Signatures; None if no keys were given."""

    @property
    def payloads(self) -> PayloadCoverage | None:
        """Payloads; None if no payloads were given."""

    @property
    def heads(self) -> HeadCoverage | None:
        """Heads; None if there were none."""

    @property
    def log(self) -> LogCoverage | None:
        """The log; None if no checkpoint was given."""

    @property
    def not_checked(self) -> list[str]:
        """Checks that were not made and faults that could therefore go unnoticed; one sentence each."""

    @property
    def provided_by(self) -> dict[InputKind, list[Provider]]:
        """The inputs that the levels were checked against, and who provided each."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Input:
    """An input of a verification."""

    @property
    def name(self) -> str:
        """Its name, such as a file path."""

    @property
    def format(self) -> str:
        """Its format, such as `json`, `ndjson+gzip` or `parquet`."""

    @property
    def entries(self) -> int:
        """Entries read from it, malformed ones included."""

    @property
    def bytes(self) -> int | None:
        """Its size in bytes; None if it has none."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class ChainSpan:
    """The range of sequences and times of a chain."""

    @property
    def records(self) -> int:
        """Records found."""

    @property
    def lowest_sequence(self) -> int:
        """The lowest sequence found, at any position."""

    @property
    def highest_sequence(self) -> int:
        """The highest sequence found."""

    @property
    def earliest_ms(self) -> int:
        """The earliest time that a record claims, Unix milliseconds."""

    @property
    def latest_ms(self) -> int:
        """The latest time that a record claims, Unix milliseconds."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Report:
    """The result of a verification. It has no truth value: use `ok`."""

    @property
    def ok(self) -> bool:
        """True if every requested check was made and passed. False if there was nothing to verify."""

    @property
    def verdict(self) -> Verdict:
        """`valid`, `findings` or `nothing_to_verify`."""

    @property
    def findings(self) -> Findings:
        """The findings in the order of their records, then the findings without a record."""

    @property
    def findings_omitted(self) -> int:
        """Findings that were counted but not kept."""

    @property
    def hints(self) -> list[str]:
        """Likely causes of many findings at once, and how to fix them; one sentence each.

        `to_dict()["hints"]` has them with their codes and figures.
        """

    @property
    def counts(self) -> dict[FindingCode, int]:
        """The number of findings of each code, including those that were not kept."""

    @property
    def heads(self) -> dict[str, Head]:
        """The last link of each chain, as found, by device id."""

    def heads_to_arrow(self, *, int64: bool = False) -> pyarrow.Table:
        """Returns the heads as a pyarrow table: `device_id`, `sequence`, and `hash` as 64 hex digits.

        Args:
            int64: Numbers are int64, for engines without unsigned types such as Spark.

        Raises:
            ImportError: pyarrow is not installed.
            ValueError: With `int64`, a number is larger than any int64.
        """

    @property
    def chains(self) -> dict[str, ChainSpan]:
        """The range of each chain, by device id."""

    @property
    def coverage(self) -> Coverage:
        """The checks that were made, and those that were not."""

    @property
    def inputs(self) -> list[Input]:
        """The inputs, in the order in which they were read."""

    def summary(self) -> str:
        """Returns the report as text, as `eds verify-chain` prints it."""

    def to_dict(self) -> dict[str, object]:
        """Returns the report as `eds verify-chain --json` prints it."""

    def to_json(self, *, indent: int | None = None) -> str:
        """Returns the report as JSON, on one line or indented by this number of spaces."""

    @classmethod
    def from_json(cls, json: str | bytes) -> Report:
        """Reads a report that was kept as JSON: of `to_json`, or the output of `eds verify-chain --json`.

        It verifies nothing: the report is as trustworthy as the place where it was kept. Evidence becomes
        text.

        Raises:
            UnreadableError: The text is not a report, or its parts contradict each other.
        """

    def to_html(self, path: Path | None = None) -> str:
        """Returns the report as one self-contained page, as `eds verify-chain --html` writes it.

        Reads inputs that are files once more, to show their hashes; a file that has changed since the
        verification gets none.

        Args:
            path: A file to write the page to.

        Raises:
            OSError: The file cannot be written.
        """

    def diff(self, after: Report) -> Difference:
        """Compares the findings with those of a later report: new, gone and same ones.

        Two findings are the same if code, device, sequence, record hash, expected and actual value are equal;
        their place in the files does not count.

        Raises:
            ValueError: A report does not keep all of its findings; see `max_findings`.
        """

    def raise_for_findings(self) -> None:
        """Raises an exception unless the report is ok.

        Raises:
            VerificationError: There are findings, or there was nothing to verify.
        """

    def __arrow_c_schema__(self) -> object:
        """Exports the schema of the stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the findings as an Arrow stream; see `Findings`."""

    def _repr_html_(self) -> str: ...
    def __bool__(self) -> NoReturn: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Statistics:
    """Statistics of each device, one row for each; created by `device_statistics`. An Arrow stream.

    Times are those of the devices' own clocks. Columns:

    - `device_id`
    - `records`: number of records, repeated ones included
    - `duplicates`: number of records whose sequence occurred before
    - `first_sequence`, `last_sequence`: the lowest and the highest sequence
    - `missing`: sequences between these two without a record
    - `earliest_ms`, `latest_ms`: the earliest and the latest time of a record, Unix milliseconds
    - `first_ms`, `last_ms`: the times of the records with the lowest and the highest sequence
    - `rate_per_hour`: records per hour between these two; null if they are equal
    - `interval_median_ms`: the median time from one record to the next, to one part in sixteen
    - `longest_gap_ms`, `longest_gap_sequence`: the longest such time, and the record after it
    - `gaps`: number of such times longer than `gap_ms`, or than ten medians; to one part in sixteen
    - `clock_backwards`: number of records dated before the previous one
    - `clock_backwards_max_ms`, `clock_backwards_sequence`: the largest such step, and its record
    - `clock_forwards`: number of times from one sequence to the next longer than `jump_ms`, or than ten
      medians and 30 minutes; to one part in sixteen
    - `clock_forwards_max_ms`, `clock_forwards_sequence`: the longest such time, and the record after it
    - `clock_ahead`: number of records later than `now_ms`; null without it
    - `silence_ms`: from the latest record to `until_ms`; 0 if `until_ms` is earlier

    Columns in `_ms` are milliseconds.
    """

    @property
    def malformed(self) -> int:
        """Entries of the source that are not records; no column counts them."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""

    def to_dicts(self) -> list[dict[str, str | int | float | None]]:
        """Returns the rows as dicts, sorted by device id."""

    def to_polars(self) -> polars.DataFrame:
        """Returns the table as a polars data frame, without copying it.

        Raises:
            ImportError: polars is not installed.
        """

    def to_pandas(self) -> pandas.DataFrame:
        """Returns the table as a pandas data frame, with nullable integers.

        Raises:
            ImportError: pandas or pyarrow is not installed.
        """

    def __len__(self) -> int: ...
    def to_arrow(self, *, int64: bool = False) -> pyarrow.Table:
        """Returns the table as a pyarrow table.

        Args:
            int64: Numbers are int64, for engines without unsigned types such as Spark.

        Raises:
            ImportError: pyarrow is not installed.
            ValueError: With `int64`, a number is larger than any int64.
        """

    def __arrow_c_schema__(self) -> object:
        """Exports the schema of the stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the table as an Arrow stream."""

    def _repr_html_(self) -> str: ...

@final
class RecordReader(Iterator[AuditRecord]):
    """The records of a source, one by one, in bounded memory; created by `read_records`.

    Also an Arrow stream of the records not yet read, for pyarrow, polars, duckdb and others; it can be read
    once. Columns: device_id, sequence, timestamp_ms, payload_hash, signature, prev_record_hash, object_ref;
    the byte fields as fixed-size binary.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> AuditRecord:
        """Returns the next record.

        Raises:
            RecordMalformed: The entry is not a record. The reader can continue with the next entry.
        """

    @property
    def skipped(self) -> int:
        """Malformed entries skipped so far."""

    def to_polars(self) -> polars.DataFrame:
        """Returns the rest of the records as a polars data frame, once.

        Raises:
            ImportError: polars is not installed.
        """

    def to_pandas(self) -> pandas.DataFrame:
        """Returns the rest of the records as a pandas data frame, once.

        Raises:
            ImportError: pandas or pyarrow is not installed.
        """

    def __arrow_c_schema__(self) -> object:
        """Exports the schema of the stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the rest of the records as an Arrow stream, once; the reader cannot be used afterwards.

        Raises:
            ValueError: The records were exported before.
        """

def verify_bundle(
    bundle: Path | Bytes | BinaryIO,
    *,
    policy: Path | Policy | None = None,
    keys: Keys | None = None,
    previous: Path | Checkpoint | None = None,
    max_age: int | timedelta | None = None,
    tsa_roots: Path | None = None,
    scheme: Scheme | None = None,
    require: Level | Iterable[Level] | None = None,
    progress: bool | BarFactory | None = None,
    threads: int | None = None,
    max_findings: int = 100_000,
) -> Report:
    """Verifies an evidence bundle, offline: records, signatures, heads, and the checkpoint of the log.

    The bytes are read once, in bounded memory, on threads without the GIL.

    Args:
        bundle: The path of the bundle, its bytes, or a binary file object.
        policy: Your policy, with the logs, witnesses and quorum that you trust. By default the policy in the
            bundle, which is a claim: the report then shows only that the bundle agrees with itself.
        keys: Public keys, to check signatures: see `KeyRing`. By default those in the bundle, which are
            claims. The key ring of a ledger is a claim too, and takes their place.
        previous: An earlier checkpoint of the same log that you kept: the log must continue it.
        max_age: The maximum age of the checkpoint by the clocks of its witnesses: seconds, or a timedelta.
        tsa_roots: Certificates in PEM: the roots of the time stamping authorities that you trust. Without
            them the time stamps in the bundle are not verified.
        scheme: The scheme of keys that do not name one; by default as in `KeyRing`.
        require: Levels that your inputs must cover in full: `signatures`, `payloads`, `log`. `log` requires a
            bundle of the whole log, and a policy with witnesses.
        progress: As for `verify_chain`.
        threads: As for `verify_chain`.
        max_findings: Findings to keep in the report; all are counted.

    Returns:
        The report. A file that is not a bundle is a finding in it, `bundle_malformed`.

    Raises:
        OSError: The bundle cannot be read.
        ConfigError: Keys, policy or checkpoint are unreadable, or there is no policy.
        TypeError: An argument has the wrong type.
        ValueError: An argument has a wrong value, or a required level lacks its input.
        RequirementError: The report is valid, but a required level was not covered in full. It has the
            report.
        KeyboardInterrupt: Ctrl-C.
    """

def verify_timestamp(
    stamp: Path | Bytes,
    checkpoint: Path | Checkpoint,
    *,
    tsa_roots: Path,
    nonce: int | None = None,
) -> TimeStamp:
    """Verifies a time stamp of a checkpoint (RFC 3161), offline.

    Args:
        stamp: The answer of a time stamping authority: its path, or its bytes.
        checkpoint: The checkpoint.
        tsa_roots: Certificates in PEM: the roots of the time stamping authorities that you trust.
        nonce: The nonce of the request, if the stamp is the answer to your own.

    Raises:
        OSError: A file cannot be read.
        ConfigError: Checkpoint or roots are unreadable.
        ProofError: The stamp does not hold; `code` is the reason.
    """

def verify_chain(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: str | Sequence[str] | None = None,
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
    timestamps: Path | Sequence[Path] | None = None,
    tsa_roots: Path | None = None,
    scheme: Scheme | None = None,
    order: Order = "position",
    require: Level | Iterable[Level] | None = None,
    progress: bool | BarFactory | None = None,
    threads: int | None = None,
    max_findings: int = 100_000,
) -> Report:
    """Verifies records. Links are always checked, other levels if their input is given.

    Runs on its own threads without the GIL. Memory is bounded and does not depend on the size of the source.
    Ctrl-C raises KeyboardInterrupt within 200 ms.

    Args:
        source: A path or a list of paths: files (JSON, NDJSON, Arrow IPC or Parquet, recognised by content,
            also in gzip or zstd), directories with all files in them, patterns such as `day=*/*.parquet`,
            `file:` and `s3://BUCKET/KEY` URLs. Or the bytes of such a file, a binary file object, an iterable
            of records or of mappings with the seven fields, an object with `__arrow_c_stream__`, or a lazy
            frame of polars, a frame of Dask, or a table of deltalake or pyiceberg. Python objects are read by
            the calling thread.
        columns: The name of the column that holds a field, if it is another one, for example
            `{"timestamp_ms": "event_time"}`.
        ignore: Names of columns that are not fields of a record, which are left out. No hash covers them, so
            any other column is an error.
        keys: Public keys, to check signatures: see `KeyRing`.
        payloads: A directory of payloads, to hash them again.
        heads: Trusted heads that the chains must contain, to find truncated chains and missing devices: a
            path, an earlier report without findings, or a mapping from device id to `Head`.
        start_heads: Heads after which the chains must begin, for an export that starts mid-chain.
        manifest: The manifest of the export, which is one file: a path, or the result of `Ledger.export`. Its
            heads, and its start heads if `start_heads` is None, are claims of the exporter: they are checked,
            and the report marks them as claims.
        checkpoint: A checkpoint of the transparency log: the records must be exactly those of the log up to
            it.
        policy: Your policy, with the logs, witnesses and quorum that you trust; required with `checkpoint`.
        log_layout: The layout of the log, as `eds export --log` writes it; by default the file with `.log`
            after the name of the export, if `source` is one path and that file exists.
        previous: An earlier checkpoint of the same log that you kept: the log must continue it.
        max_age: The maximum age of the checkpoint by the clocks of its witnesses: seconds, or a timedelta.
        timestamps: Time stamps of the checkpoint (RFC 3161); required with `tsa_roots`.
        tsa_roots: Certificates in PEM: the roots of the time stamping authorities that you trust.
        scheme: The scheme of keys that do not name one; by default as in `KeyRing`.
        order: The order of the records of a chain. `position` is that in the source, as in an export.
            `sequence` is that of the sequence numbers, for a table, whose rows have no order: the report is
            that of the table sorted by all seven columns.
        require: Levels that trusted inputs must cover in full. `heads` requires both ends of each chain: a
            trusted head, and a beginning at sequence 1 or after a trusted start head. `log` requires all
            records of a log up to the checkpoint, and no others.
        progress: True for a `tqdm.auto` bar, or a callable that creates such a bar.
        threads: Number of threads; by default the value of RAYON_NUM_THREADS, else of OMP_NUM_THREADS, else
            one per core, within the CPU limit of a container.
        max_findings: Findings to keep in the report; all are counted.

    Returns:
        The report. Faults of the evidence are findings in it, never exceptions.

    Raises:
        FileNotFoundError: A file is missing.
        OSError: A file cannot be read.
        ConfigError: Keys, heads, checkpoint, policy or layout are unreadable, or a key is weak.
        UnreadableError: An input is not in a format that holds records.
        StoreError: A payload exists but cannot be read.
        TypeError: An argument has the wrong type.
        ValueError: An argument has a wrong value, or a required level lacks its input.
        RequirementError: The report is valid, but a required level was not covered in full, or the file is
            not the one that the manifest describes. It has the report.
        KeyboardInterrupt: Ctrl-C. The threads end by themselves soon after.
    """

@final
class Segments:
    """Verified records of some inputs of a run, without the records: one small row for each input and device.

    `verify_part` and `Verifier` make them, in any process. They pickle, and are Arrow tables. `merge` joins
    those of a run, and `report` gives the report that one process over all inputs would give.

    Segments are as trusted as the process that made them: it decides the verdict about its records. Damaged
    segments, and those of other runs, are refused.
    """

    @property
    def order(self) -> Order:
        """The order of the records of a chain: `position` or `sequence`."""

    @property
    def records(self) -> int:
        """The number of records."""

    @property
    def devices(self) -> int:
        """The number of devices with records."""

    @property
    def inputs(self) -> dict[int, Input]:
        """The inputs, by their position."""

    @property
    def contested(self) -> Contested:
        """The records to verify again before there is a report, by device.

        Each item has the first sequence, the last sequence and the number of records. In the order of
        position, these are chains that run backwards and have records in several parts; in the order of
        sequence, chains with the same sequence in several places. Intact records are never among them.
        """

    def report(
        self,
        *,
        heads: Heads | None = None,
        start_heads: Heads | None = None,
        inputs: int | None = None,
        keys: Keys | None = None,
        log: LogInputs | None = None,
    ) -> Report:
        """Returns the report of all inputs.

        Args:
            heads: The same trusted heads as those of the parts; each part needs those of its devices alone.
            start_heads: Heads after which the chains must begin.
            inputs: The number of inputs of the run, to refuse a result that lacks some.
            keys: The same keys as those of the parts, all of them. With `log`, they are compared with those
                of the log.
            log: The same log as that of the parts, if they have one.

        Raises:
            ValueError: Records are contested, an input is missing, or heads, keys or log are not those of the
                parts.
        """

    def heads_table(self) -> ArrowStream:
        """Returns the last link of each chain as a table, to be the heads of a later run."""

    def split(self, shares: int) -> list[Segments]:
        """Divides the segments by device, for workers that each merge one share of all parts.

        Every share has all inputs. The shares with the same index of all parts merge, and `unite` joins the
        results. A device is in the same share in every process.

        Args:
            shares: The number of shares.
        """

    def share_tables(self, shares: int) -> list[ArrowStream]:
        """Returns the rows of each share of `split` as tables, in less memory than `split` takes.

        Args:
            shares: The number of shares.
        """

    @staticmethod
    def unite(shares: Iterable[Segments]) -> Segments:
        """Joins all shares of the same inputs.

        Args:
            shares: One merged share of each index of `split`, in any order.

        Raises:
            UnreadableError: A share lacks an input, or a device is in two shares.
            ValueError: They are not of one run.
        """

    @classmethod
    def from_arrow(cls, table: ArrowStream) -> Segments:
        """Restores segments from the rows of one part or of several, in any order.

        Raises:
            TypeError: The object exports no Arrow.
            UnreadableError: A row is damaged, missing, there twice, or of another release.
            ValueError: The rows are of different runs.
        """

    def __arrow_c_schema__(self) -> object:
        """Exports the schema of the stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports the rows as an Arrow stream; one row has no device.

        Its columns are `device_id`, `first_sequence`, `last_sequence`, `records`, `findings` and `state`.
        """

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

def merge(parts: Iterable[Segments]) -> Segments:
    """Joins the segments of one run; their order and grouping change nothing.

    Raises:
        TypeError: An item is not `Segments`.
        ValueError: There are none, they are not of one run, or two have the same input.
    """

def verify_part(
    source: Source,
    *,
    position: int | Sequence[int],
    columns: Mapping[str, str] | None = None,
    ignore: str | Sequence[str] | None = None,
    keys: Keys | None = None,
    payloads: Path | None = None,
    payload_sample: tuple[float, int] | None = None,
    heads: Heads | None = None,
    log: LogInputs | None = None,
    scheme: Scheme | None = None,
    order: Order = "position",
    contested: Contested | None = None,
    places: Sequence[int] | None = None,
    byte_ranges: Sequence[tuple[int, int]] | None = None,
    threads: int | None = None,
    max_findings: int = 100_000,
) -> Segments:
    """Verifies some inputs of a run, such as one file in a task of an engine.

    Args:
        source: The records, as `verify_chain` takes them.
        position: The position of the source among the inputs of the run, from 0. Several paths have positions
            from this one on. In the order of position it is the order of the inputs, without holes. With
            `contested`, also a list with the position of each input.
        columns: As for `verify_chain`.
        ignore: As for `verify_chain`.
        keys: Public keys, at least those of the devices in the source: see `KeyRing.subset`.
        payloads: A directory of payloads, to hash them again, or `s3://BUCKET`.
        payload_sample: The share of the payloads to check, from 0 to 1, and a seed: one of 64 bits that the
            author of the records cannot know.
        heads: Trusted heads, at least those of the devices in the source.
        log: The log to compare the records with: the same in all parts, and in the report.
        scheme: The scheme of keys that do not name one; by default as in `KeyRing`.
        order: The order of the records of a chain, as in `verify_chain`.
        contested: Records to verify again: `Segments.contested` of all merged parts, or some of its devices.
            The source is then all inputs with such records, from `position` on; others are skipped.
        places: With `contested`: the place of each record: its position times 2^40, plus its row.
        byte_ranges: A range of bytes of each path, of which the row groups of Parquet that begin in it are
            verified. A file in another format is wholly in the range that begins at 0.
        threads: Number of threads; by default as in `verify_chain`.
        max_findings: Findings to keep; all are counted. The same in all parts.

    Raises:
        FileNotFoundError: A file is missing.
        OSError: A file cannot be read.
        ConfigError: Keys or heads are unreadable, or a key is weak.
        UnreadableError: An input is not in a format that holds records.
        StoreError: A payload exists but cannot be read.
        TypeError: An argument has the wrong type.
        ValueError: An argument has a wrong value, or the rows are in random order and too many.
        KeyboardInterrupt: Ctrl-C. The threads end by themselves soon after.
    """

@final
class Verifier:
    """Verifies a part whose records are pushed, such as in a table function or an actor.

    Args:
        position: The position of the records among the inputs of the run, as in `verify_part`.
        columns: As for `verify_chain`.
        ignore: As for `verify_chain`.
        keys: Public keys, at least those of the devices in the records.
        payloads: A directory of payloads, to hash them again, or `s3://BUCKET`.
        payload_sample: As for `verify_part`.
        heads: Trusted heads, at least those of the devices in the records.
        log: As for `verify_part`.
        scheme: The scheme of keys that do not name one; by default as in `KeyRing`.
        order: The order of the records of a chain, as in `verify_chain`.
        name: The name of the input in findings.
        threads: Number of threads; by default as in `verify_chain`.
        max_findings: Findings to keep; all are counted. The same in all parts.
    """

    def __new__(
        cls,
        *,
        position: int,
        columns: Mapping[str, str] | None = None,
        ignore: str | Sequence[str] | None = None,
        keys: Keys | None = None,
        payloads: Path | None = None,
        payload_sample: tuple[float, int] | None = None,
        heads: Heads | None = None,
        log: LogInputs | None = None,
        scheme: Scheme | None = None,
        order: Order = "position",
        name: str = "records",
        threads: int | None = None,
        max_findings: int = 100_000,
    ) -> Self: ...
    def push(
        self,
        batch: Source,
        *,
        keys: Keys | None = None,
        heads: Heads | PackedHeads | None = None,
    ) -> None:
        """Verifies the next records, as `verify_chain` takes them. After an error the verifier is of no use.

        Args:
            batch: The records.
            keys: Public keys of devices without records in earlier batches.
            heads: Trusted heads of devices without records in earlier batches.

        Raises:
            UnreadableError: The batch is not in a format that holds records.
            StoreError: A payload exists but cannot be read.
            ValueError: The verifier has ended or failed, or keys or heads differ from earlier ones.
        """

    def finish(self) -> Segments:
        """Returns the segments of all records, and ends the verifier.

        Raises:
            ValueError: The verifier has ended, or a call has failed.
        """

@final
class LogInputs:
    """The inputs of the level `log`, for the parts of a run and its report: see `verify_part`.

    The files are read once. The object pickles with their contents, so workers do not need the files.

    Args:
        checkpoint: As for `verify_chain`.
        policy: As for `verify_chain`.
        log_layout: As for `verify_chain`.
        previous: As for `verify_chain`.
        max_age: As for `verify_chain`; it counts when the report is made.
        timestamps: As for `verify_chain`.
        tsa_roots: As for `verify_chain`.
        source: The records, beside which the layout is if `log_layout` is None, as for `verify_chain`.

    Raises:
        FileNotFoundError: A file is missing.
        OSError: A file cannot be read.
        ConfigError: A file is not a checkpoint, a policy, a layout or a root.
        ValueError: `checkpoint` or `policy` is missing.
    """

    def __new__(
        cls,
        *,
        checkpoint: Path | None = None,
        policy: Path | None = None,
        log_layout: Path | None = None,
        previous: Path | None = None,
        max_age: int | timedelta | None = None,
        timestamps: Path | Sequence[Path] | None = None,
        tsa_roots: Path | None = None,
        source: object = None,
    ) -> Self: ...

@final
class DeviceIds:
    """The devices in some files, of which Parquet is read in part.

    Args:
        paths: As the source of `verify_part`.
        byte_ranges: As for `verify_part`.
        columns: As for `verify_chain`.
        ignore: As for `verify_chain`.
    """

    def __new__(
        cls,
        paths: Source,
        byte_ranges: Sequence[tuple[int, int]],
        *,
        columns: Mapping[str, str] | None = None,
        ignore: str | Sequence[str] | None = None,
    ) -> Self: ...

@final
class PackedKeys:
    """The keys of a ring as bytes, of which a task decodes those of its devices alone.

    Args:
        ring: The ring.
    """

    def __new__(cls, ring: KeyRing) -> Self: ...
    def of_devices(self, devices: AbstractSet[str] | DeviceIds) -> KeyRing:
        """Returns the ring of some devices."""

@final
class PackedHeads:
    """Trusted heads as bytes, of which a task decodes those of its devices alone.

    Args:
        heads: Heads, as `verify_chain` takes them.
    """

    def __new__(cls, heads: object) -> Self: ...
    def of_devices(self, devices: AbstractSet[str] | DeviceIds) -> PackedHeads:
        """Returns the heads of some devices."""

def file_states(path: Path) -> list[tuple[str, int, str]]:
    """Returns the files or objects that a path stands for.

    Each has its name, its size in bytes, and a text that changes with each version.
    """

def device_statistics(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: str | Sequence[str] | None = None,
    gap_ms: int | None = None,
    until_ms: int | None = None,
    jump_ms: int | None = None,
    now_ms: int | None = None,
    progress: bool | BarFactory | None = None,
    threads: int | None = None,
) -> Statistics:
    """Reads records and computes statistics of each device: rate, gaps, silence, clock, duplicates.

    It verifies nothing, and none of the figures is a finding: a device may be silent or late, or its clock
    wrong, for honest reasons. One pass, in bounded memory; Ctrl-C raises KeyboardInterrupt within 200 ms.

    Args:
        source: As for `verify_chain`; also the records of a ledger, `ledger.records()`.
        columns: As for `verify_chain`.
        ignore: As for `verify_chain`.
        gap_ms: The time between two records above which it is a gap, in milliseconds; ten times the device's
            median if None.
        until_ms: The time until which silence is counted, Unix milliseconds; the latest time of all records
            if None.
        jump_ms: The time from one sequence to the next above which the clock jumped forward, in milliseconds;
            ten times the device's median, and at least 30 minutes, if None.
        now_ms: The time of the reader, Unix milliseconds, after which records are counted as of the future.
        progress: As for `verify_chain`.
        threads: As for `verify_chain`.

    Raises:
        FileNotFoundError: A file is missing.
        UnreadableError: An input is not in a format that holds records.
    """

def payload_hash(payload: Bytes) -> bytes:
    """Returns the hash by which a record commits to a payload: BLAKE3, 32 bytes."""

def verify_record(record: AuditRecord, key: ByteField, scheme: Scheme | None = None) -> bool:
    """Returns True if the signature of the record is valid under a public key.

    Args:
        record: The record.
        key: The public key, 32 bytes or 64 hex digits.
        scheme: The scheme of the signature; by default the scheme of the key if it is a `PublicKey`, else
            `record`. Warns if the signature holds under the other one instead.

    Raises:
        ConfigError: The key is weak or malformed.
    """

def _restore(kind: str, state: bytes) -> Any:
    """Restores a result from its pickle."""

def read_records(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: str | Sequence[str] | None = None,
    int64: bool = False,
    on_malformed: Literal["raise", "skip"] = "raise",
) -> RecordReader:
    """Reads the records of a source one by one, or as an Arrow stream. Nothing is verified.

    Args:
        source: As for `verify_chain`.
        columns: As for `verify_chain`.
        ignore: As for `verify_chain`.
        int64: Numbers in the Arrow stream are int64, for engines without unsigned types such as Spark. A
            larger number is an error of the stream.
        on_malformed: For an entry that is not a record: raise `RecordMalformed`, or skip and count it.

    Raises:
        FileNotFoundError: A file is missing.
        UnreadableError: An input is not in a format that holds records; raised when the first record is
            read.
    """

def write_records(
    records: Source,
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: str | Sequence[str] | None = None,
    int64: bool = False,
) -> int:
    """Writes records to a file and returns their number. The extension of the file selects the format.

    The file appears under its name only when it is complete.

    Args:
        records: As for `verify_chain`.
        path: `.json`, `.ndjson` or `.jsonl`, also followed by `.gz` or `.zst`; `.arrow` or `.parquet`.
        columns: As for `verify_chain`.
        ignore: As for `verify_chain`.
        int64: Numbers in Arrow and Parquet are int64, for engines without unsigned types such as Spark.

    Raises:
        ValueError: The extension is not that of a format.
        RecordMalformed: An entry of the source is not a record; nothing is written.
        OSError: The file cannot be written, or with `int64`, a number is larger than any int64.
    """

def read_heads(path: Path) -> dict[str, Head]:
    """Reads a heads snapshot, as `write_heads` and `eds heads` write it.

    Raises:
        FileNotFoundError: The file does not exist.
        ConfigError: The file is not a heads snapshot.
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

    An existing snapshot is replaced only by heads that extend it: every chain must still hold the record at
    the old head. A history keeps every state under its time.

    Args:
        heads: A report without findings, a mapping from device id to `Head`, or a ledger, whose records show
            that its heads extend the old ones.
        path: The file to write.
        records: The records of the heads, as `verify_chain` takes them; required if a chain has grown since
            the old heads, unless `heads` is a ledger.
        history: Directory for a dated copy of every state; by default `heads.d` for `heads.json`.
        accept_rewrite: The reason to accept heads that do not extend the old ones, such as a restore. The log
            of the history records it.

    Raises:
        HeadsRewrittenError: A chain was cut, rewritten or left out since the old heads; nothing was replaced.
        VerificationError: The records have findings.
        ConfigError: The existing file is not a snapshot, records are required, or the report has findings.
        ValueError: The path is that of a source or a database.
        OSError: The file cannot be written.
    """

def shown(text: str) -> str:
    """Escapes text for an exception, so that neither a terminal nor a pipeline runner acts on it."""

def init_telemetry(
    log: str | None,
    filter: str | None,
    output: str,
    otlp_endpoint: str | None,
    otlp_protocol: str,
    otlp_timeout_seconds: int,
    service_name: str,
) -> None:
    """Implements `edgesentry.telemetry.init`."""

def end_telemetry() -> None:
    """Implements `edgesentry.telemetry.shutdown`."""

def metrics_text() -> str:
    """Returns the metrics of this process in the Prometheus text format, with every series from the start.

    They do not depend on the log level. docs/reference/telemetry.md lists them.
    """

def run_command(argv: Sequence[str]) -> int:
    """Runs the command `eds` and returns its exit code; the first argument is the program's name."""

@final
class IngestAnswer:
    """The outcome of a record: `edgesentry.Outcome` without the place of the record."""

    @property
    def outcome(self) -> OutcomeStatus: ...
    @property
    def reason(self) -> RejectionCode | None: ...
    @property
    def expected(self) -> str | None: ...
    @property
    def actual(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def retryable(self) -> bool: ...

@final
class ClientCore:
    """Implements `edgesentry.Client`."""

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
    def fetch(self, method: str, path: str, body: bytes | None, limit: int) -> bytes: ...
    def ingest(self, record: AuditRecord | Mapping[str, object], payload: bytes) -> IngestAnswer: ...
    def ingest_many(
        self, items: list[tuple[AuditRecord | Mapping[str, object], bytes]]
    ) -> list[IngestAnswer]: ...

@final
class MonitorCore:
    """Implements `edgesentry.Monitor`."""

    def __new__(
        cls,
        url: str,
        policy: Policy | Path,
        state: Path,
        origin: str | None,
        token: str | None,
        ca: Path | None,
        timeout: float,
        max_age: int | timedelta | None,
        accept_policy: bool,
    ) -> Self: ...
    def check(self) -> dict[str, Any]: ...
    def evidence(self, id: int) -> dict[str, bytes]: ...
    def acknowledge(self, id: int) -> bool: ...
    def close(self) -> None: ...

@final
class LedgerCore:
    """Implements `edgesentry.Ledger`."""

    def __new__(
        cls, url: str | None, payloads: str | None, config: Path | None, create: bool, read_only: bool
    ) -> Self: ...
    def close(self) -> None: ...
    @property
    def place(self) -> str: ...
    def register(
        self, device_id: str, key: ByteField, scheme: Scheme, valid_from: int | None, start: Head | None
    ) -> list[str]: ...
    def revoke(self, device_id: str, reason: str) -> int: ...
    def key_ring(self) -> KeyRing: ...
    def devices(self) -> list[RegisteredDeviceDict]: ...
    def html(self) -> str: ...
    def ingest(
        self, items: Sequence[tuple[AuditRecord | Mapping[str, object], bytes]]
    ) -> list[IngestAnswer]: ...
    def export(
        self,
        path: Path,
        devices: Sequence[str],
        from_sequence: int | None,
        to_sequence: int | None,
        from_ms: int | None,
        before_ms: int | None,
        log: bool,
        stamped: bool,
        int64: bool,
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
        checkpoint: Path | None,
        policy: Path | None,
        log_layout: Path | None,
        previous: Path | None,
        max_age: int | timedelta | None,
        timestamps: Path | Sequence[Path] | None,
        tsa_roots: Path | None,
        payloads: bool,
        devices: Sequence[str],
        require: Level | Iterable[Level] | None,
        max_findings: int,
        progress: bool | BarFactory | None,
        threads: int | None,
    ) -> Report: ...
    def checkpoint(self) -> Checkpoint: ...
    def prove(
        self,
        device_id: str | None,
        sequence: int | None,
        to_sequence: int | None,
        size: int | None,
        previous: Checkpoint | None,
    ) -> str: ...
    def erase(self, device_id: str, sequence: int, reason: str, wait_seconds: float) -> dict[str, Any]: ...
    def bundle(
        self,
        path: Path,
        devices: Sequence[str],
        records: Sequence[tuple[str, int]],
        since: Checkpoint | None,
        payloads: bool,
        keys: Keys | None,
        policy: Policy | None,
        stamped: bool,
        progress: bool | BarFactory | None,
    ) -> int: ...
    def operation_log(
        self, device_id: str | None, outcome: str | None, reason: str | None, after_id: int, limit: int
    ) -> list[LogEntryDict]: ...
    def payload(self, record: AuditRecord | Mapping[str, object] | str) -> bytes | None: ...

@final
class Policy:
    """The keys of logs and witnesses that you trust, and the quorum of witnesses (C2SP tlog-policy).

    Args:
        text: Lines `log VKEY`, `witness NAME VKEY`, `group NAME all|any|K MEMBER...`, and one
            `quorum NAME|none`.

    Raises:
        ConfigError: The policy is malformed.
    """

    def __new__(cls, text: str) -> Self: ...
    @classmethod
    def read(cls, path: Path) -> Policy:
        """Reads a policy from a file.

        Raises:
            ConfigError: The policy is malformed.
        """

    @property
    def origins(self) -> list[str]:
        """The names of the logs."""

    @property
    def witnesses(self) -> list[str]:
        """The names of the witnesses in the policy."""

    def __eq__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, tuple[str]]: ...

@final
class Checkpoint:
    """A signed checkpoint of a transparency log: its origin, its size and its root. `str` gives the note.

    A policy decides whether it is trusted: see `verify_proof`.

    Args:
        note: The signed note.

    Raises:
        ConfigError: The note is not a checkpoint.
    """

    def __new__(cls, note: str) -> Self: ...
    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Reads a checkpoint from a file.

        Raises:
            ConfigError: The file is not a checkpoint.
        """

    @property
    def origin(self) -> str:
        """The name of the log."""

    @property
    def size(self) -> int:
        """The number of leaves."""

    @property
    def root(self) -> bytes:
        """The root of the tree, 32 bytes."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, tuple[str]]: ...

@final
class Witness:
    """A witness that cosigns checkpoints of other transparency logs, without a network.

    It cosigns one history of each log. `eds witness init` makes its key and its state, and
    `eds witness serve` is the same over HTTP. A witness that loses its state must go on under another key
    and name.

    Args:
        state: `sqlite:PATH`, a path, or the URL of a PostgreSQL database of its own; it must exist.
        key: The seed file of the key that cosigns.
        name: The name of the key.
        logs: A file with lines `log VKEY`, such as a policy.

    Raises:
        ConfigError: An argument cannot be used, or there is no state.
        StoreError: The state cannot be opened.
    """

    def __new__(cls, state: str, *, key: Path, name: str, logs: Path) -> Self: ...
    @property
    def verifier_key(self) -> str:
        """The public key with its name, for policies."""

    def cosign(self, request: str) -> str:
        """Cosigns the checkpoint of a request, and returns the signature line; durable before it returns.

        The same request gives the same line again.

        Args:
            request: The body of add-checkpoint (C2SP tlog-witness), as `eds checkpoint request` writes it.

        Raises:
            EdgesentryError: The log is unknown, or the checkpoint does not extend the last one.
            StoreError: The state cannot be written.
        """

    def checkpoints(self) -> dict[str, Checkpoint]:
        """Returns the last cosigned checkpoint of each log.

        Raises:
            StoreError: The state cannot be read.
        """

def proven_fields(
    proof: object,
    policy: Policy,
    record: AuditRecord | Mapping[str, object] | None,
    device_id: str | None,
    sequence: int | None,
    to_sequence: int | None,
    kind: str | None,
    previous: Checkpoint | None,
    min_size: int | None,
    max_age: int | timedelta | None,
) -> dict[str, Any]:
    """The fields of `edgesentry.Proven`."""

@final
class Outbox:
    """A device that signs into a durable buffer, one SQLite file, and sends from it in order.

    `sign` stores a record in the outbox before it returns. The outbox deletes the record only after the
    service has confirmed that it holds the same record. A crash between any two steps costs only a resend.

    With `receipts="required"` the outbox deletes a record only after it has verified a proof that the record
    is in the transparency log. The file remembers this: a process that opens it without these arguments can
    sign, and cannot flush.

    Args:
        path: The file; created if it does not exist.
        device: The signer. A new outbox begins after its head; an existing one has its own head.
        receipts: `required`, or `off` to end it; by default as the file has it.
        policy: The trusted keys of the log and its witnesses, for the receipts. It comes from the owner of
            the device, not from the service.
        max_receipt_age: Seconds after which an acknowledged record without a receipt is overdue; 120 by
            default, which is twice the default interval between checkpoints.
        max_records: The maximum number of records in the outbox; `sign` raises an exception beyond it.

    Raises:
        ConfigError: The file was written by a newer release.
        EdgesentryError: The outbox belongs to another device, or continues another chain.
        StoreError: The file cannot be opened.
        ValueError: `policy` is missing or not needed.
    """

    def __new__(
        cls,
        path: Path,
        device: Device,
        *,
        receipts: ReceiptMode | None = None,
        policy: Policy | None = None,
        max_receipt_age: float | None = None,
        max_records: int | None = None,
    ) -> Self: ...
    def sign(self, payload: Bytes, object_ref: str, timestamp_ms: int | None = None) -> AuditRecord:
        """Signs the next record of the chain and stores it, durably, with its payload.

        Args:
            payload: The payload that the record commits to.
            object_ref: The location at which the service is to store the payload.
            timestamp_ms: Unix milliseconds; the current time by default.

        Raises:
            EdgesentryError: No ledger could accept the record, or the chain or the outbox is full.
            SignerError: The signer failed; nothing was signed, and the records in the outbox stay.
            StoreError: The outbox cannot be written.
        """

    def sign_clock(
        self,
        *,
        boot_counter: int | None = None,
        uptime_ms: int | None = None,
        timestamp_ms: int | None = None,
    ) -> AuditRecord:
        """Signs a record of the times that the device has, and stores it, durably.

        It has the clock of the device, the arguments, and the last time that a service gave with a response
        to a `flush` over HTTP. All of it is a claim of the device.

        Args:
            boot_counter: The number of starts of the device.
            uptime_ms: Milliseconds since the start.
            timestamp_ms: Unix milliseconds; the current time by default.

        Raises:
            EdgesentryError: No ledger could accept the record, or the chain or the outbox is full.
            SignerError: The signer failed; nothing was signed, and the records in the outbox stay.
            StoreError: The outbox cannot be written.
        """

    def rotate(self, successor: Device, *, timestamp_ms: int | None = None) -> AuditRecord:
        """Signs the succession of the device's key as the next record, and stores it, durably.

        The outbox then signs with the new key, and with the old one in no process any more. After an
        exception or a crash, open the outbox with the successor, or call this again with the old key: one of
        the two works.

        Args:
            successor: The device of the same id with the new key. Keep its seed first, and delete the old
                seed after.
            timestamp_ms: Unix milliseconds; the current time by default.

        Raises:
            EdgesentryError: The successor has another id, the same key, or a weaker scheme, the key of the
                outbox was succeeded already, or the chain or the outbox is full.
            SignerError: A signer failed; nothing was signed, and the outbox signs with the old key.
            StoreError: The outbox cannot be written.
        """

    def flush(self, service: object) -> FlushedDict:
        """Sends the waiting records, in order, until none waits or the service rejects one.

        If the outbox requires receipts, it then fetches those of acknowledged records, and deletes each
        record whose receipt holds. It sends records again that the service has lost.

        Args:
            service: A `Client` of a service on the network, or an open `Ledger` with a payload store.
                Receipts need a `Client` with a certificate or token of the device.

        Raises:
            ConfigError: The outbox requires receipts, and was opened without a policy.
            ProofError: A receipt or a checkpoint of the log does not hold; the records stay in the outbox.
            StoreError: A store failed; records that were not acknowledged still wait.
            ServiceError: The service refused or could not be reached; unacknowledged records still wait.
        """

    @property
    def waiting(self) -> int:
        """The number of records that wait to be sent."""

    @property
    def pending(self) -> PendingDict:
        """The acknowledged records that lack their receipts."""

    @property
    def conflicts(self) -> list[CheckpointConflictDict]:
        """The checkpoints of the log of another history than the one kept before, as evidence."""

    @property
    def head(self) -> Head | None:
        """The last record signed."""

    @property
    def rejection(self) -> KeptRejectionDict | None:
        """The rejection of the first waiting record by the service, at the last attempt."""

    def close(self) -> None:
        """Closes the file."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class PublisherKey:
    """The private key of a publisher, which signs manifests of updates.

    Created by `generate`, `from_seed` or `from_seed_file`. Keep it apart from the keys of devices, logs and
    archives. The seed is kept in memory that is zeroized, and is never shown.
    """

    @classmethod
    def generate(cls) -> PublisherKey:
        """Creates a new key."""

    @classmethod
    def from_seed(cls, seed: ByteField) -> PublisherKey:
        """Creates a key from its 32-byte secret seed.

        Raises:
            ValueError: The seed is not 32 bytes.
        """

    @classmethod
    def from_seed_file(cls, path: Path) -> PublisherKey:
        """Creates a key from a seed file, as `save_seed` and `eds keygen` write it.

        Raises:
            FileNotFoundError: The file does not exist.
            ConfigError: Users other than the owner may read the file, or it is not a seed file.
        """

    def save_seed(self, path: Path) -> None:
        """Writes the seed to a new file that only its owner can read (mode 0600).

        Raises:
            FileExistsError: The file exists; a seed is never overwritten.
        """

    @property
    def public_key(self) -> str:
        """The public key for the trust of the devices, 64 hex digits."""

    def __reduce__(self) -> NoReturn: ...

@final
class ImageHasher:
    """Hashes an image in pieces."""

    def __new__(cls) -> Self: ...
    def write(self, piece: Bytes) -> None:
        """Takes the next bytes."""

    def finish(self) -> tuple[bytes, int]:
        """Returns BLAKE3 of all bytes, and their number."""

@final
class UpdateCheck:
    """The verification of one update; see `edgesentry.update`."""

    def __new__(
        cls,
        manifest: Bytes,
        trust: Bytes,
        state: Path | None,
        accept: bool,
        outbox: Outbox | None,
        now_ms: int | None,
    ) -> Self: ...
    def write(self, piece: Bytes) -> bool:
        """Takes the next bytes of the image; False if the update is refused."""

    def conclude(self) -> dict[str, Any]:
        """Ends the image, and accepts the update if that was asked for."""

    @property
    def admitted(self) -> bool:
        """True unless the update is refused."""

def complete_update(path: Path, outbox: Outbox) -> bool:
    """Completes an acceptance that was interrupted; True if the state has changed."""

def create_update_state(path: Path, name: str) -> None:
    """Creates the update state of a new device."""

def manifest_fields(manifest: Bytes) -> dict[str, Any]:
    """Returns the fields and signers of a manifest."""

def read_update_state(path: Path, now_ms: int | None) -> tuple[int, int, bool]:
    """Returns version, minimum version and staleness of an update state."""

def save_manifest(path: Path, manifest: Bytes) -> None:
    """Writes a manifest to a file, completely or not at all."""

def sign_manifest(manifest: Bytes, keys: list[PublisherKey]) -> bytes:
    """Adds the signatures of publishers to a manifest."""

def trust_fields(json: Bytes) -> tuple[str, int, list[str]]:
    """Returns name, threshold and keys of a trust."""

def write_manifest(
    name: str,
    version: int,
    image_hash: ByteField,
    image_size_bytes: int,
    minimum_version: int,
    expires_ms: int,
) -> bytes:
    """Writes a manifest without signatures."""
