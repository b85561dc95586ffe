"""Settings for external systems, and the resulting variables, permissions and network rules."""

import json

from tests.components.program import Program, run

LEGACY_FILES = ["s3://old-bucket/api_keys.json", "s3://old-bucket/ngrok_urls.json"]
OBJECTS = ["arn:aws:s3:::old-bucket/api_keys.json", "arn:aws:s3:::old-bucket/ngrok_urls.json"]
CLIENT_SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gatehouse/dev/oidc-AbCdEf"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:keys"
SIGN_IN = {
    "issuer": "https://login.example.com",
    "audience": "gatehouse",
    "roles": ["platform=owner", "on-call=operator"],
}
NO_PUBLIC_WEBHOOKS = {"public_webhooks": False}
EXTERNAL_SYSTEMS = {
    "legacy_files": LEGACY_FILES,
    "oidc": {
        **SIGN_IN,
        "client_id": "console",
        "client_secret_arn": CLIENT_SECRET,
        "scopes": "openid groups",
    },
    "notifications": {"topic_arn": TOPIC},
    "environment_variables": ["GATEHOUSE_CORE_REQUESTS_MAX=50", "GATEHOUSE_FEATURES=webhooks=off"],
}


def with_external_systems() -> Program:
    """The dev stack with all external systems whose resources are independent of each other."""
    return run("dev", changes=EXTERNAL_SYSTEMS)


def egress(program: Program) -> set[tuple[str, int]]:
    """Networks and ports of the console's egress rules."""
    rules = (
        resource.inputs
        for resource in program.of_type("vpc/securityGroupEgressRule:SecurityGroupEgressRule")
    )
    return {
        (rule["cidrIpv4"], rule["toPort"])
        for rule in rules
        if rule["securityGroupId"] == "console-id" and "cidrIpv4" in rule
    }


def test_console_reads_and_writes_only_legacy_files() -> None:
    program = with_external_systems()
    statement = program.permissions("console-task")["LegacyFiles"]
    assert (statement["Action"], statement["Resource"]) == (
        ["s3:GetObject", "s3:PutObject"],
        OBJECTS,
    )
    assert program.variables("console")["GATEHOUSE_LEGACY_FILES"] == ",".join(LEGACY_FILES)
    assert "GATEHOUSE_LEGACY_FILES" not in program.variables("gateway")
    for other in (program.permissions("gateway-task"), run("dev").permissions("console-task")):
        assert "LegacyFiles" not in other
    assert "LegacyFiles" not in run("dev").statements("ec2/vpcEndpoint:VpcEndpoint", "s3")


def test_s3_endpoint_allows_legacy_files_of_other_accounts() -> None:
    program = with_external_systems()
    statement = program.statements("ec2/vpcEndpoint:VpcEndpoint", "s3")["LegacyFiles"]
    assert statement["Resource"] == OBJECTS
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": "123456789012"}}


def test_console_gets_oidc_settings_of_stack_file() -> None:
    program = run("dev", changes={"oidc": SIGN_IN, "notifications": NO_PUBLIC_WEBHOOKS})
    assert {
        name: value for name, value in program.variables("console").items() if "OIDC" in name
    } == {
        "GATEHOUSE_OIDC_ISSUER": "https://login.example.com",
        "GATEHOUSE_OIDC_AUDIENCE": "gatehouse",
        "GATEHOUSE_OIDC_CLAIM": "groups",
        "GATEHOUSE_OIDC_ROLES": "platform=owner,on-call=operator",
        "GATEHOUSE_OIDC_SCOPES": "openid profile",
    }
    assert not any("OIDC" in name for name in program.variables("gateway"))
    assert ("0.0.0.0/0", 443) in egress(program), "for the JWKS of the identity provider"


def test_client_secret_is_injected_into_console_only() -> None:
    program = with_external_systems()
    (container,) = program.containers("console")
    assert {"name": "GATEHOUSE_OIDC_CLIENT_SECRET", "valueFrom": CLIENT_SECRET} in container[
        "secrets"
    ]
    variables = program.variables("console")
    assert (variables["GATEHOUSE_OIDC_CLIENT_ID"], variables["GATEHOUSE_OIDC_SCOPES"]) == (
        "console",
        "openid groups",
    )
    assert variables["GATEHOUSE_CONSOLE_URL"].startswith("https://")
    assert CLIENT_SECRET in program.permissions("console-execution")["InjectSecrets"]["Resource"]
    assert CLIENT_SECRET not in json.dumps(program.permissions("gateway-execution"))
    key = program.policy("kms/key:Key", "secrets")
    (statement,) = (
        statement for statement in key["Statement"] if CLIENT_SECRET in json.dumps(statement)
    )
    assert statement["Principal"]["AWS"] == [
        "arn:aws:iam::123456789012:role/gatehouse-dev-console-execution"
    ]


def test_console_has_no_egress_without_public_webhooks() -> None:
    assert egress(run("dev", changes={"notifications": NO_PUBLIC_WEBHOOKS})) == set()
    assert egress(run("dev")) == {("0.0.0.0/0", 443)}


def test_console_reaches_private_webhook_networks_on_443() -> None:
    program = run(
        "dev",
        changes={"notifications": {**NO_PUBLIC_WEBHOOKS, "webhook_networks": ["10.30.0.0/16"]}},
    )
    assert egress(program) == {("10.30.0.0/16", 443)}
    assert program.variables("console")["GATEHOUSE_WEBHOOK_NETWORKS"] == "10.30.0.0/16"


def test_console_publishes_to_topic_of_stack_file() -> None:
    program = with_external_systems()
    statement = program.permissions("console-task")["PublishNotifications"]
    assert (statement["Action"], statement["Resource"]) == (["sns:Publish"], [TOPIC])
    assert program.variables("console")["GATEHOUSE_NOTIFICATION_TOPIC"] == TOPIC
    assert "PublishNotifications" not in run("dev").permissions("console-task")


def test_environment_variable_reaches_its_processes_only() -> None:
    program = with_external_systems()
    assert program.variables("gateway")["GATEHOUSE_CORE_REQUESTS_MAX"] == "50"
    assert "GATEHOUSE_CORE_REQUESTS_MAX" not in program.variables("console")
    assert [
        program.variables(process)["GATEHOUSE_FEATURES"] for process in ("gateway", "console")
    ] == ["webhooks=off"] * 2
    assert "GATEHOUSE_FEATURES" not in program.variables("migrate")
