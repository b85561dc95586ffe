"""Tokens of API keys that no deployment has issued."""

import secrets

from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.tokens.token import ParsedToken, Pepper, build

_PEPPER = Pepper({1: secrets.token_bytes(32)}, 1)


def unknown_token(prefix: str = "gtk", environment: str = "test") -> ParsedToken:
    """A well-formed token, whose ID is marked under the pepper of another deployment."""
    random = secrets.token_bytes(9), secrets.token_bytes(32)
    return build(prefix, KeyEnvironment(environment), *random, pepper=_PEPPER, generation=1)
