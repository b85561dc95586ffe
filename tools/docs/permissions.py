"""docs/permissions.md: the roles and resource policies of the prod stack."""

from collections.abc import Iterable, Mapping
from typing import Any

from gatehouse_policies.analysis.iam.grammar import raw_statements
from pulumi_local.lists import listed

from tools.docs import markdown
from tools.docs.iam_documents import NAMES, STACK, documents, short_name
from tools.docs.markdown import table

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
                sorted(
                    f"`{policy.name}`"
                    for policy in documents().resource_policies
                    if policy.kind == kind
                )
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


def _principals(statement: Mapping[str, Any]) -> str:
    principal = statement.get("Principal", "*")
    if principal == "*":
        return "any principal"
    return "<br>".join(
        f"`{_plain(item)}`" for value in principal.values() for item in listed(value)
    )
