"""The page docs/key-life.md: the life of a key, drawn from the table that the code follows, and what a key may hold."""

from __future__ import annotations

from gatehouse.core import lifecycle
from gatehouse.core.lifecycle import TRANSITIONS, Act
from gatehouse.flows.issue import TTL_S_MAX
from gatehouse.types import KeyState
from gatehouse.wire import key_parts, verify

from tools.docs.markdown import table

_DAY_S = 86_400
_MEANINGS = {
    KeyState.ACTIVE: "opens what it may open, until its expiry (expiry is no state but a fact of the clock)",
    KeyState.DISABLED: "refused with DISABLED; may be enabled again",
    KeyState.REVOKED: "refused like an unknown key; never usable again",
    KeyState.DELETED: f"refused like an unknown key; can be restored for {lifecycle.RESTORE_WINDOW_S // _DAY_S} days",
    KeyState.PURGED: "nothing is left but the id, which stays taken, so that the token can never mean anything again",
}
_ROTATION = f"""\
A rotation makes a new key with a token of its own, beside the old one, which works on for a grace period: exact to the second,
{lifecycle.GRACE_S_DEFAULT // _DAY_S} day unless told otherwise, {lifecycle.GRACE_S_MAX // _DAY_S} days at most, and never
beyond the expiry of the old key. The new one has all that the old one had, and lives as long as that was meant to live. Both
belong to one lineage: rate limits and credits are counted under the id of its first generation, so two working tokens have one
allowance between them. Only the newest generation can be rotated; doing so while an older one is still in its grace period ends
that one at once, so that never more than two tokens work. `last_used_at` of the old key says whether somebody still needs it;
`end-grace` ends it early.

Not stopped by accident: the last key that can manage keys is neither disabled nor deleted, nor does it lose its rights or end
earlier by an update or a rotation, unless the request says `allow_last_admin`. Another one counts when it has a day left, or
lives as long as this one. It can be revoked: a credential that leaked must end. Only what is deleted or revoked already can be
purged, and the request repeats the id.
The bootstrap token is no key and has no life here.

A purge empties the key's row, its credits, last use and Core registrations, removes its rate counters and makes every gateway drop
its record. The audit trail keeps what was done, since it is append-only."""


def page() -> str:
    acts = [act for act in Act if act is not Act.CREATE]
    rows = [(state.value, *(_cell(state, act) for act in acts)) for state in KeyState]
    parts = key_parts
    bounds = [
        ("name, owner", f"{parts.NAME_CHARS_MAX} characters"),
        ("notes", f"{parts.NOTES_CHARS_MAX} characters"),
        ("reason of an act", f"{parts.REASON_CHARS_MAX} characters"),
        ("scopes", f"{parts.SCOPES_MAX}, 64 characters each"),
        ("cores", f"{parts.CORES_MAX}"),
        ("methods", " ".join(parts.METHODS)),
        ("addresses", f"{parts.ADDRESSES_MAX} networks"),
        ("tags", f"{parts.TAGS_MAX}, 64 characters each"),
        ("metadata", f"{parts.METADATA_MAX} names of 64 characters, values of {parts.METADATA_CHARS_MAX}"),
        ("limits", f"{parts.LIMITS_MAX}; quota to {parts.QUOTA_MAX}, window to {parts.WINDOW_S_MAX // _DAY_S} days"),
        ("limits that a question brings", f"{verify.LIMITS_MAX}"),
        ("cost", f"0 to {parts.COST_MAX}"),
        ("credits", f"0 to {parts.CREDITS_MAX}"),
        ("lifetime", f"{TTL_S_MAX // (365 * _DAY_S)} years"),
        ("questions in a batch", f"{verify.BATCH_MAX}"),
    ]
    return "\n".join(
        [
            "# The life of a key",
            "",
            "Drawn from the one table that the code follows (`runtime/gatehouse/core/lifecycle.py`). Every act is audited in the",
            "same transaction, and its answer says from when on it holds.",
            "",
            "```mermaid",
            lifecycle.diagram(),
            "```",
            "",
            table(("state", "means"), [(state.value, _MEANINGS[state]) for state in KeyState]),
            "",
            "What leads where. `same`: done already, nothing is written. Empty: refused with 409, which says what to do instead.",
            "",
            table(("state", *(act.value for act in acts)), rows),
            "",
            "## Rotation, and what is kept from accidents",
            "",
            _ROTATION,
            "",
            "## Bounds",
            "",
            table(("what", "at most"), bounds),
            "",
        ]
    )


def _cell(state: KeyState, act: Act) -> str:
    if lifecycle.is_repeat(state, act):
        return "same"
    return " / ".join(target.value for target in TRANSITIONS.get((state, act), ()))
