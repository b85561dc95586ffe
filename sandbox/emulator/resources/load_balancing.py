"""Load balancers, listeners, rules and target groups, ACM certificates, and WAF web ACLs."""

import re
from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, KEPT, ResourceType, Setting

_LOAD_BALANCER_ATTRIBUTES = {
    "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
    "desyncMitigationMode": "routing.http.desync_mitigation_mode",
    "enableDeletionProtection": "deletion_protection.enabled",
    "enableWafFailOpen": "waf.fail_open.enabled",
    "idleTimeout": "idle_timeout.timeout_seconds",
    "xffHeaderProcessingMode": "routing.http.xff_header_processing.mode",
    "enableHttp2": "routing.http2.enabled",
    "accessLogs": "access_logs.s3",
    "connectionLogs": "connection_logs.s3",
}
_HEADERS = {
    f"routingHttpResponse{name}HeaderValue": f"routing.http.response.{attribute}.header_value"
    for name, attribute in {
        "StrictTransportSecurity": "strict_transport_security",
        "XContentTypeOptions": "x_content_type_options",
        "XFrameOptions": "x_frame_options",
    }.items()
}
_LISTENER_ATTRIBUTES = {
    **_HEADERS,
    "routingHttpResponseServerEnabled": "routing.http.response.server.enabled",
}
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


def _health_check(request: CreateRequest) -> dict[str, Any]:
    health = dict(request.take("healthCheck") or {})
    matcher = {"Matcher": {"HttpCode": str(health.pop("matcher"))}} if health.get("matcher") else {}
    shape = request.input_shape("elbv2.create_target_group")
    return {**request.to_api(health, shape, "healthCheck", _HEALTH_CHECK), **matcher}


def _certificate(request: CreateRequest) -> dict[str, Any]:
    arn = request.take("certificateArn")
    return {"Certificates": [{"CertificateArn": arn}]} if arn else {}


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


def _versioned(request: ChangeRequest, kind: str) -> dict[str, Any]:
    """The parameters that name a web ACL or an IP set, with the token of its current version."""
    inputs = request.old.registration.inputs
    named = {"Name": request.old.outputs["name"], "Scope": inputs["scope"], "Id": request.old.id}
    return {**named, "LockToken": request.call(f"wafv2.get_{kind}", named)["LockToken"]}


def _of_waf(kind: str, **options: Any) -> ResourceType:
    def update(request: ChangeRequest) -> None:
        parameters = request.parameters(f"wafv2.update_{kind}")
        request.call(f"wafv2.update_{kind}", {**parameters, **_versioned(request, kind)})

    def delete(request: ChangeRequest) -> None:
        request.call(f"wafv2.delete_{kind}", _versioned(request, kind))

    return ResourceType(f"wafv2.create_{kind}", "{Id}", update=update, delete=delete, **options)


RESOURCE_TYPES: dict[str, ResourceType] = {
    "lb.LoadBalancer": ResourceType(
        "elbv2.create_load_balancer",
        "{LoadBalancerArn}",
        names={"loadBalancerType": "Type"},
        prepare=lambda request: {
            "Scheme": "internal" if request.take("internal") else "internet-facing"
        },
        settings=(
            Setting("elbv2.set_security_groups", ("securityGroups",), created=True),
            Setting("elbv2.set_subnets", ("subnets",), created=True),
            Setting("elbv2.modify_load_balancer_attributes", attributes=_LOAD_BALANCER_ATTRIBUTES),
        ),
        finish=lambda request, balancer: {
            "arnSuffix": balancer["LoadBalancerArn"].partition(":loadbalancer/")[2]
        },
        outputs={"zoneId": "{CanonicalHostedZoneId}"},
    ),
    "lb.TargetGroup": ResourceType(
        "elbv2.create_target_group",
        "{TargetGroupArn}",
        prepare=_health_check,
        settings=(
            Setting(
                "elbv2.modify_target_group_attributes",
                attributes={"deregistrationDelay": "deregistration_delay.timeout_seconds"},
            ),
        ),
        finish=lambda request, group: {"arnSuffix": group["TargetGroupArn"].rpartition(":")[2]},
    ),
    "lb.Listener": ResourceType(
        "elbv2.create_listener",
        "{ListenerArn}",
        names=_ACTION,
        prepare=_certificate,
        settings=(Setting("elbv2.modify_listener_attributes", attributes=_LISTENER_ATTRIBUTES),),
    ),
    "lb.ListenerRule": ResourceType(
        "elbv2.create_rule", "{RuleArn}", names=_ACTION, prepare=_conditions
    ),
    # moto does not store keyAlgorithm: it returns RSA_2048 for every certificate.
    "acm.Certificate": ResourceType(
        "acm.request_certificate",
        "{CertificateArn}",
        finish=lambda request, row: {
            "domainValidationOptions": _validation_records(request, row["CertificateArn"])
        },
    ),
    "acm.CertificateValidation": ResourceType(
        create=_validate_certificate, update=AGAIN, delete=KEPT
    ),
    "wafv2.IpSet": _of_waf("ip_set", names={"ipAddressVersion": "IPAddressVersion"}),
    "wafv2.WebAcl": _of_waf("web_acl"),
    "wafv2.WebAclAssociation": ResourceType("wafv2.associate_web_acl", "{webAclArn},{resourceArn}"),
    "wafv2.WebAclLoggingConfiguration": ResourceType(
        "wafv2.put_logging_configuration", "{resourceArn}", body="LoggingConfiguration"
    ),
}
