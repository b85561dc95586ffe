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

from pulumi_local.types import ELSEWHERE, UNKNOWN, Deployment, Resource

MARKER: Final = "fakeoutput"
"""Part of every invented text, in one word, so that parts of a text have it too."""
ACCOUNT: Final = "198018198019"
"""The account if several providers have different accounts, or before the providers are known."""
REGISTRY_TOKEN: Final = base64.b64encode(f"AWS:{MARKER}".encode()).decode()
"""User name and password of a registry. Programs decode and split them."""
# Networks for benchmarks, which no program uses (RFC 2544 and 5180).
NETWORK: Final = "198.18.0.0/16"
ADDRESS: Final = "198.19.{}.{}"
NETWORK_V6: Final = "2001:2:0:1a00::/56"
ADDRESS_V6: Final = "2001:2::{:x}"

FLAG, NUMBER, MAP = (f"{MARKER}-{kind}" for kind in ("flag", "number", "map"))
"""Stand for values of these types, which contain no marker. The program receives objects of
`lookup_decisions.py`."""

HEX_MARKER: Final = "fa4efa4e"
"""Part of every invented ID of the form vpc-0123456789abcdef0 that a lookup returns."""

_INVENTED = re.compile(
    rf"{MARKER}|{ACCOUNT}|{REGISTRY_TOKEN}|{HEX_MARKER}"
    r"|(?<!\d)198[.-]1[89][.-]|(?<![\w:])2001:2:",
    re.IGNORECASE,
)
_BASE64 = re.compile(r"[\w+/-]{16,}={0,2}")


def is_invented(text: str) -> bool:
    """True if a text contains an invented value, also in base64."""
    return _INVENTED.search(text) is not None or any(
        _INVENTED.search(_decoded(each)) for each in _BASE64.findall(text)
    )


def _decoded(text: str) -> str:
    """The text in base64; "" for other text."""
    padded = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except ValueError:
        return ""
    return data.decode("latin-1")


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
    return {key: _known(value, UNKNOWN) for key, value in values.items()}


def _known(value: Any, unknown: str = ELSEWHERE) -> Any:
    """The value, in which `unknown` stands for what is invented."""
    if isinstance(value, str):
        return _text(value, unknown) if value == UNKNOWN or is_invented(value) else value
    if isinstance(value, Mapping):
        if any(map(is_invented, value)):
            return unknown
        return {key: _known(inner) for key, inner in value.items()}
    return [_known(item) for item in value] if isinstance(value, list) else value


def _text(text: str, unknown: str) -> str:
    """A document with unknown parts, or an unknown text."""
    try:
        return json.dumps(_known(json.loads(text))) if text.lstrip()[:1] in ("{", "[") else unknown
    except ValueError:
        return unknown
