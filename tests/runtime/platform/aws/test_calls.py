"""Calls to AWS services: a bounded number at the same time, and a bounded wait."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from gatehouse import __version__
from gatehouse.core.errors import Unavailable
from gatehouse.platform import aws

PATIENCE_S = 60


@pytest.mark.bound("platform.aws:CALLS_MAX", "platform.aws:WAIT_S")
async def test_call_that_does_not_begin_in_time_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert aws._threads._max_workers == aws.CALLS_MAX
    monkeypatch.setattr(aws, "_threads", ThreadPoolExecutor(2))
    begun, complete = threading.Semaphore(0), threading.Event()

    def operation(number: int) -> int:
        begun.release()
        assert complete.wait(PATIENCE_S)
        return number

    first = [asyncio.create_task(aws.call(operation, "S3", number=number)) for number in range(2)]
    for _ in range(2):
        assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_S)
    waiting = asyncio.create_task(aws.call(operation, "S3", number=2))
    await asyncio.sleep(0)
    monkeypatch.setattr(aws, "WAIT_S", 0.01)
    with pytest.raises(Unavailable) as raised:
        await aws.call(operation, "S3", number=3)
    assert raised.value.detail == "S3: too many calls in progress"
    complete.set()
    assert await asyncio.gather(*first, waiting) == [0, 1, 2]


async def test_cancelled_call_is_cancelled() -> None:
    complete = threading.Event()
    call = asyncio.create_task(aws.call(complete.wait, "S3", timeout=PATIENCE_S))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    complete.set()


@pytest.mark.usefixtures("aws_credentials")
def test_calls_name_the_product_and_its_version() -> None:
    client = aws.create_client("sts", timeout_s=1, attempts=1)
    headers: list[str] = []

    def respond(request: Any, **_: Any) -> Any:
        headers.append(request.headers["User-Agent"].decode())
        response: Any = AWSResponse(request.url, 200, HTTPHeaders(), None)
        response._content = b"<Response><GetCallerIdentityResult/></Response>"
        return response

    client.meta.events.register("before-send", respond)
    client.get_caller_identity()
    assert [header.partition(" Botocore/")[0] for header in headers] == [f"gatehouse/{__version__}"]
