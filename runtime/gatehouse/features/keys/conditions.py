"""Conditions on the rows of `api_key`, from the states and the decisions of `core`. `{0}` is the
parameter of a search.
"""

from typing import Final

from gatehouse.core.keys import ADMIN_SCOPE, OWNER_SCOPES, KeyState, key_fields
from gatehouse.core.lifecycle import Action, next_state
from gatehouse.core.roles import Role

_PARTS, _STARTS, _ITEMS = (key_fields(search=search) for search in ("part", "start", "item"))
_TEXT = r" || E'\n  ' || ".join(
    "coalesce(customer_id, '')" if column == "customer_id" else column for column in _PARTS
)
_START = " || ".join(f"left({column}, 3)" for column in _STARTS)

#: Expression of the index `api_key_search`. Two spaces before a text and two number signs before an
#: ID are part of its first trigrams, so that the index finds beginnings of one or two characters.
_TRIGRAMS = rf"trigrams('  ' || {_TEXT} || E'\n##' || {_START})"
_HAS_START = f"{_TRIGRAMS} @> trigrams('##' || left({{0}}, 3))"
_HAS_ITEM = " OR ".join(f"{column} @> ARRAY[{{0}}::text]" for column in _ITEMS)
_STARTS_WITH = " OR ".join(f"starts_with({column}, {{0}})" for column in _STARTS)

#: The ID begins with the parameter. Two conditions: the first uses an index and also matches other
#: keys, and the second takes little time per row.
STARTS: Final = (_HAS_START, f"({_STARTS_WITH})")

#: Shorter texts are compared with the beginning of a field, and not with any part.
PART_CHARS_MIN = 3


def customers_named(text: str) -> str:
    """Selects the customers whose name matches a search."""
    trigrams, comparison = _comparison(text)
    named = comparison.format(column="name")
    index = rf"trigrams('  ' || name || E'\n  ' || id) @> trigrams({trigrams})"
    return f"SELECT id FROM customer WHERE {index} AND {named}"  # noqa: S608


def search(text: str, customers: str) -> tuple[str, str]:
    """Conditions like `STARTS`: a field matches the text according to its decision on searches, or
    the key has one of the customers, an array of IDs.
    """
    trigrams, comparison = _comparison(text)
    parts = " OR ".join(comparison.format(column=column) for column in _PARTS)
    customers = f"customer_id = ANY ({customers})"
    return (
        f"({_TRIGRAMS} @> trigrams({trigrams}) OR {_HAS_START} OR {_HAS_ITEM} OR {customers})",
        f"({parts} OR {_STARTS_WITH} OR {_HAS_ITEM} OR {customers})",
    )


def _comparison(text: str) -> tuple[str, str]:
    if len(text) < PART_CHARS_MIN:
        return "'  ' || {0}", "starts_with(search_form({column}), search_form({{0}}))"
    return "{0}::text", "strpos(search_form({column}), search_form({{0}})) > 0"


#: The name is this text, however it was typed.
NAMED: Final = (
    f"({_TRIGRAMS} @> trigrams('  ' || {{0}}::text) AND search_form(name) = search_form({{0}}))"
)

EXPIRES_AT = "coalesce(expires_at, 'infinity')"  # the expression of an index


def usable(time: str) -> str:
    """The rows of `decision.ROWS` for the state and the expiry, at a time in SQL."""
    return f"(state = '{KeyState.ACTIVE}' AND {EXPIRES_AT} > {time})"


#: At the time of the transaction.
USABLE = usable("now()")
EXPIRED = f"(state = '{KeyState.ACTIVE}' AND {EXPIRES_AT} <= now())"

#: `keys.can_manage_keys`.
CAN_MANAGE_KEYS = (
    f"(state = '{KeyState.ACTIVE}' AND public_key = '' AND scopes && ARRAY{[*OWNER_SCOPES]})"
)

#: The scopes grant a role. The expression of an index, so a new role requires a new index.
HAS_ROLE = f"scopes && ARRAY{[ADMIN_SCOPE, *(role.scope for role in Role)]}"

_UPDATABLE = [state.value for state in KeyState if next_state(state, Action.UPDATE)]

#: The key is in a state in which it can be updated.
CAN_BE_UPDATED = f"state = ANY (ARRAY{_UPDATABLE})"
