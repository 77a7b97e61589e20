"""The Helm chart: its manifests are valid and locked down, and `eds` accepts their settings."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import edgesentry
from support import device
from test_alerts import RULES, run
from test_ledger import server
from test_ops import s3

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy" / "helm" / "edgesentry"
HELM = Path(sys.executable).with_name("helm")
# The default values, and files of values on top of them.
SETS = ["default", *sorted(path.stem for path in (Path(__file__).parent / "helm").glob("*.yaml"))]
# The oldest version that Chart.yaml allows, one in between, and the newest with schemas in the validator.
VERSIONS = ("1.27", "1.33", "1.37")

Manifest = dict[str, Any]

SQLITE = ["ledger.existingSecret="]


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert HELM.is_file(), f"{HELM} is missing: run make venv"
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False)


def values(which: str) -> list[str | Path]:
    return [] if which == "default" else ["--values", Path(__file__).parent / "helm" / f"{which}.yaml"]


@functools.cache
def rendered(which: str) -> list[Manifest]:
    """Renders the manifests of a set of values."""
    done = helm("template", "audit", CHART, "--namespace", "audit", *values(which))
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def named(which: str, kind: str, name: str = "audit-edgesentry") -> Manifest:
    return next(one for one in rendered(which) if (one["kind"], one["metadata"]["name"]) == (kind, name))


def pods(which: str) -> dict[str, Manifest]:
    """Returns the specifications of pods, by the resource that creates them."""
    found = {}
    for manifest in rendered(which):
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found[f"{manifest['kind']}/{manifest['metadata']['name']}"] = spec["template"]["spec"]
    return found


PODS = [pytest.param(spec, id=f"{which}-{name}") for which in SETS for name, spec in pods(which).items()]


@pytest.mark.parametrize("which", SETS)
def test_the_chart_is_lint_free(which: str) -> None:
    done = helm("lint", "--strict", CHART, *values(which))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("which", SETS)
def test_every_manifest_is_valid(which: str) -> None:
    """Strictly: a field that the schema lacks is an error. Another test covers those of Prometheus."""
    for manifest in rendered(which):
        if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(which)]
    assert len(names) == len(set(names)), "two manifests of one name"


@pytest.mark.parametrize("spec", PODS)
def test_pods_have_no_rights(spec: Manifest) -> None:
    # Variables that Kubernetes injects for a Service could pass for settings.
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 10001
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        assert not spec.get(key)
    for container in spec["containers"] + spec.get("initContainers", []):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert re.search(r"(:[^:/]+|@sha256:[0-9a-f]{64})$", container["image"]), container["image"]
        assert not container["image"].endswith(":latest")
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
    for volume in spec.get("volumes", []):
        assert "hostPath" not in volume


@pytest.mark.parametrize("spec", PODS)
def test_mounts_are_of_volumes(spec: Manifest) -> None:
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in spec["containers"] + spec.get("initContainers", []):
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert mounts - volumes <= {"wal"}, "which a claim template of the StatefulSet makes"


@pytest.mark.parametrize("which", SETS)
def test_secrets_are_references(which: str) -> None:
    secret = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|EDS_LEDGER|POSTGRES$")
    for spec in pods(which).values():
        for container in spec["containers"]:
            for variable in container.get("env", []):
                if secret.search(variable["name"]):
                    assert "secretKeyRef" in variable["valueFrom"], variable
    assert not [one for one in rendered(which) if one["kind"] == "Secret"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["replicas=2", "persistence.enabled=true", *SQLITE], "one writer"),
        (["replicas=1", *SQLITE], "would be lost with its pod"),
        (
            ["replicas=1", "persistence.enabled=true", "ops.enabled=true", *SQLITE],
            "needs a PostgreSQL ledger",
        ),
        (["persistence.enabled=true"], "is for one node"),
        (["settings.ledger=postgres://db/audit"], "both name the ledger"),
        (["ops.enabled=true"], "needs an archive"),
        (["drills.enabled=true"], "needs ops.enabled"),
        (["tls.clientCaConfigMap=ca"], "without TLS there are no client certificates"),
        (["ingress.enabled=true"], "needs ingress.host"),
        (
            [
                "ingress.enabled=true",
                "ingress.host=x",
                "tls.existingSecret=tls",
                "tls.clientCaConfigMap=ca",
            ],
            "no client certificate reaches the service",
        ),
        (["settings.serve.tls.require_client_certificate=true"], "the probes of the kubelet"),
        (["settings.serve.tls.key=/x"], "is set by the chart"),
        (["settings.serve.listen=0.0.0.0:1"], "use service.port"),
        (["settings.serve.mqtt.broker=mqtts://b"], "set replicas to 1"),
        (["settings.s3.secret_access_key=x"], "settings.s3.secret_access_key"),
        (["settings.ops.s3.access_key_id=x"], "settings.ops.s3.access_key_id"),
        (["settings.serve.mqtt.password=x"], "settings.serve.mqtt.password"),
        (["ledger.existingSecret=", "settings.ledger=postgres://u:secret@db/audit"], "settings.ledger"),
        (["replicas=0"], "replicas"),
        (["replica=3"], "replica"),
        (["ops.jobs.bakcup.schedule=x"], "bakcup"),
        (["ops.jobs.backup.schedule=daily"], "schedule"),
        (["image.digest=sha256:1"], "digest"),
    ],
    ids=lambda given: given[-1] if isinstance(given, list) else "",
)
def test_impossible_values_are_refused(given: list[str], message: str) -> None:
    flags = [word for one in given for word in ("--set", one)]
    done = helm("template", "audit", CHART, *flags)
    assert done.returncode != 0
    assert message in done.stderr
    assert "u:secret" not in done.stderr


def test_selectors_find_one_kind_of_pod() -> None:
    """A Service, or a budget, that also selects the pods of jobs would break them."""
    which = "everything"
    labels = {}
    for manifest in rendered(which):
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            labels[manifest["metadata"]["name"]] = spec["template"]["metadata"]["labels"]

    def found(selector: Mapping[str, str]) -> list[str]:
        return [name for name, has in labels.items() if selector.items() <= has.items()]

    service = ["audit-edgesentry"]
    assert found(named(which, "Service")["spec"]["selector"]) == service
    assert found(named(which, "Service", "audit-edgesentry-metrics")["spec"]["selector"]) == service
    assert found(named(which, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]) == service
    exporter = ["audit-edgesentry-exporter"]
    assert found(named(which, "Service", exporter[0])["spec"]["selector"]) == exporter
    # The policy applies to all pods: jobs reach no more than the service.
    assert len(found(named(which, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"])) == len(labels)
    assert len(labels) == len(pods(which))


def test_alerts_are_those_of_deploy() -> None:
    groups = named("everything", "PrometheusRule")["spec"]["groups"]
    shipped = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    assert groups == shipped
    assert named("everything", "PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"


def test_promtool_accepts_the_alerts(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": named("everything", "PrometheusRule")["spec"]["groups"]}))
    assert "SUCCESS" in run("promtool", "check", "rules", rules)


def test_alerts_on_backups_are_left_out_without_backups(tmp_path: Path) -> None:
    overrides = ["--set", "metrics.prometheusRule.enabled=true"]
    done = helm("template", "audit", CHART, *overrides)
    manifests = [one for one in yaml.safe_load_all(done.stdout) if one]
    [rule] = [one for one in manifests if one["kind"] == "PrometheusRule"]
    names = [group["name"] for group in rule["spec"]["groups"]]
    assert names == ["edgesentry-ingest", "edgesentry-log", "edgesentry-monitor"]


def test_the_service_monitor_finds_ports_that_are_there() -> None:
    which = "everything"
    spec = named(which, "ServiceMonitor")["spec"]
    [endpoint] = spec["endpoints"]
    [wanted] = spec["selector"]["matchExpressions"]
    services = [
        one
        for one in rendered(which)
        if one["kind"] == "Service"
        and spec["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
        and one["metadata"]["labels"].get(wanted["key"]) in wanted["values"]
    ]
    assert len(services) == len(wanted["values"]) == 2
    for service in services:
        assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert int(endpoint["interval"].removesuffix("s")) <= 15, "for which the alerts are tested"
    jobs = {
        one["regex"]: one["replacement"] for one in endpoint["relabelings"] if one["targetLabel"] == "job"
    }
    assert jobs["metrics"] == "edgesentry", "the job that IngestTargetDown names"
    # The used fields of monitoring.coreos.com/v1; the cluster would silently drop a wrong one.
    assert spec.keys() == {"selector", "endpoints"}
    assert endpoint.keys() == {"port", "interval", "relabelings"}
    for relabeling in endpoint["relabelings"]:
        assert relabeling.keys() <= {"sourceLabels", "regex", "targetLabel", "replacement"}


def test_jobs_are_those_of_the_timers() -> None:
    """Each timer of deploy/systemd has a CronJob with the same command."""
    timed = set()
    for timer in (ROOT / "deploy" / "systemd").glob("*.timer"):
        unit = timer.with_suffix(".service").read_text()
        lines = re.findall(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)
        assert lines, timer
        timed |= {tuple(command(line.split())) for line in lines}
    jobs = {tuple(command(spec["containers"][0]["args"])) for spec in cronjobs("everything").values()}
    # The watch on PostgreSQL runs every minute, which is too often for a separate pod.
    jobs.add(tuple(command(watch("everything")["args"])))
    assert timed <= jobs


def watch(which: str) -> Manifest:
    """Returns the container that watches PostgreSQL, with the command of its shell loop as its arguments."""
    containers = named(which, "Deployment", "audit-edgesentry-exporter")["spec"]["template"]["spec"][
        "containers"
    ]
    container = next(one for one in containers if one["name"] == "watch-postgres")
    script = re.fullmatch(r"while :; do eds (.*) \|\| :; sleep 60; done", container["command"][-1])
    assert script, container["command"]
    return {**container, "args": script[1].split()}


def cronjobs(which: str) -> dict[str, Manifest]:
    return {name: spec for name, spec in pods(which).items() if name.startswith("CronJob/")}


def command(arguments: list[str]) -> Iterator[str]:
    """Returns the command and its subcommands."""
    for word in arguments:
        if not re.fullmatch(r"[a-z][a-z-]+", word):
            return
        yield word


@dataclass
class Site:
    """The environment of pods on this machine: contents of Secrets, paths and addresses."""

    folder: Path
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)

    def local(self, text: str) -> str:
        """Returns a text of a manifest with the paths and addresses of this machine."""
        for there, here in self.replaced.items():
            text = text.replace(there, here)
        return text

    def start(self, which: str, container: Manifest) -> tuple[list[str], dict[str, str]]:
        """Returns the command line and the environment of a container of a pod."""
        environment = {name: text for name, text in os.environ.items() if not name.startswith("EDS_")}
        # As with enableServiceLinks, beside a Service named eds.
        environment |= {"EDS_SERVICE_HOST": "10.96.0.10", "EDS_SERVICE_PORT": "8443"}
        environment |= {"EDS_PORT": "tcp://10.96.0.10:8443", "EDS_PORT_8443_TCP_PROTO": "tcp"}
        for variable in container["env"]:
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                environment[variable["name"]] = self.secrets[reference["name"], reference["key"]]
            else:
                environment[variable["name"]] = self.local(variable["value"])
        settings = self.folder / "etc" / "eds.toml"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(self.local(named(which, "ConfigMap")["data"]["eds.toml"]))
        arguments = [self.local(argument) for argument in container["args"]]
        return [sys.executable, "-m", "edgesentry", *arguments], environment


def here(folder: Path) -> Site:
    site = Site(folder)
    site.replaced = {
        "/etc/eds/": f"{folder}/etc/",
        "/var/lib/eds/": f"{folder}/data/",
        "/var/lib/edgesentry": f"{folder}/state",
        "/var/tmp/edgesentry": f"{folder}/temp",
        "/run/edgesentry/": f"{folder}/keys/",
        "0.0.0.0:8443": "127.0.0.1:0",
        "0.0.0.0:9464": "127.0.0.1:0",
        '"allow" = [': '"allow" = ["127.0.0.0/8", ',
    }
    for name in ("data", "state/metrics", "temp", "etc/tls", "etc/client-ca", "etc/keys", "keys"):
        (folder / name).mkdir(parents=True)
    return site


def psql(sql: str) -> None:
    subprocess.run(["psql", "-XAtq", server("EDGESENTRY_TEST_POSTGRES"), "-c", sql], check=True)


def with_servers(folder: Path) -> tuple[Site, str]:
    """A site whose stores are a database and buckets of the tests' servers, and the name of the database."""
    site = here(folder)
    mark = uuid.uuid4().hex[:12]
    url = server("EDGESENTRY_TEST_POSTGRES")
    psql(f"CREATE DATABASE helm_{mark}")
    ledger = re.sub(r"/[^/?]*(\?|$)", rf"/helm_{mark}\1", url, count=1)
    assert ledger != url, url
    for bucket in ("audit-payloads", "audit-archive"):
        s3("PUT", f"{bucket}-{mark}")
        site.replaced[f"s3://{bucket}"] = f"s3://{bucket}-{mark}"
    for endpoint in ("https://s3.example", "https://archive.example"):
        site.replaced[endpoint] = server("EDGESENTRY_TEST_S3")
    site.replaced['"region" = "eu-1"'] = '"region" = "us-east-1"'
    key, secret = "edgesentry", "edgesentry-secret"
    site.secrets = {
        ("edgesentry-ledger", "url"): ledger,
        ("edgesentry-replication", "url"): ledger,
        ("edgesentry-s3", "access_key_id"): key,
        ("edgesentry-s3", "secret_access_key"): secret,
        ("edgesentry-archive", "access_key_id"): key,
        ("edgesentry-archive", "secret_access_key"): secret,
    }
    return site, f"helm_{mark}"


@contextmanager
def served(site: Site, which: str) -> Iterator[str]:
    """Starts the pod of the service here, and yields its address."""
    [container] = named(which, "Deployment")["spec"]["template"]["spec"]["containers"]
    arguments, environment = site.start(which, container)
    log = site.folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(arguments, env=environment, cwd=site.folder, stderr=stderr)
    try:
        until = time.monotonic() + 60
        while not (said := re.search(r'"message":"listening","url":"([^"]+)"', log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield said[1]
    finally:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()


def probes(which: str, url: str) -> dict[str, int]:
    """Returns the statuses of the service's probes; the kubelet does not check certificates."""
    [container] = named(which, "Deployment")["spec"]["template"]["spec"]["containers"]
    context = ssl._create_unverified_context()
    answers = {}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container[kind]["httpGet"]
        assert (probe["port"], url.split(":")[0]) == ("ingest", probe["scheme"].lower())
        with urllib.request.urlopen(url + probe["path"], context=context, timeout=30) as answer:
            answers[kind] = answer.status
    return answers


def test_the_service_starts_on_sqlite(tmp_path: Path) -> None:
    site = here(tmp_path)
    with served(site, "sqlite") as url:
        assert set(probes("sqlite", url).values()) == {200}
    assert (tmp_path / "data" / "edgesentry.db").is_file()


def test_settings_are_toml_with_whole_numbers() -> None:
    text = named("everything", "ConfigMap")["data"]["eds.toml"]
    given = yaml.safe_load((Path(__file__).parent / "helm" / "everything.yaml").read_text())["settings"]
    settings = tomllib.loads(text)
    for table, content in given.items():
        if isinstance(content, dict):
            assert content.items() <= settings[table].items()
        else:
            assert settings[table] == content
    assert settings["serve"]["limits"]["batch_bytes"] == 1 << 30
    assert isinstance(settings["serve"]["limits"]["batch_bytes"], int)
    assert settings["telemetry"] == {"log_filter": "edgesentry_rs=info"}, "the default stays"


def certificate(folder: Path) -> None:
    """Creates a self-signed certificate with its key."""
    files = ["-out", str(folder / "tls.crt"), "-keyout", str(folder / "tls.key")]
    request = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*request, *files], check=True, capture_output=True)


def test_service_and_jobs_run_with_everything(tmp_path: Path) -> None:
    """On PostgreSQL and S3, with TLS and the authorities of devices, under the variables of Secrets.

    First the service, then the jobs in the order of a night, without the drills.
    """
    site, database = with_servers(tmp_path)
    edgesentry.Device.generate("operations").save_seed(tmp_path / "keys" / "signing.seed")
    certificate(tmp_path / "etc" / "tls")
    shutil.copy(tmp_path / "etc" / "tls" / "tls.crt", tmp_path / "etc" / "client-ca" / "ca.crt")
    try:
        with served(site, "everything") as url:
            assert set(probes("everything", url).values()) == {200}
        lift = device(1)
        payloads = f"folder:{tmp_path / 'data'}"
        with edgesentry.open(site.secrets["edgesentry-ledger", "url"], payloads) as ledger:
            ledger.register_device(lift)
            assert ledger.ingest(lift.sign(b"door", "1.bin"), b"door").ok
        for job in ("heads", "backup", "dump", "verify-backup", "verify-dump", "retention", "watch-postgres"):
            if job == "watch-postgres":
                container = watch("everything")
            else:
                [container] = cronjobs("everything")[f"CronJob/audit-edgesentry-{job}"]["containers"]
            arguments, environment = site.start("everything", container)
            done = subprocess.run(
                arguments, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{job}: {done.stdout}{done.stderr}"
    finally:
        psql(f"DROP DATABASE {database} WITH (FORCE)")
    metrics = (tmp_path / "state" / "metrics" / "ops.prom").read_text()
    for series in ('last_success_timestamp_seconds{kind="base"}', '{kind="dump"}', "heads_last_success"):
        assert series in metrics
    assert "heads" in json.loads((tmp_path / "state" / "heads.json").read_text())
