"""The load balancer: listeners, rules, target groups and their attributes."""

import re
from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row

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
_HEALTH = {
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


def _load_balancer(make: Make, parameters: dict[str, Any]) -> None:
    parameters["Scheme"] = "internal" if make.take("internal") else "internet-facing"


def _load_balancer_details(make: Make, balancer: dict[str, Any]) -> dict[str, Any]:
    attributes = {key: _text(make.peek(name)) for name, key in _LOAD_BALANCER_ATTRIBUTES.items() if make.take(name) is not None}
    for name, prefix in (("accessLogs", "access_logs.s3"), ("connectionLogs", "connection_logs.s3")):
        for key, value in (make.take(name) or {}).items():
            attributes[f"{prefix}.{key}"] = _text(value)
    arn = balancer["LoadBalancerArn"]
    _put(make, "elbv2.modify_load_balancer_attributes", "LoadBalancerArn", arn, attributes)
    return {"arn": arn, "arnSuffix": arn.partition(":loadbalancer/")[2], "zoneId": balancer["CanonicalHostedZoneId"]}


def _put(make: Make, call: str, member: str, arn: str, attributes: dict[str, str]) -> None:
    if attributes:
        make.call(call, {member: arn, "Attributes": [{"Key": key, "Value": value} for key, value in attributes.items()]})


def _target_group(make: Make, parameters: dict[str, Any]) -> None:
    health = dict(make.take("healthCheck") or {})
    matcher = health.pop("matcher", None)
    shape = make.input_shape("elbv2.create_target_group")
    parameters.update(make.to_api(health, shape, "healthCheck", _HEALTH))
    if matcher:
        parameters["Matcher"] = {"HttpCode": str(matcher)}


def _target_group_details(make: Make, group: dict[str, Any]) -> dict[str, Any]:
    attributes = {key: _text(make.peek(name)) for name, key in _TARGET_GROUP_ATTRIBUTES.items() if make.take(name) is not None}
    stickiness = make.take("stickiness")
    if stickiness:
        attributes["stickiness.enabled"] = _text(stickiness.get("enabled", True))
        attributes["stickiness.type"] = stickiness["type"]
        if stickiness.get("cookieDuration"):
            attributes["stickiness.lb_cookie.duration_seconds"] = _text(stickiness["cookieDuration"])
    arn = group["TargetGroupArn"]
    _put(make, "elbv2.modify_target_group_attributes", "TargetGroupArn", arn, attributes)
    return {"arn": arn, "arnSuffix": arn.rpartition(":")[2], "name": group["TargetGroupName"]}


def _listener(make: Make, parameters: dict[str, Any]) -> None:
    if make.take("certificateArn"):
        parameters["Certificates"] = [{"CertificateArn": make.peek("certificateArn")}]


def _listener_details(make: Make, listener: dict[str, Any]) -> dict[str, Any]:
    """`routingHttpResponseServerEnabled` is the attribute routing.http.response.server.enabled, and so on."""
    attributes = {}
    for name in [name for name in make.registration.inputs if name.startswith("routingHttp")]:
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower().removeprefix("routing_http_")
        side, _, rest = words.partition("_")
        head, tail = next(
            ((rest[: -len(end)], end[1:]) for end in ("_header_value", "_header_name", "_enabled") if rest.endswith(end)),
            (rest, ""),
        )
        attributes[f"routing.http.{side}.{head}" + (f".{tail}" if tail else "")] = _text(make.take(name))
    arn = listener["ListenerArn"]
    _put(make, "elbv2.modify_listener_attributes", "ListenerArn", arn, attributes)
    return {"arn": arn}


_CONDITIONS = {
    "hostHeader": ("host-header", "HostHeaderConfig"),
    "pathPattern": ("path-pattern", "PathPatternConfig"),
    "httpHeader": ("http-header", "HttpHeaderConfig"),
    "httpRequestMethod": ("http-request-method", "HttpRequestMethodConfig"),
    "sourceIp": ("source-ip", "SourceIpConfig"),
    "queryStrings": ("query-string", "QueryStringConfig"),
}


def _rule(make: Make, parameters: dict[str, Any]) -> None:
    conditions = []
    for condition in make.take("conditions"):
        for name, value in condition.items():
            if name not in _CONDITIONS:
                raise make.error(f"property conditions.{name} is not a condition that the row knows.")
            field_name, member = _CONDITIONS[name]
            body = {"values": value} if name == "queryStrings" else value
            conditions.append({"Field": field_name, member: make.part("elbv2.create_rule", f"Conditions.{member}", body)})
    parameters["Conditions"] = conditions
    parameters.setdefault("Priority", 1)


ROWS: dict[str, Row] = {
    "aws:lb/loadBalancer:LoadBalancer": Row(
        call="elbv2.create_load_balancer",
        reply="LoadBalancers.0",
        id="{LoadBalancerArn}",
        names={"loadBalancerType": "Type"},
        shape=_load_balancer,
        then=_load_balancer_details,
        by_hand=("internal", "accessLogs", "connectionLogs", *_LOAD_BALANCER_ATTRIBUTES),
    ),
    "aws:lb/targetGroup:TargetGroup": Row(
        call="elbv2.create_target_group",
        reply="TargetGroups.0",
        id="{TargetGroupArn}",
        shape=_target_group,
        then=_target_group_details,
        by_hand=("healthCheck", "stickiness", *_TARGET_GROUP_ATTRIBUTES),
    ),
    "aws:lb/listener:Listener": Row(
        call="elbv2.create_listener",
        reply="Listeners.0",
        id="{ListenerArn}",
        nested=_ACTION,
        shape=_listener,
        then=_listener_details,
        by_hand=("certificateArn",),
    ),
    "aws:lb/listenerRule:ListenerRule": Row(
        call="elbv2.create_rule",
        reply="Rules.0",
        id="{RuleArn}",
        nested=_ACTION,
        shape=_rule,
        by_hand=("conditions",),
        outputs={"arn": "{RuleArn}"},
    ),
}
