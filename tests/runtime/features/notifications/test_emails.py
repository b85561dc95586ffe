"""Texts of e-mails."""

from typing import Any

import pytest
from gatehouse.features.notifications.emails import Holder, email
from gatehouse.features.notifications.models import NotificationEvent

KEY = "3fGh82kLmQ0a"
NEW = "8dKs02mXwP4t"
FIRST = f"It was replaced by the key {NEW} at 2026-11-29T10:00:00Z. It stops working at"


@pytest.mark.parametrize(
    ("event", "details", "successor", "subject", "lines"),
    [
        (
            "key.rotated",
            {"successor_id": NEW, "grace_ends_at": 1_796_000_000.0, "reason": "yearly"},
            NEW,
            "was rotated",
            [f"{FIRST} 2026-11-30T00:53:20Z.", "use the token of the new key", "Reason: yearly"],
        ),
        ("key.revoked", {"reason": ""}, None, "was revoked", ["ask for a new key"]),
        (
            "key.expires_soon",
            {"expires_at": 1_796_000_000.0},
            None,
            "expires soon",
            ["It stops working at 2026-11-30T00:53:20Z.", "ask for a rotation"],
        ),
        (
            "key.expires_soon",
            {"expires_at": 1_796_000_000.0},
            NEW,
            "expires soon",
            [f"replaced by the key {NEW}, but was used afterwards"],
        ),
    ],
)
def test_email_names_the_key_the_time_and_the_next_step(
    event: str, details: dict[str, Any], successor: str | None, subject: str, lines: list[str]
) -> None:
    data = {"key_id": KEY, "details": details}
    holder = Holder("invoices", "holder@example.org", successor)
    message = email(NotificationEvent(event), "2026-11-29T10:00:00Z", data, holder)
    assert message.subject == f"Gatehouse: API key {KEY} {subject}"
    assert message.text.startswith(f"API key {KEY} {subject}: invoices\n\n")
    for line in lines:
        assert line in message.text
    assert ("Reason" in message.text) == bool(details.get("reason"))
