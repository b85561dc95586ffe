"""Prints what only an AWS account shows of the requirements, by account_rows.toml."""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jmespath
from botocore.exceptions import ClientError
from jmespath.functions import Functions, signature

from release.errors import AWS_ERRORS
from release.pulumi.stack import Stack
from release.pulumi.state import State

ROWS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_ABSENT = ("NotFound", "InvalidAccess", "Nonexistent")
"""Error codes of services that are not enabled, or of resources that do not exist, contain one of
these words. Security Hub returns InvalidAccessException."""


class _Functions(Functions):
    """Functions that JMESPath does not have."""

    @signature({"types": ["string"]}, {"types": ["string"]})
    def _func_after(self, text: str, separator: str) -> str:
        return text.rpartition(separator)[2]

    @signature({"types": ["number"]})
    def _func_hours_ago(self, hours: float) -> datetime:
        return datetime.now(UTC) - timedelta(hours=hours)

    @signature({"types": []})
    def _func_age_h(self, time: datetime | None) -> float | None:
        return (datetime.now(UTC) - time) / timedelta(hours=1) if time else None


def _search(expression: str, value: Any) -> Any:
    return jmespath.search(expression, value, jmespath.Options(custom_functions=_Functions()))


def account_rows(stack: Stack, state: State) -> Iterator[str]:
    """A line for each row whose resources the stack has. Calls of AWS only read."""
    sender = stack.setting("notifications", "email_sender")
    own = {"prefix": stack.names.name(""), "sender": sender}
    for row in ROWS.values():
        resources = {
            str(each["urn"]).rpartition("::")[2]: outputs
            for each in state.resources
            if each["type"] == row["kind"] and not each.get("delete")
            if _search(
                row.get("applies", "`true`"),
                outputs := {"id": each.get("id"), **(each.get("outputs") or {}), **own},
            )
        }
        if resources:
            yield f"{row['requirement']:<6} {_answer(stack, row, resources)}"


def _answer(stack: Stack, row: Mapping[str, Any], resources: Mapping[str, Any]) -> str:
    failed, fact = [], row["fact"]
    for name, outputs in resources.items():
        try:
            shown = _is_shown(stack, row, outputs)
        except AWS_ERRORS as exc:
            code = exc.response["Error"]["Code"] if isinstance(exc, ClientError) else ""
            if not any(word in code for word in _ABSENT):
                return f"cannot be read: {fact}. {exc}"
            shown = False
        if not shown:
            failed.append(name)
    if not failed:
        return f"yes: {fact}"
    return f"no ({', '.join(failed)}): {fact}. {row['advice']}"


def _is_shown(stack: Stack, row: Mapping[str, Any], outputs: dict[str, Any]) -> bool:
    known = outputs
    for operation, expressions in row["calls"].items():
        service, _, name = operation.partition(".")
        arguments = {key: _search(text, known) for key, text in expressions.items()}
        if None in arguments.values() or [] in arguments.values():
            return False
        # The region of a resource can be the second one.
        client = stack.client(service, outputs.get("region", ""))
        if client.can_paginate(name):
            response = client.get_paginator(name).paginate(**arguments).build_full_result()
        else:
            response = getattr(client, name)(**arguments)
        known = {**known, name: response}
    return bool(_search(row["shown"], known))
