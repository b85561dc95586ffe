"""Load balancers, listeners, rules and target groups, ACM certificates, and WAF web ACLs."""

import re
from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest, text
from sandbox.emulator.resource_type import AGAIN, KEPT, ResourceType

_LOAD_BALANCER_ATTRIBUTES = {
    "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
    "desyncMitigationMode": "routing.http.desync_mitigation_mode",
    "enableDeletionProtection": "deletion_protection.enabled",
    "enableWafFailOpen": "waf.fail_open.enabled",
    "idleTimeout": "idle_timeout.timeout_seconds",
    "xffHeaderProcessingMode": "routing.http.xff_header_processing.mode",
    "enableHttp2": "routing.http2.enabled",
}
_TARGET_GROUP_ATTRIBUTES = {"deregistrationDelay": "deregistration_delay.timeout_seconds"}
_HEALTH_CHECK = {
    "path": "HealthCheckPath",
    "port": "HealthCheckPort",
    "protocol": "HealthCheckProtocol",
    "interval": "HealthCheckIntervalSeconds",
    "timeout": "HealthCheckTimeoutSeconds",
    "enabled": "HealthCheckEnabled",
    "healthyThreshold": "HealthyThresholdCount",
    "unhealthyThreshold": "UnhealthyThresholdCount",
}
_ACTION = {
    "redirect": "RedirectConfig",
    "fixedResponse": "FixedResponseConfig",
    "forward": "ForwardConfig",
    "arn": "TargetGroupArn",
}


def _set_load_balancer_attributes(
    request: CreateRequest, balancer: dict[str, Any]
) -> dict[str, Any]:
    attributes = request.attributes(_LOAD_BALANCER_ATTRIBUTES)
    for name, prefix in (
        ("accessLogs", "access_logs.s3"),
        ("connectionLogs", "connection_logs.s3"),
    ):
        attributes |= {
            f"{prefix}.{key}": text(value) for key, value in (request.take(name) or {}).items()
        }
    arn = balancer["LoadBalancerArn"]
    _put_attributes(request, "load_balancer", arn, attributes)
    return {
        "arnSuffix": arn.partition(":loadbalancer/")[2],
        "zoneId": balancer["CanonicalHostedZoneId"],
    }


def _update_load_balancer(request: ChangeRequest) -> None:
    arn = request.old.id
    if "securityGroups" in request.unused_changes:
        request.call(
            "elbv2.set_security_groups",
            LoadBalancerArn=arn,
            SecurityGroups=request.take("securityGroups"),
        )
    if "subnets" in request.unused_changes:
        request.call("elbv2.set_subnets", LoadBalancerArn=arn, Subnets=request.take("subnets"))
    _set_load_balancer_attributes(
        request, {"LoadBalancerArn": arn, "CanonicalHostedZoneId": request.old.outputs["zoneId"]}
    )


def _put_attributes(
    request: CreateRequest, kind: str, arn: str, attributes: dict[str, str]
) -> None:
    if attributes:
        rows = [{"Key": key, "Value": value} for key, value in attributes.items()]
        member = f"{kind.title().replace('_', '')}Arn"
        request.call(f"elbv2.modify_{kind}_attributes", {member: arn, "Attributes": rows})


def _health_check(request: CreateRequest) -> dict[str, Any]:
    health = dict(request.take("healthCheck") or {})
    matcher = {"Matcher": {"HttpCode": str(health.pop("matcher"))}} if health.get("matcher") else {}
    shape = request.input_shape("elbv2.create_target_group")
    return {**request.to_api(health, shape, "healthCheck", _HEALTH_CHECK), **matcher}


def _set_target_group_attributes(request: CreateRequest, group: dict[str, Any]) -> dict[str, Any]:
    arn = group["TargetGroupArn"]
    _put_attributes(request, "target_group", arn, request.attributes(_TARGET_GROUP_ATTRIBUTES))
    return {"arnSuffix": arn.rpartition(":")[2]}


def _certificate(request: CreateRequest) -> dict[str, Any]:
    arn = request.take("certificateArn")
    return {"Certificates": [{"CertificateArn": arn}]} if arn else {}


def _set_listener_attributes(request: CreateRequest, listener: dict[str, Any]) -> None:
    """Set the attributes of the listener. For example, the input `routingHttpResponseServerEnabled`
    becomes the attribute `routing.http.response.server.enabled`."""
    attributes = {}
    for name in [name for name in request.registration.inputs if name.startswith("routingHttp")]:
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower().removeprefix("routing_http_")
        side, _, header = words.partition("_")
        attribute = re.sub(r"_(header_value|header_name|enabled)$", r".\1", header)
        attributes[f"routing.http.{side}.{attribute}"] = text(request.take(name))
    _put_attributes(request, "listener", listener["ListenerArn"], attributes)


def _conditions(request: CreateRequest) -> dict[str, Any]:
    """Convert the conditions. For example, `hostHeader` becomes the field "host-header" with the
    structure HostHeaderConfig.
    """
    conditions = []
    for name, value in (
        pair for condition in request.take("conditions") for pair in condition.items()
    ):
        singular = name.removesuffix("s")
        field_name = re.sub(r"(?=[A-Z])", "-", singular).lower()
        conditions.append({"field": field_name, f"{singular}Config": value})
    return {"Conditions": request.part("elbv2.create_rule", "Conditions", conditions)}


def _validation_records(request: CreateRequest, arn: str) -> list[dict[str, str]]:
    detail = request.call("acm.describe_certificate", CertificateArn=arn)["Certificate"]
    return [
        {
            "domainName": option["DomainName"],
            **{
                f"resourceRecord{member}": option["ResourceRecord"][member]
                for member in ("Name", "Type", "Value")
            },
        }
        for option in detail.get("DomainValidationOptions", [])
        if "ResourceRecord" in option
    ]


def _validate_certificate(request: CreateRequest) -> Created:
    """Issue the certificate if the program names all of its validation records."""
    arn = request.take("certificateArn")
    required = {
        record["resourceRecordName"].rstrip(".") for record in _validation_records(request, arn)
    }
    records = {name.rstrip(".") for name in request.take("validationRecordFqdns") or []}
    if records and not required <= records:
        raise request.error(
            f"validationRecordFqdns lacks validation records for the certificate: "
            f"{', '.join(sorted(required - records))}."
        )
    moto_patches.issue_certificate(request, arn)
    return arn, {}


def _web_acl(request: ChangeRequest) -> dict[str, Any]:
    """The parameters that name the web ACL, with the token of its current version."""
    inputs = request.old.registration.inputs
    named = {"Name": request.old.outputs["name"], "Scope": inputs["scope"], "Id": request.old.id}
    return {**named, "LockToken": request.call("wafv2.get_web_acl", named)["LockToken"]}


def _update_web_acl(request: ChangeRequest) -> None:
    parameters = request.parameters("wafv2.update_web_acl")
    request.call("wafv2.update_web_acl", {**parameters, **_web_acl(request)})


def _delete_web_acl(request: ChangeRequest) -> None:
    request.call("wafv2.delete_web_acl", _web_acl(request))


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:lb/loadBalancer:LoadBalancer": ResourceType(
        call="elbv2.create_load_balancer",
        id="{LoadBalancerArn}",
        names={"loadBalancerType": "Type"},
        prepare=lambda request: {
            "Scheme": "internal" if request.take("internal") else "internet-facing"
        },
        finish=_set_load_balancer_attributes,
        update=_update_load_balancer,
    ),
    "aws:lb/targetGroup:TargetGroup": ResourceType(
        call="elbv2.create_target_group",
        id="{TargetGroupArn}",
        prepare=_health_check,
        finish=_set_target_group_attributes,
    ),
    "aws:lb/listener:Listener": ResourceType(
        call="elbv2.create_listener",
        id="{ListenerArn}",
        nested=_ACTION,
        prepare=_certificate,
        finish=_set_listener_attributes,
    ),
    "aws:lb/listenerRule:ListenerRule": ResourceType(
        call="elbv2.create_rule", id="{RuleArn}", nested=_ACTION, prepare=_conditions
    ),
    # moto does not store keyAlgorithm: it returns RSA_2048 for every certificate.
    "aws:acm/certificate:Certificate": ResourceType(
        call="acm.request_certificate",
        id="{CertificateArn}",
        finish=lambda request, row: {
            "domainValidationOptions": _validation_records(request, row["CertificateArn"])
        },
    ),
    "aws:acm/certificateValidation:CertificateValidation": ResourceType(
        create=_validate_certificate, update=AGAIN, delete=KEPT
    ),
    "aws:wafv2/webAcl:WebAcl": ResourceType(
        call="wafv2.create_web_acl", id="{Id}", update=_update_web_acl, delete=_delete_web_acl
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": ResourceType(
        call="wafv2.associate_web_acl", id="{webAclArn},{resourceArn}"
    ),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": ResourceType(
        call="wafv2.put_logging_configuration", id="{resourceArn}", body="LoggingConfiguration"
    ),
}
