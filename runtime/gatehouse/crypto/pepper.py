"""Reads the pepper and the session key, which have generations, from their settings."""

from __future__ import annotations

import base64
import binascii

import msgspec
from pydantic import SecretStr

from gatehouse.crypto.token import Pepper
from gatehouse.errors import SettingsError
from gatehouse.settings import PREFIX


class _PepperDocument(msgspec.Struct, forbid_unknown_fields=True):
    current: int
    generations: dict[str, str]


def pepper(secret: SecretStr | None, name: str) -> Pepper:
    """Parses {"current": 2, "generations": {"1": "<base64>", "2": "<base64>"}}.

    Raises SettingsError, which never quotes the value.
    """
    variable = PREFIX + name
    if secret is None:
        raise SettingsError(f"{variable} is required by this service")
    try:
        document = msgspec.json.decode(secret.get_secret_value(), type=_PepperDocument)
        generations = {int(number): base64.b64decode(value, validate=True) for number, value in document.generations.items()}
    except (msgspec.DecodeError, binascii.Error, ValueError):
        shape = '{"current": 1, "generations": {"1": "<base64 of 32 bytes>"}}'
        raise SettingsError(f"{variable} must have the form {shape}") from None
    try:
        return Pepper(generations, document.current)
    except ValueError as exc:
        raise SettingsError(f"{variable}: {exc}") from None
