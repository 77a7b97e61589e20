"""Tables of findings in a notebook: exported by nbconvert, and inserted as JupyterLab and VS Code do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from edgesentry import Device, Difference, Findings, Report, verify_chain
from pages import violations
from support import START_MS, chains, device, key_ring
from test_report_page import HOSTILE

Show = Callable[..., Page]
# Notebooks insert outputs as text, which runs no script, and then run the scripts: JupyterLab in place,
# VS Code at the end of the output.
INSERT = {
    "JupyterLab": """(node, html) => {
        node.innerHTML = html;
        for (const old of node.querySelectorAll("script")) {
            const script = document.createElement("script");
            for (const { name, value } of old.attributes) script.setAttribute(name, value);
            script.textContent = old.textContent;
            old.replaceWith(script);
        }
    }""",
    "VS Code": """(node, html) => {
        node.innerHTML = html;
        for (const old of [...node.getElementsByTagName("script")]) {
            const script = document.createElement("script");
            script.text = old.innerText;
            if (old.type) script.type = old.type;
            node.appendChild(script).remove();
        }
    }""",
}


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Opens an exported notebook with an output for each value; no script of it may fail."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(
        *values: Report | Findings | Difference, theme: str = "light", width: int = 1440, **context: object
    ) -> Page:
        outputs = [
            {"output_type": "display_data", "data": {"text/html": value._repr_html_()}, "metadata": {}}
            for value in values
        ]
        cell = {"cell_type": "code", "source": "report", "execution_count": 1, "id": "a", "outputs": outputs}
        notebook = tmp_path / "notebook.ipynb"
        notebook.write_text(
            json.dumps(
                {"cells": [{**cell, "metadata": {}}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
            )
        )
        exporter: Any = HTMLExporter
        path = tmp_path / "notebook.html"
        path.write_text(exporter(theme=theme).from_filename(str(notebook))[0], encoding="utf-8")
        viewport = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=viewport, **context))  # type: ignore[arg-type]
        page = contexts[-1].new_page()
        # Scripts of nbconvert for formulas and widgets.
        page.route(re.compile("^https?:"), lambda route: route.fulfill(body=""))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def crowded() -> Report:
    """Invalid signatures of two devices, and a record of a third one that is missing."""
    devices = [device(number) for number in (1, 2, 3)]
    records = chains(devices, 120)
    del records[300]
    keys = key_ring([device(1)])
    for number in (2, 3):
        keys.add(f"lift-{number:02}", device(50 + number).public_key)
    report = verify_chain(records, keys=keys)
    assert report.counts == {"signature_invalid": 240, "sequence_gap": 1}
    return report


def rows(table: Page | Locator) -> Locator:
    return table.locator("tbody tr")


def column(table: Page | Locator, number: int) -> list[str]:
    """The first lines of the cells of a column."""
    return [text.split("\n")[0] for text in table.locator(f"tbody td:nth-child({number})").all_inner_texts()]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_is_accessible_and_fits(show: Show, crowded: Report, theme: str, width: int) -> None:
    page = show(crowded, verify_chain([]), theme=theme, width=width)
    expect(rows(page)).to_have_count(10)
    assert violations(page, ".edgesentry") == []
    for output in page.locator(".edgesentry").all():
        box = output.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width
        assert box["height"] < 1000


def test_findings_are_sorted_filtered_and_paged(show: Show, crowded: Report) -> None:
    page = show(crowded)
    status, findings = page.get_by_role("status"), crowded.findings
    assert status.inner_text() == "Findings 1 to 10 of 241"
    assert column(page, 1) == [finding.code for finding in findings[:10]]
    page.get_by_role("button", name="Next").click()
    assert status.inner_text() == "Findings 11 to 20 of 241"
    assert column(page, 4) == [str(finding.sequence) for finding in findings[10:20]]

    # By number, not by digit; and back to the first page.
    page.get_by_role("button", name="sequence").click()
    assert column(page, 4) == [str(at // 2) for at in range(2, 12)]
    page.get_by_role("button", name="sequence").click()
    assert column(page, 4)[:3] == ["120", "120", "119"]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"

    page.get_by_label("code").select_option("sequence_gap")
    assert status.inner_text() == "Findings 1 to 1 of 1 that match, of 241"
    page.get_by_label("code").select_option("")
    page.get_by_label("device").select_option("lift-03")
    assert status.inner_text() == "Findings 1 to 10 of 120 that match, of 241"
    page.get_by_label("device").select_option("")
    page.get_by_label("level").select_option("links")
    assert column(page, 1) == ["sequence_gap"]
    page.get_by_label("level").select_option("")
    page.get_by_label("Search").fill("LIFT-02 ")
    assert status.inner_text() == "Findings 1 to 10 of 120 that match, of 241"
    page.get_by_label("Search").fill("nowhere to be found")
    assert status.inner_text() == "No finding matches, of 241"


def test_hashes_are_short_and_times_are_dates(show: Show) -> None:
    records = chains([device(1)], 4)
    records[1] = records[1].replace(object_ref="another")
    report = verify_chain(records)
    page = show(report)
    (finding,) = report.findings
    expected = page.locator("tbody td").nth(6)
    assert expected.inner_text() == f"{finding.expected[:12]}…"
    assert expected.get_attribute("title") == finding.expected
    time = page.locator("tbody td").nth(4)
    assert time.inner_text().split("\n") == ["2023-11-14 22:13:23Z", f"{START_MS + 3000} ms"]
    record = records[0]._repr_html_()
    assert f'title="{record_hash(records[0])}"' in record
    assert f"{START_MS + 1000} (2023-11-14 22:13:21Z)" in record


def test_hostile_names_are_text(show: Show) -> None:
    records = chains([Device.from_seed(name, bytes([9] * 32)) for name in HOSTILE], 2)
    report = verify_chain(records, keys=key_ring([]))
    for page in (show(report), show(report, java_script_enabled=False)):
        assert rows(page).count() == len(HOSTILE)
        assert page.locator(".edgesentry img, .edgesentry h1").count() == 0
        devices = column(page, 3)
        assert HOSTILE[0] in devices
        assert "lift\\u{202e}gpj.exe" in devices
        assert "forged" not in page.title()


def test_a_plain_table_remains_without_scripts(show: Show, crowded: Report, browser: Browser) -> None:
    page = show(crowded, java_script_enabled=False)
    assert rows(page).count() == 20
    assert page.get_by_text("The first 20 of 241 findings.").is_visible()
    assert page.locator(".edgesentry button, .edgesentry input").count() == 0
    box = page.locator(".edgesentry").bounding_box()
    assert box is not None
    assert box["height"] < 1000
    # A notebook that is not trusted: no scripts, no style.
    plain = browser.new_page()
    plain.set_content(re.sub("<(script|style)[^>]*>.*?</\\1>", "", crowded._repr_html_(), flags=re.DOTALL))
    assert rows(plain).count() == 20
    assert "{" not in plain.locator("body").inner_text()
    plain.close()


@pytest.mark.parametrize("insert", INSERT.values(), ids=list(INSERT))
def test_tables_of_one_page_are_independent(browser: Browser, crowded: Report, insert: str) -> None:
    page = browser.new_page()
    page.set_content("<div class=one></div><div class=other></div>")
    one, other = page.locator(".one"), page.locator(".other")
    one.evaluate(insert, crowded._repr_html_())
    other.evaluate(insert, crowded.findings._repr_html_())
    one.get_by_role("button", name="Next").click()
    other.get_by_label("code").select_option("sequence_gap")
    assert one.get_by_role("status").inner_text() == "Findings 11 to 20 of 241"
    assert other.get_by_role("status").inner_text() == "Findings 1 to 1 of 1 that match, of 241"
    assert page.locator("[id]").count() == 0
    # An output that is shown again.
    one.evaluate(insert, crowded._repr_html_())
    assert one.get_by_role("status").inner_text() == "Findings 1 to 10 of 241"
    page.close()


def test_a_difference_shows_new_and_gone_findings(show: Show, crowded: Report) -> None:
    records = chains([device(number) for number in (1, 2, 3)], 120)
    sound = verify_chain(records, keys=key_ring([device(number) for number in (1, 2, 3)]))
    page = show(sound.diff(crowded))
    assert page.get_by_text("241 new, 0 gone, 0 same").is_visible()
    assert page.locator(".edgesentry-findings").count() == 1
    assert page.get_by_role("status").inner_text() == "Findings 1 to 10 of 241"
    page = show(crowded.diff(sound))
    assert page.get_by_text("Gone", exact=True).is_visible()


def test_the_keyboard_alone_is_enough(show: Show, crowded: Report) -> None:
    page = show(crowded)
    page.get_by_label("Search").focus()
    page.keyboard.type("lift-03")
    for _ in range(4):
        page.keyboard.press("Tab")
    # The table itself can be scrolled; then come its headings.
    assert page.evaluate("document.activeElement.className") == "rows"
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert column(page, 4)[0] == "120"
    assert set(column(page, 3)) == {"lift-03"}


def test_a_million_findings_are_bounded(show: Show, crowded: Report) -> None:
    table = pa.table(crowded.findings)
    findings = Findings.from_arrow(pa.concat_tables([table] * 4150))
    assert len(findings) > 1_000_000
    assert len(findings._repr_html_()) < 500_000
    page = show(findings)
    assert page.get_by_role("status").inner_text() == "Findings 1 to 10 of 500"
    assert (
        "The table lists 500 of 1,000,150 findings, some of each code." in page.locator("body").inner_text()
    )
    page.get_by_label("code").select_option("sequence_gap")
    assert page.get_by_role("status").inner_text() == "Findings 1 to 10 of 250 that match, of 500"
    # Long names do not make it long.
    long = chains([Device.from_seed("\u202e" * 1000 + str(at), bytes([9] * 32)) for at in range(500)], 1)
    assert len(verify_chain(long, keys=key_ring([]))._repr_html_()) < 1_000_000


def record_hash(record: object) -> str:
    return str(record.hash().hex())  # type: ignore[attr-defined]
