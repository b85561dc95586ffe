"""Loads the settings of the selected stack and reports every mistake in its stack file."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, get_args

import pulumi
from pulumi.runtime import is_config_secret
from pulumi.runtime.proto.resource_pb2_grpc import ResourceMonitorStub
from pulumi.runtime.settings import get_monitor
from pydantic import ValidationError

from components.settings.account import ACCOUNT_CHECKS, AccountSettings
from components.settings.checks import CHECKS
from components.settings.fields import (
    ENVIRONMENTS,
    PROD,
    STACK_NAME,
    STACK_NAME_WORDS,
    STANDARD,
    Allowed,
    Mistake,
    Production,
    Section,
    shown,
)
from components.settings.model import Settings
from components.settings.workloads import NO_IMAGE

Model = TypeVar("Model", bound=Section)
_EXAMPLE = re.compile(r"123456789012|\bexample(\.(com|net|org)\b|/)|^gatehouse-pulumi-state$")
"""Example account, domains, repository and state bucket of the stack files in the repository."""
REFUSED = {
    "(?!.*state_key).*(kms|key_arn)": "the stack derives the policy of each key, which names its "
    "users: let the security team create the keys with its update, and allow it kms:CreateKey",
    ".*proxy": "Envoy and the clients of PostgreSQL and Valkey use no proxy: route the traffic, "
    "with network.subnets",
    ".*(firewall_manager|web_acl|fms)": "AWS Firewall Manager can manage its rule groups in the "
    "web ACL of the stack: set its policy to retrofit existing web ACLs",
    ".*(archive|log_bucket|log_account)": "the stack keeps its logs: copy them with a "
    "centralization rule of CloudWatch Logs and S3 replication, and set existing_resources.trail",
}
"""Settings that stacks do not have, as a pattern, with the reason and the nearest form
(docs/guides/deploy.md, section 9)."""


class SettingsError(pulumi.RunError):
    """The stack file is invalid. The message has one line for each mistake: key, value, allowed
    values.
    """


def load() -> Settings:
    """The settings of the selected stack. Raises SettingsError, which Pulumi prints without a
    traceback, and under Pulumi's engine also if the stack has example values or no image yet.
    """
    stack = pulumi.get_stack()
    raw = _read(file_name(stack))
    settings = parse(raw, stack)
    no_image = settings.image.digest == NO_IMAGE
    _require_own(
        raw,
        file_name(stack),
        [f"image.digest is not set. Run: make image ENV={stack}"] if no_image else [],
    )
    return settings


def load_account() -> AccountSettings:
    """The settings of the selected stack of the project `account`. Raises SettingsError, under
    Pulumi's engine also if the stack has example values.
    """
    stack = pulumi.get_stack()
    raw = _read(account_file_name(stack))
    settings = parse_account(raw, stack)
    _require_own(raw, account_file_name(stack), [])
    return settings


def file_name(stack: str) -> str:
    return f"Pulumi.{stack}.yaml"


def account_file_name(stack: str) -> str:
    return f"account/{file_name(stack)}"


def parse(raw: Any, stack: str) -> Settings:
    """The settings in `raw`, the value of `gatehouse:settings` in the file of `stack`. Raises
    SettingsError.
    """
    file = file_name(stack)
    _require_mapping(raw, file, "gatehouse:settings", file_name(ENVIRONMENTS[0]))
    if not re.fullmatch(STACK_NAME, stack):
        raise _error(
            file, [f"the name of the stack is {shown(stack)}; allowed: {STACK_NAME_WORDS}"]
        )
    environment = raw.get("environment", stack)
    if stack in ENVIRONMENTS and environment in ENVIRONMENTS and environment != stack:
        # The defaults and rules of another environment would produce misleading messages.
        raise _error(
            file, [f"environment is {shown(environment)}; allowed: {stack}, the name of the stack"]
        )
    values = {"environment": stack, **raw} if stack in ENVIRONMENTS else dict(raw)
    context = {
        "environment": environment if environment in ENVIRONMENTS else PROD,
        "profile": str(raw.get("profile", STANDARD)),
        "stack": stack,
    }
    settings = _validated(Settings, values, file, context)
    mistakes = list(production_mistakes(settings) if settings.environment == PROD else ())
    mistakes += [mistake for check in CHECKS for mistake in check(settings)]
    _require_none(settings, mistakes, file)
    return settings


def parse_account(raw: Any, stack: str) -> AccountSettings:
    """The settings in `raw`, the value of `gatehouse-account:settings` in the file of `stack`.
    Raises SettingsError.
    """
    file = account_file_name(stack)
    _require_mapping(raw, file, "gatehouse-account:settings", account_file_name("main"))
    settings = _validated(AccountSettings, dict(raw), file, {})
    mistakes = [mistake for check in ACCOUNT_CHECKS for mistake in check(settings)]
    _require_none(settings, mistakes, file)
    return settings


def example_keys(value: Any, path: str = "") -> Iterator[str]:
    """The keys whose values are those of the stack files in the repository."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from example_keys(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from example_keys(inner, f"{path}[{index}]")
    elif _EXAMPLE.search(str(value)):
        yield path


def _require_own(raw: Any, file: str, others: list[str]) -> None:
    """Raises SettingsError under Pulumi's engine if there are example values or other mistakes."""
    examples = [
        f"{key} is an example value. Set your own, or remove it" for key in example_keys(raw)
    ]
    if (examples or others) and isinstance(get_monitor(), ResourceMonitorStub):
        raise _error(file, [*examples, *others])


def _read(file: str) -> Any:
    config = pulumi.Config()
    key = config.full_key("settings")
    # Pulumi returns the decrypted value without a secret mark, and settings become tags, variables
    # and names.
    if is_config_secret(key):
        message = (
            f"{key} contains an encrypted value; allowed: plain values. Store the secret "
            f"in AWS Secrets Manager"
        )
        raise _error(
            file, [f"{message}, and remove it here: pulumi config rm --path settings.<key>"]
        )
    return config.get_object("settings")


def _require_mapping(raw: Any, file: str, key: str, example: str) -> None:
    if not isinstance(raw, Mapping):
        raise _error(file, [f"{key} is {shown(raw)}; allowed: a mapping, as in {example}"])


def _validated(
    model: type[Model], values: dict[str, Any], file: str, context: Mapping[str, str]
) -> Model:
    try:
        return model.model_validate(values, context=dict(context))
    except ValidationError as exc:
        raise _error(
            file, [_message(model, dict(error)) for error in exc.errors(include_url=False)]
        ) from None


def _require_none(settings: Section, mistakes: Iterable[Mistake], file: str) -> None:
    messages = [
        f"{key} is {shown(_value(settings, key))}; {f'allowed {condition}'.rstrip()}: {allowed}"
        for key, allowed, condition in mistakes
    ]
    if messages:
        raise _error(file, messages)


def _value(settings: Any, key: str) -> Any:
    """The value of a setting. A number in the key is an index in a list."""
    for part in key.split("."):
        settings = settings[int(part)] if part.isdigit() else getattr(settings, part)
    return settings


def _error(file: str, messages: list[str]) -> SettingsError:
    lines = "\n".join(f"  - {message}" for message in messages)
    return SettingsError(
        f"{file} has {len(messages)} mistake{'s' if len(messages) > 1 else ''}:\n{lines}"
    )


def production_mistakes(section: Section, path: str = "") -> Iterator[Mistake]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from production_mistakes(value, f"{path}{name}.")
        for rule in field.metadata:
            if isinstance(rule, Production) and not rule.accepts(value):
                yield Mistake(f"{path}{name}", rule.allowed, f"in {PROD}")


def _message(model: type[Section], error: dict[str, Any]) -> str:
    """One of Pydantic's errors as "<key> <mistake>; allowed: <values>"."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    match error["type"]:
        case "extra_forbidden" if reasons := [
            reason for pattern, reason in REFUSED.items() if re.fullmatch(rf"{pattern}.*", key)
        ]:
            return f"{key} is not a setting: {reasons[0]} (docs/guides/deploy.md, section 9)"
        case "extra_forbidden":
            similar = difflib.get_close_matches(
                path[-1], _section(model, path[:-1]).model_fields, n=1
            )
            hint = f". Did you mean {similar[0]}?" if similar else ""
            return f"{key} is not a setting; allowed here: {_keys(model, path[:-1])}{hint}"
        case "invalid_key":
            return f"{key} is not a setting; allowed here: {_keys(model, path[:-1])}"
        case "missing":
            return f"{key} is missing; allowed: {_allowed(model, path)}"
        case "value_error":
            return f"{key} {error['ctx']['error']}"
        case _:
            return f"{key} is {shown(error['input'])}; allowed: {_allowed(model, path)}"


def _allowed(model: type[Section], path: list[str]) -> str:
    if not path[-1].isdigit():
        field = _section(model, path[:-1]).model_fields[path[-1]]
        for item in field.metadata:
            check = getattr(item, "func", None)
            if isinstance(check, Allowed):
                return check.words
    return f"a mapping with {_keys(model, path)}"


def _keys(model: type[Section], path: list[str]) -> str:
    return ", ".join(sorted(_section(model, path).model_fields))


def _section(model: type[Section], path: list[str]) -> type[Section]:
    """The section at a path of keys. A number in the path is an index in a list of sections."""
    for part in path:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        kinds = (annotation, *get_args(annotation))
        model = next(
            (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), model
        )
    return model
