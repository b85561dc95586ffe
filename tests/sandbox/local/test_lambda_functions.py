"""The sharing service as a Lambda function: deployed as the stack declares, with the same responses
as the container.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatehouse.platform.settings import load_sharing
from gatehouse.services.sharing import app as sharing
from gatehouse_policies.program.runner import run
from gatehouse_policies.program.types import Deployment

from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from sandbox.local import lambda_functions
from sandbox.local.ecs_task import Aws, Credentials
from sandbox.paths import REPOSITORY
from sandbox.ports import HOST, PLAIN_HTTP, Ports

pytestmark = pytest.mark.requirement("SS-06")
STACK = "staging"
# Differ by request or server.
VARYING_HEADERS = {
    "x-request-id",
    "content-length",
    "date",
    "server",
}


@dataclass(frozen=True, slots=True)
class Deployed:
    emulator: Emulator
    deployment: Deployment
    url: str
    logs: Path

    @property
    def aws(self) -> Aws:
        return Aws(self.emulator.endpoint, "eu-west-1", Credentials(*self.emulator.credentials))

    def client(self, service: str) -> Any:
        return self.emulator.client(service, "eu-west-1")


def _stable(headers: httpx.Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in VARYING_HEADERS}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The staging stack with its function started, under IAM enforcement."""
    emulator, ports = Emulator.start(), Ports()
    child = None
    try:
        deployment = run(REPOSITORY, STACK, emulator, preview=False)
        emulator.permissions.enforce(True)
        port = ports.claim()
        target = Deployed(
            emulator, deployment, f"http://{HOST}:{port}", tmp_path_factory.mktemp("logs")
        )
        service = lambda_functions.read(target.aws, deployment.exports, "sharing")
        child = lambda_functions.start(target.aws, service, port=port, logs=target.logs)
        lambda_functions.wait_ready(child, target.url)
        yield target
    finally:
        if child is not None:
            child.stop()
        ports.close()
        emulator.stop()


@pytest.mark.requirement("SS-13")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/style.css"),
        ("GET", "/s/x?y=1"),
        ("POST", "/s/x"),
        ("GET", "/healthz"),
    ],
)
async def test_response_equals_that_of_the_container(
    deployed: Deployed, method: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    settings = load_sharing(
        {
            "GATEHOUSE_ENVIRONMENT": STACK,
            "GATEHOUSE_SHARING_URL": deployed.deployment.exports["urls"]["sharing"],
            "GATEHOUSE_SECRET_LINKS_TABLE": "not-used",
            "GATEHOUSE_SECRETS_BUCKET": "not-used",
            "GATEHOUSE_SECRETS_KEY": "not-used",
        }
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(sharing.build(settings)), base_url=deployed.url
    ) as container:
        expected = await container.request(method, path)
    with httpx.Client(trust_env=False, timeout=60, verify=PLAIN_HTTP) as client:
        response = client.request(method, deployed.url + path)
    assert (response.status_code, response.text) == (
        expected.status_code,
        "" if method == "HEAD" else expected.text,
    )
    assert _stable(response.headers) == _stable(expected.headers)


@pytest.mark.requirement("CG-18")
def test_readiness_uses_one_permission_of_the_role(deployed: Deployed) -> None:
    response = httpx.get(f"{deployed.url}/readyz", trust_env=False, timeout=60, verify=PLAIN_HTTP)
    assert (response.status_code, response.json()["checks"]) == (200, {"tokens": "ok"})
    assert deployed.emulator.permissions.used_actions["gatehouse-staging-sharing-function"] == {
        "dynamodb:GetItem"
    }
    assert deployed.emulator.permissions.denied == []


def test_metrics_are_not_public(deployed: Deployed) -> None:
    assert (
        httpx.get(
            f"{deployed.url}/metrics", trust_env=False, timeout=60, verify=PLAIN_HTTP
        ).status_code
        == 404
    )


def test_unknown_method_gets_the_gateway_response(deployed: Deployed) -> None:
    response = httpx.delete(f"{deployed.url}/s/x", trust_env=False, timeout=60, verify=PLAIN_HTTP)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, POST")
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.json() == {"message": "Method not allowed."}


@pytest.mark.requirement("SS-13")
def test_logs_have_no_path_and_no_body(deployed: Deployed) -> None:
    connection = http.client.HTTPConnection(deployed.url.removeprefix("http://"))
    connection.request(
        "POST", "/s/canary-in-path?q=canary-in-query", body=b"\xff\x00canary-in-body"
    )
    assert connection.getresponse().status == 400
    connection.close()
    logs = b"".join(file.read_bytes() for file in deployed.logs.iterdir())
    assert b'"method":"POST"' in logs
    assert b"canary" not in logs


def test_stage_without_invoke_permission_is_rejected(deployed: Deployed) -> None:
    client = deployed.client("lambda")
    alias: dict[str, Any] = {"FunctionName": "gatehouse-staging-sharing", "Qualifier": "live"}
    statement = json.loads(client.get_policy(**alias)["Policy"])["Statement"][0]
    client.remove_permission(StatementId=statement["Sid"], **alias)
    client.add_permission(
        StatementId="Other",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn="arn:x",
        **alias,
    )
    try:
        with pytest.raises(
            SandboxError,
            match=r"gatehouse-staging-sharing:live does not allow .*/live/ to invoke it",
        ):
            lambda_functions.read(deployed.aws, deployed.deployment.exports, "sharing")
    finally:
        client.remove_permission(StatementId="Other", **alias)
        source = statement["Condition"]["ArnLike"]["AWS:SourceArn"]
        client.add_permission(
            StatementId=statement["Sid"],
            Action=statement["Action"],
            Principal="apigateway.amazonaws.com",
            SourceArn=source,
            **alias,
        )


def test_other_command_than_the_runtime_client_is_rejected(
    deployed: Deployed, tmp_path: Path
) -> None:
    service = replace(
        lambda_functions.read(deployed.aws, deployed.deployment.exports, "sharing"),
        command=("/usr/bin/python", "-m", "x", "y"),
    )
    with pytest.raises(
        SandboxError,
        match=r"starts /usr/bin/python -m x, expected /opt/gatehouse/bin/python -m awslambdaric",
    ):
        lambda_functions.start(deployed.aws, service, port=1, logs=tmp_path)


def test_new_version_is_another_definition(deployed: Deployed) -> None:
    """An update of the running stack restarts a function whose definition differs."""
    name, client = "gatehouse-staging-sharing", deployed.client("lambda")
    before = lambda_functions.read(deployed.aws, deployed.deployment.exports, "sharing")
    assert lambda_functions.read(deployed.aws, deployed.deployment.exports, "sharing") == before
    client.update_function_code(
        FunctionName=name, ImageUri=f"registry.example.com/gatehouse@sha256:{'b' * 64}"
    )
    version = client.publish_version(FunctionName=name)["Version"]
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
    after = lambda_functions.read(deployed.aws, deployed.deployment.exports, "sharing")
    assert (before.version, after.version) == ("1", "2")
    assert after != before
