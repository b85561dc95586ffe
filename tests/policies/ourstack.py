"""Our own prod stack as the rules see it, judged in this process, so that hundreds of broken variants take seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from policies.analysis import type_tokens
from policies.analysis.properties import Properties, plain
from policies.analysis.resources import Resource, Stack, identifiers_of
from policies.catalogue import RULES
from policies.engine.rule import Rule, decide
from sandbox.engine.program import run
from sandbox.engine.providers import InventedCloud
from sandbox.paths import REPOSITORY
from tests.components.program import serverless as settings_apart

Spoken = tuple[str, str, str]  # rule, resource, what it says


@dataclass(frozen=True, slots=True)
class Made:
    """One resource with its inputs, which a mutation changes."""

    resource: Resource
    inputs: Mapping[str, Any]

    def put(self, **inputs: Any) -> Made:
        """With some inputs changed; None removes one."""
        merged = {key: value for key, value in {**self.inputs, **inputs}.items() if value is not None}
        return Made(replace(self.resource, props=Properties(merged)), merged)


def prod() -> tuple[Made, ...]:
    """The prod stack."""
    return made("prod")


def serverless() -> tuple[Made, ...]:
    """The prod stack with its share door served by a function."""
    return made("prod", apart=True)


@cache
def made(stack: str, *, apart: bool = False) -> tuple[Made, ...]:
    """Every resource of a stack, with known outputs, and the stack itself with its exports."""
    deployment = run(REPOSITORY, stack, InventedCloud(), preview=False, config=settings_apart(stack) if apart else None)
    asked = {one.registration.urn: one.registration for one in deployment.resources}
    root = Resource(deployment.stack_urn, type_tokens.STACK, f"gatehouse-{stack}", Properties(plain(deployment.exports)[0]))
    found = [Made(root, plain(deployment.exports)[0])]
    for one in deployment.resources:
        registration = one.registration
        provider = asked.get(registration.provider.rpartition("::")[0])
        inputs = {key: value for key, value in plain(registration.inputs)[0].items() if not key.startswith("__")}
        # As the engine shows them after a deployment: what was asked for, with the values that AWS gave.
        inputs |= {key: plain(one.outputs[key])[0] for key in inputs if key in one.outputs}
        resource = Resource(
            urn=registration.urn,
            type=registration.type,
            name=registration.name,
            props=Properties(inputs),
            names=identifiers_of({**plain(one.outputs)[0], "id": one.id}),
            protect=registration.protect,
            parent=registration.parent,
            depends_on=registration.dependencies,
            property_dependencies=dict(registration.property_dependencies),
            provider=Properties(plain(provider.inputs)[0], "provider") if provider else None,
        )
        found.append(Made(resource, inputs))
    return tuple(found)


def speak(made: tuple[Made, ...]) -> set[Spoken]:
    """What all rules of prod say, undecided and broken ones included."""
    stack = Stack(one.resource for one in made)
    return {spoken for rule in RULES for resource in stack for spoken in _said(rule, resource, stack)}


def _said(rule: Rule, resource: Resource, stack: Stack) -> list[Spoken]:
    if rule.types and resource.type not in rule.types:
        return []
    decision = decide(rule, replace(resource, settings=rule.defaults("prod"), lists=rule.lists), stack)
    said = [violation.what for violation in decision.violations] + [f"undecided: {path}" for path in decision.undecided]
    return [(rule.id, resource.name, what) for what in (*said, *([f"broken: {decision.broken}"] if decision.broken else []))]
