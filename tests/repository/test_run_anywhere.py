"""The files in examples/run-anywhere: their structure, their variables, and the processes that they
start.
"""

import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import httpx
import pytest
import yaml
from botocore.validate import validate_parameters
from gatehouse.platform.settings import PREFIX, load

from components import contract
from sandbox import child_processes
from sandbox.local import servers
from sandbox.local.services import wait_ready
from sandbox.ports import HOST, free_port
from tests import processes
from tests.runtime.features.secrets.conftest import aws
from tests.runtime.features.secrets.services import BUCKET, TABLE

__all__ = ["aws"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples/run-anywhere"
GUIDE = ROOT / "docs/guides/run-anywhere.md"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
MANIFESTS = list(yaml.safe_load_all((FOLDER / "kubernetes/kubernetes.yaml").read_text()))
ECS = json.loads((FOLDER / "ecs-task-definition.json").read_text())
CONTRACT = contract.document()
COMMANDS = Path(sys.executable).parent
#: Variables without which a process stops or does not do its work. The settings check the others.
REQUIRED = {
    # Without the networks of Cores, a Core with a private address cannot register.
    "gateway": {"GATEHOUSE_REDIS_URL", "GATEHOUSE_PEPPER", "GATEHOUSE_CORE_NETWORKS"},
    "console": {
        "GATEHOUSE_REDIS_URL",
        "GATEHOUSE_PEPPER",
        "GATEHOUSE_SESSION_KEY",
        "GATEHOUSE_BOOTSTRAP_TOKEN",
    },
    "migrate": {"GATEHOUSE_DATABASE_URL"},
}
PASSWORDS = ("OWNER_PASSWORD", "APP_PASSWORD")
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:-|:\?)([^}]*))?\})")


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """The text with the values that Docker Compose inserts."""

    def value(match: re.Match[str]) -> str:
        dollar, name, operator, default = match.groups()
        if dollar:
            return "$"
        if operator == ":?" and not variables.get(name):
            raise ValueError(f"required variable {name} is missing a value")
        return variables.get(name) or default or ""

    return _REFERENCE.sub(value, text)


def compose_environment(service: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a container. A variable without a value has that of the caller, if any."""
    rows = COMPOSE["services"][service]["environment"].items()
    return {
        name: interpolated(text, variables) if text is not None else variables[name]
        for name, text in rows
        if text is not None or name in variables
    }


def create_env() -> dict[str, str]:
    printed = processes.run([sys.executable, FOLDER / "create_env.py"], check=True).stdout
    return dict(line.split("=", 1) for line in printed.splitlines())


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    return create_env()


def assert_settings(process: str, environment: Mapping[str, str]) -> None:
    """Asserts that the process accepts the variables, reads all of them and needs no others."""
    own = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
    load(filled(own))
    assert set(own) >= REQUIRED.get(process, set())
    rows = [row for part in ("variable", "secret", "optional") for row in CONTRACT[part]]
    reads = {"sharing": "console"}.get(process, process)
    declared = {row["name"] for row in rows if reads in row["processes"]}
    # Without IAM, all processes have a password.
    assert set(own) - declared - {"GATEHOUSE_DATABASE_PASSWORD"} == set()


def filled(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with values instead of <...>."""
    networks = ("GATEHOUSE_TRUSTED_PROXIES", "GATEHOUSE_CORE_NETWORKS")
    values = dict.fromkeys(networks, "10.0.0.0/16")
    return {
        name: values[name] if "<" in text and name in values else re.sub(r"<[^>]+>", "x", text)
        for name, text in environment.items()
    }


@pytest.mark.parametrize("process", ["gateway", "console", "sharing", "migrate"])
def test_compose_sets_the_variables_of_each_process(
    process: str, variables: dict[str, str]
) -> None:
    service = COMPOSE["services"][process]
    assert_settings(process, compose_environment(process, variables))
    command = {"migrate": ["gatehouse", "migrate"]}.get(process, ["gatehouse", "serve", process])
    assert service["command"] == command
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    if process != "migrate":
        port = CONTRACT["service"][process]["port"]
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert service["healthcheck"]["test"] == ["CMD", "healthcheck", str(port)]


def test_command_of_the_guide_creates_a_private_file_once(tmp_path: Path) -> None:
    (line,) = re.findall(r"(?m)^\$ (\(umask.*\))$", GUIDE.read_text())
    program = "docker run --rm --interactive gatehouse python"
    assert program in line
    command = ["bash", "-c", line.replace(program, sys.executable)]
    (tmp_path / "create_env.py").write_text((FOLDER / "create_env.py").read_text())
    assert processes.run(command, cwd=tmp_path).returncode == 0
    created = (tmp_path / ".env").read_text()
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert created.count("\n") > 5
    assert processes.run(command, cwd=tmp_path).returncode != 0
    assert (tmp_path / ".env").read_text() == created


def test_files_contain_no_secret(variables: dict[str, str]) -> None:
    secret = re.compile(r"PASSWORD|PEPPER|SESSION_KEY|TOKEN|REDIS_URL|ACCESS_KEY")
    for service in COMPOSE["services"].values():
        for name, text in service.get("environment", {}).items():
            if secret.search(name):
                assert text is None or re.fullmatch(r"\$\{\w+:\?\}", text), name
    for container in kubernetes_containers().values():
        for row in container["env"]:
            assert ("valueFrom" in row) == bool(secret.search(row["name"])), row["name"]
    for container in ECS["containerDefinitions"]:
        assert [row for row in container["environment"] if secret.search(row["name"])] == []
    assert len({*variables.values()}) == len(variables)
    again = create_env()
    assert {name for name in variables if variables[name] == again[name]} == {"COMPOSE_PROFILES"}


def pods() -> dict[str, Any]:
    workloads = [row for row in MANIFESTS if row["kind"] in {"Deployment", "Job"}]
    return {row["metadata"]["name"]: row["spec"]["template"]["spec"] for row in workloads}


def kubernetes_containers() -> dict[str, Any]:
    return {row["name"]: row for pod in pods().values() for row in pod["containers"]}


@pytest.mark.parametrize("process", ["gateway", "console", "migrate"])
def test_kubernetes_runs_each_process(process: str, variables: dict[str, str]) -> None:
    pod = pods()[f"gatehouse-{process}"]
    (container,) = pod["containers"]
    (settings,) = (row["data"] for row in MANIFESTS if row["kind"] == "ConfigMap")
    environment = dict(settings) if "envFrom" in container else {}
    for row in container["env"]:
        source = row.get("valueFrom", {}).get("secretKeyRef")
        environment[row["name"]] = variables[source["key"]] if source else row["value"]
    assert_settings(process, environment)
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    if process == "migrate":
        return
    service = CONTRACT["service"][process]
    assert container["ports"] == [{"name": "http", "containerPort": service["port"]}]
    assert container["livenessProbe"]["httpGet"]["path"] == service["health"]
    assert container["readinessProbe"]["httpGet"]["path"] == service["ready"]
    (published,) = (
        row["spec"]
        for row in MANIFESTS
        if row["kind"] == "Service" and row["metadata"]["name"] == f"gatehouse-{process}"
    )
    (deployment,) = (
        row["spec"]
        for row in MANIFESTS
        if row["kind"] == "Deployment" and row["metadata"]["name"] == f"gatehouse-{process}"
    )
    assert published["selector"] == deployment["selector"]["matchLabels"]
    assert published["selector"] == deployment["template"]["metadata"]["labels"]
    stop_s = int(settings["GATEHOUSE_DRAIN_S"]) + load(filled(environment)).stop_timeout_s
    assert pod["terminationGracePeriodSeconds"] > stop_s


def test_replicas_are_spread_and_drained_one_at_a_time() -> None:
    named = {(row["kind"], row["metadata"]["name"]): row["spec"] for row in MANIFESTS[1:]}
    deployments = [name for kind, name in named if kind == "Deployment"]
    assert len(deployments) == 2
    for name in deployments:
        selector = named["Deployment", name]["selector"]
        budget = named["PodDisruptionBudget", name]
        assert budget["selector"] == selector
        assert budget["maxUnavailable"] < named["Deployment", name]["replicas"]
        spread = pods()[name]["topologySpreadConstraints"]
        assert [row["topologyKey"].rpartition("/")[2] for row in spread] == ["zone", "hostname"]
        assert all(row["labelSelector"] == selector for row in spread)


def test_examples_call_the_service_that_kubernetes_creates() -> None:
    services = {row["metadata"]["name"] for row in MANIFESTS if row["kind"] == "Service"}
    called = set()
    for file in (ROOT / "examples/proxies").glob("*.yaml"):
        text = file.read_text()
        called |= set(re.findall(r"[/ ]([\w-]+\.[\w-]+)\.svc\.cluster\.local", text))
        for document in yaml.safe_load_all(text):
            for row in (
                document.get("spec", {}).get("extAuth", {}).get("http", {}).get("backendRefs", ())
            ):
                called.add(f"{row['name']}.{row['namespace']}")
    assert called == {"gatehouse-gateway.gatehouse"}
    assert "gatehouse-gateway" in services
    assert "--namespace gatehouse" in GUIDE.read_text()


@pytest.mark.parametrize("process", ["gateway", "console", "migrate"])
def test_ecs_task_runs_each_process(process: str, variables: dict[str, str]) -> None:
    (container,) = (row for row in ECS["containerDefinitions"] if row["name"] == process)
    environment = {row["name"]: row["value"] for row in container["environment"]}
    for row in container["secrets"]:
        key = row["valueFrom"].removeprefix("<ARN of the secret>:").removesuffix("::")
        environment[row["name"]] = variables[key]
    assert_settings(process, environment)
    (mount,) = container["mountPoints"]
    assert mount["containerPath"] == "/tmp"
    assert {"name": mount["sourceVolume"]} in ECS["volumes"]
    assert container["readonlyRootFilesystem"] is True


def test_ecs_task_definition_is_accepted_by_the_api_model() -> None:
    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.operation_model("RegisterTaskDefinition").input_shape
    assert shape is not None
    validate_parameters(ECS, shape)


# --- The processes of compose.yaml, on PostgreSQL and Valkey of this machine ---


@dataclass(frozen=True)
class Stores:
    """PostgreSQL after roles.sql, and Valkey as compose.yaml starts it."""

    postgres: servers.Postgres
    valkey_port: int

    def environment(self, service: str, variables: Mapping[str, str]) -> dict[str, str]:
        environment = compose_environment(service, variables)
        for name, (host, port) in {
            "GATEHOUSE_DATABASE_URL": ("postgres:5432", self.postgres.port),
            "GATEHOUSE_REDIS_URL": ("valkey:6379", self.valkey_port),
        }.items():
            if name in environment:
                assert f"@{host}/" in environment[name]
                environment[name] = environment[name].replace(host, f"{HOST}:{port}")
        return {**child_processes.plain_environment(), **environment}


@contextmanager
def valkey(variables: Mapping[str, str], folder: Path) -> Iterator[int]:
    """The server that the command of compose.yaml starts, on another port."""
    port = free_port()
    binary = servers._redis_binary()
    processes.executable(
        folder / "bin/valkey-server",
        f'#!/bin/sh\nexec {binary} "$@" --port {port} --bind {HOST} --dir {folder}\n',
    )
    service = COMPOSE["services"]["valkey"]
    environment = {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        **compose_environment("valkey", variables),
    }
    command = [interpolated(part, {}) for part in service["command"]]
    child = child_processes.start(
        "valkey", command, log=folder / "valkey.log", env=environment, cwd=folder
    )
    try:
        child_processes.wait_until(child, lambda: servers._redis_ready(port), "ready", 60)
        yield port
    finally:
        child.stop()


@pytest.fixture(scope="module")
def stores(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("stores")
    with servers.postgres() as server, valkey(variables, folder) as port:
        # Not a superuser, as with managed databases.
        password = secrets.token_hex(16)
        server.sql(
            f"DROP DATABASE {servers.DATABASE}; DROP ROLE {servers.OWNER_ROLE}, "
            f"{servers.APP_ROLE}, rds_superuser, rds_iam;"
            f"CREATE ROLE administrator LOGIN CREATEROLE CREATEDB PASSWORD '{password}';"
        )
        environment = {
            **os.environ,
            **{name: variables[name] for name in PASSWORDS},
            "PGPASSWORD": password,
        }
        url = f"postgresql://administrator@{HOST}:{server.port}/postgres"
        command = [str(server.binaries / "psql"), url, "--no-psqlrc", "--set=ON_ERROR_STOP=1"]
        result = processes.run([*command, f"--file={FOLDER / 'roles.sql'}"], env=environment)
        assert result.returncode == 0, result.stderr
        yield Stores(server, port)


def command(service: str) -> list[str]:
    program, *arguments = COMPOSE["services"][service]["command"]
    return [str(COMMANDS / program), *arguments]


@pytest.fixture(scope="module")
def migrated(
    stores: Stores, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Stores:
    environment = stores.environment("migrate", variables)
    log = tmp_path_factory.mktemp("migrate") / "log"
    child_processes.run("migrate", command("migrate"), env=environment, log=log)
    return stores


@contextmanager
def serving(
    stores: Stores, variables: Mapping[str, str], folder: Path, *services: str, **more: str
) -> Iterator[dict[str, str]]:
    """The services with the environment of compose.yaml, on other ports. They must stop after
    SIGTERM.
    """
    children, urls = [], {}
    try:
        for service in services:
            port = free_port()
            environment = {
                **stores.environment(service, variables),
                "GATEHOUSE_BIND": HOST,
                f"GATEHOUSE_{service.upper()}_PORT": str(port),
                **more,
            }
            log = folder / f"{service}.log"
            child = child_processes.start(service, command(service), log=log, env=environment)
            children.append(child)
            urls[service] = f"http://{HOST}:{port}"
            wait_ready(child, f"{urls[service]}/readyz")
        yield urls
    finally:
        codes = [child.stop() for child in children]
    assert codes == [0] * len(services)


@pytest.fixture(scope="module")
def urls(
    migrated: Stores, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("services")
    with serving(migrated, variables, folder, "gateway", "console") as urls:
        yield urls


def test_processes_of_compose_verify_and_revoke_a_key(
    urls: dict[str, str], variables: dict[str, str]
) -> None:
    authorization = {"Authorization": f"Bearer {variables['GATEHOUSE_BOOTSTRAP_TOKEN']}"}
    with httpx.Client(timeout=60, trust_env=False) as client:
        for url in urls.values():
            checks = client.get(f"{url}/readyz").json()["checks"]
            assert {"database", "redis"} <= set(checks)
            assert set(checks.values()) == {"ok"}
        keys = f"{urls['console']}/v1/keys"
        reply = client.post(keys, json={"name": "a key"}, headers=authorization)
        assert reply.status_code == 201, reply.text
        key = reply.json()

        def verify() -> dict[str, Any]:
            body = {"token": key["token"]}
            result = client.post(f"{urls['gateway']}/v1/keys/verify", json=body)
            document: dict[str, Any] = result.json()
            return document

        assert verify()["code"] == "VALID"
        identifier = key["key"]["id"]
        revoked = client.post(f"{keys}/{identifier}/revoke", json={}, headers=authorization)
        assert revoked.is_success, revoked.text
        assert verify()["valid"] is False
        refused = client.post(keys, json={"name": "a key"}, headers={"Authorization": "Bearer x"})
        assert refused.status_code == 401


def test_console_without_aws_offers_no_secrets(
    urls: dict[str, str], variables: dict[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {variables['GATEHOUSE_BOOTSTRAP_TOKEN']}"}
    reply = httpx.post(
        f"{urls['console']}/v1/secrets",
        json={"text": "x"},
        headers=headers,
        timeout=60,
        trust_env=False,
    )
    assert reply.status_code == 404, reply.text
    assert "GATEHOUSE_SECRET_LINKS_TABLE" in reply.json()["detail"]


def test_sharing_profile_hands_over_a_secret(
    migrated: Stores, variables: dict[str, str], aws: str, tmp_path: Path
) -> None:
    credentials = ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    with_aws = {
        **variables,
        "SECRET_LINKS_TABLE": TABLE,
        "SECRETS_BUCKET": BUCKET,
        "SECRETS_KEY": aws,
        **{name: os.environ[name] for name in credentials},
    }
    headers = {"Authorization": f"Bearer {variables['GATEHOUSE_BOOTSTRAP_TOKEN']}"}
    endpoint = {"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
    with (
        serving(migrated, with_aws, tmp_path, "console", "sharing", **endpoint) as urls,
        httpx.Client(timeout=60, trust_env=False) as client,
    ):
        document = {"text": "s3cret", "ttl_s": 3600}
        reply = client.post(f"{urls['console']}/v1/secrets", json=document, headers=headers)
        assert reply.status_code == 201, reply.text
        link = {"link": reply.json()["links"][0]["url"]}
        opened = client.post(f"{urls['sharing']}/v1/links/open", json=link)
        assert opened.json()["items"][0]["text"] == "s3cret"
