"""The rotation function of Secrets Manager: makes the first and every later value of the pepper, session key and bootstrap token.

Secrets Manager calls it four times a rotation, and again after a failure, so every step may be repeated:
createSecret (make the value, once per version), setSecret (nothing: no other system keeps it), testSecret (read it back and
check its form), finishSecret (move AWSCURRENT). The kind is the last part of the secret's name, `gatehouse/<environment>/<kind>`.
A value never enters a log line or an error.

Source: docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import secrets
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import boto3
from botocore.exceptions import ClientError

CURRENT, PENDING = "AWSCURRENT", "AWSPENDING"
#: Generations that a value holds at the most; then the oldest goes. Of the pepper these are eight years at a rotation every 30
#: days, for a key that nobody uses stays under the generation of its last use, and is lost with it; a person takes away what
#: `gatehouse pepper status` shows as unused (decision 16). What the session key protects ends within days.
KEPT = {"pepper": 100, "session-key": 3}
GENERATION_BYTES = 32
#: As in runtime/gatehouse/crypto/token.py; this file is deployed alone, and a test holds both to the same values.
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN_SECRET_CHARS = 43
CHECKSUM_CHARS = 6

_PREFIX = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")

log = logging.getLogger("gatehouse.rotate")
log.setLevel(logging.INFO)


class RotationRefused(Exception):
    """This call cannot be part of a rotation. The text holds names and version ids, never a value."""


def handler(event: dict[str, Any], context: object) -> None:
    """One step of a rotation. Raises RotationRefused, or botocore's ClientError when Secrets Manager refuses."""
    step, secret, token = (_text(event, name) for name in ("Step", "SecretId", "ClientRequestToken"))
    if step not in _STEPS:
        raise RotationRefused(f"there is no step {step}; there are {', '.join(_STEPS)}")
    client = boto3.client("secretsmanager")
    described = client.describe_secret(SecretId=secret)
    name = str(described["Name"])
    kind = name.rpartition("/")[2]
    if kind not in _KINDS:
        raise RotationRefused(f"{name} is of no kind that this function makes: its name must end in {', '.join(_KINDS)}")
    stages: dict[str, list[str]] = described.get("VersionIdsToStages", {})
    if step != "createSecret" or stages:
        _check_version(name, token, stages)
    _STEPS[step](client, secret, token, kind, stages)
    log.info(json.dumps({"event": "done", "secret": name, "version": token, "step": step}))


def first_value(kind: str) -> str:
    """A first value of a kind: what createSecret makes when there is nothing to build on."""
    return _KINDS[kind](None)


def _check_version(name: str, token: str, stages: dict[str, list[str]]) -> None:
    if token not in stages:
        raise RotationRefused(f"{name} has no version {token}: start the rotation with RotateSecret")
    if CURRENT not in stages[token] and PENDING not in stages[token]:
        raise RotationRefused(f"version {token} of {name} is not {PENDING}: start the rotation with RotateSecret")


def _create(client: Any, secret: str, token: str, kind: str, stages: dict[str, list[str]]) -> None:
    if _value(client, secret, VersionId=token) is not None:
        return  # made by an earlier try; a second value would break whoever read the first
    current = _value(client, secret, VersionStage=CURRENT)
    client.put_secret_value(
        SecretId=secret, ClientRequestToken=token, SecretString=_KINDS[kind](current), VersionStages=[PENDING]
    )


def _set(client: Any, secret: str, token: str, kind: str, stages: dict[str, list[str]]) -> None:
    """No other system keeps these values."""


def _test(client: Any, secret: str, token: str, kind: str, stages: dict[str, list[str]]) -> None:
    pending = _value(client, secret, VersionId=token)
    if pending is None:
        raise RotationRefused(f"version {token} has no value: createSecret did not succeed")
    if kind == "bootstrap-token":
        if not _is_token(pending):
            raise RotationRefused(f"version {token} is no bootstrap token")
    elif not _generations(pending):
        raise RotationRefused(f"version {token} is no list of generations")


def _finish(client: Any, secret: str, token: str, kind: str, stages: dict[str, list[str]]) -> None:
    # The first version of a secret is AWSCURRENT from its creation on, whatever labels it was given (PutSecretValue).
    if CURRENT not in stages[token]:
        holders = [version for version, names in stages.items() if CURRENT in names]
        move = {"SecretId": secret, "VersionStage": CURRENT, "MoveToVersionId": token}
        client.update_secret_version_stage(**move, **({"RemoveFromVersionId": holders[0]} if holders else {}))
    if PENDING in stages[token]:
        client.update_secret_version_stage(SecretId=secret, VersionStage=PENDING, RemoveFromVersionId=token)


def _value(client: Any, secret: str, **wanted: str) -> str | None:
    """The value of a version or at a stage, None when there is none yet."""
    try:
        return str(client.get_secret_value(SecretId=secret, **wanted)["SecretString"])
    except ClientError as exc:
        if exc.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            return None
        raise


def _next_generation(current: str | None, kept: int) -> str:
    """{"current": n, "generations": {"n": base64 of 32 bytes, ...}} with one generation more and the oldest ones gone."""
    held = _generations(current) if current is not None else {}
    if current is not None and not held:
        raise RotationRefused("the present value is no list of generations; mend it first, or what it protects is lost")
    number = max(held, default=0) + 1
    held[number] = base64.b64encode(secrets.token_bytes(GENERATION_BYTES)).decode("ascii")
    left = {str(one): held[one] for one in sorted(held)[-kept:]}
    return json.dumps({"current": number, "generations": left}, separators=(",", ":"))


def _generations(text: str) -> dict[int, str]:
    """The generations in a value; empty when it is not one."""
    try:
        document = json.loads(text)
        held = {int(number): str(value) for number, value in document["generations"].items()}
        sizes = {len(base64.b64decode(value, validate=True)) for value in held.values()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    whole = document.get("current") in held and min(sizes) >= GENERATION_BYTES
    return held if whole else {}


def _new_token(current: str | None) -> str:
    """`<prefix>_admin_<43 base62><crc>`: always a new one, whatever was there."""
    prefix = os.environ.get("GATEHOUSE_KEY_PREFIX", "")
    if not _PREFIX.fullmatch(prefix):
        raise RotationRefused("GATEHOUSE_KEY_PREFIX of this function must be the brand of the keys, such as gtk")
    body = "".join(secrets.choice(ALPHABET) for _ in range(TOKEN_SECRET_CHARS))
    head = f"{prefix}_admin_{body}"
    return head + _checksum(head)


def _is_token(text: str) -> bool:
    head, check = text[:-CHECKSUM_CHARS], text[-CHECKSUM_CHARS:]
    body = head.rpartition("_admin_")[2]
    return text.isascii() and len(body) == TOKEN_SECRET_CHARS and check == _checksum(head)


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode("ascii")), ""
    while number:
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits.rjust(CHECKSUM_CHARS, "0")


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise RotationRefused(f"the event lacks {name}: this function is for Secrets Manager's rotation")
    return value


Step = Callable[[Any, str, str, str, dict[str, list[str]]], None]
_STEPS: dict[str, Step] = {"createSecret": _create, "setSecret": _set, "testSecret": _test, "finishSecret": _finish}
_KINDS: dict[str, Callable[[str | None], str]] = {
    **{kind: partial(_next_generation, kept=kept) for kind, kept in KEPT.items()},
    "bootstrap-token": _new_token,
}
