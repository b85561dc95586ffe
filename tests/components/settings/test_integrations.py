"""Variables and keys of settings for external systems."""

import re

from tests.components.program import CLOSED, LEGACY_FILES, OPTIONS, TOPIC, Program, run


def with_options() -> Program:
    return run("dev", changes=OPTIONS)


def egress(program: Program) -> set[tuple[str, int]]:
    rules = (resource.inputs for resource in program.of_type("vpc.SecurityGroupEgressRule"))
    return {
        (rule["cidrIpv4"], rule["toPort"])
        for rule in rules
        if rule["securityGroupId"] == "console-id" and "cidrIpv4" in rule
    }


def test_console_gets_settings_of_external_systems() -> None:
    program = with_options()
    assert {
        name: value for name, value in program.variables("console").items() if "OIDC" in name
    } == {
        "GATEHOUSE_OIDC_ISSUER": "https://login.example.com",
        "GATEHOUSE_OIDC_AUDIENCE": "gatehouse",
        "GATEHOUSE_OIDC_CLAIM": "groups",
        "GATEHOUSE_OIDC_CLIENT_ID": "console",
        "GATEHOUSE_OIDC_ROLES": "platform=owner,on-call=operator",
        "GATEHOUSE_OIDC_SCOPES": "openid groups",
    }
    assert program.variables("console")["GATEHOUSE_LEGACY_FILES"] == ",".join(LEGACY_FILES)
    assert program.variables("console")["GATEHOUSE_NOTIFICATION_TOPIC"] == TOPIC
    assert program.variables("console")["GATEHOUSE_NOTIFICATION_SENDER"] == "keys@example.com"
    assert not [
        name for name in program.variables("gateway") if re.search("OIDC|LEGACY|NOTIFICATION", name)
    ]


def test_console_has_egress_to_configured_systems_only() -> None:
    assert egress(run("dev")) == egress(with_options()) == {("0.0.0.0/0", 443)}
    program = run("dev", changes=CLOSED)
    assert egress(program) == {("10.30.0.0/16", 443)}
    assert program.variables("console")["GATEHOUSE_WEBHOOK_NETWORKS"] == "10.30.0.0/16"


def test_environment_variable_reaches_its_processes_only() -> None:
    program = with_options()
    assert program.variables("gateway")["GATEHOUSE_CORE_REQUESTS_MAX"] == "50"
    assert "GATEHOUSE_CORE_REQUESTS_MAX" not in program.variables("console")
    assert [
        program.variables(process)["GATEHOUSE_FEATURES"] for process in ("gateway", "console")
    ] == ["webhooks=off"] * 2
    assert "GATEHOUSE_FEATURES" not in program.variables("migrate")
