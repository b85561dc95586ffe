"""The sharing service as a Lambda function behind API Gateway."""

import hashlib
import json
from typing import Any

import pytest

from components.contract import read
from components.naming import Naming
from components.sharing import rest_api
from release.pulumi.cli import without_services
from tests.components.program import CLOSED, CLOUDFRONT, ROOT, Program, run
from tests.iam_evaluation import Call, Effect, decide

STACK = "staging"
NAMES = Naming(STACK, "123456789012", "eu-west-1")


def program() -> Program:
    return run(STACK)


def inputs(kind: str, name: str = "sharing") -> dict[str, Any]:
    return program().get(kind, name).inputs


def test_function_command_exists_in_image() -> None:
    dockerfile = (ROOT / "runtime/Dockerfile").read_text()
    process = read(functions=["sharing"]).functions["sharing"]
    assert (
        f"UV_PROJECT_ENVIRONMENT={process.entry_point[0].removesuffix('/bin/python')}" in dockerfile
    )
    assert process.entry_point[2] in (ROOT / "runtime/pyproject.toml").read_text()
    module = process.command[0].rpartition(".")[0]
    assert (ROOT / "runtime" / f"{module.replace('.', '/')}.py").is_file()


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
RECEIVE = {("s3:PutObject", OBJECT), ("kms:GenerateDataKey", "sharing")}
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


def is_allowed(role: str, action: str, resource: str, **changed: str) -> bool:
    identity = [json.loads(inputs("iam.RolePolicy", role)["policy"])]
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
    context |= {f"kms:EncryptionContext:{key}": value for key, value in changed.items()}
    key = json.loads(inputs("kms.Key", "sharing")["policy"])
    return (
        decide(
            Call(principal, action, "*", context),
            identity=identity,
            resource=key,
            resource_decides=True,
        )
        is Effect.ALLOWED
    )


@pytest.mark.parametrize(
    ("role", "duties"), [("console-task", CREATE | DELETE), ("sharing-function", OPEN | RECEIVE)]
)
def test_role_can_do_its_duty_and_no_other(role: str, duties: set[tuple[str, str]]) -> None:
    calls = CREATE | DELETE | OPEN | NOBODY
    assert {call for call in calls if is_allowed(role, *call)} == duties


@pytest.mark.parametrize("changed", [{"purpose": "other"}, {"environment": "prod"}])
def test_content_keys_require_the_encryption_context(changed: dict[str, str]) -> None:
    assert is_allowed("sharing-function", "kms:Decrypt", "sharing")
    assert not is_allowed("sharing-function", "kms:Decrypt", "sharing", **changed)
    assert not is_allowed("console-task", "kms:GenerateDataKey", "sharing", **changed)


def test_container_form_opens_links_with_console_role() -> None:
    statements = run("dev").statements("kms.Key", "sharing")
    console = Naming("dev", "123456789012", "eu-west-1").role_arn("console-task")
    assert {
        sid: s["Principal"]["AWS"]
        for sid, s in statements.items()
        if sid != "AllowAccountAdministration"
    } == {"CreateContentKeys": [console], "OpenContentKeys": [console]}
    assert "OpenContent" in run("dev").permissions("console-task")


def test_deployment_knows_alias_and_alarms_of_the_function() -> None:
    output = program().exports["functions"]["sharing"]
    alarms = ("errors-5m", "latency-5m", "throttles", "function-errors")
    assert (output["function"], output["alias"]) == (
        NAMES.name("sharing"),
        inputs("lambda.Alias")["name"],
    )
    assert set(output["alarms"]) == {NAMES.name(f"sharing-{alarm}") for alarm in alarms}
    alias = program().get("lambda.Alias", "sharing")
    assert without_services(["sharing"])[-1] == f"**{alias.type}::{alias.name}"


def test_api_change_triggers_new_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rest_api.definition_hash(NAMES)
    assert inputs("apigateway.Deployment")["triggers"] == {"definition": before}
    assert len(before) == len(hashlib.sha256().hexdigest())
    monkeypatch.delitem(rest_api.METHODS, "root-get")
    assert rest_api.definition_hash(NAMES) != before


def request(auth_type: str, **values: str) -> Call:
    context = {"s3:authType": auth_type, "aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
    context["aws:RequestedRegion"] = NAMES.region
    action = values.pop("action", "s3:GetObjectVersion")
    return Call(NAMES.role_arn("sharing-function"), action, OBJECT, context | values)


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
    identity = [json.loads(inputs("iam.RolePolicy", "sharing-function")["policy"])]
    bucket = json.loads(inputs("s3.BucketPolicy", "secrets")["policy"])
    assert decide(call, identity=identity, resource=bucket) is effect


def test_image_change_updates_function_but_not_api() -> None:
    after = run(STACK, changes=CLOUDFRONT)
    apis = [
        {
            (a.type, a.name): a.inputs
            for a in deployment.resources
            if a.type.startswith("aws:apigateway/") and "domainName" not in a.type
        }
        for deployment in (program(), after)
    ]
    assert apis[0] == apis[1] != {}
    assert "sha256:1" in after.get("lambda.Function", "sharing").inputs["imageUri"]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_sharing_mode_decides_on_api_and_function(stack: str) -> None:
    assert not [
        resource
        for resource in run(stack).resources
        if "apigateway" in resource.type or resource.name == "sharing-function"
    ]
    assert run(stack).exports["functions"] == {}
    assert set(run("dev", changes=CLOSED).exports["functions"]) == {"sharing"}
