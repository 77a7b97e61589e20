"""Clients of a service on the network."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Self
from urllib.parse import urlencode

from edgesentry._core import AuditRecord, Checkpoint, ClientCore, Device, Head, KeyRing, shown, write_records
from edgesentry._ledger import (
    Outcome,
    Outcomes,
    Payloads,
    Record,
    Time,
    _batches,
    _filters,
    _outcome,
    _pairs,
    _registration,
    _warn_of_shared_key,
    check_log_filter,
)
from edgesentry._threads import AT_ONCE, Threads
from edgesentry._typing import (
    ByteField,
    LogEntryDict,
    LogReason,
    Path,
    RegisteredDeviceDict,
    RegisteredKeyDict,
    RevocationReason,
    Scheme,
    Source,
)
from edgesentry.exceptions import ServiceError

# Records of one page, and the largest response.
_PAGE = 1000
_MAX_ANSWER_BYTES = 64 << 20


class Client:
    """A service on the network (`eds serve`): sends records, and reads and administers its ledger.

    Sending again is always safe. If the service is busy or cannot be reached, the client retries after the
    time that the service asks for. Threads may share a client.

    Args:
        url: `https://HOST:PORT`, or `http://` without TLS.
        token: A token, if the service requires one: scope `ingest` to send, `read` to read, `admin` to
            register and revoke devices.
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

    # Administration: the token needs the scope that each method names.

    def register_device(
        self,
        device: Device | str,
        public_key: ByteField | None = None,
        *,
        scheme: Scheme | None = None,
        valid_from: int | None = None,
        start: Head | None = None,
    ) -> None:
        """Registers a key of a device; see `Ledger.register_device`. The token needs the scope `admin`.

        Another key of a registered device replaces its key from `valid_from` on: a rotation.

        Raises:
            ConfigError: The key is weak or malformed.
            ServiceError: The registry refuses the change, or the service the request.
        """
        device_id, public_key, scheme = _registration(device, public_key, scheme)
        # The ring reads every form of a key, and refuses a weak one.
        ring = KeyRing()
        ring.add(device_id, public_key, scheme=scheme)
        [key] = ring.keys(device_id)
        body: dict[str, object] = {"device_id": device_id, "key": key["key"], "scheme": scheme}
        if valid_from is not None:
            body["valid_from"] = valid_from
        if start is not None:
            body["start"] = {"sequence": start.sequence, "hash": start.hash.hex()}
        answer = self._json("POST", "api/v1/devices", body=body)
        with self._reading():
            others = [str(other) for other in _list(answer["also_key_of"])]
        _warn_of_shared_key(device_id, others)

    def revoke_device(self, device_id: str, *, reason: RevocationReason = "unspecified") -> int:
        """Revokes all keys of a device; returns the first rejected sequence. Needs the scope `admin`.

        Raises:
            ServiceError: The device is not registered, or the service refuses the request.
        """
        body = {"device_id": device_id, "reason": reason}
        answer = self._json("POST", "api/v1/devices/revoke", body=body)
        with self._reading():
            return _integer(answer["revoked_from"])

    def devices(self) -> list[RegisteredDeviceDict]:
        """Returns the registered devices with their keys and heads. Needs the scope `read`."""
        answer = self._json("GET", "api/v1/devices")
        with self._reading():
            return [_device(device) for device in _list(answer["devices"])]

    def key_ring(self) -> KeyRing:
        """Returns the registered keys. Needs the scope `read`.

        They are a claim of the service: compare them with the keys of the owners of the devices. A key ring
        does not contain revocations; `devices` does.
        """
        ring = KeyRing()
        for device in self.devices():
            for key in device["keys"]:
                with self._reading():
                    ring.add(
                        device["device_id"], key["key"], scheme=key["scheme"], valid_from=key["valid_from"]
                    )
        return ring

    def heads(self) -> dict[str, Head]:
        """Returns the last link of every chain. Needs the scope `read`.

        Keep them where a writer of the ledger cannot change them.
        """
        answer = self._json("GET", "api/v1/heads")
        with self._reading():
            heads = answer["heads"]
            return {name: Head(_integer(head["sequence"]), head["hash"]) for name, head in heads.items()}

    def operation_log(
        self,
        *,
        device_id: str | None = None,
        outcome: str | None = None,
        reason: LogReason | None = None,
        after_id: int = 0,
        limit: int = 1000,
    ) -> list[LogEntryDict]:
        """Returns a page of the operation log, oldest first; see `Ledger.operation_log`. Needs `read`.

        Args:
            device_id: Only this device.
            outcome: Only `accepted`, `duplicate` or `rejected`.
            reason: Only this reason.
            after_id: Only entries after this one: the last entry of the previous page.
            limit: The maximum number of entries, at most 10,000.

        Raises:
            ValueError: The outcome or the reason is unknown.
        """
        check_log_filter(outcome, reason)
        query = {"device_id": device_id, "outcome": outcome, "reason": reason}
        answer = self._json("GET", "api/v1/log", {**query, "after_id": after_id, "limit": limit})
        with self._reading():
            return [_entry(entry) for entry in _list(answer["entries"])]

    def records(
        self,
        *,
        devices: str | Iterable[str] | None = None,
        from_sequence: int | None = None,
        to_sequence: int | None = None,
        since: Time | None = None,
        before: Time | None = None,
    ) -> Iterator[AuditRecord]:
        """Returns records by device and sequence, page by page. Needs the scope `read`.

        Each page is one consistent state; records that arrive meanwhile may be in later pages.

        Args:
            devices: Only these devices.
            from_sequence: The lowest sequence.
            to_sequence: The highest sequence.
            since: The earliest timestamp, Unix milliseconds or a datetime with a time zone.
            before: The first timestamp after the range.
        """
        names, *ranges = _filters(devices, from_sequence, to_sequence, since, before)
        keys = ("from_sequence", "to_sequence", "from_ms", "before_ms")
        query = dict(zip(keys, ranges, strict=True))
        if not names:
            yield from self._pages(query)
        for name in names:
            yield from self._pages({**query, "device_id": name})

    def _pages(self, query: Mapping[str, object]) -> Iterator[AuditRecord]:
        after: str | None = None
        while True:
            page = self._json("GET", "api/v1/records", {**query, "after": after, "limit": _PAGE})
            with self._reading():
                records = [AuditRecord.from_dict(record) for record in _list(page["records"])]
                following = page["next"]
                # Otherwise a faulty service would repeat a page for ever.
                goes_on = following is not None
                if goes_on and (not records or following != _cursor(records[-1]) or following == after):
                    raise ValueError("next")
            yield from records
            if not goes_on:
                return
            after = following

    def export(
        self,
        path: Path,
        *,
        devices: str | Iterable[str] | None = None,
        from_sequence: int | None = None,
        to_sequence: int | None = None,
        since: Time | None = None,
        before: Time | None = None,
    ) -> int:
        """Writes records to a file in bounded memory, and returns their number. Needs the scope `read`.

        The file is complete or does not exist. It is made here from the records, so nothing but records gets
        into it; it has no manifest. Filters as in `records`.

        Raises:
            OSError: The file cannot be written.
            ServiceError: The service refuses a request, or cannot be reached.
        """
        records = self.records(
            devices=devices, from_sequence=from_sequence, to_sequence=to_sequence, since=since, before=before
        )
        return write_records(records, path)

    def checkpoint(self) -> Checkpoint:
        """Returns the published checkpoint of the transparency log. Needs the scope `read`.

        A policy decides whether it is trusted.
        """
        note = self._fetch("GET", "log/checkpoint")
        with self._reading():
            return Checkpoint(note.decode())

    def prove(
        self,
        device_id: str | None = None,
        sequence: int | None = None,
        *,
        to_sequence: int | None = None,
        size: int | None = None,
        previous: Checkpoint | None = None,
    ) -> str:
        """Returns a proof from the transparency log, as `Ledger.prove` does. Needs the scope `read`.

        `verify_proof` verifies it, under a policy of your own.

        Args:
            device_id: The device.
            sequence: The sequence of the record, or of the first one.
            to_sequence: The sequence of the last record of a run.
            size: The size of an earlier checkpoint that the proof is to be of, in leaves.
            previous: An older checkpoint of the log, for a proof that the log only grew.

        Raises:
            ServiceError: The record is not in the log, or the service refuses the request.
        """
        query: dict[str, object]
        if previous is not None:
            if device_id is not None or sequence is not None or to_sequence is not None:
                raise TypeError("previous= is for a proof that the log only grew, without a device")
            path, query = "api/v1/log/consistency", {"from": previous.size}
        elif device_id is None:
            raise TypeError("a proof needs a device_id, or previous=")
        elif sequence is None:
            path, query = "api/v1/log/heads-proof", {"device_id": device_id}
        else:
            path = "api/v1/log/proof"
            query = {"device_id": device_id, "sequence": sequence, "to_sequence": to_sequence}
        proof = self._fetch("GET", path, {**query, "size": size})
        with self._reading():
            return proof.decode()

    def _fetch(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> bytes:
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        place = f"{path}?{urlencode(given)}" if given else path
        content = None if body is None else json.dumps(body).encode()
        return self._core.fetch(method, place, content, _MAX_ANSWER_BYTES)

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        text = self._fetch(method, path, query, body)
        with self._reading():
            answer = json.loads(text)
            if not isinstance(answer, dict):
                raise TypeError("not an object")
            return answer

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turns any fault in a response into one error: the service is not trusted with its form."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            message = f"{self.url}: the response does not follow docs/reference/http.md"
            raise ServiceError(shown(message)) from error


def _cursor(record: AuditRecord) -> str:
    return f"{record.sequence}:{record.device_id}"


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not an integer")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _link(link: Any) -> Head | None:
    return None if link is None else Head(_integer(link["sequence"]), link["hash"])


def _device(device: Any) -> RegisteredDeviceDict:
    keys: list[RegisteredKeyDict] = [
        {
            "key": str(key["key"]),
            "scheme": key["scheme"],
            "valid_from": _integer(key["valid_from"]),
            "revoked_from": None if key["revoked_from"] is None else _integer(key["revoked_from"]),
            # An earlier service sends none.
            "revoked_reason": key.get("revoked_reason"),
        }
        for key in _list(device["keys"])
    ]
    return {
        "device_id": str(device["device_id"]),
        "keys": keys,
        "head": _link(device["head"]),
        "start": _link(device["start"]),
    }


def _entry(entry: Any) -> LogEntryDict:
    evidence = entry["evidence_hex"]
    return {
        "id": _integer(entry["id"]),
        "at_ms": _integer(entry["at_ms"]),
        "device_id": str(entry["device_id"]),
        "sequence": None if entry["sequence"] is None else _integer(entry["sequence"]),
        "outcome": entry["outcome"],
        "reason": entry["reason"],
        "record_hash": bytes.fromhex(entry["record_hash"]),
        "expected": entry["expected"],
        "actual": entry["actual"],
        "evidence": None if evidence is None else bytes.fromhex(evidence),
    }


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

    async def register_device(
        self,
        device: Device | str,
        public_key: ByteField | None = None,
        *,
        scheme: Scheme | None = None,
        valid_from: int | None = None,
        start: Head | None = None,
    ) -> None:
        """See `Client.register_device`."""
        call = self.client.register_device
        await self._run(call, device, public_key, scheme=scheme, valid_from=valid_from, start=start)

    async def revoke_device(self, device_id: str, *, reason: RevocationReason = "unspecified") -> int:
        """See `Client.revoke_device`."""
        return await self._run(self.client.revoke_device, device_id, reason=reason)

    async def devices(self) -> list[RegisteredDeviceDict]:
        """See `Client.devices`."""
        return await self._run(self.client.devices)

    async def key_ring(self) -> KeyRing:
        """See `Client.key_ring`."""
        return await self._run(self.client.key_ring)

    async def heads(self) -> dict[str, Head]:
        """See `Client.heads`."""
        return await self._run(self.client.heads)

    async def operation_log(
        self,
        *,
        device_id: str | None = None,
        outcome: str | None = None,
        reason: LogReason | None = None,
        after_id: int = 0,
        limit: int = 1000,
    ) -> list[LogEntryDict]:
        """See `Client.operation_log`."""
        call = self.client.operation_log
        return await self._run(
            call, device_id=device_id, outcome=outcome, reason=reason, after_id=after_id, limit=limit
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
        """Returns the records as a list; `client.records` streams them. See `Client.records`."""

        def read() -> list[AuditRecord]:
            return list(
                self.client.records(
                    devices=devices,
                    from_sequence=from_sequence,
                    to_sequence=to_sequence,
                    since=since,
                    before=before,
                )
            )

        return await self._run(read)

    async def export(
        self,
        path: Path,
        *,
        devices: str | Iterable[str] | None = None,
        from_sequence: int | None = None,
        to_sequence: int | None = None,
        since: Time | None = None,
        before: Time | None = None,
    ) -> int:
        """See `Client.export`."""
        call = self.client.export
        return await self._run(
            call,
            path,
            devices=devices,
            from_sequence=from_sequence,
            to_sequence=to_sequence,
            since=since,
            before=before,
        )

    async def checkpoint(self) -> Checkpoint:
        """See `Client.checkpoint`."""
        return await self._run(self.client.checkpoint)

    async def prove(
        self,
        device_id: str | None = None,
        sequence: int | None = None,
        *,
        to_sequence: int | None = None,
        size: int | None = None,
        previous: Checkpoint | None = None,
    ) -> str:
        """See `Client.prove`."""
        call = self.client.prove
        return await self._run(
            call, device_id, sequence, to_sequence=to_sequence, size=size, previous=previous
        )
