"""The verifier page in a browser, and the verdicts of page, verify.py and verify_bundle compared."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

import bundles
import evidence
import stamps
import timestamps
from edgesentry import Checkpoint, ConfigError, KeyRing, Policy, verify_bundle
from edited import DemoBundle, edits
from evidence import Log, erased_bundles, erased_log, item, sample_log, small_log
from pages import violations
from support import envelope
from test_verify_py import edited, inputs, stamped, verify

PAGE = Path(__file__).parent.parent / "rust/edgesentry-rs/src/log/bundle/verify.html"
# Mutated bundles for each of the two kinds of inputs; make soak sets more.
MUTANTS = int(os.environ.get("EDGESENTRY_MUTANTS", "150"))
# A hang of the page, not its speed.
PATIENCE_MS = 300_000
Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the page; at the end there are no console messages and no requests beside it and its worker."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    requests: list[str] = []

    def open_page(path: Path = PAGE, **context: object) -> Page:
        contexts.append(browser.new_context(**context))  # type: ignore[arg-type]
        contexts[-1].set_default_timeout(PATIENCE_MS)
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith(("file://", "blob:")) for url in requests)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    log = sample_log()
    (tmp_path / "case.tar").write_bytes(log.full(payloads=True).pack())
    (tmp_path / "policy").write_bytes(log.policy())
    (tmp_path / "keys.json").write_text(json.dumps(log.key_ring()))
    return tmp_path


def give(page: Page, case: Path, bundle: str = "case.tar", own: bool = True) -> None:
    """Chooses the inputs and then the bundle, and waits for the verdict."""
    if own:
        page.set_input_files("#policy-file", case / "policy")
        page.set_input_files("#keys-file", case / "keys.json")
    page.set_input_files("#bundle", case / bundle)
    page.wait_for_selector("#doing", state="hidden")
    expect(page.locator("h1")).not_to_have_text("Verifying", timeout=PATIENCE_MS)


def standings(page: Page) -> dict[str, str]:
    steps = page.locator("#trust li").all()
    return {
        step.locator("h3").inner_text(): step.locator(".standing").inner_text().removeprefix("✓ ")
        for step in steps
    }


def test_the_policy_of_the_page_has_the_hashes_of_its_script_and_style() -> None:
    source = PAGE.read_text(encoding="utf-8")
    allowed = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', source)
    assert allowed is not None

    def sha256(tag: str) -> str:
        found = re.search(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        assert found is not None
        return base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()

    assert allowed[1] == (
        f"default-src 'none'; script-src 'sha256-{sha256('script')}'; style-src 'sha256-{sha256('style')}'; "
        "worker-src blob:; base-uri 'none'; form-action 'none'"
    )
    assert "innerHTML" not in source
    assert "unsafe" not in source
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", source)


def test_a_bundle_with_the_inputs_of_the_auditor_is_valid(opened: Open, case: Path) -> None:
    page = opened()
    give(page, case)
    assert page.get_by_role("heading", level=1).inner_text() == "✓ Valid"
    assert page.title().startswith("✓ Valid")
    expected = dict.fromkeys(["File", "Payloads", "Device signatures", "Heads"], "Holds")
    expected |= {"Chain": "Rests on a claim", "Checkpoint": "Holds", "Witnesses": "Holds", "Time": "Holds"}
    assert standings(page) == expected
    facts = page.locator("#facts").inner_text()
    assert hashlib.sha256((case / "case.tar").read_bytes()).hexdigest() in facts
    assert "log.example/lifts" in facts
    assert facts.count("your own") == 2
    lead = "They were in the log by 2027-01-15T08:00:01Z, and are unchanged since."
    assert lead in page.locator("#lead").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the report as JSON").click()
    saved = json.loads(download.value.path().read_text())
    # The quorum is as fresh as its first signature, and complete with its second one.
    assert (saved["quorumTime"], saved["quorumBy"]) == (1_800_000_000, 1_800_000_001)
    assert (saved["verdict"], saved["coverage"]["records"]) == ("valid", 32)


def test_claims_of_the_bundle_do_not_look_like_proofs(opened: Open, case: Path) -> None:
    page = opened()
    give(page, case, own=False)
    assert page.get_by_role("heading", level=1).inner_text() == "✓ Valid by its own claims"
    assert "a forger could have made all of it" in page.locator("#lead").inner_text()
    steps = standings(page)
    assert {steps[name] for name in ("Heads", "Checkpoint", "Witnesses", "Time")} == {"Rests on a claim"}
    assert "unchanged" not in page.locator("#lead").inner_text()
    assert "from the bundle, a claim" in page.locator("#facts").inner_text()


def test_a_falsified_bundle_names_the_failed_check(opened: Open, case: Path) -> None:
    log = sample_log()
    bundle = edited(log)
    (case / "case.tar").write_bytes(bundle.pack())
    page = opened()
    give(page, case)
    assert page.get_by_role("heading", level=1).inner_text() == "✗ Findings"
    steps = standings(page)
    assert (steps["Device signatures"], steps["Chain"], steps["Checkpoint"]) == ("Fails", "Fails", "Holds")
    rows = page.locator("#rows tr")
    assert rows.count() == 2
    assert "signature_invalid" in rows.first.inner_text()
    assert "sequence" in rows.first.inner_text()
    # Another file at once: the results are those of the new one.
    (case / "other.tar").write_bytes(b"no bundle")
    give(page, case, "other.tar")
    assert "bundle_malformed" in page.locator("#rows").inner_text()
    assert set(list(standings(page).values())[1:]) == {"Not checked"}


def test_wrong_inputs_are_named(opened: Open, case: Path) -> None:
    page = opened()
    page.fill("#policy-text", "quorum nobody-here")
    page.set_input_files("#bundle", case / "case.tar")
    expect(page.locator("h1")).to_have_text("Not verified", timeout=PATIENCE_MS)
    assert "line 1 of the policy" in page.locator("#lead").inner_text()
    page.fill("#policy-text", (case / "policy").read_text())
    page.fill("#keys-text", (case / "keys.json").read_text())
    page.fill("#age", "soon")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#lead")).to_contain_text("maximum age", timeout=PATIENCE_MS)
    page.fill("#age", "")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("h1")).to_have_text("✓ Valid", timeout=PATIENCE_MS)


def drop(page: Page, name: str, data: bytes) -> None:
    """Drops a file on the page."""
    page.evaluate(
        """([name, data]) => {
            const bytes = Uint8Array.from(atob(data), one => one.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
        }""",
        [name, base64.b64encode(data).decode()],
    )


def test_a_bundle_is_dropped_on_the_page(opened: Open, case: Path) -> None:
    page = opened()
    drop(page, "dropped.tar", (case / "case.tar").read_bytes())
    page.wait_for_selector("#results:not([hidden])")
    assert "dropped.tar" in page.locator("#facts").inner_text()


def time_step(page: Page) -> tuple[str, str]:
    """Returns standing and text of the step about the time."""
    step = page.locator("#trust li").last
    assert step.locator("h3").inner_text() == "Time"
    return step.locator(".standing").inner_text(), step.locator("p").last.inner_text()


def test_a_time_stamp_is_a_step_of_the_chain_of_trust(opened: Open, case: Path) -> None:
    log, bundle, made = stamped(stamps.GOOD["fraction"])
    (case / "case.tar").write_bytes(bundle.pack())
    (case / "roots.pem").write_bytes(made.roots)
    page = opened()
    give(page, case)
    standing, text = time_step(page)
    assert standing == "Holds"
    assert text.startswith("By their clocks, a quorum had signed by 2027-")
    assert text.endswith("Time stamps of the bundle need your roots.")
    assert "1 file of time stamps, not verified" in page.locator("#gap-list").inner_text()
    page.set_input_files("#roots-file", case / "roots.pem")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#trust")).to_contain_text("By a time stamp", timeout=PATIENCE_MS)
    standing, text = time_step(page)
    assert standing == "Holds"
    assert text.startswith("By a time stamp, the checkpoint existed before 2026-03-04T05:06:08.063Z.")
    assert (
        "stamped 2026-03-04T05:06:07.063Z by CN=TSA,O=Lifts, accurate to 1 s"
        in page.locator("#facts").inner_text()
    )
    # A policy without witnesses: only the stamp gives a time.
    (case / "policy").write_bytes(log.policy("none"))
    page = opened()
    give(page, case)
    assert time_step(page) == ("Not checked", "Time stamps of the bundle need your roots.")
    page = opened()
    page.fill("#roots-text", made.roots.decode())
    give(page, case)
    assert time_step(page) == (
        "Holds",
        "By a time stamp, the checkpoint existed before 2026-03-04T05:06:08.063Z.",
    )


def test_a_bad_time_stamp_fails_and_roots_are_dropped_on_the_page(opened: Open, case: Path) -> None:
    _, bundle, made = stamped(stamps.BAD["unpinned root"][1])
    (case / "case.tar").write_bytes(bundle.pack())
    page = opened()
    give(page, case)
    drop(page, "roots.PEM", made.roots)
    expect(page.locator("h1")).to_have_text("✗ Findings", timeout=PATIENCE_MS)
    assert time_step(page) == ("Fails", "A time stamp does not hold under your roots (1).")
    assert "tsa-0.tsr" in page.locator("#rows").inner_text()
    assert "untrusted: no chain leads to your roots" in page.locator("#rows").inner_text()
    assert violations(page) == []
    drop(page, "roots.pem", b"no certificate")
    expect(page.locator("h1")).to_have_text("Not verified", timeout=PATIENCE_MS)
    assert "Your roots of time stamps" in page.locator("#lead").inner_text()


def test_a_page_carries_its_bundle(opened: Open, case: Path) -> None:
    source = PAGE.read_text(encoding="utf-8")
    place = '<script type="application/octet-stream" id="carried"></script>'
    assert source.count(place) == 1
    data = base64.b64encode((case / "case.tar").read_bytes()).decode()
    (case / "case.html").write_text(source.replace(place, place.replace("><", f">{data}<")), encoding="utf-8")
    page = opened(case / "case.html")
    page.wait_for_selector("#results:not([hidden])")
    assert "carries a bundle" in page.locator("#carries").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the bundle in this page").click()
    assert download.value.path().read_bytes() == (case / "case.tar").read_bytes()
    assert "Valid by its own claims" in page.title()


def test_hostile_names_never_become_markup(opened: Open, case: Path) -> None:
    log = Log("log.example/<img/src=x/onerror=alert(1)>\u202e")
    name = "<img src=x onerror=\"document.title='forged'\">\u202egpj\u3164".encode()
    log.register(name, 1)
    log.record(name)
    log.close()
    bundle = log.full()
    bundle.members["keys"] = sample_log().keys()
    bundle.members["leaves-000"] += item(log.leaves[2])
    (case / "case.tar").write_bytes(bundle.pack())
    page = opened()
    give(page, case, own=False)
    assert page.title().startswith("✗ Findings")
    assert page.locator("main img").count() == 0
    shown = page.locator("#rows").inner_text()
    assert "<img src=x" in shown
    assert "\\u{202e}gpj\\u{3164}" in shown
    assert not re.search("[\u202a-\u202e\u3164]", page.locator("body").inner_text())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(opened: Open, case: Path, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    assert violations(page) == []
    give(page, case, own=False)
    assert violations(page) == []
    (case / "case.tar").write_bytes(edited(sample_log()).pack())
    give(page, case)
    assert violations(page) == []


def test_it_fits_a_phone_and_prints(opened: Open, case: Path) -> None:
    page = opened(viewport={"width": 390, "height": 844}, color_scheme="dark")
    (case / "case.tar").write_bytes(edited(sample_log()).pack())
    give(page, case)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#ask").is_visible()
    assert page.locator("#trust").is_visible()


def test_it_is_used_by_keyboard(opened: Open, case: Path) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "bundle"
    give(page, case)
    assert page.evaluate("document.activeElement.tagName") == "H1"


def test_it_works_without_a_worker_and_without_ed25519_of_the_browser(
    browser: Browser, opened: Open, case: Path
) -> None:
    page = opened()
    page.evaluate("() => { window.Worker = class { constructor() { throw new Error('none') } } }")
    page.check("#own")
    give(page, case)
    assert page.title().startswith("✓ Valid")
    assert "Signatures by\nthe page" in page.locator("#facts").inner_text()


# -- Comparison with verify.py and verify_bundle --

COMPARE = """async ([bundles, inputs]) => {
    const verifyBundle = engine();
    const bytes = text => text === null ? null : Uint8Array.from(atob(text), one => one.charCodeAt(0));
    const given = { ...inputs };
    for (const name of ["policy", "keys", "previous", "roots"]) given[name] = bytes(inputs[name]);
    const found = [];
    for (const bundle of bundles) {
        try {
            const report = await verifyBundle(new Blob([bytes(bundle)]), given, () => {});
            found.push([
                report.verdict, report.counts,
                report.findings.map(
                    one => [one.code, one.file ?? null, one.device ?? null, String(one.sequence ?? "")]),
                report.coverage.gaps.map(gap => gap.code), report.coverage.records, report.coverage.devices,
                report.timestamps.map(one => [one.file, one.authority, one.serial, one.time, one.before]),
            ]);
        } catch (error) {
            found.push(error.message);
        }
    }
    return found;
}"""


NO_POLICY = "The bundle has no policy. Give the policy that you trust."


@dataclass(frozen=True)
class Given:
    """The inputs of the auditor."""

    log: Log | DemoBundle
    own: bool
    previous: bytes | None = None
    roots: bytes | None = None


def auditor_of(log: Log | DemoBundle, own: bool = True) -> Given:
    """Returns own inputs with the first checkpoint, or no inputs."""
    return Given(log, own, log.checkpoint(log.sizes[0]) if own else None)


def fields_of(stamp: dict[str, object]) -> list[object]:
    """Returns a time stamp of a report in the form of `COMPARE`."""
    file = str(stamp["file"]).rpartition("/")[2]
    return [file, *(stamp[name] for name in ("authority", "serial", "time_ms", "before_ms"))]


def by_script(data: bytes, auditor: Given) -> object:
    """Returns the report of verify.py in the form of `COMPARE`."""
    given = inputs(auditor.log, auditor.own)
    given.previous = None if auditor.previous is None else verify.Note(auditor.previous)
    given.tsa_roots = None if auditor.roots is None else verify.Roots(auditor.roots)
    try:
        report = verify.verify_bundle(io.BytesIO(data), given).to_json()
    except verify.UnusableInputs:
        return NO_POLICY
    findings = [
        [one["code"], one.get("file"), one.get("device_id"), str(one.get("sequence", ""))]
        for one in report["findings"]
    ]
    coverage = report["coverage"]
    gaps = sorted(gap["code"] for gap in coverage["gaps"])
    times = [fields_of(stamp) for stamp in coverage["timestamps"]]
    return [
        report["verdict"],
        report["counts"],
        findings,
        gaps,
        coverage["records"],
        coverage["devices"],
        times,
    ]


def by_library(data: bytes, auditor: Given) -> object:
    """Returns the verdict of `verify_bundle` in the form of `COMPARE`."""
    given: dict[str, Any] = {}
    if auditor.own:
        keys = KeyRing(auditor.log.key_ring())
        given = {"policy": Policy(auditor.log.policy().decode()), "keys": keys}
    if auditor.previous is not None:
        given["previous"] = Checkpoint(auditor.previous.decode())
    with TemporaryDirectory() as folder:
        if auditor.roots is not None:
            given["tsa_roots"] = Path(folder) / "roots.pem"
            given["tsa_roots"].write_bytes(auditor.roots)
        try:
            report = verify_bundle(data, **given)
        except ConfigError:
            return NO_POLICY
    files = ("bundle_malformed", "payload_hash_mismatch", "timestamp_invalid")
    findings = [
        [
            one.code,
            one.input.partition("/")[2] or None if one.code in files and one.input else None,
            one.device_id,
            "" if one.sequence is None else str(one.sequence),
        ]
        for one in report.findings
    ]
    coverage = json.loads(report.to_json())["coverage"]
    gaps = sorted(gap["code"] for gap in coverage["gaps"])
    times = [fields_of(stamp) for stamp in (coverage.get("log") or {}).get("timestamps", [])]
    found = report.coverage
    return [report.verdict, report.counts, findings, gaps, found.records, found.devices, times]


Verifier: TypeAlias = Callable[[bytes, Given], object]
VERIFIERS: list[Verifier] = [by_script, by_library]


def compare(
    page: Page,
    auditor: Given,
    made: Mapping[str, bytes],
    own_code: bool,
) -> set[str]:
    """Compares the page with other verifiers, on bundles by name. Returns the codes that all found."""
    names, data = list(made), list(made.values())
    coded = [base64.b64encode(one).decode() for one in data]
    given: dict[str, Any] = {
        "previous": auditor.previous,
        "roots": auditor.roots,
        "policy": None,
        "keys": None,
    }
    if auditor.own:
        given["policy"] = auditor.log.policy()
        given["keys"] = json.dumps(auditor.log.key_ring()).encode()
    given = {name: one and base64.b64encode(one).decode() for name, one in given.items()}
    given |= {"scheme": "payload-hash", "ownCode": own_code, "maxAge": None}
    seen: set[str] = set()
    for start in range(0, len(data), 50):
        found = page.evaluate(COMPARE, [coded[start : start + 50], given])
        for at, report in enumerate(found, start):
            if isinstance(report, list):
                report[3].sort()
            for verifier in VERIFIERS:
                assert report == verifier(data[at], auditor), names[at]
            seen |= set(report[1]) if isinstance(report, list) else set()
    return seen


def mutants(log: Log, more: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """Returns mutated bundles of each scope with these members."""
    seeds = {
        "full": log.full(payloads=True),
        "devices": log.of_devices([b"a", b"lift-01", b"lift-04", b"lift-09"], since=log.sizes[0]),
        "records": log.of_records([(b"lift-01", 3), (b"lift-05", 102), (b"lift-03", 8)], since=log.sizes[0]),
    }
    found = {}
    for seed, (scope, bundle) in enumerate(seeds.items()):
        bundle.members |= {"readme.txt": b"For people.\n", **(more or {})}
        for mutant in bundles.mutations(seed, bundle.pack(), MUTANTS // 3):
            found[f"{scope} {mutant.number} {mutant.kind}: {mutant.description}"] = mutant.data
    return found


@pytest.mark.parametrize("own", [True, False], ids=["own inputs", "claims"])
def test_mutated_bundles_have_the_same_verdict(opened: Open, own: bool) -> None:
    log = sample_log()
    auditor = auditor_of(log, own)
    seen = compare(opened(), auditor, mutants(log), own_code=True)
    assert {"bundle_malformed", "checkpoint_mismatch"} <= seen


def test_an_earlier_checkpoint_is_compared_in_each_scope(opened: Open) -> None:
    """The root at the size of the earlier checkpoint is known in a bundle since that checkpoint."""
    log, fork = sample_log(), sample_log()
    since = log.sizes[0]
    fork.leaves[8] = fork.leaves[11]
    places = [(b"lift-01", 3), (b"lift-05", 102)]
    data = {
        "full": log.full(),
        "devices": log.of_devices([b"lift-01", b"lift-09"], since=since),
        "records": log.of_records(places, since=since),
    }
    packed = {name: bundle.pack() for name, bundle in data.items()}
    page = opened()
    assert compare(page, auditor_of(log), packed, own_code=False) == set()
    for one in packed.values():
        report = by_script(one, auditor_of(log))
        assert isinstance(report, list)
        assert "previous_not_compared" not in report[3]
        report = by_script(one, Given(log, True, fork.checkpoint(since)))
        assert isinstance(report, list)
        assert report[1] == {"checkpoint_inconsistent": 1}
    found = compare(page, auditor_of(fork), packed, own_code=False)
    assert found == {"checkpoint_inconsistent"}
    unknown = {"devices": log.of_devices([b"lift-09"]).pack(), "records": log.of_records(places).pack()}
    assert compare(page, auditor_of(fork), unknown, own_code=False) == set()


def test_erased_payloads_have_the_same_verdict(opened: Open) -> None:
    log = erased_log()
    data = {name: bundle.pack() for name, bundle in erased_bundles(log).items()}
    page = opened()
    assert compare(page, auditor_of(log), data, own_code=False) == set()
    assert compare(page, auditor_of(log, own=False), data, own_code=False) == {"payload_missing"}
    stranger = Log("log.example/other")
    stranger.register(b"lift-01", 1)
    stranger.close()
    found = compare(page, auditor_of(stranger), data, own_code=False)
    assert {"payload_missing", "checkpoint_untrusted"} <= found


def test_an_erased_payload_is_shown(opened: Open, case: Path) -> None:
    log = erased_log()
    (case / "case.tar").write_bytes(log.full(payloads=True).pack())
    (case / "policy").write_bytes(log.policy())
    page = opened()
    give(page, case)
    assert page.get_by_role("heading", level=1).inner_text() == "✓ Valid"
    assert "except 3 that the log says were erased" in page.locator("#trust").inner_text()
    assert "3 payloads erased according to the log" in page.locator("#gap-list").inner_text()


def test_mutated_bundles_with_time_stamps_have_the_same_verdict(opened: Open) -> None:
    log, _, case = stamped(stamps.GOOD["unsorted certificates"], sample_log())
    case.pem = case.stamp.authority.pem()
    auditor = Given(log, True, roots=case.roots)
    seen = compare(opened(), auditor, mutants(log, case.members()), own_code=False)
    assert {"bundle_malformed", "timestamp_invalid"} <= seen


@pytest.mark.parametrize("name", ["unsorted certificates", "certificates in the bundle"])
def test_mutated_time_stamps_have_the_same_verdict(opened: Open, name: str) -> None:
    """The bytes of stamps alone: elements of the token, and any bytes."""
    log, bundle, case = stamped(stamps.GOOD[name], small_log())
    generator = bundles.Generator(5, bundle.pack())
    made = {}
    for number in range(MUTANTS):
        data, _, what = generator.kinds["token" if number % 3 else "stamp"]()
        made[f"{number} {what}"] = data
    seen = compare(opened(), Given(log, True, roots=case.roots), made, own_code=False)
    assert "timestamp_invalid" in seen


def test_good_and_bad_time_stamps_have_the_same_verdict(opened: Open) -> None:
    page = opened()
    for name, make in {**stamps.GOOD, **{name: make for name, (_, make) in stamps.BAD.items()}}.items():
        log, bundle, case = stamped(make, small_log())
        auditor = Given(log, True, roots=case.roots)
        seen = compare(page, auditor, {name: bundle.pack()}, own_code=False)
        assert seen == (set() if name in stamps.GOOD else {"timestamp_invalid"}), name
    assert compare(page, Given(log, True), {name: bundle.pack()}, own_code=False) == set()


# The functions for time stamps inside of the engine.
STAMPS = """async ([cases, imprint]) => {
    const source = engine.toString();
    const body = source.slice(source.indexOf("{") + 1, source.lastIndexOf("return verifyBundle"));
    const names = "verifyStamp, parseRoots, parsePem, usableCertificates, BadStamp, Malformed";
    const inner = new Function(`"use strict"; ${body} return { ${names} };`)();
    const bytes = text => Uint8Array.from(atob(text), one => one.charCodeAt(0));
    const found = [];
    for (const [stamp, roots, claimed] of cases) {
        const others = claimed === null ? [] : inner.usableCertificates(inner.parsePem(bytes(claimed)));
        try {
            const trusted = inner.parseRoots(bytes(roots));
            const valid = await inner.verifyStamp(bytes(stamp), bytes(imprint), trusted, others);
            found.push([null, valid.before, valid.authority]);
        } catch (error) {
            const isBad = error instanceof inner.BadStamp;
            if (!isBad && !(error instanceof inner.Malformed)) throw error;
            found.push([isBad ? error.message.split(":")[0] : "malformed", null, null]);
        }
    }
    return found;
}"""


def test_time_stamps_of_the_vectors_have_their_verdicts(opened: Open) -> None:
    def text(data: str | None) -> str | None:
        return None if data is None else base64.b64encode(data.encode()).decode()

    cases = timestamps.vectors()
    given = [[base64.b64encode(one.stamp).decode(), text(one.roots), text(one.claimed)] for one in cases]
    imprint = base64.b64encode(timestamps.IMPRINT).decode()
    found = opened(bypass_csp=True).evaluate(STAMPS, [given, imprint])
    for case, verdict in zip(cases, found, strict=True):
        assert verdict == [case.reason, case.before_ms, case.authority], case.name


@pytest.mark.parametrize("own", [True, False], ids=["own inputs", "claims"])
def test_falsified_logs_have_the_same_verdict(opened: Open, own: bool) -> None:
    forged = evidence.forged_logs(3, max(40, MUTANTS // 3))
    made = {f"{number} {what}": bundle.pack() for number, (what, _, bundle) in enumerate(forged)}
    log = sample_log()
    auditor = auditor_of(log, own)
    seen = compare(opened(), auditor, made, own_code=False)
    assert {"heads_mismatch", "signature_invalid", "not_included"} <= seen


def test_a_bundle_changed_with_a_hex_editor(opened: Open, tmp_path: Path) -> None:
    """Every verifier reports the same findings, at the place of the byte."""
    envelope("demo", "--records", "500", "--dir", tmp_path / "demo")
    demo = DemoBundle(tmp_path / "demo")
    table = edits(demo)
    assert len(table) >= 10
    data = {name: demo.changed(at) for name, (at, _) in table.items()}
    page = opened()
    auditor = auditor_of(demo)
    assert compare(page, auditor, {"as written": demo.data}, own_code=False) == set()
    compare(page, auditor, data, own_code=False)
    for name, (_, expected) in table.items():
        report = by_script(data[name], auditor)
        assert isinstance(report, list)
        assert [tuple(found) for found in report[2]] == expected, name
