"""docs/settings.md: every key of a stack file, from the settings model."""

import inspect
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic.fields import FieldInfo

from components.settings.account import AccountSettings
from components.settings.checks import MEMORY_MIB
from components.settings.fields import (
    ENVIRONMENTS,
    PROD,
    Allowed,
    EnvironmentDefault,
    Production,
    Section,
)
from components.settings.model import Settings
from tools.docs import markdown
from tools.docs.descriptions import field_descriptions
from tools.docs.markdown import prose, table

COLUMNS = ("key", "default", "allowed", "description")
SHORT = 6
"""Number of words up to which the allowed values of several keys are repeated."""


@dataclass(frozen=True)
class Setting:
    """A key of a stack file. `section` is the dotted path of its section, "" for the stack as a
    whole.
    """

    section: str
    name: str
    field: FieldInfo
    description: str

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def allowed(self) -> str:
        """The allowed values in words, and the values that prod accepts."""
        checks = (getattr(item, "func", None) for item in self.field.metadata)
        words = next(check.words for check in checks if isinstance(check, Allowed))
        words = words.replace("an integer from ", "").replace("true or false", "Boolean")
        # The key and the description name the unit.
        words = re.sub(r"(\d) \([^)]*\)$", r"\1", words)
        words = re.sub(r"^a list of (0 to )?", lambda match: "up to " * bool(match[1]), words)
        words = re.sub(r"^(an?|the) ", "", words)
        if self.default == _yaml(None):
            words = words.removesuffix(", or empty")
        rules = [rule.allowed for rule in self.field.metadata if isinstance(rule, Production)]
        return words + "".join(f". In {PROD}: {rule}" for rule in rules)

    @property
    def default(self) -> str:
        if self.field.is_required():
            return "*required*"
        if not isinstance(self.field.default, EnvironmentDefault):
            return _yaml(self.field.default)
        values = [_yaml(self.field.default.of(environment)) for environment in ENVIRONMENTS]
        if len(set(values)) == 1:
            return values[0]
        return "<br>".join(values)


def settings(model: type[Section] = Settings, path: str = "") -> Iterator[Setting]:
    """Every key of a stack file. The keys of a section follow the keys of its parent section."""
    inner = {name: _section(field) for name, field in model.model_fields.items()}
    descriptions = field_descriptions(model)
    for name, field in model.model_fields.items():
        if inner[name] is None or name == "cores":
            yield Setting(path, name, field, descriptions[name])
    for name, section in inner.items():
        if section is not None:
            yield from settings(section, f"{path}.{name}" if path else name)


def description(path: str, model: type[Section] = Settings) -> str:
    for name in path.split(".") if path else ():
        model = _section(model.model_fields[name]) or model
    return inspect.getdoc(model) or ""


def page() -> str:
    of_stacks = {(setting.key, setting.allowed, setting.default) for setting in settings()}
    shared = {
        setting.key
        for setting in settings(AccountSettings)
        if (setting.key, setting.allowed, setting.default) in of_stacks
    }
    return markdown.page(
        "settings",
        sections=_sections(Settings, "##"),
        sizes=table(
            ("cpu", "memory_mib"),
            ((str(cpu), f"{low} to {high}") for cpu, (low, high) in MEMORY_MIB.items()),
        ),
        shared=", ".join(f"`{key}`" for key in AccountSettings.model_fields if key in shared),
        account_sections=_sections(AccountSettings, "###", shared).rstrip(),
    )


def _sections(model: type[Section], heading: str, omitted: Container[str] = ()) -> str:
    rows: dict[str, list[tuple[str, ...]]] = {}
    first: dict[tuple[str, str], str] = {}
    values: dict[str, str] = {}
    for setting in settings(model):
        if setting.key in omitted:
            continue
        key = first.setdefault((setting.name, setting.description), setting.key)
        text = setting.description if key == setting.key else f"As `{key}`."
        allowed = setting.allowed
        same = values.setdefault(allowed, setting.key)
        if same != setting.key and len(allowed.split()) > SHORT:
            allowed = f"as `{same}`"
        row = (f"`{setting.key}`", setting.default, prose(allowed), prose(text))
        rows.setdefault(setting.section, []).append(row)
    return "\n".join(
        f"{heading} {f'`{path}`' if path else 'General'}\n\n"
        f"{prose(description(path, model))}\n\n{table(COLUMNS, lines)}\n"
        for path, lines in rows.items()
    )


def _section(field: FieldInfo) -> type[Section] | None:
    kinds = (field.annotation, *get_args(field.annotation))
    return next(
        (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None
    )


def _yaml(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return f"`[{', '.join(map(str, value))}]`"
        case str() if not value or value[0].isdigit():
            return f'`"{value}"`'
        case _:
            return f"`{value}`"
