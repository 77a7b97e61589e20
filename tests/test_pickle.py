"""Results travel between processes: every public class pickles, or refuses with a one-sentence reason."""

from __future__ import annotations

import copy
import inspect
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

import edgesentry
import edgesentry.exceptions
import edgesentry.testing
from edgesentry import (
    AsyncClient,
    AsyncLedger,
    Checkpoint,
    Client,
    Device,
    Erasure,
    Findings,
    Head,
    HeadsRewrittenError,
    KeyRing,
    Ledger,
    LogInputs,
    Manifest,
    Monitor,
    MonitorFinding,
    MonitorResult,
    Outbox,
    Outcome,
    Outcomes,
    Pkcs11Signer,
    Policy,
    ProgramSigner,
    ProofError,
    Proven,
    RecordReader,
    RejectedError,
    Report,
    RequirementError,
    Statistics,
    UnreadableError,
    UpdateError,
    UpdateRefusedError,
    VerificationError,
    Verifier,
    Witness,
    device_statistics,
    read_records,
    update,
    verify_chain,
    verify_part,
    verify_timestamp,
)
from edgesentry.testing import (
    CATALOGUE,
    LOG_CATALOGUE,
    MALFORMED_FILES,
    UPDATE_CATALOGUE,
    Place,
    Served,
    Victim,
    make_fleet,
    make_log,
    sound_update,
)
from support import chains, device, envelope, key_ring, softhsm

DEVICES = [device(number) for number in (1, 2, 3)]
RECORDS = chains(DEVICES, 6)
# A changed record, with an invalid signature and next link, and a repeated one.
BAD = [*RECORDS[:4], RECORDS[4].replace(timestamp_ms=1), *RECORDS[5:], RECORDS[-1]]
FLEET = make_fleet()
LOG_KEY = "log.example/lifts+6f40e01b+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
NOTE = """log.example/lifts
0
47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=

— log.example/lifts b0DgG/IFUYyJCYwJuMT0lgWt5z3swig2kgpGgTNP8K/ZcgytuEaRQsQx7KEodBR4Q+Hsv9w4AhmghlnejsAhqkQylgQ=
"""  # noqa: E501
OUTCOME = Outcome("lift-01", 3, "rejected", "fork", "one", "another", None, False)
TAMPERED = next(iter(CATALOGUE.values()))(FLEET)


def make_report(folder: Path | None = None) -> Report:
    """A report with findings of many kinds of evidence."""
    keys = key_ring(DEVICES)
    keys.add("lift-01", device(9).public_key, scheme="payload-hash", valid_from=4)
    heads = {"lift-01": verify_chain(RECORDS).heads["lift-01"], "lift-77": Head(5, bytes(32))}
    return verify_chain(BAD, keys=keys, heads=heads, payloads=folder)


REPORT = make_report()
CAUSED = next(finding for finding in REPORT.findings if finding.cause is not None)


def raised(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError


LOG = Path(__file__).parent / "vectors" / "log"
FOUND = MonitorFinding(1, "tamper", "fork", "expected one record", "lift-01", 3, 7, 1, 2, 2, ("leaf.proof",))
UPDATE = Path(__file__).parent / "vectors" / "update" / "version-6.manifest"
PUBLISHERS = update.SignedManifest.read(UPDATE).signers
STAMPS = Path(__file__).parent / "vectors" / "timestamps"
EXAMPLES: list[Any] = [
    REPORT,
    REPORT.findings,
    REPORT.diff(make_report()),
    REPORT.findings[1:3],
    *REPORT.findings,
    CAUSED.cause,
    REPORT.coverage,
    REPORT.coverage.links,
    REPORT.coverage.signatures,
    REPORT.coverage.heads,
    make_report(Path(__file__).parent).coverage.payloads,
    verify_chain(RECORDS, checkpoint=LOG / "checkpoint", policy=LOG / "policy").coverage.log,
    verify_timestamp(
        (STAMPS / "good.tsr").read_bytes(), STAMPS / "checkpoint", tsa_roots=STAMPS / "roots-0.pem"
    ),
    *REPORT.inputs,
    REPORT.chains["lift-01"],
    REPORT.heads["lift-01"],
    RECORDS[0],
    key_ring(DEVICES),
    DEVICES[0].public_key,
    KeyRing(),
    LogInputs(checkpoint=LOG / "checkpoint", policy=LOG / "policy", log_layout=LOG / "layout"),
    verify_part(BAD, position=7, keys=key_ring(DEVICES)),
    device_statistics(RECORDS),
    Manifest(
        1,
        1,
        REPORT.heads,
        {},
        {"name": "x.json", "format": "JSON", "size_bytes": 2, "blake3": "00" * 32},
        {"devices": [], "from_sequence": None, "to_sequence": None, "from_ms": None, "before_ms": None},
        "sqlite:x",
        5,
    ),
    Policy(f"log {LOG_KEY}\nquorum none\n"),
    Checkpoint(NOTE),
    Proven(
        "head", "one", "log.example/lifts", 7, bytes(32), "lift-01", 3, 3, bytes(32), None, {"ours": 5}, 5
    ),
    Erasure("lift-01", 3, bytes(32), "request 7", 5, 12, 1, "erased", None, 7),
    OUTCOME,
    FOUND,
    MonitorResult("tamper", "log.example/lifts", 3, bytes(32), 1, (FOUND,), ("gone",), {"ours": "agrees"}),
    Outcomes([OUTCOME]),
    edgesentry.EdgesentryError("one"),
    raised(lambda: KeyRing({"lift-01": "x"})),
    HeadsRewrittenError("heads.json", list(REPORT.findings)),
    RequirementError(REPORT, "heads: no heads were given"),
    ProofError("one", "proof_invalid"),
    edgesentry.RecordMalformed(3, "this", "that"),
    edgesentry.RegistryError("one"),
    RejectedError(Outcomes([OUTCOME])),
    edgesentry.ServiceError("one", True),
    edgesentry.SignerError("one", True),
    edgesentry.StoreError("one", True, "outbox"),
    UnreadableError("one"),
    UpdateError("one", "update_state"),
    UpdateRefusedError("one", "update_rollback", RECORDS[0]),
    update.SignedManifest.read(UPDATE),
    update.SignedManifest.read(UPDATE).manifest,
    update.Trust("door-controller", 2, PUBLISHERS),
    update.State(6, 5, False),
    update.Accepted(update.SignedManifest.read(UPDATE).manifest, 2, RECORDS[0]),
    raised(REPORT.raise_for_findings),
    *CATALOGUE.values(),
    *MALFORMED_FILES.values(),
    *(malformed(chains([device(1)], 5)) for malformed in MALFORMED_FILES.values()),
    TAMPERED,
    TAMPERED.expectations,
    edgesentry.testing.found(REPORT)[0],
    FLEET,
    *FLEET.signers.values(),
    *LOG_CATALOGUE.values(),
    LOG_CATALOGUE["log_rebuilt"](FLEET),
    *UPDATE_CATALOGUE.values(),
    sound_update(),
    make_log(FLEET),
    make_log(FLEET).signer,
    Place("sqlite", "x.db", "ledger"),
    Victim("lift-01", 3),
]
# Objects of one process: secrets, connections, open files.
NOT_RESULTS = {
    AsyncClient,
    AsyncLedger,
    Client,
    Device,
    Ledger,
    Monitor,
    Outbox,
    Pkcs11Signer,
    ProgramSigner,
    RecordReader,
    Served,
    Verifier,
    Witness,
    update.PublisherKey,
}


def public_classes(*modules: ModuleType) -> set[type]:
    members = [getattr(module, name) for module in modules for name in module.__all__]
    # Literals and other aliases are not classes.
    return {member for member in members if inspect.isclass(member) and member.__module__.startswith("edges")}


def test_every_public_class_is_here() -> None:
    """A new class needs an example, or belongs to one process."""
    classes = public_classes(edgesentry, edgesentry.testing, edgesentry.exceptions, update)
    assert classes == {type(example) for example in EXAMPLES} | NOT_RESULTS


def told(thing: object) -> object:
    """Returns the contents of a result, to compare those without equality."""
    if isinstance(thing, Statistics):
        return (thing.to_dicts(), thing.malformed)
    if isinstance(thing, Findings):
        return [finding.to_dict() for finding in thing]
    if isinstance(thing, BaseException):
        return (type(thing), str(thing), vars(thing), thing.args)
    if isinstance(thing, Outcomes):
        return list(thing)
    if type(thing).__eq__ is object.__eq__:
        return {name: getattr(thing, name) for name in dir(thing) if is_plain(thing, name)}
    return thing


def is_plain(thing: object, name: str) -> bool:
    return not (name.startswith("_") or callable(getattr(thing, name)))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
@pytest.mark.parametrize("way", ["pickle", "old pickle", "copy", "deepcopy"])
def test_a_result_is_unpickled_unchanged(example: object, way: str) -> None:
    if way.endswith("pickle"):
        back = pickle.loads(pickle.dumps(example, protocol=2 if way == "old pickle" else -1))
    else:
        back = copy.copy(example) if way == "copy" else copy.deepcopy(example)
    assert type(back) is type(example)
    assert repr(back) == repr(example)
    assert repr(told(back)) == repr(told(example))
    if not isinstance(example, BaseException) and type(example).__eq__ is not object.__eq__:
        assert back == example


def test_a_report_is_unpickled_completely(tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    edgesentry.write_records(BAD, path)
    report = verify_chain(path, keys=key_ring(DEVICES), max_findings=2)
    back = pickle.loads(pickle.dumps(report))
    assert back == report
    assert back.to_json() == report.to_json()
    assert (back.ok, back.verdict, back.findings_omitted) == (False, "findings", report.findings_omitted)
    # The hash of the file is in the page only if the report knows when it was read.
    assert edgesentry.payload_hash(path.read_bytes()).hex() in back.to_html()
    with pytest.raises(VerificationError) as error:
        back.raise_for_findings()
    assert pickle.loads(pickle.dumps(error.value)).report == report


def test_a_copied_key_ring_is_another() -> None:
    ring = key_ring(DEVICES)
    for other in (copy.copy(ring), copy.deepcopy(ring), pickle.loads(pickle.dumps(ring))):
        other.add("lift-04", device(4).public_key)
        assert "lift-04" not in ring


def verify(records: bytes, keys: KeyRing) -> Report:
    return verify_chain(records, keys=keys)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_pool_returns_reports(tmp_path: Path, method: Literal["fork", "spawn"]) -> None:
    path = tmp_path / "export.ndjson"
    edgesentry.write_records(RECORDS, path)
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        report = pool.submit(verify, path.read_bytes(), key_ring(DEVICES)).result()
    assert report.ok
    assert report.coverage.records == len(RECORDS)


def test_objects_of_a_process_refuse_to_pickle(tmp_path: Path) -> None:
    lift = device(1)
    ledger = edgesentry.open(tmp_path / "ledger.db")
    client = Client("http://127.0.0.1:9", token="hush")
    outbox = Outbox(tmp_path / "outbox.db", lift)
    place = Place("sqlite", "x.db", "ledger")
    key = "log.example/lifts+6f40e01b+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
    policy = edgesentry.Policy(f"log {key}\nquorum none\n")
    seed, state, name = tmp_path / "witness.seed", f"sqlite:{tmp_path / 'witness.db'}", "our.example/w"
    envelope("witness", "init", "--state", state, "--key", seed, "--name", name)
    (tmp_path / "logs").write_text(f"log {key}\n")
    witness = Witness(state, key=seed, name=name, logs=tmp_path / "logs")
    token = Pkcs11Signer.generate("pkcs11:object=pickled", module=softhsm(), pin="4711")
    monitor = Monitor("http://127.0.0.1:9", policy=policy, state=tmp_path / "state.db")
    things: list[object] = [
        monitor,
        witness,
        lift,
        ledger,
        AsyncLedger(ledger),
        client,
        AsyncClient("http://127.0.0.1:9"),
        outbox,
        token,
        ProgramSigner("/absent", public_key=lift.public_key),
        read_records(RECORDS),
        Verifier(position=0),
        Served("http://127.0.0.1:9", client, "hush", place, tmp_path),
        update.PublisherKey.generate(),
    ]
    assert {type(thing) for thing in things} == NOT_RESULTS
    for thing in things:
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            if isinstance(thing, Served) and way is copy.copy:
                continue
            with pytest.raises(TypeError, match="does not pickle: ") as error:
                way(thing)
            assert "hush" not in str(error.value)
            assert lift.public_key not in str(error.value)
    outbox.close()
    ledger.close()
    monitor.close()


def reduced(thing: Any) -> tuple[Callable[[str, bytes], Any], str, bytes]:
    """Returns the parts of a pickle: a function, the name of the class and its state."""
    restore, (kind, state) = thing.__reduce__()
    return restore, kind, state


def test_a_damaged_pickle_is_an_error() -> None:
    part = verify_part(RECORDS, position=0)
    results = (REPORT, REPORT.findings, REPORT.coverage, key_ring(DEVICES), device_statistics(RECORDS), part)
    for example in results:
        restore, kind, state = reduced(example)
        chosen = random.Random(7)
        broken = [b"", state[:1], state[:-1], state + b"\0", bytes([state[0] + 1]) + state[1:]]
        for _ in range(200):
            at = chosen.randrange(len(state))
            broken.append(state[:at] + bytes([state[at] ^ 1 << chosen.randrange(8)]) + state[at + 1 :])
        for bad in broken:
            with pytest.raises(UnreadableError, match=f"the pickle of a {kind} is "):
                restore(kind, bad)
        # One class is not another.
        with pytest.raises(UnreadableError, match="is damaged"):
            restore("Finding", state)
        with pytest.raises(UnreadableError, match="no result"):
            restore("Device", state)


def sealed(kind: str, content: bytes) -> bytes:
    """The state of an attacker who can compute the checksum."""
    return bytes.fromhex(STATE[:2]) + edgesentry.payload_hash(kind.encode() + b"\0" + content)[:8] + content


def test_a_forged_pickle_is_refused() -> None:
    good = verify_chain(RECORDS, keys=key_ring(DEVICES))
    restore, kind, state = reduced(good)
    content = state[9:]
    assert restore(kind, sealed(kind, content)) == good
    chosen = random.Random(7)
    for _ in range(3000):
        at = chosen.randrange(len(content))
        changed = content[:at] + bytes([chosen.randrange(256)]) + content[at + 1 :]
        try:
            back = restore(kind, sealed(kind, changed))
        except UnreadableError:
            continue
        # A verdict always follows from the contents of the report.
        assert back.ok == (not back.counts and back.coverage.records > 0)
        assert sum(back.counts.values()) == len(back.findings) + back.findings_omitted
        assert back.summary()
        assert back.to_html()


# The state of a report, as this version writes it. If this fails, a type that is pickled has changed: raise
# VERSION in rust/python/src/pickle.rs and write the new state here.
STATE = (
    "023ca3833dca0ff8710000000001076c6966742d30310177ad4b616a048380134b8eaee682a2bfc2b04251cfb422ed71"
    "28bb9852a7172401076c6966742d3031010101e8d795ffbc31e8d795ffbc31010100010000000000000001046c697374"
    "077265636f72647301000000010000"
)


def test_the_version_is_that_of_the_types() -> None:
    example = verify_chain(chains([device(1)], 1))
    _, _, state = reduced(example)
    assert state.hex() == STATE
