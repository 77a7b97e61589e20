"""The pipeline against a service on the network."""

from __future__ import annotations

import json
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from lift_archive import forward

from edgesentry.testing import Fleet, Served, assert_report, attacks


def test_a_fleet_is_forwarded(edgesentry_server: Served, edgesentry_fleet: Fleet) -> None:
    assert forward(edgesentry_server.client, edgesentry_fleet.pairs()) == {"accepted": 24}
    assert forward(edgesentry_server.client, edgesentry_fleet.pairs()) == {"duplicate": 24}
    with edgesentry_server.place.open() as ledger:
        report = ledger.verify(keys=edgesentry_fleet.keys, heads=edgesentry_fleet.heads, payloads=True)
    assert_report(report, checked=["signatures", "payloads", "heads"])


def test_a_bad_signature_is_rejected_and_in_the_log(
    edgesentry_server: Served, edgesentry_fleet: Fleet
) -> None:
    fleet = edgesentry_fleet
    tampered = attacks.flip_signature_bit(fleet.records, "lift-02", 4)
    pairs = [(record, fleet.payloads[record.object_ref]) for record in tampered.records]
    counts = forward(edgesentry_server.client, pairs)
    assert counts == {"accepted": 19, "signature_invalid": 1, "sequence_gap": 4}
    log = json.loads(edgesentry_server.read("/api/v1/log?outcome=rejected"))
    assert [entry["reason"] for entry in log["entries"]].count("signature_invalid") == 1


def test_reads_require_the_token(edgesentry_server: Served) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{edgesentry_server.url}/api/v1/records")
    refused.value.close()
    assert refused.value.code == 401
    assert json.loads(edgesentry_server.read("/api/v1/records"))["records"] == []
    assert edgesentry_server.token not in repr(edgesentry_server)
