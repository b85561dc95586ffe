"""Values that a check invents, and the deployment in which they are unknown.

A program runs with values of the form that AWS gives, such as a URL or an address, so that it can
split and parse them. A rule must not decide by them: an input that contains an invented value, or a
value that the program derived from it, is unknown for the policy packs.
"""

import base64
import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from gatehouse_policies.program.types import UNKNOWN, Deployment, Resource

MARKER: Final = "fake-output"
"""Part of every invented text."""
ACCOUNT: Final = "198018198019"
"""The account if several providers have different accounts, or before the providers are known."""
REGISTRY_TOKEN: Final = base64.b64encode(f"AWS:{MARKER}".encode()).decode()
"""User name and password of a registry. Programs decode and split them."""
# Networks for benchmarks, which no program uses (RFC 2544 and 5180).
NETWORK: Final = "198.18.0.0/16"
ADDRESS: Final = "198.19.{}.{}"
NETWORK_V6: Final = "2001:2:0:1a00::/56"
ADDRESS_V6: Final = "2001:2::{:x}"

_INVENTED = re.compile(
    rf"{MARKER}|{ACCOUNT}|{REGISTRY_TOKEN}|(?<!\d)198\.1[89]\.|(?<![\w:])2001:2:", re.IGNORECASE
)


def without_invented(deployment: Deployment) -> Deployment:
    """The deployment as the packs evaluate it."""
    return dataclasses.replace(
        deployment,
        resources=tuple(map(_resource, deployment.resources)),
        exports=_members(deployment.exports),
    )


def _resource(resource: Resource) -> Resource:
    registration = resource.registration
    return dataclasses.replace(
        resource,
        registration=dataclasses.replace(registration, inputs=_members(registration.inputs)),
        outputs=_members(resource.outputs),
    )


def _members(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _known(value) for key, value in values.items()}


def _known(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value) if _INVENTED.search(value) else value
    if isinstance(value, Mapping):
        return _members(value)
    return [_known(item) for item in value] if isinstance(value, list) else value


def _text(text: str) -> str:
    """A document with unknown parts, or an unknown text."""
    if text.lstrip()[:1] not in ("{", "["):
        return UNKNOWN
    try:
        return json.dumps(_known(json.loads(text)))
    except ValueError:
        return UNKNOWN
