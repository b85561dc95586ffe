"""What `aws.iam.get_policy_document` answers: the JSON text of a policy document, made from its arguments alone."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from policies.analysis.iam.grammar import DocumentError

VERSION = "2012-10-17"
_LISTS = {"actions": "Action", "notActions": "NotAction", "resources": "Resource", "notResources": "NotResource"}
_PRINCIPALS = {"principals": "Principal", "notPrincipals": "NotPrincipal"}


def policy_document(args: Mapping[str, Any]) -> dict[str, Any]:
    """`json` and `minifiedJson` of the statements, in Pulumi's camelCase; source documents come first, and a statement of an
    override document takes the place of the one with its Sid.

    Raises DocumentError for a document that is not JSON and for a Sid that stands twice. Source: the provider's page of
    `aws_iam_policy_document`, "Argument reference" (`&{...}` is written for IAM's own `${...}`).
    """
    statements: dict[str, dict[str, Any]] = {}
    texts = [args.get("sourceJson"), *_listed(args.get("sourcePolicyDocuments"))]
    for statement in (*_of(texts), *(_statement(one) for one in _listed(args.get("statements")))):
        sid = statement.get("Sid", "")
        if sid and sid in statements:
            raise DocumentError(
                f"getPolicyDocument: the statement id (Sid) {sid!r} stands twice. Name each statement differently."
            )
        statements[sid or f" {len(statements)}"] = statement
    for statement in _of([args.get("overrideJson"), *_listed(args.get("overridePolicyDocuments"))]):
        sid = statement.get("Sid", "")
        statements[sid or f" {len(statements)}"] = statement
    document = {
        "Version": args.get("version") or VERSION,
        **({"Id": args["policyId"]} if args.get("policyId") else {}),
        "Statement": list(statements.values()),
    }
    minified = json.dumps(document, separators=(",", ":"))
    return {**args, "id": "policy-document", "json": json.dumps(document, indent=2), "minifiedJson": minified}


def _statement(given: Mapping[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = {"Sid": given["sid"]} if given.get("sid") else {}
    statement["Effect"] = given.get("effect") or "Allow"
    for argument, name in _LISTS.items():
        if values := _listed(given.get(argument)):
            statement[name] = _short(_plain(value) for value in values)
    for argument, name in _PRINCIPALS.items():
        if principals := _listed(given.get(argument)):
            statement[name] = _principals(principals)
    conditions: dict[str, dict[str, Any]] = {}
    for one in _listed(given.get("conditions")):
        keys = conditions.setdefault(one["test"], {})
        before = keys.get(one["variable"], [])
        keys[one["variable"]] = _short([*([before] if isinstance(before, str) else before), *map(_plain, one["values"])])
    if conditions:
        statement["Condition"] = conditions
    return statement


def _principals(given: Iterable[Mapping[str, Any]]) -> Any:
    found: dict[str, list[str]] = {}
    for one in given:
        found.setdefault(one["type"], []).extend(map(_plain, one["identifiers"]))
    if set(found) == {"*"}:
        return "*"
    return {kind: _short(identifiers) for kind, identifiers in found.items()}


def _of(texts: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The statements of documents that are given as JSON text."""
    for text in texts:
        if not text:
            continue
        try:
            statements = json.loads(text).get("Statement", [])
        except (ValueError, TypeError, AttributeError):
            raise DocumentError("getPolicyDocument: a source or override document is not the JSON text of a policy.") from None
        yield from [statements] if isinstance(statements, dict) else statements


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _short(values: Iterable[str]) -> str | list[str]:
    """One value stands alone, several in a list, as the provider writes them."""
    found = list(values)
    return found[0] if len(found) == 1 else found


def _plain(value: Any) -> str:
    return str(value).replace("&{", "${")
