"""Evaluates the rules on a changed stack, with only those evaluations that read the changed resource.

The evaluation of a rule on a resource depends only on the resources that it reads. These are recorded once, without changes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from policies.analysis.properties import Properties
from policies.analysis.resources import Resource, Stack
from policies.analysis.type_tokens import AWS_PROVIDER
from policies.catalogue import RULES
from policies.engine.guard import evaluate
from policies.engine.rule import Level, Rule

Evaluation = tuple[Rule, str]
"""A rule, and the URN of the resource that it evaluates."""
Finding = tuple[str, str, str]
"""A control, the URN of the resource, and the message."""


class RecordedProperties(Properties):
    """Properties of a resource that record each access. reads: receives the URN of the resource."""

    __slots__ = ("_reads", "_urn")

    def __init__(self, value: Any, urn: str, reads: set[str], path: str = "") -> None:
        super().__init__(value, path)
        self._urn = urn
        self._reads = reads

    def _mapping(self) -> Mapping[str, Any]:
        self._reads.add(self._urn)
        return super()._mapping()


class RecordedStack(Stack):
    """A stack that records each lookup of a type. reads: receives the type."""

    def __init__(self, resources: Iterable[Resource], reads: set[str]) -> None:
        super().__init__(resources)
        self._reads = reads

    def __iter__(self) -> Iterator[Resource]:
        self._reads |= {resource.type for resource in self.resources}
        return super().__iter__()

    def of_type(self, types: Iterable[str]) -> list[Resource]:
        types = frozenset(types)
        self._reads |= types
        return super().of_type(types)


class Evaluator:
    """The findings of all rules that are enabled in an environment, before and after a change of one resource."""

    def __init__(self, resources: Iterable[Resource], environment: str = "prod") -> None:
        self._environment = environment
        self._resources = tuple(resources)
        self._readers: dict[str, list[Evaluation]] = {}
        self._findings: dict[tuple[str, str], frozenset[Finding]] = {}
        self._provider_urns = {str(values_of(item.props)): item.urn for item in self._resources if item.type == AWS_PROVIDER}
        reads: set[str] = set()
        stack = RecordedStack((self._recorded(resource, reads) for resource in self._resources), reads)
        for rule in RULES:
            if rule.levels[environment] is Level.DISABLED:
                continue
            for resource in stack.resources:
                if rule.types and resource.type not in rule.types:
                    continue
                reads.clear()
                self._findings[rule.id, resource.urn] = self._evaluate(rule, resource, stack)
                for key in {*reads, resource.urn}:
                    self._readers.setdefault(key, []).append((rule, resource.urn))

    def new_findings(self, resource: Resource, changed: Resource | None) -> frozenset[Finding]:
        """The findings that a change adds. changed: None if the resource is removed."""
        resources = [changed if item is resource else item for item in self._resources]
        if changed is not None and changed.type == AWS_PROVIDER:
            provider = Properties(values_of(changed.props), "provider")
            resources = [replace(item, provider=provider) if self._uses(item, resource) else item for item in resources if item]
        stack = Stack(item for item in resources if item is not None)
        present = {item.urn: item for item in stack}
        affected = self._readers.get(resource.urn if changed else resource.type, ())
        new: set[Finding] = set()
        for rule, urn in affected:
            if urn in present:
                new |= self._evaluate(rule, present[urn], stack) - self._findings[rule.id, urn]
        return frozenset(new)

    def _uses(self, resource: Resource, provider: Resource) -> bool:
        return resource.provider is not None and self._provider_urns.get(str(values_of(resource.provider))) == provider.urn

    def _recorded(self, resource: Resource, reads: set[str]) -> Resource:
        provider = resource.provider
        if provider is not None:
            values = values_of(provider)
            provider = RecordedProperties(values, self._provider_urns.get(str(values), ""), reads, "provider")
        return replace(resource, props=RecordedProperties(values_of(resource.props), resource.urn, reads), provider=provider)

    def _evaluate(self, rule: Rule, resource: Resource, stack: Stack) -> frozenset[Finding]:
        settings = rule.defaults(self._environment)
        decision = evaluate(rule, replace(resource, settings=settings, lists=rule.lists), stack)
        assert not decision.broken, (rule.id, resource.name, decision.broken)
        messages = (*(violation.message for violation in decision.violations), *decision.undecided)
        return frozenset((rule.id, resource.urn, message) for message in messages)


def values_of(properties: Properties) -> dict[str, Any]:
    """The properties that are set."""
    return {name: properties.value(name) for name in properties.names()}
