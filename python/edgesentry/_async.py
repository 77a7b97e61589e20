"""The ledger for asyncio: the same methods as coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NoReturn, Self

from edgesentry._core import AuditRecord, Checkpoint, Device, Head, KeyRing, Policy, Report
from edgesentry._ledger import Erasure, Ledger, Manifest, Outcome, Outcomes, Payloads, Record, Time, open
from edgesentry._threads import AT_ONCE, Threads
from edgesentry._typing import (
    BarFactory,
    ByteField,
    Heads,
    Keys,
    Level,
    LogEntryDict,
    LogReason,
    Path,
    RegisteredDeviceDict,
    RevocationReason,
    Scheme,
    Source,
)


async def open_async(
    url: Path | None = None,
    payloads: Path | None = None,
    *,
    config: Path | None = None,
    create: bool = True,
    read_only: bool = False,
    at_once: int = AT_ONCE,
) -> AsyncLedger:
    """Opens a ledger for asyncio; arguments as for `edgesentry.open`.

    Args:
        url: See `edgesentry.open`.
        payloads: See `edgesentry.open`.
        config: See `edgesentry.open`.
        create: See `edgesentry.open`.
        read_only: See `edgesentry.open`.
        at_once: Calls that may run at once; other calls wait.
    """
    # Imported here: asyncio is more than half of the import time, and most programs do not need it.
    import asyncio

    ledger = await asyncio.to_thread(open, url, payloads, config=config, create=create, read_only=read_only)
    return AsyncLedger(ledger, at_once)


class AsyncLedger:
    """A ledger whose methods are coroutines; they run in threads, without the interpreter's lock.

    Cancelling a coroutine ends the wait, not the work: the service may still accept the record. Sending it
    again is safe.
    """

    __module__ = "edgesentry"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an AsyncLedger does not pickle: it is open in this process; open it in the other one"
        )

    def __init__(self, ledger: Ledger, at_once: int = AT_ONCE) -> None:
        self.ledger = ledger
        self._threads = Threads(at_once, "edgesentry-async")
        self._run = self._threads.run

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for running calls, then closes the ledger."""
        await self._threads.close()
        self.ledger.close()

    async def register_device(
        self,
        device: Device | str,
        public_key: ByteField | None = None,
        *,
        scheme: Scheme | None = None,
        valid_from: int | None = None,
        start: Head | None = None,
    ) -> None:
        """See `Ledger.register_device`."""
        await self._run(
            self.ledger.register_device,
            device,
            public_key,
            scheme=scheme,
            valid_from=valid_from,
            start=start,
        )

    async def revoke_device(self, device_id: str, *, reason: RevocationReason = "unspecified") -> int:
        """See `Ledger.revoke_device`."""
        return await self._run(self.ledger.revoke_device, device_id, reason=reason)

    async def devices(self) -> list[RegisteredDeviceDict]:
        """See `Ledger.devices`."""
        return await self._run(self.ledger.devices)

    async def key_ring(self) -> KeyRing:
        """See `Ledger.key_ring`."""
        return await self._run(self.ledger.key_ring)

    async def ingest(self, record: Record, payload: bytes) -> Outcome:
        """See `Ledger.ingest`. Concurrent calls share their commits."""
        return await self._run(self.ledger.ingest, record, payload)

    async def ingest_many(
        self,
        records: Iterable[Any] | AsyncIterable[tuple[Record, bytes]] | Source,
        payloads: Payloads | None = None,
        *,
        progress: bool | BarFactory | None = None,
    ) -> Outcomes:
        """See `Ledger.ingest_many`. Also takes an asynchronous iterable of pairs, without a progress bar."""
        if not isinstance(records, AsyncIterable):
            return await self._run(self.ledger.ingest_many, records, payloads, progress=progress)
        return await self._threads.ingest(self.ledger.ingest_many, records)

    async def export(
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
        """See `Ledger.export`. A thread other than the event loop's updates the bar."""
        return await self._run(
            self.ledger.export,
            path,
            devices=devices,
            from_sequence=from_sequence,
            to_sequence=to_sequence,
            since=since,
            before=before,
            log=log,
            stamped=stamped,
            int64=int64,
            progress=progress,
        )

    async def records(
        self,
        *,
        devices: str | Iterable[str] | None = None,
        from_sequence: int | None = None,
        to_sequence: int | None = None,
        since: Time | None = None,
        before: Time | None = None,
    ) -> list[AuditRecord]:
        """Returns the records as a list; `ledger.records` streams them. See `Ledger.records`."""

        def read() -> list[AuditRecord]:
            return list(
                self.ledger.records(
                    devices=devices,
                    from_sequence=from_sequence,
                    to_sequence=to_sequence,
                    since=since,
                    before=before,
                )
            )

        return await self._run(read)

    async def heads(self) -> dict[str, Head]:
        """See `Ledger.heads`."""
        return await self._run(self.ledger.heads)

    async def verify(
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
        """See `Ledger.verify`."""
        return await self._run(
            self.ledger.verify,
            keys=keys,
            heads=heads,
            start_heads=start_heads,
            manifest=manifest,
            checkpoint=checkpoint,
            policy=policy,
            log_layout=log_layout,
            previous=previous,
            max_age=max_age,
            timestamps=timestamps,
            tsa_roots=tsa_roots,
            payloads=payloads,
            devices=devices,
            require=require,
            max_findings=max_findings,
            progress=progress,
            threads=threads,
        )

    async def checkpoint(self) -> Checkpoint:
        """See `Ledger.checkpoint`."""
        return await self._run(self.ledger.checkpoint)

    async def erase(self, device_id: str, sequence: int, reason: str, *, wait: float = 130.0) -> Erasure:
        """See `Ledger.erase`."""
        return await self._run(self.ledger.erase, device_id, sequence, reason, wait=wait)

    async def prove(
        self,
        device_id: str | None = None,
        sequence: int | None = None,
        *,
        to_sequence: int | None = None,
        size: int | None = None,
        previous: Checkpoint | None = None,
    ) -> str:
        """See `Ledger.prove`."""
        return await self._run(
            self.ledger.prove,
            device_id,
            sequence,
            to_sequence=to_sequence,
            size=size,
            previous=previous,
        )

    async def bundle(
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
        """See `Ledger.bundle`."""
        return await self._run(
            self.ledger.bundle,
            path,
            devices=devices,
            records=records,
            since=since,
            payloads=payloads,
            keys=keys,
            policy=policy,
            stamped=stamped,
            progress=progress,
        )

    async def operation_log(
        self,
        *,
        device_id: str | None = None,
        outcome: str | None = None,
        reason: LogReason | None = None,
        after_id: int = 0,
        limit: int = 1000,
    ) -> list[LogEntryDict]:
        """See `Ledger.operation_log`."""
        return await self._run(
            self.ledger.operation_log,
            device_id=device_id,
            outcome=outcome,
            reason=reason,
            after_id=after_id,
            limit=limit,
        )

    async def payload(self, record: Record | str) -> bytes | None:
        """See `Ledger.payload`."""
        return await self._run(self.ledger.payload, record)
