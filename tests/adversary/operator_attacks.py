"""Attacks of an operator with every right on database, payloads and lock, who also holds the key of the log.

The operator lacks the keys of the devices and of the witness. Each attack works on a copy of a sound site,
and returns the command by which the auditor, who has kept a checkpoint, sees it.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesentry import AuditRecord, FindingCode, KeyRing, Outbox, write_records
from edgesentry.testing import (
    LOG,
    LOG_CATALOGUE,
    Expectations,
    NoteSigner,
    Tampered,
    attacks,
    make_log,
)
from operator_site import DAY_SECONDS, EDS, FLEET, LATE, TOKEN, Base, Site, cosigned, eds, payload_object
from tsa_server import Tsa

Found = tuple[FindingCode, str | None, int | None]
Command = list[str | Path]
# lift-01 and lift-03 sign under scheme payload-hash, lift-02 under scheme record.
EDITED = attacks.edit_time_and_relink(FLEET.records, "lift-01", 6)


@dataclass(frozen=True)
class Attack:
    """An attack.

    Attributes:
        title: The attack, for the table in docs/explanation/threat-model.md.
        caught_by: The artefact that shows it.
        findings: The exact findings of the auditor's command.
        error: The error code of the command, if it reports no findings.
        exit_code: The exit code of the command.
        without: The codes that links and signatures find in the ledger.
        run: Attacks, and returns the auditor's command, with the keys if they come from the operator.
    """

    name: str
    title: str
    caught_by: str
    findings: list[Found]
    error: str | None
    exit_code: int
    without: list[FindingCode]
    run: Callable[[Base], Evidence]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Evidence:
    """The site that the operator shows, the command of the auditor, and the operator's key ring, if any."""

    site: Site
    command: Command
    keys: KeyRing | None = None


ATTACKS: dict[str, Attack] = {}


def attack(
    title: str,
    caught_by: str,
    *findings: Found,
    error: str | None = None,
    exit_code: int = 1,
    without: list[FindingCode] | None = None,
) -> Callable[[Callable[[Base], Evidence]], Callable[[Base], Evidence]]:
    def register(run: Callable[[Base], Evidence]) -> Callable[[Base], Evidence]:
        ATTACKS[run.__name__] = Attack(
            run.__name__, title, caught_by, list(findings), error, exit_code, without or [], run
        )
        return run

    return register


def audit(
    base: Base,
    site: Site,
    checkpoint: str,
    *,
    previous: str | None = None,
    keys: Path | None = None,
    policy: str | Path = "cosigned",
    max_age: str | None = None,
) -> Command:
    """Exports the ledger up to its last checkpoint, and returns the command that compares the export."""
    command: Command = [
        *("verify-chain", site.export("export.ndjson", "--log"), "--keys", keys or base.keys),
        *("--checkpoint", site.file("checkpoint", checkpoint)),
        *("--policy", base.policies[policy] if isinstance(policy, str) else policy),
    ]
    if previous is not None:
        command += ["--previous", site.file("previous", previous)]
    if max_age is not None:
        command += ["--max-age", max_age]
    return command


def edited(base: Base, tampered: Tampered, more: str = "") -> Evidence:
    """Edits the ledger, leaves its log as it is, and compares an export with the kept checkpoint."""
    site = base.copy("late")
    site.edit(tampered)
    site.sql(more)
    return Evidence(site, audit(base, site, base.kept))


@attack("time of a record edited", "kept checkpoint", ("checkpoint_mismatch", None, None))
def time_edited(base: Base) -> Evidence:
    return edited(base, EDITED)


@attack("object reference of a record edited", "kept checkpoint", ("checkpoint_mismatch", None, None))
def reference_edited(base: Base) -> Evidence:
    other = attacks.edit_object_ref_and_relink(FLEET.records, "lift-01", 3, object_ref="lift-01/4.bin")
    return edited(base, other)


@attack("record cut out, later ones renumbered", "kept checkpoint", ("leaf_missing", "lift-01", 8))
def record_cut_out(base: Base) -> Evidence:
    return edited(base, attacks.delete_and_relink(FLEET.records, "lift-01", 3))


@attack("two records swapped", "kept checkpoint", ("checkpoint_mismatch", None, None))
def records_swapped(base: Base) -> Evidence:
    return edited(base, attacks.swap_and_relink(FLEET.records, "lift-01", 3))


@attack("end of a chain cut off", "kept checkpoint", ("leaf_missing", "lift-02", 7))
def tail_cut(base: Base) -> Evidence:
    return edited(base, attacks.truncate(FLEET.records, "lift-02", count=2))


@attack("device dropped", "kept checkpoint", ("leaf_missing", "lift-02", 1))
def device_dropped(base: Base) -> Evidence:
    gone = "".join(
        f"DELETE FROM {table} WHERE device_id = 'lift-02';\n" for table in ("chain_heads", "devices")
    )
    return edited(base, attacks.remove_device(FLEET.records, "lift-02"), gone)


@attack(
    "key of a device replaced, its chain signed again",
    "kept checkpoint",
    ("checkpoint_mismatch", None, None),
    ("key_not_logged", "lift-01", 1),
)
def key_replaced(base: Base) -> Evidence:
    forged = LOG_CATALOGUE["key_replaced"](FLEET)
    site = base.copy("late")
    site.edit(Tampered(tuple(forged.records), Expectations()))
    key = site.bytes_sql(bytes.fromhex(FLEET.signers["lift-01"].forger().public_key))
    site.sql(f"UPDATE devices SET public_key = {key} WHERE device_id = 'lift-01' AND valid_from = 1;")
    keys = site.folder / "keys.json"
    forged.keys.save(keys)
    return Evidence(site, audit(base, site, base.kept, keys=keys), forged.keys)


@attack("old record appended again, in the export", "kept checkpoint", ("not_included", "lift-01", 9))
def record_appended(base: Base) -> Evidence:
    site = base.copy("late")
    appended = attacks.append_replayed(FLEET.records, "lift-01", of_sequence=3)
    command = audit(base, site, base.kept)
    site.edit(appended)
    # In place of the export that belongs to the layout.
    write_records(appended.records, site.folder / "export.ndjson")
    return Evidence(site, command)


@attack(
    "the same, with a new checkpoint that the witness signs",
    "heads proof, compared with the last record of the device",
    error="proof_of_other",
)
def record_appended_and_logged(base: Base) -> Evidence:
    site = base.copy("late")
    site.edit(attacks.append_replayed(FLEET.records, "lift-01", of_sequence=3))
    return Evidence(site, head_proof(base, site, committed(base, site), FLEET.chain("lift-01")[-1]))


def committed(base: Base, site: Site) -> str:
    """Signs a checkpoint of the operator's records. The witness signs it: it contradicts no earlier one."""
    checkpoint = cosigned(site.checkpoint(), int(time.time()))
    unseen = eds(*audit(base, site, checkpoint, previous=base.early))
    assert (unseen.exit_code, unseen.findings) == (0, []), unseen
    return checkpoint


def head_proof(base: Base, site: Site, checkpoint: str, last: AuditRecord) -> Command:
    """Proves the head of a device, and returns the command that compares it with a record."""
    proof = site.folder / "head.proof"
    run = eds("prove", "head", last.device_id, "--config", site.config, "-o", proof)
    assert run.exit_code == 0, run
    proof.write_text(proof.read_text().replace(site.published(), checkpoint))
    record = site.folder / "last.ndjson"
    write_records([last], record)
    return ["verify-proof", proof, "--policy", base.policies["cosigned"], "--record", record]


@attack(
    "record edited, and the chain of this device shown alone",
    "heads proof of the kept checkpoint",
    error="proof_of_other",
)
def one_device_shown(base: Base) -> Evidence:
    site = base.copy("late")
    site.edit(EDITED)
    return Evidence(site, head_proof(base, site, base.kept, last_edited()))


def last_edited() -> AuditRecord:
    """Returns the last record of the edited chain."""
    return [record for record in EDITED.records if record.device_id == "lift-01"][-1]


@attack(
    "record edited, heads of the log edited to match, log continued",
    "the log itself: it compares the heads",
    error="ledger_tampered",
)
def log_continued(base: Base) -> Evidence:
    site = base.copy("late")
    site.edit(EDITED)
    head = site.bytes_sql(last_edited().hash())
    site.sql(f"UPDATE log_heads SET record_hash = {head} WHERE device_id = 'lift-01';")
    # The log does nothing before there is a new record.
    honest = FLEET.signers["lift-03"].device().resume(FLEET.chain("lift-03")[-1])
    site.ingest([honest.sign(b"next", "lift-03/9.bin")], {"lift-03/9.bin": b"next"})
    return Evidence(site, ["checkpoint", "--config", site.config])


@attack(
    "record edited, log rebuilt and signed with its key",
    "policy with a quorum; kept checkpoint",
    ("witness_quorum_missing", None, None),
    ("checkpoint_inconsistent", None, None),
)
def log_rebuilt(base: Base) -> Evidence:
    site = base.copy("late")
    site.edit(EDITED)
    return Evidence(site, audit(base, site, site.rebuild(), previous=base.kept))


@attack(
    "the same, with the line of the witness from the true checkpoint",
    "policy",
    ("checkpoint_untrusted", None, None),
)
def witness_line_pasted(base: Base) -> Evidence:
    site = base.copy("late")
    site.edit(EDITED)
    witness_line = base.kept.splitlines(keepends=True)[-1]
    return Evidence(site, audit(base, site, site.rebuild() + witness_line))


@attack("old checkpoint shown, to hide later records", "`--max-age`", ("checkpoint_stale", None, None))
def old_checkpoint_shown(base: Base) -> Evidence:
    site = base.copy("early")
    return Evidence(site, audit(base, site, base.early, max_age=f"{DAY_SECONDS}s"))


@attack(
    "the same, to an auditor with a newer checkpoint",
    "kept checkpoint",
    ("checkpoint_inconsistent", None, None),
)
def rolled_back(base: Base) -> Evidence:
    site = base.copy("early")
    return Evidence(site, audit(base, site, base.early, previous=base.kept))


@attack(
    "heads leaf hides a record, and the witness signs",
    "replay of the whole log",
    ("heads_mismatch", None, None),
)
def heads_leaf_lies(base: Base) -> Evidence:
    """The operator changes the heads leaf of a batch that has positions, and the leader signs it."""
    site = base.copy("late", "early")
    log, leaf = make_log(FLEET), heads_leaf(base)
    assert leaf.count(log.heads_root) == 1, "the two logs have another root of the same heads"
    lie = leaf.replace(log.heads_root, log.lying().heads_root)
    site.sql(
        "DELETE FROM checkpoints WHERE lock_number = 2;\n"
        "UPDATE log_batches SET state = 'sequenced', root = NULL WHERE batch = 2;\n"
        f"UPDATE log_events SET leaf = {site.bytes_sql(lie)} WHERE leaf = {site.bytes_sql(leaf)};\n"
    )
    signed = cosigned(site.checkpoint(), int(time.time()))
    return Evidence(site, audit(base, site, signed, previous=base.early))


def heads_leaf(base: Base) -> bytes:
    """Returns the last leaf of the log, from its entry bundle."""
    [name] = [
        name
        for name in base.logs["late"]
        if name.startswith("log/tile/entries/") and name not in base.logs["early"]
    ]
    bundle = base.logs["late"][name]
    leaf = b""
    while bundle:
        end = 2 + int.from_bytes(bundle[:2], "big")
        leaf, bundle = bundle[2:end], bundle[end:]
    return leaf


@attack(
    "ledger restored to an earlier time", "the lock: the log signs nothing", error="log_behind", exit_code=3
)
def restored(base: Base) -> Evidence:
    site = base.copy("early", "late")
    site.ingest(LATE)
    return Evidence(site, ["checkpoint", "--config", site.config])


@attack("all of the lock deleted", "the ledger: the log signs nothing", error="log_behind", exit_code=3)
def lock_deleted(base: Base) -> Evidence:
    site = base.copy("late")
    site.log.delete(name for name in site.log.names() if name.startswith("log/lock/"))
    return Evidence(site, ["checkpoint", "--config", site.config])


@attack(
    "ledger restored, end of the lock deleted, other records signed",
    "kept checkpoint",
    ("checkpoint_inconsistent", None, None),
)
def lock_cut(base: Base) -> Evidence:
    # The files of the log are those of the earlier time, as if each later one was deleted.
    site = base.copy("early")
    site.ingest(late(EDITED))
    return Evidence(site, audit(base, site, site.checkpoint(), previous=base.kept, policy="unwitnessed"))


def late(tampered: Tampered) -> list[AuditRecord]:
    """Returns the records after the first checkpoint."""
    return [record for record in tampered.records if record.sequence > 4]


@attack(
    "two leaders with copies of the ledger, and one lock",
    "the lock: the second signs nothing",
    error="log_behind",
    exit_code=3,
)
def two_leaders(base: Base) -> Evidence:
    first, second = base.copy("early"), base.copy("early")
    first.ingest(LATE)
    second.ingest(late(EDITED))
    first.checkpoint()
    second.log.put(first.log.contents())
    return Evidence(second, ["checkpoint", "--config", second.config])


@attack(
    "two histories for two auditors, each with its lock",
    "checkpoint that the other auditor kept",
    ("checkpoint_inconsistent", None, None),
)
def split_view(base: Base) -> Evidence:
    first, second = base.copy("early"), base.copy("early")
    first.ingest(LATE)
    second.ingest(late(EDITED))
    other = first.checkpoint()
    return Evidence(second, audit(base, second, second.checkpoint(), previous=other, policy="unwitnessed"))


@attack("payload deleted", "payloads", ("payload_missing", "lift-02", 5))
def payload_deleted(base: Base) -> Evidence:
    site = base.copy("late")
    site.payloads.delete([payload_object("lift-02", 5)])
    return Evidence(
        site,
        [
            "verify-chain",
            "--ledger",
            site.url,
            "--config",
            site.config,
            "--payload-store",
            "",
            "--keys",
            base.keys,
        ],
    )


@attack(
    "record edited before it has a position",
    "the log itself: it recomputes the links",
    error="ledger_tampered",
    without=["prev_hash_mismatch"],
)
def edited_while_waiting(base: Base) -> Evidence:
    site = base.copy("early")
    site.ingest(LATE)
    site.sql("UPDATE audit_records SET timestamp_ms = 1 WHERE device_id = 'lift-01' AND sequence = 6;")
    return Evidence(site, ["checkpoint", "--config", site.config])


@attack(
    "the same, with the chain re-linked: the window",
    "heads proof, compared with the last record of the device",
    error="proof_of_other",
)
def edited_in_the_window(base: Base) -> Evidence:
    site = base.copy("early")
    site.ingest(late(EDITED))
    return Evidence(site, head_proof(base, site, committed(base, site), FLEET.chain("lift-01")[-1]))


@attack(
    "acknowledged end of a chain dropped before its checkpoint, and the device falls silent",
    "receipts that the outbox requires",
    error="receipts_overdue",
)
def acknowledged_tail_dropped(base: Base) -> Evidence:
    site = base.copy("late")
    outbox(base, site)
    with site.serve() as url:
        acknowledged = eds(*push(base, site, url))
        assert (acknowledged.exit_code, acknowledged.error) == (0, None), acknowledged
    drop_tail(site)
    # The next checkpoint does not have the records; an auditor with an older one sees nothing.
    command = audit(base, site, site.checkpoint(), previous=base.kept, policy="unwitnessed")
    unseen = eds(*command)
    assert (unseen.exit_code, unseen.findings) == (0, []), unseen
    url = base.running.enter_context(site.serve())
    return Evidence(site, push(base, site, url, max_age="0s"))


def outbox(base: Base, site: Site) -> None:
    """Signs three records of lift-02 into an outbox beside the site."""
    device = FLEET.signers["lift-02"].device().resume(FLEET.chain("lift-02")[-1])
    device.save_seed(site.folder / "lift-02.seed")
    site.file("lift-02.token", TOKEN)
    with Outbox(site.folder / "outbox", device) as signed:
        for number in range(3):
            signed.sign(b"late %d" % number, f"lift-02/late-{number}.bin")


def push(base: Base, site: Site, url: str, max_age: str = "1h") -> Command:
    """Returns the command by which the device of the outbox sends, and collects its receipts."""
    return [
        *("push", "--url", url, "--token-file", site.folder / "lift-02.token"),
        *("--outbox", site.folder / "outbox", "--device", "lift-02", "--key", site.folder / "lift-02.seed"),
        *("--receipts", "required", "--policy", base.policies["unwitnessed"], "--receipt-max-age", max_age),
    ]


def drop_tail(site: Site) -> None:
    """Drops the records of lift-02 that no checkpoint covers."""
    [*_, last] = FLEET.chain("lift-02")
    of_tail = f"device_id = 'lift-02' AND sequence > {last.sequence}"
    site.sql(
        f"DELETE FROM audit_records WHERE {of_tail};\nDELETE FROM operation_logs WHERE {of_tail};\n"
        f"UPDATE chain_heads SET sequence = {last.sequence}, record_hash = {site.bytes_sql(last.hash())} "
        "WHERE device_id = 'lift-02';\n"
    )


@attack(
    "log rebuilt, in a bundle with a policy that names a witness of the operator",
    "policy of the auditor",
    ("witness_quorum_missing", None, None),
)
def bundle_policy_swapped(base: Base) -> Evidence:
    site, bundle = swapped(base)
    return Evidence(
        site, ["verify-bundle", bundle, "--keys", base.keys, "--policy", base.policies["cosigned"]]
    )


@attack(
    "the same, to an auditor without a policy",
    "`--require log`",
    error="required_input_missing",
    exit_code=2,
)
def bundle_policy_trusted(base: Base) -> Evidence:
    site, bundle = swapped(base)
    return Evidence(site, ["verify-bundle", bundle, "--keys", base.keys, "--require", "log"])


def swapped(base: Base) -> tuple[Site, Path]:
    """Writes a bundle of an edited ledger, which agrees with the keys and the policy in it."""
    site = base.copy("late")
    site.edit(EDITED)
    checkpoint = site.rebuild()
    witness = NoteSigner("witness.example", bytes([9]) * 32, is_witness=True)
    text, _, _ = checkpoint.partition("\n\n")
    site.log.put({"log/checkpoint": (checkpoint + witness.line(f"{text}\n", int(time.time()))).encode()})
    policy = site.file(
        "policy", f"log {LOG.verifier_key}\nwitness ours {witness.verifier_key}\nquorum ours\n"
    )
    bundle = site.folder / "case.tar"
    written = eds("bundle", "--config", site.config, "-o", bundle, "--policy", policy)
    assert written.exit_code == 0, written
    unseen = eds("verify-bundle", bundle, "--keys", base.keys)
    assert (unseen.exit_code, unseen.findings) == (0, []), unseen
    return site, bundle


class RealWitness:
    """`eds witness` with a state of its own: it cosigns checkpoints that extend the last cosigned one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        logs = folder / "logs"
        logs.write_text(f"log {LOG.verifier_key}\n")
        self.arguments: Command = [
            *("--state", f"sqlite:{folder / 'witness.db'}", "--key", folder / "witness.seed"),
            *("--name", "witness.example/w1", "--logs", logs),
        ]
        key = answer("witness", "init", *self.arguments)["verifier_key"]
        self.policy = folder / "policy"
        self.policy.write_text(f"log {LOG.verifier_key}\nwitness w1 {key}\nquorum w1\n")

    def files(self) -> list[Path]:
        """Returns the files of its state."""
        return list(self.folder.glob("witness.db*"))

    def request(self, site: Site, old: int = 0, proof: str = "") -> Command:
        """Returns the command that asks for a cosignature of the published checkpoint."""
        request = site.file("request", f"old {old}\n{proof}\n{site.published()}")
        return ["witness", "cosign", request, *self.arguments]

    def cosigned(self, site: Site, older: str | None = None) -> str:
        """Returns the published checkpoint with the line of the witness, which has cosigned an older one."""
        old, proof = 0, ""
        if older is not None:
            path = site.folder / "grown.proof"
            run = eds("prove", "consistency", site.file("older", older), "--config", site.config, "-o", path)
            assert run.exit_code == 0, run
            [_, size, *hashes] = path.read_text().partition("\n\n")[0].splitlines()
            old, proof = int(size.removeprefix("old ")), "".join(f"{one}\n" for one in hashes)
        line: str = answer(*self.request(site, old, proof))["cosignature"]
        return f"{site.published()}{line.strip()}\n"


def answer(*arguments: str | Path) -> dict[str, Any]:
    """Returns the answer of a command that succeeds."""
    line: list[str | Path] = [EDS, "--json", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    made: dict[str, Any] = json.loads(done.stdout)[arguments[0]]
    return made


def witnessed(base: Base) -> tuple[RealWitness, str, dict[Path, bytes]]:
    """Returns a witness, the last checkpoint that it has cosigned, and its state before that."""
    site = base.copy("early")
    witness = RealWitness(site.folder / "witness")
    early = witness.cosigned(site)
    # SQLite may keep the last changes in a file beside it.
    before = {path: path.read_bytes() for path in witness.files()}
    site.ingest(LATE)
    site.checkpoint()
    return witness, witness.cosigned(site, early), before


@attack("second history shown to a witness", "the witness: it refuses to cosign", error="witness_refused")
def witness_asked_twice(base: Base) -> Evidence:
    witness, kept, _ = witnessed(base)
    second = base.copy("early")
    second.ingest(late(EDITED))
    second.checkpoint()
    return Evidence(second, witness.request(second, old=int(kept.splitlines()[1])))


@attack(
    "witness restored to an earlier time, and a second history that it cosigns",
    "kept checkpoint",
    ("checkpoint_inconsistent", None, None),
)
def witness_rolled_back(base: Base) -> Evidence:
    witness, kept, before = witnessed(base)
    for path in witness.files():
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    second = base.copy("early")
    second.ingest(late(EDITED))
    second.checkpoint()
    lie = witness.cosigned(second, base.early)
    command = audit(base, second, lie, policy=witness.policy)
    # Without the kept checkpoint, the quorum holds for the second history.
    unseen = eds(*command)
    assert (unseen.exit_code, unseen.findings) == (0, []), unseen
    return Evidence(second, audit(base, second, lie, previous=kept, policy=witness.policy))


@attack(
    "two histories, the second one for a monitor that has replayed the first",
    "state of the monitor",
    ("checkpoint_inconsistent", None, None),
)
def monitor_shown_another_history(base: Base) -> Evidence:
    first, second = base.copy("early"), base.copy("early")
    first.ingest(LATE)
    second.ingest(late(EDITED))
    state = first.folder / "monitor.db"
    commands: list[list[str | Path]] = []
    for site in (first, second):
        site.checkpoint()
        commands.append(
            [
                *("monitor", f"{site.place}/log", "--policy", base.policies["unwitnessed"], "--once"),
                *("--state", state, "--config", site.config),
            ]
        )
    sound = eds(*commands[0])
    assert (sound.exit_code, sound.findings) == (0, []), sound
    return Evidence(second, commands[1])


def stamped(base: Base, stamp: bytes, root: Path) -> Evidence:
    """Returns the comparison of the ledger with a stamp of its checkpoint."""
    site = base.copy("late")
    path = site.folder / "checkpoint.tsr"
    path.write_bytes(stamp)
    command = audit(base, site, base.kept)
    return Evidence(site, [*command, "--timestamps", path, "--tsa-roots", root])


@attack(
    "time stamp of another checkpoint shown",
    "time stamp, compared with the checkpoint",
    ("timestamp_invalid", None, None),
)
def stamp_of_another_checkpoint(base: Base) -> Evidence:
    tsa = Tsa(base.folder / "tsa")
    sound = stamped(base, tsa.stamp_of(base.logs["late"]["log/checkpoint"]), tsa.root)
    run = eds(*sound.command)
    assert (run.exit_code, run.findings) == (0, []), run
    return stamped(base, tsa.stamp_of(base.logs["early"]["log/checkpoint"]), tsa.root)


@attack(
    "checkpoint stamped by an authority of the operator",
    "root certificates that the auditor pins",
    ("timestamp_invalid", None, None),
)
def stamp_of_an_own_authority(base: Base) -> Evidence:
    ours, theirs = Tsa(base.folder / "pinned-tsa"), Tsa(base.folder / "own-tsa")
    return stamped(base, theirs.stamp_of(base.logs["late"]["log/checkpoint"]), ours.root)
