"""Each weakening is a finding, or has a reason in unnoticed.toml."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource
from gatehouse_policies.analysis.type_tokens import AWS_PROVIDER, aws

from tests.cases import cases
from tests.repository.policies.mutations.evaluation import Evaluator, values_of
from tests.repository.policies.mutations.mutations import mutations
from tests.repository.policies.test_own_stack import resources
from tools.docs.deployments import deployed

_CASES = cases(__file__)


@cache
def own_resources() -> tuple[Resource, ...]:
    return tuple(resources(deployed("prod")))


RESOURCES_MAX = 6
"""Number of resources of a type on which a mutation is tried until one is noticed. Statements of
policies: `STATEMENTS_MAX`.
"""
STATEMENTS_MAX = 40
RESOURCE = "resource"
"""Place of a mutation of the whole resource."""


@dataclass(frozen=True, order=True)
class Key:
    resource_class: str
    place: str
    kind: str


@dataclass(frozen=True)
class Group:
    """Mutations that no rule notices. patterns: class and place with wildcards. kinds: empty for
    all kinds.
    """

    reason: str
    patterns: tuple[str, ...]
    kinds: tuple[str, ...]

    def matching(self, key: Key) -> set[str]:
        if self.kinds and key.kind not in self.kinds:
            return set()
        return {
            pattern
            for pattern in self.patterns
            if fnmatchcase(f"{key.resource_class} {key.place}", pattern)
        }


GROUPS = [
    Group(group["reason"], tuple(group["mutations"]), tuple(group.get("kinds", ())))
    for group in tomllib.loads((Path(__file__).parent / "unnoticed.toml").read_text())["group"]
]


@dataclass(frozen=True)
class Outcome:
    noticed: frozenset[Key]
    unnoticed: frozenset[Key]


@cache
def evaluator() -> Evaluator:
    return Evaluator(own_resources())


def variants(resource: Resource) -> Iterator[tuple[str, str, Resource | None]]:
    """Place, kind and result of each mutation of a resource. None: the resource is removed."""
    yield RESOURCE, "removed", None
    if resource.protect:
        yield RESOURCE, "unprotected", replace(resource, protect=False)
    for mutation in mutations(values_of(resource.props)):
        references = dict(resource.property_dependencies)
        if mutation.place == mutation.property:
            references.pop(mutation.property, None)
        properties = Properties(mutation.properties)
        yield (
            mutation.place,
            mutation.kind,
            replace(resource, props=properties, property_dependencies=references),
        )


@cache
def outcome(keys: frozenset[Key] = frozenset()) -> Outcome:
    """The outcome of these mutations, or of all."""
    classes = {key.resource_class for key in keys}
    tried: Counter[Key] = Counter()
    noticed: set[Key] = set()
    for resource in own_resources():
        if not resource.type.startswith("aws:") and resource.type != AWS_PROVIDER:
            continue  # The properties of components are not sent to AWS.
        if keys and class_of(resource) not in classes:
            continue
        for place, kind, changed in variants(resource):
            key = Key(class_of(resource), place, kind)
            tries = STATEMENTS_MAX if ".Statement." in place else RESOURCES_MAX
            if key in noticed or (keys and key not in keys) or tried[key] == tries:
                continue
            tried[key] += 1
            name = "" if place == RESOURCE else place.partition(".")[0]
            if any(evaluator().new_findings(resource, changed, name)):
                noticed.add(key)
    return Outcome(frozenset(noticed), frozenset(tried) - noticed)


def class_of(resource: Resource) -> str:
    module, name = resource.type.split(":")[1:]
    return f"{module.partition('/')[0]}.{name}"


def unlisted(keys: frozenset[Key]) -> Iterator[Key]:
    """The mutations without a reason. An empty value has the reason of an absent one."""
    for key in sorted(keys):
        is_empty = key.kind == "emptied" and replace(key, kind="removed") in keys
        if not is_empty and not any(group.matching(key) for group in GROUPS):
            yield key


@pytest.mark.slow
def test_mutation_is_noticed_or_listed() -> None:
    assert list(unlisted(outcome().unnoticed)) == []


@pytest.mark.slow
def test_most_types_have_noticed_mutations() -> None:
    keys = outcome().noticed
    assert len(keys) > 700
    assert len({key.resource_class for key in keys}) > 60


@pytest.mark.slow
def test_listed_mutations_exist() -> None:
    used = {
        (group.reason, pattern)
        for key in outcome().unnoticed
        for group in GROUPS
        for pattern in group.matching(key)
    }
    assert {
        (group.reason, pattern) for group in GROUPS for pattern in group.patterns
    } - used == set()


def test_essential_mutations_are_noticed() -> None:
    keys = frozenset(Key(*key) for key in ESSENTIAL)
    assert keys - outcome(keys).noticed == set()


ESSENTIAL: list[list[Any]] = _CASES["essential"]


@pytest.mark.parametrize("purpose", ["log-sink", "trail", "replica", "ephemeral", "static-files"])
def test_tag_that_excludes_resources_from_rules_is_reported(purpose: str) -> None:
    data = next(
        item for item in own_resources() if item.type in aws("s3.Bucket") and item.name == "data"
    )
    properties = values_of(data.props)
    tagged = Properties(
        {**properties, "tags": {**properties["tags"], "gatehouse:purpose": purpose}}
    )
    assert any(evaluator().new_findings(data, replace(data, props=tagged))) == (
        purpose != "replica"
    )
