"""What the SDK reads is read once for all policies of a pack, and reads the same."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY, deserialize_properties
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError, unknown_checking_proxy

from policies.analysis.properties import plain
from policies.engine.sdk_cache import Kept, _Once, _Read

SECRET = {SPECIAL_SIG_KEY: SPECIAL_SECRET_SIG, "value": "hunter2"}
PROPERTIES = {"name": "a", "tags": {"Owner": "b"}, "rules": [{"days": 7}, UNKNOWN_STRING_VALUE], "password": SECRET}


def message(properties: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(properties)
    return made


def shown(once: _Once, properties: dict[str, Any]) -> Any:
    """What a policy is shown, in the three steps of the SDK."""
    return once.unknown_checking_proxy(once.deserialize_properties(once.MessageToDict(message(properties))))


def test_a_policy_is_shown_what_the_sdk_alone_would_show() -> None:
    alone = unknown_checking_proxy(deserialize_properties(json_format.MessageToDict(message(PROPERTIES))))
    once = _Once()
    for _ in range(2):
        assert plain(shown(once, PROPERTIES)) == plain(alone)
        with pytest.raises(UnknownValueError):
            shown(once, PROPERTIES)["rules"][1]


def test_equal_messages_are_read_once_and_others_by_themselves() -> None:
    once = _Once()
    assert shown(once, PROPERTIES) is shown(once, PROPERTIES)
    assert plain(shown(once, {**PROPERTIES, "name": "b"}))[0]["name"] == "b"
    assert plain(shown(once, PROPERTIES))[0]["name"] == "a"


def test_what_the_sdk_adds_to_a_configuration_stays_with_that_policy() -> None:
    once = _Once()
    once.MessageToDict(message({"days_min": 7}))["added"] = 1
    assert once.MessageToDict(message({"days_min": 7})) == {"days_min": 7}


def test_a_remediation_still_sees_secrets_as_secrets() -> None:
    once = _Once()
    shown(once, PROPERTIES)
    kept = once.deserialize_properties(once.MessageToDict(message(PROPERTIES)), True)
    alone = deserialize_properties(json_format.MessageToDict(message(PROPERTIES)), True)
    assert type(kept) is type(alone) is not _Read


def test_what_is_made_of_an_object_is_made_anew_for_another_one() -> None:
    made: list[dict[str, int]] = []

    def make(source: dict[str, int]) -> int:
        made.append(source)
        return len(made)

    kept, first, second = Kept[int](make), {"a": 1}, {"a": 1}
    assert [kept.of(first), kept.of(first), kept.of(second), kept.of(first)] == [1, 1, 2, 1]
