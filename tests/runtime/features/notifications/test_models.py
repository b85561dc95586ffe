"""Events of webhooks."""

from gatehouse.features.notifications.models import EVENTS, NotificationEvent


def test_each_event_has_an_audit_action_that_causes_it() -> None:
    missing = {*NotificationEvent} - {*EVENTS.values()}
    assert missing == set(), "add the actions to EVENTS in features/notifications/models.py"
