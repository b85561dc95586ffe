"""Parses YAML from other systems (YAML 1.1) with PyYAML, an optional package."""

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from yaml import BaseLoader as Loader
else:
    # The parser in C takes a tenth of the time. A package built without it has only the other.
    Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

#: Maximum number of mappings and sequences inside each other. The composer calls itself.
DEPTH_MAX = 40

_NULL = "tag:yaml.org,2002:null"


class MalformedYaml(ValueError):
    """The text cannot be parsed. The message has no subject, and contains nothing of the text."""


def parse(text: str) -> Any:
    """Returns mappings, sequences and None. Any other scalar is the text that the file contains, so
    no token is read as a number. Raises MalformedYaml, also for an alias, because a few aliases of
    aliases are a very large document, and for two members with the same name.
    """
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # a subclass of BaseLoader
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = "" if mark is None else f" (line {mark.line + 1})"
        raise MalformedYaml(f"is not valid YAML{line}") from None


def _check_events(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            message = "write the value instead of the alias"
            raise MalformedYaml(f"has an alias, which is not supported (line {line}); {message}")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise MalformedYaml(f"is nested too deeply (line {line})")


class _Loader(Loader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        lines = dict[str, int]()
        for name, _ in node.value:
            line = name.start_mark.line + 1
            if isinstance(name, yaml.ScalarNode) and name.value in lines:
                same = f"lines {lines[name.value]} and {line}"
                raise MalformedYaml(f"has two members with the same name ({same})")
            lines[name.value if isinstance(name, yaml.ScalarNode) else ""] = line
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(_NULL, re.compile("(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_constructor(_NULL, lambda loader, node: None)
