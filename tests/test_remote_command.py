"""The command on a service in place of a ledger: export, heads, checkpoint and proofs with `--url`."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import edgesentry
from edgesentry import AuditRecord, read_records
from support import chains, device, envelope, key_ring, payload, serve
from test_remote import LOG, answering, body

DEVICES = [device(1), device(2)]
# More than one page.
RECORDS = chains(DEVICES, 6000)
# A client may use no more memory than this beyond its start.
MEMORY = 1 << 30


class Remote(NamedTuple):
    """A service with a log, its token file, its directory and its ledger."""

    url: str
    token: Path
    folder: Path
    ledger: str

    def arguments(self) -> list[str]:
        return ["--url", self.url, "--token-file", str(self.token)]

    def eds(self, *arguments: str | Path, exit_code: int = 0) -> dict[str, Any]:
        return envelope(*arguments, *self.arguments(), exit_code=exit_code)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    folder = tmp_path_factory.mktemp("remote")
    settings = ""
    for name, scopes in (("reader", ["read"]), ("gateway", ["ingest"])):
        given = [argument for scope in scopes for argument in ("--scope", scope)]
        command = [sys.executable, "-m", "edgesentry", "token", name, *given]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        (folder / f"{name}.token").write_text(made.stdout)
        settings += made.stderr
    ledger = f"sqlite:{folder / 'ledger.db'}"
    log = LOG.replace("log.seed", str(folder / "log.seed"))
    (folder / "eds.toml").write_text(f'ledger = "{ledger}"\npayloads = "ledger"\n{log}{settings}')
    with edgesentry.open(ledger, "ledger") as opened:
        for signer in DEVICES:
            opened.register_device(signer)
        opened.ingest_many([(record, payload(record)) for record in RECORDS]).raise_for_rejections()
    key = envelope("checkpoint", "init", "--config", folder / "eds.toml")["checkpoint"]["verifier_key"]
    (folder / "policy").write_text(f"log {key}\nquorum none\n")
    envelope("checkpoint", "--config", folder / "eds.toml")
    key_ring(DEVICES).save(folder / "keys.json")
    with serve(ledger, "--config", str(folder / "eds.toml")) as url:
        yield Remote(url, folder / "reader.token", folder, ledger)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written() -> list[Path]:
    """Every file; `eds heads` makes the directory of its history before it reads."""
    return [path for path in Path().rglob("*") if path.is_file()]


def verified(file: str, remote: Remote, *more: str | Path) -> dict[str, Any]:
    keys = remote.folder / "keys.json"
    report: dict[str, Any] = envelope("verify-chain", file, "--keys", keys, *more)["report"]
    return report


@pytest.mark.parametrize("name", ["all.json", "all.ndjson", "all.ndjson.zst", "all.arrow", "all.parquet"])
def test_an_export_verifies_in_every_format(name: str, remote: Remote) -> None:
    manifest = remote.eds("export", "-o", name)["export"]["manifest"]
    assert (manifest["records"], manifest["devices"], manifest["ledger"]) == (12_000, 2, remote.url)
    local = envelope("export", "-o", f"local-{name}", "--ledger", remote.ledger)["export"]["manifest"]
    assert Path(name).read_bytes() == Path(f"local-{name}").read_bytes()
    assert (manifest["heads"], manifest["start_heads"]) == (local["heads"], local["start_heads"])
    heads = remote.eds("heads", "-o", "heads.json")["heads"]
    assert len(heads) == 2
    report = verified(name, remote, "--manifest", f"{name}.manifest.json", "--heads", "heads.json")
    assert report["coverage"]["records"] == 12_000


def test_filters_are_those_of_a_ledger(remote: Remote) -> None:
    filters = ["--device", "lift-02", "--device", "lift-01", "--from-sequence", "5", "--to-sequence", "5003"]
    times = ["--since", str(RECORDS[0].timestamp_ms + 1), "--before", str(RECORDS[-1].timestamp_ms)]
    for chosen in (filters, [*filters, *times], ["--to-sequence", "0"]):
        remote.eds("export", "-o", "remote.ndjson", *chosen)
        envelope("export", "-o", "local.ndjson", "--ledger", remote.ledger, *chosen)
        assert Path("remote.ndjson").read_bytes() == Path("local.ndjson").read_bytes()
    remote.eds("export", "-o", "range.json", *filters)
    report = verified("range.json", remote, "--manifest", "range.json.manifest.json")
    assert report["verdict"] == "valid"
    unknown = remote.eds("export", "-o", "none.json", "--device", "ghost", exit_code=2)["error"]
    message = f'device "ghost" is not registered in {remote.url}; see eds device list'
    assert (unknown["code"], unknown["message"]) == ("device_not_found", message)


def test_records_go_to_stdout(remote: Remote) -> None:
    command = [sys.executable, "-m", "edgesentry", "export", "--format", "ndjson", "--device", "lift-01"]
    done = subprocess.run([*command, *remote.arguments()], capture_output=True, check=True)
    assert list(read_records(done.stdout)) == [one for one in RECORDS if one.device_id == "lift-01"]


def test_heads_are_replaced_only_by_heads_that_extend_them(remote: Remote) -> None:
    Path("heads.json").write_text(
        json.dumps(
            {
                "version": 1,
                "heads": {
                    one.device_id: {"sequence": 5, "hash": one.hash().hex()}
                    for one in RECORDS
                    if one.sequence == 5
                },
            }
        )
    )
    assert remote.eds("heads", "-o", "heads.json")["heads"]["lift-01"]["sequence"] == 6000
    kept = Path("heads.json").read_text()
    changed = json.loads(kept)
    changed["heads"]["lift-01"]["hash"] = "00" * 32
    Path("other.json").write_text(json.dumps(changed))
    refused = remote.eds("heads", "-o", "other.json", exit_code=1)
    assert (refused["error"]["code"], refused["findings"][0]["code"]) == ("heads_rewritten", "head_mismatch")
    assert json.loads(Path("other.json").read_text()) == changed


def test_a_checkpoint_is_shown_and_verified(remote: Remote) -> None:
    policy = remote.folder / "policy"
    shown = remote.eds("checkpoint", "show", "--policy", policy)["checkpoint"]
    local = envelope("checkpoint", "show", "--config", remote.folder / "eds.toml")["checkpoint"]
    assert (shown["trusted"], local["trusted"]) == (True, False)
    assert shown["checkpoint"] == local["checkpoint"]
    remote.eds("checkpoint", "show", "-o", "checkpoint")
    assert Path("checkpoint").read_text() == shown["checkpoint"]
    other = envelope("checkpoint", "show", "--config", remote.folder / "eds.toml", "--policy", policy)
    assert other["checkpoint"]["trusted"] is True
    Path("other.toml").write_text(f'ledger = "sqlite:other.db"\n{LOG}')
    with edgesentry.open("other.db"):
        pass
    key = envelope("checkpoint", "init", "--config", "other.toml")["checkpoint"]["verifier_key"]
    Path("other-policy").write_text(f"log {key}\nquorum none\n")
    refused = remote.eds("checkpoint", "show", "--policy", "other-policy", "-o", "untrusted", exit_code=1)
    assert refused["error"]["message"].endswith("; no checkpoint was written")
    assert not Path("untrusted").exists()


def test_proofs_are_those_of_the_ledger(remote: Remote) -> None:
    policy, config = remote.folder / "policy", remote.folder / "eds.toml"
    checkpoint = remote.eds("checkpoint", "show", "-o", "checkpoint")["checkpoint"]
    for statement, kind, more in (
        (["record", "lift-01", "3"], "record", ["--device", "lift-01", "--sequence", "3"]),
        (["record", "lift-01", "3-5"], "run", ["--device", "lift-01", "--sequence", "3-5"]),
        (["head", "lift-02"], "head", ["--device", "lift-02"]),
        (["head", "ghost"], "absence", ["--device", "ghost"]),
        (["consistency", "checkpoint"], "consistency", ["--previous", "checkpoint"]),
    ):
        made = remote.eds("prove", *statement, "-o", "made.proof")["proof"]
        local = envelope("prove", *statement, "--config", config)["proof"]
        assert {**made, "file": None} == {**local, "file": None}
        assert (made["kind"], made["size"]) == (kind, checkpoint["size"])
        envelope("verify-proof", "made.proof", "--policy", policy, *more)
    missing = remote.eds("prove", "record", "lift-01", "7000", exit_code=3)["error"]["message"]
    assert missing.startswith(f'{remote.url}: not_logged: device "lift-01", sequence 7000: ')
    size = ["--size", "3"]
    assert "no_checkpoint" in remote.eds("prove", "head", "lift-01", *size, exit_code=3)["error"]["message"]


def test_a_token_is_named_when_it_is_missing_or_lacks_the_scope(remote: Remote) -> None:
    url = ["--url", remote.url]
    (remote.folder / "wrong.token").write_text("eds_unknown\n")
    tokens = {
        (): "unauthenticated: a token with the scope read is required: send Authorization: Bearer TOKEN",
        (
            "--token-file",
            str(remote.folder / "wrong.token"),
        ): "unauthenticated: the service does not know this "
        "token; its hash must be in the settings of the service: see eds token",
        (
            "--token-file",
            str(remote.folder / "gateway.token"),
        ): "scope_missing: the token gateway lacks the scope read; it has ingest",
    }
    commands = (
        ["export", "-o", "none.json"],
        ["heads", "-o", "none.json"],
        ["checkpoint", "show", "-o", "none.json"],
        ["prove", "head", "lift-01", "-o", "none.json"],
        ["device", "list"],
        ["log"],
    )
    for given, sentence in tokens.items():
        for command in commands:
            error = envelope(*command, *url, *given, exit_code=3)["error"]
            assert (error["code"], error["message"]) == ("service", f"{remote.url}: {sentence}"), command
    assert written() == []


def test_options_that_do_not_fit_are_refused(remote: Remote) -> None:
    for command in (
        ["export", "-o", "x.json", "--log"],
        ["export", "-o", "x.json", "--ledger", "ledger.db"],
        ["heads", "export.json"],
        ["heads", "--ledger", "ledger.db"],
        ["heads", "--keys", "keys.json"],
        ["checkpoint", "show", "--config", "eds.toml"],
        ["prove", "head", "lift-01", "--ledger", "ledger.db"],
    ):
        assert remote.eds(*command, exit_code=2)["error"]["code"] == "usage", command
    # An input is never replaced.
    remote.token.with_name("copy").write_text(remote.token.read_text())
    copy = str(remote.token.with_name("copy"))
    for command in (
        ["export", "-o", copy, "--format", "ndjson"],
        ["heads", "-o", copy],
        ["checkpoint", "show", "-o", copy],
        ["prove", "head", "lift-01", "-o", copy],
        ["device", "keys", "-o", copy],
    ):
        error = envelope(*command, "--url", remote.url, "--token-file", copy, exit_code=2)["error"]
        assert error["code"] in ("output_refused", "usage"), command
    assert Path(copy).read_text() == remote.token.read_text()


# A service that is not honest, or not a service.

PAGE = b"<!DOCTYPE html><title>Log in</title>"
COMMANDS = (
    ["export", "-o", "made.json"],
    ["export", "-o", "made.ndjson.zst", "--device", "lift-01"],
    ["heads", "-o", "made.json"],
    ["checkpoint", "show", "-o", "made.json"],
    ["prove", "record", "lift-01", "1", "-o", "made.json"],
    ["prove", "head", "lift-01", "-o", "made.json"],
    ["device", "keys", "-o", "made.json"],
)
Answer = Callable[[BaseHTTPRequestHandler], None]


def refused(answer: Answer, commands: tuple[list[str], ...] = COMMANDS) -> list[str]:
    """The messages of commands that read from a service with these responses. None writes a file."""
    messages = []
    with answering(answer) as url:
        for command in commands:
            line = [sys.executable, "-m", "edgesentry", *command, "--url", url]
            limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY, 4 * MEMORY))  # noqa: E731
            done = subprocess.run(
                line, capture_output=True, text=True, check=False, timeout=120, preexec_fn=limit
            )
            assert (done.returncode, done.stdout) == (3, ""), (command, done.stdout, done.stderr)
            assert "\x1b" not in done.stderr
            assert done.stderr.count("\n") == 1, done.stderr
            assert written() == [], command
            messages.append(done.stderr)
    return messages


@pytest.mark.parametrize("content", [b"", PAGE, b"[]", b"{}", b"[" * 100_000, b'"\x1b[31m"', b"\xff\xfe"])
def test_another_response_is_one_sentence(content: bytes) -> None:
    for message in refused(lambda handler: body(handler, content)):
        assert "the response to" in message


def test_a_redirect_is_not_followed() -> None:
    seen: list[str] = []

    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.path)
        body(handler, b"{}")

    with answering(elsewhere) as other:
        target = f"{other}/api/v1/devices"
        for message in refused(lambda handler: body(handler, b"", 307, Location=target)):
            assert f"http_307: the response is a redirect to {target}, which is not followed" in message
    assert seen == []
    for message in refused(
        lambda handler: body(handler, b"", 302, Location="https://x/\x1b[31m" + "y" * 9999)
    ):
        assert len(message) < 600


def test_a_response_that_ends_early_is_refused() -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"devices": [')

    for message in refused(cut):
        assert "unreachable: the response ended early" in message


def test_a_response_without_end_is_cut() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * (1 << 20))
        except OSError:
            pass

    for message in refused(endless):
        assert "response_invalid: the response has more than" in message


def entries(pages: Callable[[str], bytes]) -> Answer:
    """Responses of a service whose devices are honest and whose pages are not."""
    listed: dict[str, list[dict[str, object]]] = {
        "devices": [{"device_id": one.device_id, "keys": [], "head": None, "start": None} for one in DEVICES]
    }

    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = json.dumps(listed).encode() if "devices" in handler.path else pages(handler.path)
        body(handler, content)

    return answer


def constantly(content: bytes) -> Callable[[str], bytes]:
    return lambda _: content


def page(records: list[AuditRecord], following: str | None) -> bytes:
    return json.dumps({"records": [one.to_dict() for one in records], "next": following}).encode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (page(RECORDS[:1], f"1:{RECORDS[0].device_id}"), "a record that is not in its place"),
        (page([RECORDS[1], RECORDS[0]], None), "a record that is not in its place"),
        (page([RECORDS[0], RECORDS[0]], None), "a record that is not in its place"),
        (page(RECORDS[:2], "9:lift-01"), "next is not the last record of the page"),
        (page([], "1:lift-01"), "next is not the last record of the page"),
        (page(RECORDS[:2], None).replace(b'"sequence": 1', b'"sequence": -1'), "expected"),
        (b'{"records": {}, "next": null}', "records is not an array"),
        (b'{"records": [1], "next": null}', ""),
        (b'{"records": [', "EOF while parsing"),
        (PAGE, "expected value"),
    ],
)
def test_pages_out_of_order_are_refused(content: bytes, problem: str) -> None:
    [message] = refused(entries(lambda _: content), (["export", "-o", "made.json"],))
    assert (
        "response_invalid: the response to api/v1/records does not follow docs/reference/http.md: " in message
    )
    assert problem in message


def test_records_that_were_not_asked_for_are_refused() -> None:
    command = ["export", "-o", "made.json", "--from-sequence", "2", "--to-sequence", "3"]
    for number in (1, 4):
        wrong = page([one for one in RECORDS[:8] if one.sequence == number][:1], None)
        [message] = refused(entries(constantly(wrong)), (command,))
        assert "a record that is not in its place" in message
    other = page([one for one in RECORDS if one.device_id == "lift-02"][:1], None)
    [message] = refused(entries(lambda _: other), (["export", "-o", "made.json", "--device", "lift-01"],))
    assert "a record that is not in its place" in message


def test_a_connection_that_breaks_between_pages_leaves_no_file() -> None:
    mine = [one for one in RECORDS if one.device_id == "lift-01"][:2]

    def answer(path: str) -> bytes:
        if "after" in path:
            raise ConnectionAbortedError
        return page(mine, "2:lift-01")

    [message] = refused(entries(answer), (["export", "-o", "made.json"],))
    assert "unreachable" in message


def test_an_earlier_export_stays(remote: Remote) -> None:
    remote.eds("export", "-o", "kept.json", "--to-sequence", "3")
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    with answering(lambda handler: body(handler, PAGE)) as url:
        envelope("export", "-o", "kept.json", "--url", url, exit_code=3)
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_a_proof_of_something_else_is_refused(remote: Remote) -> None:
    other = remote.eds("prove", "record", "lift-01", "3")["proof"]["proof"].encode()
    commands = (
        ["prove", "record", "lift-01", "4"],
        ["prove", "record", "lift-02", "3"],
        ["prove", "record", "lift-01", "3-4"],
        ["prove", "head", "lift-01"],
        ["prove", "record", "lift-01", "3", "--size", "7"],
    )
    for message in refused(lambda handler: body(handler, other), commands):
        assert "is not the proof that was asked for" in message


def test_a_log_that_was_rewritten_is_a_finding(remote: Remote) -> None:
    kept = remote.eds("checkpoint", "show")["checkpoint"]["checkpoint"]
    root = kept.splitlines()[2]
    Path("older").write_text(kept.replace(root, "AAAA" + root[4:]))
    error = remote.eds("prove", "consistency", "older", "-o", "made.proof", exit_code=1)["error"]
    assert error["code"] == "checkpoint_inconsistent"
    Path("other").write_text(kept.replace("log.example/lifts", "log.example/other"))
    error = remote.eds("prove", "consistency", "other", "-o", "made.proof", exit_code=2)["error"]
    assert error["code"] == "log_origin"
    assert not Path("made.proof").exists()
