"""Requests of somebody else, with which policies are evaluated.

A request of another account, an anonymous request, a request of an AWS service for another account:
each has values for the condition keys that say who sends it. Whoever a statement lets in, the
conditions on these keys hold for. All other keys have the values that the requester needs.

Condition keys: IAM User Guide, "AWS global condition context keys", and the service authorization
reference, both read in November 2026.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from itertools import starmap

from pulumi_local.outputs.delivery_accounts import DELIVERY_ACCOUNTS

from gatehouse_policies.analysis.iam.conditions import Context, holds
from gatehouse_policies.analysis.iam.grammar import (
    Condition,
    Document,
    DocumentError,
    Statement,
    matches,
    variables_of,
)
from gatehouse_policies.analysis.iam.patterns import Clause as Language
from gatehouse_policies.analysis.iam.patterns import clause_of, compiled, example
from gatehouse_policies.analysis.network_reachability import is_internet
from gatehouse_policies.analysis.properties import is_unknown

SAMPLES = 100
WIDE = SAMPLES // 10
"""Values of one format, and the number of them that a set of patterns must match to be as good as
any value: `a*` matches one name of 36, so four such patterns are wide."""

ACCOUNT = re.compile(r"\d{12}")
_ARN_ACCOUNT = re.compile(r"arn:[^:]*:[^:]*:[^:]*:(\d{12}):")
_BUCKET = re.compile("arn:[^:]*:s3:::")
_ORGANIZATION = re.compile(r"arn:[^:]*:organizations::\d{12}:\w+/(o-[a-z0-9]+)")
# A condition on one of these keys compares with the owner of the resource.
_RESOURCE = {
    "aws:resourceaccount": "account of the resource",
    "s3:resourceaccount": "account of the resource",
    "aws:resourceorgid": "organization of the resource",
    "aws:resourceorgpaths": "organization of the resource",
}
# What AWS needs for the delivery of logs to a bucket.
_DELIVERY = frozenset({"s3:putobject", "s3:getbucketacl", "s3:getbucketpolicy"})
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html, read November 2026.
_USER_ID_LENGTH = 21
_ALNUM = "abcdefghijklmnopqrstuvwxyz0123456789"

Values = Callable[[int, Sequence[str]], list[str | None]]
"""The values that a stranger can have for a key: the number of the stranger, and the values of the
conditions, which it may imitate. None: the key is absent."""


def owner_of(text: str) -> str:
    """The account or organization that an ARN or ID names; "" if it names none."""
    if ACCOUNT.fullmatch(text):
        return text
    found = _ORGANIZATION.match(text) or _ARN_ACCOUNT.match(text)
    return found[1] if found else ""


@lru_cache(maxsize=64)
def random_texts(alphabet: str, length: int) -> tuple[str, ...]:
    """`SAMPLES` texts of evenly distributed letters of the alphabet, the same in every process."""
    digests = (blake2b(f"{alphabet} {number}".encode()).digest() for number in range(SAMPLES))
    return tuple("".join(alphabet[b % len(alphabet)] for b in each[:length]) for each in digests)


def _account(number: int) -> str:
    return f"{number:02d}{random_texts('0123456789', 10)[number]}"


def _accounts(number: int, _imitated: Sequence[str]) -> list[str | None]:
    return [_account(number)]


def _organizations(number: int, _imitated: Sequence[str]) -> list[str | None]:
    own = f"o-{random_texts(_ALNUM, 10)[number]}"
    return [None, own, f"{own}/r-0000/ou-0000-00000000/"]


def _arns(number: int, imitated: Sequence[str]) -> list[str | None]:
    """ARNs in an account, with any other parts, and the ARN of a bucket, which has no account."""
    account, name = _account(number), random_texts(_ALNUM, 12)[number]
    own = [f"arn:aws:iam::{account}:role/{name}", f"arn:aws:s3:::{name}"]
    for pattern in imitated:
        parts = pattern.split(":", 5)
        if len(parts) == 6 and parts[4] and matches(account, parts[4]):
            own.append(_filled(":".join((*parts[:4], account, parts[5])), name))
    return list(own)


def _users(number: int, imitated: Sequence[str]) -> list[str | None]:
    unique = f"AROA{random_texts(_ALNUM.upper(), 17)[number]}"
    sessions = (pattern.partition(":")[2] for pattern in imitated)
    return [unique, *(f"{unique}:{_filled(session, 'a')}" for session in ("session", *sessions))]


def _vpcs(number: int, _imitated: Sequence[str]) -> list[str | None]:
    return [None, f"vpc-{random_texts('0123456789abcdef', 17)[number]}"]


def _endpoints(number: int, _imitated: Sequence[str]) -> list[str | None]:
    return [None, f"vpce-{random_texts('0123456789abcdef', 17)[number]}"]


def _names(number: int, imitated: Sequence[str]) -> list[str | None]:
    return [None, "", random_texts(_ALNUM, 12)[number], *_arns(number, imitated)]


def _optional(number: int, imitated: Sequence[str]) -> list[str | None]:
    return [None, _account(number), *_arns(number, imitated)]


def _absent(_number: int, _imitated: Sequence[str]) -> list[str | None]:
    return [None]


def _true(_number: int, _imitated: Sequence[str]) -> list[str | None]:
    return ["true"]


def _false(_number: int, _imitated: Sequence[str]) -> list[str | None]:
    return ["false"]


def _filled(pattern: str, text: str) -> str:
    return pattern.replace("*", text).replace("?", text[:1])


Keys = tuple[tuple[str, Values], ...]
"""Patterns of condition keys, with their values."""
_PRINCIPAL: Keys = (
    (r"aws:principalaccount|\w+:calleraccount", _accounts),
    (r"aws:principalarn", _arns),
    (r"aws:principalorg(id|paths)", _organizations),
    (r"aws:userid", _users),
)
_NETWORK: Keys = (
    (r"aws:(vpceaccount|sourcevpcarn)|vpc-lattice-svcs:sourcevpcowneraccount", _optional),
    (r"aws:vpceorg(id|paths)", _organizations),
    (r"(aws|vpc-lattice-svcs):sourcevpc", _vpcs),
    (r"aws:sourcevpce", _endpoints),
    # https://docs.aws.amazon.com/efs/latest/ug/access-control-block-public-access.html
    (r"elasticfilesystem:accessedviamounttarget", _false),
)
_SOURCE: Keys = (
    (r"aws:source(account|owner)|kms:calleraccount", _accounts),
    (r"aws:sourcearn", _arns),
    (r"aws:sourceorg(id|paths)", _organizations),
)
_SERVICE: Keys = (
    (r"aws:principalisawsservice", _true),
    (r"kms:viaservice", _absent),
    (r"kms:encryptioncontext:.*|sts:externalid", _names),
)
_NO_SERVICE: Keys = (
    (r"aws:principalisawsservice", _false),
    (r"aws:principalservicename(slist)?", _absent),
)
# A request can come through an access point for a bucket in the account of the requester.
_ACCESS_POINT: Keys = (
    (r"s3:dataaccesspoint(account|arn)", _optional),
    (r"s3:accesspointnetworkorigin", _absent),
)


def _without(keys: Keys) -> Keys:
    return tuple((pattern, _absent) for pattern, _ in keys)


# Each kind of requester, as its keys. A key that a kind does not contain has the value that the
# requester needs.
_DIRECT = (*_NO_SERVICE, *_NETWORK, *_without(_SOURCE), *_ACCESS_POINT)
ANOTHER_ACCOUNT: Keys = (*_PRINCIPAL, *_DIRECT)
ANONYMOUS: Keys = (*_without(_PRINCIPAL), *_DIRECT)
SERVICE_FOR_ANOTHER_ACCOUNT: Keys = (
    *(*_SERVICE, *_SOURCE, *_without(_PRINCIPAL), *_without(_NETWORK), *_ACCESS_POINT),
)
# A principal that a statement names can be in any network, also in that of the resource.
NAMED: Keys = (*_NO_SERVICE, *_PRINCIPAL[:3], *_without(_SOURCE))
# A request through an endpoint of the network, with credentials of another account.
THROUGH_ENDPOINT: Keys = (
    *(*_NO_SERVICE, *_PRINCIPAL, *_without(_SOURCE)),
    (r"(aws|s3):resourceaccount", _accounts),
    (r"aws:resourceorg(id|paths)", _organizations),
)

NETWORK = "network "
"""Prefix of the names of VPCs and VPC endpoints in `Limits`."""
Clause = tuple[Condition, bool]
"""A condition, and the result that the request needs."""
Limits = tuple[frozenset[str], ...]
"""Whom conditions let in: for each condition key on which there is a limit, the accounts,
organizations, networks and users that pass it, "" for a resource that only its name identifies. All
limits apply. Without limits, everyone passes."""


@lru_cache(maxsize=2048)
def limits_of(
    clauses: tuple[Clause, ...], keys: Keys, named: frozenset[str] = frozenset()
) -> Limits | None:
    """Whom the conditions let in, of the requesters with these keys; None if they let in nobody.

    named: the principals that the statement names, if it names any.
    """
    by_key: dict[str, list[Clause]] = {}
    for condition, expected in map(_oriented, clauses):
        by_key.setdefault(condition.key, []).append((condition, expected))
    found = [_limit(key, own, keys) for key, own in by_key.items()]
    limits = [*([named] if named else []), *(limit for limit in found if limit is not None)]
    accounts = [limit for limit in limits if limit and all(map(ACCOUNT.fullmatch, limit))]
    others = [limit for limit in limits if limit not in accounts]
    together = [frozenset.intersection(*accounts)] if accounts else []
    return (*together, *others) if all((*together, *others)) else None


def _limit(key: str, clauses: Sequence[Clause], keys: Keys) -> frozenset[str] | None:
    """The named requesters that pass the conditions on a key; None if most requesters pass."""
    if key == "aws:sourceip" and keys is not NAMED and keys is not THROUGH_ENDPOINT:
        return None if all(starmap(_passes_network, clauses)) else frozenset({""})
    values = next((values for pattern, values in keys if re.fullmatch(pattern, key)), None)
    if values is None:
        return None
    imitated = [value for condition, _ in clauses for value in condition.values]
    if values is _names or not any(starmap(_is_exact, clauses)):
        passing = sum(
            any(_passes(clauses, key, value) for value in values(number, imitated))
            for number in range(SAMPLES)
        )
        if passing >= WIDE:
            return None
    if values is _absent:
        return frozenset()
    return frozenset(_named(clauses, imitated, values))


def _named(clauses: Sequence[Clause], named: Sequence[str], values: Values) -> Iterator[str]:
    """The requesters that pass, each as the value names it: an ID, or a pattern that also matches
    requesters whom no value names.
    """
    texts, others = list[Language](), list[Clause]()
    for condition, expected in clauses:
        compares = clause_of(condition, expected, _RESOURCE)
        if compares is None:
            others.append((condition, expected))
        elif not _is_chosen(condition):
            texts.append(compares)
    # What belongs to the owner of the resource has the ID "".
    named = [value for value in named if variables_of(value).isdisjoint(_RESOURCE)]
    if len(named) < sum(len(condition.values) for condition, _ in clauses):
        yield ""
    owned = {value: _owned(value, values) for value in named}
    own = _language(tuple(pattern for patterns in owned.values() for pattern in patterns))
    nobody = replace(own, expected=False)
    for value, patterns in owned.items():
        if is_unknown(value) or not texts:
            passes = _passes(clauses, clauses[0][0].key, _filled(value, "0"))
        elif patterns:
            passes = example((_language(patterns), *texts)) is not None
        else:
            passes = example((_language((value,)), nobody, *texts)) is not None
        if passes and _passes(others, clauses[0][0].key, _filled(value, "0")):
            is_pattern = not patterns and values not in (_names, _true, _false, _vpcs, _endpoints)
            yield value if is_pattern and not is_unknown(value) else _id_of(value, values)


def _language(patterns: Iterable[str]) -> Language:
    return Language(tuple(compiled(each, arn=each.startswith("arn:")) for each in patterns))


def _owned(value: str, values: Values) -> tuple[str, ...]:
    """Patterns of the texts of the requester that a value names; none if it names no single one."""
    if values is _organizations:
        name, separator, _ = value.partition("/")
        whole = (name, f"{name}/*") if separator else (name,)
    elif values is _users:
        name, separator, _ = value.partition(":")
        whole = (name, f"{name}:*")
        if not separator and len(name) > _USER_ID_LENGTH:
            name = name[:_USER_ID_LENGTH]
            whole = (f"{name}*",)
    elif values in (_arns, _optional) and value.count(":") >= 5:
        *parts, name = value.split(":", 5)
        account = parts[4]
        whole = (f"arn:*:*:*:{account}:*",)
        if not account:
            resource, separator, _ = name.partition("/")
            name = ":".join((*parts, resource))
            whole = (name, f"{name}/*") if separator else (name,)
        else:
            name = account
    else:
        name, whole = value, (value,)
    return () if re.search(r"[*?$]", name) else whole


def _is_exact(condition: Condition, expected: bool) -> bool:
    """True if no requester passes whom the condition does not name."""
    exact = expected and condition.operator == "stringequals" and condition.quantifier == ""
    return exact and not condition.if_exists and not any(map(variables_of, condition.values))


def _passes_network(condition: Condition, expected: bool) -> bool:
    is_inside = (condition.operator == "ipaddress") == expected
    return (
        condition.operator not in ("ipaddress", "notipaddress")
        or not is_inside
        or (condition.if_exists and expected)
        or is_internet(*condition.values)
    )


def _id_of(value: str, values: Values) -> str:
    """The requester that a value names. An ARN without an account names a resource."""
    if is_unknown(value):
        return ""  # A resource of the program.
    if values is _organizations:
        return value.partition("/")[0]
    if values is _users:
        return value.partition(":")[0]
    if values in (_vpcs, _endpoints):
        return f"{NETWORK}{value}"
    return value if values is _accounts else owner_of(value)


def _passes(clauses: Iterable[Clause], key: str, value: str | None) -> bool:
    context: Context = {**_RESOURCE, **({} if value is None else {key: value})}
    return all(result_of(condition, context) in (expected, None) for condition, expected in clauses)


def result_of(condition: Condition, context: Context) -> bool | None:
    """True if the condition holds; None if the requester determines what is compared, and for a
    condition that AWS rejects.
    """
    if _is_chosen(condition):
        return None
    if condition.quantifier and condition.key in context:
        context = {**context, condition.key: [str(context[condition.key])]}
    try:
        return holds([_padded(condition)], context, variables=True)
    except DocumentError:
        return None


@lru_cache(maxsize=1024)
def _is_chosen(condition: Condition) -> bool:
    """True if the requester determines what its value is compared with."""
    chosen = {name for value in condition.values for name in variables_of(value)}
    return bool(chosen - {condition.key, "*", "?", "$", *_RESOURCE})


def _padded(condition: Condition) -> Condition:
    """ARN patterns such as "*" with all parts of an ARN."""
    if not condition.operator.startswith("arn"):
        return condition
    values = (
        value + ":*" * (5 - value.count(":")) if value.endswith("*") else value
        for value in condition.values
    )
    return replace(condition, values=tuple(values))


def _oriented(clause: Clause) -> Clause:
    """`aws:ResourceOrgID` equals `${aws:PrincipalOrgID}` as a condition on the principal."""
    condition, expected = clause
    if condition.key in _RESOURCE and len(condition.values) == 1:
        [variable] = variables_of(condition.values[0]) or {""}
        if variable and condition.values[0].strip("${}").strip().lower() == variable:
            value = f"${{{condition.key}}}"
            return replace(condition, key=variable, values=(value,)), expected
    return clause


@dataclass(frozen=True)
class Access:
    """Whom a document lets in.

    limits: for each statement and principal that lets in some requesters. everyone: whether any
    requester is let in. services: the AWS services that other accounts can use. buckets: the ARNs
    that alone limit a service; after the deletion of a bucket, another account can create one with
    its name.
    """

    limits: tuple[Limits, ...]
    everyone: bool
    services: tuple[str, ...]
    buckets: frozenset[str] = frozenset()

    def named(self) -> frozenset[str]:
        return frozenset(
            name for limits in self.limits for limit in limits for name in limit if name
        )

    def others(self, own: Container[str]) -> list[str]:
        """The accounts, organizations, networks and users that are let in and not our own."""
        found = set[str]()
        for limits in self.limits:
            remaining = [{name for name in limit if name and name not in own} for limit in limits]
            if remaining and all(remaining):
                found |= remaining[0]
        return sorted(found)


@lru_cache(maxsize=2048)
def access(document: Document, free: str = "") -> Access:
    """Whom the document lets in. free: pattern of the condition keys that every request passes,
    such as that of the access point to which the document belongs.
    """
    limits = list[Limits]()
    services, buckets = set[str](), set[str]()
    everyone = False
    for allow, all_clauses in _effective(document):
        clauses = tuple(each for each in all_clauses if not re.fullmatch(free, each[0].key))
        for kind, value in (("*", "*"),) if allow.not_principals else allow.principals or ():
            if _delivers_logs(allow, value):
                continue
            for keys, named in _requesters(kind, value):
                found = limits_of(clauses, keys, named)
                if found is None:
                    continue
                limits.append(found)
                if kind == "Service" and not found:
                    services.add(value)
                if kind == "Service" and found and all(limit == {""} for limit in found):
                    sources = (each for each, _ in clauses if each.key == "aws:sourcearn")
                    buckets.update(
                        arn for each in sources for arn in each.values if _BUCKET.match(arn)
                    )
                everyone = everyone or (not found and kind in ("*", "AWS"))
    return Access(tuple(limits), everyone, tuple(sorted(services)), frozenset(buckets))


def _requesters(kind: str, value: str) -> Iterator[tuple[Keys, frozenset[str]]]:
    if value == "*" and kind in ("*", "AWS"):
        for keys in (ANOTHER_ACCOUNT, ANONYMOUS, SERVICE_FOR_ANOTHER_ACCOUNT):
            yield keys, frozenset()
    elif kind == "Service":
        yield SERVICE_FOR_ANOTHER_ACCOUNT, frozenset()
    elif kind == "Federated":
        yield NAMED, frozenset({owner_of(value)})
    else:
        yield NAMED, frozenset({owner_of(value) or value})


def _delivers_logs(allow: Statement, principal: str) -> bool:
    """True for an account of AWS that a statement allows to deliver logs, and nothing else."""
    is_account = ACCOUNT.fullmatch(principal) or principal.endswith(":root")
    return (
        bool(is_account)
        and owner_of(principal) in DELIVERY_ACCOUNTS
        and _DELIVERY.issuperset(action.lower() for action in allow.actions or ("*",))
    )


def _effective(document: Document) -> Iterator[tuple[Statement, tuple[Clause, ...]]]:
    """The Allow statements, each with its conditions and those under which no Deny statement
    applies. A Deny statement with several conditions gives several alternatives.
    """
    for allow in document.allows:
        clauses = [tuple((condition, True) for condition in allow.conditions)]
        for deny in document.denies:
            if _covers(deny, allow):
                exceptions = [(condition, False) for condition in deny.conditions]
                clauses = [(*own, exception) for own in clauses for exception in exceptions]
            if len(clauses) > 16:
                break
        for own in clauses:
            yield allow, own


def _covers(deny: Statement, allow: Statement) -> bool:
    """True if a Deny statement for everyone applies to all actions and resources of another."""
    return (
        deny.not_principals is None
        and deny.applies_to_everyone()
        and allow.actions is not None
        and all(map(deny.covers_action, allow.actions))
        and (
            (deny.resources is None and deny.not_resources is None)
            or (
                allow.resources is not None
                and all(
                    any(matches(resource, pattern) for pattern in deny.resources or ())
                    for resource in allow.resources
                )
            )
        )
    )
