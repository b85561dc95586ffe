"""Prints what only an AWS account shows of the requirements, by the rows of account_rows.toml."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jmespath
from botocore.exceptions import ClientError
from jmespath.functions import Functions, signature

from release.errors import AWS_ERRORS
from release.stack_file import Stack
from release.state import State

ROWS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_STACK = "pulumi:pulumi:Stack"
_DENIED = ("AccessDenied", "Unauthorized", "NotAuthorized", "AuthorizationError")
_ABSENT = ("NotFound", "InvalidAccess", "Nonexistent")
"""Error codes of services that are not enabled, or of resources that do not exist, contain one of
these words. Security Hub returns InvalidAccessException."""


class _Functions(Functions):
    @signature({"types": ["string"]}, {"types": ["string"]})
    def _func_after(self, text: str, separator: str) -> str:
        return text.rpartition(separator)[2]


_OPTIONS = jmespath.Options(custom_functions=_Functions())


def account_rows(stack: Stack, state: State) -> Iterator[str]:
    """A line for each row whose resources the stack has. Calls of AWS only read."""
    sender = (stack.settings.get("notifications") or {}).get("email_sender")
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
            # The region of a resource can be the second one.
            shown = _is_shown(partial(stack.client, region=outputs.get("region", "")), row, outputs)
        except ClientError as exc:
            code = exc.response.get("Error", {}).get("Code", "")
            if not any(word in code for word in _ABSENT):
                reason = "no permission" if any(word in code for word in _DENIED) else code
                return f"cannot be read ({reason}: {exc.operation_name}): {fact}"
            shown = False
        except AWS_ERRORS as exc:
            return f"cannot be read ({type(exc).__name__}: {exc}): {fact}"
        if not shown:
            failed.append(name)
    if not failed:
        return f"yes: {fact}"
    names = "" if row["kind"] == _STACK else f" ({', '.join(failed)})"
    return f"no{names}: {fact}. {row['advice']}"


def _is_shown(aws: Callable[[str], Any], row: Mapping[str, Any], outputs: dict[str, Any]) -> bool:
    known, now = outputs, datetime.now(UTC)
    for operation, expressions in row["calls"].items():
        service, _, name = operation.partition(".")
        arguments = {key: _argument(text, known, now) for key, text in expressions.items()}
        if None in arguments.values() or [] in arguments.values():
            return False
        client = aws(service)
        if client.can_paginate(name):
            response = client.get_paginator(name).paginate(**arguments).build_full_result()
        else:
            response = getattr(client, name)(**arguments)
        known = {**known, name: _hours(response, now)}
    return bool(_search(row["shown"], known))


def _argument(text: str, known: dict[str, Any], now: datetime) -> Any:
    if text.startswith("-"):
        return now - timedelta(hours=int(text[1:].removesuffix("h")))
    return _search(text, known)


def _hours(value: Any, now: datetime) -> Any:
    """A response with hours before now instead of times, which JMESPath cannot compare."""
    match value:
        case datetime():
            return (now - value).total_seconds() / 3600
        case dict():
            return {key: _hours(each, now) for key, each in value.items()}
        case list():
            return [_hours(each, now) for each in value]
    return value


def _search(expression: str, value: Any) -> Any:
    return jmespath.search(expression, value, _OPTIONS)
