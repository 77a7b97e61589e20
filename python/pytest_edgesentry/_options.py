"""Settings of the plugin: the stores and their locations."""

from __future__ import annotations

import os

import pytest

STORES = ("sqlite", "postgres", "s3")

_SETTINGS: dict[str, str] = {
    "edgesentry_stores": "the stores of edgesentry_ledger: sqlite, postgres, s3; by default sqlite, and the "
    "others where they are configured",
    "edgesentry_postgres": "a PostgreSQL server, as postgres://user:password@host/database; each test gets a "
    "database of its own (EDGESENTRY_TEST_POSTGRES)",
    "edgesentry_s3": "the endpoint of an S3 server (EDGESENTRY_TEST_S3)",
    "edgesentry_s3_bucket": "a bucket of it; by default edgesentry-tests (EDGESENTRY_TEST_S3_BUCKET)",
    "edgesentry_s3_access_key_id": "by default edgesentry (EDGESENTRY_TEST_S3_ACCESS_KEY_ID)",
    "edgesentry_s3_secret_access_key": "by default edgesentry-secret (EDGESENTRY_TEST_S3_SECRET_ACCESS_KEY)",
}

_DEFAULTS = {
    "edgesentry_s3_bucket": "edgesentry-tests",
    "edgesentry_s3_access_key_id": "edgesentry",
    "edgesentry_s3_secret_access_key": "edgesentry-secret",
}


def add_options(parser: pytest.Parser) -> None:
    """Declares the settings."""
    for name, meaning in _SETTINGS.items():
        if name == "edgesentry_stores":
            parser.addini(name, meaning, type="args")
        else:
            parser.addini(name, meaning)


def setting(config: pytest.Config, name: str) -> str | None:
    """Reads a setting: the environment variable, else the configuration, else the default."""
    variable = name.upper().replace("EDGESENTRY_", "EDGESENTRY_TEST_", 1)
    return os.environ.get(variable) or config.getini(name) or _DEFAULTS.get(name)


def stores(config: pytest.Config) -> list[str]:
    """Returns the stores to test on. A requested store that is not configured is an error, never a skip.

    Raises:
        pytest.UsageError: A store is unknown, or its location is not configured.
    """
    variable = os.environ.get("EDGESENTRY_TEST_STORES")
    asked = variable.split() if variable else config.getini("edgesentry_stores")
    if not asked:
        return ["sqlite", *(name for name in STORES[1:] if setting(config, f"edgesentry_{name}"))]
    for name in asked:
        if name not in STORES:
            raise pytest.UsageError(f"edgesentry_stores: expected one of {', '.join(STORES)}, got {name!r}")
        if name != "sqlite" and not setting(config, f"edgesentry_{name}"):
            raise pytest.UsageError(
                f"edgesentry_stores asks for {name}, but its location is not set: set edgesentry_{name} in "
                f"the configuration of pytest, or the variable EDGESENTRY_TEST_{name.upper()}"
            )
    return list(asked)
