"""Reads an exported stack (`pulumi stack export`) as a deployment.

Source of the format: sdk/go/common/apitype (UntypedDeployment, DeploymentV3, ResourceV3) of
pulumi/pulumi.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pulumi.runtime import rpc

from gatehouse_policies.errors import CheckError
from gatehouse_policies.program.project import Project
from gatehouse_policies.program.types import UNKNOWN, Deployment, Registration, Resource
from gatehouse_policies.program.values import SECRET, SIGNATURE

VERSIONS: Final = (3, 4)
"""Version 4 adds a list of features to version 3."""

_STACK = "pulumi:pulumi:Stack"
_REDACTED = "[secret]"
# sdk/go/common/resource/sig: a value with its own dependencies
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_HINT = "Create one with: pulumi stack export --file FILE"
_MEMBER_TYPES: dict[type, tuple[str, ...]] = {
    str: ("id", "parent", "provider", "sourcePosition"),
    list: ("dependencies", "additionalSecretOutputs", "ignoreChanges"),
    dict: ("inputs", "outputs", "propertyDependencies"),
}
_TYPE_NAMES: dict[type, str] = {str: "text", list: "a list", dict: "an object"}
_READABLE = {
    rpc._special_asset_sig: ("text", "path", "uri"),
    rpc._special_archive_sig: ("assets", "path", "uri"),
}


def read(file: Path) -> tuple[Project, Deployment]:
    """Read the stack in a file. Raises CheckError for an invalid file.

    Encrypted secrets are unknown: a rule that needs one is undecided. Resources that are pending
    deletion are omitted.
    """
    rows = _rows(file)
    pending_deletion = {str(row.get("urn")) for row in rows if row.get("delete") is True}
    current = [row for row in rows if row.get("delete") is not True]
    urns = [_urn(row, number, file) for number, row in enumerate(current)]
    if not urns:
        raise CheckError(f"{file}: the stack has no resources. Deploy it first.")
    stacks = {tuple(urn.split("::")[:2]) for urn in urns}
    if len(stacks) > 1:
        raise CheckError(f"{file}: the file has resources from several stacks. {_HINT}")
    if duplicates := {urn for urn in urns if urns.count(urn) > 1}:
        raise CheckError(
            f"{file}: duplicate resource {min(duplicates)}. Repair the stack with: pulumi "
            f"state repair"
        )
    stack, project = urns[0].split("::")[0].rpartition(":")[2], urns[0].split("::")[1]
    root = next((row for row in current if row["type"] == _STACK), {})
    resources = [
        _resource(row, set(urns), pending_deletion, file)
        for row in current
        if row["type"] != _STACK
    ]
    exports = _values(_member(root, "outputs", dict, file), [])
    deployment = Deployment(project, stack, tuple(resources), exports, preview=False)
    return Project(project, stack, file.parent, file.parent, {}), deployment


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
        json.dumps(
            document, ensure_ascii=False
        ).encode()  # rejects lone surrogates such as "\\ud800"
    except OSError as problem:
        raise CheckError(f"{file} cannot be read: {problem.strerror}. {_HINT}") from problem
    except (ValueError, RecursionError) as problem:
        raise CheckError(f"{file} is not JSON ({type(problem).__name__}). {_HINT}") from problem
    if not isinstance(document, dict) or not {"deployment", "checkpoint"} & set(document):
        raise CheckError(f'{file} is not an exported stack: it has no "deployment". {_HINT}')
    if document.get("version") not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise CheckError(
            f"{file}: version {document.get('version')!r} is not supported (supported: "
            f"{known}). {_HINT}"
        )
    deployment = document.get("deployment")
    if deployment is None and isinstance(
        document.get("checkpoint"), dict
    ):  # the format of a local backend
        deployment = document["checkpoint"].get("latest")
    rows = deployment.get("resources") or [] if isinstance(deployment, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CheckError(f'{file}: "resources" is not a list of resources. {_HINT}')
    return rows


def _urn(row: Mapping[str, Any], number: int, file: Path) -> str:
    urn, type_ = row.get("urn"), row.get("type")
    if (
        not isinstance(urn, str)
        or not urn.startswith("urn:pulumi:")
        or len(urn.split("::")) < 4
        or not isinstance(type_, str)
    ):
        raise CheckError(f"{file}: resource {number + 1} has no URN or no type. {_HINT}")
    return urn


def _resource(
    row: dict[str, Any], known: set[str], pending_deletion: set[str], file: Path
) -> Resource:
    urn = row["urn"]
    members = {
        name: _member(row, name, kind, file)
        for kind, names in _MEMBER_TYPES.items()
        for name in names
    }
    listed = {name: _texts(members[name], name, file, urn) for name in _MEMBER_TYPES[list]}
    by_property = {
        name: _texts(urns, "propertyDependencies", file, urn)
        for name, urns in members["propertyDependencies"].items()
    }
    for other in (
        members["parent"],
        *listed["dependencies"],
        *(item for urns in by_property.values() for item in urns),
    ):
        if other and other not in known | pending_deletion:
            raise CheckError(
                f"{file}: {urn} depends on {other}, which is not in the file. Repair the stack "
                f"with: pulumi state repair"
            )
    parent, secrets = members["parent"] if members["parent"] in known else "", list[str]()
    inputs, outputs = _values(members["inputs"], secrets), _values(members["outputs"], [])
    registration = Registration(
        urn=urn,
        type=row["type"],
        name=urn.split("::", 3)[3],
        custom=row.get("custom") is True,
        parent="" if parent.split("::")[2:3] == [_STACK] else parent,
        inputs=inputs,
        protect=row.get("protect") is True,
        provider=members["provider"],
        dependencies=tuple(item for item in listed["dependencies"] if item in known),
        property_dependencies={
            name: tuple(item for item in urns if item in known)
            for name, urns in by_property.items()
        },
        secret_inputs=tuple(secrets),
        additional_secret_outputs=tuple(listed["additionalSecretOutputs"]),
        ignore_changes=tuple(listed["ignoreChanges"]),
        retain_on_delete=row.get("retainOnDelete") is True,
        external=row.get("external") is True,
        source=_source(members["sourcePosition"]),
    )
    # Components of older engines have no outputs: use their inputs.
    return Resource(registration, members["id"], outputs or dict(inputs))


def _member(row: Mapping[str, Any], name: str, kind: type, file: Path) -> Any:
    """A member of a resource; empty if it is missing or null."""
    value = row.get(name)
    if value is not None and not isinstance(value, kind):
        raise CheckError(f"{file}: {row['urn']}: {name} is not {_TYPE_NAMES[kind]}. {_HINT}")
    return kind() if value is None else value


def _texts(value: Any, name: str, file: Path, urn: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise CheckError(f"{file}: {urn}: {name} is not a list of strings. {_HINT}")
    return value


def _source(position: str) -> str:
    """`project:///components/bucket.py#88,12` as "components/bucket.py:88"."""
    path, _, place = position.removeprefix("project:///").partition("#")
    line = place.partition(",")[0]
    return f"{path}:{line}" if path and line.isdigit() and "://" not in path else ""


def _values(values: dict[str, Any], secrets: list[str]) -> dict[str, Any]:
    return {
        key: value
        for key, item in _items(values)
        if (value := _plain(item, key, secrets)) is not None
    }


def _items(values: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """A value without internal members of the engine and the bridge, such as `__defaults`."""
    return ((key, value) for key, value in values.items() if not key.startswith("__"))


def _plain(value: Any, path: str, secrets: list[str]) -> Any:
    if isinstance(value, list):
        return [_plain(item, f"{path}[{index}]", secrets) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    signature = value.get(SIGNATURE)
    if signature is None:
        return {key: _plain(item, f"{path}.{key}", secrets) for key, item in _items(value)}
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
    """A secret exported with `--show-secrets`; unknown if it is encrypted or redacted."""
    try:
        secret = json.loads(value["plaintext"])
    except (KeyError, TypeError, ValueError):
        return UNKNOWN
    return UNKNOWN if secret == _REDACTED else _plain(secret, path, [])
