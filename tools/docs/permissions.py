"""The roles of the prod stack (docs/permissions.md) and their full policies
(.gatehouse/docs/permissions.md).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gatehouse_policies.analysis.iam.grammar import listed, raw_statements

from tools.docs import markdown
from tools.docs.iam_documents import NAMES, STACK, documents, reasons, short_name
from tools.docs.markdown import table

USED = "used by the end-to-end tests"
RESOURCE_POLICIES = {
    "key": (
        "Key policies are the only source of access to KMS keys. No identity policy grants "
        "access to a key."
    ),
    "bucket": (
        "Deny statements for all principals, and Allow statements for the AWS services "
        "that write objects."
    ),
    "secret": (
        "Only the listed roles can read the secrets. All other principals are denied, "
        "regardless of identity policies."
    ),
    "endpoint": (
        "VPC endpoint policies. These policies restrict requests and do not grant permissions."
    ),
    "topic": "The principals that can publish messages.",
    "queue": "The principals that can send messages to the dead-letter queues.",
    "vault": "Denies deletion of recovery points.",
    "repository": "Lambda can pull images if sharing is serverless.",
    "api": (
        "Anyone can call the sharing API over TLS if sharing is serverless. The link "
        "authorizes the request."
    ),
    "logs": "AWS services that can write to log groups.",
}


def page() -> str:
    """One row for each role, then the resource policies."""
    roles = (
        (
            f"`{short_name(name)}`",
            role.description,
            _principals(raw_statements(role.trust)[0]),
            _services(role.policies),
        )
        for name, role in sorted(documents().roles.items())
    )
    kinds = {policy.kind for policy in documents().resource_policies}
    policies = (
        (
            kind,
            ", ".join(
                f"`{policy.name}`"
                for policy in documents().resource_policies
                if policy.kind == kind
            ),
            text,
        )
        for kind, text in RESOURCE_POLICIES.items()
        if kind in kinds
    )
    return markdown.page(
        "permissions",
        stack=STACK,
        roles=table(("role", "purpose", "assumed by", "services in its policies"), roles),
        policies=table(("type", "resources", "purpose"), policies),
    )


def full_page() -> str:
    """Every statement of every policy document, with the reason for each unused permission."""
    parts = ["# Permissions in full\n", *_roles(), *_boundary()]
    for kind, text in RESOURCE_POLICIES.items():
        policies = sorted(
            (policy for policy in documents().resource_policies if policy.kind == kind),
            key=lambda policy: policy.name,
        )
        parts += [f"## {kind} policies\n\n{text}\n"] if policies else []
        parts += [f"### `{policy.name}`\n\n{_statements(policy.document)}\n" for policy in policies]
    return "\n".join(parts)


def _roles() -> Iterable[str]:
    why = reasons()
    for name, role in sorted(documents().roles.items()):
        short = short_name(name)
        rows = []
        for statement in (
            statement for policy in role.policies for statement in raw_statements(policy)
        ):
            actions = listed(statement["Action"])
            # Actions of a statement that have the same reason share a row.
            for reason in dict.fromkeys(why.get((short, action), USED) for action in actions):
                group = [action for action in actions if why.get((short, action), USED) == reason]
                rows.append(
                    (
                        _codes(group),
                        _codes(listed(statement["Resource"])),
                        _conditions(statement),
                        reason,
                    )
                )
        trust = raw_statements(role.trust)[0]
        head = (
            f"## Role `{short}`\n\n{role.description}. Assumed by {_principals(trust)}; "
            f"condition: {_conditions(trust)}."
        )
        yield f"{head}\n\n{table(('action', 'resource', 'condition', 'reason'), rows) if rows else 'No permissions.'}\n"  # noqa: E501


def _boundary() -> Iterable[str]:
    rows = [
        (row["Effect"], _codes(listed(row["Action"])), _conditions(row))
        for row in raw_statements(documents().managed[NAMES.boundary_arn])
    ]
    yield (
        "## Permissions boundary\n\nThe permissions boundary of every role except the roles "
        "of the delivery pipeline.\n"
    )
    yield table(("effect", "action", "condition"), rows) + "\n"


def _statements(document: Mapping[str, Any]) -> str:
    rows = [
        (
            row["Effect"],
            _principals(row),
            _codes(
                [
                    *listed(row.get("Action", [])),
                    *(f"not {item}" for item in listed(row.get("NotAction", []))),
                ]
            ),
            _codes(listed(row.get("Resource", []))),
            _conditions(row),
        )
        for row in raw_statements(document)
    ]
    return table(("effect", "principal", "action", "resource", "condition"), rows)


def _services(policies: Iterable[Mapping[str, Any]]) -> str:
    allowed = (
        row for policy in policies for row in raw_statements(policy) if row["Effect"] == "Allow"
    )
    return (
        ", ".join(
            sorted(
                {action.partition(":")[0] for row in allowed for action in listed(row["Action"])}
            )
        )
        or "none"
    )


def _plain(text: str) -> str:
    """An ARN of the stack's account without account and region."""
    return text.replace(f"{NAMES.region}:{NAMES.account}:", "::").replace(
        f"::{NAMES.account}:", ":::"
    )


def _codes(items: Iterable[str]) -> str:
    return "<br>".join(f"`{_plain(item)}`" for item in items) or "-"


def _principals(statement: Mapping[str, Any]) -> str:
    principal = statement.get("Principal", "*")
    if principal == "*":
        return "any principal"
    return "<br>".join(
        f"`{_plain(item)}`" for value in principal.values() for item in listed(value)
    )


def _conditions(statement: Mapping[str, Any]) -> str:
    lines = [
        f"`{key}` {operator} {' or '.join(f'`{_plain(value)}`' for value in listed(values))}"
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    ]
    return "<br>".join(lines) or "-"
