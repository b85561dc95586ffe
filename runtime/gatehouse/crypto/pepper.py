"""Reads the secrets that have generations, as the rotation function writes them."""

from __future__ import annotations

import base64
import binascii

import msgspec
from pydantic import SecretStr

from gatehouse.crypto.token import Pepper
from gatehouse.errors import SettingsError
from gatehouse.settings import PREFIX


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    current: int
    generations: dict[str, str]


def pepper(secret: SecretStr | None, name: str) -> Pepper:
    """From {"current": 2, "generations": {"1": "<base64>", "2": "<base64>"}}. Raises SettingsError that never repeats it."""
    variable = PREFIX + name
    if secret is None:
        raise SettingsError(f"{variable} is not set; this service cannot open without it")
    try:
        text = msgspec.json.decode(secret.get_secret_value(), type=_Text)
        generations = {int(number): base64.b64decode(value, validate=True) for number, value in text.generations.items()}
    except (msgspec.DecodeError, binascii.Error, ValueError):
        shape = '{"current": 1, "generations": {"1": "<base64 of 32 bytes>"}}'
        raise SettingsError(f"{variable} must be {shape}: it has another form") from None
    try:
        return Pepper(generations, text.current)
    except ValueError as exc:
        raise SettingsError(f"{variable}: {exc}") from None
