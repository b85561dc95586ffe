"""The examples of the component package in TypeScript and Go use the names of the generated SDKs.

The compilers are not part of the tests. The SDKs are generated from the schema: TypeScript has its names, and Go has them with an
uppercase first letter, and `Args` after the name of a type.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.components.program import ROOT
from tools.docs.pages import PACKAGE_SCHEMA

EXAMPLES = ROOT / "examples" / "component-package"
GUIDE = (ROOT / "docs" / "guides" / "components.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads(PACKAGE_SCHEMA.read_text(encoding="utf-8"))
_OPENING, _CLOSING = "{[(", "}])"
_TYPESCRIPT = re.compile(r"new gatehouse\.(?P<name>\w+)\(\s*\"[\w-]+\",\s*(?={)")
_GO = re.compile(r"gatehouse\.(?P<name>\w+)Args(?={)")


def keys(text: str) -> set[str]:
    """The keys of the object that begins at the start of the text: `{ names, keyArn: key.arn }` has names and keyArn."""
    depth, top = 0, ""
    for character in re.sub(r'"[^"]*"|`[^`]*`|//.*', "", text):
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth == 0:
            break
        top += character if depth == 1 else ""
    return {part.partition(":")[0].strip() for part in top[1:].split(",") if part.strip()}


def uses(text: str, language: str) -> Iterator[tuple[str, set[str]]]:
    """The name and the keys, in the form of the schema, of each component or type of the package that a program uses."""
    for match in (_GO if language == "go" else _TYPESCRIPT).finditer(text):
        names = keys(text[match.end() :])
        yield match["name"], {name[0].lower() + name[1:] for name in names} if language == "go" else names


def inputs(name: str) -> tuple[set[str], set[str]]:
    """The inputs of a component or the properties of a type, and those that are required."""
    token = f"gatehouse:index:{name}"
    if token in SCHEMA["resources"]:
        resource = SCHEMA["resources"][token]
        return set(resource["inputProperties"]), set(resource["requiredInputs"])
    return set(SCHEMA["types"][token]["properties"]), set(SCHEMA["types"][token].get("required", ()))


def program(language: str) -> str:
    file = EXAMPLES / language / ("main.go" if language == "go" else "index.ts")
    return file.read_text(encoding="utf-8")


def guide(language: str) -> str:
    (snippet,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(snippet)


@pytest.mark.parametrize("language", ["typescript", "go"])
def test_names_exist_in_the_schema(language: str) -> None:
    found = [*uses(program(language), language), *uses(guide(language), language)]
    assert {"KmsKey", "Bucket", "Network"} <= {name for name, _ in found}
    for name, names in found:
        known, required = inputs(name)
        assert required <= names <= known, name


@pytest.mark.parametrize("language", ["typescript", "go"])
def test_outputs_exist_in_the_schema(language: str) -> None:
    variables = {"key": "KmsKey", "uploads": "Bucket", "bucket": "Bucket", "accessLogs": "Bucket", "network": "Network"}
    read = re.findall(rf"\b({'|'.join(variables)})\.(\w+)\b(?!\()", program(language))
    assert len(read) >= 5
    for variable, name in read:
        token = f"gatehouse:index:{variables[variable]}"
        assert name[0].lower() + name[1:] in SCHEMA["resources"][token]["properties"], f"{variable}.{name}"


@pytest.mark.parametrize("language", ["typescript", "go"])
def test_project_names_the_package(language: str) -> None:
    project = yaml.safe_load((EXAMPLES / language / "Pulumi.yaml").read_text(encoding="utf-8"))
    assert (EXAMPLES / language / project["packages"]["gatehouse"] / "PulumiPlugin.yaml").is_file()
