"""The key state of a worker with two sources: the change feed and announcements."""

from typing import Any

import msgspec
import pytest
from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.keys import KeyId, KeyRecord, KeyState
from gatehouse.features.keys.changes_in_valkey import Announcement
from gatehouse.features.verification.cache import KeyCache
from gatehouse.features.verification.change_feed import Freshness, apply_announcement
from gatehouse.features.verification.repository import KeyLoader
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.runtime.clocks import ManualClock
from tests.runtime.key_records import RECORD

BOUND_MS, OUTAGE_MS = 3000, 900_000
AGES = st.integers(0, 2 * OUTAGE_MS)


def freshness(feed_ms: int, announcements_ms: int, outage_ms: int = OUTAGE_MS) -> Freshness:
    ages = lambda: feed_ms, lambda: announcements_ms
    return Freshness(ManualClock(1000.0), BOUND_MS, outage_ms, OUTAGE_MS, *ages)


@given(feed_ms=AGES, announcements_ms=AGES)
def test_keys_are_denied_unless_a_source_is_fresh(feed_ms: int, announcements_ms: int) -> None:
    serves = freshness(feed_ms, announcements_ms).staleness_ms() <= BOUND_MS
    is_announced = feed_ms <= OUTAGE_MS and announcements_ms <= BOUND_MS
    assert serves is (feed_ms <= BOUND_MS or is_announced)
    present_rule = freshness(feed_ms, announcements_ms, outage_ms=0)
    assert present_rule.staleness_ms() == feed_ms


@pytest.mark.parametrize(
    ("feed_ms", "expected"),
    [(0, 1000.0), (BOUND_MS, 1000.0), (63_000, 940.0), (OUTAGE_MS, 103.0), (10**9, 103.0)],
)
def test_leases_do_not_end_while_the_registry_is_away(feed_ms: int, expected: float) -> None:
    assert freshness(feed_ms, 10**9).lease_time() == expected


def loader() -> KeyLoader:
    unused: Any = None
    return KeyLoader(unused, KeyCache(10), lambda: 0)


def row(version: int, state: KeyState = KeyState.ACTIVE) -> KeyRecord:
    return msgspec.structs.replace(RECORD, version=version, state=state)


PENDING = Announcement(
    1.0,
    revocation=Actor("person", "ada").event(
        AuditAction.KEY_REVOKE, target_id=RECORD.id, at=1.0, details={"reason": ""}
    ),
)


class TwoSources(RuleBasedStateMachine):
    """Any order of reads of the database, changes in the feed, announcements and repeated
    announcements. The key is revoked in the database, or by an announcement, or by both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys = loader()
        self.cache = self.keys.cache
        self.stored = row(1)  # what the database contains
        self.read: KeyRecord | None = None  # what a query in progress has read
        self.sent: list[Announcement] = []
        self.is_shown = False  # a source has shown the revocation

    def show(self, announcement: Announcement) -> None:
        apply_announcement(announcement, self.keys, lambda: (), lambda *_: None)
        record = announcement.record
        self.is_shown |= announcement is PENDING or (
            record is not None
            and record.state is KeyState.REVOKED
            and self.cache.find(RECORD.id) is not None
        )

    @rule()
    def begin_query(self) -> None:
        self.cache.begin_load([RECORD.id])
        self.read = self.stored

    @rule()
    def end_query(self) -> None:
        if self.read is not None and self.cache.is_loading([RECORD.id]):
            self.cache.end_load(RECORD.id, self.read)
        self.read = None

    @rule()
    def change(self) -> None:
        self.stored = row(self.stored.version + 1, self.stored.state)

    @rule()
    def revoke(self) -> None:
        self.stored = row(self.stored.version + 1, KeyState.REVOKED)

    @rule()
    def read_feed(self) -> None:
        if self.cache.announce(RECORD.id, self.stored.version):
            self.cache.change(self.stored)
            self.is_shown |= self.stored.state is KeyState.REVOKED

    @rule()
    def replace_database(self) -> None:
        """The connection was replaced, as after a failover."""
        revoked = self.cache.revoked
        self.cache.clear()
        self.read = None
        for _ in revoked:
            self.cache.change(self.stored)

    @rule()
    def announce_row(self) -> None:
        self.sent.append(Announcement(1.0, record=self.stored))
        self.show(self.sent[-1])

    @rule()
    def announce_revocation(self) -> None:
        self.sent.append(PENDING)
        self.show(PENDING)

    @rule(index=st.integers(0, 99))
    def repeat_announcement(self, index: int) -> None:
        if self.sent:
            self.show(self.sent[index % len(self.sent)])

    @invariant()
    def revoked_key_is_not_served(self) -> None:
        record = self.cache.find(RECORD.id)
        if self.is_shown and record is not None:
            assert record.state is KeyState.REVOKED


TestTwoSources = TwoSources.TestCase


def test_announced_revocation_outlives_a_new_connection() -> None:
    cache = (keys := loader()).cache
    cache.begin_load([RECORD.id])
    cache.end_load(RECORD.id, row(1))
    changed: list[tuple[KeyId, KeyRecord | None]] = []
    apply_announcement(PENDING, keys, lambda: (), lambda *change: changed.append(change))
    assert changed == [(RECORD.id, None)]
    cache.clear()
    cache.begin_load([RECORD.id])
    loaded = cache.end_load(RECORD.id, row(2))
    assert loaded is not None
    assert loaded.state is KeyState.REVOKED
    assert cache.revoked == [RECORD.id]
    assert cache.announce(RECORD.id, 3)
    cache.change(row(3, KeyState.REVOKED))
    assert cache.revoked == []
