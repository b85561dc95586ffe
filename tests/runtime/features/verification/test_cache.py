"""Key cache: newer versions win, revoked keys stay revoked, and late loads restore nothing."""

import msgspec
import pytest
from gatehouse.core.keys import KeyId, KeyRecord, KeyState
from gatehouse.features.verification.cache import KeyCache
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.key_records import RECORD


def record(version: int, state: KeyState = KeyState.ACTIVE, key_id: KeyId = RECORD.id) -> KeyRecord:
    return msgspec.structs.replace(RECORD, version=version, state=state, id=key_id)


def filled(cache: KeyCache, result: KeyRecord) -> KeyCache:
    cache.begin_load([result.id])
    cache.end_load(result.id, result)
    return cache


def test_empty_load_does_not_hide_new_key() -> None:
    cache = KeyCache(10)
    cache.begin_load([RECORD.id])
    cache.change(record(1))
    assert cache.end_load(RECORD.id, None) == record(1)
    assert not cache.absent(RECORD.id)


def test_late_load_does_not_restore_revoked_key() -> None:
    cache = KeyCache(1)
    cache.begin_load([RECORD.id])  # the database reads the row while it is active
    cache.change(record(2, KeyState.REVOKED))
    filled(cache, record(1, key_id=KeyId("b" * 12)))
    assert cache.end_load(RECORD.id, record(1)) == record(2, KeyState.REVOKED)
    assert cache.find(RECORD.id) == record(2, KeyState.REVOKED)


def test_only_newer_versions_of_cached_and_loading_keys_are_read() -> None:
    cache, loading = filled(KeyCache(10), record(5)), KeyId("b" * 12)
    cache.begin_load([loading])
    assert [cache.announce(RECORD.id, version) for version in (4, 5, 6)] == [False, False, True]
    assert cache.announce(loading, 1)
    cache.change(record(4))
    assert cache.find(RECORD.id) == record(5)


def test_abandoned_load_leaves_nothing() -> None:
    cache = KeyCache(10)
    cache.begin_load([RECORD.id])
    cache.abandon_load([RECORD.id])
    assert not cache.announce(RECORD.id, 1)
    cache.change(record(1))
    assert cache.find(RECORD.id) is None
    assert not cache.absent(RECORD.id)


@pytest.mark.bound("key_cache_size")
def test_least_recently_used_record_is_evicted() -> None:
    cache = KeyCache(2)
    first, second, third = (KeyId(letter * 12) for letter in "abc")
    filled(filled(cache, record(1, key_id=first)), record(1, key_id=second))
    cache.find(first)
    filled(cache, record(1, key_id=third))
    kept = [cache.find(key_id) is not None for key_id in (first, second, third)]
    assert kept == [True, False, True]


@pytest.mark.bound("verification.cache:ABSENT_MAX")
def test_absent_ids_are_bounded_and_evict_no_record() -> None:
    cache = filled(KeyCache(10, absent_max=3), RECORD)
    ids = [KeyId(f"{number:012d}") for number in range(5)]
    for key_id in ids:
        cache.begin_load([key_id])
        cache.end_load(key_id, None)
    assert [cache.absent(key_id) for key_id in ids] == [False, False, True, True, True]
    assert cache.find(RECORD.id) == RECORD


@given(
    st.permutations(
        [record(1), record(2, KeyState.DISABLED), record(3), record(4, KeyState.REVOKED)]
    ),
    st.integers(0, 3),
)
def test_revoked_key_stays_revoked_in_any_order(records: list[KeyRecord], loaded: int) -> None:
    cache = filled(KeyCache(10), records[0])
    for position, changed in enumerate(records[1:]):
        if position == loaded:
            cache.begin_load([changed.id])
            cache.end_load(changed.id, changed)
        else:
            cache.change(changed)
    assert cache.find(RECORD.id) == record(4, KeyState.REVOKED)
