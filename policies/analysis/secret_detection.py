"""Heuristic detection of secrets by the name and value of an environment variable. The value is neither stored nor reported."""

import math
import re
from collections import Counter

_NAME = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|PEPPER"
    r"|(API|ACCESS|PRIVATE|SIGNING|ENCRYPTION|SESSION)_?KEY)",
    re.IGNORECASE,
)
# Suffixes of names that refer to a secret or describe one.
_REFERENCE = re.compile(
    r"(_ARN|_NAME|_ID|_PREFIX|_PATH|_FILE|_URL|_URI|_TABLE|_BUCKET|_TTL|_S|_MS|_DAYS|_MAX|_MIN|_COUNT|_ENVIRONMENT|_ENABLED|_AUTH)$",
    re.IGNORECASE,
)
# AWS access key IDs, private keys, GitHub and Slack tokens, JWTs, and URLs with a password in them.
_VALUE = re.compile(
    r"(AKIA|ASIA)[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{36}|xox[abp]-"
    r"|eyJ[\w-]{10,}\.eyJ|://[^/\s:@]+:[^/\s@]+@"
)
_RANDOM_CHARS_MIN = 32
_ENTROPY_MIN = 4.0  # Bits per character. At this length, random base64 has at least 4.5; words and names have less than 4.


def looks_secret(name: str, value: str) -> bool:
    """True if the name indicates a secret, or the value has the format or entropy of one."""
    if _VALUE.search(value):
        return True
    if name_indicates_secret(name) and value and not value.startswith("arn:"):
        return True
    return _has_high_entropy(value)


def name_indicates_secret(name: str) -> bool:
    """True if the name indicates a secret, and neither a reference to a secret nor a description of one."""
    return _NAME.search(name) is not None and _REFERENCE.search(name) is None


def _has_high_entropy(value: str) -> bool:
    single_token = re.fullmatch(r"[A-Za-z0-9+/=_-]+", value) is not None
    mixed = re.search(r"[a-z]", value) and re.search(r"[A-Z]", value) and re.search(r"[0-9]", value)
    if len(value) < _RANDOM_CHARS_MIN or not single_token or not mixed:
        return False
    frequencies = (count / len(value) for count in Counter(value).values())
    return -sum(frequency * math.log2(frequency) for frequency in frequencies) >= _ENTROPY_MIN
