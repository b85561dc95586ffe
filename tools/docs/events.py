""".gatehouse/docs/events.md: actions of the audit trail and notification events."""

from __future__ import annotations

from gatehouse.core.audit_events import AuditAction
from gatehouse.features.notifications.models import EVENTS, NotificationEvent

from tools.docs import markdown
from tools.docs.markdown import prose, table


def page() -> str:
    """One table of the actions and one of the events, with the actions that send them."""
    return markdown.page(
        "events",
        actions=table(
            ("action", "description", "target"),
            (
                (f"`{action}`", prose(action.description), f"`{action.target_type}`")
                for action in AuditAction
            ),
        ),
        events=table(
            ("event", "description", "audit actions"),
            (
                (f"`{event}`", prose(event.description), _actions(event))
                for event in NotificationEvent
            ),
        ),
    )


def _actions(event: NotificationEvent) -> str:
    return ", ".join(f"`{action}`" for action, sent in EVENTS.items() if sent is event)
