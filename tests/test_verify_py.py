"""The verifier in one Python file: its parts, and its verdicts on good and falsified bundles."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import bundles
import evidence
import stamps
import timestamps
from evidence import (
    Bundle,
    Log,
    Signer,
    base64_of,
    erased_bundles,
    erased_log,
    item,
    member,
    sample_log,
    small_log,
    text,
    varint,
)

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "rust/edgesentry-rs/src/log/bundle/verify.py"
VECTORS = ROOT / "tests/vectors/log"
# The encodings of the points of small order.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_bundle_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verify = load()


def inputs(log: Any, own: bool = True, **more: Any) -> Any:
    found = verify.Inputs()
    if own:
        found.policy = verify.Policy(log.policy())
        found.keys = verify.KeyRing.of_json(json.dumps(log.key_ring()).encode(), "payload-hash")
    for name, value in more.items():
        setattr(found, name, verify.Roots(value) if name == "tsa_roots" else value)
    return found


def check(bundle: Bundle | bytes, log: Log, own: bool = True, **more: Any) -> dict[str, Any]:
    data = bundle if isinstance(bundle, bytes) else bundle.pack()
    report = verify.verify_bundle(io.BytesIO(data), inputs(log, own, **more)).to_json()
    assert isinstance(report, dict)
    return report


def gaps(report: dict[str, Any]) -> list[str]:
    return [gap["code"] for gap in report["coverage"]["gaps"]]


def run(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", SCRIPT, *arguments], capture_output=True, text=True, check=False, **more
    )


# -- The file --


def test_it_is_python_3_8_and_imports_the_standard_library_alone() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    assert imported <= set(sys.stdlib_module_names)
    # Methods and functions that came later than 3.8.
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {
        "removeprefix",
        "removesuffix",
        "bit_count",
        "randbytes",
        "cache",
        "pairwise",
        "isqrt",
    }
    assert not any(isinstance(node, ast.keyword) and node.arg == "strict" for node in ast.walk(tree))


# -- The parts --


@pytest.mark.parametrize("size", [0, 1, 64, 65, 1023, 1024, 1025, 2048, 3073, 262_144, 262_145, 700_001])
def test_blake3_of_one_message(size: int) -> None:
    message = random.Random(size).randbytes(size)
    assert verify.blake3(message) == blake3(message).digest()


def test_blake3_of_many_messages() -> None:
    draw = random.Random(1)
    messages = [draw.randbytes(draw.randrange(1300)) for _ in range(1500)]
    assert verify.blake3_many(messages) == [blake3(message).digest() for message in messages]
    context = verify.RECORD_SIGNATURE_CONTEXT.decode()
    expected = [blake3(message, derive_key_context=context).digest() for message in messages]
    assert verify.signing_digests(messages) == expected


def test_signatures_of_another_library() -> None:
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)) for seed in range(3)]
    public = [verify.PublicKey(evidence.public_bytes(key)) for key in keys]
    signed = []
    for number in range(200):
        message = b"%d" % number
        signed.append((public[number % 3], message, keys[number % 3].sign(message)))
    assert all(verify.verify(*one) for one in signed[:10])
    assert verify.bad_signatures(signed) == []
    for bad in ([0], [199], [7, 8, 150], list(range(200))):
        changed = list(signed)
        for at in bad:
            key, message, signature = signed[at]
            changed[at] = key, message + b"?", signature
        assert verify.bad_signatures(changed) == bad


def encode(point: tuple[int, int, int, int]) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, verify.P - 2, verify.P)
    x, y = x * inverse % verify.P, y * inverse % verify.P
    return bytes((y | (x & 1) << 255).to_bytes(32, "little"))


def torsion() -> list[tuple[int, int, int, int]]:
    return [verify.extended(*verify.decode_point(bytes.fromhex(one))) for one in SMALL_ORDER]


def secret() -> tuple[int, Any]:
    """Returns a secret scalar and its key."""
    scalar = 0x1234567890ABCDEF << 180
    return scalar, verify.PublicKey(encode(verify.multiply([(scalar, verify.BASE_TABLE)])))


def sign(r: bytes, nonce: int, scalar: int, key: Any, message: bytes) -> bytes:
    """Signs with an R of any encoding, which stands for nonce times B and any component of small order."""
    k = int.from_bytes(hashlib.sha512(r + key.encoding + message).digest(), "little") % verify.L
    s = (nonce + k * scalar) % verify.L
    return bytes(r + s.to_bytes(32, "little"))


def verdict(key: Any, message: bytes, signature: bytes) -> bool:
    """Returns the verdict on a signature alone, which is the same first, last and inside of batches."""
    alone = verify.verify(key, message, signature)
    honest = Ed25519PrivateKey.from_private_bytes(bytes([9] * 32))
    other = verify.PublicKey(evidence.public_bytes(honest)), b"x", honest.sign(b"x")
    for size in (1, 2, 17, 40):
        for at in {0, size // 2, size - 1}:
            batch = [other] * size
            batch[at] = key, message, signature
            assert verify.bad_signatures(batch) == ([] if alone else [at])
    return bool(alone)


@pytest.mark.parametrize("encoding", SMALL_ORDER)
def test_keys_of_small_order_are_refused(encoding: str) -> None:
    with pytest.raises(verify.Malformed, match="small order"):
        verify.PublicKey(bytes.fromhex(encoding))


def test_keys_with_a_torsion_component_and_other_encodings_are_refused() -> None:
    _, key = secret()
    point = verify.extended(*verify.decode_point(key.encoding))
    for component in torsion()[1:]:
        with pytest.raises(verify.Malformed, match="torsion"):
            verify.PublicKey(encode(verify.add(point, component)))
    for encoding in ("ff" * 32, "ee" + "ff" * 30 + "7f", "01" + "00" * 30 + "80", "02" + "00" * 31):
        with pytest.raises(verify.Malformed, match="canonical"):
            verify.PublicKey(bytes.fromhex(encoding))


def test_components_of_small_order_in_r_are_accepted_and_other_encodings_are_not() -> None:
    scalar, key = secret()
    message = b"the lift door was closed"
    r = verify.multiply([(77, verify.BASE_TABLE)])
    for component in torsion():
        signature = sign(encode(verify.add(r, component)), 77, scalar, key, message)
        assert verdict(key, message, signature)
        assert verdict(key, message, sign(encode(component), 0, scalar, key, message))
    honest = sign(encode(r), 77, scalar, key, message)
    s = int.from_bytes(honest[32:], "little")
    assert not verdict(key, message, honest[:32] + (s + verify.L).to_bytes(32, "little"))
    # The neutral element in its two other encodings.
    for encoding in ("ee" + "ff" * 30 + "7f", "01" + "00" * 30 + "80"):
        assert not verdict(key, message, sign(bytes.fromhex(encoding), 0, scalar, key, message))
    for signature in (honest[:63], honest + b"\0", b""):
        assert not verify.verify(key, message, signature)


def test_policies_and_checkpoints_of_the_project() -> None:
    def judge(policy: str, checkpoint: str) -> Any:
        trust = verify.Policy((VECTORS / policy).read_bytes())
        return trust.evaluate(verify.Note((VECTORS / checkpoint).read_bytes()))

    checkpoint, cosigned, time = judge("policy", "checkpoint")
    assert (checkpoint.origin, [name for name, _ in cosigned]) == ("log.example/lifts", ["ours"])
    assert time == cosigned[0][1]
    assert judge("policy-no-witness", "checkpoint-uncosigned")[2] is None
    for policy, note, code in [
        ("policy", "checkpoint-uncosigned", "witness_quorum_missing"),
        ("policy-other-log", "checkpoint", "checkpoint_untrusted"),
    ]:
        with pytest.raises(verify.Distrust) as caught:
            judge(policy, note)
        assert caught.value.code == code


def test_policies_that_contradict_themselves_are_refused() -> None:
    log = Log()
    key, (one, two, _) = log.log_key.vkey(), [witness.vkey() for witness in log.witnesses]
    good = (
        f"# ours\nlog {key} https://x # known\n\twitness a {one}\nwitness b {two}\ngroup g any a b\nquorum g"
    )
    assert verify.Policy(good.encode()).quorum == "g"
    for bad in [
        "",
        good.replace("quorum g", ""),
        good + "\nquorum none",
        good.replace("any a b", "3 a b"),
        good.replace("any a b", "0 a b"),
        good.replace("any a b", "01 a b"),
        good.replace("any a b", "any a c"),
        good.replace("any a b", "any a a"),
        good.replace("witness b", "witness a"),
        good.replace("witness b", "witness none"),
        good.replace(two, one),
        good.replace(one, key),
        good.replace(key, one),
        good.replace(key[-3:], "AAA"),
        good + "\n\x01",
        good.replace("log ", "logs "),
    ]:
        with pytest.raises(verify.Malformed):
            verify.Policy(bad.encode())
    nested = good.replace("group g any a b", "group h all a b\ngroup g 1 h")
    note = log.note(len(log.leaves))
    lines = [log.log_key.line(note), log.witnesses[0].line(note, 5), log.witnesses[1].line(note, 9)]
    whole = verify.Note((note + "\n" + "".join(lines)).encode())
    assert verify.Policy(nested.encode()).evaluate(whole)[2] == 5
    assert verify.Policy(good.encode()).evaluate(whole)[2] == 9


# -- Bundles --


def test_bundles_of_each_scope_are_valid() -> None:
    log = sample_log()
    previous = verify.Note(log.checkpoint(log.sizes[0]))
    full = check(log.full(payloads=True), log, previous=previous)
    assert (full["verdict"], gaps(full)) == ("valid", ["beginnings_claimed", "payload_hash_only"])
    assert full["coverage"]["signatures"] == {"payload_hash": 8, "record": 24, "unchecked": 0}
    names = [b"a", b"lift-01", b"lift-04", b"lift-09", b"lift-99"]
    devices = check(log.of_devices(names, since=log.sizes[0]), log, previous=previous)
    assert (devices["verdict"], gaps(devices)) == ("valid", ["no_payloads", "part_of_log"])
    records = check(log.of_records([(b"lift-01", 3), (b"lift-05", 102)]), log, previous=previous)
    expected = ["links_not_checked", "no_payloads", "previous_not_compared", "part_of_log"]
    assert (records["verdict"], gaps(records)) == ("valid", expected)
    claims = check(log.full(), log, own=False)
    assert claims["verdict"] == "valid"
    assert {"keys_claimed", "policy_claimed"} <= set(gaps(claims))


def test_parts_of_the_leaves_are_one_input() -> None:
    log = sample_log()
    bundle = log.full()
    leaves = bundle.members["leaves-000"]
    first = sum(len(item(leaf)) for leaf in log.leaves[:9])
    bundle.members |= {"leaves-000": leaves[:first], "leaves-001": leaves[first:]}
    assert check(bundle, log)["verdict"] == "valid"
    bundle.members |= {"leaves-000": leaves[: first + 1], "leaves-001": leaves[first + 1 :]}
    assert check(bundle, log)["findings"][0]["file"] == "leaves-000"


def without_a_leaf(log: Log) -> Bundle:
    """The erased payload of a record is missing, and the leaf that erases it is not in the bundle."""
    bundle = log.of_records([(b"lift-01", 3)], payloads=True)
    at = next(at for at, leaf in enumerate(log.leaves) if leaf.startswith(b"\5\7lift-01\3"))

    def is_part(index: int) -> bool:
        leaf = log.leaves[index]
        return leaf.startswith(b"\1\7lift-01\3") and index != at

    bundle.members["leaves-000"] = evidence.subtrees(log.leaves, is_part, None)
    return bundle


def test_a_trusted_log_alone_excuses_erased_payloads() -> None:
    log = erased_log()
    for name, bundle in erased_bundles(log).items():
        missing = 3 if name == "full" else 2
        report = check(bundle, log)
        assert (report["verdict"], report["counts"]) == ("valid", {}), name
        gap = {"level": "payloads", "code": "payload_erased", "payloads": missing}
        assert gap in report["coverage"]["gaps"]
        stranger = Log("log.example/other")
        for inputs_of, own, code in ((log, False, None), (stranger, True, "checkpoint_untrusted")):
            report = check(bundle, inputs_of, own, keys=inputs(log).keys if own else None)
            assert report["counts"] == {"payload_missing": missing} | ({code: 1} if code else {})
            texts = [one["actual"] for one in report["findings"] if one["code"] == "payload_missing"]
            assert all("a leaf erases it" in text for text in texts)
            assert "payload_erased" not in gaps(report)
        strict = verify.Policy(log.policy().replace(b"two 2", b"two 3"))
        assert check(bundle, log, policy=strict)["counts"]["payload_missing"] == missing


@pytest.mark.parametrize("wrong", ["hash", "before", "leaf", "root", "beyond"])
def test_other_leaves_excuse_no_payload(wrong: str) -> None:
    log = sample_log() if wrong in ("hash", "before") else erased_log()
    if wrong == "hash":
        log.erase(b"lift-01", 3, bytes(32))
        log.close()
    elif wrong == "before":
        log.erase(b"lift-01", 3)
        log.leaves.insert(8, log.leaves.pop())
        log.close()
    bundle = without_a_leaf(log) if wrong == "leaf" else log.full(payloads=True)
    if wrong == "root":
        bundle.members["checkpoint"] = sample_log().checkpoint()
    if wrong == "beyond":
        bundle = log.full(log.sizes[-2], payloads=True)
        bundle.members["leaves-000"] += b"".join(item(leaf) for leaf in log.leaves[log.sizes[-2] :])
        bundle.members["checkpoint"] = log.checkpoint(log.sizes[-2])
    report = check(bundle, log)
    assert report["counts"]["payload_missing"] == (3 if wrong in ("root", "beyond") else 1)
    assert "payload_erased" not in gaps(report)


def test_the_number_of_excused_payloads_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "MAX_LACKING", 2)
    log = erased_log()
    report = check(log.full(payloads=True), log)
    assert report["counts"] == {"payload_missing": 1}
    assert report["findings"][0]["actual"] == "no such member"


def forge_payload(log: Log) -> Bundle:
    bundle = log.full(payloads=True)
    name = sorted(name for name in bundle.members if name.startswith("payload-"))[0]
    bundle.members[name] += b"!"
    return bundle


def without_payload(log: Log) -> Bundle:
    bundle = log.full(payloads=True)
    del bundle.members[sorted(name for name in bundle.members if name.startswith("payload-"))[0]]
    return bundle


def cut_leaves(log: Log) -> Bundle:
    bundle = log.full()
    bundle.members["leaves-000"] = b"".join(item(leaf) for leaf in log.leaves[:-1])
    return bundle


def more_leaves(log: Log) -> Bundle:
    bundle = log.full()
    bundle.members["leaves-000"] += item(log.leaves[6])
    return bundle


def lying_heads(log: Log) -> Bundle:
    log.records += 1
    log.leaves[-1] = log.heads_leaf()
    return log.full()


def edited(log: Log) -> Bundle:
    """Changes the time of a record and signs the log again; the signature covers it."""
    at, entry = log.entries()[4]
    entry.timestamp_ms += 1
    log.leaves[at] = b"\1" + entry.encode()
    return log.full()


def renamed_opening(log: Log) -> Bundle:
    log.leaves[0] = Log.opened("log.example/other")
    return log.full()


def unknown_kind(log: Log) -> Bundle:
    log.leaves.insert(3, b"\x09new")
    log.sizes[-1] += 1
    return log.full()


def without_witness(log: Log) -> Bundle:
    bundle = log.full()
    bundle.members["checkpoint"] = log.checkpoint(witnesses=[2])
    return bundle


def foreign_log(log: Log) -> Bundle:
    log.log_key = Signer.of(log.origin, 1, 55)
    return log.full()


def cut_chain(log: Log) -> Bundle:
    """Leaves out the last record of a device: its subtree stands in its place."""
    last = max(at for at, entry in log.entries() if entry.device_id == b"lift-01")
    bundle = log.of_devices([b"lift-01"])
    size = log.sizes[-1]
    bundle.members["leaves-000"] = evidence.subtrees(
        log.leaves[:size],
        lambda at: at != last and (at == size - 1 or log.leaves[at][1:].startswith(text(b"lift-01"))),
        None,
    )
    return bundle


def own_successor(log: Log) -> Bundle:
    """The device states a key that the key ring does not have."""
    at, entry = log.entries()[-1]
    log.lifts[entry.device_id].state(entry, Ed25519PrivateKey.from_private_bytes(bytes([77] * 32)))
    log.leaves[at] = b"\1" + entry.encode()
    log.lifts[entry.device_id].hash = entry.hash()
    log.leaves[-1] = log.heads_leaf()
    return log.full()


@pytest.mark.parametrize(
    ("forge", "counts"),
    [
        (own_successor, {"succession_invalid": 1}),
        (forge_payload, {"payload_hash_mismatch": 1}),
        (without_payload, {"payload_missing": 1}),
        (cut_leaves, {"checkpoint_mismatch": 1}),
        (more_leaves, {"not_included": 1}),
        (lying_heads, {"heads_mismatch": 1}),
        (edited, {"signature_invalid": 1, "prev_hash_mismatch": 1}),
        (renamed_opening, {"checkpoint_mismatch": 1}),
        (unknown_kind, {}),
        (without_witness, {"witness_quorum_missing": 1}),
        (foreign_log, {"checkpoint_untrusted": 1}),
        (cut_chain, {"head_mismatch": 1}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_attack_has_its_finding(forge: Any, counts: dict[str, int]) -> None:
    log = sample_log()
    policy = verify.Policy(log.policy())
    report = check(forge(log), log, policy=policy)
    assert report["counts"] == counts
    assert ("unknown_leaves" in gaps(report)) == (forge is unknown_kind)


def test_a_succession_of_the_key_ring_holds() -> None:
    for scheme in ("record", "payload-hash"):
        log = Log()
        log.register(b"lift-01", 1, scheme)
        log.record(b"lift-01")
        log.register(b"lift-01", 2, scheme, valid_from=3)
        log.succeed(b"lift-01")
        log.record(b"lift-01")
        log.close()
        report = check(log.full(), log, policy=verify.Policy(log.policy()))
        assert report["counts"] == {}


def test_an_earlier_checkpoint_shows_a_rewritten_log() -> None:
    log = sample_log()
    kept = verify.Note(log.checkpoint(log.sizes[0]))
    assert check(log.full(), log, previous=kept)["verdict"] == "valid"
    longer = verify.Note(log.checkpoint())
    assert check(log.full(log.sizes[0]), log, previous=longer)["counts"] == {"checkpoint_inconsistent": 1}
    report = check(edited(log), log, previous=kept)
    assert report["counts"]["checkpoint_inconsistent"] == 1


def test_the_age_of_a_checkpoint() -> None:
    log = sample_log()
    signed = evidence.SIGNED_S
    for now, max_age, is_stale in [
        (signed + 100, 100, False),
        (signed + 101, 100, True),
        (signed - 300, 0, False),
        (signed - 301, 0, True),
    ]:
        report = check(log.full(), log, now=now, max_age=max_age)
        assert report["counts"] == ({"checkpoint_stale": 1} if is_stale else {})


def test_a_malformed_bundle_has_one_finding() -> None:
    log = sample_log()
    good = log.full().pack()
    manifest = log.full().manifest(log.full().members)
    for data, file in [
        (b"", "manifest"),
        (b"\x89PNG", "manifest"),
        (good[:700], "manifest"),
        (good[:-1], None),
        (good + b"\0", None),
        (good.replace(b"ustar\x0000", b"ustar  \0", 1), "manifest"),
        (log.full().pack(manifest.replace(b"scope full", b"scope none")), "manifest"),
        (log.full().pack(manifest.replace(b"checkpoint", b"checkpoinu")), "manifest"),
        (log.full().pack(manifest.replace(b"file ", b"file  ", 1)), "manifest"),
        (member("other", b"x") + bytes(1024), "manifest"),
    ]:
        report = check(data, log)
        assert report["counts"] == {"bundle_malformed": 1}
        assert report["findings"][0].get("file") == file
    bundle = log.full()
    damaged = bundle.pack()
    at = damaged.rindex(b"lift-02")
    report = check(damaged[:at] + b"L" + damaged[at + 1 :], log)
    assert report["counts"]["bundle_malformed"] == 1
    assert report["counts"]["checkpoint_mismatch"] == 1


def test_many_findings_are_bounded() -> None:
    log = sample_log()
    bundle = log.full()
    bundle.members["leaves-000"] += item(b"\x09") * 10_050
    report = check(bundle, log, max_findings=100)
    assert report["counts"] == {"not_included": 10_001}
    assert (len(report["findings"]), report["findings_omitted"]) == (100, 9_901)


@pytest.mark.parametrize("seed", [1, 2])
def test_falsified_logs_never_raise(seed: int) -> None:
    seen: Counter[str] = Counter()
    for what, log, bundle in evidence.forged_logs(seed, 60):
        report = check(bundle, sample_log(), own=False)
        assert report["verdict"] in {"valid", "findings"}, what
        seen.update(report["counts"])
        assert log.leaves
    assert len(seen) >= 6


def test_mutated_bundles_never_raise() -> None:
    log = sample_log()
    data = log.full(payloads=True).pack()
    draw = random.Random(5)
    for _ in range(150):
        at = draw.randrange(len(data))
        changed = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        report = check(changed, log)
        assert report["verdict"] == "findings", at


# -- Time stamps --


def stamped(make: stamps.Make, log: Log | None = None) -> tuple[Log, Bundle, stamps.Case]:
    """Returns a bundle with a time stamp."""
    log = log or small_log()
    case = make(log.stamped())
    bundle = log.full()
    bundle.members |= case.members()
    return log, bundle, case


@pytest.mark.parametrize("name", stamps.GOOD)
def test_a_good_time_stamp_holds(name: str) -> None:
    log, bundle, case = stamped(stamps.GOOD[name])
    report = check(bundle, log, tsa_roots=case.roots)
    assert report["findings"] == []
    assert "timestamps_not_checked" not in gaps(report)
    (stamp,) = report["coverage"]["timestamps"]
    assert (stamp["file"], stamp["authority"], stamp["serial"]) == ("tsa-0.tsr", "CN=TSA,O=Lifts", "1267")
    time = int(stamps.STAMPED.timestamp()) * 1000
    expected = {
        "no accuracy": (time, time),
        "micros": (time, time + 3000),
        "fraction": (time + 63, time + 1063),
    }.get(name, (time, time + 1000))
    assert (stamp["time_ms"], stamp["before_ms"]) == expected


@pytest.mark.parametrize("name", stamps.BAD)
def test_a_bad_time_stamp_has_its_reason(name: str) -> None:
    reason, make = stamps.BAD[name]
    log, bundle, case = stamped(make)
    report = check(bundle, log, tsa_roots=case.roots)
    assert report["counts"] == {"timestamp_invalid": 1}
    (finding,) = report["findings"]
    assert (finding["file"], finding["actual"].partition(":")[0]) == ("tsa-0.tsr", reason)
    assert report["coverage"]["timestamps"] == []


@pytest.mark.parametrize("case", timestamps.vectors(), ids=lambda case: str(case.name))
def test_a_time_stamp_of_the_vectors_has_its_verdict(case: timestamps.Case) -> None:
    claimed = [] if case.claimed is None else verify.parse_pem(case.claimed.encode())
    others, stamp = verify.usable_certificates(claimed), verify.TimeStamp("tsa-0.tsr")
    try:
        stamp.verify(case.stamp, timestamps.IMPRINT, verify.Roots(case.roots.encode()), others)
        found = (None, stamp.times_ms()[1], stamp.authority)
    except verify.BadStamp as problem:
        found = (problem.reason, None, None)
    assert found == (case.reason, case.before_ms, case.authority)


def test_without_roots_a_time_stamp_is_a_claim() -> None:
    for make in (stamps.GOOD["p256"], stamps.BAD["text"][1], stamps.BAD["unpinned root"][1]):
        log, bundle, case = stamped(make)
        bundle.members["tsa-0.pem"] = case.roots
        report = check(bundle, log)
        assert (report["verdict"], report["coverage"]["timestamps"]) == ("valid", [])
        gap = next(gap for gap in report["coverage"]["gaps"] if gap["code"] == "timestamps_not_checked")
        assert gap["files"] == 2


def test_a_time_stamp_outlives_cosignatures_and_belongs_to_one_checkpoint() -> None:
    log, bundle, case = stamped(stamps.GOOD["p256"], sample_log())
    bundle.members["checkpoint"] = log.checkpoint(witnesses=[2, 1, 0])
    assert check(bundle, log, tsa_roots=case.roots)["verdict"] == "valid"
    log.witnesses[2] = Signer.of(log.origin, 4, 77)
    bundle.members["checkpoint"] = log.checkpoint(witnesses=[2, 1, 0])
    report = check(bundle, log, tsa_roots=case.roots, policy=verify.Policy(log.policy()))
    assert report["findings"][-1]["actual"].startswith("other_imprint")
    older = log.full(log.sizes[0])
    older.members |= case.members()
    assert check(older, log, tsa_roots=case.roots)["counts"] == {"timestamp_invalid": 1}


def test_each_time_stamp_is_verified_alone() -> None:
    log, bundle, case = stamped(stamps.GOOD["certificates in the bundle"])
    members = case.members()
    for number in (1, 7, 10, 63):
        bundle.members[f"tsa-{number}.tsr"] = members["tsa-0.tsr"]
    bundle.members["tsa-10.pem"] = members["tsa-0.pem"]
    report = check(bundle, log, tsa_roots=case.roots)
    assert [stamp["file"] for stamp in report["coverage"]["timestamps"]] == ["tsa-0.tsr", "tsa-10.tsr"]
    assert [finding["file"] for finding in report["findings"]] == ["tsa-1.tsr", "tsa-63.tsr", "tsa-7.tsr"]
    assert {finding["actual"].partition(":")[0] for finding in report["findings"]} == {"no_signer"}


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"no certificate",
        b"-----BEGIN CERTIFICATE-----\nMIIB\n",
        b"-----BEGIN CERTIFICATE-----\nMI B\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMIJ=\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n" * 65,
    ],
)
def test_files_of_certificates_are_strict(file: bytes) -> None:
    log, bundle, case = stamped(stamps.GOOD["p256"])
    with pytest.raises(verify.Malformed):
        verify.Roots(file)
    if file:
        bundle.members["tsa-0.pem"] = file
        report = check(bundle, log, tsa_roots=case.roots)
        assert report["counts"] == {"bundle_malformed": 1}
        assert report["findings"][0]["file"] == "tsa-0.pem"
        assert check(bundle, log)["verdict"] == "valid"


def test_roots_are_roots_and_usable() -> None:
    authority = stamps.Authority.of(intermediates=1)
    for bad in (
        authority.tsa.pem,
        authority.root.pem + b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    ):
        with pytest.raises(verify.Malformed):
            verify.Roots(bad)
    roots = verify.Roots(authority.pem() + authority.root.pem)
    assert (len(roots.certificates), len(roots.roots)) == (3, 1)


@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "p256"])
@pytest.mark.parametrize("chain", ["", "certs = chain.pem\n"], ids=["chain beside", "chain in the token"])
def test_a_time_stamp_of_openssl_holds(tmp_path: Path, kind: str, chain: str) -> None:
    log = sample_log()
    # openssl stamps with the time of the clock.
    now = datetime.now(UTC)
    dates = {"not_before": now - stamps.DAY, "not_after": now + stamps.DAY}
    authority = stamps.Authority.of(kind, "rsa2048", 1, dates)
    bundle = log.full()
    bundle.members["tsa-0.tsr"] = stamps.openssl_stamp(tmp_path, authority, log.stamped(), chain)
    if not chain:
        assert check(bundle, log, tsa_roots=authority.root.pem)["counts"] == {"timestamp_invalid": 1}
        bundle.members["tsa-0.pem"] = authority.pem()
    report = check(bundle, log, tsa_roots=authority.root.pem)
    assert report["verdict"] == "valid"
    (stamp,) = report["coverage"]["timestamps"]
    assert stamp["before_ms"] - stamp["time_ms"] == 2005


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_time_stamps_never_raise(seed: int) -> None:
    log, bundle, case = stamped(stamps.GOOD["unsorted certificates"])
    response = bundle.members["tsa-0.tsr"]
    roots, imprint = verify.Roots(case.roots), hashlib.sha256(log.stamped()).digest()
    root, draw = bundles.Element.parse(response), random.Random(seed)
    seen: Counter[str] = Counter()
    for number in range(300):
        mutant = root.edited(root.draw_path(draw), draw) if number % 3 else bundles.edit(draw, response)
        try:
            verify.TimeStamp("tsa-0.tsr").verify(mutant[0], imprint, roots, [])
            seen["valid"] += 1
        except verify.BadStamp as problem:
            seen[problem.reason] += 1
    assert seen["malformed"] > 50
    assert len(seen) >= 7


def test_a_hostile_time_stamp_is_verified_in_bounded_time() -> None:
    """Many paths between CAs: each pair of certificates is tried once."""
    log, bundle, case = stamped(stamps.many_paths(14))
    tried = 0
    original = verify.Certificate.verifies

    def counted(self: Any, *arguments: Any) -> bool:
        nonlocal tried
        tried += 1
        return bool(original(self, *arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify.Certificate, "verifies", counted)
        check(bundle, log, tsa_roots=case.roots)
    # One is that of the token.
    assert 14 < tried <= verify.MAX_SIGNATURES_OF_CHAINS + 1


# -- The command --


@pytest.fixture
def case(tmp_path: Path) -> Path:
    log = sample_log()
    (tmp_path / "case.tar").write_bytes(log.full(payloads=True).pack())
    (tmp_path / "policy").write_bytes(log.policy())
    (tmp_path / "keys.json").write_text(json.dumps(log.key_ring()))
    (tmp_path / "old").write_bytes(log.checkpoint(log.sizes[0]))
    return tmp_path


def test_exit_codes(case: Path) -> None:
    own = ["--policy", str(case / "policy"), "--keys", str(case / "keys.json")]
    done = run(case / "case.tar", *own, "--previous", case / "old", "--require", "signatures,payloads,log")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VALID: 32 records of 4 devices")
    for more, code, named in [
        (["--require", "log"], 2, "required_input_missing"),
        ([*own, "--require", "heads"], 2, "expected levels"),
        ([*own, "--signatures", "5", "--require", "signatures"], 2, "signatures_sampled"),
        ([*own, "--max-age", "1w"], 2, "expected a number with a unit"),
        (["--policy", str(case / "keys.json")], 2, "input_malformed"),
        (["--keys", str(case / "policy")], 2, "input_malformed"),
        (["--policy", str(case / "missing")], 3, "unreadable"),
    ]:
        done = run(case / "case.tar", *more)
        assert done.returncode == code, more
        assert named in done.stderr
        assert "Traceback" not in done.stderr
    assert run(case / "missing.tar").returncode == 3
    assert run(case / "policy", *own).returncode == 1
    empty = Log()
    empty.close()
    (case / "empty.tar").write_bytes(empty.full(claims=False).pack())
    assert run(case / "empty.tar", "--policy", case / "policy").returncode == 3
    assert "policy_missing" in run(case / "empty.tar").stderr


def test_time_stamps_on_the_command_line(case: Path) -> None:
    log, bundle, made = stamped(stamps.GOOD["p256"])
    hostile = stamps.plain(stamps.Authority.of(name="TSA\x1b[2J\u202e"))(log.stamped())
    bundle.members["tsa-1.tsr"] = stamps.BAD["other imprint"][1](b"").members()["tsa-0.tsr"]
    bundle.members["tsa-2.tsr"] = hostile.members()["tsa-0.tsr"]
    (case / "case.tar").write_bytes(bundle.pack())
    (case / "roots.pem").write_bytes(made.roots + hostile.roots)
    done = run(case / "case.tar", "--tsa-roots", case / "roots.pem")
    assert done.returncode == 1
    assert (
        "tsa-0.tsr: the checkpoint existed before 2026-03-04T05:06:08Z; stamped 2026-03-04T05:06:07Z"
        in done.stdout
    )
    assert 'by "CN=TSA,O=Lifts", accurate to 1 s' in done.stdout
    assert "timestamp_invalid (tsa-1.tsr)" in done.stdout
    assert "CN=TSA\\\\1B[2J\\u{202e}" in done.stdout
    assert done.stdout.replace("\n", "").isprintable()
    done = run(case / "case.tar")
    assert done.returncode == 0
    assert "3 file(s) of time stamps were not verified" in done.stdout
    for roots, code, named in (("policy", 2, "input_malformed"), ("missing", 3, "unreadable")):
        done = run(case / "case.tar", "--tsa-roots", case / roots)
        assert (done.returncode, named in done.stderr) == (code, True)


def test_json_and_a_pipe(case: Path) -> None:
    own = ["--policy", str(case / "policy"), "--keys", str(case / "keys.json"), "--json"]
    with (case / "case.tar").open("rb") as file:
        done = run("-", *own, stdin=file)
    answer = json.loads(done.stdout)
    assert answer["ok"] is True
    assert answer["report"]["coverage"]["records"] == 32
    done = run(case / "missing.tar", "--json")
    assert json.loads(done.stdout)["error"]["code"] == "unreadable"


def test_samples_of_signatures_are_reported_and_can_be_repeated() -> None:
    log = sample_log()
    bundle = log.full()
    report = check(bundle, log, signatures=10, seed=7)
    gap = next(gap for gap in report["coverage"]["gaps"] if gap["code"] == "signatures_sampled")
    assert (gap["checked"], gap["records"], gap["seed"]) == (10, 32, 7)
    forged = edited(sample_log())
    found = [check(forged, log, signatures=8, seed=seed)["counts"] for seed in range(40)]
    assert found == [check(forged, log, signatures=8, seed=seed)["counts"] for seed in range(40)]
    assert any("signature_invalid" in counts for counts in found)
    assert any("signature_invalid" not in counts for counts in found)
    none = check(forged, log, signatures=0)
    assert none["coverage"]["signatures"] == {"payload_hash": 0, "record": 0, "unchecked": 0}


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    log = Log()
    hostile = 'lift\x1b[2J\u202e\u3164"01'.encode()
    log.register(hostile, 1)
    log.record(hostile)
    log.close()
    log.record(hostile).signature = bytes(64)
    bundle = log.full(log.sizes[0])
    bundle.members["leaves-000"] += item(log.leaves[-1])
    (tmp_path / "case.tar").write_bytes(bundle.pack())
    done = run(tmp_path / "case.tar")
    assert done.returncode == 1
    assert 'device "lift\\u{1b}[2J\\u{202e}\\u{3164}\\"01"' in done.stdout
    assert done.stdout.replace("\n", "").isprintable()


def test_progress_is_on_stderr_and_ends(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(case / "case.tar", "--progress", "always")
    assert done.returncode == 0
    assert "VALID" in done.stdout
    progress = verify.Progress("always")
    # Due at once: the bundle is read in less than the interval.
    progress.next = 0
    with (case / "case.tar").open("rb") as file:
        verify.verify_bundle(file, inputs(sample_log()), progress=progress)
    progress.end()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("\rread 0 MiB")
    assert shown.err.endswith(" \r")


def test_key_rings_in_the_forms_of_eds() -> None:
    digits = evidence.public_bytes(Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))).hex()
    raw = bytes.fromhex(digits)
    spki = bytes.fromhex("302a300506032b6570032100") + raw
    ssh = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + raw
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64_of(spki)}\n-----END PUBLIC KEY-----\n"
    jwk = json.dumps(
        {"kty": "OKP", "crv": "Ed25519", "x": base64_of(raw).rstrip("=").replace("+", "-").replace("/", "_")}
    )
    for key in (
        digits,
        "0x" + digits,
        base64_of(raw),
        base64_of(spki),
        pem,
        f"ssh-ed25519 {base64_of(ssh)} me",
        jwk,
    ):
        ring = verify.KeyRing.of_json(json.dumps({"lift-01": key}).encode(), "record")
        assert ring.devices[b"lift-01"].keys[0].key.encoding == raw
    entry = {"key": digits, "scheme": "record", "valid_from": 2**64 - 1}
    assert verify.KeyRing.of_json(json.dumps({"a": [entry]}).encode(), "record").devices
    for bad in [
        b"[]",
        b"{",
        b'{"a": 1}',
        b'{"a": []}',
        b'{"a": "00"}',
        b'{"a": {"scheme": "record"}}',
        b"\xef\xbb\xbf{}",
        json.dumps({"a": {**entry, "valid_from": 0}}).encode(),
        json.dumps({"a": {**entry, "valid_from": True}}).encode(),
        json.dumps({"a": {**entry, "valid_from": 2**64}}).encode(),
        json.dumps({"a": {**entry, "scheme": None}}).encode(),
        json.dumps({"a": {**entry, "more": 1}}).encode(),
        json.dumps({"a": [entry, entry]}).encode(),
        json.dumps({"a": entry, "b": {**entry, "scheme": "payload-hash"}}).encode(),
        f'{{"a": "{digits}", "a": "{digits}"}}'.encode(),
        b'{"\\ud800": "%s"}' % digits.encode(),
        b"[" * 5000,
        b'{"a": NaN}',
        json.dumps({"a": SMALL_ORDER[0]}).encode(),
    ]:
        with pytest.raises(verify.Malformed):
            verify.KeyRing.of_json(bad, "record")


@pytest.mark.parametrize("encoding", [b"\x80\x00", b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x01", b"\x80"])
def test_integers_have_one_encoding(encoding: bytes) -> None:
    with pytest.raises(verify.Malformed):
        verify.Reader(encoding, 0).varint()
    for value in (0, 127, 128, 2**63, 2**64 - 1):
        assert verify.Reader(varint(value), 0).varint() == value
