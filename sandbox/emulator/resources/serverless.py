"""Lambda functions, aliases and permissions, and API Gateway REST APIs, stages and domain names."""

from typing import Any

from pulumi_local.values import zip_bytes

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest, text
from sandbox.emulator.resource_type import AGAIN, KEPT, PULUMI_ONLY, ResourceType, Setting

_METHOD_SETTINGS = {
    "metricsEnabled": "metrics/enabled",
    "loggingLevel": "logging/loglevel",
    "dataTraceEnabled": "logging/dataTrace",
    "throttlingBurstLimit": "throttling/burstLimit",
    "throttlingRateLimit": "throttling/rateLimit",
    "cachingEnabled": "caching/enabled",
}
"""Method settings, with their paths in a patch of the stage (API Gateway API reference,
UpdateStage).
"""


def zip_code(request: CreateRequest) -> dict[str, Any]:
    archive = request.take("code")
    return {"Code": {} if archive is None else {"ZipFile": zip_bytes(archive)}}


def update_function(request: ChangeRequest) -> dict[str, Any]:
    """Change the code and the configuration, and publish a version. Code and configuration have
    separate calls.
    """
    name, changed = request.old.id, request.unused_changes
    if {"code", "imageUri"} & changed:
        image = request.take("imageUri")
        code: dict[str, Any] = {"ImageUri": image} if image else zip_code(request)["Code"]
        request.call("lambda.update_function_code", code, FunctionName=name)
    request.take("publish")
    call = "lambda.update_function_configuration"
    parameters = request.parameters(call, skip=PULUMI_ONLY)
    request.call(call, parameters, FunctionName=name)
    if not request.peek("publish"):
        return {}
    return {"version": request.call("lambda.publish_version", FunctionName=name)["Version"]}


def update_stage(request: ChangeRequest) -> None:
    """Change the stage with a patch of its members (API Gateway API reference, UpdateStage)."""
    names = {
        "deployment": "deploymentId",
        "xrayTracingEnabled": "tracingEnabled",
        "description": "description",
    }
    patch = {
        f"/{names[name]}": request.take(name) for name in names if name in request.unused_changes
    }
    if patch:
        _patch_stage(request, patch)
    if "accessLogSettings" in request.unused_changes and request.peek("accessLogSettings"):
        set_access_log(request, {})


def set_access_log(request: CreateRequest, _stage: dict[str, Any]) -> None:
    settings = request.take("accessLogSettings")
    _patch_stage(request, {f"/accessLogSettings/{key}": settings[key] for key in settings})


def put_method_settings(request: CreateRequest) -> Created:
    path, settings = request.take("methodPath"), request.take("settings")
    unknown = sorted(set(settings) - set(_METHOD_SETTINGS))
    if unknown:
        raise request.error(
            f"property settings.{unknown[0]} is not emulated. Add it to _METHOD_SETTINGS in "
            f"sandbox/emulator/resources/."
        )
    _patch_stage(
        request, {f"/{path}/{_METHOD_SETTINGS[key]}": value for key, value in settings.items()}
    )
    return f"{request.take('restApi')}-{request.take('stageName')}-{path}", {}


def _patch_stage(request: CreateRequest, values: dict[str, Any]) -> None:
    """Change members of the stage, keyed by path."""
    request.call(
        "apigateway.update_stage",
        restApiId=request.peek("restApi"),
        stageName=request.peek("stageName"),
        patchOperations=[_replace(path, value) for path, value in values.items()],
    )


def update_account(request: CreateRequest) -> Created:
    patch = [_replace("/cloudwatchRoleArn", request.take("cloudwatchRoleArn"))]
    request.call("apigateway.update_account", patchOperations=patch)
    return "api-gateway-account", {}


def _replace(path: str, value: Any) -> dict[str, str]:
    return {"op": "replace", "path": path, "value": text(value)}


TYPES = {
    "lambda.Function": ResourceType(
        "lambda.create_function",
        "{FunctionName}",
        "Code",
        prepare=zip_code,
        update=update_function,
        settings=(
            Setting(
                "lambda.put_function_concurrency",
                ["reservedConcurrentExecutions"],
                removal="lambda.delete_function_concurrency",
            ),
        ),
    ),
    # The URI is the one with which API Gateway invokes the alias.
    "lambda.Alias": ResourceType(
        "lambda.create_alias",
        "{AliasArn}",
        outputs={
            "invokeArn": "arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/"
            "{AliasArn}/invocations"
        },
    ),
    "lambda.Invocation": ResourceType(
        "lambda.invoke",
        "{FunctionName}",
        names={"input": "Payload"},
        modelled="`make up` runs the migration when PostgreSQL has started",
    ),
    "lambda.Permission": ResourceType("lambda.add_permission", "{StatementId}"),
    "apigateway.RestApi": ResourceType(
        "apigateway.create_rest_api",
        "{id}",
        outputs={
            "arn": "arn:aws:apigateway:{region}::/restapis/{id}",
            "executionArn": "arn:aws:execute-api:{region}:{account}:{id}",
        },
    ),
    "apigateway.Resource": ResourceType("apigateway.create_resource", "{id}"),
    "apigateway.RequestValidator": ResourceType("apigateway.create_request_validator", "{id}"),
    "apigateway.Model": ResourceType("apigateway.create_model", "{id}"),
    "apigateway.Method": ResourceType(
        "apigateway.put_method",
        "agm-{restApi}-{resourceId}-{httpMethod}",
        names={"authorization": "authorizationType"},
    ),
    "apigateway.Integration": ResourceType(
        "apigateway.put_integration",
        "agi-{restApi}-{resourceId}-{httpMethod}",
        names={"timeoutMilliseconds": "timeoutInMillis"},
    ),
    "apigateway.Response": ResourceType(
        "apigateway.put_gateway_response", "aggr-{restApiId}-{responseType}"
    ),
    "apigateway.Deployment": ResourceType("apigateway.create_deployment", "{id}"),
    "apigateway.Stage": ResourceType(
        "apigateway.create_stage",
        "ags-{restApi}-{stageName}",
        names={"xrayTracingEnabled": "tracingEnabled"},
        outputs={"arn": "arn:aws:apigateway:{region}::/restapis/{restApi}/stages/{stageName}"},
        finish=set_access_log,
        update=update_stage,
    ),
    "apigateway.MethodSettings": ResourceType(
        create=put_method_settings, update=AGAIN, delete=KEPT
    ),
    # moto does not store endpointAccessMode.
    "apigateway.DomainName": ResourceType(
        "apigateway.create_domain_name",
        "{domainName}",
        outputs={
            "regionalZoneId": "{regionalHostedZoneId}",
            "arn": "arn:aws:apigateway:{region}::/domainnames/{domainName}",
        },
    ),
    "apigateway.BasePathMapping": ResourceType(
        "apigateway.create_base_path_mapping",
        "{domainName}/",
        names={"stageName": "stage"},
        defaults={"basePath": "(none)"},
        delete_parameters={"basePath": "(none)"},
    ),
    "apigateway.Account": ResourceType(create=update_account, update=AGAIN, delete=KEPT),
}
