"""Reads an exported stack (`pulumi stack export`, or our own `export`) as a deployment; asks neither Pulumi nor AWS.

Source of the form: sdk/go/common/apitype (UntypedDeployment, DeploymentV3, ResourceV3) of pulumi/pulumi.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pulumi.runtime import rpc

from sandbox.errors import SandboxError
from sandbox.project import Project
from sandbox.types import UNKNOWN, Deployment, Registration, Resource
from sandbox.values import SECRET, SIGNATURE

VERSIONS: Final = (3, 4)
"""Version 4 has the form of 3 and a list of the engine's newer features."""

_STACK = "pulumi:pulumi:Stack"
_REDACTED = "[secret]"
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"  # sdk/go/common/resource/sig: a value with its own dependencies
_HOW = "Write one with: pulumi stack export --file FILE"
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
    exports = _values(root.get("outputs"), [], file, stack)
    deployment = Deployment(project, stack, tuple(resources), exports, preview=False)
    return Project(project, stack, file.parent, file.parent, {}), deployment


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
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
    urn, parent = row["urn"], row.get("parent") or ""
    secrets: list[str] = []
    inputs, outputs = _values(row.get("inputs"), secrets, file, urn), _values(row.get("outputs"), [], file, urn)
    dependencies = _urns(row.get("dependencies"), known, leaving, file, urn)
    by_property = row.get("propertyDependencies") or {}
    if not isinstance(by_property, dict):
        raise SandboxError(f"{file}: {urn}: propertyDependencies is not an object. {_HOW}")
    registration = Registration(
        urn=urn,
        type=row["type"],
        name=urn.split("::", 3)[3],
        custom=row.get("custom") is True,
        parent="" if parent.split("::")[2:3] == [_STACK] else "".join(_urns([parent], known, leaving, file, urn)),
        inputs=inputs,
        protect=row.get("protect") is True,
        provider=str(row.get("provider") or ""),
        dependencies=dependencies,
        property_dependencies={key: _urns(urns, known, leaving, file, urn) for key, urns in by_property.items()},
        secret_inputs=tuple(secrets),
        additional_secret_outputs=tuple(row.get("additionalSecretOutputs") or ()),
        ignore_changes=tuple(row.get("ignoreChanges") or ()),
        retain_on_delete=row.get("retainOnDelete") is True,
        import_id=str(row.get("importID") or ""),
        source=_source(row.get("sourcePosition")),
    )
    # A component of an older engine has no outputs of its own: what it was given stands for them.
    return Resource(registration, str(row.get("id") or ""), outputs or dict(inputs))


def _urns(found: Any, known: set[str], leaving: set[str], file: Path, urn: str) -> tuple[str, ...]:
    """Those that are in the file; one that only waits for its deletion is no dependency any more."""
    listed = [] if found is None else found
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise SandboxError(f"{file}: {urn}: its dependencies are not a list of URNs. {_HOW}")
    for one in listed:
        if one and one not in known | leaving:
            raise SandboxError(f"{file}: {urn} depends on {one}, which is not in it. Mend the stack with: pulumi state repair")
    return tuple(one for one in listed if one in known)


def _source(position: Any) -> str:
    """`project:///components/bucket.py#88,12` as "components/bucket.py:88"."""
    path, _, place = str(position or "").removeprefix("project:///").partition("#")
    line = place.partition(",")[0]
    return f"{path}:{line}" if path and line.isdigit() and "://" not in path else ""


def _values(found: Any, secrets: list[str], file: Path, urn: str) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SandboxError(f"{file}: {urn}: its inputs or outputs are not an object. {_HOW}")
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
