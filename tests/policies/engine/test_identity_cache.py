"""A value is derived once for each object of a request."""

from gatehouse_policies.engine import identity_cache
from gatehouse_policies.engine.identity_cache import ByIdentity


def test_value_is_derived_once_per_object() -> None:
    sources: list[dict[str, int]] = []

    def derive(source: dict[str, int]) -> int:
        sources.append(source)
        return len(sources)

    cache, first, second = ByIdentity[int](derive), {"a": 1}, {"a": 1}
    assert [cache.of(first), cache.of(first), cache.of(second), cache.of(first)] == [1, 1, 2, 1]


def test_values_of_earlier_requests_are_removed() -> None:
    source = {"a": 1}
    derived = ByIdentity[list[int]](lambda _source: [1])
    first = derived.of(source)
    assert derived.of(source) is first
    identity_cache.clear()
    assert derived.of(source) is not first
