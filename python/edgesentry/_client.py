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

    Sending again is always safe, and the client does it by itself where the service is busy or cannot be
    reached, after the time that the service asks for. Threads may share a client.

    Args:
        url: `https://HOST:PORT`, or `http://` without TLS.
        token: A token with the scope `ingest`, where the service asks for one.
        ca: PEM file of the authorities to trust; those of the system by default.
        cert: PEM file of the device's own certificate.
        cert_key: PEM file of its private key.
        timeout: Seconds that the service may stand still before an attempt has failed.
        attempts: How often a record is sent before its outcome is `error`.

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
            raise ValueError("cert and cert_key are given together, or neither is")
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
        """Ends the connections."""
        self._core.close()

    def ingest(self, record: Record, payload: bytes) -> Outcome:
        """Sends one record; when it is accepted or a duplicate, record and payload are durable there.

        Ctrl-C ends the waiting; the record may have been taken all the same, and sending it again is safe.
        """
        return _outcome(record, self._core.ingest(record, payload))

    def ingest_many(self, records: Iterable[Any] | Source, payloads: Payloads | None = None) -> Outcomes:
        """Sends records, some thousands at a time, and answers each: arguments of `Ledger.ingest_many`."""
        outcomes: list[Outcome] = []
        for batch in _batches(_pairs(records, payloads)):
            answers = self._core.ingest_many(batch)
            outcomes += [_outcome(record, answer) for (record, _), answer in zip(batch, answers, strict=True)]
        return Outcomes(outcomes)


class AsyncClient:
    """A client whose methods are coroutines; arguments as for `Client`.

    Cancelling a coroutine ends the waiting, not the work: a record that was being sent may be taken all the
    same, and sending it again is safe.

    Args:
        url: See `Client`.
        at_once: Calls that may run at once; further ones wait.
        **options: See `Client`.
    """

    __module__ = "edgesentry"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AsyncClient does not pickle: it holds connections; make one in the other process")

    def __init__(self, url: str, *, at_once: int = AT_ONCE, **options: Any) -> None:
        self.client = Client(url, **options)
        self._threads = Threads(at_once, "edgesentry-client")
        self._run = self._threads.run

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for what runs, then ends the connections."""
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
