"""Entries that wait for an event which another process can fail to send."""

from gatehouse.platform.pending import Pending


def test_entry_without_a_sign_of_life_is_removed() -> None:
    now, expired = [0.0], list[str]()
    pending = Pending[str, str](10.0, expired.append, lambda: now[0])
    for key in ("a", "b", "c", "d"):
        pending.add(key, key.upper())
        now[0] += 1.0
    assert (pending.pop("b"), pending.pop("b"), len(pending)) == ("B", None, 3)
    pending.renew("a")
    pending.renew("unknown")
    now[0] = 11.9
    pending.expire()
    assert (expired, list(pending)) == ([], ["C", "D", "A"])
    now[0] = 13.0
    pending.expire()
    assert (expired, list(pending)) == (["C", "D"], ["A"])
    now[0] = 14.0
    pending.expire()
    assert (expired, pending.get("a")) == (["C", "D", "A"], None)


def test_entry_can_be_added_again_while_it_is_removed() -> None:
    now, pending = (
        [0.0],
        Pending[int, int](1.0, lambda value: pending.add(value, value), lambda: now[0]),
    )
    pending.add(1, 1)
    now[0] = 2.0
    pending.expire()
    assert list(pending) == [1]
