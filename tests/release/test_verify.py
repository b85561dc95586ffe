"""Verification of the ECS services, the URLs and the canary key."""

import hashlib
import importlib.util
import io
import json
import re
import zipfile
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws
from pulumi_local.values import zip_bytes

from release import verify
from release.pulumi.state import State
from release.verify import POLL_S, probe_errors, rollout_error, rollout_errors
from sandbox.emulator.server import Emulator
from tests import certificates, http_servers
from tests.components.program import CERTIFICATE, CLOUDFRONT, COMPANY, run
from tests.release.fake_aws import NEW, FakeStack
from tests.release.fake_cli import FakePulumi, deployed

WANTED = "arn:aws:ecs:eu-west-1:123456789012:task-definition/gateway:2"


def service(
    definition: str = WANTED, state: str = "COMPLETED", running: int = 2, **other: Any
) -> dict[str, Any]:
    counts = {"runningCount": running, "desiredCount": 2}
    primary = {"status": "PRIMARY", "taskDefinition": definition, "rolloutState": state}
    return {"deployments": [{**primary, **counts, **other}]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "runs no task "),
        (service(WANTED.replace(":2", ":1"), rolloutStateReason="alarm x"), "gateway:1 "),
        (service(state="FAILED", running=0, rolloutStateReason="tasks failed"), "tasks failed"),
        (service(state="IN_PROGRESS", running=1), "IN_PROGRESS, 1 of 2"),
        (service(running=1), "1 of 2"),
        (service(), ""),
    ],
)
def test_service_that_does_not_run_the_version_is_an_error(
    row: dict[str, Any], message: str
) -> None:
    error = rollout_error(row, WANTED)
    assert bool(error) == bool(message)
    assert message in error


@pytest.fixture
def ecs() -> Iterator[Any]:
    with Emulator.start() as emulator:
        yield emulator.client("ecs", "eu-west-1")


@pytest.mark.parametrize("tasks", [0, 2])
def test_rollout_is_waited_for_until_the_timeout(
    ecs: Any, tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto starts no tasks of a service."""
    monkeypatch.setattr(verify, "ROLLOUT", {"Delay": 0, "MaxAttempts": 2})
    definition = ecs.register_task_definition(
        family="gateway", containerDefinitions=[{"name": "gateway", "image": "x", "memory": 64}]
    )["taskDefinition"]["taskDefinitionArn"]
    ecs.create_cluster(clusterName="main")
    options = {"serviceName": "gateway", "taskDefinition": definition, "desiredCount": tasks}
    ecs.create_service(cluster="main", **options)
    errors = rollout_errors(ecs, "main", {"gateway": definition})
    assert len(errors) == (1 if tasks else 0)


@pytest.mark.parametrize(
    ("canary", "unhealthy", "code"),
    [(True, (), 0), (None, (), 0), (False, (), 1), (True, ("console",), 1)],
)
def test_services_and_canary_key_are_verified_by_the_probe(
    account: FakePulumi,
    canary: bool | None,
    unhealthy: tuple[str, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "ATTEMPTS", 1)
    account.canary, account.unhealthy = canary, unhealthy
    deployed(account, NEW)
    result = account.release("verify")
    assert (result.returncode, account.steps) == (code, ["invoke the probe"] * (canary is not None))
    assert all(f"https://{name}.acme.dev failed" in result.stderr for name in unhealthy)
    assert "ECS-09 cannot be read: " in result.stdout


def test_services_are_requested_after_a_rollback_of_ecs(account: FakePulumi) -> None:
    account.unhealthy, account.rolls_back, account.canary = ("sharing",), True, True
    deployed(account, NEW)
    result = account.release("verify")
    assert result.returncode == 1
    assert ["sharing: " in line for line in result.stderr.splitlines()] == [False, False, True]


INTERNAL = {"internal": True, "client_networks": ["10.0.0.0/8"]}
FOREIGN = {"foreign_zone": True, "certificate_arn": CERTIFICATE}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "public": ("dev", {}),
    "function for sharing": ("staging", {}),
    "prod": ("prod", {}),
    "foreign zone": ("dev", {"existing_resources": FOREIGN}),
    "internal": ("prod", {"load_balancer": INTERNAL}),
    "CloudFront": ("staging", CLOUDFRONT),
    "company": ("prod", COMPANY),
    "private CA": ("prod", {"existing_resources": FOREIGN, "load_balancer": INTERNAL}),
    "without the proxy": ("dev", {"environment_variables": ["GATEHOUSE_FEATURES=proxy=off"]}),
}
"""The forms of a stack. In those with a foreign zone, no host name has a record yet."""


@pytest.mark.parametrize("form", FORMS)
def test_first_deployment_of_each_form_is_verified_by_its_probe(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of the function that the program deploys runs with its event."""
    stack, changes = FORMS[form]
    private = form == "private CA"
    context = certificates.server_context(
        tmp_path, "*.gatehouse.example.com", "*.dev.gatehouse.example.com", "localhost"
    )
    certificate = (tmp_path / "certificate.pem").read_text()
    if private:
        balancer = {**changes["load_balancer"], "private_ca": certificate}
        changes = {**changes, "load_balancer": balancer}
    else:  # of a CA that every client trusts
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    program = run(stack, changes=changes)
    function = program.get("lambda.Function", "probe")
    zipfile.ZipFile(io.BytesIO(zip_bytes(function.inputs["code"]))).extractall(tmp_path / "code")
    assert ("vpcConfig" in function.inputs) is bool(
        changes.get("load_balancer", {}).get("internal")
    )
    balancers = program.exports["probe"]["addresses"]
    assert bool(balancers) is bool(changes.get("existing_resources", {}).get("foreign_zone"))

    class Network(http_servers.Handler):
        """The load balancer, as the network of its clients sees it."""

        def do_GET(self) -> None:
            self.respond(200, b"{}")

        def do_POST(self) -> None:
            digest = hashlib.sha256(self.body()).hexdigest()
            host = self.headers["Host"]
            self.respond_json({"valid": True, "sha256": digest, "host": host, "scheme": "https"})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Network)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with http_servers.running(server) as url, mock_aws():
        port = url.rpartition(":")[2]
        text = json.dumps(program.exports)
        for service, host in re.findall(r'"(\w+)": "https://([\w.]+)/healthz"', text):
            # A record of its own zone leads to the balancer; a foreign zone has none yet.
            known = f"{host}:{port}" if balancers else f"localhost:{port}"
            text = text.replace(f"https://{host}", f"https://{known}")
            assert service in program.exports["urls"]
        for name in set(balancers.values()):
            text = text.replace(json.dumps(name), '"127.0.0.1"')
        secret = program.exports["probe"]["event"]["canary"]["name"]
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        boto3.client("secretsmanager").create_secret(Name=secret, SecretString="gtk_test one")
        row = {"type": "pulumi:pulumi:Stack", "outputs": json.loads(text)}
        state = State({"resources": [row]})
        probe = load_probe(tmp_path / "code" / "probe.py")
        errors = probe_errors(FakeStack("dev", handler=probe.handler), state, attempts=1)
    assert errors == []


def load_probe(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("deployed_probe", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_service_that_is_not_in_service_yet_is_requested_again() -> None:
    results: list[Any] = [{"gateway": False, "canary": False}, {"gateway": True, "canary": True}]
    stack = FakeStack("dev", handler=lambda event, context: results.pop(0))
    probe = {"function": "probe", "event": {"services": {"gateway": "https://g"}, "canary": {}}}
    state = State({"resources": [{"type": "pulumi:pulumi:Stack", "outputs": {"probe": probe}}]})
    sleeps = list[float]()
    assert probe_errors(stack, state, attempts=3, sleep=sleeps.append) == []
    assert (sleeps, results) == ([POLL_S], [])
    error = {"errorType": "Sandbox.Timedout"}  # the payload of a function that failed
    results += [error] * 2
    failed = probe_errors(stack, state, attempts=2, sleep=sleeps.append)
    assert [line.partition(":")[0] for line in failed] == ["gateway", "canary"]
