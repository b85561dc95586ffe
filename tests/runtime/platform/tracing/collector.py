"""A collector whose spans tests can wait for."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.local.collector import ReceivedSpan, decode, serve


class Collector:
    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.endpoint = ""
        self._received = threading.Condition()

    @property
    def spans(self) -> list[ReceivedSpan]:
        return [span for body in list(self.bodies) for span in decode(body)]

    def receive(self, body: bytes) -> int:
        with self._received:
            self.bodies.append(body)
            self._received.notify_all()
        return 200

    def wait(self, request_id: str, name: str = "") -> list[ReceivedSpan]:
        """The spans of a trace, as soon as they include the span of the request and one with this
        name.
        """
        deadline = time.monotonic() + 60
        with self._received:
            while True:
                spans = self.spans
                trace = next(
                    (
                        s.trace_id
                        for s in spans
                        if s.attributes.get("gatehouse.request_id") == request_id
                    ),
                    None,
                )
                result = [span for span in spans if span.trace_id == trace]
                if result and (not name or any(span.name == name for span in result)):
                    return result
                assert self._received.wait(deadline - time.monotonic()), (
                    request_id,
                    name,
                    len(spans),
                )


@contextmanager
def running_collector() -> Iterator[Collector]:
    collector = Collector()
    with serve(collector.receive) as endpoint:
        collector.endpoint = endpoint
        yield collector
