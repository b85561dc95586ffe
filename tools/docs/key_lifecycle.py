"""docs/key-lifecycle.md: states and transitions of a key, rotation, and limits of its fields."""

from __future__ import annotations

from gatehouse.http import fields
from gatehouse.keys import lifecycle
from gatehouse.keys import schemas as key_parts
from gatehouse.keys.lifecycle import TRANSITIONS, TTL_S_MAX, Action
from gatehouse.keys.models import KeyState
from gatehouse.verification import schemas as verify

from tools.docs.markdown import table

_DAY_S = 86_400
_MEANINGS = {
    KeyState.ACTIVE: "The key is accepted until it expires. Expiry is not a state.",
    KeyState.DISABLED: "Denied with `DISABLED`. The key can be enabled again.",
    KeyState.REVOKED: "Denied like an unknown key. Final.",
    KeyState.DELETED: f"Denied like an unknown key. The key can be restored for {lifecycle.RESTORE_WINDOW_S // _DAY_S} days.",
    KeyState.PURGED: "All data is removed. The id stays reserved, so the token can never become valid again.",
}
_HEAD = """\
# Key lifecycle

The transition table in the runtime is the source of this page. Every transition is written to the audit trail in the same
database transaction. The response states when the change is in effect on all gateways.
"""
_ROTATION = f"""\
## Rotation

A rotation creates a new key with a new token. The old key stays valid for a grace period: {lifecycle.GRACE_S_DEFAULT // _DAY_S}
day by default, at most {lifecycle.GRACE_S_MAX // _DAY_S} days, and never longer than its own expiry. The new key copies all
properties of the old key and gets the same lifetime.

- Both keys belong to one key family. Rate limits and credits are counted per family, so two valid tokens share one allowance.
- Only the newest key of a family can be rotated. If an older key is still in its grace period, rotation ends that grace
  period, so at most two tokens of a family are valid.
- `last_used_at` of the old key shows whether a client still uses it. `end-grace` ends the grace period early.

## Safeguards

- The last key that can manage keys cannot be disabled, deleted, restricted or given an earlier expiry unless the request contains
  `allow_last_admin`. A second key counts if it is valid for at least a day or as long as the first. Revocation is always
  possible.
- Only deleted and revoked keys can be purged, and the request must repeat the key id.
- The bootstrap token is not a key and has no lifecycle.

A purge clears the key's row, credits, usage identity and Core registrations, deletes its rate-limit counters and evicts it from
every gateway cache. Audit events remain.
"""


def page() -> str:
    acts = [act for act in Action if act is not Action.CREATE]
    rows = [(state.value, *(_cell(state, act) for act in acts)) for state in KeyState]
    parts = key_parts
    bounds = [
        ("name, owner", f"{parts.NAME_CHARS_MAX} characters"),
        ("notes", f"{parts.NOTES_CHARS_MAX} characters"),
        ("reason", f"{fields.REASON_CHARS_MAX} characters"),
        ("scopes", f"{fields.SCOPES_MAX}, each at most 64 characters"),
        ("cores", f"{fields.CORES_MAX}"),
        ("methods", " ".join(parts.METHODS)),
        ("addresses", f"{parts.ADDRESSES_MAX} networks"),
        ("tags", f"{parts.TAGS_MAX}, each at most 64 characters"),
        ("metadata", f"{parts.METADATA_MAX} names of at most 64 characters, values of at most {parts.METADATA_CHARS_MAX}"),
        ("limits", f"{fields.LIMITS_MAX}; quota up to {fields.QUOTA_MAX}, window up to {fields.WINDOW_S_MAX // _DAY_S} days"),
        ("limits in a verification request", f"{fields.LIMITS_MAX}"),
        ("cost", f"0 to {fields.COST_MAX}"),
        ("credits", f"0 to {parts.CREDITS_MAX}"),
        ("lifetime", f"{TTL_S_MAX // (365 * _DAY_S)} years"),
        ("verifications in a batch", f"{verify.BATCH_MAX}"),
    ]
    states = [(state.value, _MEANINGS[state]) for state in KeyState]
    transitions = "The new state after each action. `unchanged`: the request has no effect. Empty: rejected with 409.\n"
    return "\n".join(
        [
            _HEAD,
            f"```mermaid\n{lifecycle.diagram()}\n```\n",
            table(("state", "description"), states) + "\n",
            f"## Transitions\n\n{transitions}",
            table(("state", *(act.value for act in acts)), rows) + "\n",
            _ROTATION,
            f"## Limits\n\n{table(('field', 'maximum'), bounds)}\n",
        ]
    )


def _cell(state: KeyState, act: Action) -> str:
    if lifecycle.is_repeat(state, act):
        return "unchanged"
    return " / ".join(target.value for target in TRANSITIONS.get((state, act), ()))
