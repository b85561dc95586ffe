"""API Gateway: REST APIs, their methods and stages, and custom domain names."""

from typing import Any

from sandbox.emulator.request import Created, CreateRequest, text
from sandbox.emulator.resource_type import ResourceType

_SETTINGS = {
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
    unknown = sorted(set(settings) - set(_SETTINGS))
    if unknown:
        raise request.error(
            f"property settings.{unknown[0]} is not emulated. Add it to _SETTINGS in sandbox/emulator/resources/apigateway.py."
        )
    patch = [_replace(f"/{path}/{_SETTINGS[key]}", value) for key, value in settings.items()]
    request.call("apigateway.update_stage", restApiId=api, stageName=stage, patchOperations=patch)
    return f"{api}-{stage}-{path}", {}


def _update_account(request: CreateRequest) -> Created:
    patch = [_replace("/cloudwatchRoleArn", request.take("cloudwatchRoleArn"))]
    request.call("apigateway.update_account", patchOperations=patch)
    return "api-gateway-account", {}


def _replace(path: str, value: Any) -> dict[str, str]:
    return {"op": "replace", "path": path, "value": text(value)}


RESOURCE_TYPES: dict[str, ResourceType] = {
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
