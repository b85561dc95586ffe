"""Values of the SDK as plain values, and unknown values."""

from typing import Any

import pytest
from gatehouse_policies.analysis.properties import _UNKNOWNS, plain
from pulumi_local.types import UNKNOWN
from pulumi_policy import proxy

VALUES = {
    "name": "a",
    "size": UNKNOWN,
    "rules": [{"port": 22, "__defaults": []}, UNKNOWN, ["b"]],
    "empty": {},
}
PLAIN = {**VALUES, "rules": [{"port": 22}, UNKNOWN, ["b"]]}


def test_properties_are_plain_values() -> None:
    assert plain(proxy.unknown_checking_proxy(VALUES)) == PLAIN
    assert plain(VALUES) == PLAIN


@pytest.mark.parametrize("error", [KeyError, TypeError])
def test_properties_are_plain_values_without_a_private_name(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (proxy._DictProxy, proxy._ListProxy):
        read = kind.__getitem__

        def member(self: Any, key: Any, read: Any = read) -> Any:
            if key == "__target":
                raise error
            return read(self, key)

        monkeypatch.setattr(kind, "__getitem__", member)
    assert plain(proxy.unknown_checking_proxy(VALUES)) == PLAIN


def test_markers_of_unknown_values_are_those_of_the_sdk() -> None:
    names = [name for name in vars(proxy) if name.startswith("UNKNOWN_") and "VALUE" in name]
    assert {getattr(proxy, name) for name in names} == _UNKNOWNS
