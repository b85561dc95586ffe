"""Rotation function for Secrets Manager. Generates every value of the pepper, session key,
bootstrap token and canary key.

Secrets Manager invokes the function once per step and retries after errors, so every step is
idempotent. The steps are createSecret (generate a value, once per version), setSecret (no
operation), testSecret (check the format of the value) and finishSecret (move AWSCURRENT). The kind
of a secret is the last part of the secret's name, `gatehouse/<environment>/<kind>`. Logs and errors
never contain a secret value.

Source: docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
"""

import base64
import hashlib
import hmac
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
#: Maximum number of generations in a value, beyond which a rotation removes the oldest, and the API
#: keys whose last use was before the next one become invalid. With a rotation every 30 days, 100
#: generations cover eight years. Operators remove unused ones (record 7).
GENERATIONS_MAX = {"pepper": 100, "session-key": 3}
GENERATION_BYTES = 32
CANARY_KEY = "canary-key"
#: Copies of constants in core/tokens/token.py, because this file is deployed alone. A test compares
#: them.
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
STEM_CHARS, MARK_CHARS = 8, 4
TOKEN_SECRET_CHARS = 43
CHECKSUM_CHARS = 6

_PREFIX = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")

log = logging.getLogger("gatehouse.rotate")
log.setLevel(logging.INFO)


class RotationError(Exception):
    """The rotation step cannot be performed. The message contains names and version IDs, never a
    secret value.
    """


def handler(event: dict[str, Any], context: object) -> None:
    """Perform one step of a rotation. Raises RotationError, or botocore's ClientError if Secrets
    Manager rejects a call.
    """
    step, secret, token = (
        _text(event, name) for name in ("Step", "SecretId", "ClientRequestToken")
    )
    if step not in _STEPS:
        raise RotationError(f"{step} is not a rotation step; allowed: {', '.join(_STEPS)}")
    client = boto3.client("secretsmanager")
    described = client.describe_secret(SecretId=secret)
    name = str(described["Name"])
    kind = name.rpartition("/")[2]
    if kind not in (*KINDS, CANARY_KEY):
        kinds = ", ".join((*KINDS, CANARY_KEY))
        raise RotationError(f"this function does not rotate {name}: the name must end in {kinds}")
    stages: dict[str, list[str]] = described.get("VersionIdsToStages", {})
    if step != "createSecret" or stages:
        _check_version(name, token, stages)
    _STEPS[step](client, secret, token, kind, stages)
    log.info(
        json.dumps(
            {"event": "rotation_step_completed", "secret": name, "version": token, "step": step}
        )
    )


def _check_version(name: str, token: str, stages: dict[str, list[str]]) -> None:
    if token not in stages:
        raise RotationError(f"{name} has no version {token}: start the rotation with RotateSecret")
    if CURRENT not in stages[token] and PENDING not in stages[token]:
        raise RotationError(
            f"version {token} of {name} is not {PENDING}: start the rotation with RotateSecret"
        )


def _create(client: Any, secret: str, token: str, kind: str, stages: dict[str, list[str]]) -> None:
    if _value(client, secret, VersionId=token) is not None:
        return  # This is a retry. Consumers may already have read the value.
    current = _value(client, secret, VersionStage=CURRENT)
    restored = os.environ.get("RESTORED_PEPPER", "") if kind == "pepper" and current is None else ""
    if restored:
        value = _restored_pepper(client, restored)
    elif kind == CANARY_KEY:
        pepper = secret.rpartition(kind)[0].rpartition(":")[2] + "pepper"
        value = _next_tokens(current, _value(client, pepper, VersionStage=CURRENT))
    else:
        value = KINDS[kind](current)
    client.put_secret_value(
        SecretId=secret, ClientRequestToken=token, SecretString=value, VersionStages=[PENDING]
    )


def _test(client: Any, secret: str, token: str, kind: str, stages: dict[str, list[str]]) -> None:
    pending = _value(client, secret, VersionId=token)
    if pending is None:
        raise RotationError(f"version {token} has no value: createSecret did not succeed")
    if kind == "bootstrap-token":
        if not _is_token(pending):
            raise RotationError(f"version {token} is not a bootstrap token")
    elif kind == CANARY_KEY:
        if not all(map(_has_checksum, pending.split(" "))):
            raise RotationError(f"version {token} is not a canary key")
    elif not _generations(pending):
        raise RotationError(f"version {token} is not a list of generations")


def _finish(client: Any, secret: str, token: str, kind: str, stages: dict[str, list[str]]) -> None:
    # Secrets Manager labels the first version of a secret AWSCURRENT when it is created
    # (PutSecretValue).
    if CURRENT not in stages[token]:
        holders = [version for version, names in stages.items() if CURRENT in names]
        move = {"SecretId": secret, "VersionStage": CURRENT, "MoveToVersionId": token}
        client.update_secret_version_stage(
            **move, **({"RemoveFromVersionId": holders[0]} if holders else {})
        )
    if PENDING in stages[token]:
        client.update_secret_version_stage(
            SecretId=secret, VersionStage=PENDING, RemoveFromVersionId=token
        )


def _value(client: Any, secret: str, **version: str) -> str | None:
    """Return the secret value for a `VersionId` or `VersionStage`, or None if the version does not
    exist.
    """
    try:
        return str(client.get_secret_value(SecretId=secret, **version)["SecretString"])
    except ClientError as exc:
        if exc.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            return None
        raise


def _next_generation(current: str | None, generations_max: int) -> str:
    """Return `current` with a new generation. The oldest generations are removed if the maximum is
    exceeded.

    The value is {"current": n, "generations": {"n": base64 of 32 bytes, ...}}.
    """
    generations = _generations(current) if current is not None else {}
    if current is not None and not generations:
        raise RotationError(
            "the current value is not a list of generations; repair it, a new value would "
            "invalidate its keys"
        )
    number = max(generations, default=0) + 1
    generations[number] = base64.b64encode(secrets.token_bytes(GENERATION_BYTES)).decode("ascii")
    newest = {
        str(generation): generations[generation]
        for generation in sorted(generations)[-generations_max:]
    }
    return json.dumps({"current": number, "generations": newest}, separators=(",", ":"))


def _restored_pepper(client: Any, source: str) -> str:
    """Return the pepper of another stack, whose secret `source` is replicated to this region.
    Without it, the API keys in the restored database cannot be verified, so a new pepper is no
    substitute."""
    value = _value(client, source, VersionStage=CURRENT)
    if value is None:
        raise RotationError(
            f"{source} has no value in this region: the pepper of recovery.restore.stack was "
            f"not replicated"
        )
    if not _generations(value):
        raise RotationError(f"{source} is not a list of generations")
    return value


def _generations(text: str) -> dict[int, str]:
    """Return the generations in a value, or an empty dictionary if the value is malformed."""
    try:
        document = json.loads(text)
        generations = {int(number): str(value) for number, value in document["generations"].items()}
        sizes = {len(base64.b64decode(value, validate=True)) for value in generations.values()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    is_valid = document.get("current") in generations and min(sizes) >= GENERATION_BYTES
    return generations if is_valid else {}


def _new_token(current: str | None) -> str:
    """Return a random token, `<prefix>_admin_<43 base62><crc>`. `current` is ignored."""
    head = f"{_prefix()}_admin_{_random(TOKEN_SECRET_CHARS)}"
    return head + _checksum(head)


def _prefix() -> str:
    prefix = os.environ.get("GATEHOUSE_KEY_PREFIX", "")
    if not _PREFIX.fullmatch(prefix):
        raise RotationError("GATEHOUSE_KEY_PREFIX must be the prefix of API keys, such as gtk")
    return prefix


def _next_tokens(current: str | None, pepper: str | None) -> str:
    """Return the latest token in `current` and a new one, separated by a space. The ID of the new
    token is marked under the current generation of the pepper.
    """
    generations = _generations(pepper or "")
    if not generations:
        raise RotationError("the pepper has no value yet, under which the canary key is marked")
    document = json.loads(pepper or "")
    prefix, environment = _prefix(), os.environ["GATEHOUSE_KEY_ENVIRONMENT"]
    stem = _random(STEM_CHARS)
    secret = base64.b64decode(generations[document["current"]])
    digest = hmac.digest(secret, f"key-id:{stem}".encode("ascii"), hashlib.sha256)
    mark = _base62(int.from_bytes(digest[:16], "big") % len(ALPHABET) ** MARK_CHARS, MARK_CHARS)
    head = f"{prefix}_{environment}_{stem}{mark}{_random(TOKEN_SECRET_CHARS)}"
    return " ".join([*(current or "").split()[-1:], head + _checksum(head)])


def _is_token(text: str) -> bool:
    body = text[:-CHECKSUM_CHARS].rpartition("_admin_")[2]
    return len(body) == TOKEN_SECRET_CHARS and _has_checksum(text)


def _has_checksum(text: str) -> bool:
    return text.isascii() and text[-CHECKSUM_CHARS:] == _checksum(text[:-CHECKSUM_CHARS])


def _random(chars: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(chars))


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode("ascii")), CHECKSUM_CHARS)


def _base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits.rjust(width, "0")


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise RotationError(
            f"the event has no {name}: only Secrets Manager rotation can invoke this function"
        )
    return value


Step = Callable[[Any, str, str, str, dict[str, list[str]]], None]
_STEPS: dict[str, Step] = {
    "createSecret": _create,
    "setSecret": lambda *_: None,  # no other system stores these values
    "testSecret": _test,
    "finishSecret": _finish,
}
#: Functions by kind of secret. Each function creates the next value from the current value, or the
#: first value from None.
KINDS: dict[str, Callable[[str | None], str]] = {
    **{
        kind: partial(_next_generation, generations_max=count)
        for kind, count in GENERATIONS_MAX.items()
    },
    "bootstrap-token": _new_token,
}
