"""Rules for the keys and plans of `gatehouse-pulumi`."""

from collections.abc import Iterator

from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule

_KEY, _ROLE_KEY, _CORE, _PLAN, _CUSTOMER, _WEBHOOK = (
    f"gatehouse:index:{name}" for name in ("Key", "RoleKey", "Core", "Plan", "Customer", "Webhook")
)


@stack_rule("GH-KEY-001", types=(_KEY, _ROLE_KEY, _CORE))
def key_expires(key: Resource, stack: Stack) -> CheckResults:
    if not (key.props.has("ttl_s") or key.props.has("expires_at")) and not any(
        plan.props.has("ttl_s") for plan in _plans(key, stack)
    ):
        yield "neither ttl_s nor expires_at is set, and no plan of the program sets ttl_s"


@resource_rule("GH-KEY-002", types=(_KEY, _PLAN))
def scopes_have_no_wildcard(holder: Resource) -> CheckResults:
    for scope in holder.props.texts("scopes"):
        if "*" in scope:
            yield f"scopes contains {scope}"
        elif scope == "admin" or scope.startswith("role:"):
            yield f"scopes contains {scope}, which grants a role of the console"


@stack_rule("GH-KEY-003", types=(_KEY,))
def key_has_limits(key: Resource, stack: Stack) -> CheckResults:
    holders = [key, *_followed(key, stack)]
    if not any(
        holder.props.size(name) for holder in holders for name in ("limits", "shared_limits")
    ):
        yield "limits is not set, and neither the customer nor a plan of the program sets limits"


@resource_rule("GH-KEY-004", types=(_KEY, _ROLE_KEY, _CORE, _WEBHOOK))
def token_is_not_in_a_file(issued: Resource) -> CheckResults:
    if issued.props.block("destination").has("file"):
        yield "destination.file is set"


def _followed(key: Resource, stack: Stack) -> Iterator[Resource]:
    """The customer of a key, and the plans that apply to the key."""
    yield from stack.referenced_by(key, "customer_id", (_CUSTOMER,))
    yield from _plans(key, stack)


def _plans(key: Resource, stack: Stack) -> Iterator[Resource]:
    for holder in (key, *stack.referenced_by(key, "customer_id", (_CUSTOMER,))):
        yield from stack.referenced_by(holder, "plan", (_PLAN,))
