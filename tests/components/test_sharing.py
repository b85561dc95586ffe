"""The share service as a function: its own role and limits, nothing of a request kept, and the container runs without the service."""

import hashlib
import json
from typing import Any

import pytest

from components.contract import read
from components.naming import Naming
from components.sharing import rest_api
from tests.components.program import ROOT, Program, run

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # pulumi_aws declares its old names on import
    pytest.mark.requirement("SS-06"),
]
STACK = "staging"
NAMES = Naming(STACK, "123456789012", "eu-west-1")


def program() -> Program:
    return run(STACK)


def one(kind: str, name: str = "sharing") -> dict[str, Any]:
    return program().one(kind, name).inputs


def test_the_function_runs_the_stacks_own_image_by_digest_as_the_contract_says() -> None:
    function, wanted = one("lambda/function:Function"), read(functions=["sharing"]).functions["sharing"]
    assert function["packageType"] == "Image"
    assert function["imageUri"] == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/gatehouse-staging-runtime@sha256:" + "0" * 64
    assert function["imageConfig"] == {"entryPoints": list(wanted.entry_point), "commands": list(wanted.command)}
    assert function["architectures"] == ["arm64"]
    assert not {"runtime", "code"} & set(function)


def test_the_command_of_the_function_is_in_the_image() -> None:
    dockerfile = (ROOT / "runtime/Dockerfile").read_text(encoding="utf-8")
    wanted = read(functions=["sharing"]).functions["sharing"]
    assert f"UV_PROJECT_ENVIRONMENT={wanted.entry_point[0].removesuffix('/bin/python')}" in dockerfile
    assert wanted.entry_point[2] in (ROOT / "runtime/pyproject.toml").read_text(encoding="utf-8")
    module = wanted.command[0].rpartition(".")[0]
    assert (ROOT / "runtime" / f"{module.replace('.', '/')}.py").is_file()


@pytest.mark.requirement("CG-18")
def test_the_function_is_told_of_no_store_but_the_tokens_table_and_stays_out_of_the_network() -> None:
    function = one("lambda/function:Function")
    told = function["environment"]["variables"]
    assert set(told) == {"GATEHOUSE_ENVIRONMENT", "GATEHOUSE_SECRET_LINKS_TABLE", "GATEHOUSE_SHARING_URL", "GATEHOUSE_LOG_LEVEL"}
    assert "vpcConfig" not in function
    assert function["kmsKeyArn"] == "arn:aws:mock:::secrets"


@pytest.mark.requirement("CG-18")
def test_the_role_of_the_function_does_what_the_door_does_today_and_no_more() -> None:
    allowed = json.loads(one("iam/rolePolicy:RolePolicy", "sharing-function")["policy"])["Statement"]
    found = {action: statement["Resource"] for statement in allowed for action in statement["Action"]}
    assert found == {
        "dynamodb:GetItem": [NAMES.table_arn("tokens")],
        "logs:CreateLogStream": [f"{NAMES.log_group_arn('/gatehouse/staging/sharing')}:*"],
        "logs:PutLogEvents": [f"{NAMES.log_group_arn('/gatehouse/staging/sharing')}:*"],
        "xray:PutTraceSegments": ["*"],
        "xray:PutTelemetryRecords": ["*"],
    }


def test_the_container_has_neither_the_door_nor_its_rights() -> None:
    (container,) = json.loads(one("ecs/taskDefinition:TaskDefinition", "console")["containerDefinitions"])
    assert container["command"] == ["gatehouse", "serve", "console"]
    assert "GATEHOUSE_SECRET_LINKS_TABLE" not in {entry["name"] for entry in container["environment"]}
    assert "dynamodb" not in one("iam/rolePolicy:RolePolicy", "console-task")["policy"]
    assert "sharing" not in {asked.name for asked in program().of("lb/listenerRule:ListenerRule")}
    assert "sharing" not in {asked.name for asked in program().of("lb/targetGroup:TargetGroup")}


def test_the_keys_know_the_function_and_no_longer_the_console() -> None:
    data, secrets = (json.loads(one("kms/key:Key", key)["policy"])["Statement"] for key in ("data", "secrets"))
    (tokens,) = (statement for statement in data if statement["Sid"] == "SecretLinksTable")
    assert tokens["Principal"]["AWS"] == [NAMES.role_arn("sharing-function")]
    (own,) = (statement for statement in secrets if statement["Sid"] == "SharingReadsEnvironment")
    conditions = own["Condition"]["StringEquals"]
    assert conditions["kms:EncryptionContext:aws:lambda:FunctionArn"] == NAMES.arn("lambda", "function:gatehouse-staging-sharing")


def test_the_api_calls_one_alias_which_lets_only_that_stage_call_it() -> None:
    calls = {asked.inputs["uri"] for asked in program().of("apigateway/integration:Integration")}
    assert calls == {"arn:aws:apigateway:mock:lambda:path/functions/sharing:live/invocations"}
    assert one("lambda/alias:Alias")["name"] == "live"
    permission = one("lambda/permission:Permission")
    assert (permission["principal"], permission["qualifier"]) == ("apigateway.amazonaws.com", "live")
    assert permission["sourceArn"] == "arn:aws:execute-api:mock::a1b2c3d4e5/live/*/*"


def test_the_api_is_found_under_its_own_name_alone_over_current_tls() -> None:
    assert one("apigateway/restApi:RestApi")["disableExecuteApiEndpoint"] is True
    domain = one("apigateway/domainName:DomainName")
    assert domain["domainName"] == "sharing.staging.gatehouse.example.com"
    assert domain["securityPolicy"] == "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"
    assert domain["endpointAccessMode"] == "STRICT"
    records = {asked.inputs["name"]: asked.name for asked in program().of("route53/record:Record") if "aliases" in asked.inputs}
    assert len(records) == 3, "one host name a service, whoever serves it"


@pytest.mark.requirement("SS-13")
def test_the_access_log_keeps_neither_path_nor_query_nor_header() -> None:
    stage = one("apigateway/stage:Stage")
    line = json.loads(stage["accessLogSettings"]["format"])
    kept = " ".join(line.values()).lower()
    for word in ("$context.path", "querystring", "header", "useragent", "authorizer", "requestoverride"):
        assert word not in kept
    assert line["resource"] == "$context.resourcePath"
    assert stage["xrayTracingEnabled"] is True


def test_execution_logs_which_would_hold_headers_are_off() -> None:
    for asked in program().of("apigateway/methodSettings:MethodSettings"):
        settings = asked.inputs["settings"]
        assert (settings["loggingLevel"], settings["dataTraceEnabled"], settings["cachingEnabled"]) == ("OFF", False, False)


def test_all_callers_together_and_those_who_post_have_a_limit() -> None:
    limits = {
        asked.inputs["methodPath"]: asked.inputs["settings"]["throttlingRateLimit"]
        for asked in program().of("apigateway/methodSettings:MethodSettings")
    }
    assert limits == {"*/*": 50, "{proxy+}/POST": 5}
    assert one("lambda/function:Function")["reservedConcurrentExecutions"] == 10


def test_every_method_is_checked_and_a_body_is_held_to_the_model_whatever_its_type() -> None:
    methods = {asked.name: asked.inputs for asked in program().of("apigateway/method:Method")}
    assert set(methods) == {f"sharing-{method.name}" for method in rest_api.METHODS}
    assert all("requestValidatorId" in method for method in methods.values())
    taking = {name: method["requestModels"] for name, method in methods.items() if "requestModels" in method}
    assert taking == {"sharing-proxy-post": {"$default": "Form"}}
    schema = json.loads(one("apigateway/model:Model")["schema"])
    assert schema["additionalProperties"]["maxLength"] * schema["maxProperties"] < 10 * 1024 * 1024


def test_the_firewall_stands_before_the_stage_as_before_the_load_balancer() -> None:
    guarded = {asked.name: asked.inputs for asked in program().of("wafv2/webAclAssociation:WebAclAssociation")}
    assert set(guarded) == {"web-acl", "sharing"}
    assert guarded["web-acl"]["webAclArn"] == guarded["sharing"]["webAclArn"]


def test_answers_of_the_gateway_itself_are_safe_and_say_nothing_of_the_request() -> None:
    for asked in program().of("apigateway/response:Response"):
        headers = asked.inputs["responseParameters"]
        assert "gatewayresponse.header.Strict-Transport-Security" in headers
        assert all(value[0] == value[-1] == "'" and "'" not in value[1:-1] for value in headers.values())
        assert "$context" not in json.dumps(asked.inputs["responseTemplates"])


def test_a_deployment_is_made_anew_when_anything_of_the_api_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rest_api.definition_hash(NAMES)
    assert one("apigateway/deployment:Deployment")["triggers"] == {"definition": before}
    assert len(before) == len(hashlib.sha256().hexdigest())
    monkeypatch.setattr(rest_api, "METHODS", rest_api.METHODS[1:])
    assert rest_api.definition_hash(NAMES) != before


def test_a_changed_digest_of_the_image_changes_the_function_and_nothing_of_its_api() -> None:
    after = run(STACK, changes=json.dumps({"image.digest": "sha256:" + "1" * 64}))
    differ = {
        (asked.type, asked.name)
        for asked, other in zip(
            sorted(program().resources, key=lambda one: (one.type, one.name)),
            sorted(after.resources, key=lambda one: (one.type, one.name)),
            strict=True,
        )
        if asked.type.startswith("aws:apigateway/") and asked.inputs != other.inputs
    }
    assert differ == set()
    assert "sha256:1" in after.one("lambda/function:Function", "sharing").inputs["imageUri"]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_container_form_has_nothing_of_it(stack: str) -> None:
    assert not [asked for asked in run(stack).resources if "apigateway" in asked.type or asked.name == "sharing-function"]
    assert run(stack).exports["functions"] == {}


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_form_is_one_setting(stack: str) -> None:
    changed = run(stack, changes=json.dumps({"sharing.mode": "serverless"}))
    assert set(changed.exports["functions"]) == {"sharing"}
