"""Clients for AWS services, and the errors that their calls raise.

boto3 is imported with the first client, because the import takes 80 ms, and not every process calls
AWS.
"""

import asyncio
import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from botocore.exceptions import BotoCoreError, ClientError

from gatehouse import __version__
from gatehouse.core.errors import Unavailable
from gatehouse.platform import calls
from gatehouse.platform.calls import Dependency
from gatehouse.platform.semaphores import Limit
from gatehouse.platform.tracing.tracer import call_span

#: Raised by every call. `ClientError`: the service returned an error; `BotoCoreError`: there was no
#: response.
AWS_ERRORS = (BotoCoreError, ClientError)

#: Maximum number of concurrent calls of a process.
CALLS_MAX = 16

_Result = TypeVar("_Result")
_threads = ThreadPoolExecutor(CALLS_MAX, "aws")
#: A semaphore belongs to an event loop.
_limits: WeakKeyDictionary[asyncio.AbstractEventLoop, Limit] = WeakKeyDictionary()


def create_client(
    service: str, *, timeout_s: float, attempts: int, read_timeout_s: float | None = None
) -> Any:
    """Create a client without opening a connection. `timeout_s`: connection timeout.
    `read_timeout_s`: response timeout, by default `timeout_s`.
    """
    import boto3
    from botocore.config import Config

    settings = Config(
        connect_timeout=timeout_s,
        read_timeout=read_timeout_s or timeout_s,
        retries={"total_max_attempts": attempts},
        max_pool_connections=CALLS_MAX,
        # botocore builds its own header twice for each call, in a sixth of the CPU time of the
        # call.
        user_agent=f"gatehouse/{__version__}",
    )
    # boto3 reads only AWS_DEFAULT_REGION, but tasks set AWS_REGION (contract.toml).
    return boto3.client(service, region_name=os.environ.get("AWS_REGION"), config=settings)  # type: ignore[call-overload]


def error_code(exc: Exception) -> str:
    """Error code from the service, or an empty string if there was no response."""
    return (
        str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""
    )


def error_detail(exc: Exception) -> str:
    return f"{type(exc).__name__} {error_code(exc)}".strip()


async def call(
    operation: Callable[..., _Result],
    service: Dependency,
    *,
    answers: Collection[str] = (),
    **arguments: Any,
) -> _Result:
    """Run a client operation in a thread, because boto3 blocks. `service`: name of the service in
    error messages. `answers`: codes of errors with which a service that works responds.

    Raises Unavailable with the boto3 error as its cause, or without a cause if the call did not
    begin in time.
    """
    name = getattr(operation, "__name__", "call").strip("_")
    with call_span(f"{service} {name}", {"rpc.system": "aws-api"}):
        async with _limits.setdefault(asyncio.get_running_loop(), Limit(CALLS_MAX)):
            try:
                result = await asyncio.wrap_future(_threads.submit(operation, **arguments))
            except AWS_ERRORS as exc:
                record_error(service, name, exc, answers)
                raise Unavailable(
                    f"{service} is not available.", detail=f"{service} {error_detail(exc)}"
                ) from exc
            calls.succeeded(service, name)
            return result


def record_error(
    service: Dependency, operation: str, exc: Exception, answers: Collection[str]
) -> None:
    """Records the error of a call. `answers`: see `call`."""
    if error_code(exc) in answers:
        calls.succeeded(service, operation)
    else:
        calls.failed(service, error_detail(exc), operation)
