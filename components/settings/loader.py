"""Loads the settings of the selected stack and reports every mistake in its stack file."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pulumi
from pulumi.runtime import is_config_secret
from pydantic import ValidationError

from components.settings.checks import CHECKS, Mistake
from components.settings.fields import ENVIRONMENTS, PROD, Allowed, Production, Section, shown
from components.settings.model import Settings

STACK_NAME = r"[a-z][a-z0-9]{1,7}"
"""The maximum length follows from the names of target groups, such as `gatehouse-<stack>-green-gateway`, for which AWS allows 32
characters. Stack names contain no hyphens, so that a pattern such as `gatehouse-dev-*` in an IAM policy does not match the
resources of another stack."""
STACK_NAME_WORDS = "2 to 8 lowercase letters and digits, starting with a letter, such as alice or pr12"


class SettingsError(pulumi.RunError):
    """The stack file is invalid. The message has one line for each mistake: key, value, allowed values."""


def load() -> Settings:
    """The settings of the selected stack. Raises SettingsError, which Pulumi prints without a traceback."""
    config, stack = pulumi.Config(), pulumi.get_stack()
    # Pulumi returns the decrypted value without a secret mark, and settings become tags, variables and names.
    if is_config_secret(config.full_key("settings")):
        message = "gatehouse:settings contains an encrypted value; allowed: plain values. Store the secret in AWS Secrets Manager"
        raise _error(stack, [f"{message}, and remove it here: pulumi config rm --path settings.<key>"])
    return parse(config.get_object("settings"), stack)


def parse(raw: Any, stack: str) -> Settings:
    """The settings in `raw`, the value of `gatehouse:settings` in the file of `stack`. Raises SettingsError."""
    if not isinstance(raw, Mapping):
        raise _error(stack, [f"gatehouse:settings is {shown(raw)}; allowed: a mapping, as in Pulumi.{ENVIRONMENTS[0]}.yaml"])
    if not re.fullmatch(STACK_NAME, stack):
        raise _error(stack, [f"the name of the stack is {shown(stack)}; allowed: {STACK_NAME_WORDS}"])
    environment = raw.get("environment", stack)
    if stack in ENVIRONMENTS and environment in ENVIRONMENTS and environment != stack:
        # The defaults and rules of another environment would produce misleading messages.
        raise _error(stack, [f"environment is {shown(environment)}; allowed: {stack}, the name of the stack"])
    values = {"environment": stack, **raw} if stack in ENVIRONMENTS else dict(raw)
    context = {"environment": environment if environment in ENVIRONMENTS else PROD, "stack": stack}
    try:
        settings = Settings.model_validate(values, context=context)
    except ValidationError as exc:
        raise _error(stack, [_message(dict(error)) for error in exc.errors(include_url=False)]) from None
    mistakes = list(production_mistakes(settings) if settings.environment == PROD else ())
    mistakes += [mistake for check in CHECKS for mistake in check(settings)]
    if mistakes:
        raise _error(stack, [f"{key} {message}" for key, message in mistakes])
    return settings


def _error(stack: str, messages: list[str]) -> SettingsError:
    lines = "\n".join(f"  - {message}" for message in messages)
    return SettingsError(f"Pulumi.{stack}.yaml has {len(messages)} mistake{'s' if len(messages) > 1 else ''}:\n{lines}")


def production_mistakes(section: Section, path: str = "") -> Iterator[Mistake]:
    """The settings whose values prod does not accept."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from production_mistakes(value, f"{path}{name}.")
        for rule in field.metadata:
            if isinstance(rule, Production) and not rule.accepts(value):
                yield f"{path}{name}", f"is {shown(value)}; allowed in {PROD}: {rule.allowed}"


def _message(error: dict[str, Any]) -> str:
    """One of Pydantic's errors as "<key> <mistake>; allowed: <values>"."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    match error["type"]:
        case "extra_forbidden":
            return f"{key} is not a setting; allowed here: {_keys(path[:-1])}"
        case "missing":
            return f"{key} is missing; allowed: {_allowed(path)}"
        case "value_error":
            return f"{key} {error['ctx']['error']}"
        case _:
            return f"{key} is {shown(error['input'])}; allowed: {_allowed(path)}"


def _allowed(path: list[str]) -> str:
    """The allowed values of the setting at a path of keys."""
    if not path[-1].isdigit():
        field = _section(path[:-1]).model_fields[path[-1]]
        for item in field.metadata:
            check = getattr(item, "func", None)
            if isinstance(check, Allowed):
                return check.words
    return f"a mapping with {_keys(path)}"


def _keys(path: list[str]) -> str:
    return ", ".join(sorted(_section(path).model_fields))


def _section(path: list[str]) -> type[Section]:
    """The section at a path of keys. A number in the path is an index in a list of sections."""
    model: type[Section] = Settings
    for part in path:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        kinds = (annotation, *get_args(annotation))
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), model)
    return model
