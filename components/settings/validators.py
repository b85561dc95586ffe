"""The kinds of value a setting may have, each of which says in words what is allowed when it refuses one."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator


@dataclass(frozen=True, slots=True)
class Allowed:
    """A check with its explanation. Pydantic calls it with the raw value of the stack file, before any conversion.

    words: what is allowed, as it ends the message "<key> is <value>; allowed: <words>".
    """

    words: str
    accepts: Callable[[Any], bool]

    def __call__(self, value: Any) -> Any:
        if not self.accepts(value):
            raise ValueError(f"is {shown(value)}; allowed: {self.words}")
        return value


def shown(value: Any) -> str:
    """A value as its author typed it: YAML booleans in lower case, strings in quotes, long ones cut."""
    written = {True: "true", False: "false", None: "empty"}.get(value) if isinstance(value, bool | None) else repr(value)
    return str(written) if len(str(written)) <= 60 else f"{str(written)[:57]}..."


def text(pattern: str, words: str) -> BeforeValidator:
    """A string that matches the whole pattern."""
    return BeforeValidator(Allowed(words, lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None))


def whole(low: int, high: int, unit: str) -> BeforeValidator:
    """A whole number within bounds, both included. YAML's true is not a number here."""

    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return BeforeValidator(Allowed(f"a whole number from {low} to {high} ({unit})", accepts))


def word(*choices: str | int) -> BeforeValidator:
    """One of a few values."""

    def accepts(value: Any) -> bool:
        return any(type(value) is type(choice) and value == choice for choice in choices)

    return BeforeValidator(Allowed(", ".join(str(choice) for choice in choices), accepts))


def listed(pattern: str, low: int, high: int, words: str) -> BeforeValidator:
    """A list of different strings, each matching the whole pattern."""

    def accepts(value: Any) -> bool:
        if not isinstance(value, list | tuple) or not low <= len(value) <= high or not all(isinstance(v, str) for v in value):
            return False
        return len(set(value)) == len(value) and all(re.fullmatch(pattern, item) is not None for item in value)

    return BeforeValidator(Allowed(f"a list of {low} to {high} different {words}", accepts))


Flag = Annotated[bool, BeforeValidator(Allowed("true or false", lambda value: isinstance(value, bool)))]
