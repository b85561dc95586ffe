"""Records and rejects the AWS calls that services make."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.runtime.features.sharing.services import Sharing


def aws_clients(sharing: Sharing) -> list[Any]:
    backend = sharing.backend
    return [backend.table._client, backend.content._client, backend.data_keys._client]


@contextmanager
def recorded(sharing: Sharing) -> Iterator[list[str]]:
    """Names of the operations that are called, such as `GetItem`, in call order."""
    calls: list[str] = []

    def on_call(*, model: Any, **_: Any) -> None:
        calls.append(model.name)

    clients = aws_clients(sharing)
    for client in clients:
        client.meta.events.register("before-call.*", on_call)
    try:
        yield calls
    finally:
        for client in clients:
            client.meta.events.unregister("before-call.*", on_call)


@contextmanager
def rejected(
    sharing: Sharing, operation: str, times: int, reply: Callable[[], Any]
) -> Iterator[list[str]]:
    """DynamoDB rejects the first calls: `reply` returns the response or raises an error. Yields the
    calls.
    """
    calls: list[str] = []

    def on_call(**_: Any) -> Any:
        calls.append(operation)
        return reply() if len(calls) <= times else None

    events = sharing.backend.table._client.meta.events
    events.register(f"before-call.dynamodb.{operation}", on_call)
    try:
        yield calls
    finally:
        events.unregister(f"before-call.dynamodb.{operation}", on_call)
