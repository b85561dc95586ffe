"""Cache of decoded resources in the Pulumi policy SDK, shared by all policies of a pack.

For each stack policy, the SDK decodes every resource of the stack again (pulumi_policy/policy.py, AnalyzeStack). With fifty
policies, this takes 90 percent of a pack's run time. With the cache, equal messages share one decoded value, which must not be
modified; rules receive copies (analysis/properties.py). An SDK that lacks the replaced functions is left unchanged.

Values are cached during one request: the values of earlier requests would double the memory of a pack.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

import pulumi_policy.policy
from google.protobuf.struct_pb2 import Struct

_SDK: Any = pulumi_policy.policy
_ENTRIES_MAX = 20_000

Value = TypeVar("Value")


class _Decoded(dict[str, Any]):
    """A decoded message with its original bytes."""

    message: bytes = b""


class _SdkCache:
    """Replaces three functions that the SDK calls, in this order, for the properties of every resource."""

    def __init__(self) -> None:
        self._json_format = _SDK.json_format
        self._deserialize, self._proxy = _SDK.deserialize_properties, _SDK.unknown_checking_proxy
        self._decoded: dict[bytes, _Decoded] = {}
        self._proxies: dict[bytes, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._json_format, name)

    def MessageToDict(self, message: Any, *args: Any, **options: Any) -> dict[str, Any]:
        if args or options or not isinstance(message, Struct):
            return cast(dict[str, Any], self._json_format.MessageToDict(message, *args, **options))
        key = message.SerializeToString(deterministic=True)
        decoded = self._decoded.get(key)
        if decoded is None:
            if len(self._decoded) >= _ENTRIES_MAX:
                self.clear()
            decoded = self._decoded[key] = _Decoded(self._json_format.MessageToDict(message))
        # The SDK adds defaults to a policy's configuration, so each caller receives a copy.
        copy = _Decoded(decoded)
        copy.message = key
        return copy

    def clear(self) -> None:
        self._decoded.clear()
        self._proxies.clear()

    def deserialize_properties(self, props: dict[str, Any], proxy_secrets: bool = False) -> Any:
        if proxy_secrets or not isinstance(props, _Decoded):
            return self._deserialize(props, proxy_secrets)
        return props

    def unknown_checking_proxy(self, props: Any) -> Any:
        if not isinstance(props, _Decoded):
            return self._proxy(props)
        proxy = self._proxies.get(props.message)
        if proxy is None:
            proxy = self._proxies[props.message] = self._proxy(self._deserialize(props))
        return proxy


def install() -> None:
    """Installs the cache in the SDK, once per process."""
    names = ("json_format", "deserialize_properties", "unknown_checking_proxy")
    if isinstance(getattr(_SDK, "json_format", None), _SdkCache) or not all(hasattr(_SDK, name) for name in names):
        return
    cache = _SdkCache()
    _SDK.json_format = cache
    _SDK.deserialize_properties = cache.deserialize_properties
    _SDK.unknown_checking_proxy = cache.unknown_checking_proxy


def clear() -> None:
    """Removes all cached values. Requests in other threads derive their values again."""
    if isinstance(_SDK.json_format, _SdkCache):
        _SDK.json_format.clear()
    for cache in list(_BY_IDENTITY):
        cache.clear()


class ByIdentity(Generic[Value]):
    """Cache of a value derived from an object, keyed by the object's identity. The value must not be modified."""

    def __init__(self, derive: Callable[[Any], Value]) -> None:
        self._derive = derive
        self._entries: dict[int, tuple[Any, Value]] = {}
        _BY_IDENTITY.add(self)

    def of(self, source: Any) -> Value:
        """The value of an object, derived on first use."""
        entry = self._entries.get(id(source))
        # The entry keeps the object, because Python may reuse the ID of a deleted one.
        if entry is None or entry[0] is not source:
            if len(self._entries) >= _ENTRIES_MAX:
                self._entries.clear()
            entry = self._entries[id(source)] = (source, self._derive(source))
        return entry[1]

    def clear(self) -> None:
        self._entries.clear()


_BY_IDENTITY: WeakSet[ByIdentity[Any]] = WeakSet()
