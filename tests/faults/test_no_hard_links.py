"""A file system without hard links, such as FAT or some network shares: every link call fails."""

from __future__ import annotations

from pathlib import Path

from striking import Action, Struck, run
from test_faults import EDS, KEYS, WORKER, check_ledger, check_outputs, with_ledger, write_input

from edgesentry import verify_chain

NO_LINKS = Action("EPERM", sticky=True, only="link")


def without_links(command: list[str | Path], folder: Path) -> Struck:
    done = run(command, folder, NO_LINKS, 1)
    assert done.code == 0, done
    assert all(" link" in line for line in done.struck), done
    return done


def test_payloads_and_exports_need_no_hard_links(tmp_path: Path) -> None:
    with_ledger(tmp_path)
    ingest = without_links([*WORKER, "ingest", "."], tmp_path)
    # A link was tried, and the payloads exist.
    assert any("/payloads/" in line for line in ingest.struck), ingest
    check_ledger(tmp_path, ingest, NO_LINKS)
    eds: list[str | Path] = [EDS, "export", "--ledger", "ledger.db", "-o", "export.parquet"]
    # Twice, since the second one replaces an existing file.
    for _ in range(2):
        without_links(eds, tmp_path)
    assert verify_chain(
        tmp_path / "export.parquet", keys=KEYS, manifest=tmp_path / "export.parquet.manifest.json"
    ).ok
    without_links([EDS, "heads", "--ledger", "ledger.db", "-o", "heads.json"], tmp_path)


def test_files_of_python_need_no_hard_links(tmp_path: Path) -> None:
    write_input(tmp_path)
    check_outputs(tmp_path, without_links([*WORKER, "outputs", "."], tmp_path), NO_LINKS)


def test_a_new_seed_needs_no_hard_links(tmp_path: Path) -> None:
    without_links([EDS, "keygen", "--output", "lift-01.seed"], tmp_path)
    # A seed is still never replaced.
    before = (tmp_path / "lift-01.seed").read_bytes()
    assert run([EDS, "keygen", "--output", "lift-01.seed"], tmp_path, NO_LINKS, 1).code != 0
    assert (tmp_path / "lift-01.seed").read_bytes() == before
