"""Proofs of the transparency log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeAlias

from edgesentry._core import AuditRecord, Checkpoint, Policy, proven_fields

StatementKind: TypeAlias = Literal["record", "run", "leaf", "head", "absence", "consistency"]


@dataclass(frozen=True, slots=True)
class Proven:
    """A proven statement, and the checkpoint for which it holds.

    Attributes:
        kind: `record`, `run` (consecutive records of a device), `leaf` (another leaf than a record), `head`,
            `absence` or `consistency`.
        statement: The statement as a sentence.
        origin: The name of the log.
        size: The number of leaves at the checkpoint.
        root: The root of the tree, 32 bytes.
        device_id: The device of a record, a run, a head or an absence.
        sequence: The sequence of the record or head, or of the first record of a run; 0 for a device without
            a record.
        to_sequence: The sequence of the last record of a run; otherwise that of the record or head.
        record_hash: The hash of the record or head, or of the last record of a run, 32 bytes.
        index: The index of the leaf; None for a run.
        cosigned: The witnesses of the policy that have signed, each with its time in Unix seconds.
        quorum_time: The time at or after which a whole quorum has signed; None if the policy has no quorum.
    """

    __module__ = "edgesentry"

    kind: StatementKind
    statement: str
    origin: str
    size: int
    root: bytes
    device_id: str | None
    sequence: int | None
    to_sequence: int | None
    record_hash: bytes | None
    index: int | None
    cosigned: dict[str, int]
    quorum_time: int | None


def verify_proof(
    proof: str | bytes | Path,
    policy: Policy,
    *,
    record: AuditRecord | Mapping[str, object] | None = None,
    device_id: str | None = None,
    sequence: int | None = None,
    to_sequence: int | None = None,
    kind: StatementKind | None = None,
    previous: Checkpoint | None = None,
    min_size: int | None = None,
    max_age: int | timedelta | None = None,
) -> Proven:
    """Verifies a proof of the transparency log, offline.

    Without an expected statement, every valid proof passes: compare the result, or pass the statement that
    you expect.
    Without `min_size` or `max_age`, a proof of an old checkpoint passes.

    Args:
        proof: The proof as `Ledger.prove` and `eds prove` write it: its text or bytes, or a path to it.
        policy: Your own policy; one from the operator of the log proves nothing.
        record: The proof must be of this record: in the log, in the proven run, or as the head.
        device_id: The proof must be about this device.
        sequence: The record or head, or the first record of the run, must have this sequence.
        to_sequence: The last record of the run must have this sequence; by default, `sequence`.
        kind: The proof must be of this kind.
        previous: The older checkpoint that you kept; the proof must show that the log extends it.
        min_size: The minimum size of the checkpoint, in leaves.
        max_age: The maximum age of the checkpoint by the clocks of its witnesses: seconds, or a timedelta.

    Raises:
        ProofError: The proof does not hold, proves another statement, or is of a checkpoint that is too old;
            `code` says which.
    """
    fields = proven_fields(
        proof, policy, record, device_id, sequence, to_sequence, kind, previous, min_size, max_age
    )
    return Proven(**fields)
