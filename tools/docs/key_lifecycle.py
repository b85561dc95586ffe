""".gatehouse/docs/key-lifecycle.md: states and transitions of a key, rotation, and limits for key fields."""

from gatehouse.core import lifecycle
from gatehouse.core.keys import KeyState
from gatehouse.core.lifecycle import TRANSITIONS, TTL_S_MAX, Action
from gatehouse.features.keys import fields as key_fields
from gatehouse.features.verification import schemas as verify
from gatehouse.platform.http import fields

from tools.docs import markdown
from tools.docs.markdown import table

_DAY_S = 86_400
_MEANINGS = {
    KeyState.ACTIVE: "The key is accepted until it expires. Expiry is not a state.",
    KeyState.DISABLED: "Denied with `DISABLED`. The key can be enabled again.",
    KeyState.REVOKED: "Denied like an unknown key. Revocation cannot be undone.",
    KeyState.DELETED: f"Denied like an unknown key. The key can be restored for {lifecycle.RESTORE_WINDOW_S // _DAY_S} days.",
    KeyState.PURGED: "All data is removed. The ID stays reserved, so the token can never become valid again.",
}


def page() -> str:
    acts = [act for act in Action if act is not Action.CREATE]
    rows = [(state.value, *(_cell(state, act) for act in acts)) for state in KeyState]
    bounds = [
        ("name, owner", f"{key_fields.NAME_CHARS_MAX} characters"),
        ("notes", f"{key_fields.NOTES_CHARS_MAX} characters"),
        ("reason", f"{fields.REASON_CHARS_MAX} characters"),
        ("scopes", f"{fields.SCOPES_MAX}, each at most 64 characters"),
        ("cores", f"{fields.CORES_MAX}"),
        ("methods", " ".join(key_fields.METHODS)),
        ("addresses", f"{key_fields.ADDRESSES_MAX} networks"),
        ("tags", f"{key_fields.TAGS_MAX}, each at most 64 characters"),
        (
            "metadata",
            f"{key_fields.METADATA_MAX} names of at most 64 characters, values of at most {key_fields.METADATA_CHARS_MAX}",
        ),
        ("limits", f"{fields.LIMITS_MAX}; quota up to {fields.QUOTA_MAX}, window up to {fields.WINDOW_S_MAX // _DAY_S} days"),
        ("limits in a verification request", f"{fields.LIMITS_MAX}"),
        ("cost", f"0 to {fields.COST_MAX}"),
        ("credits", f"0 to {key_fields.CREDITS_MAX}"),
        ("lifetime", f"{TTL_S_MAX // (365 * _DAY_S)} years"),
        ("verifications in a batch", f"{verify.BATCH_MAX}"),
    ]
    return markdown.page(
        "key-lifecycle",
        diagram=diagram(),
        states=table(("state", "description"), [(state.value, _MEANINGS[state]) for state in KeyState]),
        transitions=table(("state", *(act.value for act in acts)), rows),
        grace_days=lifecycle.GRACE_S_DEFAULT // _DAY_S,
        grace_days_max=lifecycle.GRACE_S_MAX // _DAY_S,
        limits=table(("field", "maximum"), bounds),
    )


def diagram() -> str:
    """The transitions as a Mermaid state diagram. Actions with the same source and target share an arrow."""
    arrows: dict[tuple[KeyState, KeyState], list[str]] = {}
    for (state, action), targets in TRANSITIONS.items():
        for target in targets:
            if not (target is state and action in lifecycle.IDEMPOTENT):
                arrows.setdefault((state, target), []).append(action.value)
    lines = ["stateDiagram-v2", f"    [*] --> {KeyState.ACTIVE.value}: {Action.CREATE.value}"]
    lines += [f"    {state.value} --> {target.value}: {', '.join(actions)}" for (state, target), actions in arrows.items()]
    return "\n".join([*lines, f"    {KeyState.PURGED.value} --> [*]"])


def _cell(state: KeyState, act: Action) -> str:
    if lifecycle.is_repeat(state, act):
        return "unchanged"
    return " / ".join(target.value for target in TRANSITIONS.get((state, act), ()))
