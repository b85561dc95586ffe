"""Requests to the console: the management API."""

from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from gatehouse_client.credentials import check_url
from gatehouse_client.transport import ANY_ERROR, idempotency_key

#: A revocation waits for every gateway, up to the propagation bound, which can be up to one minute.
TIMEOUT_S = 75.0
Query = str | int | None

_Response = TypeVar("_Response")


def present(query: dict[str, Query]) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}


def customer_path(customer_id: str, action: str = "") -> str:
    return f"/v1/customers/{_segment(customer_id)}" + (f"/{action}" if action else "")


def plan_path(name: str) -> str:
    return f"/v1/plans/{_segment(name)}"


def _segment(text: str) -> str:
    check_url(text)
    return quote(text, "")


def change(
    method: str, request: dict[str, Any] | None, version: int | None, key: str | None
) -> dict[str, Any]:
    """The arguments of a request that can change something."""
    arguments: dict[str, Any] = {} if request is None else {"json": request}
    arguments["headers"] = {} if version is None else {"If-Match": f'"{version}"'}
    if method == "POST":
        arguments["headers"] |= idempotency_key(key)
        arguments["repeated_after"] = ANY_ERROR
    return arguments


def page_of(item: type[_Response], path: str) -> Any:
    """The type of a page of a list, whose items have the name of the path."""
    check_url(path)
    name = msgspec.field(name=path.replace("-", "/").rpartition("/")[2])
    fields: list[Any] = [("items", list[item], name), ("next_cursor", str | None, None)]  # type: ignore[valid-type]  # a type at run time
    return msgspec.defstruct("Page", fields)
