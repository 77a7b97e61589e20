"""A TCP relay between two hosts that delays, loses, breaks and holds connections."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 16384
CONNECT_TIMEOUT_S = 5.0


@dataclass
class Faults:
    """The faults of a relay."""

    delay_s: float = 0.0
    # The probability that a piece of data ends its connection.
    loss: float = 0.0
    refuse: bool = False
    # Bytes of a connection after which it is reset.
    break_after: int | None = None
    stalled: set[str] = field(default_factory=set)


class Relay:
    """Forwards connections at `listen` to `target`."""

    def __init__(
        self, name: str, listen: tuple[str, int], target: tuple[str, int], chance: random.Random
    ) -> None:
        self.name = name
        self.listen = listen
        self.target = target
        self.faults = Faults()
        self._chance = chance
        self._changed = asyncio.Event()
        self._transports: set[asyncio.WriteTransport] = set()
        # Connections that forward nothing more, but stay open.
        self._forgotten: set[asyncio.WriteTransport] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Starts listening."""
        self._server = await asyncio.start_server(self._accept, *self.listen)

    def heal(self) -> None:
        """Ends all faults; held data is forwarded."""
        self.set(Faults())

    def set(self, faults: Faults) -> None:
        """Changes the faults."""
        self.faults = faults
        self._changed.set()
        self._changed = asyncio.Event()

    def reset(self) -> None:
        """Resets every open connection."""
        for transport in list(self._transports):
            transport.abort()

    def forget(self) -> None:
        """Forwards nothing more for the open connections, like a firewall that lost its state."""
        self._forgotten |= self._transports

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.faults.refuse:
            writer.transport.abort()
            return
        try:
            opening = asyncio.open_connection(*self.target, local_addr=(self.listen[0], 0))
            far_reader, far_writer = await asyncio.wait_for(opening, CONNECT_TIMEOUT_S)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer.transport, far_writer.transport)
        self._transports.update(ends)
        carried = _Carried()
        try:
            await asyncio.gather(
                self._pump("there", reader, far_writer, carried),
                self._pump("back", far_reader, writer, carried),
            )
        except (OSError, asyncio.CancelledError):
            # Cancelled at the end of the loop.
            pass
        finally:
            for end in ends:
                self._transports.discard(end)
                self._forgotten.discard(end)
                end.abort()

    async def _pump(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, carried: _Carried
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.faults.delay_s:
                await asyncio.sleep(self.faults.delay_s * self._chance.uniform(0.5, 1.5))
            await self._passes(way, writer)
            if self.faults.loss and self._chance.random() < self.faults.loss:
                raise ConnectionResetError
            limit = self.faults.break_after
            if limit is not None and carried.bytes + len(data) > limit:
                writer.write(data[: max(limit - carried.bytes, 0)])
                raise ConnectionResetError
            carried.bytes += len(data)
            writer.write(data)
            await writer.drain()
        await self._passes(way, writer)
        with suppress(OSError):
            writer.write_eof()

    async def _passes(self, way: str, writer: asyncio.StreamWriter) -> None:
        while way in self.faults.stalled:
            await self._changed.wait()
        if writer.transport in self._forgotten:
            await asyncio.Event().wait()


@dataclass
class _Carried:
    bytes: int = 0
