"""Guesses from an environment variable's name and value whether it holds a secret; keeps and shows neither."""

import math
import re
from collections import Counter

_NAME = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|PEPPER"
    r"|(API|ACCESS|PRIVATE|SIGNING|ENCRYPTION|SESSION)_?KEY)",
    re.IGNORECASE,
)
# A name that ends so holds a pointer to a secret, or a fact about one.
_POINTER = re.compile(
    r"(_ARN|_NAME|_ID|_PREFIX|_PATH|_FILE|_URL|_URI|_TABLE|_TTL|_S|_MS|_DAYS|_MAX|_MIN|_COUNT|_ENVIRONMENT|_ENABLED|_AUTH)$",
    re.IGNORECASE,
)
# AWS access key ids, private keys, GitHub and Slack tokens, JWTs, and URLs with a password in them.
_VALUE = re.compile(
    r"(AKIA|ASIA)[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{36}|xox[abp]-"
    r"|eyJ[\w-]{10,}\.eyJ|://[^/\s:@]+:[^/\s@]+@"
)
_RANDOM_CHARS_MIN = 32
_RANDOM_BITS_MIN = 4.0  # bits a character: random base64 has 4.5 and more at this length, words and names below 4


def looks_secret(name: str, value: str) -> bool:
    """True when the name says so, or the value has the form or the randomness of a key."""
    if _VALUE.search(value):
        return True
    if _NAME.search(name) and not _POINTER.search(name) and value and not value.startswith("arn:"):
        return True
    return _is_random(value)


def _is_random(value: str) -> bool:
    one_word = re.fullmatch(r"[A-Za-z0-9+/=_-]+", value) is not None
    mixed = re.search(r"[a-z]", value) and re.search(r"[A-Z]", value) and re.search(r"[0-9]", value)
    if len(value) < _RANDOM_CHARS_MIN or not one_word or not mixed:
        return False
    shares = (count / len(value) for count in Counter(value).values())
    return -sum(share * math.log2(share) for share in shares) >= _RANDOM_BITS_MIN
