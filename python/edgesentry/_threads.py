"""Threads for the blocking calls of coroutines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from edgesentry._ledger import Batch, Outcome, Outcomes, Record

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 64


class Threads:
    """Threads for the calls of one object.

    Args:
        at_once: Calls that may run at once; other calls wait.
        name: The prefix of the names of the threads.
    """

    def __init__(self, at_once: int, name: str) -> None:
        # Imported here: with asyncio it is more than half of the import time.
        from concurrent.futures import ThreadPoolExecutor

        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a call in the context of the caller, such as its trace, and returns the result."""
        import asyncio

        run = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: run(call, *args, **kwargs)
        )

    async def ingest(
        self,
        ingest_many: Callable[[list[tuple[Record, bytes]]], Outcomes],
        pairs: AsyncIterable[tuple[Record, bytes]],
    ) -> Outcomes:
        """Ingests pairs as they arrive, some thousands at a time."""
        outcomes: list[Outcome] = []
        async with aclosing(_batches(pairs)) as batches:
            async for batch in batches:
                outcomes += await self.run(ingest_many, batch)
        return Outcomes(outcomes)

    async def close(self) -> None:
        """Waits for running calls."""
        import asyncio

        await asyncio.to_thread(self._threads.shutdown)


async def _batches(pairs: AsyncIterable[Any]) -> AsyncGenerator[list[tuple[Record, bytes]], None]:
    batch = Batch()
    async for pair in pairs:
        if full := batch.add(pair):
            yield full
    if rest := batch.take():
        yield rest
