"""Blocking calls of coroutines: in the context of the caller, and in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest

from edgesentry import Outcome, Outcomes
from edgesentry._ledger import Record, _name
from edgesentry._threads import Threads

TRACE: ContextVar[str] = ContextVar("TRACE", default="none")


def test_a_call_runs_in_the_context_of_its_caller() -> None:
    async def call(threads: Threads, trace: str) -> str:
        TRACE.set(trace)
        return await threads.run(TRACE.get)

    async def run() -> None:
        threads = Threads(2, "edgesentry-test")
        traces = [str(number) for number in range(20)]
        assert await asyncio.gather(*(call(threads, trace) for trace in traces)) == traces
        await threads.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("pairs", "payload", "sizes"),
    [
        (0, b"", []),
        (4096, b"", [4096]),
        (9000, b"", [4096, 4096, 808]),
        # More than 32 MiB of payloads.
        (5, bytes(17 << 20), [2, 2, 1]),
    ],
)
def test_pairs_are_sent_in_batches(pairs: int, payload: bytes, sizes: list[int]) -> None:
    sent: list[int] = []

    def ingest_many(batch: list[tuple[Record, bytes]]) -> Outcomes:
        assert TRACE.get() == "caller"
        sent.append(len(batch))
        return Outcomes(Outcome(*_name(record), "accepted") for record, _ in batch)

    async def arriving() -> AsyncIterator[tuple[Record, bytes]]:
        for sequence in range(1, pairs + 1):
            yield {"device_id": "lift-01", "sequence": sequence}, payload

    async def run() -> Outcomes:
        TRACE.set("caller")
        threads = Threads(2, "edgesentry-test")
        outcomes = await threads.ingest(ingest_many, arriving())
        await threads.close()
        return outcomes

    outcomes = asyncio.run(run())
    assert [outcome.sequence for outcome in outcomes] == list(range(1, pairs + 1))
    assert sent == sizes


def test_a_malformed_pair_is_refused() -> None:
    async def arriving() -> AsyncIterator[bytes]:
        yield b"record"

    async def run() -> None:
        await Threads(1, "edgesentry-test").ingest(lambda _: Outcomes([]), arriving())  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="expected a pair of record and payload, got bytes"):
        asyncio.run(run())
