"""The console in a browser: headless Chromium, against `eds serve` in a process of its own."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

import blake3
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

import edgesentry
from edgesentry import Device
from pages import violations
from support import chains, device, envelope, payload, serve
from test_ledger import database
from test_report_page import HOSTILE

TOKEN = "eds_" + "7" * 64
SETTINGS = f'[serve.tokens.office]\nhash = "{blake3.blake3(TOKEN.encode()).hexdigest()}"\nscopes = ["read"]\n'
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
THEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])


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


class Relay:
    """Forwards connections to a server; while it is held, everything waits, as if the host were gone."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._flows = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.release()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        self._flows.clear()

    def release(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self.release()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                upstream = socket.create_connection(self._server)
                for ends in ((client, upstream), (upstream, client)):
                    threading.Thread(target=self._copy, args=ends, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), target:
            while data := source.recv(65_536):
                self._flows.wait()
                target.sendall(data)


@contextmanager
def console(folder: Path, more: str = "") -> Iterator[str]:
    """Runs a service with a console on the ledger in `folder`."""
    config = folder / "eds.toml"
    config.write_text(f"{SETTINGS}[serve.console]\nenabled = true\n{more}\n")
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
        # The second device has a new key for its next record.
        for signer in signers[1:2]:
            opened.register_device(Device.from_seed(signer.device_id, bytes([77] * 32)))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with devices, rejections, an alert, and ages of backups."""
    folder = tmp_path_factory.mktemp("console")
    hostile = [Device.from_seed(name, bytes([90 + at] * 32)) for at, name in enumerate(HOSTILE)]
    ledger(folder, device(1), device(2), *hostile)
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
        # A key may be pressed before a page gives the focus to its field.
        harmless = "the server responded with a status of", "Autofocus processing was blocked"
        if str(message.type) != "verbose" and not any(words in message.text for words in harmless):
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


def check(page: Page, address: str) -> None:
    """Opens a page, which is accessible and as wide as the window."""
    page.goto(address, wait_until="domcontentloaded")
    assert violations(page) == [], address
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, address
    assert page.locator("h1").count() == 1


@THEMES
@SIZES
def test_every_page_is_accessible_and_fits(visit: Open, url: str, scheme: str, size: dict[str, int]) -> None:
    page = visit(color_scheme=scheme, viewport=size)
    for place in [*PLACES, "/device?id=nobody"]:
        check(page, f"{url}/console{place}")
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
            assert client.ingest(record, payload(record)).outcome == "accepted"
        expect(page.locator("[data-live=accepted]")).to_have_text("1")
        first = page.locator("#decisions tr").first
        expect(first).to_contain_text("41")
        expect(first.locator("td").nth(3)).to_have_text("accepted")
        # The session ends in another tab.
        other = page.context.new_page()
        other.goto(f"{base}/console")
        other.get_by_role("button", name="Sign out").click()
        expect(page.locator("#live")).to_contain_text("The session has ended")


def test_no_page_writes(visit: Open, tmp_path: Path) -> None:
    """Pages read with any method; every page, link and form of a session leaves the ledger as it is."""

    def rows() -> list[str]:
        with sqlite3.connect(tmp_path / "ledger.db") as opened:
            return list(opened.iterdump())

    ledger(tmp_path, device(1), device(2))
    with console(tmp_path) as base:
        before = rows()
        page = visit(base=base)
        files = "/payload?id=lift-01&sequence=1", "/proof?id=lift-01&sequence=1"
        for place in [*PLACES, *files, "/events"]:
            for method in ("HEAD", "POST", "PUT", "PATCH", "DELETE"):
                answer = page.context.request.fetch(
                    f"{base}/console{place}", method=method, headers={"sec-fetch-site": "same-origin"}
                )
                assert method == "HEAD" or answer.status == 405, (method, place)
            if place in PLACES:
                page.goto(f"{base}/console{place}")
                hrefs = page.locator("a[href^='/console']").evaluate_all("all => all.map(a => a.href)")
                for href in set(hrefs):
                    assert page.context.request.get(href).status in (200, 404), href
        page.get_by_role("button", name="Sign out").click()
        assert rows() == before


def test_figures_are_those_of_the_metrics(visit: Open, tmp_path: Path) -> None:
    lifts = [device(1), device(2)]
    config = tmp_path / "eds.toml"
    config.write_text(
        f'ledger = "sqlite:{tmp_path / "ledger.db"}"\n{SETTINGS}[serve.console]\nenabled = true\n'
        f'[log]\norigin = "log.example/lifts"\nkey = "{tmp_path / "log.seed"}"\ninterval_seconds = 1\n'
    )
    with edgesentry.open(config=config) as opened:
        for lift in lifts:
            opened.register_device(lift)
    envelope("checkpoint", "init", "--config", config)
    with serve(f"sqlite:{tmp_path / 'ledger.db'}", "--config", str(config)) as base:
        records = chains(lifts, 30)
        bad = records[-1].replace(signature=bytes(64))
        stranger = chains([device(9)], 1)[0]
        with edgesentry.Client(base) as client:
            sent = [*records[:-1], records[0], bad, stranger, records[1].replace(sequence=99)]
            for record in sent:
                client.ingest(record, payload(record))
        # Until all records are in the log.
        metrics = scrape(base)
        while metrics["edgesentry_log_checkpoint_size"] < 59 or metrics["edgesentry_log_records_waiting"]:
            time.sleep(0.2)
            metrics = scrape(base)
        page = visit(base=base)
        size = f"{metrics['edgesentry_log_checkpoint_size']:.0f} leaves"
        expect(page.locator("[data-live=checkpoint_size]")).to_have_text(size, timeout=60_000)
        expect(page.locator("[data-live=log_waiting]")).to_have_text("0", timeout=60_000)
        metrics = scrape(base)
        shown = {
            figure.get_attribute("data-live"): figure.inner_text()
            for figure in page.locator("[data-live]").all()
        }
        rejected = {key: value for key, value in metrics.items() if "ingest_rejected_total{" in key}
        expected = {
            "devices": 2,
            "accepted": metrics["edgesentry_ingest_accepted_total"],
            "duplicate": metrics["edgesentry_ingest_duplicate_total"],
            "rejected": sum(rejected.values()),
            "log_waiting": metrics["edgesentry_log_records_waiting"],
            "checkpoint_size": metrics["edgesentry_log_checkpoint_size"],
        }
        for key, value in rejected.items():
            reason = key.split('"')[1]
            expected[f"rejected_{reason}"] = value
            expected[f"kept_{reason}"] = metrics[f'edgesentry_rejections_kept{{reason="{reason}"}}']
        assert (expected["accepted"], expected["duplicate"], expected["rejected"]) == (59, 1, 3)
        figures = {key: float(re.sub("[^0-9]", "", shown[key])) for key in expected}
        assert figures == expected
        assert {key for key in shown if key and key.startswith("rejected_")} <= expected.keys()
        # Times, in seconds.
        for section, metric in [
            ("Last checkpoint", "edgesentry_log_checkpoint_timestamp_seconds"),
            ("Last decisions", "edgesentry_ingest_last_success_timestamp_seconds"),
        ]:
            text = page.locator("section", has=page.get_by_role("heading", name=section)).inner_text()
            times = [datetime.fromisoformat(at) for at in re.findall(r"[\d-]{10} [\d:]{8}Z", text)]
            assert any(abs(at.timestamp() - metrics[metric]) < 2 for at in times), section
        page.close()


def scrape(base: str) -> dict[str, float]:
    """The series of a service and their values."""
    with urllib.request.urlopen(f"{base}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


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
    page = visit("/device?id=lift-02")
    words = page.get_by_role("img").get_attribute("aria-label") or ""
    assert words == "Sequences 1 to 40; change of keys at sequence 41.", words
    assert page.locator("svg.timeline g.rotation").count() == 1


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
        assert opened.ingest(signer.sign(content, "5.bin"), content).outcome == "accepted"
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


@THEMES
@SIZES
def test_pages_of_hostile_names_fit(visit: Open, url: str, scheme: str, size: dict[str, int]) -> None:
    page = visit(color_scheme=scheme, viewport=size)
    for name in HOSTILE:
        check(page, f"{url}/console/device?id={quote(name)}")
        check(page, f"{url}/console/record?id={quote(name)}&sequence=3")


@pytest.mark.parametrize("place", PLACES)
def test_the_keyboard_reaches_everything_on_every_page(visit: Open, place: str) -> None:
    page = visit(place)
    page.evaluate("document.activeElement.blur()")
    wanted = page.locator("a[href], button, input, select, [tabindex='0']").count()
    reached = set()
    for _ in range(wanted + 1):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        focused = page.evaluate(
            "[...document.querySelectorAll('a[href], button, input, select, [tabindex]')]"
            ".indexOf(document.activeElement)"
        )
        if focused >= 0:
            assert outline != "none", page.evaluate("document.activeElement.outerHTML")
            reached.add(focused)
    assert len(reached) == wanted
    page.get_by_role("button", name="Sign out").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/login")


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


@THEMES
@SIZES
def test_a_store_that_is_down_is_a_sentence(
    visit: Open, tmp_path: Path, scheme: str, size: dict[str, int]
) -> None:
    ledger(tmp_path, device(1))
    with console(tmp_path) as base:
        page = visit(base=base, color_scheme=scheme, viewport=size)
        with sqlite3.connect(tmp_path / "ledger.db") as database:
            for table in ("chain_heads", "audit_records", "operation_logs"):
                database.execute(f"ALTER TABLE {table} RENAME TO gone_{table}")
        for place in PLACES:
            check(page, f"{base}/console{place}")
            # The page of alerts reads nothing from the ledger.
            if place != "/alerts":
                expect(page.locator("main")).to_contain_text("cannot read", timeout=60_000)
        page.close()


def test_a_database_that_hangs_is_a_sentence(visit: Open, tmp_path: Path) -> None:
    url = database()
    server = urlsplit(url)
    assert server.hostname is not None
    assert server.port is not None
    relay = Relay(server.hostname, server.port)
    payloads = f"folder:{tmp_path / 'payloads'}"
    with edgesentry.open(url, payloads) as opened:
        opened.register_device(device(1))
        opened.ingest_many(chains([device(1)], 20), payload).raise_for_rejections()
    config = tmp_path / "eds.toml"
    config.write_text(f"{SETTINGS}[serve.console]\nenabled = true\n")
    relayed = url.replace(f":{server.port}/", f":{relay.port}/")
    with serve(relayed, "--payload-store", payloads, "--config", str(config)) as base:
        page = visit(base=base)
        expect(page.locator("[data-live=ledger]")).to_have_text("The ledger responds.")
        relay.hold()
        problem = re.compile("does not respond|cannot read")
        expect(page.locator("[data-live=ledger]")).to_contain_text(problem, timeout=60_000)
        for place in PLACES:
            page.goto(f"{base}/console{place}", wait_until="domcontentloaded", timeout=60_000)
            if place != "/alerts":
                expect(page.locator("main")).to_contain_text(problem)
        relay.release()
        page.goto(f"{base}/console")
        expect(page.locator("[data-live=ledger]")).to_have_text("The ledger responds.", timeout=60_000)
        page.close()
    relay.close()


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with a million devices."""
    folder = tmp_path_factory.mktemp("million")
    ledger(folder, device(1))
    with sqlite3.connect(folder / "ledger.db") as database:
        database.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999999) "
            "INSERT INTO chain_heads "
            "SELECT printf('meter-%07d', i), 9, zeroblob(32), 0, zeroblob(32), 1, 1700000000000 + i FROM n"
        )
    with console(folder) as served:
        yield served


@THEMES
@SIZES
def test_a_million_devices_fit(visit: Open, million: str, scheme: str, size: dict[str, int]) -> None:
    page = visit(base=million, color_scheme=scheme, viewport=size)
    expect(page.locator("[data-live=devices]")).to_have_text("1,000,000", timeout=60_000)
    for place in ["", "/devices?from=meter-0500000", "/devices?silent=86400", "/search?q=meter-0999"]:
        check(page, f"{million}/console{place}")


def test_a_million_devices_are_a_page(visit: Open, million: str) -> None:
    page = visit(base=million)
    expect(page.locator("[data-live=devices]")).to_have_text("1,000,000", timeout=60_000)
    assert len(page.content()) < 300_000
    page.goto(f"{million}/console/devices?from=meter-0500000")
    assert page.locator("tbody tr").count() == 100
    page.get_by_role("link", name="Further devices").click()
    assert page.locator("tbody th").first.inner_text() == "meter-0500100"
    page.goto(f"{million}/console/devices?from=meter-0500000&silent=86400")
    assert page.locator("tbody tr").count() == 100
    page.goto(f"{million}/console/search?q=meter-0999")
    found = page.locator("section", has_text="Devices whose names begin so")
    assert found.locator("tbody tr").count() == 20
