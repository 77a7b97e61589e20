"""The console in a browser: headless Chromium, against `eds serve` in a process of its own."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

import blake3
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

import edgesentry
from edgesentry import Device
from pages import violations
from support import chains, device, payload, serve
from test_report_page import HOSTILE

TOKEN = "eds_" + "7" * 64
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PLACES = [
    "",
    "/devices",
    "/device?id=lift-01",
    "/record?id=lift-01&sequence=20",
    "/log",
    "/search?q=lift",
    "/alerts",
]
Open = Callable[..., Page]


class Alerts(BaseHTTPRequestHandler):
    """An Alertmanager with one alert."""

    def do_GET(self) -> None:
        body = json.dumps(
            [
                {
                    "labels": {"alertname": "ChainBreak", "severity": "P0", "instance": "node-1"},
                    "annotations": {
                        "summary": "a chain broke",
                        "runbook_url": "https://runbook.example/a#chainbreak",
                    },
                    "startsAt": "2026-01-02T03:04:05Z",
                }
            ]
        ).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Writes nothing."""


@contextmanager
def console(folder: Path, more: str = "") -> Iterator[str]:
    """Runs a service with a console on the ledger in `folder`."""
    config = folder / "eds.toml"
    token_hash = blake3.blake3(TOKEN.encode()).hexdigest()
    config.write_text(
        f"[serve.console]\nenabled = true\n{more}\n"
        f'[serve.tokens.office]\nhash = "{token_hash}"\nscopes = ["read"]\n'
    )
    with serve(f"sqlite:{folder / 'ledger.db'}", "--config", str(config)) as url:
        yield url


def ledger(folder: Path, *signers: Device) -> None:
    """Fills a ledger: 40 records of each device, then a gap and a fork of the first one."""
    with edgesentry.open(f"sqlite:{folder / 'ledger.db'}") as opened:
        for signer in signers:
            opened.register_device(signer)
        records = chains(list(signers), 40)
        opened.ingest_many(records, payload).raise_for_rejections()
        later = chains([device(1)], 45)
        opened.ingest(later[44], payload(later[44]))
        forks = chains([Device.from_seed("lift-01", bytes([1] * 32))], 1)
        other = forks[0].replace(timestamp_ms=1)
        opened.ingest(other, payload(other))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with devices, rejections, an alert, and ages of backups."""
    folder = tmp_path_factory.mktemp("console")
    ledger(folder, device(1), device(2), *(Device.from_seed(name, bytes([9] * 32)) for name in HOSTILE))
    alertmanager = HTTPServer(("127.0.0.1", 0), Alerts)
    threading.Thread(target=alertmanager.serve_forever, daemon=True).start()
    operations = folder / "eds.prom"
    operations.write_text('edgesentry_backup_last_success_timestamp_seconds{kind="base"} 1700000000\n')
    port = alertmanager.server_address[1]
    more = f'alertmanager = "http://127.0.0.1:{port}"\noperations = "{operations}"'
    try:
        with console(folder, more) as served:
            yield served
    finally:
        alertmanager.shutdown()
        alertmanager.server_close()


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Open]:
    """Opens a page of the console, signed in; at the end no page has complained or asked another host."""
    contexts = []
    complaints: list[str] = []
    hosts: set[str] = set()

    def hear(message: ConsoleMessage) -> None:
        # Chromium suggests a field for a name beside the token, and repeats the status of a missing page.
        if str(message.type) != "verbose" and "the server responded with a status of" not in message.text:
            complaints.append(f"{message.type}: {message.text}")

    def open_page(place: str = "", *, base: str = url, **context: object) -> Page:
        contexts.append(browser.new_context(**context))  # type: ignore[arg-type]
        page = contexts[-1].new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        sign_in(page, base)
        if place:
            page.goto(f"{base}/console{place}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert len(hosts) == 1


def sign_in(page: Page, base: str) -> None:
    page.goto(f"{base}/console")
    assert page.url == f"{base}/console/login"
    page.get_by_label("Token with the scope read").fill(TOKEN)
    page.get_by_label("Token with the scope read").press("Enter")
    page.wait_for_url(f"{base}/console")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
def test_every_page_is_accessible_and_fits(visit: Open, url: str, scheme: str, size: dict[str, int]) -> None:
    page = visit(color_scheme=scheme, viewport=size)
    for place in [*PLACES, "/device?id=nobody"]:
        page.goto(f"{url}/console{place}", wait_until="domcontentloaded")
        assert violations(page) == [], place
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, place
        assert page.locator("h1").count() == 1
    page.get_by_role("button", name="Sign out").click()
    assert page.url == f"{url}/console/login"
    assert violations(page) == []


def test_the_fleet_is_live(visit: Open, url: str, tmp_path: Path) -> None:
    ledger(tmp_path, device(1))
    with console(tmp_path) as base:
        page = visit(base=base)
        expect(page.locator("#live")).to_contain_text("Live, as of")
        assert page.locator("[data-live=devices]").inner_text() == "1"
        with edgesentry.Client(base) as client:
            (record,) = chains([device(1)], 41)[40:]
            assert client.ingest(record, payload(record)).status == "accepted"
        expect(page.locator("[data-live=accepted]")).to_have_text("1")
        first = page.locator("#decisions tr").first
        expect(first).to_contain_text("41")
        expect(first.locator("td").nth(3)).to_have_text("accepted")
        # The session ends in another tab.
        other = page.context.new_page()
        other.goto(f"{base}/console")
        other.get_by_role("button", name="Sign out").click()
        expect(page.locator("#live")).to_contain_text("The session has ended")


def test_it_is_readable_without_scripts(visit: Open) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator("[data-live=devices]").inner_text() == str(2 + len(HOSTILE))
    assert "ChainBreak" in page.locator("main").inner_text()
    page.get_by_role("link", name="Devices", exact=True).click()
    page.get_by_role("link", name="lift-01", exact=True).click()
    page.get_by_role("link", name="40", exact=True).first.click()
    assert page.locator(".standing.bad").count() == 0
    assert page.locator(".standing.good").count() == 5


def test_a_device_is_a_picture_with_words(visit: Open) -> None:
    page = visit("/device?id=lift-01")
    words = page.get_by_role("img").get_attribute("aria-label") or ""
    assert words.startswith("Sequences 1 to 40; gap at sequence 45"), words
    assert page.locator("svg.timeline rect.missing").count() == 1
    assert page.locator("figure").inner_text().count("45") >= 1
    assert page.get_by_text("Older entries").count() == 0


def test_the_browser_hashes_the_payload(visit: Open, url: str) -> None:
    page = visit("/record?id=lift-01&sequence=20")
    page.get_by_role("button", name="Check its hash in this browser").click()
    expect(page.locator("#payload-result")).to_contain_text("Equal: this browser hashed")
    page.evaluate("document.getElementById('check-payload').dataset.hash = '0'.repeat(64)")
    page.get_by_role("button", name="Check its hash in this browser").click()
    expect(page.locator("#payload-result")).to_contain_text("Not equal")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the payload").click()
    record = chains([device(1)], 20)[19]
    assert download.value.suggested_filename == "payload-20.bin"
    assert Path(download.value.path()).read_bytes() == payload(record)


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 5000, 70_000])
def test_payloads_of_any_size_are_hashed(visit: Open, tmp_path: Path, size: int) -> None:
    signer = device(5)
    content = bytes(at % 251 for at in range(size))
    with edgesentry.open(f"sqlite:{tmp_path / 'ledger.db'}") as opened:
        opened.register_device(signer)
        assert opened.ingest(signer.sign(content, "5.bin"), content).status == "accepted"
    with console(tmp_path) as base:
        page = visit("/record?id=lift-05&sequence=1", base=base)
        page.get_by_role("button", name="Check its hash in this browser").click()
        expect(page.locator("#payload-result")).to_contain_text("Equal")


def test_hostile_names_are_shown_and_nothing_more(visit: Open, url: str) -> None:
    page = visit()
    for name in HOSTILE:
        for place in (
            f"/device?id={quote(name)}",
            f"/record?id={quote(name)}&sequence=3",
            f"/search?q={quote(name[:9])}",
        ):
            page.goto(f"{url}/console{place}")
            assert page.title().endswith("EdgeSentry console")
            assert page.locator("main img, main h1").count() == 0
            assert "\u202e" not in page.locator("main").inner_text()
    page.goto(f"{url}/console/devices")
    assert page.get_by_role("link", name="lift\\u{202e}gpj.exe").count() == 1


def test_the_keyboard_alone_is_enough(visit: Open, url: str) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/console/log")
    page.get_by_role("textbox", name="Device").focus()
    page.keyboard.type("lift-01")
    page.keyboard.press("Tab")
    page.keyboard.type("rej")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/log?*outcome=rejected*")
    rows = page.locator("tbody tr")
    assert rows.count() == 2
    assert all("rejected" in row.inner_text() for row in rows.all())


def test_scripts_cannot_read_the_cookie(visit: Open) -> None:
    page = visit()
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["name"]) == (True, "Strict", "eds-console")
    assert TOKEN not in page.content()


def test_a_store_that_is_down_is_a_sentence(visit: Open, tmp_path: Path) -> None:
    ledger(tmp_path, device(1))
    with console(tmp_path) as base:
        page = visit(base=base)
        with sqlite3.connect(tmp_path / "ledger.db") as database:
            database.execute("ALTER TABLE chain_heads RENAME TO gone")
        page.goto(f"{base}/console/devices")
        assert "cannot read a page of devices" in page.locator("main").inner_text()
        page.goto(f"{base}/console")
        assert "Fleet" in page.title()


def test_a_million_devices_are_a_page(visit: Open, tmp_path: Path) -> None:
    ledger(tmp_path, device(1))
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999999) "
            "INSERT INTO chain_heads "
            "SELECT printf('meter-%07d', i), 9, zeroblob(32), 0, zeroblob(32), 1, 1700000000000 + i FROM n"
        )
    with console(tmp_path) as base:
        page = visit(base=base)
        expect(page.locator("[data-live=devices]")).to_have_text("1,000,000", timeout=30_000)
        assert len(page.content()) < 300_000
        page.goto(f"{base}/console/devices?from=meter-0500000")
        assert page.locator("tbody tr").count() == 100
        page.get_by_role("link", name="Further devices").click()
        assert page.locator("tbody th").first.inner_text() == "meter-0500100"
        page.goto(f"{base}/console/devices?from=meter-0500000&silent=86400")
        assert page.locator("tbody tr").count() == 100
        page.goto(f"{base}/console/search?q=meter-0999")
        assert (
            page.locator("section", has_text="Devices whose names begin so").locator("tbody tr").count() == 20
        )
