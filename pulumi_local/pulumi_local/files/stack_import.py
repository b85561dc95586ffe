"""Reads an exported stack (`pulumi stack export`) as a deployment.

Source of the format: sdk/go/common/apitype (UntypedDeployment, DeploymentV3, ResourceV3) of
pulumi/pulumi.
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pulumi_local.errors import CommandError
from pulumi_local.files.project import Project
from pulumi_local.types import UNKNOWN, Deployment, Registration, Resource
from pulumi_local.values import ARCHIVE, ASSET, RESOURCE, SECRET, SIGNATURE

# Version 4 adds a list of features to version 3.
_VERSIONS = (3, 4)
_STACK = "pulumi:pulumi:Stack"
_STACK_NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)  # sdk/go/common/tokens/stack_name.go
_REDACTED = "[secret]"
_HINT = "Create one with: pulumi stack export --file FILE"


def read(file: Path) -> tuple[Project, Deployment]:
    """Read the stack in a file. Raises CommandError for an invalid file.

    Encrypted secrets are unknown: a rule that needs one is undecided. Resources that are pending
    deletion are omitted.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
        # rejects lone surrogates such as "\\ud800"
        json.dumps(document, ensure_ascii=False).encode()
        if document["version"] not in _VERSIONS:
            raise ValueError(f"version {document['version']}")
        rows = [row for row in document["deployment"]["resources"] if not row.get("delete")]
        names = {tuple(row["urn"].split("::")[:2]) for row in rows}
        known = {row["urn"] for row in rows}
        resources = [_resource(row, known) for row in rows if row["type"] != _STACK]
        exports = [_properties(row, "outputs") for row in rows if row["type"] == _STACK]
        [(stack, project)] = names
        stack = stack.rpartition(":")[2]
        if not _STACK_NAME.fullmatch(stack):
            raise ValueError("name of the stack")
    except OSError as problem:
        raise CommandError(f"{file} cannot be read: {problem.strerror}. {_HINT}") from problem
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:100]
        raise CommandError(f"{file} is not an exported stack ({reason}). {_HINT}") from problem
    deployment = Deployment(project, stack, tuple(resources), dict(*exports[:1]), preview=False)
    return Project(project, stack, file.parent, file.parent, {}), deployment


def _resource(row: Mapping[str, Any], known: Collection[str]) -> Resource:
    urn, parent, secrets = row["urn"], str(row.get("parent") or ""), list[str]()
    _, _, _, name = urn.split("::", 3)
    inputs = _properties(row, "inputs", secrets)
    outputs = _properties(row, "outputs")
    by_property = dict(row.get("propertyDependencies") or {})
    registration = Registration(
        urn=urn,
        type=str(row["type"]),
        name=name,
        custom=row.get("custom") is True,
        parent=parent if parent in known and f"::{_STACK}::" not in parent else "",
        inputs=inputs,
        protect=row.get("protect") is True,
        provider=str(row.get("provider") or ""),
        dependencies=_known(row.get("dependencies"), known),
        property_dependencies={key: _known(urns, known) for key, urns in by_property.items()},
        secret_inputs=tuple(secrets),
        additional_secret_outputs=tuple(map(str, row.get("additionalSecretOutputs") or ())),
        ignore_changes=tuple(map(str, row.get("ignoreChanges") or ())),
        retain_on_delete=row.get("retainOnDelete") is True,
        external=row.get("external") is True,
        source=_source(str(row.get("sourcePosition") or "")),
    )
    # Components of older engines have no outputs, and an edited file can lack some of them.
    return Resource(registration, str(row.get("id") or ""), {**inputs, **outputs})


def _properties(
    row: Mapping[str, Any], key: str, secrets: list[str] | None = None
) -> dict[str, Any]:
    """Raises TypeError for a value of the engine, such as a secret, in place of an object."""
    values = _plain(dict(row.get(key) or {}), "", secrets)
    if not isinstance(values, dict) or SIGNATURE in values:
        raise TypeError(f"{key} is not an object")
    return values


def _known(urns: Any, known: Collection[str]) -> tuple[str, ...]:
    """The dependencies that are in the file. A resource can depend on one that is pending
    deletion.
    """
    return tuple(urn for urn in urns or () if urn in known)


def _source(position: str) -> str:
    path, _, place = position.removeprefix("project:///").partition("#")
    line = place.partition(",")[0]
    return f"{path}:{line}" if path and line.isdigit() and "://" not in path else ""


def _plain(value: Any, path: str = "", secrets: list[str] | None = None) -> Any:
    """A value without internal members of the engine, such as `__defaults`, and without null.
    secrets: receives the paths of secrets.
    """
    secrets = [] if secrets is None else secrets
    if isinstance(value, list):
        return [_plain(item, f"{path}[{index}]", secrets) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    signature = value.get(SIGNATURE)
    if signature is None:
        return {
            key: _plain(item, f"{path}.{key}" if path else key, secrets)
            for key, item in value.items()
            if item is not None and not key.startswith("__")
        }
    if signature == SECRET:
        secrets.append(path)
        return _secret(value)
    if signature == RESOURCE:
        return value.get("id") or value.get("urn") or UNKNOWN
    if signature in (ASSET, ARCHIVE) and {"text", "path", "uri", "assets"} & set(value):
        return value
    return UNKNOWN


def _secret(value: Mapping[str, Any]) -> Any:
    """A secret exported with `--show-secrets`; unknown if it is encrypted or redacted."""
    try:
        secret = json.loads(value["plaintext"])
    except (KeyError, TypeError, ValueError):
        return UNKNOWN
    return UNKNOWN if secret == _REDACTED else _plain(secret)
