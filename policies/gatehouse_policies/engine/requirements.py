"""Requirements on one property, for rules without a check function
(`resource_rule(...).requires(...)`).

A path may refer to a property in a nested block, such as "accessLogs.enabled". `remediate=False`
declares that the engine must not set the property, because the change adds cost, replaces a
resource or needs another input.
"""

from collections.abc import Callable
from typing import Any

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource
from gatehouse_policies.engine.rule import CheckResults, Requirement, SetInput, setting


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
    `REMOVE`.
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


def is_one_of(path: str, *values: str, message: str) -> Requirement:
    """The property is absent or has one of these values. The remediation sets the first one."""
    remedy = f'set {path}="{values[0]}", or remove it'
    return _requirement(
        path, lambda block, key: block.text(key, values[0]) in values, message, remedy, values[0]
    )


def is_exactly(path: str, *values: str, default: str = "") -> Requirement:
    """The property has one of these values. default: value of an absent property."""
    accepted = " or ".join(f'"{value}"' for value in values)
    return _requirement(
        path,
        lambda block, key: block.text(key, default) in values,
        f"is not {accepted}",
        f'set {path}="{values[0]}"',
    )


def is_at_least(path: str, parameter: str, default: float = 0) -> Requirement:
    """The property is a number that is not less than this parameter of the rule. default: value of
    an absent property.
    """

    def check(resource: Resource) -> CheckResults:
        block, key = _locate(resource, path)
        if block.number(key, default) < resource.settings[parameter]:
            yield f"{path} is below {resource.settings[parameter]:g}"

    remedy = f"set {path} to at least the minimum for this environment"
    return Requirement(
        check,
        f"{remedy}, or remove it" if default else remedy,
        (SetInput(path, setting(parameter)),),
    )


def uses_customer_key(key_path: str, enabled_path: str) -> Requirement:
    """Encryption is enabled and uses a customer managed key."""
    enabled, key = is_true(enabled_path), is_set(key_path, "an AWS managed key is used")

    def check(resource: Resource) -> CheckResults:
        disabled = tuple(enabled.check(resource))
        yield from disabled or key.check(resource)

    return Requirement(check, f"{enabled.remedy} and {key_path}")


def _requirement(
    path: str,
    holds: Callable[[Properties, str], bool],
    message: str,
    remedy: str,
    value: Any = None,
) -> Requirement:
    def check(resource: Resource) -> CheckResults:
        if not holds(*_locate(resource, path)):
            yield f"{path} {message}"

    return Requirement(check, remedy, () if value is None else (SetInput(path, value),))


def _locate(resource: Resource, path: str) -> tuple[Properties, str]:
    """The block that contains the property, and the property's name in the block."""
    *blocks, key = path.split(".")
    block = resource.props
    for name in blocks:
        block = block.block(name)
    return block, key
