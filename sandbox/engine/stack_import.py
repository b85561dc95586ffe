"""Reads an exported stack (`pulumi stack export`, or our own `export`) as a deployment; asks neither Pulumi nor AWS.

Source of the form: sdk/go/common/apitype (UntypedDeployment, DeploymentV3, ResourceV3) of pulumi/pulumi.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pulumi.runtime import rpc

from sandbox.engine.project import Project
from sandbox.engine.types import UNKNOWN, Deployment, Registration, Resource
from sandbox.engine.values import SECRET, SIGNATURE
from sandbox.errors import SandboxError

VERSIONS: Final = (3, 4)
"""Version 4 has the form of 3 and a list of the engine's newer features."""

_STACK = "pulumi:pulumi:Stack"
_REDACTED = "[secret]"
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"  # sdk/go/common/resource/sig: a value with its own dependencies
_HOW = "Write one with: pulumi stack export --file FILE"
_SHAPES: dict[type, tuple[str, ...]] = {
    str: ("id", "parent", "provider", "sourcePosition"),
    list: ("dependencies", "additionalSecretOutputs", "ignoreChanges"),
    dict: ("inputs", "outputs", "propertyDependencies"),
}
_WORDS: dict[type, str] = {str: "text", list: "a list", dict: "an object"}
_READABLE = {
    rpc._special_asset_sig: ("text", "path", "uri"),
    rpc._special_archive_sig: ("assets", "path", "uri"),
}


def read(file: Path) -> tuple[Project, Deployment]:
    """The stack that the file holds; raises SandboxError with one message for a file that is not one.

    A secret that the file keeps encrypted is unknown: a rule that must read it is undecided, never passed. Resources
    that only wait for their deletion are left out.
    """
    rows = _rows(file)
    leaving = {str(row.get("urn")) for row in rows if row.get("delete") is True}
    kept = [row for row in rows if row.get("delete") is not True]
    urns = [_urn(row, number, file) for number, row in enumerate(kept)]
    if not urns:
        raise SandboxError(f"{file}: the stack holds no resources, so there is nothing to check. Deploy it first.")
    stacks = {tuple(urn.split("::")[:2]) for urn in urns}
    if len(stacks) > 1:
        raise SandboxError(f"{file}: resources of several stacks are in one file. {_HOW}")
    if twice := {urn for urn in urns if urns.count(urn) > 1}:
        raise SandboxError(f"{file}: {min(twice)} is in it twice. Mend the stack with: pulumi state repair")
    stack, project = urns[0].split("::")[0].rpartition(":")[2], urns[0].split("::")[1]
    root = next((row for row in kept if row["type"] == _STACK), {})
    resources = [_resource(row, set(urns), leaving, file) for row in kept if row["type"] != _STACK]
    exports = _values(_shaped(root, "outputs", dict, file), [])
    deployment = Deployment(project, stack, tuple(resources), exports, preview=False)
    return Project(project, stack, file.parent, file.parent, {}), deployment


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
        json.dumps(document, ensure_ascii=False).encode()  # half a character, as "\\ud800" is, could not be passed on
    except OSError as problem:
        raise SandboxError(f"{file} cannot be read: {problem.strerror}. {_HOW}") from problem
    except (ValueError, RecursionError) as problem:
        raise SandboxError(f"{file} is not JSON ({type(problem).__name__}). {_HOW}") from problem
    if not isinstance(document, dict) or not {"deployment", "checkpoint"} & set(document):
        raise SandboxError(f'{file} is not an exported stack: it has no "deployment". {_HOW}')
    if document.get("version") not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise SandboxError(f"{file}: version {document.get('version')!r} is not known, only {known}. {_HOW}")
    held = document.get("deployment")
    if held is None and isinstance(document.get("checkpoint"), dict):  # what a local backend keeps
        held = document["checkpoint"].get("latest")
    rows = held.get("resources") or [] if isinstance(held, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SandboxError(f'{file}: "resources" is not a list of resources. {_HOW}')
    return rows


def _urn(row: Mapping[str, Any], number: int, file: Path) -> str:
    urn, type_ = row.get("urn"), row.get("type")
    if not isinstance(urn, str) or not urn.startswith("urn:pulumi:") or len(urn.split("::")) < 4 or not isinstance(type_, str):
        raise SandboxError(f"{file}: resource {number + 1} has no URN or no type. {_HOW}")
    return urn


def _resource(row: dict[str, Any], known: set[str], leaving: set[str], file: Path) -> Resource:
    urn = row["urn"]
    held = {name: _shaped(row, name, kind, file) for kind, names in _SHAPES.items() for name in names}
    listed = {name: _texts(held[name], name, file, urn) for name in _SHAPES[list]}
    by_property = {name: _texts(urns, "propertyDependencies", file, urn) for name, urns in held["propertyDependencies"].items()}
    for other in (held["parent"], *listed["dependencies"], *(one for urns in by_property.values() for one in urns)):
        if other and other not in known | leaving:
            raise SandboxError(f"{file}: {urn} leans on {other}, which is not in it. Mend the stack with: pulumi state repair")
    parent, secrets = held["parent"] if held["parent"] in known else "", list[str]()
    inputs, outputs = _values(held["inputs"], secrets), _values(held["outputs"], [])
    registration = Registration(
        urn=urn,
        type=row["type"],
        name=urn.split("::", 3)[3],
        custom=row.get("custom") is True,
        parent="" if _is_stack(parent) else parent,
        inputs=inputs,
        protect=row.get("protect") is True,
        provider=held["provider"],
        dependencies=tuple(one for one in listed["dependencies"] if one in known),
        property_dependencies={name: tuple(one for one in urns if one in known) for name, urns in by_property.items()},
        secret_inputs=tuple(secrets),
        additional_secret_outputs=tuple(listed["additionalSecretOutputs"]),
        ignore_changes=tuple(listed["ignoreChanges"]),
        retain_on_delete=row.get("retainOnDelete") is True,
        external=row.get("external") is True,
        source=_source(held["sourcePosition"]),
    )
    # A component of an older engine has no outputs of its own: what it was given stands for them.
    return Resource(registration, held["id"], outputs or dict(inputs))


def _shaped(row: Mapping[str, Any], name: str, kind: type, file: Path) -> Any:
    """The member, empty where it is missing or null."""
    value = row.get(name)
    if value is not None and not isinstance(value, kind):
        raise SandboxError(f"{file}: {row['urn']}: {name} is not {_WORDS[kind]}. {_HOW}")
    return kind() if value is None else value


def _texts(found: Any, name: str, file: Path, urn: str) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise SandboxError(f"{file}: {urn}: {name} does not list text. {_HOW}")
    return found


def _is_stack(urn: str) -> bool:
    return urn.split("::")[2:3] == [_STACK]


def _source(position: str) -> str:
    """`project:///components/bucket.py#88,12` as "components/bucket.py:88"."""
    path, _, place = position.removeprefix("project:///").partition("#")
    line = place.partition(",")[0]
    return f"{path}:{line}" if path and line.isdigit() and "://" not in path else ""


def _values(found: dict[str, Any], secrets: list[str]) -> dict[str, Any]:
    return {key: value for key, one in _items(found) if (value := _plain(one, key, secrets)) is not None}


def _items(found: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Without the notes of the engine and the bridge, such as `__defaults`."""
    return ((key, value) for key, value in found.items() if not key.startswith("__"))


def _plain(value: Any, path: str, secrets: list[str]) -> Any:
    if isinstance(value, list):
        return [_plain(one, f"{path}[{index}]", secrets) for index, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    signature = value.get(SIGNATURE)
    if signature is None:
        return {key: _plain(one, f"{path}.{key}", secrets) for key, one in _items(value)}
    if signature == SECRET:
        secrets.append(path)
        return _secret(value, path)
    if signature == rpc._special_resource_sig:
        return value.get("id") or value.get("urn") or UNKNOWN
    if signature == _OUTPUT:
        return _plain(value.get("value", UNKNOWN), path, secrets)
    readable = any(part in value for part in _READABLE.get(str(signature), ()))
    return value if readable else UNKNOWN


def _secret(value: dict[str, Any], path: str) -> Any:
    """What `--show-secrets` lays open; unknown where the file keeps it encrypted or redacted."""
    try:
        opened = json.loads(value["plaintext"])
    except (KeyError, TypeError, ValueError):
        return UNKNOWN
    return UNKNOWN if opened == _REDACTED else _plain(opened, path, [])
