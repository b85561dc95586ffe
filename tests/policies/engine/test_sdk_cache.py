"""SDK cache: each message is decoded once, with the same result as without the cache."""

from typing import Any

import pytest
from gatehouse_policies.analysis.properties import plain
from gatehouse_policies.engine import sdk_cache
from gatehouse_policies.engine.sdk_cache import ByIdentity, _Decoded, _SdkCache
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY, deserialize_properties
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError, unknown_checking_proxy

SECRET = {SPECIAL_SIG_KEY: SPECIAL_SECRET_SIG, "value": "hunter2"}
PROPERTIES = {"name": "a", "tags": {"Owner": "b"}, "rules": [{"days": 7}, UNKNOWN_STRING_VALUE], "password": SECRET}


def message(properties: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(properties)
    return struct


def decoded(cache: _SdkCache, properties: dict[str, Any]) -> Any:
    """The value that a policy receives, in the three steps of the SDK."""
    return cache.unknown_checking_proxy(cache.deserialize_properties(cache.MessageToDict(message(properties))))


def test_decoded_value_is_equal_to_sdk_result() -> None:
    expected = unknown_checking_proxy(deserialize_properties(json_format.MessageToDict(message(PROPERTIES))))
    cache = _SdkCache()
    for _ in range(2):
        assert plain(decoded(cache, PROPERTIES)) == plain(expected)
        with pytest.raises(UnknownValueError):
            decoded(cache, PROPERTIES)["rules"][1]


def test_equal_messages_share_one_value() -> None:
    cache = _SdkCache()
    assert decoded(cache, PROPERTIES) is decoded(cache, PROPERTIES)
    assert plain(decoded(cache, {**PROPERTIES, "name": "b"}))["name"] == "b"
    assert plain(decoded(cache, PROPERTIES))["name"] == "a"


def test_modified_configuration_is_not_shared() -> None:
    cache = _SdkCache()
    cache.MessageToDict(message({"days_min": 7}))["added"] = 1
    assert cache.MessageToDict(message({"days_min": 7})) == {"days_min": 7}


def test_remediation_receives_marked_secrets() -> None:
    cache = _SdkCache()
    decoded(cache, PROPERTIES)
    actual = cache.deserialize_properties(cache.MessageToDict(message(PROPERTIES)), True)
    expected = deserialize_properties(json_format.MessageToDict(message(PROPERTIES)), True)
    assert type(actual) is type(expected) is not _Decoded


def test_value_is_derived_once_per_object() -> None:
    sources: list[dict[str, int]] = []

    def derive(source: dict[str, int]) -> int:
        sources.append(source)
        return len(sources)

    cache, first, second = ByIdentity[int](derive), {"a": 1}, {"a": 1}
    assert [cache.of(first), cache.of(first), cache.of(second), cache.of(first)] == [1, 1, 2, 1]


def test_values_of_earlier_requests_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, source = _SdkCache(), {"a": 1}
    monkeypatch.setattr(sdk_cache._SDK, "json_format", cache)
    derived = ByIdentity[list[int]](lambda _source: [1])
    first = derived.of(source)
    decoded(cache, PROPERTIES)
    assert cache._decoded
    assert cache._proxies
    sdk_cache.clear()
    assert not cache._decoded
    assert not cache._proxies
    assert derived.of(source) is not first
