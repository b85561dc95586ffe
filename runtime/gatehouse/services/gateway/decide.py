"""Decides on a request: it is answered, or forwarded to a Core. The interface between the gateway
and the proxy that serves clients: knows neither sockets nor how the proxy asks (adapter.py).
"""

import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from functools import partial
from types import coroutine
from typing import Any, Protocol

import msgspec

from gatehouse.platform.tracing.tracer import ActiveRequest
from gatehouse.platform.web import responses
from gatehouse.platform.web.application import respond
from gatehouse.platform.web.request import CLIENT_GONE
from gatehouse.services.gateway.request import Dependencies, GatewayRequest


class Forward(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request that the proxy forwards.

    request_id: under which the proxy reports the end of the request (completions.py).
    cluster: the Core. path: at the Core, without the query. route: class of the time limits.
    request_headers: headers that the Core receives, instead of those of the client with the same
        names.
    removed: names of headers of the client that the Core does not receive.
    response_headers: headers that the client receives in addition to those of the Core.
    urls: for the translation of URLs in the headers of the response; empty if there is nothing to
        translate.
    via: the cluster of workers that the request passes before the Core. Empty if it passes none.
    """

    request_id: str
    cluster: bytes
    path: bytes
    route: bytes
    request_headers: Sequence[responses.Header]
    removed: Collection[bytes] = ()
    response_headers: Sequence[responses.Header] = ()
    urls: bytes = b""
    via: str = ""


Result = responses.Response | Forward


class Decide(Protocol):
    """Decides on a request. Returns an awaitable only if the decision must wait.

    method: as received. target: path and query, percent-encoded. headers: names in lowercase and
    values, in order. peer: address of the connection. tls: version of TLS, or empty. is_gone: True
    after the client has disconnected.
    """

    def __call__(
        self,
        method: str,
        target: bytes,
        headers: Sequence[responses.Header],
        body: bytes,
        peer: str,
        tls: str,
        is_gone: Callable[[], bool] = ...,
    ) -> Result | Awaitable[Result]: ...


#: Returns the result for a request, or raises the error with which it is refused.
Handle = Callable[[GatewayRequest], Awaitable[Any]]


def decide_by(dependencies: Dependencies, handler: Handle) -> Decide:
    """A function that decides as the handler of the requests."""
    return partial(_decide, dependencies, handler)


def _decide(
    dependencies: Dependencies,
    handler: Handle,
    method: str,
    target: bytes,
    headers: Sequence[responses.Header],
    body: bytes,
    peer: str,
    tls: str,
    is_gone: Callable[[], bool] = lambda: False,
) -> Result | Awaitable[Result]:
    """Runs a decision without a task until it waits, because a task takes a sixth of the time of a
    verification (docs/decisions/0018). From Python 3.12, `asyncio.eager_task_factory` is similar.
    What needs a task, such as `asyncio.timeout`, therefore follows `await asyncio.sleep(0)`.
    """
    request = GatewayRequest(dependencies, method, target, headers, body, peer, tls)
    work = _result(request, handler, is_gone)
    try:
        waits_for = work.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    return _resumed(work, waits_for)


async def _result(request: GatewayRequest, handler: Handle, is_gone: Callable[[], bool]) -> Result:
    """The result, after the request was recorded."""
    started = time.perf_counter()
    active = ActiveRequest(request.service.observer.tracer, request)
    result: Any = await respond(request, handler)
    active.ended = True
    if isinstance(result, responses.Response):
        request.status = CLIENT_GONE if is_gone() else result.status_code
        request.record(time.perf_counter() - started)
    return result  # type: ignore[no-any-return]


@coroutine
def _resumed(work: Coroutine[Any, Any, Result], waits_for: object) -> Any:
    """Yields what the coroutine waits for to the awaiting task, then continues it."""
    try:
        yield waits_for
    except BaseException as exc:  # the task was cancelled
        try:
            waits_for = work.throw(exc)
        except StopIteration as stop:
            return stop.value
        yield waits_for
    return (yield from work)
