"""Records and rejects the AWS calls that services make."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.runtime.features.secrets.services import Sharing


@contextmanager
def handling(sharing: Sharing, **handlers: Callable[..., None]) -> Iterator[None]:
    backend = sharing.backend
    with ExitStack() as stack:
        for client in (backend.table, backend.content, backend.data_keys):
            for name, handler in handlers.items():
                client._client.meta.events.register(f"{name}-call.*", handler)
                stack.callback(client._client.meta.events.unregister, f"{name}-call.*", handler)
        yield


@contextmanager
def recorded(sharing: Sharing) -> Iterator[list[str]]:
    calls: list[str] = []

    def on_call(*, model: Any, **_: Any) -> None:
        calls.append(model.name)

    with handling(sharing, before=on_call):
        yield calls


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
