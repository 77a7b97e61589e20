"""Checks of pages in a browser."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def violations(page: Page) -> list[str]:
    """Returns the violations that axe-core reports: WCAG 2.2 A and AA, and best practice."""
    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {[node['html'][:120] for node in fault['nodes'][:3]]}" for fault in found]
