"""Writes a deployment in the format of `pulumi stack export`, for `pulumi policy analyze --file`."""

import contextlib
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sandbox.engine.program import run
from sandbox.engine.providers import FakeProvider
from sandbox.engine.types import Deployment, Registration, Resource
from sandbox.engine.values import SECRET, SIGNATURE, encode, seconds

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
    """A version 3 deployment (apitype.DeploymentV3) without a secrets provider. Secret values are redacted."""
    cli = version("pulumi")
    root = {"urn": deployment.stack_urn, "custom": False, "type": "pulumi:pulumi:Stack", "outputs": deployment.exports}
    return {
        "version": 3,
        "deployment": {
            "manifest": {"time": _NO_TIME, "magic": hashlib.sha256(cli.encode()).hexdigest(), "version": cli},
            "resources": [root, *(_resource(resource, deployment) for resource in deployment.resources)],
            "metadata": {},
        },
    }


def _resource(resource: Resource, deployment: Deployment) -> dict[str, Any]:
    """One resource (apitype.ResourceV3). Empty members are omitted, as in Go."""
    registration = resource.registration
    members: dict[str, Any] = {
        "id": resource.id,
        "inputs": _values(registration.inputs, registration.secret_input_names),
        "outputs": _values(resource.outputs, registration.secret_output_names),
        "parent": registration.parent or ("" if _is_default_provider(registration) else deployment.stack_urn),
        "protect": registration.protect,
        "dependencies": list(registration.dependencies),
        "provider": registration.provider,
        "propertyDependencies": {key: list(urns) for key, urns in registration.property_dependencies.items()},
        "additionalSecretOutputs": list(registration.additional_secret_outputs),
        "aliases": list(dict.fromkeys(registration.aliases)),
        "customTimeouts": {key: seconds(text) for key, text in registration.custom_timeouts.items()},
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
    return registration.type.startswith("pulumi:providers:") and registration.name.startswith("default")


def _values(values: dict[str, Any], secret_names: set[str]) -> dict[str, Any]:
    secret = {SIGNATURE: SECRET, "plaintext": _REDACTED}
    return {key: secret if key in secret_names else encode(value, with_hash=True) for key, value in values.items()}


def _position(source: str) -> str:
    file, _, line = source.rpartition(":")
    return f"project:///{file}#{line}" if file else ""
