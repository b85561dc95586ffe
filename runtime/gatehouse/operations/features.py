"""What can be switched off in a deployment: one table; a feature that is not in it cannot be named by a setting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Feature:
    """service: where it is. meaning: what there is with it, and no more without."""

    name: str
    service: Literal["gateway", "console"]
    meaning: str


SESSIONS = Feature(
    "sessions", "console", "browsers sign in and work with a cookie; without it, every request shows its credential"
)


WEBHOOKS = Feature(
    "webhooks", "console", "receivers of notices are managed; without it, those that are there are told all the same"
)


PROXY = Feature(
    "proxy", "gateway", "requests pass to Cores and Cores register; without it, the gateway verifies keys and nothing else"
)


BATCH = Feature("batch-verify", "gateway", "several tokens are verified by one request")


HEADER = Feature("header-verify", "gateway", "a token is verified by a GET with headers, as other gateways ask")


SELF = Feature("self-revocation", "gateway", "whoever holds a token may end it")


#: All are on until a setting says otherwise.
FEATURES = (SESSIONS, WEBHOOKS, PROXY, BATCH, HEADER, SELF)


_NAMES = {feature.name for feature in FEATURES}


def switched(text: str) -> tuple[tuple[str, bool], ...]:
    """`sessions=off,proxy=on` as pairs. Raises ValueError that names what is wrong."""
    found: dict[str, bool] = {}
    for part in (one.strip() for one in text.split(",") if one.strip()):
        name, _, state = (piece.strip() for piece in part.partition("="))
        if name not in _NAMES:
            raise ValueError(f"there is no such feature; there are {', '.join(sorted(_NAMES))}")
        if state not in {"on", "off"} or name in found:
            raise ValueError("must be name=on or name=off with commas between, each name once, such as sessions=off,proxy=on")
        found[name] = state == "on"
    return tuple(found.items())


def off(pairs: Iterable[tuple[str, bool]]) -> frozenset[str]:
    """The names of what is switched off."""
    return frozenset(name for name, on in pairs if not on)
