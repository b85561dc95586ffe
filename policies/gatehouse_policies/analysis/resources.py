"""Resources of a program and the references between them.

References follow property dependencies, because IDs are unknown in the first preview.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, TypeVar

from pulumi_local.lists import leaves
from pulumi_local.type_tokens import aws
from pulumi_local.types import UNKNOWN

from gatehouse_policies.analysis.bucket_settings import separate_settings
from gatehouse_policies.analysis.properties import (
    Properties,
    UnknownPropertyError,
    are_reads_recorded,
    is_unknown,
)

Value = TypeVar("Value")
_BUCKETS = aws("s3.Bucket")
ACCOUNT_OF_CHECK = "gatehouse:account"
"""The input of a provider without allowedAccountIds that has the account of invented ARNs."""

# Output properties by which AWS resources refer to each other.
_IDENTIFIERS = (
    *("id", "arn", "name", "bucket", "identifier", "clusterIdentifier", "keyId", "url"),
    "replicationGroupId",
    "customer_id",  # of gatehouse-pulumi
)


ACCOUNTS_PATH = "provider.allowedAccountIds"
ORGANIZATION_PATH = "the organization of the program"
"""What is unknown for a program that declares neither accounts nor an organization."""


@dataclass(frozen=True)
class _Own(Container[str]):
    """The accounts, organizations and networks of a program.

    are_accounts_known, are_organizations_known: False if there can be others.
    """

    names: frozenset[str]
    are_accounts_known: bool
    are_organizations_known: bool

    def __contains__(self, name: object) -> bool:
        if name and name in self.names:
            return True
        if is_organization(str(name)):
            if not self.are_organizations_known:
                raise UnknownPropertyError(ORGANIZATION_PATH)
        elif not self.are_accounts_known:
            raise UnknownPropertyError(ACCOUNTS_PATH)
        return False


def is_organization(name: str) -> bool:
    return name.startswith("o-")


@dataclass(frozen=True)
class Resource:
    """One resource of the program.

    props: inputs that the program sets.
    identifiers: known strings by which other resources may refer to this resource (ID, ARN, name).
    managed: False for a resource that the program only reads with `get`, which no rule evaluates.
    ignored: inputs whose changes the program ignores, so that another value can be deployed.
    property_dependencies: for each property, the URNs of the resources that its value comes from.
    dependencies: the URNs of the resources that the engine creates before this resource.
    settings, lists: parameters of the rule that evaluates the resource, from the pack
        configuration.
    """

    urn: str
    type: str
    name: str
    props: Properties
    identifiers: frozenset[str] = frozenset()
    protect: bool = False
    managed: bool = True
    ignored: frozenset[str] = frozenset()
    parent: str = ""
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    provider: Properties | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def own_accounts(self, *others: str) -> Container[str]:
        """The provider's allowedAccountIds, the rule's list `accounts`, and others.

        If the provider and the rule name no account, the account of a check is known, and another
        one raises UnknownPropertyError, so that a rule about external accounts is undecided instead
        of passing. So does an organization if the rule names none.
        """
        names = {*self.lists.get("accounts", ())}
        if self.provider and self.provider.has("allowedAccountIds"):
            names |= {*self.provider.decoded("allowedAccountIds").texts("allowedAccountIds")}
        are_accounts_known = any(map(str.isdigit, names))
        names |= {*others}
        if not are_accounts_known and self.provider:
            names.add(self.provider.known_text(ACCOUNT_OF_CHECK))
        return _Own(frozenset(names), are_accounts_known, any(map(is_organization, names)))

    def region(self) -> str:
        """The Region of the resource, "" if it is unknown."""
        provider = self.provider.known_text("region") if self.provider else ""
        return self.props.known_text("region") or provider

    def tags(self) -> list[Properties]:
        blocks = [self.props.block("tags")]
        if self.provider is not None and self.provider.has("defaultTags"):
            blocks.append(self.provider.decoded("defaultTags").block("defaultTags").block("tags"))
        return blocks

    def tag(self, key: str) -> str:
        return next((tags.text(key) for tags in self.tags() if tags.has(key)), "")


def identifiers_of(properties: Mapping[str, Any]) -> frozenset[str]:
    """The known strings in a resource's properties by which other resources may refer to the
    resource.
    """
    values = (properties.get(key) for key in _IDENTIFIERS)
    return frozenset(
        value for value in values if isinstance(value, str) and value and not is_unknown(value)
    )


@dataclass(frozen=True)
class _Reference:
    """What the property of a source refers to.

    peers: the URNs of the resources that the value comes from, by class.
    values: its known strings. unknown: whether any part of it is unknown.
    indirect: the URNs to which an unknown value can refer as well.
    keys: the URNs and strings of all these resources.
    """

    source: Resource
    peers: Mapping[str, Sequence[str]]
    values: frozenset[str]
    unknown: bool
    indirect: Set[str]
    keys: frozenset[str]


_Index = dict[str, list[tuple[int, Resource]]]
"""Resources with their positions, by key. Programs with thousands of resources have thousands of
references, so that comparing each with all resources would take a quadratic time.
"""


class Stack:
    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = tuple(resources)
        self._references: dict[tuple[int, str], _Reference] = {}
        self._derived: dict[tuple[Callable[[Resource, Stack], Any], str], Any] = {}
        self._sources: dict[tuple[tuple[str, ...], str], _Index] = {}

    @cached_property
    def _by_urn(self) -> dict[str, Resource]:
        return {resource.urn: resource for resource in self.resources}

    @cached_property
    def _by_type(self) -> "_Index":
        """Rules look up a few types many times in programs with thousands of resources."""
        settings = (setting for item in self.resources for setting in _settings(item))
        return _index((*self.resources, *settings), lambda resource: (resource.type,))

    @cached_property
    def identifiers(self) -> frozenset[str]:
        return frozenset(name for resource in self.resources for name in resource.identifiers)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self.resources)

    def of_type(self, types: Iterable[str]) -> list[Resource]:
        """The resources of these types, and the settings on buckets themselves as resources of
        their own, which are not managed.
        """
        return _found(self._by_type, types)

    def named(self, *names: str) -> list[Resource]:
        """The resources with one of these URNs or identifiers."""
        return _found(self._by_key, names)

    def referencing(self, target: Resource, types: Iterable[str], prop: str) -> list[Resource]:
        """The resources of these types whose property refers to the target, such as a bucket's
        policies by `bucket`.
        """
        index = self._sources_by_key(tuple(types), prop)
        found = _found(index, (target.urn, *target.identifiers))
        return [resource for resource in found if self.references(resource, prop, target)]

    def referenced_by(self, source: Resource, prop: str, types: Iterable[str]) -> list[Resource]:
        """The resources of these types that a property refers to, such as a subnet group by
        `dbSubnetGroupName`.
        """
        tokens = frozenset(types)
        return [
            resource
            for resource in _found(self._by_key, self._reference(source, prop).keys)
            if resource.type in tokens and self.references(source, prop, resource)
        ]

    def of_same_owner(self, resource: Resource, prop: str) -> list[Resource]:
        """The resources of the same type whose property refers to the same resource."""
        reference = self._reference(resource, prop)
        index = self._sources_by_key((resource.type,), prop)
        return _found(index, reference.keys - reference.indirect)

    def references(self, source: Resource, prop: str, target: Resource) -> bool:
        """True if a property of the source refers to the target.

        A property refers to the target if its value comes from the target, known or unknown. If the
        value comes from several resources of that type, the known value determines which resource
        is the target. A plain string refers to the resource with that identifier.
        """
        reference = self._reference(source, prop)
        same_type = reference.peers.get(_class_name(target.type), ())
        if target.urn in same_type:
            # A list property (subnets, security groups) refers to every resource that its value
            # comes from.
            all_values = len(reference.values) >= len(same_type)
            return (
                len(same_type) == 1
                or reference.unknown
                or not reference.values
                or all_values
                or bool(reference.values & target.identifiers)
            )
        return not same_type and (
            not reference.values.isdisjoint(target.identifiers) or target.urn in reference.indirect
        )

    def _reference(self, source: Resource, prop: str) -> "_Reference":
        """What a property refers to, decoded once for all rules."""
        key = (id(source.props), prop)
        if key not in self._references:
            dependencies = source.property_dependencies.get(prop, ())
            peers: dict[str, list[str]] = {}
            for urn in dependencies:
                if (peer := self._by_urn.get(urn)) is not None:
                    peers.setdefault(_class_name(peer.type), []).append(urn)
            values, unknown = _strings(source.props, prop)
            indirect = {source.parent, *self._indirect(dependencies)} if unknown else set()
            keys = frozenset((*dependencies, *values, *indirect))
            reference = _Reference(source, peers, values, unknown, indirect, keys)
            self._references[key] = reference
        return self._references[key]

    def _sources_by_key(self, types: tuple[str, ...], prop: str) -> "_Index":
        if (types, prop) not in self._sources:
            self._sources[types, prop] = _index(
                self.of_type(types), lambda source: self._reference(source, prop).keys
            )
        return self._sources[types, prop]

    @cached_property
    def _by_key(self) -> "_Index":
        return _index(self.resources, lambda resource: (resource.urn, *resource.identifiers))

    def once(self, derive: Callable[[Resource, "Stack"], Value], resource: Resource) -> Value:
        """The result of a function that reads no flag, computed once for each resource."""
        if are_reads_recorded():
            return derive(resource, self)
        key = (derive, resource.urn)
        if key not in self._derived:
            self._derived[key] = derive(resource, self)
        value: Value = self._derived[key]
        return value

    def outputs_in(self, source: Resource, prop: str, types: Iterable[str]) -> list[Resource]:
        """The resources of these types one of whose outputs is the value of a property.

        Unlike `referenced_by`, excludes those that the value depends on indirectly, or names.
        """
        urns = source.property_dependencies.get(prop, ())
        return [resource for resource in self.of_type(types) if resource.urn in urns]

    def depends_on(self, source: Resource, target: Resource) -> bool:
        """True if the engine creates the target before the source, because of a property or the
        option `dependsOn`.
        """
        pending, seen = [source.urn], {source.urn}
        while pending:
            resource = self._by_urn[pending.pop()]
            urns = {
                *resource.dependencies,
                *(urn for urns in resource.property_dependencies.values() for urn in urns),
            }
            pending += [urn for urn in urns - seen if urn in self._by_urn]
            seen |= urns
        return target.urn in seen

    def _indirect(self, dependencies: tuple[str, ...]) -> set[str]:
        """The resources on which the dependencies themselves depend, such as the bucket whose name
        a bucket policy exports.
        """
        peers = (self._by_urn[urn] for urn in dependencies if urn in self._by_urn)
        return {
            urn for peer in peers for urns in peer.property_dependencies.values() for urn in urns
        }


def _settings(bucket: Resource) -> Iterator[Resource]:
    """The settings on a bucket itself, as the separate resources that refer to the bucket."""
    if bucket.type not in _BUCKETS or not bucket.managed:
        return
    inputs = bucket.props.plain()
    for name, resource_class, prop, settings in separate_settings(inputs):
        yield replace(
            bucket,
            type=aws(resource_class)[0],
            props=Properties(settings, root=bucket.props.root),
            identifiers=frozenset(),
            managed=False,
            property_dependencies={
                prop: bucket.property_dependencies.get(name, ()),
                "bucket": (bucket.urn,),
            },
        )


@cache
def _class_name(token: str) -> str:
    """A type without module and version: `bucket:Bucket` equals `bucketV2:BucketV2`, and `alb`
    equals `lb`.
    """
    return token.rpartition(":")[2].removesuffix("V2")


def _index(resources: Iterable[Resource], keys: Callable[[Resource], Iterable[str]]) -> _Index:
    index: _Index = {}
    for position, resource in enumerate(resources):
        for key in keys(resource):
            index.setdefault(key, []).append((position, resource))
    return index


def _found(index: _Index, keys: Iterable[str]) -> list[Resource]:
    found = dict(entry for key in keys for entry in index.get(key, ()))
    return [found[position] for position in sorted(found)]


def _strings(props: Properties, prop: str) -> tuple[frozenset[str], bool]:
    """All known strings at any depth of a property, and whether any part of it is unknown."""
    if not props.has(prop):
        return frozenset(), False
    value = props.value(prop) if props.known(prop) else UNKNOWN
    texts = {leaf for _, leaf in leaves(value, "") if isinstance(leaf, str)}
    known = frozenset(text for text in texts if not is_unknown(text))
    return known, len(known) < len(texts)
