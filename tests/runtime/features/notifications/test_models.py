"""Webhook signatures (vector of Standard Webhooks), and the events of webhooks."""

import base64

from gatehouse.core.tokens.token import Pepper
from gatehouse.features.notifications.models import (
    EVENTS,
    NotificationEvent,
    webhook_secret,
    webhook_secret_text,
    webhook_signature,
)

#: github.com/standard-webhooks/standard-webhooks, the signing test of its libraries.
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_signature_matches_the_reference_vector() -> None:
    secret = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert webhook_signature(secret, MESSAGE_ID, TIMESTAMP, BODY) == SIGNATURE
    assert webhook_secret_text(secret) == SECRET


def test_webhook_secret_is_unique_and_of_valid_length() -> None:
    pepper = Pepper({1: b"p" * 32, 2: b"q" * 32}, 2)
    secrets = {
        webhook_secret(pepper, "a" * 12, 1),
        webhook_secret(pepper, "b" * 12, 1),
        webhook_secret(pepper, "a" * 12, 2),
    }
    assert [len(secret) for secret in secrets if secret] == [32, 32, 32]
    assert webhook_secret(pepper, "a" * 12, 3) is None


def test_each_event_has_an_audit_action_that_causes_it() -> None:
    missing = {*NotificationEvent} - {*EVENTS.values()}
    assert missing == set(), "add the actions to EVENTS in features/notifications/models.py"
