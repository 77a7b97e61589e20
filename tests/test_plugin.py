"""The pytest plugin as users have it: installed, in a separate project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_edgesentry
from edgesentry import Client
from edgesentry.testing import Place, make_fleet, serve
from pytest_edgesentry._postgres import _without_password
from test_ledger import server

PROJECT = Path(__file__).parent / "sample_project"


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs pytest in a directory, without the servers of these tests unless they are named."""
    ours = ("EDGESENTRY_", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {**variables, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:schemathesis", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the sample project, away from our own configuration."""
    return shutil.copytree(PROJECT, tmp_path / "lift-archive", ignore=shutil.ignore_patterns("__pycache__"))


def passed(done: subprocess.CompletedProcess[str]) -> int:
    """Returns the number of passed tests; every test must pass."""
    last = re.search(r"^(?:=+ )?(\d+) passed in [^,]*$", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert last is not None, done.stdout
    return int(last.group(1))


def test_the_sample_project_passes_on_sqlite(project: Path) -> None:
    done = run(project, "-v", "tests/test_receive.py")
    assert passed(done) == 4
    assert "test_a_fleet_is_received[sqlite]" in done.stdout


def test_the_sample_project_passes_on_every_store(project: Path) -> None:
    servers = {name: server(name) for name in ("EDGESENTRY_TEST_POSTGRES", "EDGESENTRY_TEST_S3")}
    done = run(project, "-v", **servers)
    assert passed(done) > 80
    for store in ("sqlite", "postgres", "s3"):
        assert f"test_a_fleet_is_received[{store}]" in done.stdout
    assert "test_an_attack_is_not_archived[delete_middle]" in done.stdout


def test_the_sample_project_passes_against_a_service_on_the_network(project: Path, tmp_path: Path) -> None:
    # Variables for other services do not affect the service of a test.
    ours = {"EDS_LEDGER": "sqlite:/nowhere/at/all.db", "RUST_LOG": "off"}
    done = run(project, "-v", "tests/test_forward.py", f"--basetemp={tmp_path / 'kept'}", **ours)
    assert passed(done) == 3
    logs = list((tmp_path / "kept").rglob("edgesentry-server.log"))
    assert len(logs) == 3
    for log in logs:
        text = log.read_text()
        assert "stopped; requests in progress were finished" in text
        url = re.search(r'"message":"listening","url":"(http://127\.0\.0\.1:\d+)"', text)
        assert url is not None
        with Client(url.group(1), attempts=1) as client:
            outcome = client.ingest(make_fleet().records[0], b"")
        assert outcome.outcome == "error"
        assert "unreachable" in (outcome.error or "")


def test_a_service_that_cannot_start_reports_the_reason(tmp_path: Path) -> None:
    place = Place("sqlite", "sqlite:/nowhere/at/all.db", "ledger")
    why = r"ended at once, with exit code 3: .*/nowhere/at/all\.db"
    with pytest.raises(RuntimeError, match=why), serve(place, tmp_path):
        pass


@pytest.mark.parametrize(
    ("url", "for_psql", "password"),
    [
        ("postgres://me:p%40ss@db-1:1,db-2:2/x", "postgres://me@db-1:1,db-2:2/x", "p@ss"),
        ("postgres://me@db/x?password=hush&ssl-mode=require", "postgres://me@db/x?sslmode=require", "hush"),
        ("postgresql:///x?host=/run&statement-cache-capacity=0", "postgresql:///x?host=%2Frun", None),
    ],
)
def test_psql_gets_no_password_as_an_argument(url: str, for_psql: str, password: str | None) -> None:
    assert _without_password(url) == (for_psql, password)


@pytest.mark.parametrize("name", ["postgres", "s3"])
def test_a_missing_server_is_an_error_and_not_a_skip(project: Path, name: str) -> None:
    test = "tests/test_receive.py::test_a_fleet_is_received"
    unknown = run(project, "-q", test, EDGESENTRY_TEST_STORES=f"sqlite {name}")
    assert unknown.returncode != 0
    assert f"EDGESENTRY_TEST_{name.upper()}" in unknown.stdout + unknown.stderr
    gone = {"postgres": "postgres://me:hush@127.0.0.1:9/x", "s3": "http://127.0.0.1:9"}[name]
    variables = {f"EDGESENTRY_TEST_{name.upper()}": gone}
    # Without the long timeout of a service.
    variables |= {"EDS_S3__ATTEMPTS": "1", "EDS_POSTGRES__TIMEOUT_SECONDS": "1"}
    silent = run(project, "-q", test, **variables, EDGESENTRY_TEST_STORES=name)
    assert silent.returncode == 1, silent.stdout
    assert "skipped" not in silent.stdout
    assert "hush" not in silent.stdout


def test_stores_are_set_in_the_configuration(project: Path) -> None:
    settings = project / "pyproject.toml"
    text = settings.read_text()
    settings.write_text(text + 'edgesentry_stores = ["mysql"]\n')
    done = run(project, "-q", "tests/test_receive.py")
    assert done.returncode != 0
    assert "expected one of sqlite, postgres, s3, got 'mysql'" in done.stdout + done.stderr
    settings.write_text(text + 'edgesentry_stores = ["sqlite"]\n')
    assert passed(run(project, "-q", "tests/test_receive.py", EDGESENTRY_TEST_S3="http://127.0.0.1:9")) == 4


def test_a_project_that_does_not_use_the_plugin_does_not_load_the_package(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    assert 'pytest_edgesentry' in sys.modules\n"
        "    heavy = {'edgesentry', 'hypothesis.strategies', 'pyarrow', 'numpy'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    assert passed(run(tmp_path, "-q", "-W", "error", "-p", "no:hypothesispytest")) == 1


def test_the_fixtures_are_documented(project: Path) -> None:
    done = run(project, "--fixtures", "-q")
    documented = re.findall(r"^(edgesentry_\w+)[^\n]*\n    \S", done.stdout, re.MULTILINE)
    fixtures = {name for name in vars(pytest_edgesentry) if name.startswith("edgesentry_")}
    assert set(documented) == fixtures
    page = (Path(__file__).parent.parent / "docs" / "how-to" / "testing.md").read_text()
    assert [name for name in sorted(fixtures) if f"`{name}`" not in page] == []


def test_the_package_imports_neither_pytest_nor_hypothesis() -> None:
    script = (
        "import sys, edgesentry, edgesentry.testing;"
        "print([name for name in ('pytest', 'hypothesis', 'matplotlib', 'tqdm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, missing, extra in (
        ("edgesentry.testing.strategies", "hypothesis", "testing"),
        ("edgesentry.plot", "matplotlib", "plot"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            patch.delitem(sys.modules, module, raising=False)
            with pytest.raises(ModuleNotFoundError, match=re.escape(f"edgesentry[{extra}]")):
                __import__(module)
