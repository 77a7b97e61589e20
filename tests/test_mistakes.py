"""Mistakes of newcomers: the exact sentence that names the argument, the value and the call that works."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

import edgesentry
from edgesentry import (
    FINDING_CODES,
    REJECTION_CODES,
    Client,
    ConfigError,
    Device,
    KeyRing,
    Outbox,
    Report,
    UnreadableError,
    read_records,
    verify_chain,
    verify_record,
    write_heads,
)
from edgesentry.testing import (
    CATALOGUE,
    LOG_CATALOGUE,
    MALFORMED_FILES,
    assert_report,
    attacks,
    found,
    make_fleet,
)
from support import chains, device, envelope, payload, serve

RECORDS = chains([device(1)], 3)
KEY = str(device(1).public_key)
BAD = [RECORDS[0], RECORDS[1].replace(timestamp_ms=1), RECORDS[2]]
FLEET = make_fleet(2, 4)
TAMPERED = CATALOGUE["delete_middle"](FLEET)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PROBLEM = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "a token is required"}


class Mistake(NamedTuple):
    """A call that is wrong, the type of its exception, and the whole message."""

    call: Callable[[], object]
    error: type[BaseException]
    sentence: str


SEED_KEY = str(Device.from_seed("a", bytes(32)).public_key)
ATTACKS = (
    "\"the catalogue has no attack 'bad_signature'; the nearest are replay_signature, zero_signature, "
    'flip_signature_s_bit, flip_signature_r_bit"'
)
LOG_ATTACKS = "\"the catalogue has no attack 'log_rebuild'; the nearest are log_rebuilt\""


def python_mistakes() -> dict[str, Mistake]:
    """Every mistake in Python by name; files are those of `folder`."""
    ledger = edgesentry.open
    return {
        "a report as a condition": Mistake(
            lambda: bool(verify_chain(RECORDS)),
            TypeError,
            "a report has no truth value: use report.ok, or report.raise_for_findings()",
        ),
        "an outcome as a condition": Mistake(
            lambda: bool(edgesentry.Outcome("lift-01", 1, "rejected")),
            TypeError,
            "an outcome has no truth value: use outcome.ok",
        ),
        "outcomes as a condition": Mistake(
            lambda: bool(edgesentry.Outcomes([])),
            TypeError,
            "outcomes have no truth value: use outcomes.ok, or outcomes.raise_for_rejections()",
        ),
        "heads of a report with findings": Mistake(
            lambda: write_heads(verify_chain(BAD), "heads.json"),
            ConfigError,
            "heads: the report has findings (1 prev_hash_mismatch), so its heads are not trusted; resolve "
            "them, or "
            "pass report.heads to trust the records as they are",
        ),
        "verification against a report with findings": Mistake(
            lambda: verify_chain(BAD, heads=verify_chain(BAD)),
            ConfigError,
            "heads: the report has findings (1 prev_hash_mismatch), so its heads are not trusted; resolve "
            "them, or "
            "pass report.heads to trust the records as they are",
        ),
        "heads of an empty report": Mistake(
            lambda: write_heads(verify_chain([]), "heads.json"),
            ConfigError,
            "heads: the report has no record, so it has no heads; give one of records",
        ),
        "a key ring as records": Mistake(
            lambda: verify_chain("keys.json"),
            UnreadableError,
            "keys.json: it is a key ring, not records; pass it with --keys (keys= in Python)",
        ),
        "heads as records": Mistake(
            lambda: verify_chain("heads.json"),
            UnreadableError,
            "heads.json: it is a heads snapshot, not records; pass it with --heads (heads= in Python)",
        ),
        "a manifest as records": Mistake(
            lambda: list(read_records("export.json.manifest.json")),
            UnreadableError,
            "export.json.manifest.json: it is the manifest of an export, not records; pass it with "
            "--manifest "
            "(manifest= in Python)",
        ),
        "an error response as records": Mistake(
            lambda: verify_chain(json.dumps(PROBLEM).encode()),
            UnreadableError,
            "bytes: it is the error response of a service (401, Unauthorized, a token is required), not "
            "records; "
            "correct the request that returned it",
        ),
        "a page as records": Mistake(
            lambda: verify_chain(b"<!DOCTYPE html><title>Log in</title>"),
            UnreadableError,
            "bytes: it is an HTML page, not records; check the request or the command that wrote it",
        ),
        "records as keys": Mistake(
            lambda: verify_chain("export.json", keys="export.json"),
            ConfigError,
            "export.json: it holds records, not a key ring; pass it as the input of the verification",
        ),
        "heads as keys": Mistake(
            lambda: KeyRing("heads.json"),
            ConfigError,
            "heads.json: it is a heads snapshot, not a key ring; pass it with --heads (heads= in Python)",
        ),
        "a manifest as heads": Mistake(
            lambda: verify_chain("export.json", heads="export.json.manifest.json"),
            ConfigError,
            "export.json.manifest.json: it is the manifest of an export, not a heads snapshot; pass it with "
            "--manifest (manifest= in Python)",
        ),
        "a key ring as heads": Mistake(
            lambda: verify_chain("export.json", heads="keys.json"),
            ConfigError,
            "keys.json: it is a key ring, not a heads snapshot; pass it with --keys (keys= in Python)",
        ),
        "a key ring as manifest": Mistake(
            lambda: verify_chain("export.json", manifest="keys.json"),
            ConfigError,
            "keys.json: it is a key ring, not a manifest; pass it with --keys (keys= in Python)",
        ),
        "a ledger as source": Mistake(
            lambda: verify_chain(ledger("ledger.db")),  # type: ignore[arg-type]
            TypeError,
            "a Ledger is verified in place: ledger.verify(keys=...); ledger.records() are its records",
        ),
        "an SQLite ledger as source": Mistake(
            lambda: verify_chain("ledger.db"),
            UnreadableError,
            "ledger.db: it is an SQLite database; if it is a ledger, verify it in place: eds verify-chain "
            "--ledger "
            "FILE",
        ),
        "the URL of a ledger as source": Mistake(
            lambda: verify_chain("postgres://eds:secret@db/audit"),
            UnreadableError,
            "postgres://…: it is the URL of a ledger; verify it in place: eds verify-chain --ledger URL, or "
            "edgesentry.open(URL).verify() in Python",
        ),
        "a web address as source": Mistake(
            lambda: verify_chain("https://example.com/export.json"),
            UnreadableError,
            "https://…: it is a URL; download it first: curl -f URL | eds verify-chain -",
        ),
        "the address of an object as source": Mistake(
            lambda: read_records("gs://bucket/export.parquet"),
            UnreadableError,
            "gs://…: it is the URL of an object; copy it to a file first",
        ),
        "a report as source": Mistake(
            lambda: verify_chain(verify_chain(RECORDS)),
            TypeError,
            "a report holds no records; pass the records that it is about",
        ),
        "a fleet as source": Mistake(
            lambda: verify_chain(FLEET),  # type: ignore[arg-type]
            TypeError,
            "a Fleet is not a source; pass fleet.records",
        ),
        "tampered evidence as source": Mistake(
            lambda: verify_chain(TAMPERED),  # type: ignore[arg-type]
            TypeError,
            "a Tampered is not a source; pass tampered.records",
        ),
        "a single record as source": Mistake(
            lambda: verify_chain(RECORDS[0]),  # type: ignore[arg-type]
            TypeError,
            "a single record is not a source; put it into a list",
        ),
        "a key without its device": Mistake(
            lambda: verify_chain(RECORDS, keys=KEY),
            ConfigError,
            'keys: a public key without its device; pass keys={"lift-01": key}',
        ),
        "the path of a ledger with its scheme as source": Mistake(
            lambda: verify_chain("sqlite:ledger.db"),
            UnreadableError,
            "sqlite:…: it is the URL of a ledger; verify it in place: eds verify-chain --ledger URL, or "
            "edgesentry.open(URL).verify() in Python",
        ),
        "a key ring as the key of a record": Mistake(
            lambda: verify_record(RECORDS[0], KeyRing({"lift-01": KEY})),  # type: ignore[arg-type]
            TypeError,
            "key must be 32 bytes: bytes, hex or integers from 0 to 255, not KeyRing",
        ),
        "a key in bytes": Mistake(
            lambda: verify_chain(RECORDS, keys=bytes.fromhex(KEY)),  # type: ignore[arg-type]
            TypeError,
            "keys are a path, a KeyRing, a Device or a list of them, or a mapping from device id to key, "
            "not bytes; "
            'one key is keys={"lift-01": key}',
        ),
        "a malformed key without its device": Mistake(
            lambda: verify_chain(RECORDS, keys="ab" * 32),
            ConfigError,
            'keys: a public key without its device; pass keys={"lift-01": key}',
        ),
        "a list of text as keys": Mistake(
            lambda: verify_chain(RECORDS, keys=[KEY]),  # type: ignore[list-item]
            TypeError,
            "keys are a path, a KeyRing, a Device or a list of them, or a mapping from device id to key, "
            'not list; one key is keys={"lift-01": key}',
        ),
        "a key of two devices in a key ring": Mistake(
            lambda: KeyRing({"lift-01": KEY, "lift-02": KEY}),
            UserWarning,
            'the key of device "lift-02" is also that of device "lift-01", so '
            "each can sign in the name of the other: give "
            "each device a key of its own",
        ),
        "a key that another device has": Mistake(
            lambda: KeyRing({"lift-01": KEY}).add("lift-02", KEY),
            UserWarning,
            'the key of device "lift-02" is also that of device "lift-01", so '
            "each can sign in the name of the other: give "
            "each device a key of its own",
        ),
        "a device that is not in the key ring": Mistake(
            lambda: KeyRing({"lift-01": KEY})["lift-1"],
            KeyError,
            "'no key of device \"lift-1\" among those of 1 device'",
        ),
        "payloads in a dict": Mistake(
            lambda: verify_chain(RECORDS, payloads={}),  # type: ignore[arg-type]
            TypeError,
            "payloads is the path of a directory, not dict: write each payload to the file that its "
            "object_ref names, "
            'and pass payloads="DIRECTORY"',
        ),
        "a payload of text": Mistake(
            lambda: device(1).sign("door open", "lift-01/1.bin"),  # type: ignore[arg-type]
            TypeError,
            "payload must be bytes, not str: payload.encode()",
        ),
        "a payload of a dict": Mistake(
            lambda: edgesentry.payload_hash({"door": 1}),  # type: ignore[arg-type]
            TypeError,
            "payload must be bytes, not dict: serialize it first, such as json.dumps(payload).encode()",
        ),
        "text in an outbox": Mistake(
            lambda: Outbox("outbox.db", device(1)).sign("door open", "lift-01/1.bin"),  # type: ignore[arg-type]
            TypeError,
            "payload must be bytes, not str: payload.encode()",
        ),
        "a time as float": Mistake(
            lambda: device(1).sign(b"x", "lift-01/1.bin", 1.5),  # type: ignore[arg-type]
            TypeError,
            "timestamp_ms must be an int of Unix milliseconds, not float: int(time.time() * 1000)",
        ),
        "a time as datetime": Mistake(
            lambda: device(1).sign(b"x", "lift-01/1.bin", NOW),  # type: ignore[arg-type]
            TypeError,
            "timestamp_ms must be an int of Unix milliseconds, not datetime: int(time.timestamp() * 1000)",
        ),
        "a time in seconds": Mistake(
            lambda: device(1).sign(b"x", "lift-01/1.bin", 1_700_000_000),
            UserWarning,
            "timestamp_ms=1700000000 is a time in 1970; if it is in seconds, pass milliseconds: "
            "timestamp_ms=1700000000000",
        ),
        "a time in microseconds": Mistake(
            lambda: device(1).sign(b"x", "lift-01/1.bin", 1_700_000_000_000_000),
            UserWarning,
            "timestamp_ms=1700000000000000 is a time after the year 33000; if it is in microseconds, pass "
            "milliseconds: timestamp_ms=1700000000000",
        ),
        "a record under the other scheme": Mistake(
            lambda: verify_record(
                Device.from_seed("a", bytes(32), scheme="payload-hash").sign(b"x", "a/1"), SEED_KEY
            ),
            UserWarning,
            'the signature holds under scheme payload-hash, not record: pass scheme="payload-hash"',
        ),
        "an unknown scheme": Mistake(
            lambda: Device.generate("lift-01", scheme="ed25519"),  # type: ignore[arg-type]
            ValueError,
            'unknown signature scheme "ed25519": use "payload-hash" or "record"',
        ),
        "an unknown level": Mistake(
            lambda: verify_chain(RECORDS, require="links"),  # type: ignore[arg-type]
            ValueError,
            'require must be signatures, payloads, heads or log, not "links"',
        ),
        "a required level without its input": Mistake(
            lambda: verify_chain(RECORDS, require="signatures"),
            ValueError,
            "signatures are required; give keys=",
        ),
        "the name of a file as the JSON of a report": Mistake(
            lambda: Report.from_json("verdict.json"),
            UnreadableError,
            "json: expected the JSON of a report, got other text; for a file: "
            'Report.from_json(Path("verdict.json").read_text())',
        ),
        "a path as the JSON of a report": Mistake(
            lambda: Report.from_json(Path("verdict.json")),  # type: ignore[arg-type]
            TypeError,
            "Report.from_json takes JSON as str or bytes, not PosixPath; for a file: "
            'Report.from_json(Path("verdict.json").read_text())',
        ),
        "an unknown code in a filter": Mistake(
            lambda: verify_chain(BAD).findings.filter(code="bad_signature"),  # type: ignore[arg-type]
            ValueError,
            'unknown finding code "bad_signature"; edgesentry.FINDING_CODES lists them',
        ),
        "an unknown level in a filter": Mistake(
            lambda: verify_chain(BAD).findings.filter(level="chain"),  # type: ignore[arg-type]
            ValueError,
            'unknown level "chain"; the levels are links, signatures, payloads, heads, log',
        ),
        "a number as device of a filter": Mistake(
            lambda: verify_chain(BAD).findings.filter(device=1),  # type: ignore[arg-type]
            TypeError,
            "device is a string or a list of strings, not int",
        ),
        "a field that a record lacks": Mistake(
            lambda: RECORDS[0].replace(time=1),
            ValueError,
            "a record has no field 'time'; it has device_id, sequence, timestamp_ms, payload_hash, "
            "signature, "
            "prev_record_hash, object_ref",
        ),
        "a report and evidence in the wrong order": Mistake(
            lambda: assert_report(TAMPERED, verify_chain(RECORDS)),  # type: ignore[arg-type]
            TypeError,
            "report is a Report, not Tampered: assert_report(report, expected)",
        ),
        "the findings of evidence": Mistake(
            lambda: found(TAMPERED),  # type: ignore[arg-type]
            TypeError,
            "report is a Report, not Tampered; found(verify_chain(tampered.records, ...))",
        ),
        "an attack on records": Mistake(
            lambda: CATALOGUE["delete_middle"](FLEET.records),  # type: ignore[arg-type]
            TypeError,
            "fleet is a Fleet, not tuple: CATALOGUE['delete_middle'](make_fleet())",
        ),
        "an edit of a fleet": Mistake(
            lambda: attacks.flip_signature_bit(FLEET, "lift-01", 2),  # type: ignore[arg-type]
            TypeError,
            "records are a sequence of records, not Fleet: pass fleet.records",
        ),
        "an attack on a record that does not exist": Mistake(
            lambda: attacks.flip_signature_bit(FLEET.records, "lift-01", 99),
            ValueError,
            "there is no record of device 'lift-01' at sequence 99",
        ),
        "a fleet without devices": Mistake(
            lambda: make_fleet(0), ValueError, "devices must be 1 or more, not 0"
        ),
        "an attack by another name": Mistake(
            lambda: CATALOGUE["bad_signature"],
            KeyError,
            ATTACKS,
        ),
        "the function of an attack by the name of the attack": Mistake(
            lambda: attacks.wrong_key,  # type: ignore[attr-defined]
            AttributeError,
            "attacks has no function 'wrong_key'; the nearest are sign_with_wrong_key, rewrite_with_key, "
            "sign_with_key_of_other_sequence",
        ),
        "a broken file by another name": Mistake(
            lambda: MALFORMED_FILES["line_cutt"],
            KeyError,
            "\"the catalogue has no broken file 'line_cutt'; the nearest are line_cut\"",
        ),
        "the device alone as victim": Mistake(
            lambda: CATALOGUE["delete_middle"](FLEET, "lift-01"),  # type: ignore[arg-type]
            TypeError,
            "victim is a pair of device and sequence, not 'lift-01': victim=(\"lift-01\", 5)",
        ),
        "a code as the expected findings": Mistake(
            lambda: assert_report(verify_chain(RECORDS), "sequence_gap"),  # type: ignore[arg-type]
            TypeError,
            "findings are a list, not str: assert_report(report, [('sequence_gap', device, sequence)])",
        ),
        "codes as the expected findings": Mistake(
            lambda: assert_report(verify_chain(RECORDS), ["sequence_gap"]),  # type: ignore[list-item]
            TypeError,
            "an expected finding is a tuple of code, device and sequence, not 'sequence_gap': "
            '("sequence_gap", "lift-01", 5)',
        ),
        "pairs as the expected findings": Mistake(
            lambda: assert_report(verify_chain(RECORDS), [("sequence_gap", 5)]),  # type: ignore[list-item]
            TypeError,
            "an expected finding is a tuple of code, device and sequence, not ('sequence_gap', 5): "
            '("sequence_gap", "lift-01", 5)',
        ),
        "findings of a report as the expected findings": Mistake(
            lambda: assert_report(verify_chain(RECORDS), verify_chain(BAD).findings),  # type: ignore[arg-type]
            TypeError,
            "an expected finding is a tuple of code, device and sequence, not Finding: Expected.of(finding)",
        ),
        "an unknown level that must be checked": Mistake(
            lambda: assert_report(verify_chain(RECORDS), checked=["signature"]),  # type: ignore[list-item]
            ValueError,
            "checked: unknown level 'signature'; the levels are signatures, payloads, heads, log",
        ),
        "one level in place of a list": Mistake(
            lambda: assert_report(verify_chain(RECORDS), checked="signatures"),  # type: ignore[arg-type]
            TypeError,
            "checked is a list of levels, not str: checked=['signatures']",
        ),
        "an unknown level of expected findings": Mistake(
            lambda: TAMPERED.expected("signature"),  # type: ignore[arg-type]
            ValueError,
            "unknown level 'signature'; the levels are signatures, payloads, heads",
        ),
        "an unknown scheme of expected findings": Mistake(
            lambda: TAMPERED.expected("signatures", scheme="records"),  # type: ignore[arg-type]
            ValueError,
            "unknown scheme 'records': use 'record' or 'payload-hash'",
        ),
        "an unknown outcome in the operation log": Mistake(
            lambda: ledger("ledger.db").operation_log(outcome="reject"),
            ValueError,
            "unknown outcome 'reject': use accepted, duplicate or rejected",
        ),
        "an unknown reason in the operation log": Mistake(
            lambda: ledger("ledger.db").operation_log(reason="gap"),  # type: ignore[arg-type]
            ValueError,
            f"unknown reason 'gap': use {', '.join(REJECTION_CODES)} or log_conflict",
        ),
        "an unknown reason in the operation log of a service": Mistake(
            lambda: Client("http://127.0.0.1:9").operation_log(reason="gap"),  # type: ignore[arg-type]
            ValueError,
            f"unknown reason 'gap': use {', '.join(REJECTION_CODES)} or log_conflict",
        ),
        "an attack on the log by another name": Mistake(
            lambda: LOG_CATALOGUE["log_rebuild"],
            KeyError,
            LOG_ATTACKS,
        ),
    }


CODES = ", ".join(FINDING_CODES)
MISTAKES = python_mistakes()


class Refused(NamedTuple):
    """A command that is wrong, its exit code, the code of its error, and the whole message."""

    line: str
    exit_code: int
    code: str
    sentence: str


COMMANDS = [
    Refused(
        "verify-chain keys.json",
        3,
        "unreadable",
        "keys.json: it is a key ring, not records; pass it with --keys (keys= in Python)",
    ),
    Refused(
        "verify-chain heads.json",
        3,
        "unreadable",
        "heads.json: it is a heads snapshot, not records; pass it with --heads (heads= in Python)",
    ),
    Refused(
        "verify-chain export.json.manifest.json",
        3,
        "unreadable",
        "export.json.manifest.json: it is the manifest of an export, not records; pass it with --manifest "
        "(manifest= in Python)",
    ),
    Refused(
        "verify-chain problem.json",
        3,
        "unreadable",
        "problem.json: it is the error response of a service (401, Unauthorized, a token is required), not "
        "records; "
        "correct the request that returned it",
    ),
    Refused(
        "verify-chain verdict.json",
        3,
        "unreadable",
        "verdict.json: it is the output of eds --json, not records; eds report shows the report in it",
    ),
    Refused(
        "verify-record keys.json --keys keys.json",
        3,
        "unreadable",
        "keys.json: it is a key ring, not records; pass it with --keys (keys= in Python)",
    ),
    Refused(
        "heads keys.json",
        3,
        "unreadable",
        "keys.json: it is a key ring, not records; pass it with --keys (keys= in Python)",
    ),
    Refused(
        "verify-chain export.json --keys export.json",
        2,
        "keys",
        "export.json: it holds records, not a key ring; pass it as the input of the verification",
    ),
    Refused(
        "verify-chain export.json --heads export.json.manifest.json",
        2,
        "heads",
        "export.json.manifest.json: it is the manifest of an export, not a heads snapshot; pass it with "
        "--manifest "
        "(manifest= in Python)",
    ),
    Refused(
        "verify-chain export.json --heads keys.json",
        2,
        "heads",
        "keys.json: it is a key ring, not a heads snapshot; pass it with --keys (keys= in Python)",
    ),
    Refused(
        "verify-chain export.json --manifest keys.json",
        2,
        "config",
        "keys.json: it is a key ring, not a manifest; pass it with --keys (keys= in Python)",
    ),
    Refused(
        "verify-chain postgres://eds:secret@db/audit",
        3,
        "unreadable",
        "postgres://…: it is the URL of a ledger; verify it in place: eds verify-chain --ledger URL, or "
        "edgesentry.open(URL).verify() in Python",
    ),
    Refused(
        "verify-chain https://example.com/export.json",
        3,
        "unreadable",
        "https://…: it is a URL; download it first: curl -f URL | eds verify-chain -",
    ),
    Refused(
        "verify-chain sqlite:ledger.db",
        3,
        "unreadable",
        "sqlite:…: it is the URL of a ledger; verify it in place: eds verify-chain --ledger URL, or "
        "edgesentry.open(URL).verify() in Python",
    ),
    Refused(
        "verify-chain export.json --keys keygen.json",
        2,
        "keys",
        "keygen.json: it is the output of eds keygen --json, not a key ring",
    ),
    Refused(
        f"sign-record --key {KEY} --device lift-01 --payload nothing --object-ref lift-01/1.bin",
        2,
        "usage",
        "expected the path of a seed file, got 64 hex digits; eds keygen writes a seed file",
    ),
    Refused(
        "ingest export.json --payloads empty --ledger ledger.db --payload-store folder:payloads",
        2,
        "config",
        "payloads: the payload directory does not exist; create it, or run eds config check --create",
    ),
    Refused(
        "prove record lift-01 1 --ledger ledger.db",
        2,
        "config",
        "{folder}/ledger.db.log: the directory of the transparency log does not exist; eds checkpoint init "
        "opens a log, and log.store names another directory",
    ),
    Refused(
        "heads broken.json",
        1,
        "chain_broken",
        "no snapshot was written, because the chains do not hold (sequence_gap 1, prev_hash_mismatch 1) and "
        "later exports would be trusted against it; see eds verify-chain for each finding, or write it "
        "anyway with --force",
    ),
    Refused(
        "verify-chain ledger.db",
        3,
        "unreadable",
        "ledger.db: it is an SQLite database; if it is a ledger, verify it in place: eds verify-chain "
        "--ledger FILE",
    ),
    Refused(
        "verify-chain export.json --require signatures",
        2,
        "required_input_missing",
        "--require signatures needs --keys FILE; nothing was read",
    ),
    Refused(
        "report keys.json",
        2,
        "report_unreadable",
        "keys.json: it is a key ring, not a report; pass it with --keys (keys= in Python)",
    ),
    Refused(
        "report export.json",
        2,
        "report_unreadable",
        "export.json: it holds records, not a report; pass it as the input of the verification",
    ),
    Refused(
        "inspect-key lift-01",
        2,
        "key_malformed",
        "lift-01: neither a file nor a public key of 64 hex digits",
    ),
    Refused(
        "inspect-key export.json",
        2,
        "key_malformed",
        "export.json: neither a seed file nor a public key; a seed file holds 64 hex digits and a newline, a "
        "public key is PEM, DER, SSH, JWK or base64",
    ),
    Refused(
        "inspect-key public.hex",
        2,
        "seed_file_shared",
        "public.hex: mode 0644 lets others read or change the seed; run: chmod 600 public.hex; if it is a "
        "public key, pass its 64 hex digits in place of the file",
    ),
    Refused(
        "inspect-key private.pem",
        2,
        "key_malformed",
        "private.pem: this is a private key; give the public one, which openssl pkey -pubout or ssh-keygen "
        "-y writes",
    ),
    Refused(
        "keygen --scheme ed25519",
        2,
        "usage",
        "invalid value 'ed25519' for '--scheme <SCHEME>' [possible values: record, payload-hash]",
    ),
    Refused(
        "export --ledger ledger.db -o export.csv",
        2,
        "usage",
        "--output export.csv: its name has no known format; end it in .json, .ndjson, .arrow or .parquet, "
        "the first two also with .gz or .zst on top",
    ),
    Refused(
        "serve --ledger absent.db",
        2,
        "config",
        "absent.db: there is no ledger; eds serve --create and eds ingest --register create one, or set "
        "sqlite:PATH or postgres://…",
    ),
    Refused(
        "explain signature_bad",
        2,
        "usage",
        f"invalid value 'signature_bad' for '[CODE]' [possible values: {CODES}]",
    ),
    Refused(
        "verify-chain absent.json",
        2,
        "io",
        "absent.json: cannot open: No such file or directory (os error 2)",
    ),
    Refused(
        "verify absent.json",
        2,
        "io",
        "absent.json: cannot open: No such file or directory (os error 2)",
    ),
    Refused(
        "heads export.json -o absent/heads.json",
        2,
        "io",
        "absent/heads.json: cannot write: there is no directory absent; create it first",
    ),
    Refused(
        "keygen -o absent/lift-01.seed",
        2,
        "io",
        "absent/lift-01.seed: cannot write the seed file: there is no directory absent; create it first",
    ),
    Refused(
        "verify-chain checkpoint",
        3,
        "unreadable",
        "checkpoint: it is a signed note, not records; pass a checkpoint with --checkpoint "
        "(checkpoint= in Python)",
    ),
    Refused(
        "verify-chain lift-01.seed",
        3,
        "unreadable",
        "lift-01.seed: it is a seed file or a public key, not records",
    ),
    Refused(
        "verify-chain keys.json.gz",
        3,
        "unreadable",
        "keys.json.gz: it is a key ring, not records; pass it with --keys (keys= in Python)",
    ),
    Refused(
        "verify-chain empty",
        3,
        "unreadable",
        "empty: the directory has no files; name one with exports",
    ),
    Refused(
        "ingest page.html --payloads . --ledger ledger.db",
        3,
        "unreadable",
        "page.html: it is an HTML page, not records; check the request or the command that wrote it",
    ),
    Refused(
        "keys follow heads.json --keys keys.json",
        3,
        "unreadable",
        "heads.json: it is a heads snapshot, not records; pass it with --heads (heads= in Python)",
    ),
    Refused(
        "verify-bundle keys.json",
        3,
        "unreadable",
        "keys.json: it is a key ring, not a bundle; pass it with --keys (keys= in Python)",
    ),
    Refused(
        "verify-bundle export.json",
        3,
        "unreadable",
        "export.json: it holds records, not a bundle; pass it as the input of the verification",
    ),
    Refused(
        "verify-bundle page.html",
        3,
        "unreadable",
        "page.html: it is an HTML page, not a bundle; check the request or the command that wrote it",
    ),
    Refused(
        "verify-bundle problem.json",
        3,
        "unreadable",
        "problem.json: it is the error response of a service (401, Unauthorized, a token is "
        "required), not a bundle; correct the request that returned it",
    ),
    Refused(
        "verify-chain export.json --keys page.html",
        2,
        "keys",
        "page.html: it is an HTML page, not a key ring; check the request or the command that wrote it",
    ),
    Refused(
        "verify-chain export.json --keys keys.json.gz",
        2,
        "keys",
        "keys.json.gz: it is compressed data, not a key ring; decompress it first: gzip -dc or zstd -dc",
    ),
    Refused(
        "verify-chain export.json --heads nothing",
        2,
        "heads",
        "nothing: it is empty, not a heads snapshot",
    ),
    Refused(
        "report page.html",
        2,
        "report_unreadable",
        "page.html: it is an HTML page, not a report; check the request or the command that wrote it",
    ),
    Refused(
        "inspect-key keys.json",
        2,
        "key_malformed",
        "keys.json: it is a key ring, not a key; pass it with --keys (keys= in Python)",
    ),
    Refused(
        "verify-chain export.json --payloads s3://audit",
        2,
        "payloads_unreadable",
        "s3://audit: --payloads is a directory; a payload store is --payload-store",
    ),
    Refused(
        "device register lift-02 --public-key lift-01.seed --ledger ledger.db",
        2,
        "key",
        "--public-key: lift-01.seed is a file; pass the key in it, which eds inspect-key lift-01.seed shows",
    ),
    Refused(
        "device list --ledger absent.db",
        2,
        "config",
        "absent.db: there is no ledger; eds serve --create and eds ingest --register create one, or "
        "set sqlite:PATH or postgres://…",
    ),
    Refused(
        "device list --ledger empty",
        2,
        "config",
        "empty: it is a directory, not a ledger",
    ),
    Refused(
        "monitor --state absent.db --findings",
        2,
        "config",
        "absent.db: there is no state of a monitor; eds monitor URL --policy POLICY --state "
        "absent.db makes one",
    ),
    Refused(
        "serve --listen 8080",
        2,
        "usage",
        "invalid value '8080' for '--listen <ADDRESS:PORT>': expected an IP address and a port, such "
        "as 127.0.0.1:8080 or [::]:8080",
    ),
    Refused(
        "serve --log-format yaml",
        2,
        "usage",
        "invalid value 'yaml' for '--log-format <FORMAT>' [possible values: auto, text, json, off]",
    ),
    Refused(
        "log --ledger ledger.db --since yesterday",
        2,
        "usage",
        "invalid value 'yesterday' for '--since <TIME>': neither a time such as 2026-01-31T12:00:00Z "
        "nor Unix milliseconds",
    ),
    Refused(
        "token Auditor --scope read",
        2,
        "usage",
        "invalid value 'Auditor' for '<NAME>': expected a name of lower-case letters, digits, - and _",
    ),
    Refused(
        "verify-chain export.json -q -v",
        2,
        "usage",
        "the argument '--quiet' cannot be used with '--verbose...'",
    ),
]


class Request(NamedTuple):
    """A request that is wrong, the scope of its token, and the whole problem: status, code and detail."""

    method: str
    path: str
    scope: str | None
    body: str | None
    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = {}


NEW_KEY = '"key":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"'
BASE64 = base64.b64encode(bytes.fromhex(KEY)).decode()
RECORD = json.dumps(RECORDS[0].to_dict())


def sent(payload_hex: str, **changes: object) -> str:
    """The body of a record with a payload, of which some fields are changed."""
    return json.dumps({"record": {**RECORDS[0].to_dict(), **changes}, "raw_payload_hex": payload_hex})


SENT = sent(payload(RECORDS[0]).hex())
DEVICES = "/api/v1/devices"
REQUESTS = [
    Request(
        "GET",
        DEVICES,
        None,
        None,
        401,
        "unauthenticated",
        "a token with the scope read is required: send Authorization: Bearer TOKEN",
    ),
    Request(
        "GET",
        DEVICES,
        "unknown",
        None,
        401,
        "unauthenticated",
        "the service does not know this token; its hash must be in the settings of the service: "
        "see eds token",
    ),
    Request(
        "GET",
        DEVICES,
        "ingest",
        None,
        403,
        "scope_missing",
        "the token ingest lacks the scope read; it has ingest",
    ),
    Request(
        "POST",
        DEVICES,
        "read",
        "{}",
        403,
        "scope_missing",
        "the token read lacks the scope admin; it has read",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","key":"00"}', 400, "malformed"),
        "key: expected 64 hex digits, got 2 characters; eds inspect-key shows the digits of a "
        "key in another form",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","key":"' + "00" * 32 + '"}', 400, "malformed"),
        f"key: weak key: {'00' * 32} is a point of small order, under which anyone can sign",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","public_key":"00"}', 400, "malformed"),
        "public_key: unknown field `public_key`, expected one of `device_id`, `key`, `scheme`, "
        "`valid_from`, `start` at line 1 column 29",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a"}', 400, "malformed"),
        "body: missing field `key` at line 1 column 17",
    ),
    Request(
        *("POST", DEVICES, "admin", "device_id=a", 400, "malformed"),
        "body: expected a JSON object, got other text: expected value at line 1 column 1",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","scheme":"ed25519",' + NEW_KEY + "}", 400, "malformed"),
        'scheme: unknown signature scheme "ed25519": use "payload-hash" or "record"',
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"",' + NEW_KEY + "}", 409, "registry"),
        'device "": a device id has 1 to 1024 bytes and no U+0000',
    ),
    Request(
        *("POST", f"{DEVICES}/revoke", "admin", '{"device_id":"ghost"}', 409, "registry"),
        'device "ghost": it is not registered; eds device list shows the registered ones',
    ),
    Request(
        "GET",
        "/api/v1/records?limit=0",
        "read",
        None,
        400,
        "malformed",
        "query: `limit` must be 1 to 10000, not 0",
    ),
    Request(
        *("GET", "/api/v1/records?after=x", "read", None, 400, "malformed"),
        "query: `after` must be the `next` value of the previous page",
    ),
    Request(
        *("GET", "/api/v1/records?device=lift-01", "read", None, 400, "malformed"),
        "query: device: unknown field `device`, expected one of `device_id`, `from_sequence`, `to_sequence`, "
        "`from_ms`, `before_ms`, `after`, `limit`",
    ),
    Request(
        *("GET", "/api/v1/log?after_id=-1", "read", None, 400, "malformed"),
        'query: after_id: expected a natural number, not "-1"',
    ),
    Request(
        *("GET", "/api/v1/export?format=csv", "read", None, 400, "malformed"),
        "query: `format` must be ndjson, json, arrow or parquet, the first two also with .gz or "
        '.zst, not "csv"',
    ),
    Request(
        *("GET", "/api/v1/log/proof?device_id=lift-01", "read", None, 400, "malformed"),
        "query: missing field `sequence`",
    ),
    Request(
        *("GET", "/api/v1/log/status", "read", None, 404, "no_log"),
        "the ledger of this service has no transparency log; see the section log of its settings",
    ),
    Request(
        *("GET", "/api/v1/ledger", "read", None, 404, "not_found"),
        "the path /api/v1/ledger does not exist; /openapi.json lists the paths",
    ),
    Request(
        *("DELETE", DEVICES, "read", None, 405, "method_not_allowed"),
        "the path /api/v1/devices does not support DELETE; the header Allow lists its methods",
    ),
    Request(
        *("POST", "/api/v1/ingest", None, "{}", 401, "unauthenticated"),
        "only known senders may send records: present a client certificate, or a token with the scope ingest",
    ),
    Request(
        *("POST", "/api/v1/ingest", "ingest", "{}", 400, "malformed"),
        "expected a record with its payload: missing field `record` at line 1 column 2",
    ),
    Request(
        *("POST", DEVICES, "admin", "device_id=a&key=b", 400, "malformed"),
        "body: expected a JSON object, got application/x-www-form-urlencoded; with curl: --json '{...}'",
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
    Request(
        *("POST", DEVICES, "admin", "<device/>", 400, "malformed"),
        "body: expected a JSON object, got text/xml; with curl: --json '{...}'",
        {"Content-Type": "text/xml"},
    ),
    Request(*("POST", DEVICES, "admin", "", 400, "malformed"), "body: expected a JSON object, got nothing"),
    Request(
        *("POST", DEVICES, "admin", "[]", 400, "malformed"),
        "body: invalid length 0, expected a JSON object with device_id and key at line 1 column 2",
    ),
    Request(
        *("POST", DEVICES, "admin", '"lift-01"', 400, "malformed"),
        'body: invalid type: string "lift-01", expected a JSON object with device_id and '
        "key at line 1 column 9",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","key":5}', 400, "malformed"),
        "key: invalid type: integer `5`, expected a string at line 1 column 24",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","key":"' + BASE64 + '"}', 400, "malformed"),
        "key: expected 64 hex digits, got 44 characters; eds inspect-key shows the "
        "digits of a key in another form",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","device_id":"b"}', 400, "malformed"),
        "body: duplicate field `device_id` at line 1 column 28",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","valid_from":"1"}', 400, "malformed"),
        'valid_from: invalid type: string "1", expected a natural number at line 1 column 33',
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","valid_from":-1}', 400, "malformed"),
        "valid_from: invalid value: integer `-1`, expected a natural number at line 1 column 32",
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","start":{"sequence":1,"hash":"00"}}', 400, "malformed"),
        'start.hash: a hash is 64 hex digits, not "00" at line 1 column 51',
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a","valid_from":0,' + NEW_KEY + "}", 409, "registry"),
        'device "a": sequences go from 1 to 9223372036854775807',
    ),
    Request(
        *("POST", DEVICES, "admin", '{"device_id":"a"', 400, "malformed"),
        "body: expected a JSON object, got other text: EOF while parsing an object at line 1 column 16",
    ),
    Request(
        *("POST", DEVICES, "admin", "{}", 415, "encoding_unknown"),
        'unsupported Content-Encoding "br"; expected identity, gzip or zstd',
        {"Content-Encoding": "br"},
    ),
    Request(
        *("POST", DEVICES, "admin", "{}", 400, "malformed"),
        "the body ended early or cannot be decompressed: unexpected end of file",
        {"Content-Encoding": "gzip"},
    ),
    Request(
        *("POST", DEVICES, "admin", " " * 70_000, 413, "too_large"), "the body is longer than 65536 bytes"
    ),
    Request(
        *("POST", DEVICES, None, "{}", 401, "unauthenticated"),
        "Authorization: expected Bearer TOKEN, got another scheme or no token",
        {"Authorization": "Basic YTpi"},
    ),
    Request(
        *("GET", DEVICES, "admin", None, 403, "scope_missing"),
        "the token admin lacks the scope read; it has admin",
    ),
    Request(
        *("POST", f"{DEVICES}/revoke", "admin", '{"device_id":"a","reason":"stolen"}', 400, "malformed"),
        'reason: unknown reason "stolen": use unspecified, compromised, superseded, retired or lost',
    ),
    Request(
        *("POST", f"{DEVICES}/revoke", "admin", '{"device_id":""}', 400, "malformed"),
        "device_id: expected 1 to 1024 bytes without U+0000",
    ),
    Request(
        *("POST", "/api/v1/erasures", "admin", '{"device_id":"a","sequence":1}', 400, "malformed"),
        "body: missing field `reason` at line 1 column 30",
    ),
    Request(
        *("GET", "/api/v1/records?limit=all", "read", None, 400, "malformed"),
        'query: limit: expected a natural number, not "all"',
    ),
    Request(
        *("GET", "/api/v1/records?limit=", "read", None, 400, "malformed"),
        'query: limit: expected a natural number, not ""',
    ),
    Request(
        *("GET", "/api/v1/records?limit=1&limit=2", "read", None, 400, "malformed"),
        "query: duplicate field `limit`",
    ),
    Request(
        *("GET", "/api/v1/records?device_id=", "read", None, 400, "malformed"),
        "device_id: expected 1 to 1024 bytes without U+0000",
    ),
    Request(
        *("GET", "/api/v1/records?from_sequence=99999999999999999999", "read", None, 400, "malformed"),
        'query: from_sequence: expected a smaller number, not "99999999999999999999"',
    ),
    Request(
        *("GET", "/api/v1/records?from_sequence=5&to_sequence=3", "read", None, 400, "malformed"),
        "query: from_sequence 5 is above to_sequence 3, so no record can match",
    ),
    Request(
        *("GET", "/api/v1/export?from_ms=9&before_ms=9", "read", None, 400, "malformed"),
        "query: from_ms 9 is not before before_ms 9, so no record can match",
    ),
    Request(
        *("GET", "/api/v1/export?token=eds_unknown", None, None, 401, "unauthenticated"),
        "a token with the scope read is required: send Authorization: Bearer TOKEN",
    ),
    Request(
        *("GET", "/api/v1/log?outcome=ok", "read", None, 400, "malformed"),
        'query: `outcome` must be accepted, duplicate or rejected, not "ok"',
    ),
    Request(
        *("GET", "/api/v1/log?newest=yes", "read", None, 400, "malformed"),
        'query: newest: expected true or false, not "yes"',
    ),
    Request(
        *("GET", "/api/v1/log?since_ms=2026-01-31", "read", None, 400, "malformed"),
        'query: since_ms: expected a natural number, not "2026-01-31"',
    ),
    Request(
        *("GET", "/api/v1/log/proof?device_id=lift-01&sequence=first", "read", None, 400, "malformed"),
        'query: sequence: expected a natural number, not "first"',
    ),
    Request(
        *("GET", "/api/v1/log/consistency", "read", None, 400, "malformed"), "query: missing field `from`"
    ),
    Request(
        *("GET", f"{DEVICES}/", "read", None, 404, "not_found"),
        "the path /api/v1/devices/ does not exist; /openapi.json lists the paths",
    ),
    Request(
        *("GET", "/api/v2/devices", "read", None, 404, "not_found"),
        "the path /api/v2/devices does not exist; /openapi.json lists the paths",
    ),
    Request(
        *("POST", "/api/v1/heads", "read", "{}", 405, "method_not_allowed"),
        "the path /api/v1/heads does not support POST; the header Allow lists its methods",
    ),
    Request(
        *("GET", "/api/v1/ingest", "ingest", None, 405, "method_not_allowed"),
        "the path /api/v1/ingest does not support GET; the header Allow lists its methods",
    ),
    Request(
        *("POST", "/api/v1/ingest", "read", "{}", 403, "scope_missing"),
        "the token read lacks the scope ingest; it has read",
    ),
    Request(
        *("POST", "/api/v1/ingest", "ingest", "[]", 400, "malformed"),
        "expected a record with its payload: invalid length 0, expected a JSON object "
        "with record and raw_payload_hex at line 1 column 2",
    ),
    Request(
        *("POST", "/api/v1/ingest", "ingest", RECORD, 400, "malformed"),
        "expected a record with its payload: unknown field `device_id`, expected "
        "`record` or `raw_payload_hex` at line 1 column 12",
    ),
    Request(
        *("POST", "/api/v1/ingest", "ingest", sent("ZG9vciBvcGVu"), 400, "malformed"),
        "raw_payload_hex: expected the payload in hex digits: Invalid character 'Z' at position 0",
    ),
    Request(
        *("POST", "/api/v1/ingest", "ingest", sent("646"), 400, "malformed"),
        "raw_payload_hex: expected the payload in hex digits: Odd number of digits",
    ),
    Request(
        *("POST", "/api/v1/ingest", "ingest", sent("00", signature="00"), 400, "malformed"),
        "record: expected an audit record: an object with exactly the seven fields, "
        "found byte 171: expected 128 hex digits, found 2",
    ),
    Request(
        *("POST", "/api/v1/ingest", "ingest", sent("00", sequence="1"), 400, "malformed"),
        "record: expected an audit record: an object with exactly the seven fields, "
        'found byte 39: invalid type: string "1", expected u64',
    ),
    Request(
        *("POST", "/api/v1/ingest", "ingest", sent("00"), 422, "payload_hash_mismatch"),
        "expected 00f05ca919fafd2826bf9445ec2d73017585ccc2fc09f60b1168300da8e9f959, "
        "found 2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    ),
    Request(
        *("POST", "/api/v1/ingest", "ingest", SENT, 422, "unknown_device"),
        'expected a registered device, found "lift-01"',
    ),
    Request(
        *("GET", "/log/checkpoint", "read", None, 404, "no_log"),
        "the ledger of this service has no transparency log; see the section log of its settings",
    ),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str | None, str]]]:
    """The URL of a service, and a token for each scope."""
    folder = tmp_path_factory.mktemp("service")
    settings: str = ""
    tokens: dict[str | None, str] = {None: "", "unknown": "eds_unknown"}
    for scope in ("ingest", "read", "admin"):
        command = [sys.executable, "-m", "edgesentry", "token", scope, "--scope", scope]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        tokens[scope], settings = made.stdout.strip(), settings + made.stderr
    (folder / "eds.toml").write_text(settings)
    ledger = f"sqlite:{folder / 'ledger.db'}"
    with serve(ledger, "--create", "--payload-store", "ledger", "--config", str(folder / "eds.toml")) as url:
        yield url, tokens


@pytest.mark.parametrize("wrong", REQUESTS, ids=lambda wrong: f"{wrong.method} {wrong.path} {wrong.code}")
def test_a_mistake_over_http_names_the_remedy(
    wrong: Request, service: tuple[str, dict[str | None, str]]
) -> None:
    url, tokens = service
    made = urllib.request.Request(f"{url}{wrong.path}", method=wrong.method)
    made.data = None if wrong.body is None else wrong.body.encode()
    made.add_header("Content-Type", "application/json")
    for header, value in wrong.headers.items():
        made.add_header(header, value)
    if wrong.scope is not None:
        made.add_header("Authorization", f"Bearer {tokens[wrong.scope]}")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(made, timeout=30)
    problem = json.loads(raised.value.read())
    assert (problem["status"], problem["code"], problem["detail"]) == (
        wrong.status,
        wrong.code,
        wrong.detail,
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with an export, its keys, heads and manifest, and a ledger."""
    monkeypatch.chdir(tmp_path)
    KeyRing({"lift-01": device(1).public_key}).save("keys.json")
    write_heads(verify_chain(RECORDS), "heads.json")
    Path("problem.json").write_text(json.dumps(PROBLEM))
    Path("public.hex").write_text(f"{KEY}\n")
    Path("public.hex").chmod(0o644)
    Path("private.pem").write_text("-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n")
    Path("page.html").write_text("<!DOCTYPE html><title>Log in</title>")
    Path("keys.json.gz").write_bytes(gzip.compress(Path("keys.json").read_bytes()))
    Path("checkpoint").write_text("log.example/lifts\n1\nAAAA\n\n— log.example/lifts AAAA\n")
    Path("lift-01.seed").write_text(f"{'01' * 32}\n")
    Path("lift-01.seed").chmod(0o600)
    Path("nothing").touch()
    Path("empty").mkdir()
    Path("keygen.json").write_text('{"edgesentry": {"envelope": 1}, "command": "keygen", "ok": true}')
    five = chains([device(1)], 5)
    edgesentry.write_records([five[0], five[1].replace(timestamp_ms=1), five[2], five[4]], "broken.json")
    Path("verdict.json").write_text('{"edgesentry": {"envelope": 1}, "command": "verify-chain", "ok": true}')
    with edgesentry.open("ledger.db") as ledger:
        ledger.register_device(device(1))
        ledger.ingest_many([(record, payload(record)) for record in RECORDS]).raise_for_rejections()
        ledger.export("export.json")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_python_names_the_remedy(name: str) -> None:
    mistake = MISTAKES[name]
    if issubclass(mistake.error, Warning):
        with pytest.warns(mistake.error) as warned:
            mistake.call()
        assert [str(one.message) for one in warned] == [mistake.sentence]
        return
    with pytest.raises(mistake.error) as raised:
        mistake.call()
    assert str(raised.value) == mistake.sentence


@pytest.mark.parametrize("refused", COMMANDS, ids=lambda refused: refused.line)
def test_a_mistake_on_the_command_line_names_the_remedy(refused: Refused) -> None:
    made = envelope(*refused.line.split(), exit_code=refused.exit_code)
    assert "report" not in made
    sentence = refused.sentence.replace("{folder}", str(Path.cwd()))
    assert (made["error"]["code"], made["error"]["message"]) == (refused.code, sentence)


def test_a_time_in_seconds_on_the_command_line_is_signed_with_a_warning() -> None:
    command = [
        sys.executable,
        "-m",
        "edgesentry",
        "sign-record",
        "--key",
        "lift-01.seed",
        "--device",
        "lift-01",
    ]
    command += ["--payload", "nothing", "--object-ref", "lift-01/1.bin", "--timestamp-ms", "1700000000"]
    signed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(signed.stdout)["timestamp_ms"] == 1_700_000_000
    assert signed.stderr == (
        "warning: --timestamp-ms 1700000000 is a time in 1970; if it is in seconds, pass milliseconds: "
        "--timestamp-ms 1700000000000\n"
    )


def test_the_catalogue_grows() -> None:
    """Of each kind some."""
    assert len(MISTAKES) + len(COMMANDS) >= 60
    assert len(REQUESTS) >= 60


def test_a_star_import_keeps_the_built_in_open() -> None:
    """`open("notes.txt", "w")` would make a ledger and a directory `w`."""
    names: dict[str, object] = {}
    exec("from edgesentry import *", names)
    assert "verify_chain" in names
    assert "open" not in names
