"""The pipeline on every configured store."""

from __future__ import annotations

from lift_archive import receive

from edgesentry import Device, Ledger
from edgesentry.testing import Fleet, Place, assert_report, attacks


def test_a_fleet_is_received(edgesentry_service: Ledger, edgesentry_fleet: Fleet) -> None:
    assert receive(edgesentry_service, edgesentry_fleet.pairs()) == {"accepted": 24}
    assert receive(edgesentry_service, edgesentry_fleet.pairs()) == {"duplicate": 24}
    report = edgesentry_service.verify(
        keys=edgesentry_fleet.keys, heads=edgesentry_fleet.heads, payloads=True
    )
    assert_report(report, checked=["signatures", "payloads", "heads"])


def test_a_bad_signature_is_rejected(edgesentry_service: Ledger, edgesentry_fleet: Fleet) -> None:
    fleet = edgesentry_fleet
    tampered = attacks.flip_signature_bit(fleet.records, "lift-02", 4)
    pairs = [(record, fleet.payloads[record.object_ref]) for record in tampered.records]
    counts = receive(edgesentry_service, pairs)
    assert counts == {"accepted": 19, "signature_invalid": 1, "sequence_gap": 4}


def test_a_ledger_is_empty_and_can_be_reopened(
    edgesentry_store: Place, edgesentry_devices: dict[str, Device]
) -> None:
    lift = edgesentry_devices["lift-01"]
    with edgesentry_store.open() as ledger:
        assert ledger.devices() == []
        ledger.register_device(lift, start=lift.head)
    with edgesentry_store.open() as ledger:
        assert receive(ledger, [(lift.sign(b"next", "lift-01/9.bin"), b"next")]) == {"accepted": 1}


def test_the_scheme_is_the_default(edgesentry_scheme: str, edgesentry_make_fleet: object) -> None:
    assert edgesentry_scheme == "record"
    assert callable(edgesentry_make_fleet)
