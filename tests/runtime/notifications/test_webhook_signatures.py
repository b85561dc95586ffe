"""Webhook signatures, compared with the vector of the Standard Webhooks libraries."""

from __future__ import annotations

import pytest
from gatehouse.crypto.token import Pepper
from gatehouse.notifications.webhook_signatures import is_signed, secret_bytes, secret_of, secret_text, sign

#: github.com/standard-webhooks/standard-webhooks, the signing test of its libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.requirement("TR-08")
def test_signature_matches_the_reference_vector() -> None:
    secret = secret_bytes(SECRET)
    assert sign(secret, MESSAGE_ID, TIMESTAMP, BODY) == SIGNATURE
    assert secret_text(secret) == SECRET


@pytest.mark.requirement("CG-14")
def test_reference_signature_is_accepted_among_several() -> None:
    signatures = f"v1,aGk= {SIGNATURE} v2,x"
    assert is_signed(secret_bytes(SECRET), MESSAGE_ID, str(TIMESTAMP), signatures, BODY, now=TIMESTAMP)


@pytest.mark.parametrize(
    ("change", "delay_s"),
    [
        ({"message_id": "msg_other"}, 0),
        ({"timestamp": "1614265331"}, 0),
        ({"timestamp": "x"}, 0),
        ({"timestamp": "-1614265330"}, 0),
        ({"signatures": ""}, 0),
        ({"signatures": "ü"}, 0),
        ({"body": b"{}"}, 0),
        ({}, 301),
        ({}, -301),
    ],
)
def test_changed_or_old_message_is_rejected(change: dict[str, str], delay_s: int) -> None:
    parts = {"message_id": MESSAGE_ID, "timestamp": str(TIMESTAMP), "signatures": SIGNATURE, "body": BODY, **change}
    assert not is_signed(secret_bytes(SECRET), **parts, now=TIMESTAMP + delay_s)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_aGk=", "whsec_?", "sigkey_" + "A" * 32])
def test_invalid_secret_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        secret_bytes(text)


def test_webhook_secret_is_unique_and_of_valid_length() -> None:
    pepper = Pepper({1: b"p" * 32, 2: b"q" * 32}, 2)
    secrets = {secret_of(pepper, "a" * 12, 1), secret_of(pepper, "b" * 12, 1), secret_of(pepper, "a" * 12, 2)}
    assert [len(secret) for secret in secrets if secret] == [32, 32, 32]
    assert secret_of(pepper, "a" * 12, 3) is None
