"""Conditions on the rows of `api_key`, from the states and the decisions of `core`. `{0}` is the
parameter of a search.
"""

from gatehouse.core.keys import OWNER_SCOPES, KeyState, key_fields
from gatehouse.core.lifecycle import Action, states_before

_COMPARISONS = {
    "part": "strpos(lower({column}), lower({{0}})) > 0",
    "start": "starts_with({column}, {{0}})",
    "item": "{column} @> ARRAY[{{0}}]",
}

#: The key has a field whose decision on searches matches the parameter.
SEARCH = " OR ".join(
    comparison.format(column=column)
    for search, comparison in _COMPARISONS.items()
    for column in key_fields(search=search)
)

#: The rows of `decision.ROWS` for the state and the expiry, at the time of the transaction.
USABLE = f"(state = '{KeyState.ACTIVE}' AND (expires_at IS NULL OR expires_at > now()))"

#: `keys.can_manage_keys`.
CAN_MANAGE_KEYS = (
    f"(state = '{KeyState.ACTIVE}' AND public_key = '' AND scopes && ARRAY{[*OWNER_SCOPES]})"
)


def in_states(action: Action) -> str:
    """The key is in a state in which the action changes it."""
    return f"state IN ({', '.join(repr(state.value) for state in states_before(action))})"
