"""Has the SDK read each resource once for a whole pack, where it would read it again for every policy.

For each stack policy the SDK decodes every resource of the stack anew (pulumi_policy/policy.py, AnalyzeStack): with fifty
policies that is nine tenths of a pack's time. Here equal messages share what was read. Nothing may be changed in it, which
holds for rules: they see copies (policies/props.py). An SDK that works in another way is left alone, and is slower.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import pulumi_policy.policy
from google.protobuf.struct_pb2 import Struct

_SDK: Any = pulumi_policy.policy
_KEPT_MAX = 20_000

Made = TypeVar("Made")


class _Read(dict[str, Any]):
    """A decoded message, with the bytes that it was decoded from."""

    message: bytes = b""


class _Once:
    """Stands in for what the SDK's module calls, in this order, for the properties of every resource."""

    def __init__(self) -> None:
        self._json_format = _SDK.json_format
        self._deserialize, self._proxy = _SDK.deserialize_properties, _SDK.unknown_checking_proxy
        self._read: dict[bytes, _Read] = {}
        self._proxies: dict[bytes, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._json_format, name)

    def MessageToDict(self, message: Any, *more: Any, **options: Any) -> dict[str, Any]:
        if more or options or not isinstance(message, Struct):
            return cast(dict[str, Any], self._json_format.MessageToDict(message, *more, **options))
        key = message.SerializeToString(deterministic=True)
        if key not in self._read:
            if len(self._read) >= _KEPT_MAX:
                self._read.clear()
                self._proxies.clear()
            self._read[key] = _Read(self._json_format.MessageToDict(message))
        # A copy, for the SDK fills in defaults at the top of a policy's configuration.
        found = _Read(self._read[key])
        found.message = key
        return found

    def deserialize_properties(self, props: dict[str, Any], proxy_secrets: bool = False) -> Any:
        if proxy_secrets or not isinstance(props, _Read):
            return self._deserialize(props, proxy_secrets)
        return props

    def unknown_checking_proxy(self, props: Any) -> Any:
        if not isinstance(props, _Read):
            return self._proxy(props)
        if props.message not in self._proxies:
            self._proxies[props.message] = self._proxy(self._deserialize(props))
        return self._proxies[props.message]


def install() -> None:
    """Put the above in place, once a process."""
    names = ("json_format", "deserialize_properties", "unknown_checking_proxy")
    if isinstance(getattr(_SDK, "json_format", None), _Once) or not all(hasattr(_SDK, name) for name in names):
        return
    once = _Once()
    _SDK.json_format = once
    _SDK.deserialize_properties = once.deserialize_properties
    _SDK.unknown_checking_proxy = once.unknown_checking_proxy


class Kept(Generic[Made]):
    """What is made of an object, made once for as long as the same object is shown."""

    def __init__(self, make: Callable[[Any], Made]) -> None:
        self._make = make
        self._made: dict[int, tuple[Any, Made]] = {}

    def of(self, source: Any) -> Made:
        """Nobody may change it."""
        held = self._made.get(id(source))
        # The object is kept beside its id, so that an id that is given again is seen.
        if held is None or held[0] is not source:
            if len(self._made) >= _KEPT_MAX:
                self._made.clear()
            held = self._made[id(source)] = (source, self._make(source))
        return held[1]
