"""Reads the YAML files of Pulumi like the Pulumi CLI: Pulumi.yaml and Pulumi.<stack>.yaml."""

import difflib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pulumi_local.errors import CommandError


class _Loader(yaml.SafeLoader):
    """Reads YAML like the Pulumi CLI: dates, `yes`, `no`, `on` and `off` are strings, and a key can
    be set once only.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[tuple[str, str]] = set()
        for key, _ in node.value:
            identity = (key.tag, str(key.value))
            if identity in keys:
                problem = f"the key {str(key.value)!r} is set twice; delete one of the lines"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            keys.add(identity)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rpartition(":")[2] not in ("timestamp", "bool")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)
# The fix for messages of the YAML parser, found by a part of the message.
_YAML_FIXES = {
    r"'\t'": "Indent with spaces instead of tabs.",
    "undefined alias": "Write the value instead of the alias.",
    "constructor for the tag": "Remove the tag.",
    "another document": "Delete the line `---`.",
}
_STACK_KEYS = ("config", "environment", "secretsprovider", "encryptedkey", "encryptionsalt")


def read_mapping(file: Path, name: str = "") -> dict[str, Any]:
    """Read a YAML file; empty if the file is. Raises CommandError with the line of the mistake.

    name: name of the file in messages, by default without its folder.
    """
    name = name or file.name
    try:
        document = yaml.load(file.read_text(encoding="utf-8-sig"), _Loader)  # noqa: S506  (a SafeLoader)
    except UnicodeDecodeError as exc:
        raise CommandError(
            f"{name} is not UTF-8 text. Save the file with the encoding UTF-8."
        ) from exc
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark is not None else name
        problem = str(getattr(exc, "problem", None) or exc)
        fix = next((f" {fix}" for text, fix in _YAML_FIXES.items() if text in problem), "")
        raise CommandError(f"{place}: not valid YAML: {problem}.{fix}") from exc
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise CommandError(f"{name}: expected a mapping at the top level.")
    return document


def read_stack_file(file: Path, name: str = "") -> dict[str, Any]:
    """Read a stack file. Raises CommandError also for a misspelt key, which the Pulumi CLI
    ignores.
    """
    document = read_mapping(file, name)
    _check_keys(document, name or file.name)
    return document


def _check_keys(document: Mapping[str, Any], name: str) -> None:
    for key in document:
        similar = difflib.get_close_matches(str(key).lower(), _STACK_KEYS, n=1, cutoff=0.8)
        if key not in _STACK_KEYS and similar:
            raise CommandError(f"{name}: unknown key {key!r}. Write `{similar[0]}:`.")
