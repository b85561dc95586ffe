"""Elastic Load Balancing: load balancers, listeners, rules, target groups and their attributes."""

import re
from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType

_LOAD_BALANCER_ATTRIBUTES = {
    "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
    "desyncMitigationMode": "routing.http.desync_mitigation_mode",
    "enableDeletionProtection": "deletion_protection.enabled",
    "enableWafFailOpen": "waf.fail_open.enabled",
    "idleTimeout": "idle_timeout.timeout_seconds",
    "clientKeepAlive": "client_keep_alive.seconds",
    "xffHeaderProcessingMode": "routing.http.xff_header_processing.mode",
    "enableXffClientPort": "routing.http.xff_client_port.enabled",
    "preserveHostHeader": "routing.http.preserve_host_header.enabled",
    "enableHttp2": "routing.http2.enabled",
    "enableTlsVersionAndCipherSuiteHeaders": "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
    "enableCrossZoneLoadBalancing": "load_balancing.cross_zone.enabled",
    "enableZonalShift": "zonal_shift.config.enabled",
}
_TARGET_GROUP_ATTRIBUTES = {
    "deregistrationDelay": "deregistration_delay.timeout_seconds",
    "slowStart": "slow_start.duration_seconds",
    "loadBalancingAlgorithmType": "load_balancing.algorithm.type",
    "loadBalancingAnomalyMitigation": "load_balancing.algorithm.anomaly_mitigation",
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
    "stickiness": "TargetGroupStickinessConfig",
    "duration": "DurationSeconds",
}


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _set_scheme(request: CreateRequest, parameters: dict[str, Any]) -> None:
    parameters["Scheme"] = "internal" if request.take("internal") else "internet-facing"


def _set_load_balancer_attributes(request: CreateRequest, balancer: dict[str, Any]) -> dict[str, Any]:
    attributes = {
        key: _text(request.peek(name)) for name, key in _LOAD_BALANCER_ATTRIBUTES.items() if request.take(name) is not None
    }
    for name, prefix in (("accessLogs", "access_logs.s3"), ("connectionLogs", "connection_logs.s3")):
        for key, value in (request.take(name) or {}).items():
            attributes[f"{prefix}.{key}"] = _text(value)
    arn = balancer["LoadBalancerArn"]
    _put_attributes(request, "elbv2.modify_load_balancer_attributes", "LoadBalancerArn", arn, attributes)
    return {"arn": arn, "arnSuffix": arn.partition(":loadbalancer/")[2], "zoneId": balancer["CanonicalHostedZoneId"]}


def _put_attributes(request: CreateRequest, call: str, member: str, arn: str, attributes: dict[str, str]) -> None:
    if attributes:
        request.call(call, {member: arn, "Attributes": [{"Key": key, "Value": value} for key, value in attributes.items()]})


def _set_health_check(request: CreateRequest, parameters: dict[str, Any]) -> None:
    health = dict(request.take("healthCheck") or {})
    matcher = health.pop("matcher", None)
    shape = request.input_shape("elbv2.create_target_group")
    parameters.update(request.to_api(health, shape, "healthCheck", _HEALTH_CHECK))
    if matcher:
        parameters["Matcher"] = {"HttpCode": str(matcher)}


def _set_target_group_attributes(request: CreateRequest, group: dict[str, Any]) -> dict[str, Any]:
    attributes = {
        key: _text(request.peek(name)) for name, key in _TARGET_GROUP_ATTRIBUTES.items() if request.take(name) is not None
    }
    stickiness = request.take("stickiness")
    if stickiness:
        attributes["stickiness.enabled"] = _text(stickiness.get("enabled", True))
        attributes["stickiness.type"] = stickiness["type"]
        if stickiness.get("cookieDuration"):
            attributes["stickiness.lb_cookie.duration_seconds"] = _text(stickiness["cookieDuration"])
    arn = group["TargetGroupArn"]
    _put_attributes(request, "elbv2.modify_target_group_attributes", "TargetGroupArn", arn, attributes)
    return {"arn": arn, "arnSuffix": arn.rpartition(":")[2], "name": group["TargetGroupName"]}


def _set_certificate(request: CreateRequest, parameters: dict[str, Any]) -> None:
    if request.take("certificateArn"):
        parameters["Certificates"] = [{"CertificateArn": request.peek("certificateArn")}]


def _set_listener_attributes(request: CreateRequest, listener: dict[str, Any]) -> dict[str, Any]:
    """`routingHttpResponseServerEnabled` is the attribute `routing.http.response.server.enabled`, and so on."""
    attributes = {}
    for name in [name for name in request.registration.inputs if name.startswith("routingHttp")]:
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower().removeprefix("routing_http_")
        side, _, rest = words.partition("_")
        head, tail = next(
            ((rest[: -len(end)], end[1:]) for end in ("_header_value", "_header_name", "_enabled") if rest.endswith(end)),
            (rest, ""),
        )
        attributes[f"routing.http.{side}.{head}" + (f".{tail}" if tail else "")] = _text(request.take(name))
    arn = listener["ListenerArn"]
    _put_attributes(request, "elbv2.modify_listener_attributes", "ListenerArn", arn, attributes)
    return {"arn": arn}


_CONDITIONS = {
    "hostHeader": ("host-header", "HostHeaderConfig"),
    "pathPattern": ("path-pattern", "PathPatternConfig"),
    "httpHeader": ("http-header", "HttpHeaderConfig"),
    "httpRequestMethod": ("http-request-method", "HttpRequestMethodConfig"),
    "sourceIp": ("source-ip", "SourceIpConfig"),
    "queryStrings": ("query-string", "QueryStringConfig"),
}


def _set_conditions(request: CreateRequest, parameters: dict[str, Any]) -> None:
    conditions = []
    for condition in request.take("conditions"):
        for name, value in condition.items():
            if name not in _CONDITIONS:
                raise request.error(
                    f"property conditions.{name} is not emulated. Add it to _CONDITIONS in sandbox/emulator/resources/alb.py."
                )
            field_name, member = _CONDITIONS[name]
            body = {"values": value} if name == "queryStrings" else value
            conditions.append({"Field": field_name, member: request.part("elbv2.create_rule", f"Conditions.{member}", body)})
    parameters["Conditions"] = conditions
    parameters.setdefault("Priority", 1)


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:lb/loadBalancer:LoadBalancer": ResourceType(
        call="elbv2.create_load_balancer",
        result="LoadBalancers.0",
        id="{LoadBalancerArn}",
        names={"loadBalancerType": "Type"},
        prepare=_set_scheme,
        finish=_set_load_balancer_attributes,
        handled=("internal", "accessLogs", "connectionLogs", *_LOAD_BALANCER_ATTRIBUTES),
    ),
    "aws:lb/targetGroup:TargetGroup": ResourceType(
        call="elbv2.create_target_group",
        result="TargetGroups.0",
        id="{TargetGroupArn}",
        prepare=_set_health_check,
        finish=_set_target_group_attributes,
        handled=("healthCheck", "stickiness", *_TARGET_GROUP_ATTRIBUTES),
    ),
    "aws:lb/listener:Listener": ResourceType(
        call="elbv2.create_listener",
        result="Listeners.0",
        id="{ListenerArn}",
        nested=_ACTION,
        prepare=_set_certificate,
        finish=_set_listener_attributes,
        handled=("certificateArn",),
    ),
    "aws:lb/listenerRule:ListenerRule": ResourceType(
        call="elbv2.create_rule",
        result="Rules.0",
        id="{RuleArn}",
        nested=_ACTION,
        prepare=_set_conditions,
        handled=("conditions",),
        outputs={"arn": "{RuleArn}"},
    ),
}
