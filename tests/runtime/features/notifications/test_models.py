"""Webhook signatures, compared with the vector of the Standard Webhooks libraries."""

from __future__ import annotations

import pytest
from gatehouse.core.token import Pepper
from gatehouse.core.webhook_signatures import (
    is_signed_webhook,
    parse_webhook_secret,
    webhook_secret,
    webhook_secret_text,
    webhook_signature,
)

#: github.com/standard-webhooks/standard-webhooks, the signing test of its libraries.
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {
    "webhook-id": MESSAGE_ID,
    "webhook-timestamp": str(TIMESTAMP),
    "webhook-signature": SIGNATURE,
}


@pytest.mark.requirement("TR-08")
def test_signature_matches_the_reference_vector() -> None:
    secret = parse_webhook_secret(SECRET)
    assert webhook_signature(secret, MESSAGE_ID, TIMESTAMP, BODY) == SIGNATURE
    assert webhook_secret_text(secret) == SECRET


@pytest.mark.requirement("CG-14")
def test_reference_signature_is_accepted_among_several() -> None:
    headers = {**HEADERS, "webhook-signature": f"v1,aGk= {SIGNATURE} v2,x"}
    assert is_signed_webhook(parse_webhook_secret(SECRET), headers, BODY, now=TIMESTAMP)


@pytest.mark.parametrize(
    ("change", "body", "delay_s"),
    [
        ({"webhook-id": "msg_other"}, BODY, 0),
        ({"webhook-timestamp": "1614265331"}, BODY, 0),
        ({"webhook-timestamp": "x"}, BODY, 0),
        ({"webhook-timestamp": "-1614265330"}, BODY, 0),
        ({"webhook-signature": ""}, BODY, 0),
        ({"webhook-signature": "ü"}, BODY, 0),
        ({}, b"{}", 0),
        ({}, BODY, 301),
        ({}, BODY, -301),
    ],
)
def test_changed_or_old_message_is_rejected(
    change: dict[str, str], body: bytes, delay_s: int
) -> None:
    headers = {**HEADERS, **change}
    assert not is_signed_webhook(
        parse_webhook_secret(SECRET), headers, body, now=TIMESTAMP + delay_s
    )


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_aGk=", "whsec_?", "sigkey_" + "A" * 32])
def test_invalid_secret_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_webhook_secret(text)


def test_webhook_secret_is_unique_and_of_valid_length() -> None:
    pepper = Pepper({1: b"p" * 32, 2: b"q" * 32}, 2)
    secrets = {
        webhook_secret(pepper, "a" * 12, 1),
        webhook_secret(pepper, "b" * 12, 1),
        webhook_secret(pepper, "a" * 12, 2),
    }
    assert [len(secret) for secret in secrets if secret] == [32, 32, 32]
    assert webhook_secret(pepper, "a" * 12, 3) is None
