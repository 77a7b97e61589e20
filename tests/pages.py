"""Checks of pages in a browser."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def violations(page: Page, part: str | None = None) -> list[str]:
    """Returns the violations that axe-core reports in a page or a part: WCAG 2.2 AA and best practice."""
    found = Axe().run(page, part).response["violations"]
    return [f"{fault['id']}: {[node['html'][:120] for node in fault['nodes'][:3]]}" for fault in found]
