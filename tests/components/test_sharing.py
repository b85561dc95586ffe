"""The sharing service as a Lambda function behind API Gateway."""

import hashlib
import json
import re
from typing import Any

import pytest

from components.contract import read
from components.naming import Naming
from components.sharing import rest_api
from release.pulumi_cli import excluded_urns
from tests.components.program import ROOT, Program, run
from tests.iam_evaluation import Call, Effect, decide

pytestmark = pytest.mark.requirement("SS-06")
STACK = "staging"
NAMES = Naming(STACK, "123456789012", "eu-west-1")


def program() -> Program:
    return run(STACK)


def inputs(kind: str, name: str = "sharing") -> dict[str, Any]:
    return program().get(kind, name).inputs


def test_function_runs_image_by_digest_with_contract_command() -> None:
    function, process = (
        inputs("lambda/function:Function"),
        read(functions=["sharing"]).functions["sharing"],
    )
    assert function["packageType"] == "Image"
    assert (
        function["imageUri"]
        == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/gatehouse-staging-runtime@sha256:"
        + "0" * 64
    )
    assert function["imageConfig"] == {
        "entryPoints": list(process.entry_point),
        "commands": list(process.command),
    }
    assert function["architectures"] == ["arm64"]
    assert not {"runtime", "code"} & set(function)


def test_function_command_exists_in_image() -> None:
    dockerfile = (ROOT / "runtime/Dockerfile").read_text(encoding="utf-8")
    process = read(functions=["sharing"]).functions["sharing"]
    assert (
        f"UV_PROJECT_ENVIRONMENT={process.entry_point[0].removesuffix('/bin/python')}" in dockerfile
    )
    assert process.entry_point[2] in (ROOT / "runtime/pyproject.toml").read_text(encoding="utf-8")
    module = process.command[0].rpartition(".")[0]
    assert (ROOT / "runtime" / f"{module.replace('.', '/')}.py").is_file()


@pytest.mark.requirement("CG-18")
def test_function_has_variables_of_secrets_only_and_no_vpc() -> None:
    function = inputs("lambda/function:Function")
    variables = function["environment"]["variables"]
    expected = (
        "ENVIRONMENT",
        "SECRET_LINKS_TABLE",
        "SECRETS_BUCKET",
        "SECRETS_KEY",
        "SHARING_URL",
        "LOG_LEVEL",
    )
    assert set(variables) == {f"GATEHOUSE_{name}" for name in expected}
    assert "vpcConfig" not in function
    assert function["kmsKeyArn"] == "arn:aws:mock:::secrets"


def users_of(key: str) -> dict[str, tuple[list[str], list[str]]]:
    """Actions and roles of each statement that names roles, keyed by statement ID."""
    statements = program().statements("kms/key:Key", key)
    return {
        sid: (statement["Action"], statement["Principal"]["AWS"])
        for sid, statement in statements.items()
        if isinstance(statement["Principal"].get("AWS"), list)
    }


@pytest.mark.requirement("CG-18", "SS-02")
def test_sharing_key_is_used_for_content_by_two_roles_only() -> None:
    console, function = NAMES.role_arn("console-task"), NAMES.role_arn("sharing-function")
    statements = program().statements("kms/key:Key", "sharing")
    assert set(statements) == {"AllowAccountAdministration", "CreateContentKeys", "OpenContentKeys"}
    assert users_of("sharing") == {
        "CreateContentKeys": (["kms:GenerateDataKey"], [console, function]),
        "OpenContentKeys": (["kms:Decrypt"], [function]),
    }
    for sid in ("CreateContentKeys", "OpenContentKeys"):
        equal = {"kms:CallerAccount": NAMES.account}
        equal |= {
            "kms:EncryptionContext:purpose": "secret-content",
            "kms:EncryptionContext:environment": STACK,
        }
        assert statements[sid]["Condition"] == {"StringEquals": equal}
    assert not [
        action
        for action in statements["AllowAccountAdministration"]["Action"]
        if re.search("crypt|DataKey|CreateGrant", action)
    ]


TABLE, BUCKET = NAMES.table_arn("tokens"), NAMES.bucket_arn("secrets")
OBJECT = f"{BUCKET}/secrets/5tRw0aB9xK2m7HqYc1dZ8e/1/0"
CREATE = {
    *(
        (f"dynamodb:{action}", TABLE)
        for action in ("PutItem", "GetItem", "BatchGetItem", "UpdateItem")
    ),
    *(("dynamodb:Query", f"{TABLE}/index/{index}") for index in ("owner-index", "work-index")),
    ("s3:PutObject", OBJECT),
    ("kms:GenerateDataKey", "sharing"),
}
DELETE = {
    ("dynamodb:Query", f"{TABLE}/index/work-index"),
    *((f"dynamodb:{action}", TABLE) for action in ("GetItem", "UpdateItem")),
    ("s3:ListBucketVersions", BUCKET),
    ("s3:DeleteObjectVersion", OBJECT),
}
OPEN = {
    *((f"dynamodb:{action}", TABLE) for action in ("GetItem", "UpdateItem")),
    ("s3:GetObjectVersion", OBJECT),
    ("kms:Decrypt", "sharing"),
}
RECEIVE = {
    ("dynamodb:PutItem", TABLE),
    ("s3:PutObject", OBJECT),
    ("kms:GenerateDataKey", "sharing"),
}
NOBODY = {
    *(
        (f"dynamodb:{action}", TABLE)
        for action in ("Scan", "Query", "DeleteItem", "BatchWriteItem", "PartiQLSelect")
    ),
    *(
        (f"s3:{action}", OBJECT)
        for action in ("GetObject", "DeleteObject", "PutObjectRetention", "PutObjectLegalHold")
    ),
    *(
        (f"s3:{action}", BUCKET)
        for action in ("PutBucketPolicy", "PutLifecycleConfiguration", "PutBucketVersioning")
    ),
    *(
        (f"kms:{action}", "sharing")
        for action in ("Encrypt", "ReEncryptFrom", "CreateGrant", "Sign")
    ),
}


def is_allowed(role: str, action: str, resource: str) -> bool:
    identity = [json.loads(inputs("iam/rolePolicy:RolePolicy", role)["policy"])]
    principal, context = NAMES.role_arn(role), {"aws:RequestedRegion": NAMES.region}
    if resource != "sharing":
        return (
            decide(Call(principal, action, resource, context), identity=identity) is Effect.ALLOWED
        )
    context |= {
        "kms:CallerAccount": NAMES.account,
        "kms:EncryptionContext:purpose": "secret-content",
    }
    context |= {"kms:EncryptionContext:environment": STACK}
    key = json.loads(inputs("kms/key:Key", "sharing")["policy"])
    return (
        decide(
            Call(principal, action, "*", context),
            identity=identity,
            resource=key,
            resource_decides=True,
        )
        is Effect.ALLOWED
    )


@pytest.mark.requirement("CG-18", "SS-05", "SS-06")
@pytest.mark.parametrize(
    ("role", "duties"), [("console-task", CREATE | DELETE), ("sharing-function", OPEN | RECEIVE)]
)
def test_role_can_do_its_duty_and_no_other(role: str, duties: set[tuple[str, str]]) -> None:
    calls = CREATE | DELETE | OPEN | NOBODY
    assert {call for call in calls if is_allowed(role, *call)} == duties


def test_container_form_opens_links_with_console_role() -> None:
    statements = run("dev").statements("kms/key:Key", "sharing")
    console = Naming("dev", "123456789012", "eu-west-1").role_arn("console-task")
    assert {
        sid: s["Principal"]["AWS"]
        for sid, s in statements.items()
        if sid != "AllowAccountAdministration"
    } == {
        "CreateContentKeys": [console],
        "OpenContentKeys": [console],
    }
    assert "OpenContent" in run("dev").permissions("console-task")


def test_api_invokes_alias_and_alias_allows_stage_only() -> None:
    calls = {
        resource.inputs["uri"]
        for resource in program().of_type("apigateway/integration:Integration")
    }
    assert calls == {"arn:aws:apigateway:mock:lambda:path/functions/sharing:live/invocations"}
    assert inputs("lambda/alias:Alias")["name"] == "live"
    permission = inputs("lambda/permission:Permission")
    assert (permission["principal"], permission["qualifier"]) == (
        "apigateway.amazonaws.com",
        "live",
    )
    assert permission["sourceArn"] == "arn:aws:execute-api:mock::a1b2c3d4e5/live/*/*"


@pytest.mark.requirement("SS-09")
def test_alias_has_the_published_version() -> None:
    alias = inputs("lambda/alias:Alias")
    assert inputs("lambda/function:Function")["publish"] is True
    assert alias["functionVersion"] == program().exports["functions"]["sharing"]["version"] == "8"


@pytest.mark.requirement("SS-09")
def test_deployment_knows_alias_and_alarms_of_the_function() -> None:
    output = program().exports["functions"]["sharing"]
    alarms = ("5xx", "latency", "throttles", "function-errors", "function-duration")
    assert (output["function"], output["alias"]) == (
        NAMES.name("sharing"),
        inputs("lambda/alias:Alias")["name"],
    )
    assert set(output["alarms"]) == {NAMES.name(f"sharing-{alarm}") for alarm in alarms}
    alias = program().get("lambda/alias:Alias", "sharing")
    assert excluded_urns(("sharing",))[-1] == f"{alias.type}::{alias.name}"


@pytest.mark.requirement("SS-13")
def test_access_log_has_no_path_query_or_header() -> None:
    stage = inputs("apigateway/stage:Stage")
    line = json.loads(stage["accessLogSettings"]["format"])
    text = " ".join(line.values()).lower()
    for word in (
        "$context.path",
        "querystring",
        "header",
        "useragent",
        "authorizer",
        "requestoverride",
    ):
        assert word not in text
    assert line["resource"] == "$context.resourcePath"
    assert stage["xrayTracingEnabled"] is True


def test_api_has_throttling_limits_and_no_execution_logs() -> None:
    methods = [
        resource.inputs
        for resource in program().of_type("apigateway/methodSettings:MethodSettings")
    ]
    limits = {method["methodPath"]: method["settings"]["throttlingRateLimit"] for method in methods}
    assert limits == {"*/*": 50, "{proxy+}/POST": 5}
    for settings in (method["settings"] for method in methods):
        assert (
            settings["loggingLevel"],
            settings["dataTraceEnabled"],
            settings["cachingEnabled"],
        ) == ("OFF", False, False)
    assert inputs("lambda/function:Function")["reservedConcurrentExecutions"] == 10


def test_methods_validate_requests_and_bodies() -> None:
    methods = {
        resource.name: resource.inputs for resource in program().of_type("apigateway/method:Method")
    }
    assert set(methods) == {f"sharing-{method}" for method in rest_api.METHODS}
    assert all("requestValidatorId" in method for method in methods.values())
    models = {
        name: method["requestModels"]
        for name, method in methods.items()
        if "requestModels" in method
    }
    expected = {"application/json": inputs("apigateway/model:Model")["name"]}
    assert models == {"sharing-root-post": expected, "sharing-proxy-post": expected}, (
        "forms are not validated"
    )
    assert inputs("apigateway/restApi:RestApi")["binaryMediaTypes"] == ["*/*"]
    schema = json.loads(inputs("apigateway/model:Model")["schema"])
    assert (schema["type"], schema["maxProperties"]) == ("object", 16)


def test_gateway_responses_are_static_with_hsts() -> None:
    responses = program().of_type("apigateway/response:Response")
    assert responses
    for resource in responses:
        headers = resource.inputs["responseParameters"]
        assert "gatewayresponse.header.Strict-Transport-Security" in headers
        assert all(
            value[0] == value[-1] == "'" and "'" not in value[1:-1] for value in headers.values()
        )
        assert "$context" not in json.dumps(resource.inputs["responseTemplates"])


def test_api_change_triggers_new_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rest_api.definition_hash(NAMES)
    assert inputs("apigateway/deployment:Deployment")["triggers"] == {"definition": before}
    assert len(before) == len(hashlib.sha256().hexdigest())
    monkeypatch.delitem(rest_api.METHODS, "root-get")
    assert rest_api.definition_hash(NAMES) != before


def request(auth_type: str, **values: str) -> Call:
    context = {"s3:authType": auth_type, "aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
    context["aws:RequestedRegion"] = NAMES.region
    action = values.pop("action", "s3:GetObjectVersion")
    return Call(NAMES.role_arn("sharing-function"), action, OBJECT, context | values)


@pytest.mark.requirement("CG-18", "SS-04")
@pytest.mark.parametrize(
    ("call", "effect"),
    [
        (request("REST-HEADER"), Effect.ALLOWED),
        (request("REST-HEADER", action="s3:PutObject"), Effect.ALLOWED),
        (request("REST-QUERY-STRING"), Effect.DENIED),
        (request("POST", action="s3:PutObject"), Effect.DENIED),
        (request("REST-HEADER", **{"aws:SecureTransport": "false"}), Effect.DENIED),
        (request("REST-HEADER", **{"s3:TlsVersion": "1.1"}), Effect.DENIED),
        (request("REST-HEADER", action="s3:GetObject"), Effect.NOT_ALLOWED),
        (request("REST-HEADER", action="s3:DeleteObjectVersion"), Effect.NOT_ALLOWED),
    ],
)
def test_requests_for_content_require_tls_and_are_not_presigned(call: Call, effect: Effect) -> None:
    identity = [json.loads(inputs("iam/rolePolicy:RolePolicy", "sharing-function")["policy"])]
    bucket = json.loads(inputs("s3/bucketPolicy:BucketPolicy", "secrets")["policy"])
    assert decide(call, identity=identity, resource=bucket) is effect


def test_image_change_updates_function_but_not_api() -> None:
    after = run(STACK, changes={"image.digest": "sha256:" + "1" * 64})
    apis = [
        {
            (a.type, a.name): a.inputs
            for a in deployment.resources
            if a.type.startswith("aws:apigateway/")
        }
        for deployment in (program(), after)
    ]
    assert apis[0] == apis[1] != {}
    assert "sha256:1" in after.get("lambda/function:Function", "sharing").inputs["imageUri"]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_sharing_mode_decides_on_api_and_function(stack: str) -> None:
    assert not [
        resource
        for resource in run(stack).resources
        if "apigateway" in resource.type or resource.name == "sharing-function"
    ]
    assert run(stack).exports["functions"] == {}
    assert set(run(stack, changes={"sharing.mode": "serverless"}).exports["functions"]) == {
        "sharing"
    }
