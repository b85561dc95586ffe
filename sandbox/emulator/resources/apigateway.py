"""API Gateway: REST APIs, their methods and stages, and the host names they are found under."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row

_API = {"restApi": "restApiId"}
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
"""Method settings, and where a patch of the stage keeps each (API Gateway API reference, UpdateStage)."""


def _api(make: Make, api: dict[str, Any]) -> dict[str, Any]:
    identity = api["id"]
    return {
        "arn": f"arn:aws:apigateway:{make.region}::/restapis/{identity}",
        "executionArn": f"arn:aws:execute-api:{make.region}:{make.account}:{identity}",
        "rootResourceId": make.call("apigateway.get_resources", restApiId=identity)["items"][0]["id"],
    }


def _stage(make: Make, stage: dict[str, Any]) -> dict[str, Any]:
    api, name = make.peek("restApi"), make.peek("stageName")
    logs = make.take("accessLogSettings") or {}
    if logs:
        patch = [_replace(f"/accessLogSettings/{key}", logs[key]) for key in ("destinationArn", "format")]
        make.call("apigateway.update_stage", restApiId=api, stageName=name, patchOperations=patch)
    return {
        "arn": f"arn:aws:apigateway:{make.region}::/restapis/{api}/stages/{name}",
        "executionArn": f"arn:aws:execute-api:{make.region}:{make.account}:{api}/{name}",
        "invokeUrl": f"https://{api}.execute-api.{make.region}.amazonaws.com/{name}",
    }


def _method_settings(make: Make) -> tuple[str, dict[str, Any]]:
    api, stage, path, settings = (make.take(name) for name in ("restApi", "stageName", "methodPath", "settings"))
    unknown = sorted(set(settings) - set(_SETTINGS))
    if unknown:
        raise make.error(
            f"property settings.{unknown[0]} has no place in a patch of a stage: sandbox/emulator/resources/api.py must name it."
        )
    patch = [_replace(f"/{path}/{_SETTINGS[key]}", value) for key, value in settings.items()]
    make.call("apigateway.update_stage", restApiId=api, stageName=stage, patchOperations=patch)
    return f"{api}-{stage}-{path}", {}


def _account(make: Make) -> tuple[str, dict[str, Any]]:
    patch = [_replace("/cloudwatchRoleArn", make.take("cloudwatchRoleArn"))]
    make.call("apigateway.update_account", patchOperations=patch)
    return "api-gateway-account", {}


def _mapping(make: Make, parameters: dict[str, Any]) -> None:
    parameters.setdefault("basePath", "(none)")


def _replace(path: str, value: Any) -> dict[str, str]:
    text = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    return {"op": "replace", "path": path, "value": text}


ROWS: dict[str, Row] = {
    "aws:apigateway/restApi:RestApi": Row(call="apigateway.create_rest_api", id="{id}", then=_api),
    "aws:apigateway/resource:Resource": Row(call="apigateway.create_resource", id="{id}", names=_API),
    "aws:apigateway/requestValidator:RequestValidator": Row(call="apigateway.create_request_validator", id="{id}", names=_API),
    "aws:apigateway/model:Model": Row(call="apigateway.create_model", id="{id}", names=_API),
    "aws:apigateway/method:Method": Row(
        call="apigateway.put_method",
        id="agm-{restApi}-{resourceId}-{httpMethod}",
        names={**_API, "authorization": "authorizationType"},
    ),
    "aws:apigateway/integration:Integration": Row(
        call="apigateway.put_integration",
        id="agi-{restApi}-{resourceId}-{httpMethod}",
        names={**_API, "timeoutMilliseconds": "timeoutInMillis"},
    ),
    "aws:apigateway/response:Response": Row(call="apigateway.put_gateway_response", id="aggr-{restApiId}-{responseType}"),
    "aws:apigateway/deployment:Deployment": Row(
        call="apigateway.create_deployment", id="{id}", names=_API, ignored={"triggers": HOW_PULUMI_WORKS}
    ),
    "aws:apigateway/stage:Stage": Row(
        call="apigateway.create_stage",
        id="ags-{restApi}-{stageName}",
        names={**_API, "deployment": "deploymentId", "xrayTracingEnabled": "tracingEnabled"},
        then=_stage,
        by_hand=("accessLogSettings",),
    ),
    "aws:apigateway/methodSettings:MethodSettings": Row(make=_method_settings),
    "aws:apigateway/domainName:DomainName": Row(
        call="apigateway.create_domain_name",
        id="{domainName}",
        outputs={"regionalZoneId": "{regionalHostedZoneId}", "arn": "arn:aws:apigateway:{region}::/domainnames/{domainName}"},
        dropped={"endpointAccessMode": "domain names of moto have no access mode"},
    ),
    "aws:apigateway/basePathMapping:BasePathMapping": Row(
        call="apigateway.create_base_path_mapping",
        id="{domainName}/",
        names={**_API, "stageName": "stage"},
        shape=_mapping,
    ),
    "aws:apigateway/account:Account": Row(make=_account),
}
