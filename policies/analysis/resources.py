"""Resources as the rules see them, and how they are joined: by what a property depends on, never by an id that a
first preview lacks.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError

from policies.analysis.properties import Props, is_unknown

# Output properties by which AWS resources name each other.
_NAMES = ("id", "arn", "name", "bucket", "identifier", "clusterIdentifier", "keyId", "url", "replicationGroupId")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the program.

    `props` are what the program asks for; `names` are the known strings by which others may call it (id, ARN, name).
    `feeds` says for each property which resources its value comes from, by URN. `settings` and `lists` are the
    parameters of the rule that reads it, such as a minimum of days, as the policy pack's configuration gives them.
    """

    urn: str
    type: str
    name: str
    props: Props
    names: frozenset[str] = frozenset()
    protect: bool = False
    parent: str = ""
    depends_on: tuple[str, ...] = ()
    feeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provider: Props | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def own_accounts(self) -> frozenset[str]:
        """The AWS accounts that the provider is allowed to touch: the only ones that are "ours".

        Raises UnknownValueError when the provider does not say, so that a rule about foreign accounts is undecided,
        not passed.
        """
        accounts = self.provider.decoded("allowedAccountIds").texts("allowedAccountIds") if self.provider else []
        if not accounts:
            raise UnknownValueError(UNKNOWN_STRING_VALUE, ["provider.allowedAccountIds"])
        return frozenset(accounts)


def names_of(props: Mapping[str, Any]) -> frozenset[str]:
    """The known strings in a resource's properties by which other resources may refer to it."""
    found = (props.get(key) for key in _NAMES)
    return frozenset(value for value in found if isinstance(value, str) and value and not is_unknown(value))


class Stack:
    """All resources of a program, with the questions that rules about several resources ask."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = tuple(resources)
        self._by_urn = {resource.urn: resource for resource in self.resources}
        # Rules ask for the few resources of some types again and again, in programs of thousands.
        self._by_type: dict[str, list[tuple[int, Resource]]] = {}
        for at, resource in enumerate(self.resources):
            self._by_type.setdefault(resource.type, []).append((at, resource))

    def __iter__(self) -> Iterator[Resource]:
        return iter(self.resources)

    def get(self, urn: str) -> Resource | None:
        """The resource with this URN, or None."""
        return self._by_urn.get(urn)

    def of(self, types: Iterable[str]) -> list[Resource]:
        """All resources of these type tokens, in the order of the program."""
        found = [placed for type in frozenset(types) for placed in self._by_type.get(type, ())]
        return [resource for _, resource in sorted(found, key=lambda placed: placed[0])]

    def users(self, subject: Resource, types: Iterable[str], prop: str) -> list[Resource]:
        """The resources of these types whose property `prop` points at the subject: a bucket's policies by `bucket`."""
        return [resource for resource in self.of(types) if self.points(resource, prop, subject)]

    def targets(self, source: Resource, prop: str, types: Iterable[str]) -> list[Resource]:
        """The resources of these types that a property points at: an instance's subnet group by `dbSubnetGroupName`."""
        return [resource for resource in self.of(types) if self.points(source, prop, resource)]

    def points(self, source: Resource, prop: str, subject: Resource) -> bool:
        """True when a property of the source refers to the subject.

        A property that takes its value from the subject refers to it, known or not. When it is fed by several
        resources of that
        kind, its value decides between them. A plain string (no feed) refers to the resource that bears this name.
        """
        feeds = source.feeds.get(prop, ())
        kin = [urn for urn in feeds if (peer := self._by_urn.get(urn)) is not None and _same_kind(peer, subject)]
        values, unknown = _strings(source.props, prop)
        if subject.urn in kin:
            # A list property (subnets, security groups) points at everything that feeds it.
            return len(kin) == 1 or unknown or not values or len(values) >= len(kin) or bool(values & subject.names)
        if kin:
            return False
        if values & subject.names:
            return True
        return unknown and (source.parent == subject.urn or subject.urn in self._behind(feeds))

    def _behind(self, feeds: tuple[str, ...]) -> set[str]:
        """What the feeding resources take their own values from: a name may be handed on by a bucket's policy."""
        peers = (self._by_urn[urn] for urn in feeds if urn in self._by_urn)
        return {urn for peer in peers for urns in peer.feeds.values() for urn in urns}


def _same_kind(one: Resource, other: Resource) -> bool:
    """`aws:s3/bucket:Bucket` and `aws:s3/bucketV2:BucketV2` are one kind, and so are `alb` and `lb`."""
    return _kind(one.type) == _kind(other.type)


def _kind(token: str) -> str:
    return token.rpartition(":")[2].removesuffix("V2")


def _strings(props: Props, prop: str) -> tuple[frozenset[str], bool]:
    """All known strings anywhere in a property, and whether anything in it is unknown."""
    found: set[str] = set()
    unknown = False
    if not props.has(prop):
        return frozenset(), False
    todo: list[Any] = [props.value(prop)] if props.known(prop) else [UNKNOWN_STRING_VALUE]
    while todo:
        value = todo.pop()
        if is_unknown(value):
            unknown = True
        elif isinstance(value, str):
            found.add(value)
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, Mapping):
            todo += value.values()
    return frozenset(found), unknown
