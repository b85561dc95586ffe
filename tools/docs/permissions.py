"""docs/permissions.md: who may do what, read from the policy documents of the prod stack, with why each of it is granted."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from policies.analysis.iam.conditions import listed
from policies.analysis.iam.evaluation import Effect, statements
from sandbox.journal import REPOSITORY
from tools.docs.iam_cases import QUESTIONS
from tools.docs.iam_decisions import NAMES, STACK, answer, documents
from tools.docs.markdown import table

REASONS = REPOSITORY / "tests" / "permissions.toml"
USED = "used by the journeys, under enforcement"
TAKEN_HERE = {"ecs-tasks.amazonaws.com", "lambda.amazonaws.com"}
"""Services for which the sandbox takes a role and works under it. Every other service's role needs reasons throughout."""
HEAD = f"""# Permissions

Who may do what in the {STACK} stack, read from its policy documents. Account and region are those of the stack file, and
`gatehouse-{STACK}-` is left out of the names of roles. What belongs to `sharing.form: serverless` stands here too.

There are two kinds of proof. What a role **may** do is proven by use: with IAM enforced in the emulator, every process runs under
exactly its role, and an action that is granted and not used needs a reason in
[tests/permissions.toml](../tests/permissions.toml), as does everything that a service of AWS does by itself. What the
**conditions** do is proven on the documents themselves:
[policies/analysis/iam/evaluation.py](../policies/analysis/iam/evaluation.py) decides a call as IAM does, and
the questions at the end of this page are asked by a test.
"""
KINDS = {
    "key": "The policy of a KMS key is the one list of who may open what; no role is granted anything on a key elsewhere.",
    "bucket": "What each bucket refuses to everybody, and which services may write.",
    "secret": "Whatever a role's own policy says, only these readers get a value.",
    "endpoint": "What may pass each VPC endpoint. An endpoint grants nothing; a call must be allowed here as well.",
    "topic": "Who may publish.",
    "queue": "Who may write what could not be done.",
    "vault": "Nobody deletes a recovery point by hand, whatever their own policy says.",
    "repository": "Who pulls images beside ECS, whose roles are above: Lambda, where a function serves the share door.",
    "api": "Who may call: anybody, over TLS, where a function serves the share door. The link is what is checked.",
    "logs": "Which services may write to log groups by their own power.",
}
ANSWERS = {
    Effect.ALLOWED: "allowed",
    Effect.NOT_ALLOWED: "not allowed: nothing grants it",
    Effect.DENIED: "**denied**, whatever else grants it",
}


def reasons() -> dict[tuple[str, str], str]:
    """(short role name, action) to why it is granted although nothing here uses it; the action "*" stands for all of a role."""
    rows = tomllib.loads(REASONS.read_text())["reason"]
    written = {(role, action): row["why"] for row in rows for role in row["roles"] for action in row["actions"]}
    whole = {role: why for (role, action), why in written.items() if action == "*"}
    every = {(role, action): whole[role] for role, action in granted() if role in whole}
    return every | {key: why for key, why in written.items() if key[1] != "*"}


def granted(*, taken_here: bool | None = None) -> set[tuple[str, str]]:
    """(short role name, action) of everything that a role's own policies allow.

    taken_here: only of the roles that the sandbox works under (True), or only of the others (False).
    """
    return {
        (_short(name), action)
        for name, role in documents().roles.items()
        if taken_here is None or taken_here is _is_taken_here(role.trust)
        for policy in role.policies
        for row in statements(policy)
        if row["Effect"] == "Allow"
        for action in listed(row["Action"])
    }


def page() -> str:
    """The page without the word on top."""
    parts = [HEAD, "## Roles\n", *_roles(), *_boundary()]
    for kind, words in KINDS.items():
        if found := [guarded for guarded in documents().guarded if guarded.kind == kind]:
            parts += [f"## On each {kind}\n" if kind != "logs" else "## On log groups\n", f"{words}\n"]
            parts += [
                f"### {kind} `{guarded.name}`\n\n{_statements(guarded.document)}\n"
                for guarded in sorted(found, key=lambda item: item.name)
            ]
    return "\n".join([*parts, *_questions()])


def _roles() -> Iterable[str]:
    why = reasons()
    for name, role in sorted(documents().roles.items()):
        short = _short(name)
        rows = []
        for policy in role.policies:
            for row in statements(policy):
                actions = listed(row["Action"])
                # Actions of one statement that are granted for the same reason share a line.
                for reason in dict.fromkeys(why.get((short, action), USED) for action in actions):
                    mine = [action for action in actions if why.get((short, action), USED) == reason]
                    rows.append((_codes(mine), _codes(listed(row["Resource"])), _conditions(row), reason))
        (trust,) = statements(role.trust)[:1]
        taken = f"Taken by {_principals(trust)}"
        taken += f" if {_conditions(trust).replace('<br>', ' and ')}." if trust.get("Condition") else "."
        may = table(("may", "on", "if", "why"), rows) if rows else "It may do nothing at all."
        yield f"### `{short}`\n\n{role.description}. {taken}\n\n{may}\n"


def _boundary() -> Iterable[str]:
    document = documents().managed[NAMES.boundary_arn]
    rows = [
        ("deny" if row["Effect"] == "Deny" else "allow", _codes(listed(row["Action"])), _conditions(row))
        for row in statements(document)
    ]
    yield "## The boundary of every role\n"
    yield (
        "A role can do what its own policy and this allow; it grants nothing by itself, and bounds key policies too. The "
        "pipeline's roles have one of their own ([components/delivery/policies.py](../components/delivery/policies.py)).\n"
    )
    yield table(("", "what", "if"), rows) + "\n"


def _statements(document: Mapping[str, Any]) -> str:
    rows = [
        (
            "deny" if row["Effect"] == "Deny" else "allow",
            _principals(row),
            _codes([*listed(row.get("Action", [])), *(f"all but {item}" for item in listed(row.get("NotAction", [])))]),
            _codes(listed(row.get("Resource", []))),
            _conditions(row),
        )
        for row in statements(document)
    ]
    return table(("", "who", "what", "on", "if"), rows)


def _questions() -> Iterable[str]:
    yield "## What the documents decide\n"
    yield "Each row is asked by a test. The context lists the condition keys that matter; what is not listed was not sent.\n"
    for title, rows in QUESTIONS.items():
        lines = []
        for row in rows:
            context = "<br>".join(f"`{_plain(key)}` = `{_plain(value)}`" for key, value in row.context.items()) or "-"
            through = f" through the {row.through} endpoint" if row.through else ""
            asked = f"`{row.action}` on `{_plain(row.resource)}`{through}"
            lines.append((row.about, row.shown, asked, context, ANSWERS[answer(row).effect]))
        yield f"### {title}\n\n{table(('shows that', 'who', 'what', 'context', 'answer'), lines)}\n"


def _is_taken_here(trust: Mapping[str, Any]) -> bool:
    services = {name for row in statements(trust) for name in listed(row["Principal"].get("Service", []))}
    return bool(services) and services <= TAKEN_HERE


def _short(name: str) -> str:
    return name.removeprefix(NAMES.name(""))


def _plain(text: str) -> str:
    """ARNs of our own account without account and region, which are the same everywhere."""
    return text.replace(f"{NAMES.region}:{NAMES.account}:", "::").replace(f"::{NAMES.account}:", ":::")


def _codes(items: Iterable[str]) -> str:
    return "<br>".join(f"`{_plain(item)}`" for item in items) or "-"


def _principals(row: Mapping[str, Any]) -> str:
    principal = row.get("Principal", "*")
    if principal == "*":
        return "anybody"
    return "<br>".join(f"`{_plain(item)}`" for value in principal.values() for item in listed(value))


def _conditions(row: Mapping[str, Any]) -> str:
    """One line a key; the values are alternatives."""
    lines = [
        f"`{key}` {operator} {' or '.join(f'`{_plain(value)}`' for value in listed(values))}"
        for operator, keys in row.get("Condition", {}).items()
        for key, values in keys.items()
    ]
    return "<br>".join(lines) or "-"
