"""Decisions on the fields of an API key, from which everything is derived that treats several
fields alike.

Each field of `keys.Key` is annotated with one `Field`. Two things are not decisions: text that a
request sets is always searched for tokens before it is stored, and an export contains every column.
"""

from enum import Enum
from typing import Any, Literal, get_args, get_type_hints

import msgspec


class Purge(Enum):
    """Values of a purged key that are not constants."""

    KEPT = "kept"
    SET = "set"  # by lifecycle.tombstone


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions on a field.

    set_by: the request that can set the value: the creation of a key, also an update, or none.
    audit: what the audit trail records of a value that is set: the value, the fact that it changed,
        or nothing. Events cannot be erased, so the values of a field for free text or personal data
        are not recorded.
    purged: the value after a purge.
    search: how a search compares its text with the value: with any part (case ignored), an item of
        the list, or the beginning.
    imported: files from other systems can contain the field.
    listed: the field is shown in lists of keys.
    """

    set_by: Literal["create", "update", "none"]
    audit: Literal["value", "change", "nothing"]
    purged: Any
    search: Literal["part", "item", "start", "none"]
    imported: bool
    listed: bool


SETTING = Field(
    set_by="update", audit="value", purged=(), search="none", imported=True, listed=False
)
FREE_TEXT = msgspec.structs.replace(SETTING, audit="change", purged="")
INTERNAL = Field(
    set_by="none", audit="nothing", purged=None, search="none", imported=False, listed=False
)
IDENTITY = msgspec.structs.replace(INTERNAL, purged=Purge.KEPT)

#: Fields that a key can inherit from its plan.
INHERITABLE = ("limits", "scopes")


def decisions(struct: type[msgspec.Struct]) -> dict[str, Field]:
    """The decisions on each field of a struct. Raises TypeError for a field without decisions, or
    with unaudited changes.
    """
    found: dict[str, Field] = {}
    hints = get_type_hints(struct, include_extras=True)
    for name in struct.__struct_fields__:
        options = [option for option in get_args(hints[name]) if isinstance(option, Field)]
        if len(options) != 1:
            raise TypeError(
                f"{struct.__name__}.{name} has no decisions: annotate it with one Field "
                f"(core/key_fields.py)"
            )
        if options[0].set_by != "none" and options[0].audit == "nothing":
            raise TypeError(
                f"{struct.__name__}.{name} can be set, so the audit trail must record the "
                f'change: use audit="change"'
            )
        found[name] = options[0]
    return found
