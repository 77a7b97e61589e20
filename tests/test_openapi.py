"""The OpenAPI document is valid and complete, and the service responds as it describes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31

import edgesentry
from support import envelope, serve

ROOT = Path(__file__).parent.parent
DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
# Bodies that are not text.
BINARY = {
    "application/gzip",
    "application/octet-stream",
    "application/vnd.apache.arrow.file",
    "application/vnd.apache.parquet",
    "application/zstd",
}
# Without credentials of any kind.
OPEN = {"GET /healthz", "GET /readyz"}
SCOPES = {"admin", "ingest", "metrics", "read"}
LOG = '[log]\norigin = "log.example/lifts"\nkey = "log.seed"\ninterval_seconds = 1\n'


class Body(NamedTuple):
    """A body in the document: its operation, `request` or the status, its type and its content."""

    operation: str
    place: str
    kind: str
    content: dict[str, Any]


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def bodies() -> Iterator[Body]:
    for name, operation in operations():
        places = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for place, described in places.items():
            for kind, content in described.get("content", {}).items():
                yield Body(name, place, kind, content)


def schema(content: dict[str, Any]) -> Draft202012Validator:
    """A validator of a body; its references are those of the document."""
    return Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]})


def examples(content: dict[str, Any]) -> list[Any]:
    named = [example["value"] for example in content.get("examples", {}).values()]
    return named + ([content["example"]] if "example" in content else [])


def test_the_document_is_one_of_openapi() -> None:
    Draft202012Validator(OPENAPI_31).validate(DOCUMENT)
    for described in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(described)
    assert [server["url"] for server in DOCUMENT["servers"]] == ["/"]
    assert "/metrics" in DOCUMENT["paths"]


def test_every_operation_names_its_scope_and_its_problems() -> None:
    for name, operation in operations():
        required = operation.get("security", [])
        scopes = {scope for one in required for scope in one.get("token", [])}
        assert scopes <= SCOPES, name
        assert bool(scopes) == (name not in OPEN), name
        responses = operation["responses"]
        assert scopes == set() or {"401", "403"} <= set(responses), name
        for status, response in responses.items():
            if status[0] in "45":
                described = response["content"]["application/problem+json"]
                assert described["schema"] == {"$ref": "#/components/schemas/Problem"}
                # The description names the codes, and each has an example.
                assert described["examples"], (name, status)
                for code, example in described["examples"].items():
                    problem = example["value"]
                    assert (problem["code"], problem["status"]) == (code, int(status))
                    assert code in response["description"]


@pytest.mark.parametrize(
    "body", list(bodies()), ids=lambda body: f"{body.operation} {body.place} {body.kind}"
)
def test_every_body_has_an_example_that_its_schema_accepts(body: Body) -> None:
    if body.kind in BINARY:
        assert examples(body.content) == []
        return
    assert examples(body.content), body
    for example in examples(body.content):
        schema(body.content).validate(example)


class Answer(NamedTuple):
    status: int
    kind: str
    content: bytes


def test_the_service_accepts_every_example(tmp_path: Path) -> None:
    """Each request with the example of the document as its body; the responses follow the schemas."""
    ledger = f"sqlite:{tmp_path / 'ledger.db'}"
    with edgesentry.open(ledger):
        pass
    tokens, settings = {}, f'ledger = "{ledger}"\npayloads = "ledger"\n'
    settings += LOG.replace("log.seed", str(tmp_path / "log.seed"))
    for scope in sorted(SCOPES):
        command = [sys.executable, "-m", "edgesentry", "token", scope, "--scope", scope]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        tokens[scope], settings = made.stdout.strip(), settings + made.stderr
    config = tmp_path / "eds.toml"
    config.write_text(settings)
    envelope("checkpoint", "init", "--config", config)
    described = dict(operations())
    device = {"device_id": "lift-01"}
    proof = {**device, "sequence": "1"}
    first: list[tuple[str, dict[str, str], int]] = [
        ("POST /api/v1/devices", {}, 200),
        ("POST /api/v1/ingest", {}, 202),
        ("POST /api/v1/ingest", {}, 200),
        ("POST /api/v1/ingest/batch", {}, 200),
    ]
    then = [
        ("GET /api/v1/log/proof", proof, 200),
        ("GET /api/v1/log/receipt", proof, 200),
        ("GET /api/v1/log/heads-proof", device, 200),
        ("GET /api/v1/log/consistency", {"from": "1"}, 200),
        ("GET /api/v1/log/status", {}, 200),
        ("GET /api/v1/log/timestamps", {"size": "1"}, 404),
        ("GET /log/checkpoint", {}, 200),
        ("GET /log/tile/{path}", {}, 404),
        ("POST /api/v1/erasures", {}, 202),
        ("POST /api/v1/devices/revoke", {}, 200),
        *((f"GET {path}", {}, 200) for path in ("/healthz", "/readyz", "/metrics", "/api/v1/devices")),
        *((f"GET /api/v1/{path}", {}, 200) for path in ("heads", "records", "log", "export")),
    ]

    def send(url: str, name: str, query: dict[str, str]) -> Answer:
        operation = described[name]
        method, path = name.split()
        [(kind, content)] = operation.get("requestBody", {}).get("content", {"": None}).items()
        data = None if content is None else json.dumps(examples(content)[0]).encode()
        address = f"{url}{path.replace('{path}', '0/000')}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(address, data, method=method)
        request.add_header("Content-Type", kind)
        scopes = [scope for one in operation.get("security", []) for scope in one.get("token", [])]
        for scope in scopes[-1:]:
            request.add_header("Authorization", f"Bearer {tokens[scope]}")
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, response.headers.get_content_type(), response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers.get_content_type(), error.read())

    def check(name: str, answer: Answer, status: int) -> None:
        assert answer.status == status, (name, answer)
        content = described[name]["responses"][str(status)]["content"][answer.kind]
        if answer.kind.endswith("json"):
            for line in answer.content.splitlines() if "ndjson" in answer.kind else [answer.content]:
                made = json.loads(line)
                if "summary" not in made and "payload_hash" not in made:
                    schema(content).validate(made)
        else:
            schema(content).validate(answer.content.decode())

    with serve(ledger, "--config", str(config)) as url:
        for name, query, status in first:
            check(name, send(url, name, query), status)
        # The next checkpoint covers the records.
        while send(url, *then[0][:2]).status == 404:
            time.sleep(0.1)
        for name, query, status in then:
            check(name, send(url, name, query), status)
    assert {name for name, _, _ in (*first, *then)} == set(described)


def test_responses_match_the_document(tmp_path: Path) -> None:
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
