"""Load balancers, listeners, rules and target groups, ACM certificates, and WAF web ACLs."""

import re
from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, KEPT, ResourceType, Setting

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


def load_balancer_scheme(request: CreateRequest) -> dict[str, Any]:
    return {"Scheme": "internal" if request.take("internal") else "internet-facing"}


def load_balancer_suffix(_request: CreateRequest, balancer: dict[str, Any]) -> dict[str, Any]:
    return {"arnSuffix": balancer["LoadBalancerArn"].partition(":loadbalancer/")[2]}


def target_group_suffix(_request: CreateRequest, group: dict[str, Any]) -> dict[str, Any]:
    return {"arnSuffix": group["TargetGroupArn"].rpartition(":")[2]}


def health_check_parameters(request: CreateRequest) -> dict[str, Any]:
    health = dict(request.take("healthCheck") or {})
    matcher = {"Matcher": {"HttpCode": str(health.pop("matcher"))}} if health.get("matcher") else {}
    shape = request.input_shape("elbv2.create_target_group")
    return {**request.to_api(health, shape, "healthCheck", _HEALTH_CHECK), **matcher}


def listener_certificate(request: CreateRequest) -> dict[str, Any]:
    arn = request.take("certificateArn")
    return {"Certificates": [{"CertificateArn": arn}]} if arn else {}


def rule_conditions(request: CreateRequest) -> dict[str, Any]:
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


def validation_options(request: CreateRequest, row: dict[str, Any]) -> dict[str, Any]:
    return {"domainValidationOptions": _validation_records(request, row["CertificateArn"])}


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


def validate_certificate(request: CreateRequest) -> Created:
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


def _versioned(request: ChangeRequest) -> tuple[str, dict[str, Any]]:
    """The kind of a resource of AWS WAF, and the parameters that name it, with the token of its
    current version."""
    kind = "ip_set" if request.registration.type.endswith("IpSet") else "web_acl"
    inputs = request.old.registration.inputs
    named = {"Name": request.old.outputs["name"], "Scope": inputs["scope"], "Id": request.old.id}
    return kind, {**named, "LockToken": request.call(f"wafv2.get_{kind}", named)["LockToken"]}


def update_waf(request: ChangeRequest) -> None:
    kind, named = _versioned(request)
    call = f"wafv2.update_{kind}"
    request.call(call, {**request.parameters(call), **named})


def delete_waf(request: ChangeRequest) -> None:
    kind, named = _versioned(request)
    request.call(f"wafv2.delete_{kind}", named)


_ACTION_NAMES = {
    "redirect": "RedirectConfig",
    "fixedResponse": "FixedResponseConfig",
    "forward": "ForwardConfig",
    "arn": "TargetGroupArn",
}
_LISTENER_ATTRIBUTES = {
    re.sub(r"[._](\w)", lambda match: match[1].upper(), name): name
    for name in (
        "routing.http.response.strict_transport_security.header_value",
        "routing.http.response.x_content_type_options.header_value",
        "routing.http.response.x_frame_options.header_value",
        "routing.http.response.server.enabled",
    )
}
TYPES = {
    "lb.LoadBalancer": ResourceType(
        "elbv2.create_load_balancer",
        "{LoadBalancerArn}",
        names={"loadBalancerType": "Type"},
        outputs={"zoneId": "{CanonicalHostedZoneId}"},
        prepare=load_balancer_scheme,
        finish=load_balancer_suffix,
        settings=(
            Setting("elbv2.set_security_groups", ["securityGroups"], created=True),
            Setting("elbv2.set_subnets", ["subnets"], created=True),
            Setting(
                "elbv2.modify_load_balancer_attributes",
                attributes={
                    "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
                    "desyncMitigationMode": "routing.http.desync_mitigation_mode",
                    "enableDeletionProtection": "deletion_protection.enabled",
                    "enableWafFailOpen": "waf.fail_open.enabled",
                    "idleTimeout": "idle_timeout.timeout_seconds",
                    "xffHeaderProcessingMode": "routing.http.xff_header_processing.mode",
                    "enableHttp2": "routing.http2.enabled",
                    "accessLogs": "access_logs.s3",
                    "connectionLogs": "connection_logs.s3",
                },
            ),
        ),
    ),
    "lb.TargetGroup": ResourceType(
        "elbv2.create_target_group",
        "{TargetGroupArn}",
        prepare=health_check_parameters,
        finish=target_group_suffix,
        settings=(
            Setting(
                "elbv2.modify_target_group_attributes",
                attributes={"deregistrationDelay": "deregistration_delay.timeout_seconds"},
            ),
        ),
    ),
    "lb.Listener": ResourceType(
        "elbv2.create_listener",
        "{ListenerArn}",
        prepare=listener_certificate,
        names=_ACTION_NAMES,
        settings=(Setting("elbv2.modify_listener_attributes", attributes=_LISTENER_ATTRIBUTES),),
    ),
    "lb.ListenerRule": ResourceType(
        "elbv2.create_rule", "{RuleArn}", prepare=rule_conditions, names=_ACTION_NAMES
    ),
    # moto does not store keyAlgorithm: it returns RSA_2048 for every certificate.
    "acm.Certificate": ResourceType(
        "acm.request_certificate", "{CertificateArn}", finish=validation_options
    ),
    "acm.CertificateValidation": ResourceType(
        create=validate_certificate, update=AGAIN, delete=KEPT
    ),
    "wafv2.IpSet": ResourceType(
        "wafv2.create_ip_set",
        "{Id}",
        names={"ipAddressVersion": "IPAddressVersion"},
        update=update_waf,
        delete=delete_waf,
    ),
    "wafv2.WebAcl": ResourceType(
        "wafv2.create_web_acl", "{Id}", update=update_waf, delete=delete_waf
    ),
    "wafv2.WebAclAssociation": ResourceType("wafv2.associate_web_acl", "{webAclArn},{resourceArn}"),
    "wafv2.WebAclLoggingConfiguration": ResourceType(
        "wafv2.put_logging_configuration", "{resourceArn}", "LoggingConfiguration"
    ),
}
