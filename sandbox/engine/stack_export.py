"""Writes a deployment in the format of `pulumi stack export`, for `pulumi policy analyze
--file`.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gatehouse_policies.program.providers import FakeProvider
from gatehouse_policies.program.runner import run
from gatehouse_policies.program.types import Deployment, Registration, Resource
from gatehouse_policies.program.values import SECRET, SIGNATURE, encode, seconds

_REDACTED = json.dumps("[secret]")
"""The value that the engine shows for a secret that it cannot decrypt."""

_NO_TIME = "0001-01-01T00:00:00Z"


def export(program: Path, stack: str) -> str:
    """The deployment file of a stack with fake IDs and ARNs. Deterministic.

    Raises SandboxError if the program cannot run.
    """
    deployment = run(program, stack, FakeProvider(), preview=False)
    # Asset paths are relative to the program.
    with contextlib.chdir(program):
        return json.dumps(deployment_file(deployment), indent=2, ensure_ascii=False) + "\n"


def deployment_file(deployment: Deployment) -> dict[str, Any]:
    """The deployment file of a deployment. Secret values are redacted."""
    rows = (resource_row(resource, deployment.stack_urn) for resource in deployment.resources)
    return version_3([stack_row(deployment.stack_urn, deployment.exports), *rows])


def version_3(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A version 3 deployment (apitype.DeploymentV3) without a secrets provider."""
    cli = version("pulumi")
    manifest = {"time": _NO_TIME, "magic": hashlib.sha256(cli.encode()).hexdigest(), "version": cli}
    return {
        "version": 3,
        "deployment": {"manifest": manifest, "resources": list(rows), "metadata": {}},
    }


def stack_row(urn: str, exports: Mapping[str, Any]) -> dict[str, Any]:
    """The stack resource."""
    return {"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack", "outputs": dict(exports)}


def resource_row(
    resource: Resource, stack_urn: str, *, show_secrets: bool = False
) -> dict[str, Any]:
    """One resource (apitype.ResourceV3). Empty members are omitted, as in Go."""
    registration = resource.registration
    inputs, outputs = registration.secret_input_names, registration.secret_output_names
    members: dict[str, Any] = {
        "id": resource.id,
        "inputs": _values(registration.inputs, inputs, show_secrets),
        "outputs": _values(resource.outputs, outputs, show_secrets),
        "parent": registration.parent or ("" if _is_default_provider(registration) else stack_urn),
        "protect": registration.protect,
        "dependencies": list(registration.dependencies),
        "provider": registration.provider,
        "propertyDependencies": {
            key: list(urns) for key, urns in registration.property_dependencies.items()
        },
        "additionalSecretOutputs": list(registration.additional_secret_outputs),
        "aliases": list(dict.fromkeys(registration.aliases)),
        "customTimeouts": {
            key: seconds(text) for key, text in registration.custom_timeouts.items()
        },
        "importID": "" if registration.external else registration.import_id,
        "external": registration.external,
        "retainOnDelete": registration.retain_on_delete,
        "ignoreChanges": list(registration.ignore_changes),
        "replaceOnChanges": list(registration.replace_on_changes),
        "sourcePosition": _position(registration.source),
    }
    head = {"urn": registration.urn, "custom": registration.custom, "type": registration.type}
    return {**head, **{key: value for key, value in members.items() if value}}


def _is_default_provider(registration: Registration) -> bool:
    return registration.type.startswith("pulumi:providers:") and registration.name.startswith(
        "default"
    )


def _values(values: dict[str, Any], secret_names: set[str], show_secrets: bool) -> dict[str, Any]:
    encoded = {key: encode(value, with_hash=True) for key, value in values.items()}
    for key in secret_names & set(values):
        encoded[key] = {
            SIGNATURE: SECRET,
            "plaintext": json.dumps(encoded[key]) if show_secrets else _REDACTED,
        }
    return encoded


def _position(source: str) -> str:
    file, _, line = source.rpartition(":")
    return f"project:///{file}#{line}" if file else ""
