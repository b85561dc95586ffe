"""Calls to AWS services: a bounded number at the same time, and a bounded wait."""

import asyncio
import threading
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from gatehouse import __version__
from gatehouse.core.errors import Unavailable
from gatehouse.platform import aws, limits

PATIENCE_S = 60


@pytest.mark.bound("platform.aws:CALLS_MAX", "platform.limits:WAIT_S")
async def test_calls_in_progress_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, complete = threading.Semaphore(0), threading.Event()

    def operation() -> None:
        begun.release()
        assert complete.wait(PATIENCE_S)

    calls = [asyncio.create_task(aws.call(operation, "S3")) for _ in range(aws.CALLS_MAX)]
    for _ in calls:
        assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_S)
    monkeypatch.setattr(limits, "WAIT_S", 0.01)
    with pytest.raises(Unavailable):
        await aws.call(operation, "S3")
    complete.set()
    await asyncio.gather(*calls)


def test_every_event_loop_can_make_the_calls() -> None:
    async def many() -> None:
        await asyncio.gather(*(aws.call(int, "S3") for _ in range(2 * aws.CALLS_MAX)))

    for _ in range(2):
        asyncio.run(many())


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
