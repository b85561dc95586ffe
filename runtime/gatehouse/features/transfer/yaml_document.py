"""Parses YAML from other systems (YAML 1.1) with PyYAML, an optional package."""

from collections.abc import Iterator
from typing import Any

import yaml

# The parser in C takes a tenth of the time. A package built without it has only the other.
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

#: Maximum number of mappings and sequences inside each other.
DEPTH_MAX = 40

_NULLS = ("", "~", "null", "Null", "NULL")


class MalformedYaml(ValueError):
    """The text cannot be parsed. The message has no subject, and contains nothing of the text."""


def parse(text: str) -> Any:
    """Returns objects, lists and None. Any other scalar is the text that the file contains, so no
    token is read as a number. Raises MalformedYaml, also for an alias, because a few aliases of
    aliases are a very large document, and for two members with the same name.

    The events are read instead of the nodes that PyYAML composes, which need 900 MB of memory for
    100,000 credentials.
    """
    try:
        return _document(iter(yaml.parse(text, Loader=_LOADER)))
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = "" if mark is None else f" (line {mark.line + 1})"
        raise MalformedYaml(f"is not valid YAML{line}") from None


def _document(events: Iterator[Any]) -> Any:
    next(events)  # the beginning of the stream
    if isinstance(next(events), yaml.StreamEndEvent):
        return None
    value = _value(next(events), events, 0)
    next(events)  # the end of the document
    if not isinstance(event := next(events), yaml.StreamEndEvent):
        raise _malformed("has a second document", event)
    return value


def _value(event: Any, events: Iterator[Any], depth: int) -> Any:
    if isinstance(event, yaml.ScalarEvent):
        is_plain, _ = event.implicit
        return None if is_plain and event.value in _NULLS else event.value
    if isinstance(event, yaml.AliasEvent):
        raise _malformed("has an alias, which is not supported", event)
    if depth == DEPTH_MAX:
        raise _malformed("is nested too deeply", event)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_value(event, events, depth + 1))
        return items
    members = dict[str, Any]()
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        name = _value(event, events, depth + 1)
        if not isinstance(name, str):
            raise _malformed("has a name that is not text", event)
        if name in members:
            raise _malformed("has two members with the same name", event)
        members[name] = _value(next(events), events, depth + 1)
    return members


def _malformed(message: str, event: Any) -> MalformedYaml:
    return MalformedYaml(f"{message} (line {event.start_mark.line + 1})")
