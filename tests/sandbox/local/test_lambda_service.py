"""The share door of a deployed function: API, alias, command, settings and role are those of the stack, its answers those of the
container."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatehouse.settings import load_share
from gatehouse.sharing import app as sharing

from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.engine.types import Deployment
from sandbox.errors import SandboxError
from sandbox.local import lambda_service
from sandbox.local.ecs_task import Aws, Contract, Credentials
from sandbox.local.ports import HOST, Ports
from sandbox.paths import REPOSITORY

pytestmark = pytest.mark.requirement("SS-06")
STACK = "staging"
OWN = {"x-request-id", "content-length", "date", "server"}  # of one answer, or of the server in front


@dataclass(frozen=True, slots=True)
class Deployed:
    emulator: Emulator
    deployment: Deployment
    url: str
    logs: Path

    @property
    def aws(self) -> Aws:
        return Aws(self.emulator.endpoint, "eu-west-1", Credentials(*self.emulator.credentials, ""))

    def client(self, service: str) -> Any:
        return self.emulator.client(service, "eu-west-1")

    @property
    def api(self) -> str:
        return str(self.deployment.exports["functions"]["sharing"]["api"])


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The staging stack, and its function started under enforcement."""
    emulator, ports = Emulator.start(), Ports()
    children = []
    try:
        deployment = run(REPOSITORY, STACK, emulator, preview=False)
        emulator.enforce_iam(True)
        door = ports.claim()
        found = Deployed(emulator, deployment, f"http://{HOST}:{door}", tmp_path_factory.mktemp("logs"))
        wanted = lambda_service.read(found.aws, deployment.exports, "sharing")
        children = lambda_service.start(found.aws, wanted, door=door, runtime=ports.claim(), logs=found.logs)
        lambda_service.wait_ready(children, found.url)
        yield found
    finally:
        for child in children:
            child.stop()
        ports.close()
        emulator.stop()


@pytest.mark.requirement("SS-13")
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("HEAD", "/"), ("GET", "/style.css"), ("GET", "/s/x?y=1"), ("POST", "/s/x"), ("GET", "/healthz")],
)
async def test_the_function_answers_as_the_container_does(deployed: Deployed, method: str, path: str) -> None:
    settings = load_share(
        {"GATEHOUSE_ENVIRONMENT": STACK, "GATEHOUSE_SHARING_URL": deployed.deployment.exports["urls"]["sharing"]}
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sharing.build(settings)), base_url=deployed.url) as container:
        wanted = await container.request(method, path)
    with httpx.Client(trust_env=False) as client:
        answer = client.request(method, deployed.url + path)
    assert (answer.status_code, answer.text) == (wanted.status_code, "" if method == "HEAD" else wanted.text)
    assert {k: v for k, v in answer.headers.items() if k not in OWN} == {k: v for k, v in wanted.headers.items() if k not in OWN}


@pytest.mark.requirement("CG-18")
def test_the_role_of_the_function_is_enough_and_what_it_does_is_read_one_item(deployed: Deployed) -> None:
    answer = httpx.get(f"{deployed.url}/readyz", trust_env=False)
    assert (answer.status_code, answer.json()["checks"]) == (200, {"tokens": "ok"})
    assert deployed.emulator.used_actions["gatehouse-staging-sharing-function"] == {"dynamodb:GetItem"}
    assert deployed.emulator.permissions.denied == []


def test_metrics_are_not_there(deployed: Deployed) -> None:
    assert httpx.get(f"{deployed.url}/metrics", trust_env=False).status_code == 404


def test_a_method_that_the_api_lacks_gets_the_gateways_own_answer_with_safe_headers(deployed: Deployed) -> None:
    answer = httpx.delete(f"{deployed.url}/s/x", trust_env=False)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.json() == {"message": "This address cannot be used in that way"}


@pytest.mark.requirement("SS-13")
def test_neither_path_nor_body_of_a_request_is_in_a_log(deployed: Deployed) -> None:
    connection = http.client.HTTPConnection(deployed.url.removeprefix("http://"))
    connection.request("POST", "/s/canary-in-path?q=canary-in-query", body=b"\xff\x00canary-in-body")
    assert connection.getresponse().status == 404
    connection.close()
    written = b"".join(file.read_bytes() for file in deployed.logs.iterdir())
    assert b'"method":"POST"' in written
    assert b"canary" not in written


def test_a_function_that_does_not_let_the_stage_call_it_is_no_way_in(deployed: Deployed) -> None:
    client = deployed.client("lambda")
    held = json.loads(client.get_policy(FunctionName="gatehouse-staging-sharing", Qualifier="live")["Policy"])["Statement"][0]
    where: dict[str, Any] = {"FunctionName": "gatehouse-staging-sharing", "Qualifier": "live"}
    client.remove_permission(StatementId="ApiCalls", **where)
    client.add_permission(
        StatementId="Other", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com", SourceArn="arn:x", **where
    )
    try:
        with pytest.raises(SandboxError, match=r"gatehouse-staging-sharing:live does not let .*/live/ call it"):
            lambda_service.read(deployed.aws, deployed.deployment.exports, "sharing")
    finally:
        client.remove_permission(StatementId="Other", **where)
        source = held["Condition"]["ArnLike"]["AWS:SourceArn"]
        client.add_permission(
            StatementId="ApiCalls", Action=held["Action"], Principal="apigateway.amazonaws.com", SourceArn=source, **where
        )


def test_an_auditor_reads_back_how_the_api_is_set(deployed: Deployed) -> None:
    client = deployed.client("apigateway")
    api, stage = client.get_rest_api(restApiId=deployed.api), client.get_stage(restApiId=deployed.api, stageName="live")
    assert (api["disableExecuteApiEndpoint"], api["endpointConfiguration"]["types"]) == (True, ["REGIONAL"])
    assert {row["Sid"]: row["Effect"] for row in json.loads(api["policy"])["Statement"]} == {
        "AnybodyCalls": "Allow",
        "OnlyTls": "Deny",
    }
    assert stage["tracingEnabled"] is True
    assert stage["webAclArn"].startswith("arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/gatehouse-staging-edge/")
    assert stage["accessLogSettings"]["destinationArn"].endswith(":log-group:/gatehouse/staging/sharing-access")
    limits = {path: held["throttlingRateLimit"] for path, held in stage["methodSettings"].items()}
    assert limits == {"*/*": 50.0, "{proxy+}/POST": 5.0}
    role = client.get_account()["cloudwatchRoleArn"]
    assert role == "arn:aws:iam::123456789012:role/gatehouse-staging-api-log"


def test_an_auditor_reads_back_how_the_function_is_set(deployed: Deployed) -> None:
    client = deployed.client("lambda")
    found = client.get_function_configuration(FunctionName="gatehouse-staging-sharing", Qualifier="live")
    assert (found["PackageType"], found["Architectures"], found["Version"]) == ("Image", ["arm64"], "1")
    assert found["TracingConfig"] == {"Mode": "Active"}
    assert found["LoggingConfig"]["LogGroup"] == "/gatehouse/staging/sharing"
    assert found["KMSKeyArn"].startswith("arn:aws:kms:")
    reserved = client.get_function_concurrency(FunctionName="gatehouse-staging-sharing")
    assert reserved["ReservedConcurrentExecutions"] == 10


def test_the_host_name_of_the_door_leads_to_its_api_and_not_to_the_load_balancer(deployed: Deployed) -> None:
    client = deployed.client("route53")
    (zone,) = client.list_hosted_zones()["HostedZones"]
    records = {row["Name"]: row for row in client.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]}
    target = records["sharing.staging.gatehouse.example.com."]["AliasTarget"]["DNSName"]
    domain = deployed.client("apigateway").get_domain_name(domainName="sharing.staging.gatehouse.example.com")
    assert target.rstrip(".") == domain["regionalDomainName"]


def test_the_console_runs_without_the_door_as_the_contract_has_it() -> None:
    contract = Contract.read(REPOSITORY / "runtime/contract.toml", apart=["sharing"])
    assert (contract.commands["console"], contract.doors["console"]) == (("gatehouse", "serve", "console"), ("console",))
    assert "GATEHOUSE_SECRET_LINKS_TABLE" not in contract.variables["console"]


def test_a_command_that_is_not_in_the_image_is_refused(deployed: Deployed, tmp_path: Path) -> None:
    wanted = replace(
        lambda_service.read(deployed.aws, deployed.deployment.exports, "sharing"), command=("/usr/bin/python", "-m", "x")
    )
    with pytest.raises(SandboxError, match=r"starts /usr/bin/python, which is not in the image's /opt/gatehouse/bin/"):
        lambda_service.start(deployed.aws, wanted, door=1, runtime=2, logs=tmp_path)
