"""Lambda functions, aliases and permissions, and API Gateway REST APIs, stages and domain names."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest, text
from sandbox.emulator.resource_type import ResourceType
from sandbox.engine.values import zip_bytes

_METHOD_SETTINGS = {
    "metricsEnabled": "metrics/enabled",
    "loggingLevel": "logging/loglevel",
    "dataTraceEnabled": "logging/dataTrace",
    "throttlingBurstLimit": "throttling/burstLimit",
    "throttlingRateLimit": "throttling/rateLimit",
    "cachingEnabled": "caching/enabled",
    "cacheTtlInSeconds": "caching/ttlInSeconds",
    "cacheDataEncrypted": "caching/dataEncrypted",
}
"""Method settings, with their paths in a patch of the stage (API Gateway API reference, UpdateStage)."""


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


def _describe_api(request: CreateRequest, api: dict[str, Any]) -> dict[str, Any]:
    identity = api["id"]
    return {
        "arn": f"arn:aws:apigateway:{request.region}::/restapis/{identity}",
        "executionArn": request.arn("execute-api", identity),
        "rootResourceId": request.call("apigateway.get_resources", restApiId=identity)["items"][0]["id"],
    }


def _set_access_log(request: CreateRequest, stage: dict[str, Any]) -> dict[str, Any]:
    api, name = request.peek("restApi"), request.peek("stageName")
    logs = request.take("accessLogSettings") or {}
    if logs:
        patch = [_replace(f"/accessLogSettings/{key}", logs[key]) for key in ("destinationArn", "format")]
        request.call("apigateway.update_stage", restApiId=api, stageName=name, patchOperations=patch)
    return {
        "arn": f"arn:aws:apigateway:{request.region}::/restapis/{api}/stages/{name}",
        "executionArn": request.arn("execute-api", f"{api}/{name}"),
        "invokeUrl": f"https://{api}.execute-api.{request.region}.amazonaws.com/{name}",
    }


def _put_method_settings(request: CreateRequest) -> Created:
    api, stage, path, settings = (request.take(name) for name in ("restApi", "stageName", "methodPath", "settings"))
    unknown = sorted(set(settings) - set(_METHOD_SETTINGS))
    if unknown:
        raise request.error(
            f"property settings.{unknown[0]} is not emulated. Add it to _METHOD_SETTINGS in sandbox/emulator/resources/."
        )
    patch = [_replace(f"/{path}/{_METHOD_SETTINGS[key]}", value) for key, value in settings.items()]
    request.call("apigateway.update_stage", restApiId=api, stageName=stage, patchOperations=patch)
    return f"{api}-{stage}-{path}", {}


def _update_account(request: CreateRequest) -> Created:
    patch = [_replace("/cloudwatchRoleArn", request.take("cloudwatchRoleArn"))]
    request.call("apigateway.update_account", patchOperations=patch)
    return "api-gateway-account", {}


def _replace(path: str, value: Any) -> dict[str, str]:
    return {"op": "replace", "path": path, "value": text(value)}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:lambda/function:Function": ResourceType(
        call="lambda.create_function", id="{FunctionName}", body="Code", prepare=_code, finish=_configure_function
    ),
    "aws:lambda/alias:Alias": ResourceType(call="lambda.create_alias", id="{AliasArn}", finish=_describe_alias),
    "aws:lambda/permission:Permission": ResourceType(
        call="lambda.add_permission",
        id="{StatementId}",
        prepare=lambda request: {"StatementId": request.take("statementId") or request.registration.name},
        outputs={"statementId": "{StatementId}"},
    ),
    "aws:apigateway/restApi:RestApi": ResourceType(call="apigateway.create_rest_api", id="{id}", finish=_describe_api),
    "aws:apigateway/resource:Resource": ResourceType(call="apigateway.create_resource", id="{id}"),
    "aws:apigateway/requestValidator:RequestValidator": ResourceType(call="apigateway.create_request_validator", id="{id}"),
    "aws:apigateway/model:Model": ResourceType(call="apigateway.create_model", id="{id}"),
    "aws:apigateway/method:Method": ResourceType(
        call="apigateway.put_method",
        id="agm-{restApi}-{resourceId}-{httpMethod}",
        names={"authorization": "authorizationType"},
    ),
    "aws:apigateway/integration:Integration": ResourceType(
        call="apigateway.put_integration",
        id="agi-{restApi}-{resourceId}-{httpMethod}",
        names={"timeoutMilliseconds": "timeoutInMillis"},
    ),
    "aws:apigateway/response:Response": ResourceType(
        call="apigateway.put_gateway_response", id="aggr-{restApiId}-{responseType}"
    ),
    "aws:apigateway/deployment:Deployment": ResourceType(call="apigateway.create_deployment", id="{id}"),
    "aws:apigateway/stage:Stage": ResourceType(
        call="apigateway.create_stage",
        id="ags-{restApi}-{stageName}",
        names={"xrayTracingEnabled": "tracingEnabled"},
        finish=_set_access_log,
    ),
    "aws:apigateway/methodSettings:MethodSettings": ResourceType(create=_put_method_settings),
    "aws:apigateway/domainName:DomainName": ResourceType(
        call="apigateway.create_domain_name",
        id="{domainName}",
        outputs={"regionalZoneId": "{regionalHostedZoneId}", "arn": "arn:aws:apigateway:{region}::/domainnames/{domainName}"},
        dropped={"endpointAccessMode": "moto's domain names have no access mode"},
    ),
    "aws:apigateway/basePathMapping:BasePathMapping": ResourceType(
        call="apigateway.create_base_path_mapping",
        id="{domainName}/",
        names={"stageName": "stage"},
        defaults={"basePath": "(none)"},
    ),
    "aws:apigateway/account:Account": ResourceType(create=_update_account),
}
