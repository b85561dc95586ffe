"""`RESOURCE_TYPES` contains the rows of resource_types.toml, keyed by type token. The modules have
the functions that the rows name as "module:function".
"""

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

from pulumi_local.type_tokens import by_token

from sandbox.emulator.resource_type import ResourceType, Setting

_FILE = Path(__file__).parent.with_name("resource_types.toml")


def _field(name: str, value: Any) -> Any:
    if name == "settings":
        return tuple(Setting(**row) for row in value)
    if isinstance(value, str) and re.fullmatch(r"\w+:\w+", value):
        module, _, function = value.partition(":")
        return getattr(import_module(f"{__name__}.{module}"), function)
    return value


RESOURCE_TYPES: dict[str, ResourceType] = by_token(
    {
        f"{service}.{kind}": ResourceType(**{name: _field(name, row[name]) for name in row})
        for service, kinds in tomllib.loads(_FILE.read_text(encoding="utf-8")).items()
        for kind, row in kinds.items()
    }
)
