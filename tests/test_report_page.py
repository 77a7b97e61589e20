"""The report page in a browser: headless Chromium, without a network."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from edgesentry import AuditRecord, Device, Report, verify_chain, write_records
from pages import violations
from support import chains, device, key_ring

HOSTILE = [
    "<script>document.title='forged'</script>",
    '"><img src=x onerror="document.title=\'forged\'">',
    "lift\u202egpj.exe",
    "lift\x1b[2J\u0007\u200b01",
    "מעלית-01",
    "]]></style><h1>Valid</h1>",
]
Show = Callable[..., Page]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Opens the page of a report; at the end there must be no console message and no network request."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    requests: list[str] = []
    path = tmp_path / "report.html"

    def open_page(report: Report, fragment: str = "", **context: object) -> Page:
        path.write_text(report.to_html(), encoding="utf-8")
        contexts.append(browser.new_context(**context))  # type: ignore[arg-type]
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url.partition("#")[0] for url in requests} == {path.as_uri()}


@pytest.fixture(scope="module")
def broken() -> Report:
    """Findings of many kinds: an edit, a gap, a fork, a truncated chain, a missing device."""
    devices = [device(number) for number in range(1, 7)]
    records = chains(devices, 60)
    heads = verify_chain(records).heads

    def at(number: int, sequence: int) -> int:
        return next(
            i for i, r in enumerate(records) if (r.device_id, r.sequence) == (f"lift-{number:02}", sequence)
        )

    records[at(1, 20)] = records[at(1, 20)].replace(timestamp_ms=0)
    for sequence in (30, 31, 32):
        del records[at(2, sequence)]
    records.append(Device.from_seed("lift-03", bytes([3] * 32)).sign(b"another", "lift-03/1.bin"))
    records = [r for r in records if not (r.device_id == "lift-04" and r.sequence > 50)]
    records = [r for r in records if r.device_id != "lift-05"]
    return verify_chain(records, keys=key_ring(devices), heads=heads)


@pytest.fixture(scope="module")
def crowded() -> Report:
    """10,200 findings: three chains under the wrong keys."""
    records = chains([device(number) for number in (1, 2, 3)], 3400)
    ring = key_ring([])
    for number in (1, 2, 3):
        ring.add(f"lift-{number:02}", device(number + 50).public_key, scheme="record")
    report = verify_chain(records, keys=ring)
    assert report.counts == {"signature_invalid": 10_200}
    return report


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(show: Show, broken: Report, records: list[AuditRecord], scheme: str) -> None:
    page = show(broken, color_scheme=scheme)
    assert violations(page) == []
    assert violations(show(verify_chain(records), color_scheme=scheme)) == []
    assert violations(show(verify_chain([]), color_scheme=scheme)) == []


def test_verdict_and_coverage_come_first(show: Show, broken: Report, records: list[AuditRecord]) -> None:
    page = show(broken)
    assert page.title().startswith("Findings")
    assert page.get_by_role("heading", level=1).inner_text() == "✗ Findings"
    headings = [heading.inner_text() for heading in page.locator("h2").all()]
    assert headings[:2] == ["Checks", "Checks that did not run, and why that matters"]
    assert page.get_by_role("heading", level=1).bounding_box()["y"] < 200  # type: ignore[index]
    valid = show(verify_chain(records))
    assert valid.get_by_role("heading", level=1).inner_text() == "✓ Valid"
    assert "no key ring was given" in valid.locator("#not-checked").inner_text()
    nothing = show(verify_chain([]))
    assert "This is not a pass" in nothing.locator("header").inner_text()


def test_every_finding_is_there_with_its_evidence(show: Show, broken: Report) -> None:
    page = show(broken)
    rows = page.locator("#findings tbody tr")
    assert rows.count() == len(broken.findings)
    for row, finding in zip(rows.all(), broken.findings, strict=True):
        text = row.inner_text()
        assert finding.code in text
        assert finding.expected in text
        assert finding.cause is None or f"likely because of {finding.cause.code}" in text
        assert row.get_by_role("link").get_attribute("href") == f"#about-{finding.code}"
    explained = {heading.inner_text() for heading in page.locator("#about h3").all()}
    assert explained == set(broken.counts)
    for link in page.locator("a[href^='#']").all():
        target = (link.get_attribute("href") or "")[1:]
        assert page.locator(f"[id='{target}']").count() == 1, target


def test_timelines_mark_and_describe_the_faults(show: Show, broken: Report) -> None:
    page = show(broken)
    words = page.get_by_role("img").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert "Chain of lift-02, sequences 1 to 60: sequence_gap at sequence 33." in words
    assert any("Chain of lift-05, which is missing: device_missing" in text for text in words)
    assert any(text == "Chain of lift-06, sequences 1 to 60: no finding." for text in words)
    gap = page.locator("figure", has_text="lift-02").locator("rect.missing title").text_content()
    assert gap == "missing: sequence 30 to 32"


def test_hostile_names_are_shown_and_nothing_more(show: Show) -> None:
    records = list(chains([Device.from_seed(name, bytes([9] * 32)) for name in HOSTILE], 4))
    del records[len(HOSTILE)]
    report = verify_chain(records, keys=key_ring([]))
    page = show(report)
    assert page.title().startswith("Findings")
    assert page.locator("h1").count() == 1
    assert page.locator("img").count() == 0
    text = page.locator("main").inner_text()
    assert HOSTILE[0] in text
    assert "lift\\u{202e}gpj.exe" in text
    assert "lift\\u{1b}[2J\\u{7}\\u{200b}01" in text
    source = report.to_html()
    assert not re.search("[\u202a-\u202e\u200b-\u200f\u2066-\u2069\x1b\x07]", source)
    assert source.count("<script") == source.count("</script>") == 1


def test_findings_can_be_filtered(show: Show, broken: Report) -> None:
    page = show(broken)
    rows, status = page.locator("#findings tbody tr"), page.locator("#status")
    page.locator("select[name=code]").select_option("sequence_gap")
    assert rows.count() == 1
    assert status.inner_text() == f"Findings 1 to 1 of 1 that match, of {len(broken.findings)}"
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function(
        "n => document.querySelectorAll('#findings tbody tr').length === n", arg=len(broken.findings)
    )
    page.locator("select[name=device]").select_option("lift-04")
    assert {row.get_attribute("data-code") for row in rows.all()} == {"head_mismatch"}
    page.locator("select[name=device]").select_option("")
    page.locator("input[name=text]").fill("nowhere to be found")
    assert status.inner_text().startswith("No finding matches")
    page.locator("input[name=text]").fill("")
    page.locator("figure", has_text="lift-02").get_by_role("link").click()
    assert page.locator("select[name=device]").input_value() == "lift-02"
    assert {row.get_attribute("data-device") for row in rows.all()} == {"lift-02"}


def test_ten_thousand_findings_stay_usable(show: Show, crowded: Report) -> None:
    page = show(crowded)
    rows, status = page.locator("#findings tbody tr"), page.locator("#status")
    assert rows.count() == 50
    assert "lists 10,000 of 10,200 findings" in page.locator("#findings").inner_text()
    assert status.inner_text() == "Findings 1 to 50 of 10,000"
    page.get_by_role("button", name="Last").click()
    assert status.inner_text() == "Findings 9,951 to 10,000 of 10,000"
    assert page.get_by_role("button", name="Next").is_disabled()
    page.locator("input[name=text]").fill("sequence 3,000")
    assert rows.count() == 3
    # A chain of 3,400 findings is drawn with no more marks than fit.
    assert page.locator("figure.chain").first.locator("path").count() <= 200
    assert violations(page) == []
    assert "f9999" in show(crowded, "#f9999").locator("tr.sought").get_attribute("id")  # type: ignore[operator]


def test_it_works_without_javascript(show: Show, crowded: Report) -> None:
    page = show(crowded, java_script_enabled=False)
    assert not page.locator("#filter").is_visible()
    assert page.locator("#findings tbody tr").count() == 10_000
    assert page.locator("#groups details").count() == 100
    assert page.locator("#groups details[open]").count() == 1
    page.locator("#groups summary").nth(99).click()
    assert page.locator("#f10000").is_visible()


def test_it_is_used_by_keyboard(show: Show, broken: Report) -> None:
    page = show(broken)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    box = page.locator(".skip").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("select[name=code]").focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_it_follows_the_colour_scheme_and_the_width(show: Show, broken: Report) -> None:
    def background(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert background(show(broken, color_scheme="light")) == "rgb(255, 255, 255)"
    assert background(show(broken, color_scheme="dark")) == "rgb(17, 22, 31)"
    narrow = show(broken, viewport={"width": 360, "height": 800})
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 360
    assert narrow.locator("#findings tbody th").first.bounding_box()["width"] > 250  # type: ignore[index]
    for count in narrow.locator("#kinds td.figure").all():
        box = count.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 360


def test_it_prints(show: Show, broken: Report) -> None:
    page = show(broken, color_scheme="dark")
    pdf = page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 3 <= pages <= 12
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()


def test_hashes_are_those_of_the_files(tmp_path: Path, records: list[AuditRecord]) -> None:
    export = tmp_path / "export.json"
    write_records(records, export)
    report = verify_chain(export)
    sha256 = subprocess.run(["sha256sum", export], capture_output=True, text=True, check=True).stdout.split()[
        0
    ]
    assert sha256 in report.to_html()
    assert f"eds verify-chain {export}" in report.to_html()
    with export.open("a") as file:
        file.write("\n")
    assert sha256 not in report.to_html()
    assert "the file has changed since it was verified" in report.to_html()
    export.unlink()
    assert "the file cannot be opened any more" in report.to_html()
