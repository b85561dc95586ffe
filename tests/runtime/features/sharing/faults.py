"""AWS calls that fail before or after they take effect."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import EndpointConnectionError

from tests.runtime.features.sharing.aws_calls import aws_clients
from tests.runtime.features.sharing.services import Sharing

#: AWS calls of one use case are fewer than this.
CALLS_MAX = 12


class Faults:
    """Fails call number `at`: `before` it is sent, or after AWS has executed it."""

    def __init__(self, at: int, *, before: bool) -> None:
        self._at = at
        self._before = before
        self._calls = 0
        self._failing = False
        self.occurred = False

    def on_send(self, **_: Any) -> None:
        self._calls += 1
        self._failing = self._calls == self._at
        if self._failing and self._before:
            self._fail()

    def on_response(self, **_: Any) -> None:
        if self._failing and not self._before:
            self._fail()

    def _fail(self) -> None:
        self._failing = False
        self.occurred = True
        raise EndpointConnectionError(endpoint_url="https://aws.test")


@contextmanager
def faults(sharing: Sharing, at: int, *, before: bool) -> Iterator[Faults]:
    fault = Faults(at, before=before)
    clients = aws_clients(sharing)
    for client in clients:
        client.meta.events.register("before-call.*", fault.on_send)
        client.meta.events.register("after-call.*", fault.on_response)
    try:
        yield fault
    finally:
        for client in clients:
            client.meta.events.unregister("before-call.*", fault.on_send)
            client.meta.events.unregister("after-call.*", fault.on_response)
