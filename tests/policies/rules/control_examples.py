"""Writes the examples of controls for `gatehouse-policies explain`: a violation, and the same
resource without it. They are the shortest of the programs that the tests evaluate.

The build of the distribution runs this module (policies/hatch_build.py), and scripts/setup.sh for a
clone. It uses the standard library only, because `pip install` builds in an empty environment.
"""

import ast
import json
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from pulumi_local.type_tokens import AWS_PROVIDER, STACK, class_name

from tests.policies.declared import Declared, Ref
from tests.policies.rules.cases import ABSENT, ROWS, changed_program, parts_of

_INPUTS_MAX = 8
_WIDTH = 60
"""Of a call or a value in one line."""
_CLASSES = {AWS_PROVIDER: "aws.Provider"}
_DOCUMENTS = {"redrivePolicy"}
"""Inputs with a JSON document that refers to another resource."""
_FILE = Path(__file__).resolve().parents[3] / "policies/gatehouse_policies/examples.toml"
_HEAD = "# Generated from tests/policies/rules by `make init` and by the build of the wheel.\n"


@dataclass(frozen=True)
class _Json:
    value: Any


def write() -> None:
    """Does not write the same text again, because another process can read the file."""
    examples = {rule: text for rule in ROWS if (text := _example(rule))}
    rows = (f"{rule} = '''\n{text}\n'''\n" for rule, text in examples.items())
    new = "\n".join((_HEAD, *rows))
    if not _FILE.is_file() or _FILE.read_text(encoding="utf-8") != new:
        _FILE.write_text(new, encoding="utf-8")
    _FILE.touch()


def _example(rule: str) -> str:
    """The shortest example, "" if a program in Python cannot show the control."""
    texts = [text for row in ROWS[rule] if _is_python(text := _text(rule, row))]
    return min(texts, key=_length, default="")


def _length(text: str) -> tuple[int, int]:
    """The order of examples: first those with two resources, then by their characters."""
    return text.count("Without"), len("".join(text.split()))


def _is_python(text: str) -> bool:
    try:
        return bool(ast.parse(text))
    except SyntaxError:
        return False


def _text(rule: str, row: Mapping[str, Any]) -> str:
    """The changed resources of a case, before and after the change."""
    base, changes = parts_of(row)
    before = {resource.name: resource for resource in base()}
    after = {resource.name: resource for resource in changed_program(base(), changes)}
    violating = list(_snippets(after, changes))
    compliant = list(_snippets(before, changes))
    lines = [f"# Violates {rule}:", *(violating or ["# Without the resource below"])]
    return "\n".join([*lines, "# Complies:", *(compliant or ["# Without this resource"])])


def _snippets(resources: Mapping[str, Declared], changes: Mapping[str, Any]) -> Iterator[str]:
    for name, change in changes.items():
        if name in resources:
            resource = resources[name]
            kind = _CLASSES.get(resource.type) or class_name(resource.type)
            whole = change == ABSENT or "is" in change
            inputs = (
                dict(list(resource.inputs.items())[:_INPUTS_MAX])
                if whole
                else _pruned(resource.inputs, change)
            )
            arguments = [
                f"{_python_name(n)}={_code(v, '' if n in _DOCUMENTS else resource.type)}"
                for n, v in inputs.items()
            ]
            if isinstance(change, Mapping) and "protected" in change:
                arguments.append(f"opts=pulumi.ResourceOptions(protect={resource.protect})")
            if resource.type == STACK:
                yield from (f"pulumi.export({_quoted(n)}, {_code(v)})" for n, v in inputs.items())
            else:
                yield kind + _bracketed("()", [_quoted(name), *arguments])


def _pruned(value: Any, change: Any) -> Any:
    """The part of a value that a change names."""
    if not isinstance(change, Mapping):
        return value
    if isinstance(value, str) and value[:1] in ("{", "["):
        return _Json(_pruned(json.loads(value), change))
    if isinstance(value, list):
        places = [int(index) for index in change if int(index) < len(value)]
        return [_pruned(value[index], change[str(index)]) for index in places]
    members = value if isinstance(value, Mapping) else {}
    return {key: _pruned(members[key], inner) for key, inner in change.items() if key in members}


def _code(value: Any, token: str = "") -> str:
    if isinstance(value, _Json):
        return "json.dumps" + _bracketed("()", [_code(value.value)])
    if isinstance(value, str) and value[:1] in ("{", "[") and token:
        with suppress(ValueError):
            code = _code(json.loads(value))
            return code if token == AWS_PROVIDER else "json.dumps" + _bracketed("()", [code])
    if isinstance(value, Ref):
        return f"{value.to.replace('-', '_')}.{_python_name(value.output)}"
    if isinstance(value, Mapping):
        rows = (
            f"{_quoted(_python_name(k) if token else k)}: {_code(v, token)}"
            for k, v in value.items()
        )
        return _bracketed("{}", rows)
    if isinstance(value, list | tuple):
        return _bracketed("[]", (_code(each, token) for each in value))
    return _quoted(value) if isinstance(value, str) else repr(value)


def _bracketed(brackets: str, items: Iterable[str]) -> str:
    """The items in one line, or each in lines of its own."""
    opening, closing = brackets[0], brackets[1]
    parts = list(items)
    line = f"{opening}{', '.join(parts)}{closing}"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    body = "".join(indent(f"{part},\n", "    ") for part in parts)
    return f"{opening}\n{body}{closing}"


def _python_name(name: str) -> str:
    """The name of an input or output in pulumi-aws."""
    if not re.fullmatch("[a-z][A-Za-z0-9]*", name):
        return name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return f"{words}_" if keyword.iskeyword(words) else words


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


if __name__ == "__main__":
    write()
