"""Requirements on properties, for rules without a check function (`resource_rule(...).requires` and
`stack_rule(...).requires`).

A path may refer to a property in a nested block, such as "accessLogs.enabled", or in each element
of a list, such as "rules[].status". `remediate=False` declares that the engine must not set the
property, because the change adds cost, replaces a resource or needs another input.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.guard import check_each
from gatehouse_policies.engine.rule import (
    CheckResults,
    Requirement,
    SetInput,
    Undecided,
    Violation,
    setting,
)

AWS_KEY = "an AWS managed key is used"
"""The effect of a property that names no customer managed key, for `is_set`."""


def is_true(path: str, *, remediate: bool = True) -> Requirement:
    """The property is set to true."""
    return _requirement(
        path,
        lambda block, key: block.flag(key),
        "is not true",
        f"set {path}=True",
        True if remediate else None,
    )


def is_not_false(path: str, *, remediate: bool = True) -> Requirement:
    """The property is true or absent, for properties that are true by default."""
    value = True if remediate else None
    return _requirement(
        path, lambda block, key: block.flag(key, True), "is false", f"remove {path}=False", value
    )


def is_not_true(path: str, *, value: Any = False) -> Requirement:
    """The property is false or absent. value: the value that the remediation sets, such as
    `REMOVE`, or None if there is no remediation.
    """
    return _requirement(
        path, lambda block, key: not block.flag(key), "is true", f"remove {path}", value
    )


def is_set(path: str, effect: str = "") -> Requirement:
    """The property is set. effect: the behavior if the property is not set, such as "an AWS managed
    key is used".
    """
    message = f"is not set, so {effect}" if effect else "is not set"
    return _requirement(path, lambda block, key: block.has(key), message, f"set {path}")


def is_not_set(path: str) -> Requirement:
    """The program does not set the property."""
    return _requirement(
        path, lambda block, key: not block.has(key), "is set by the program", f"remove {path}"
    )


def is_one_of(path: str, *values: str, message: str, remediate: bool = True) -> Requirement:
    """The property is absent or has one of these values. The remediation sets the first one."""
    return _requirement(
        path,
        lambda block, key: block.text(key, values[0]) in values,
        message,
        f'set {path}="{values[0]}", or remove it',
        values[0] if remediate else None,
    )


def is_not(path: str, value: str, *, instead: Any) -> Requirement:
    """The property does not have this value. instead: the value that the remediation sets, such as
    `REMOVE`.
    """
    remedy = f'remove {path}="{value}"'
    return _requirement(
        path, lambda block, key: block.text(key) != value, f"is {value}", remedy, instead
    )


def is_exactly(
    path: str, *values: str, default: str = "", message: str = "", remediate: bool = False
) -> Requirement:
    """The property has one of these values. default: value of an absent property. The remediation
    sets the first one.
    """
    return _requirement(
        path,
        lambda block, key: block.text(key, default) in values,
        message or f"is not {' or '.join(values)}",
        f'set {path}="{values[0]}"',
        values[0] if remediate else None,
    )


def is_at_least(path: str, parameter: str, default: float = 0) -> Requirement:
    """The property is a number that is not less than this parameter of the rule. default: value of
    an absent property.
    """
    remedy = f"set {path} to at least the minimum for this environment"
    return Requirement(
        _compared(path, parameter, "below", lambda value, bound: value < bound, default),
        f"{remedy}, or remove it" if default else remedy,
        (SetInput(path, setting(parameter)),),
    )


def is_at_most(path: str, parameter: str, default: float = 0) -> Requirement:
    """The property is a number that is not greater than this parameter of the rule. default: value
    of an absent property.
    """
    return Requirement(
        _compared(path, parameter, "above", lambda value, bound: value > bound, default),
        f"set {path} to at most the maximum for this environment",
        (SetInput(path, setting(parameter)),),
    )


def has_elements(path: str) -> Requirement:
    """The property is a list that is not empty."""
    return _requirement(
        path, lambda block, key: block.size(key) > 0, "is empty", f"add an element to {path}"
    )


def contains(path: str, *values: str) -> Requirement:
    """The property is a list with all of these values."""

    def check(block: Properties, key: str, _resource: Resource) -> CheckResults:
        elements = block.texts(key)
        for value in values:
            if value not in elements:
                yield f"{block.path_of(key)} does not contain {value}"

    return Requirement(_at(path, check), f"add {', '.join(values)} to {path}")


def uses_customer_key(key_path: str, enabled_path: str) -> Requirement:
    """Encryption is enabled and uses a customer managed key."""
    enabled = is_true(enabled_path, remediate=False)
    return replace(
        in_order(enabled, is_set(key_path, AWS_KEY)), remedy=f"{enabled.remedy} and {key_path}"
    )


def in_order(*requirements: Requirement) -> Requirement:
    """Only the first requirement that is not met is reported, because the others depend on it."""

    def check(resource: Resource, stack: Stack) -> CheckResults:
        for requirement in requirements:
            if results := tuple(requirement.check(resource, stack)):
                yield from results
                return

    return _combined(check, requirements)


def any_of(*requirements: Requirement, message: str) -> Requirement:
    """At least one of the requirements is met. message: the message if none is met."""

    def check(resource: Resource, stack: Stack) -> CheckResults:
        if all(any(requirement.check(resource, stack)) for requirement in requirements):
            yield message

    return Requirement(check, " or ".join(requirement.remedy for requirement in requirements))


def where(applies: Callable[[Resource], bool], *requirements: Requirement) -> Requirement:
    """Requirements on some of the rule's resources."""

    def check(resource: Resource, stack: Stack) -> CheckResults:
        for requirement in requirements if applies(resource) else ():
            yield from requirement.check(resource, stack)

    return _combined(check, requirements)


def for_types(types: tuple[str, ...], *requirements: Requirement) -> Requirement:
    """Requirements on some of the rule's resource types."""
    combined = where(lambda resource: resource.type in types, *requirements)
    return replace(
        combined, remediation=tuple(replace(step, types=types) for step in combined.remediation)
    )


def has_resource(
    resource_class: str, prop: str, *requirements: Requirement, missing: str
) -> Requirement:
    """Another resource refers to the resource, and meets the requirements. For stack rules.

    resource_class: class of the other resource, such as "s3.BucketPolicy".
    prop: its property that refers to the resource.
    missing: the message if no other resource refers to the resource.
    """

    def check(resource: Resource, stack: Stack) -> CheckResults:
        others = stack.referencing(resource, aws(resource_class), prop)
        if not others:
            yield missing
        for other in others:
            subject = replace(other, settings=resource.settings, lists=resource.lists)
            for requirement in requirements:
                for result in requirement.check(subject, stack):
                    yield _of_other(result, requirement.remedy, other.name)

    return Requirement(check, f"add an aws.{resource_class}")


def _of_other(
    result: str | Violation | Undecided, remedy: str, name: str
) -> str | Violation | Undecided:
    """The result for the resource to which another resource refers."""
    if isinstance(result, Undecided):
        return result
    message = result if isinstance(result, str) else result.message
    return Violation(f"{message} in {name}", remedy)


def _combined(
    check: Callable[[Resource, Stack], CheckResults], requirements: tuple[Requirement, ...]
) -> Requirement:
    steps = (step for requirement in requirements for step in requirement.remediation)
    remedies = (requirement.remedy for requirement in requirements)
    return Requirement(check, " and ".join(remedies), tuple(steps))


def _requirement(
    path: str,
    holds: Callable[[Properties, str], bool],
    message: str,
    remedy: str,
    value: Any = None,
) -> Requirement:
    def check(block: Properties, key: str, _resource: Resource) -> CheckResults:
        if not holds(block, key):
            yield f"{block.path_of(key)} {message}"

    return Requirement(_at(path, check), remedy, () if value is None else (SetInput(path, value),))


def _compared(
    path: str,
    parameter: str,
    relation: str,
    violates: Callable[[float, float], bool],
    default: float,
) -> Callable[[Resource, Stack], CheckResults]:
    def check(block: Properties, key: str, resource: Resource) -> CheckResults:
        bound = resource.settings[parameter]
        if violates(block.number(key, default), bound):
            yield f"{block.path_of(key)} is {relation} {bound:g}"

    return _at(path, check)


def _at(
    path: str, check: Callable[[Properties, str, Resource], CheckResults]
) -> Callable[[Resource, Stack], CheckResults]:
    """A check of the property at a path, or of the properties at a path with lists."""

    def descend(block: Properties, path: str, resource: Resource) -> CheckResults:
        name, _, rest = path.partition(".")
        if not rest:
            yield from check(block, name, resource)
        elif name.endswith("[]"):
            elements = block.blocks(name.removesuffix("[]"))
            yield from check_each(elements, lambda element: descend(element, rest, resource))
        else:
            yield from descend(block.block(name), rest, resource)

    return lambda resource, _stack: descend(resource.props, path, resource)
