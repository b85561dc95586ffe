"""Validators of settings whose form is not expressed by their type.

Each raises ValueError with a message that follows the variable name.
"""

from __future__ import annotations

import ipaddress
import re

from gatehouse.keys.models import RateLimit
from gatehouse.operations.features import switched

_KEY_PREFIX = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")

#: Prefixes of tokens of GitHub, Stripe and Slack, which their secret scanners look for.
_RESERVED_PREFIXES = ("ghp", "gho", "ghu", "ghs", "ghr", "sk", "pk", "rk", "xox")


def key_prefix(value: str) -> str:
    if not _KEY_PREFIX.fullmatch(value) or len(value) > 16:
        raise ValueError("must be 1 to 16 lower-case letters, digits and single underscores, such as gtk or acme_sk")
    if value.split("_")[0] in _RESERVED_PREFIXES or value.startswith("xox"):
        raise ValueError("is reserved: the leak scanners of another issuer would report the tokens; choose another prefix")
    return value


def issuer(value: str) -> str:
    if value and not re.fullmatch(r"https://[^/\s]+\S*|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/\S*)?", value):
        raise ValueError("must be an https:// URL (http:// for localhost only)")
    return value


def oidc_roles(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = tuple((name.strip(), role.strip()) for name, _, role in (part.rpartition("=") for part in value.split(",")))
    if any(not name or role not in {"owner", "operator", "issuer", "auditor", "service"} for name, role in pairs):
        raise ValueError("must be comma-separated value=role, such as platform=owner,on-call=operator")
    return pairs


def features(value: object) -> object:
    return switched(value) if isinstance(value, str) else value


def checkpoint_archive(value: str) -> str:
    if value and not re.fullmatch(r"s3://[a-z0-9.-]{3,63}(/[A-Za-z0-9/._-]*)?|file:/.+", value):
        raise ValueError("must be s3://bucket/prefix/ or file:/path")
    return value


def legacy_files(value: object) -> object:
    if not isinstance(value, str):
        return value
    places = tuple(part.strip() for part in value.split(",") if part.strip())
    if any(not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+\.json|file:/.+\.json", place) for place in places):
        raise ValueError("must be comma-separated s3://bucket/key.json or file:/path.json")
    return tuple(place.removeprefix("file:") for place in places)


def networks(value: object) -> object:
    if isinstance(value, str):
        try:
            return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            # The message of the library quotes the value.
            raise ValueError("must be comma-separated networks such as 10.0.0.0/8 or fd00::/8, with host bits zero") from None
    return value


def limit(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d{1,9})/(\d{1,7})", value)
    if match is None or "0" in match.groups():
        raise ValueError('must be requests/seconds, such as "600/60"')
    quota, window_s = int(match[1]), int(match[2])
    return RateLimit(name="requests", quota=quota, window_s=window_s, burst=quota)
