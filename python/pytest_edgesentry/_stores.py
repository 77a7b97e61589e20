"""Locations for a ledger, each empty and removed after the test."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgesentry.testing import Place
from pytest_edgesentry._options import setting
from pytest_edgesentry._postgres import database


@contextmanager
def place(store: str, config: pytest.Config, folder: Path) -> Iterator[Place]:
    """Yields an empty location on a store; a server that does not respond is an error of the test."""
    sqlite = f"sqlite:{folder / 'edgesentry.db'}"
    if store == "postgres":
        server = setting(config, "edgesentry_postgres")
        assert server is not None
        with database(server, f"edgesentry_{uuid.uuid4().hex}") as url:
            yield Place(store, url, f"folder:{folder / 'edgesentry-objects'}")
    elif store == "s3":
        yield Place(store, sqlite, f"s3://{setting(config, 'edgesentry_s3_bucket')}", _s3(config, folder))
    else:
        yield Place(store, sqlite, "ledger")


def _s3(config: pytest.Config, folder: Path) -> Path:
    names = {
        "endpoint": "edgesentry_s3",
        "access_key_id": "edgesentry_s3_access_key_id",
        "secret_access_key": "edgesentry_s3_secret_access_key",
    }
    # A JSON string is a TOML string.
    lines = [f"{name} = {json.dumps(setting(config, of))}" for name, of in names.items()]
    path = folder / "edgesentry-s3.toml"
    path.touch(mode=0o600)
    path.write_text("\n".join(["[s3]", *lines, ""]))
    return path
