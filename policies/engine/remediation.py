"""What a rule may change by itself: inputs of the same resource, and only when the rule passes afterwards.

A policy can neither add a resource nor see others while it remediates, so rules about several resources have no remedy
here; nor do those whose change would replace what holds data (encryption at rest), cost a second machine where the
program asked for one (failover of a cache), or need a value that only a person knows (a key, an owner).
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pulumi_policy.proxy import UnknownValueError
from pulumi_policy.secret import Secret

from policies.analysis import type_tokens as tokens
from policies.analysis.properties import MalformedError, Props, is_unknown
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import Rule, decide

_REMOVE = object()


@dataclass(frozen=True, slots=True)
class Put:
    """Sets one input. `path` is dotted; `rules[].a` is in each element, where nothing is made that is not there.

    A callable value is asked for the resource. `within` names a property that is JSON text, in whose elements the path
    lies. `types` bound a step to some of the rule's types.
    """

    path: str
    value: Any
    within: str = ""
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One input that was changed: where, and to what (None: removed). The old value is not kept, it may be a secret."""

    path: str
    value: Any

    def text(self) -> str:
        return f"removed {self.path}" if self.value is None else f"set {self.path} to {json.dumps(self.value)}"


def _bound(name: str) -> Callable[[Resource], int]:
    return lambda resource: int(resource.settings[name])


def _logs(database: Resource) -> list[str]:
    return ["postgresql", "upgrade"] if "postgres" in database.props.text("engine") else ["error", "slowquery"]


_TO_HTTPS = [{"type": "redirect", "redirect": {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"}}]
_HEADERS = "routingHttpResponse"

REMEDIES: Mapping[str, Sequence[Put]] = {
    "GH-S3-015": [Put("forceDestroy", False)],
    "GH-KMS-001": [Put("enableKeyRotation", True), Put("rotationPeriodInDays", _bound("days_max"))],
    "GH-KMS-003": [Put("deletionWindowInDays", _bound("days_min"))],
    "GH-KMS-004": [Put("bypassPolicyLockoutSafetyCheck", _REMOVE)],
    "GH-SM-003": [
        Put("rotationRules.scheduleExpression", _REMOVE),
        Put("rotationRules.automaticallyAfterDays", _bound("days_max")),
    ],
    "GH-SM-004": [Put("blockPublicPolicy", True, types=tokens.SECRET_POLICY)],
    "GH-SM-005": [Put("recoveryWindowInDays", _bound("days_min"))],
    "GH-ECS-001": [Put("privileged", False, within="containerDefinitions")],
    "GH-ECS-002": [Put("readonlyRootFilesystem", True, within="containerDefinitions")],
    "GH-ECS-004": [Put("networkMode", "awsvpc"), Put("pidMode", _REMOVE), Put("ipcMode", _REMOVE)],
    "GH-ECS-007": [Put("networkConfiguration.assignPublicIp", False)],
    "GH-ECS-008": [Put("platformVersion", "LATEST")],
    "GH-ECS-009": [Put("settings", [{"name": "containerInsights", "value": "enhanced"}])],
    "GH-ECS-012": [Put("deploymentCircuitBreaker", {"enable": True, "rollback": True})],
    "GH-ECS-016": [Put("volumes[].efsVolumeConfiguration.transitEncryption", "ENABLED")],
    "GH-ECR-001": [Put("imageScanningConfiguration.scanOnPush", True)],
    "GH-ECR-002": [Put("imageTagMutability", "IMMUTABLE")],
    "GH-ALB-001": [Put("defaultActions", _TO_HTTPS)],
    "GH-ALB-002": [Put("sslPolicy", "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09")],
    "GH-ALB-003": [Put("dropInvalidHeaderFields", True)],
    "GH-ALB-005": [Put("enableDeletionProtection", True)],
    "GH-ALB-006": [Put("desyncMitigationMode", "defensive")],
    "GH-ALB-010": [
        Put(f"{_HEADERS}StrictTransportSecurityHeaderValue", "max-age=31536000; includeSubDomains"),
        Put(f"{_HEADERS}XContentTypeOptionsHeaderValue", "nosniff"),
        Put(f"{_HEADERS}XFrameOptionsHeaderValue", "DENY"),
        Put(f"{_HEADERS}ServerEnabled", False),
    ],
    "GH-WAF-003": [
        Put("visibilityConfig.cloudwatchMetricsEnabled", True),
        Put("rules[].visibilityConfig.cloudwatchMetricsEnabled", True),
    ],
    "GH-RDS-001": [Put("publiclyAccessible", False)],
    "GH-RDS-003": [Put("backupRetentionPeriod", _bound("days_min")), Put("deleteAutomatedBackups", False)],
    "GH-RDS-004": [Put("multiAz", True)],
    "GH-RDS-005": [Put("deletionProtection", True), Put("skipFinalSnapshot", False)],
    "GH-RDS-006": [Put("iamDatabaseAuthenticationEnabled", True)],
    "GH-RDS-008": [Put("enabledCloudwatchLogsExports", _logs)],
    "GH-RDS-010": [Put("autoMinorVersionUpgrade", True)],
    "GH-RDS-011": [Put("copyTagsToSnapshot", True)],
    "GH-RDS-015": [Put("caCertIdentifier", "rds-ca-rsa2048-g1")],
    "GH-EC-002": [Put("transitEncryptionEnabled", True), Put("transitEncryptionMode", "required")],
    "GH-EC-005": [Put("snapshotRetentionLimit", _bound("days_min"))],
    "GH-EC-006": [Put("autoMinorVersionUpgrade", True)],
    "GH-DDB-001": [Put("pointInTimeRecovery.enabled", True)],
    "GH-DDB-003": [Put("deletionProtectionEnabled", True)],
    "GH-VPC-003": [Put("mapPublicIpOnLaunch", False)],
    "GH-CT-001": [
        Put("isMultiRegionTrail", True),
        Put("enableLogging", True),
        Put("includeGlobalServiceEvents", True),
    ],
    "GH-CT-003": [Put("enableLogFileValidation", True)],
    "GH-CW-001": [Put("retentionInDays", _bound("days_min"))],
    "GH-API-004": [
        Put("disableExecuteApiEndpoint", True, types=tokens.REST_API + tokens.HTTP_API),
        Put("securityPolicy", "TLS_1_2", types=tokens.REST_DOMAIN),
        Put("domainNameConfiguration.securityPolicy", "TLS_1_2", types=tokens.HTTP_DOMAIN),
    ],
    "GH-API-005": [
        Put("xrayTracingEnabled", True, types=tokens.REST_STAGE),
        Put("settings.dataTraceEnabled", False, types=tokens.REST_METHOD_SETTINGS),
        Put("settings.cacheDataEncrypted", True, types=tokens.REST_METHOD_SETTINGS),
    ],
}


def remedied(rule: Rule, resource: Resource, inputs: Any) -> tuple[dict[str, Any], tuple[Change, ...]] | None:
    """The inputs as the rule would have them, and what changed; None when there is nothing to do or no way to do it.

    `inputs` are the SDK's own, in which secrets are marked: whatever is not changed is handed back untouched. The steps
    are taken in order until the rule passes; when it does not, nothing is changed at all.
    """
    wanted = raw(inputs)
    changes: list[Change] = []
    for step in REMEDIES[rule.id]:
        if not _violates(rule, resource, wanted):
            break
        try:
            changes += _take(step, resource, wanted)
        except (MalformedError, UnknownValueError):
            return None  # What the new value depends on is wrong or not known; the rule itself says so.
    return (wanted, tuple(changes)) if changes and not _violates(rule, resource, wanted, undecided_too=True) else None


def _violates(rule: Rule, resource: Resource, inputs: Any, undecided_too: bool = False) -> bool:
    judged = replace(resource, props=Props(revealed(inputs)))
    decision = decide(rule, judged, Stack([judged]))
    return bool(decision.violations or (undecided_too and (decision.undecided or decision.allowed or decision.broken)))


def _take(step: Put, resource: Resource, inputs: dict[str, Any]) -> list[Change]:
    if step.types and resource.type not in step.types:
        return []
    value = step.value(resource) if callable(step.value) else step.value
    if not step.within:
        return [Change(path, None if value is _REMOVE else value) for path in _put(inputs, step.path, value)]
    text = inputs.get(step.within)
    if not isinstance(text, str) or is_unknown(text):
        return []
    try:
        elements = json.loads(text)
    except ValueError:
        return []
    if not isinstance(elements, list):
        return []
    places = list(_put({"": elements}, f"[].{step.path}", value))
    if places:
        inputs[step.within] = json.dumps(elements)
    return [Change(f"{step.within}{place}", None if value is _REMOVE else value) for place in places]


def _put(container: Any, path: str, value: Any, at: str = "", make: bool = True) -> Iterator[str]:
    """Sets a value at a path; yields the places that changed. Goes through no secret and nothing unknown."""
    head, _, rest = path.partition(".")
    if not isinstance(container, dict):
        return
    if head.endswith("[]"):
        name = head.removesuffix("[]")
        elements = container.get(name)
        for number, element in enumerate(elements if isinstance(elements, list) else []):
            yield from _put(element, rest, value, f"{at}{name}[{number}].", make=False)
    elif rest:
        held = container.get(head)
        if held is None and make and value is not _REMOVE:
            held = container[head] = {}
        yield from _put(held, rest, value, f"{at}{head}.", make)
    elif value is _REMOVE:
        if container.pop(head, None) is not None:
            yield f"{at}{head}"
    elif container.get(head) != value and not isinstance(container.get(head), Secret) and not is_unknown(container.get(head)):
        container[head] = copy.deepcopy(value)
        yield f"{at}{head}"


def raw(value: Any) -> Any:
    """The SDK's proxies as dicts and lists; secrets stay marked, unknowns stay their wire marker."""
    if isinstance(value, str | bytes | Secret):
        return value
    if isinstance(value, Mapping):
        target = value if isinstance(value, dict) else value["__target"]
        return {key: raw(inner) for key, inner in target.items()}
    if isinstance(value, Sequence):
        target = value if isinstance(value, list | tuple) else value["__target"]  # type: ignore[call-overload]
        return [raw(inner) for inner in target]
    return value


def revealed(value: Any) -> Any:
    """Plain values without marks, for a rule to judge; never handed on."""
    value = raw(value)
    if isinstance(value, Secret):
        return revealed(value.value)
    if isinstance(value, dict):
        return {key: revealed(inner) for key, inner in value.items()}
    return [revealed(inner) for inner in value] if isinstance(value, list) else value
