"""Test support for pipelines: sound fleets, attacks on them, and the expected findings.

    from edgesentry.testing import CATALOGUE, assert_report, make_fleet

    fleet = make_fleet()
    tampered = CATALOGUE["delete_middle"](fleet)
    report = verify_chain(tampered.records, keys=fleet.keys)
    assert_report(report, tampered, checked=["signatures"])

`make_log` makes the transparency log of a fleet, and `LOG_CATALOGUE` has the attacks of an operator with its
key; `UPDATE_CATALOGUE` has those on updates of devices.
`edgesentry.testing.attacks` has the attacks as functions on lists of records, `edgesentry.testing.strategies`
strategies for hypothesis; the pytest plugin has fixtures. This package imports neither pytest nor hypothesis.
"""

from edgesentry.testing import attacks
from edgesentry.testing._assert import assert_report
from edgesentry.testing._catalogue import CATALOGUE, Attack, Attacker, Victim
from edgesentry.testing._expected import Expectations, Expected, Tampered, found
from edgesentry.testing._fleet import Fleet, Signer, make_fleet, write_payloads
from edgesentry.testing._log import (
    COSIGNED_AT,
    LOG,
    WITNESS,
    Log,
    NoteSigner,
    log_policy,
    make_log,
    write_log,
)
from edgesentry.testing._log_attacks import LOG_CATALOGUE, CaughtBy, LogAttack, LogEvidence
from edgesentry.testing._malformed import MALFORMED_FILES, BrokenFile, MalformedFile
from edgesentry.testing._place import Place
from edgesentry.testing._served import Served, serve
from edgesentry.testing._signatures import weak_keys
from edgesentry.testing._sql import Dialect, to_sql
from edgesentry.testing._update_attacks import UPDATE_CATALOGUE, UpdateAttack, UpdateEvidence, sound_update

__all__ = [
    "CATALOGUE",
    "COSIGNED_AT",
    "LOG",
    "LOG_CATALOGUE",
    "MALFORMED_FILES",
    "UPDATE_CATALOGUE",
    "WITNESS",
    "Attack",
    "Attacker",
    "BrokenFile",
    "CaughtBy",
    "Dialect",
    "Expectations",
    "Expected",
    "Fleet",
    "Log",
    "LogAttack",
    "LogEvidence",
    "MalformedFile",
    "NoteSigner",
    "Place",
    "Served",
    "Signer",
    "Tampered",
    "UpdateAttack",
    "UpdateEvidence",
    "Victim",
    "assert_report",
    "attacks",
    "found",
    "log_policy",
    "make_fleet",
    "make_log",
    "serve",
    "sound_update",
    "to_sql",
    "weak_keys",
    "write_log",
    "write_payloads",
]
