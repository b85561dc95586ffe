"""AWS calls that fail before or after they take effect."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import EndpointConnectionError

from tests.runtime.features.secrets.aws_calls import handling
from tests.runtime.features.secrets.services import Sharing

#: AWS calls of one use case are fewer than this.
CALLS_MAX = 12


class Faults:
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
    with handling(sharing, before=fault.on_send, after=fault.on_response):
        yield fault
