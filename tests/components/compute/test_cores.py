"""ECS services of Cores."""

from typing import Any

import pytest

from tests.components.edge.waf import BROWSER, Request, WebAcl
from tests.components.program import CLIENT_SECRET, CORES_DOMAIN, OPTIONS, ZONE, Program, run
from tests.components.settings.stack_settings import CORE

TOKEN = CORE["token_secret_arn"]


def program() -> Program:
    return run("dev", changes=OPTIONS)


def container() -> dict[str, Any]:
    (definition,) = program().containers("core-files")
    return dict(definition)


def test_core_container_has_hardening_of_the_gateway() -> None:
    (gateway,) = program().containers("gateway")
    core = container()
    for key in (
        "user",
        "privileged",
        "readonlyRootFilesystem",
        "linuxParameters",
        "mountPoints",
        "stopTimeout",
    ):
        assert core[key] == gateway[key], key
    assert core["image"].endswith(f"gatehouse-dev-core-files@{CORE['image_digest']}")
    assert core["logConfiguration"]["options"]["awslogs-group"] == "/gatehouse/dev/core-files"
    assert core["healthCheck"]["command"] == ["CMD", "python", "health.py"]
    assert "command" not in core


def test_core_gets_registration_variables() -> None:
    assert program().variables("core-files") == {
        "CORE_NAME": "files",
        "CORE_URL": "http://files.cores.gatehouse-dev.internal:9000",
        "GATEHOUSE_GATEWAY_URL": "https://gateway.dev.gatehouse.example.com",
    }


def test_core_has_no_public_address() -> None:
    service = program().get("ecs.Service", "core-files").inputs
    assert "loadBalancers" not in service
    assert service["serviceRegistries"]["registryArn"] == "arn:aws:mock:::files"
    assert service["networkConfiguration"]["assignPublicIp"] is False
    assert "deploymentConfiguration" not in service, "no load balancer"


@pytest.mark.parametrize(
    ("secret", "process"),
    [(TOKEN, "core-files"), (CLIENT_SECRET, "console")],
    ids=["Core", "console"],
)
def test_secret_of_a_process_is_decrypted_for_it_only(secret: str, process: str) -> None:
    key = program().statements("kms.Key", "secrets")
    decrypt = [s for s in key.values() if secret in str(s)]
    assert [s["Principal"]["AWS"] for s in decrypt] == [
        [f"arn:aws:iam::123456789012:role/gatehouse-dev-{process}-execution"]
    ]


def test_gateway_allows_app_subnets_as_core_networks() -> None:
    tier = {
        a.inputs["cidrBlock"] for a in program().of_type("ec2.Subnet") if a.name.startswith("app-")
    }
    assert set(program().variables("gateway")["GATEHOUSE_CORE_NETWORKS"].split(",")) == tier
    assert run("dev").variables("gateway")["GATEHOUSE_CORE_NETWORKS"] == ""


def test_cores_have_host_names() -> None:
    wildcard, gateway = f"*.{CORES_DOMAIN}", "gateway.dev.gatehouse.example.com"
    certificate = program().get("acm.Certificate", "certificate").inputs
    assert certificate["subjectAlternativeNames"].count(wildcard) == 1
    validation = program().get("acm.CertificateValidation", "certificate")
    names = {certificate["domainName"], *certificate["subjectAlternativeNames"]}
    assert len(validation.inputs["validationRecordFqdns"]) == len(names)
    records = program().inputs("route53.Record")
    assert records["cores"]["name"] == wildcard
    assert records["cores"]["aliases"] == records["gateway"]["aliases"]
    rules = {rule.name: rule.inputs["conditions"] for rule in program().of_type("lb.ListenerRule")}
    for name in ("forward-gateway", "test-gateway"):
        assert rules[name][0]["hostHeader"]["values"] == [gateway, wildcard]
    # Quotas of a rule: five values, three for each condition.
    for conditions in rules.values():
        values = [next(iter(condition.values()))["values"] for condition in conditions]
        assert max(map(len, values)) <= 3
        assert sum(map(len, values)) <= 5
    assert wildcard not in rules["metrics"][1]["hostHeader"]["values"]
    assert program().variables("gateway")["GATEHOUSE_CORES_DOMAIN"] == CORES_DOMAIN


def test_cores_have_no_host_names_by_default() -> None:
    assert run("dev").variables("gateway")["GATEHOUSE_CORES_DOMAIN"] == ""
    assert "*" not in str(run("dev").get("acm.Certificate", "certificate").inputs)


def test_web_acl_treats_hosts_of_cores_like_the_gateway() -> None:
    acl = WebAcl(program().get("wafv2.WebAcl", "web-acl").inputs)
    for name in (f"docs.{CORES_DOMAIN}", f"Docs.{CORES_DOMAIN}:443"):
        for path in ("/metrics", "/app.log", "/v1/x/../../etc/hosts", "/" + "x" * 2_000):
            assert acl.blocked_by(Request(host=name, path=path)) is None
        attack = Request(host=name, path="/x", headers={**BROWSER, "x": "${jndi:ldap://x}"})
        assert acl.blocked_by(attack) == "known-bad-inputs/Log4JRCE_HEADER"
    for name in ("gateway.dev.gatehouse.example.com", f"docs.{CORES_DOMAIN}.example.com"):
        assert acl.blocked_by(Request(host=name, path="/metrics")) == "metrics"


def test_domain_of_cores_can_be_in_an_existing_zone() -> None:
    changes = {"cores_domain": "apps.example.com", "existing_resources": {"zone_id": ZONE}}
    records = run("dev", changes=changes).of_type("route53.Record")
    assert ("*.apps.example.com", ZONE) in [
        (item.inputs["name"], item.inputs["zoneId"]) for item in records
    ]
