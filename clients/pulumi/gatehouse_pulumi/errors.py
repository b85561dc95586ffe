"""Errors of the provider. No message contains a token."""

from collections.abc import Mapping
from typing import Any

from gatehouse_client import ApiError, Forbidden, Unauthorized


class ProviderError(Exception):
    """An operation that failed and changed nothing. The message is for users."""


class PartialError(Exception):
    """An operation of which a part is done. properties: the state of the resource, with which the
    next `pulumi up` continues.
    """

    def __init__(self, message: str, id: str, properties: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.id = id
        self.properties = dict(properties)


def explained(exc: ApiError, renamed: Mapping[str, str]) -> ProviderError:
    """The error for a rejected request, with the arguments of the program instead of the fields of
    the API. renamed: the argument for a field of another name.
    """
    parts = [exc.message]
    for problem in exc.errors:
        field = problem.location.removeprefix("body.")
        name = field.partition(".")[0].partition("[")[0]
        argument = renamed.get(name, name) + field[len(name) :]
        fix = f": {problem.fix}" if problem.fix else ""
        parts.append(f"{argument} {problem.message}{fix}.")
    if isinstance(exc, Unauthorized):
        parts.append("Check GATEHOUSE_ADMIN_TOKEN.")
    elif isinstance(exc, Forbidden):
        parts.append("Use a GATEHOUSE_ADMIN_TOKEN with this role.")
    if exc.request_id:
        parts.append(f"(request {exc.request_id})")
    return ProviderError(" ".join(parts))
