"""Lambda functions, aliases and permissions."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType
from sandbox.engine.archives import zip_bytes


def _set_code(request: CreateRequest, parameters: dict[str, Any]) -> None:
    archive = request.take("code")
    code: dict[str, Any] = {}
    if archive is not None:
        code["ZipFile"] = zip_bytes(archive)
    for name, member in (
        ("s3Bucket", "S3Bucket"),
        ("s3Key", "S3Key"),
        ("s3ObjectVersion", "S3ObjectVersion"),
        ("imageUri", "ImageUri"),
    ):
        if request.take(name):
            code[member] = request.peek(name)
    parameters["Code"] = code


def _configure_function(request: CreateRequest, function: dict[str, Any]) -> dict[str, Any]:
    reserved = request.take("reservedConcurrentExecutions")
    if reserved is not None and int(reserved) >= 0:
        request.call(
            "lambda.put_function_concurrency",
            FunctionName=function["FunctionName"],
            ReservedConcurrentExecutions=int(reserved),
        )
    moto_patches.set_function_configuration(request, function["FunctionName"], function["Version"])
    arn = function["FunctionArn"]
    return {
        "arn": arn,
        "name": function["FunctionName"],
        "invokeArn": _invoke_arn(request.region, arn),
        "qualifiedArn": f"{arn}:{function['Version']}",
    }


def _describe_alias(request: CreateRequest, alias: dict[str, Any]) -> dict[str, Any]:
    arn = alias["AliasArn"]
    return {"arn": arn, "invokeArn": _invoke_arn(request.region, arn)}


def _invoke_arn(region: str, arn: str) -> str:
    """The URI with which API Gateway invokes a function, version or alias."""
    return f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations"


def _add_permission(request: CreateRequest) -> Created:
    names = {"function": "FunctionName", "qualifier": "Qualifier"}
    parameters = request.parameters("lambda.add_permission", names=names)
    parameters.setdefault("StatementId", request.registration.name)
    request.call("lambda.add_permission", parameters)
    return parameters["StatementId"], {"statementId": parameters["StatementId"]}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:lambda/function:Function": ResourceType(
        call="lambda.create_function",
        id="{FunctionName}",
        names={"name": "FunctionName", "kmsKeyArn": "KMSKeyArn"},
        prepare=_set_code,
        finish=_configure_function,
        handled=("code", "s3Bucket", "s3Key", "s3ObjectVersion", "imageUri", "reservedConcurrentExecutions"),
        ignored={"sourceCodeHash": PULUMI_ONLY, "skipDestroy": PULUMI_ONLY},
    ),
    "aws:lambda/alias:Alias": ResourceType(call="lambda.create_alias", id="{AliasArn}", finish=_describe_alias),
    "aws:lambda/permission:Permission": ResourceType(create=_add_permission),
}
