"""Lambda functions, aliases and permissions."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType
from sandbox.engine.archives import zip_bytes


def _code(request: CreateRequest) -> dict[str, Any]:
    archive = request.take("code")
    return {"Code": {} if archive is None else {"ZipFile": zip_bytes(archive)}}


def _configure_function(request: CreateRequest, function: dict[str, Any]) -> dict[str, Any]:
    name, version, arn = function["FunctionName"], function["Version"], function["FunctionArn"]
    reserved = request.take("reservedConcurrentExecutions")
    if reserved is not None and int(reserved) >= 0:
        request.call("lambda.put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=int(reserved))
    moto_patches.set_function_configuration(request, name, version)
    return {"name": name, "invokeArn": _invoke_arn(request.region, arn), "qualifiedArn": f"{arn}:{version}"}


def _describe_alias(request: CreateRequest, alias: dict[str, Any]) -> dict[str, Any]:
    return {"invokeArn": _invoke_arn(request.region, alias["AliasArn"])}


def _invoke_arn(region: str, arn: str) -> str:
    """The URI with which API Gateway invokes a function, version or alias."""
    return f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations"


def _statement_id(request: CreateRequest) -> dict[str, Any]:
    return {"StatementId": request.take("statementId") or request.registration.name}


def _describe_permission(request: CreateRequest, _response: dict[str, Any]) -> dict[str, Any]:
    return {"statementId": request.sent["StatementId"]}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:lambda/function:Function": ResourceType(
        call="lambda.create_function", id="{FunctionName}", body="Code", prepare=_code, finish=_configure_function
    ),
    "aws:lambda/alias:Alias": ResourceType(call="lambda.create_alias", id="{AliasArn}", finish=_describe_alias),
    "aws:lambda/permission:Permission": ResourceType(
        call="lambda.add_permission",
        id="{statementId}",
        prepare=_statement_id,
        finish=_describe_permission,
    ),
}
