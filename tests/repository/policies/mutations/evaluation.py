"""Evaluates the rules on a changed stack: only evaluations that read the changed property. What
each evaluation reads is recorded once, without changes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gatehouse_policies.analysis.policy_holders import cached_contents
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import AWS_PROVIDER
from gatehouse_policies.engine.guard import evaluate
from gatehouse_policies.engine.rule import Level, Rule

from tests.repository.policies.test_own_stack import OWN_RULES

Evaluation = tuple[str, str]
"""The ID of a rule, and the URN of the resource that it evaluates."""
_RULES = {rule.id: rule for rule in OWN_RULES}
Finding = tuple[str, str, str]
"""A control, the URN of the resource, and the message."""
Read = tuple[str, str]
"""The URN of a resource and the name of a property, or ALL; or a type and ALL."""
ALL = "*"


class RecordedMapping(dict[str, Any]):
    def __init__(self, values: Mapping[str, Any], urn: str, reads: set[Read]) -> None:
        super().__init__(values)
        self._urn = urn
        self._reads = reads

    def get(self, key: str, default: Any = None) -> Any:
        self._reads.add((self._urn, key))
        return super().get(key, default)

    def __getattribute__(self, name: str) -> Any:
        if name not in {"get", "_urn", "_reads", "__class__"}:
            self._reads.add((self._urn, ALL))
        return super().__getattribute__(name)

    def __getitem__(self, key: str) -> Any:
        self._reads.add((self._urn, key))
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        self._reads.add((self._urn, ALL))
        return super().__iter__()

    def __len__(self) -> int:
        self._reads.add((self._urn, ALL))
        return super().__len__()

    def __contains__(self, key: object) -> bool:
        self._reads.add((self._urn, str(key)))
        return super().__contains__(key)


class RecordedStack(Stack):
    def __init__(self, resources: Iterable[Resource], reads: set[Read]) -> None:
        super().__init__(resources)
        self._reads = reads

    def __iter__(self) -> Iterator[Resource]:
        self._reads |= {(resource.type, ALL) for resource in self.resources}
        return super().__iter__()

    def of_type(self, types: Iterable[str]) -> list[Resource]:
        types = frozenset(types)
        self._reads |= {(type, ALL) for type in types}
        return super().of_type(types)

    def referenced_by(self, source: Resource, prop: str, types: Iterable[str]) -> list[Resource]:
        types = frozenset(types)
        self._reads |= {(type, ALL) for type in types}
        return super().referenced_by(source, prop, types)


class Evaluator:
    """The findings of the rules of prod, before and after a change of one resource."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._resources = tuple(resources)
        self._readers: dict[Read, set[Evaluation]] = {}
        self._of_resource: dict[str, set[Evaluation]] = {}
        self._findings: dict[tuple[str, str], frozenset[Finding]] = {}
        self._provider_urns = {
            str(values_of(item.props)): item.urn
            for item in self._resources
            if item.type == AWS_PROVIDER
        }
        reads: set[Read] = set()
        recorded = [self._recorded(resource, reads) for resource in self._resources]
        for rule in OWN_RULES:
            if rule.level("prod") is Level.DISABLED:
                continue
            for resource in recorded:
                if rule.types and resource.type not in rule.types:
                    continue
                reads.clear()
                cached_contents.cache_clear()
                stack = RecordedStack(recorded, reads)  # what other rules read is read again
                self._findings[rule.id, resource.urn] = self._evaluate(rule, resource, stack)
                for read in reads:
                    self._readers.setdefault(read, set()).add((rule.id, resource.urn))
                for urn in {resource.urn, *(urn for urn, _ in reads)}:
                    self._of_resource.setdefault(urn, set()).add((rule.id, resource.urn))

    def new_findings(
        self, resource: Resource, changed: Resource | None, name: str = ""
    ) -> Iterator[Finding]:
        """The findings that a change adds. changed: None for removal. name: the only changed
        property.
        """
        affected: Iterable[Evaluation] = self._of_resource.get(
            resource.urn if changed else resource.type, ()
        )
        if changed and name:
            affected = self._readers.get((resource.urn, name), set()) | self._readers.get(
                (resource.urn, ALL), set()
            )
        if not affected:
            return
        resources = [changed if item is resource else item for item in self._resources]
        if changed is not None and changed.type == AWS_PROVIDER:
            provider = Properties(values_of(changed.props), "provider")
            resources = [
                replace(item, provider=provider) if self._uses(item, resource) else item
                for item in resources
                if item
            ]
        stack = Stack(item for item in resources if item is not None)
        present = {item.urn: item for item in stack}
        for id, urn in affected:
            if urn in present:
                yield from self._evaluate(_RULES[id], present[urn], stack) - self._findings[id, urn]

    def _uses(self, resource: Resource, provider: Resource) -> bool:
        return (
            resource.provider is not None
            and self._provider_urns.get(str(values_of(resource.provider))) == provider.urn
        )

    def _recorded(self, resource: Resource, reads: set[Read]) -> Resource:
        provider = resource.provider
        if provider is not None:
            values = values_of(provider)
            provider = Properties(
                RecordedMapping(values, self._provider_urns.get(str(values), ""), reads), "provider"
            )
        return replace(
            resource,
            props=Properties(RecordedMapping(values_of(resource.props), resource.urn, reads)),
            provider=provider,
            property_dependencies=RecordedMapping(
                resource.property_dependencies, resource.urn, reads
            ),
        )

    def _evaluate(self, rule: Rule, resource: Resource, stack: Stack) -> frozenset[Finding]:
        settings = rule.defaults("prod")
        decision = evaluate(rule, replace(resource, settings=settings, lists=rule.lists), stack)
        assert not decision.broken, (rule.id, resource.name, decision.broken)
        messages = (*(violation.message for violation in decision.violations), *decision.undecided)
        return frozenset((rule.id, resource.urn, message) for message in messages)


def values_of(properties: Properties) -> dict[str, Any]:
    return {name: properties.value(name) for name in properties.names()}
