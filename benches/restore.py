"""Compares two builds of `eds`: the time of a restore until the server accepts writes, by number of records.

    make bench-restore BASE=PATH RESTORE="--records 1000000 5000000"

PATH is an eds, or the target directory or checkout of another commit. For each size and build PostgreSQL gets
the tables of this build, and rows in transactions as its ingest service appends them: SQL creates them,
because a restore reads no signature. Half of them are in the base backup, half in the log after it. The build
archives into SeaweedFS, and restores to the end of the archive in turns with the other one. POSTGRES_BIN
names the programs of another version of PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from builds import ROOT, find_eds

SERVERS = ROOT / "scripts" / "servers"
BUCKET = "restores"
GROUP = 4000
ROWS = f"""
CREATE PROCEDURE append_records(groups bigint[]) LANGUAGE plpgsql AS $$
BEGIN
FOR number IN groups[1]..groups[2] LOOP
    -- A hundred records each of forty of a hundred devices.
    CREATE TEMP TABLE appended ON COMMIT DROP AS
    SELECT 'device-' || to_char((number * 40 + n / 100) % 100, 'FM000') AS device_id,
           (number * 40 + n / 100) / 100 * 100 + n % 100 + 1 AS sequence,
           sha256((number * {GROUP} + n)::text::bytea) AS record_hash
    FROM generate_series(0, {GROUP - 1}) AS n;
    INSERT INTO audit_records (device_id, sequence, timestamp_ms, payload_hash, signature, prev_record_hash,
                               object_ref, record_hash, received_at_ms)
    SELECT device_id, sequence, 1700000000000 + sequence, sha256(record_hash),
           sha256(record_hash || '1') || sha256(record_hash || '2'), sha256(record_hash || '3'),
           device_id || '/' || sequence || '.bin', record_hash, 1700000000000
    FROM appended;
    UPDATE chain_heads AS head SET sequence = last.sequence, record_hash = last.record_hash
    FROM (SELECT DISTINCT ON (device_id) * FROM appended ORDER BY device_id, sequence DESC) AS last
    WHERE last.device_id = head.device_id;
    INSERT INTO operation_logs (at_ms, device_id, sequence, outcome, record_hash)
    SELECT 1700000000000, device_id, sequence, 'accepted', record_hash FROM appended;
    COMMIT;
END LOOP;
END $$;
INSERT INTO chain_heads SELECT
'device-' || to_char(n, 'FM000'), 0, sha256('0'), 0, sha256('0'), 1, 0 FROM generate_series(0, 99) AS n;
"""


def run(*command: str | Path, good: tuple[int, ...] = (0,), **environment: str) -> str:
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if ended.returncode not in good:
        words = " ".join(str(word) for word in command)
        sys.exit(f"{words}: exit code {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout.strip()


def psql(url: str, sql: str) -> str:
    return run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", url, "-c", sql)


@dataclass(frozen=True)
class Restore:
    """The times of a restore, in seconds.

    Attributes:
        download: Of the base backup.
        extract: Of the base backup.
        replay: From the start of the server until it accepts writes.
        cpu: Of all processes.
    """

    download: float
    extract: float
    replay: float
    cpu: float

    @property
    def all(self) -> float:
        return self.download + self.extract + self.replay


class Site:
    """A ledger with an archive, created by a build; its server is stopped."""

    def __init__(self, eds: Path, records: int, folder: Path, s3: str) -> None:
        self.folder, self.records = folder, records
        folder.mkdir(mode=0o755)
        # The user postgres runs it.
        self.eds = folder / "eds"
        shutil.copy(eds, self.eds)
        config = folder / "eds.toml"
        archive = f"{self.eds} ops archive-wal --config {config} %p %f"
        options = f"-c archive_mode=on -c archive_command='{archive}' -c max_wal_size=2GB"
        self.url = run(SERVERS / "postgres", "start", folder / "postgres", POSTGRES_OPTIONS=options)
        postgres_bin = os.environ.get("POSTGRES_BIN")
        config.write_text(
            f'ledger = "{self.url}"\n[s3]\nendpoint = "{s3}"\naccess_key_id = "edgesentry"\n'
            f'secret_access_key = "edgesentry-secret"\n[ops]\narchive = "s3://{BUCKET}/{folder.name}"\n'
            + (f'postgres_bin = "{postgres_bin}"\n' if postgres_bin else "")
        )
        try:
            self.fill()
        finally:
            run(SERVERS / "postgres", "stop", folder / "postgres")
        shutil.rmtree(folder / "postgres" / "data")

    def fill(self) -> None:
        """Creates the tables, appends records before and after a base backup, and archives all of it."""
        nothing = self.folder / "nothing.ndjson"
        nothing.touch()
        payloads = self.folder / "payloads"
        payloads.mkdir()
        stores = ("--ledger", self.url, "--payloads", f"folder:{payloads}")
        # Exit code 3 means that there is no record; the tables are created.
        # The former names of options, which builds of earlier releases take too.
        run(self.eds, "ingest", nothing, "--payloads-from", payloads, *stores, good=(0, 3))
        psql(self.url, ROWS)
        groups = max(self.records // GROUP, 2)
        self.records = groups * GROUP
        psql(self.url, f"CALL append_records('{{0, {groups // 2 - 1}}}')")
        self.eds_ops("backup")
        begin = psql(self.url, "SELECT pg_current_wal_lsn()")
        psql(self.url, f"CALL append_records('{{{groups // 2}, {groups - 1}}}')")
        self.log_bytes = float(psql(self.url, f"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{begin}')"))
        last = psql(self.url, "SELECT pg_walfile_name(pg_switch_wal())")
        while psql(self.url, f"SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver") != "t":
            time.sleep(0.2)

    def eds_ops(self, *arguments: str | Path) -> dict[str, object]:
        answer = run(self.eds, "ops", *arguments, "--config", self.folder / "eds.toml", "--json")
        parsed: dict[str, object] = json.loads(answer)
        return parsed

    def restore(self) -> Restore:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        data = self.folder / "restored"
        # Earlier writes reach the disk before this begins.
        os.sync()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = self.eds_ops("restore", "--drill", "--data", data, "--port", str(port))["restored"]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert isinstance(answer, dict)
        # The server keeps running and has collected its ended processes, such as the one that replays.
        times = Path(f"/proc/{answer['pid']}/stat").read_text().rpartition(")")[2].split()[11:15]
        server_cpu = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime + server_cpu
        port_of = self.url.rpartition("@")[2].partition("/")[0]
        restored = self.url.replace(port_of, f"127.0.0.1:{port}")
        rows = psql(restored, "SELECT (SELECT count(*) FROM audit_records), count(*) FROM operation_logs")
        os.kill(answer["pid"], signal.SIGINT)
        while (data / "postmaster.pid").exists():
            time.sleep(0.1)
        shutil.rmtree(data)
        if rows != f"{self.records}|{self.records}":
            sys.exit(f"{self.folder}: {rows} rows of {self.records} were restored")
        return Restore(answer["download_seconds"], answer["extract_seconds"], answer["recover_seconds"], cpu)


def row(build: str, site: Site, runs: list[Restore]) -> str:
    def median(name: str) -> str:
        return f"{statistics.median(getattr(run, name) for run in runs):.1f}"

    per_record = site.log_bytes / (site.records / 2)
    times = " | ".join(median(name) for name in ("download", "extract", "replay", "all", "cpu"))
    return f"| {site.records:,} | {build} | {site.log_bytes / 1e6:,.0f} | {per_record:,.0f} | {times} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path, help="eds of the other commit, or its target folder or checkout")
    parser.add_argument("--ours", type=Path, default=ROOT / "target", help="this build [default: target]")
    parser.add_argument("--records", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--pairs", type=int, default=3, help="restores of each size [default: %(default)s]")
    parser.add_argument("--at-least", type=float, default=2.0, help="ratio that passes at the largest size")
    arguments = parser.parse_args()
    builds = (find_eds(arguments.base), find_eds(arguments.ours))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print("| records | build | log MB | bytes a record | download s | extract s | replay s | all s | CPU s |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    ratio = 0.0
    with tempfile.TemporaryDirectory(prefix="edgesentry-restore-") as scratch:
        Path(scratch).chmod(0o755)
        for records in sorted(arguments.records):
            folder = Path(scratch) / str(records)
            folder.mkdir(mode=0o755)
            s3 = run(SERVERS / "seaweedfs", "start", folder / "s3")
            try:
                key = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "edgesentry:edgesentry-secret"]
                run("curl", "-sSf", *key, "-X", "PUT", f"{s3}/{BUCKET}")
                sites = [
                    Site(eds, records, folder / name, s3)
                    for name, eds in zip(("base", "ours"), builds, strict=True)
                ]
                runs: tuple[list[Restore], list[Restore]] = ([], [])
                for pair in range(arguments.pairs):
                    for which in (0, 1) if pair % 2 == 0 else (1, 0):
                        runs[which].append(sites[which].restore())
            finally:
                run(SERVERS / "seaweedfs", "stop", folder / "s3")
            print(row("base", sites[0], runs[0]))
            print(row("ours", sites[1], runs[1]))
            pairs = [(base.all / ours.all, base.cpu / ours.cpu) for base, ours in zip(*runs, strict=True)]
            ratio, cpu = (statistics.median(ratios) for ratios in zip(*pairs, strict=True))
            print(f"| {records:,} | base / ours | | | | | | {ratio:.2f} | {cpu:.2f} |", flush=True)
            shutil.rmtree(folder)
    if ratio < arguments.at_least:
        sys.exit(f"at the largest size ours takes 1/{ratio:.2f} of the time, not 1/{arguments.at_least}")


if __name__ == "__main__":
    main()
