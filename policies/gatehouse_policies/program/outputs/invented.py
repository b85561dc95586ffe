"""Values that a check invents, and the deployment in which they are unknown.

A program runs with values of the form that AWS gives, such as a URL or an address, so that it can
split and parse them. A rule must not decide by them: an input that contains an invented value, or a
value that the program derived from it, is unknown for the policy packs.
"""

import base64
import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
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

HEX_MARKER: Final = "fa4efa4e"
"""Part of every invented ID of the form vpc-0123456789abcdef0 that a lookup returns."""

_INVENTED = re.compile(
    # Programs replace the hyphen, for example in names of databases.
    rf"{MARKER.replace('-', '.?')}|{ACCOUNT}|{REGISTRY_TOKEN}|{HEX_MARKER}"
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
    return {key: _known(value) for key, value in values.items()}


def _known(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value) if is_invented(value) else value
    if isinstance(value, Mapping):
        return _members(value)
    return [_known(item) for item in value] if isinstance(value, list) else value


class InventedText(str):
    """An invented text that a program can read like a document: every member is invented too."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        return InventedText(self) if isinstance(key, str) else super().__getitem__(key)

    def get(self, _key: str, _default: Any = None) -> "InventedText":
        return InventedText(self)


class _InventedObject(dict[str, Any]):
    """The value of an invented JSON text: it has every member."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = InventedText(text)

    def __missing__(self, key: str) -> InventedText:
        return self._text

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]


@contextlib.contextmanager
def readable_documents() -> Iterator[None]:
    """Until the end of the block, `json.loads` of an invented text, such as that of a secret,
    returns an object with every member instead of raising an error.
    """
    original = json.loads

    def loads(text: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(text, *args, **kwargs)
        except ValueError:
            if isinstance(text, str) and is_invented(text):
                return _InventedObject(text)
            raise

    setattr(json, "loads", loads)  # noqa: B010  mypy rejects the assignment to a function
    try:
        yield
    finally:
        setattr(json, "loads", original)  # noqa: B010


def _text(text: str) -> str:
    """A document with unknown parts, or an unknown text."""
    if text.lstrip()[:1] not in ("{", "["):
        return UNKNOWN
    try:
        return json.dumps(_known(json.loads(text)))
    except ValueError:
        return UNKNOWN
