""".gatehouse/docs/key-lifecycle.md: states and transitions of a key, rotation, and the fields that
requests can set.
"""

from collections.abc import Iterator

from gatehouse.core import lifecycle
from gatehouse.core.key_fields import Purge
from gatehouse.core.keys import KEY_FIELDS, KeyState
from gatehouse.core.lifecycle import TRANSITIONS, TTL_S_MAX, Action
from gatehouse.features.keys.fields import CREDITS_MAX
from gatehouse.features.keys.schemas import CreateKey
from gatehouse.features.verification import schemas as verify
from gatehouse.platform.http import fields
from msgspec import inspect

from tools.docs import markdown
from tools.docs.markdown import table

_DAY_S = 86_400
_MEANINGS = {
    KeyState.ACTIVE: "The key is accepted until it expires. Expiry is not a state.",
    KeyState.DISABLED: "Denied with `DISABLED`. The key can be enabled again.",
    KeyState.REVOKED: "Denied like an unknown key. Revocation cannot be undone.",
    KeyState.DELETED: (
        f"Denied like an unknown key. The key can be restored for "
        f"{lifecycle.RESTORE_WINDOW_S // _DAY_S} days."
    ),
    KeyState.PURGED: (
        "All data is removed. The ID stays reserved, so the token can never become valid again."
    ),
}


def page() -> str:
    acts = [act for act in Action if act is not Action.CREATE]
    rows = [(state.value, *(_cell(state, act) for act in acts)) for state in KeyState]
    bounds = [
        ("reason", f"{fields.REASON_CHARS_MAX} characters"),
        ("limit", f"quota {fields.QUOTA_MAX}, window {fields.WINDOW_S_MAX // _DAY_S} days"),
        ("limits in a verification request", f"{fields.LIMITS_MAX}"),
        ("cost", f"0 to {fields.COST_MAX}"),
        ("credits", f"0 to {CREDITS_MAX}"),
        ("lifetime", f"{TTL_S_MAX // (365 * _DAY_S)} years"),
        ("verifications in a batch", f"{verify.BATCH_MAX}"),
    ]
    return markdown.page(
        "key-lifecycle",
        diagram=diagram(),
        states=table(
            ("state", "description"), [(state.value, _MEANINGS[state]) for state in KeyState]
        ),
        transitions=table(("state", *(act.value for act in acts)), rows),
        grace_days=lifecycle.GRACE_S_DEFAULT // _DAY_S,
        grace_days_max=lifecycle.GRACE_S_MAX // _DAY_S,
        fields=table(
            ("field", "maximum", "set by", "audit trail", "purge", "search", "import"), _fields()
        ),
        limits=table(("value", "maximum"), bounds),
    )


def _fields() -> Iterator[tuple[str, ...]]:
    types = {field.encode_name: field.type for field in inspect.type_info(CreateKey).fields}  # type: ignore[attr-defined]
    for name, field in KEY_FIELDS.items():
        if field.set_by != "none":
            purge = "kept" if field.purged is Purge.KEPT else "erased"
            search = "" if field.search == "none" else field.search
            yield (
                name,
                maximum(types[name]),
                field.set_by,
                field.audit,
                purge,
                search,
                "yes" if field.imported else "",
            )


def maximum(info: inspect.Type) -> str:
    """The largest value of a type, in words."""
    match info:
        case inspect.Metadata():
            return maximum(info.type)
        case inspect.UnionType():
            return maximum(info.types[0])
        case inspect.StrType(max_length=int() as length):
            return f"{length} characters"
        case inspect.ListType(max_length=length, item_type=item):
            each = maximum(item)
            return f"{length}, each {each}" if each else f"{length}"
        case inspect.DictType(max_length=length, value_type=value):
            return f"{length}, values of {maximum(value)}"
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(str(value) for value in values)}"
        case _:
            return ""


def diagram() -> str:
    """The transitions as a Mermaid state diagram. Actions with the same source and target share an
    arrow.
    """
    arrows: dict[tuple[KeyState, KeyState], list[str]] = {}
    for (state, action), targets in TRANSITIONS.items():
        for target in targets:
            if not (target is state and action in lifecycle.IDEMPOTENT):
                arrows.setdefault((state, target), []).append(action.value)
    lines = ["stateDiagram-v2", f"    [*] --> {KeyState.ACTIVE.value}: {Action.CREATE.value}"]
    lines += [
        f"    {state.value} --> {target.value}: {', '.join(actions)}"
        for (state, target), actions in arrows.items()
    ]
    return "\n".join([*lines, f"    {KeyState.PURGED.value} --> [*]"])


def _cell(state: KeyState, act: Action) -> str:
    if lifecycle.is_repeat(state, act):
        return "unchanged"
    return " / ".join(target.value for target in TRANSITIONS.get((state, act), ()))
