"""The service responds to any request as its OpenAPI document describes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import edgesentry
from support import serve

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


def test_whatever_is_sent_the_document_holds(tmp_path: Path) -> None:
    ledger = f"sqlite:{tmp_path / 'ledger.db'}"
    with edgesentry.open(ledger):
        pass
    made = subprocess.run(
        [sys.executable, "-m", "edgesentry", "token", "tester", "--scope", "read", "--scope", "admin"],
        capture_output=True,
        text=True,
        check=True,
    )
    token = made.stdout.strip()
    (tmp_path / "eds.toml").write_text(made.stderr)
    schemathesis = Path(sys.executable).parent / "schemathesis"
    with serve(ledger, "--config", str(tmp_path / "eds.toml")) as url:
        command = [
            str(schemathesis),
            "run",
            f"{url}/openapi.json",
            "--header",
            f"Authorization: Bearer {token}",
        ]
        command += ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "20"]
        # Generators know no NDJSON; the Rust tests send it.
        command += ["--exclude-path", "/api/v1/ingest/batch"]
        command += ["--seed", "1", "--workers", "1", "--no-color"]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=900)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
