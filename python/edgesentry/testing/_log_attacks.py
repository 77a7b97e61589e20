"""Attacks on evidence with a transparency log, by an operator with database, payloads and the key of the log.

The operator lacks the keys of the devices and of the witness. The auditor has a policy, and may have kept a
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from edgesentry._core import AuditRecord, KeyRing
from edgesentry._typing import FindingCode
from edgesentry.testing._catalogue import CATALOGUE, Catalogue
from edgesentry.testing._expected import Expected, in_order
from edgesentry.testing._fleet import Fleet
from edgesentry.testing._log import WITNESS, Log, NoteSigner, log_policy, make_log, write_log
from edgesentry.testing._tsa import OTHER_TSA, TSA, pem, stamp_of

CaughtBy: TypeAlias = Literal[
    "policy", "checkpoint", "kept checkpoint", "maximum age", "replay of the log", "time stamp"
]
"""The input of the auditor that shows the attack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvidence:
    """The evidence that the auditor gets, beside the own inputs of the auditor.

    Attributes:
        records: The records of the export.
        keys: The key ring.
        checkpoint: The checkpoint.
        layout: The layout of the log.
        policy: The policy of the auditor.
        previous: The checkpoint that the auditor kept from earlier, if any.
        max_age: The maximum age of the checkpoint in seconds, if the auditor limits it.
        timestamps: The time stamps of the checkpoint.
        tsa_roots: The roots of time stamping authorities that the auditor trusts, if there are stamps.
        without: The expected findings of links and signatures alone, sorted.
        added: The further findings with the log, sorted.
    """

    records: Sequence[AuditRecord]
    keys: KeyRing
    checkpoint: str
    layout: bytes
    policy: str
    previous: str | None = None
    max_age: int | None = None
    timestamps: Sequence[bytes] = ()
    tsa_roots: str | None = None
    without: list[Expected] = field(default_factory=list)
    added: list[Expected] = field(default_factory=list)

    @property
    def expected(self) -> list[Expected]:
        """The expected findings of links, signatures and log, sorted."""
        return in_order([*self.without, *self.added])

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the files to a directory, and returns the arguments of `verify_chain` for them."""
        files = write_log(
            folder,
            checkpoint=self.checkpoint,
            layout=self.layout,
            policy=self.policy,
            previous=self.previous,
            timestamps=self.timestamps,
            tsa_roots=self.tsa_roots,
        )
        return files | ({} if self.max_age is None else {"max_age": self.max_age})


Make: TypeAlias = Callable[[Fleet, Log], LogEvidence]


@dataclass(frozen=True, slots=True)
class LogAttack:
    """A way of deceiving an auditor who has a policy.

    Attributes:
        name: Its stable name.
        summary: The attack, in one sentence.
        caught_by: The input of the auditor that shows it.
    """

    name: str
    summary: str
    caught_by: CaughtBy
    _make: Make

    def __str__(self) -> str:
        return self.name

    def __call__(self, fleet: Fleet) -> LogEvidence:
        """Returns the evidence that is made from a fleet; the fleet does not change.

        Args:
            fleet: The fleet: at least two devices with four records each.
        """
        return self._make(fleet, make_log(fleet))


LOG_CATALOGUE: Final[Catalogue[LogAttack]] = Catalogue()
"""Every attack by name."""


def _attack(summary: str, caught_by: CaughtBy) -> Callable[[Make], Make]:
    def register(make: Make) -> Make:
        name = make.__name__.removeprefix("_")
        LOG_CATALOGUE[name] = LogAttack(name, summary, caught_by, make)
        return make

    return register


def _codes(*codes: FindingCode) -> list[Expected]:
    return [Expected(code, None, None) for code in codes]


def _sound(fleet: Fleet, log: Log) -> LogEvidence:
    return LogEvidence(
        records=fleet.records,
        keys=fleet.keys,
        checkpoint=log.checkpoint(),
        layout=log.layout,
        policy=log_policy(),
    )


def _tampered(name: str, fleet: Fleet, log: Log) -> LogEvidence:
    """Returns the records of another attack, with the log as it was."""
    tampered = CATALOGUE[name](fleet)
    return replace(
        _sound(fleet, log),
        records=tampered.records,
        without=tampered.expected("signatures", scheme=fleet.schemes),
        added=log.expected(tampered.records),
    )


def _rebuilt(fleet: Fleet, log: Log, signer: NoteSigner | None = None) -> LogEvidence:
    """Returns records with an edited time, and a log of them that the operator has signed."""
    evidence = _tampered("edit_time_and_relink", fleet, log)
    rebuilt = make_log(fleet, evidence.records, signer=signer or log.signer)
    checkpoint = rebuilt.checkpoint(witness=None)
    return replace(evidence, checkpoint=checkpoint, layout=rebuilt.layout)


# Records that differ from those of the log.


@_attack("The time of a record is edited, and the chain re-linked.", "checkpoint")
def _edited_after_checkpoint(fleet: Fleet, log: Log) -> LogEvidence:
    return _tampered("edit_time_and_relink", fleet, log)


@_attack("A record is cut out, later ones are renumbered, and the chain re-linked.", "checkpoint")
def _cut_out_after_checkpoint(fleet: Fleet, log: Log) -> LogEvidence:
    return _tampered("delete_and_relink", fleet, log)


@_attack("The end of a chain is cut off.", "checkpoint")
def _tail_cut_after_checkpoint(fleet: Fleet, log: Log) -> LogEvidence:
    return _tampered("truncate", fleet, log)


@_attack("A device is dropped.", "checkpoint")
def _device_dropped_after_checkpoint(fleet: Fleet, log: Log) -> LogEvidence:
    return _tampered("remove_device", fleet, log)


@_attack("An old record is appended again.", "checkpoint")
def _appended_after_checkpoint(fleet: Fleet, log: Log) -> LogEvidence:
    return _tampered("append_replayed", fleet, log)


@_attack(
    "The registered key of a device is replaced, and the chain signed again with the new one.", "checkpoint"
)
def _key_replaced(fleet: Fleet, log: Log) -> LogEvidence:
    victim = next(iter(fleet.signers.values()))
    forger = victim.forger()
    records = [
        forger.sign(fleet.payloads[record.object_ref], record.object_ref, record.timestamp_ms)
        if record.device_id == victim.device_id
        else record
        for record in fleet.records
    ]
    # The key ring comes from the operator.
    keys = KeyRing()
    for signer in fleet.signers.values():
        device = forger if signer is victim else signer.device()
        keys.add(signer.device_id, device.public_key, scheme=signer.scheme)
    added = [*_codes("checkpoint_mismatch"), Expected("key_not_logged", victim.device_id, 1)]
    return replace(_sound(fleet, log), records=records, keys=keys, added=added)


# A log of the operator's own making.


@_attack("A record is edited, and the log rebuilt and signed with its key.", "policy")
def _log_rebuilt(fleet: Fleet, log: Log) -> LogEvidence:
    return replace(_rebuilt(fleet, log), added=_codes("witness_quorum_missing"))


@_attack("The line of the witness is copied from the true checkpoint to that of the rebuilt log.", "policy")
def _cosignature_pasted(fleet: Fleet, log: Log) -> LogEvidence:
    evidence = _rebuilt(fleet, log)
    pasted = evidence.checkpoint + WITNESS.line(log.text())
    return replace(evidence, checkpoint=pasted, added=_codes("checkpoint_untrusted"))


@_attack("The log is rebuilt and signed with another key under its name.", "policy")
def _signed_with_other_key(fleet: Fleet, log: Log) -> LogEvidence:
    evidence = _rebuilt(fleet, log, NoteSigner(log.signer.name, bytes([3]) * 32))
    return replace(evidence, added=_codes("checkpoint_untrusted"))


@_attack("The log is rebuilt for an auditor whose policy requires no witness.", "kept checkpoint")
def _two_histories(fleet: Fleet, log: Log) -> LogEvidence:
    evidence = replace(_rebuilt(fleet, log), policy=log_policy(is_witnessed=False))
    return replace(evidence, previous=log.checkpoint(witness=None), added=_codes("checkpoint_inconsistent"))


@_attack("An old checkpoint and the records before it are shown, to hide the later ones.", "maximum age")
def _old_checkpoint_shown(fleet: Fleet, log: Log) -> LogEvidence:
    return replace(_shortened(fleet, log), max_age=86_400, added=_codes("checkpoint_stale"))


@_attack("The same, to an auditor who has kept a newer checkpoint.", "kept checkpoint")
def _rolled_back(fleet: Fleet, log: Log) -> LogEvidence:
    shortened = replace(_shortened(fleet, log), previous=log.checkpoint())
    return replace(shortened, added=_codes("checkpoint_inconsistent"))


def _shortened(fleet: Fleet, log: Log) -> LogEvidence:
    size = log.sizes[0]
    earlier = replace(log, leaves=log.leaves[:size])
    return replace(
        _sound(fleet, log), records=log.logged(size), checkpoint=earlier.checkpoint(), layout=earlier.layout
    )


@_attack(
    "The heads leaf hides the last record of a device; the witness does not see leaves.", "replay of the log"
)
def _heads_leaf_lies(fleet: Fleet, log: Log) -> LogEvidence:
    lying = log.lying()
    evidence = replace(_sound(fleet, log), checkpoint=lying.checkpoint(), layout=lying.layout)
    return replace(evidence, previous=log.checkpoint(log.sizes[0]), added=_codes("heads_mismatch"))


# Time stamps.


@_attack("The time stamp of an older checkpoint is shown with the newest one.", "time stamp")
def _stamp_of_other_checkpoint(fleet: Fleet, log: Log) -> LogEvidence:
    stamp = stamp_of(log.checkpoint(log.sizes[0]), TSA)
    added = _codes("timestamp_invalid")
    return replace(_sound(fleet, log), timestamps=[stamp], tsa_roots=pem(TSA.root), added=added)


@_attack("The operator stamps the checkpoint with an authority of their own, dated back.", "time stamp")
def _stamp_by_own_authority(fleet: Fleet, log: Log) -> LogEvidence:
    stamp = stamp_of(log.checkpoint(), OTHER_TSA)
    added = _codes("timestamp_invalid")
    return replace(_sound(fleet, log), timestamps=[stamp], tsa_roots=pem(TSA.root), added=added)
