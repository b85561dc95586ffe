"""The settings of a stack, with the names and the runtime contract that follow from them."""

from dataclasses import dataclass

from components.contract import Contract, for_stack
from components.naming import Naming
from components.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Stack:
    """The arguments of every composite component."""

    settings: Settings
    names: Naming
    contract: Contract

    @classmethod
    def of(cls, settings: Settings) -> "Stack":
        """The stack with these settings."""
        return cls(settings, Naming.of(settings), for_stack(settings))
