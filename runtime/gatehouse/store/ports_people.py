"""People who sign in somewhere else: what the console asks about a token that is no key of ours."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gatehouse.flows.principal import Role


class Person(msgspec.Struct, frozen=True):
    subject: str  # as the issuer names them; printable ASCII, at most 200 characters
    roles: frozenset[Role]
    proven_at: float = 0.0  # when they last proved to the issuer who they are; 0: it does not say


class People(Protocol):
    async def person(self, token: str) -> Person | None:
        """Whom the token stands for, or None when it is not good here. Raises Unavailable when that cannot be said."""
        ...
