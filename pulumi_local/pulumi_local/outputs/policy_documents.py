"""Computes the result of the provider function `aws.iam.get_policy_document` from the arguments."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pulumi_local.errors import CommandError
from pulumi_local.lists import listed
from pulumi_local.outputs.invented import is_invented

VERSION = "2012-10-17"
_LISTS = {
    "actions": "Action",
    "notActions": "NotAction",
    "resources": "Resource",
    "notResources": "NotResource",
}
_PRINCIPALS = {"principals": "Principal", "notPrincipals": "NotPrincipal"}


def policy_document(args: Mapping[str, Any]) -> dict[str, Any]:
    """`json` and `minifiedJson` of a policy document. `args` are in Pulumi's camelCase.

    Source documents come first. A statement of an override document replaces the statement with the
    same Sid. A source that a check invented is a statement with unknown parts.

    Raises CommandError for a document that is not JSON and for a duplicate Sid.

    Source: provider documentation of `aws_iam_policy_document`, "Argument reference" (`&{...}`
        stands for IAM's `${...}`).
    """
    statements: dict[str, dict[str, Any]] = {}
    sources = _parsed([args.get("sourceJson"), *listed(args.get("sourcePolicyDocuments"))])
    for statement in (*sources, *map(_statement, listed(args.get("statements")))):
        sid = statement.get("Sid", "")
        if sid and sid in statements:
            raise CommandError(
                f"getPolicyDocument: duplicate statement ID (Sid) {sid!r}. Use unique IDs."
            )
        statements[sid or f" {len(statements)}"] = statement
    for statement in _parsed(
        [args.get("overrideJson"), *listed(args.get("overridePolicyDocuments"))]
    ):
        sid = statement.get("Sid", "")
        statements[sid or f" {len(statements)}"] = statement
    document = {
        "Version": args.get("version") or VERSION,
        **({"Id": args["policyId"]} if args.get("policyId") else {}),
        "Statement": list(statements.values()),
    }
    minified = json.dumps(document, separators=(",", ":"))
    return {
        **args,
        "id": "policy-document",
        "json": json.dumps(document, indent=2),
        "minifiedJson": minified,
    }


def _statement(args: Mapping[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = {"Sid": args["sid"]} if args.get("sid") else {}
    statement["Effect"] = args.get("effect") or "Allow"
    for argument, element in _LISTS.items():
        if values := listed(args.get(argument)):
            statement[element] = _unlisted(map(_variables, values))
    for argument, element in _PRINCIPALS.items():
        if principals := listed(args.get(argument)):
            statement[element] = _principals(principals)
    conditions: dict[str, dict[str, Any]] = {}
    for condition in listed(args.get("conditions")):
        keys = conditions.setdefault(condition["test"], {})
        previous = listed(keys.get(condition["variable"]))
        keys[condition["variable"]] = _unlisted([*previous, *map(_variables, condition["values"])])
    if conditions:
        statement["Condition"] = conditions
    return statement


def _principals(principals: Iterable[Mapping[str, Any]]) -> Any:
    by_type: dict[str, list[str]] = {}
    for principal in principals:
        by_type.setdefault(principal["type"], []).extend(map(_variables, principal["identifiers"]))
    if set(by_type) == {"*"}:
        return "*"
    return {kind: _unlisted(identifiers) for kind, identifiers in by_type.items()}


def _parsed(texts: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for text in texts:
        if not text:
            continue
        if text[:1] != "{" and is_invented(text):
            yield {"Effect": "Allow", "Action": text, "Resource": text}
            continue
        try:
            statements = json.loads(text).get("Statement", [])
        except (ValueError, TypeError, AttributeError):
            raise CommandError(
                "getPolicyDocument: a source or override document is not a JSON policy document."
            ) from None
        yield from listed(statements)


def _unlisted(values: Iterable[str]) -> str | list[str]:
    """The element of a list with one element; otherwise the list. The provider writes values in
    this form.
    """
    values = list(values)
    return values[0] if len(values) == 1 else values


def _variables(value: Any) -> str:
    return str(value).replace("&{", "${")
