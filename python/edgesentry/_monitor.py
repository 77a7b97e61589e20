"""A monitor of a transparency log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import Literal, NoReturn, Self, TypeAlias

from edgesentry._core import MonitorCore, Policy

MonitorOutcome: TypeAlias = Literal["verified", "tamper", "unverifiable", "infrastructure"]


@dataclass(frozen=True, slots=True)
class MonitorFinding:
    """A finding that is not acknowledged yet.

    Attributes:
        id: The number by which `Monitor.acknowledge` takes it.
        class_: `tamper` or `unverifiable`.
        code: The stable code, such as `checkpoint_inconsistent`.
        message: The expected and the actual content as a sentence.
        device_id: The device, if the finding is about one.
        sequence: The sequence, if the finding is about a record.
        leaf: The index of the leaf, if the finding is about one.
        first_ms: When it was found first, Unix milliseconds.
        last_ms: When it was found last, Unix milliseconds.
        times: How often it was found.
        evidence: The names of its files of evidence, for `Monitor.evidence`.
    """

    __module__ = "edgesentry"

    id: int
    class_: Literal["tamper", "unverifiable"]
    code: str
    message: str
    device_id: str | None
    sequence: int | None
    leaf: int | None
    first_ms: int
    last_ms: int
    times: int
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MonitorResult:
    """The result of a round of a monitor.

    Attributes:
        outcome: `verified`; `tamper` or `unverifiable` if a finding of this class is open, or if an
            acknowledged one holds again; `infrastructure` if a place could not be read and no finding is
            open.
        origin: The name of the log.
        size: The number of leaves under the last verified checkpoint; None before the first.
        root: The root of this checkpoint, 32 bytes.
        verified_ms: When the log last showed this checkpoint, Unix milliseconds.
        findings: The findings that are not acknowledged, oldest first.
        failures: The places that could not be read in this round, each with the problem.
        witnesses: The result of the comparison with each witness that has a URL: `agrees`, `ahead`, `never`,
            `contradicts`, `rolled_back` or `failed`.
        confirmed: True if the log showed a trusted checkpoint, and every leaf up to it is replayed.
        replayed: The number of leaves that were replayed behind the verified checkpoint.
        dropped: The number of findings that were not kept, because too many are open.
        keys_by_device: The number of keys under the verified checkpoint that replaced another one by a
            succession, which the old key has signed.
        keys_by_operator: The number of those that no record of the device states.
    """

    __module__ = "edgesentry"

    outcome: MonitorOutcome
    origin: str
    size: int | None
    root: bytes | None
    verified_ms: int | None
    findings: tuple[MonitorFinding, ...]
    failures: tuple[str, ...]
    witnesses: dict[str, str]
    confirmed: bool = False
    replayed: int = 0
    dropped: int = 0
    keys_by_device: int = 0
    keys_by_operator: int = 0


class Monitor:
    """Replays every leaf of a transparency log, and compares its checkpoints with those of the witnesses.

    The state moves to a checkpoint only after every leaf up to it was replayed. Two monitors cannot use one
    state at a time. Close the monitor, or use it in a `with` block.

    Args:
        url: The log, with `checkpoint` and `tile/` below it: `http://`, `https://`, `s3://BUCKET/PREFIX` or
            `folder:PATH`.
        policy: Your own policy, or the path of one. Witnesses with a URL are compared.
        state: The file with the state, SQLite; created if it does not exist.
        origin: The name of the log, if the policy has several.
        token: A token for a log that is not public. Witnesses do not get it.
        ca: PEM file of the trusted authorities; those of the system by default.
        timeout: Seconds that a response may take.
        max_age: The maximum age of a checkpoint by the clocks of its witnesses: seconds, or a timedelta.
        accept_policy: Continue under a policy other than that of the state.

    Raises:
        ConfigError: The state is in use, damaged, of another log, or was made under another policy.
        StoreError: The state cannot be opened.
    """

    __module__ = "edgesentry"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Monitor does not pickle: its state is open in this process; open it in the other one"
        )

    def __init__(
        self,
        url: str,
        *,
        policy: Policy | str | PathLike[str],
        state: str | PathLike[str],
        origin: str | None = None,
        token: str | None = None,
        ca: str | PathLike[str] | None = None,
        timeout: float = 30,
        max_age: int | timedelta | None = None,
        accept_policy: bool = False,
    ) -> None:
        self._core = MonitorCore(url, policy, state, origin, token, ca, timeout, max_age, accept_policy)

    def check(self) -> MonitorResult:
        """Runs one round: reads the checkpoint, replays the new leaves, and compares the witnesses.

        A place that cannot be read is part of the result, and says nothing about the log. The replay ends
        after 10 minutes; the next round continues.

        Raises:
            StoreError: The state cannot be read or written.
        """
        fields = self._core.check()
        findings = tuple(MonitorFinding(**finding) for finding in fields.pop("findings"))
        return MonitorResult(findings=findings, failures=tuple(fields.pop("failures")), **fields)

    def evidence(self, finding: MonitorFinding | int) -> dict[str, bytes]:
        """Returns the evidence of a finding: the content of each file by its name.

        `verify_proof` and `eds verify-proof` verify the files that end in `.proof`.

        Args:
            finding: The finding, or its number.

        Raises:
            StoreError: The state cannot be read.
        """
        return self._core.evidence(finding if isinstance(finding, int) else finding.id)

    def acknowledge(self, finding: MonitorFinding | int) -> None:
        """Acknowledges a finding, so that it is no longer reported. The state does not move.

        Args:
            finding: The finding, or its number.

        Raises:
            ValueError: No open finding has this number.
        """
        number = finding if isinstance(finding, int) else finding.id
        if not self._core.acknowledge(number):
            raise ValueError(f"no open finding has the number {number}")

    def close(self) -> None:
        """Closes the state, so that another monitor can use it."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
