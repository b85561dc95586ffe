"""Client of Redis: credentials, readiness, and failures."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import pytest
from gatehouse.core.errors import SettingsError, Unavailable
from gatehouse.platform.redis.connection import CONNECTIONS_MAX, Redis
from valkey import Valkey

from sandbox.local import servers
from tests.certificates import server_context
from tests.runtime.silent_servers import full_server, silent_server


@pytest.mark.parametrize("server", [silent_server, full_server], ids=["silent", "full"])
async def test_redis_that_does_not_respond_is_unavailable(
    server: Callable[[], AbstractContextManager[int]],
) -> None:
    with server() as port:
        redis = Redis(f"redis://127.0.0.1:{port}", "url", timeout_s=0.1)
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable) as error:
                await redis.check()
            await redis.close()
    assert error.value.detail == "TimeoutError"


async def test_calls_share_the_connections(redis_url: str) -> None:
    redis = Redis(redis_url, "url", timeout_s=20)
    ids = await asyncio.gather(
        *(redis.call(redis.client.client_id()) for _ in range(10 * CONNECTIONS_MAX))
    )
    await redis.close()
    assert len(set(ids)) <= CONNECTIONS_MAX


async def test_late_reply_is_not_the_reply_to_another_call(redis_url: str) -> None:
    redis = Redis(redis_url, "url", timeout_s=20)
    calls = [
        asyncio.create_task(redis.call(redis.client.echo(str(number)))) for number in range(100)
    ]
    for call in calls[::3]:
        await asyncio.sleep(0)
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    replies = [await redis.call(redis.client.echo(str(number))) for number in range(20)]
    await redis.close()
    assert replies == [str(number).encode() for number in range(20)]


async def test_connection_to_a_server_that_became_a_replica_is_replaced() -> None:
    with servers.redis() as url:
        redis = Redis(url, "url", timeout_s=20)
        before = await redis.call(redis.client.client_id())
        with Valkey.from_url(servers.administrator(url)) as client:
            client.replicaof("127.0.0.1", "1")
        with pytest.raises(Unavailable):
            await redis.call(redis.client.set("name", "value"))
        assert await redis.call(redis.client.client_id()) != before
        await redis.close()


@pytest.mark.parametrize(
    ("url", "auth"),
    [
        ("http://h-canary", "url"),
        ("redis://h-canary:x", "url"),
        ("redis://h-canary:65536", "url"),
        ("redis://h-canary/a", "url"),
        ("redis://h-canary?ssl=1", "url"),
        ("redis://:canary", "url"),
        ("redis://u@h-canary", "iam"),
        ("rediss://h-canary", "iam"),
    ],
)
def test_invalid_redis_url_is_rejected_without_quoting_it(
    url: str, auth: Literal["iam", "url"]
) -> None:
    with pytest.raises(SettingsError, match="GATEHOUSE_REDIS_URL") as error:
        Redis(url, auth, "cluster", timeout_s=1)
    assert "canary" not in str(error.value)


def test_repr_contains_no_password() -> None:
    redis = Redis("rediss://user:canary@host", "url", timeout_s=1)
    assert "canary" not in f"{redis!r} {redis.client!r} {redis.client.connection_pool!r}"


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


@pytest.mark.usefixtures("aws_credentials")
async def test_connection_verifies_the_server_and_logs_in_with_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            received.append(data)
            writer.write(b":0\r\n" if b"EXISTS" in data else b"+OK\r\n" * data.count(b"*"))
        writer.close()

    server = await asyncio.start_server(
        answer, "127.0.0.1", ssl=server_context(tmp_path, "localhost")
    )
    url = f"rediss://gateway@localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        distrusting = Redis(url, "iam", "cache", timeout_s=20)
        with pytest.raises(Unavailable):
            await distrusting.check()
        assert received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        redis = Redis(url, "iam", "cache", timeout_s=20)
        await redis.check()
        other = Redis(url.replace("localhost", "127.0.0.1"), "iam", "cache", timeout_s=20)
        with pytest.raises(Unavailable):
            await other.check()
        for client in (distrusting, redis, other):
            await client.close()
    login = received[0].split(b"\r\n")
    assert (login[2], login[4]) == (b"AUTH", b"gateway")
    assert login[6].startswith(b"cache/?Action=connect&User=gateway&")
    assert b"EXISTS" in received[-1]
