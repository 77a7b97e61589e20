"""Clients of a service on the network."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any, NoReturn, Self

from edgesentry._core import ClientCore
from edgesentry._ledger import Outcome, Outcomes, Payloads, Record, _batches, _outcome, _pairs
from edgesentry._threads import AT_ONCE, Threads
from edgesentry._typing import Path, Source


class Client:
    """Sends records to a service on the network (`eds serve`).

    Sending again is always safe. If the service is busy or cannot be reached, the client retries after the
    time that the service asks for. Threads may share a client.

    Args:
        url: `https://HOST:PORT`, or `http://` without TLS.
        token: A token with the scope `ingest`, if the service requires one.
        ca: PEM file of the authorities to trust; by default those of the system.
        cert: PEM file of the device's own certificate.
        cert_key: PEM file of its private key.
        timeout: Seconds without progress of the service after which an attempt fails.
        attempts: Number of attempts to send a record before its outcome is `error`.

    Raises:
        ConfigError: The URL or a file cannot be used.
    """

    __module__ = "edgesentry"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Client does not pickle: it holds connections; make one in the other process")

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca: Path | None = None,
        cert: Path | None = None,
        cert_key: Path | None = None,
        timeout: float = 30.0,
        attempts: int = 5,
    ) -> None:
        if (cert is None) != (cert_key is None):
            raise ValueError("cert and cert_key must be given together")
        identity = None if cert is None or cert_key is None else (cert, cert_key)
        self.url = url
        self._core = ClientCore(url, token, ca, identity, timeout, attempts)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._core.close()

    def ingest(self, record: Record, payload: bytes) -> Outcome:
        """Sends one record; if it is accepted or a duplicate, record and payload are durable there.

        Ctrl-C ends the wait; the service may still have accepted the record. Sending it again is safe.
        """
        return _outcome(record, self._core.ingest(record, payload))

    def ingest_many(self, records: Iterable[Any] | Source, payloads: Payloads | None = None) -> Outcomes:
        """Sends records, some thousands at a time, and returns their outcomes; see `Ledger.ingest_many`."""
        outcomes: list[Outcome] = []
        for batch in _batches(_pairs(records, payloads)):
            answers = self._core.ingest_many(batch)
            outcomes += [_outcome(record, answer) for (record, _), answer in zip(batch, answers, strict=True)]
        return Outcomes(outcomes)


class AsyncClient:
    """A client whose methods are coroutines; arguments as for `Client`.

    Cancelling a coroutine ends the wait, not the work: the service may still accept the record. Sending it
    again is safe.

    Args:
        url: See `Client`.
        at_once: Calls that may run at once; other calls wait.
        token: See `Client`.
        ca: See `Client`.
        cert: See `Client`.
        cert_key: See `Client`.
        timeout: See `Client`.
        attempts: See `Client`.
    """

    __module__ = "edgesentry"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AsyncClient does not pickle: it holds connections; make one in the other process")

    def __init__(
        self,
        url: str,
        *,
        at_once: int = AT_ONCE,
        token: str | None = None,
        ca: Path | None = None,
        cert: Path | None = None,
        cert_key: Path | None = None,
        timeout: float = 30.0,
        attempts: int = 5,
    ) -> None:
        self.client = Client(
            url,
            token=token,
            ca=ca,
            cert=cert,
            cert_key=cert_key,
            timeout=timeout,
            attempts=attempts,
        )
        self._threads = Threads(at_once, "edgesentry-client")
        self._run = self._threads.run

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for running calls, then closes the connections."""
        await self._threads.close()
        self.client.close()

    async def ingest(self, record: Record, payload: bytes) -> Outcome:
        """See `Client.ingest`."""
        return await self._run(self.client.ingest, record, payload)

    async def ingest_many(
        self,
        records: Iterable[Any] | AsyncIterable[tuple[Record, bytes]] | Source,
        payloads: Payloads | None = None,
    ) -> Outcomes:
        """See `Client.ingest_many`. Also takes an asynchronous iterable of pairs."""
        if not isinstance(records, AsyncIterable):
            return await self._run(self.client.ingest_many, records, payloads)
        return await self._threads.ingest(self.client.ingest_many, records)
