"""A gateway process."""

import asyncio
import contextlib
import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import login

from sandbox.local import servers
from sandbox.ports import free_port
from tests.runtime.server_processes import postgres_pid, redis_pid
from tests.runtime.services.gateway.conftest import (
    SERVE,
    WORK,
    gateway_environment,
    limit,
    log_lines,
    running_gateway,
    start_gateway,
)
from tests.runtime.waiting import until


@pytest.mark.requirement("TR-02")
@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GATEHOUSE_PEPPER", "", "the gateway service requires GATEHOUSE_PEPPER"),
        (
            "GATEHOUSE_PEPPER",
            '{"current": 1, "generations": {"1": "c2hvcnQ="}}',
            "a pepper generation needs at least 32 bytes",
        ),
        (
            "GATEHOUSE_DATABASE_URL",
            "postgresql://nobody:canary@127.0.0.1:1/none",
            "cannot connect to PostgreSQL at 127.0.0.1:1",
        ),
    ],
)
def test_failed_start_is_explained(
    failed_start: Any, variable: str, value: str, message: str
) -> None:
    status, text = failed_start(**{variable: value})
    assert status == 1
    assert message in text
    assert "canary" not in text
    assert "c2hvcnQ" not in text


def test_port_in_use_is_named(gateway_process: Any, failed_start: Any) -> None:
    port = gateway_process[0]
    status, text = failed_start(GATEHOUSE_GATEWAY_PORT=str(port))
    assert status == 1
    assert f"cannot listen on 127.0.0.1:{port} for the gateway service" in text


async def test_sigterm_stops_cleanly_and_removes_worker_row(gateway: Any, another: Any) -> None:
    before = await gateway.pool.fetchval("SELECT count(*) FROM gateway_worker")
    client = another()
    assert await gateway.pool.fetchval("SELECT count(*) FROM gateway_worker") == before + 1
    # An idle connection must not delay the shutdown.
    _, writer = await asyncio.open_connection("127.0.0.1", client.port)
    client.child.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(client.child.process.wait, 30) == 0
    writer.close()
    assert await gateway.pool.fetchval("SELECT count(*) FROM gateway_worker") == before
    assert '"event":"stopped"' in client.log.read_text()
    assert "Traceback" not in client.log.read_text()


#: A worker that raises an error for the data of a client.
FAILING = f"""from gatehouse.platform.http.protocol import HttpProtocol
received = HttpProtocol.data_received
def data_received(self, data):
    if b"canary" in data:
        raise ValueError(data)
    received(self, data)
HttpProtocol.data_received = data_received
{WORK}"""


async def test_error_outside_of_a_request_is_logged_without_its_text(
    database: Any, redis_url: str, tmp_path: Path
) -> None:
    with running_gateway(database, redis_url, tmp_path, FAILING) as (port, _, log, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"canary")
        assert await reader.read() == b""
        writer.close()
    lines = [line for line in log_lines(log) if line["event"] == "event loop error"]
    assert [line["detail"].partition(" ")[0] for line in lines] == ["ValueError"]
    assert not any(text in log.read_text() for text in ("canary", "Traceback"))


async def test_connections_of_a_client_leave_file_descriptors_to_others(
    database: Any, redis_url: str, tmp_path: Path
) -> None:
    few = "resource.setrlimit(files, (64, resource.getrlimit(files)[1]))"
    script = f"import resource\nfiles = resource.RLIMIT_NOFILE\n{few}\n{WORK}"
    with running_gateway(database, redis_url, tmp_path, script) as (port, *_):
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(64)]
        async with asyncio.timeout(60):
            for reader, writer in connections:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
                assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for _, writer in connections:
            writer.close()


@pytest.mark.bound("http.server:_CLOSE_S")
def test_worker_that_does_not_stop_is_killed(database: Any, redis_url: str, tmp_path: Path) -> None:
    environment = gateway_environment(
        database.app_url,
        redis_url,
        free_port(),
        GATEHOUSE_WORKERS="2",
        GATEHOUSE_STOP_TIMEOUT_S="1",
    )
    script = f"from gatehouse.platform.http import server\nserver._CLOSE_S = 0.1\n{SERVE}"
    child = start_gateway(environment, tmp_path / "gateway.log", script=script)
    try:
        workers = worker_processes(child.pid)
        assert len(workers) == 2
        workers[0].suspend()
        child.process.send_signal(signal.SIGTERM)
        assert child.process.wait(30) == 0
        assert [worker for worker in workers if worker.is_running()] == []
    finally:
        child.stop()


def worker_processes(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [process for process in children if "spawn_main" in " ".join(process.cmdline())]


@pytest.mark.requirement("TR-12")
@pytest.mark.parametrize("workers", [1, 2])
async def test_killed_worker_is_replaced_and_counted(
    another: Any, workers: int, tmp_path: Path
) -> None:
    client = another(GATEHOUSE_WORKERS=str(workers), TMPDIR=str(tmp_path))
    for restarts in (1, 2):
        before = worker_processes(client.child.pid)
        for file in tmp_path.glob(f"*/counter_{before[0].pid}.db"):
            file.with_name(f"summary_{before[0].pid}.db").touch()  # killed while it creates a file
        before[0].kill()
        counted = 0.0
        async with asyncio.timeout(30):
            while counted != restarts:
                # The connections of the killed worker are reset.
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    counted = await client.metric("gatehouse_worker_restarts")
        assert len(worker_processes(client.child.pid)) == len(before) == workers
    lines = [line for line in log_lines(client.log) if line["event"] == "worker restarted"]
    assert [(line["service"], line["signal"]) for line in lines] == [("gateway", 9)] * 2
    client.child.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(client.child.process.wait, 30) == 0


@pytest.mark.bound("http.server:_RESTARTS_MAX")
def test_workers_that_are_killed_repeatedly_end_the_container(
    database: Any, redis_url: str, tmp_path: Path
) -> None:
    environment = gateway_environment(
        database.app_url, redis_url, free_port(), GATEHOUSE_WORKERS="2"
    )
    script = f"from gatehouse.platform.http import server\nserver._RESTARTS_MAX = 0\n{SERVE}"
    child = start_gateway(environment, tmp_path / "gateway.log", script=script)
    try:
        worker_processes(child.pid)[0].kill()
        assert child.process.wait(30) == 1
    finally:
        child.stop()


@pytest.mark.requirement("TR-09")
async def test_killed_redis_fails_no_request(another: Any) -> None:
    with servers.redis() as url:
        pid = redis_pid(url)
        client = another(redis_url=url)
        key = await client.create_key()
        replies: list[Any] = []

        async def traffic() -> None:
            for _ in range(40):
                replies.append(await client.verify(key.token))

        running = [asyncio.create_task(traffic()) for _ in range(4)]
        await until(lambda: len(replies) >= 20)
        os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*running)
        after = (await client.verify(key.token)).json
    assert {reply.status for reply in replies} == {200}
    assert all(reply.json["valid"] for reply in replies)
    assert after["limits"][0]["degraded"]
    assert await client.metric("gatehouse_rate_limiter_degraded_total") >= 1
    ready = await client.get("/readyz")
    assert (ready.status, ready.json["status"], ready.json["checks"]["redis"]) == (
        200,
        "degraded",
        "degraded",
    )


async def test_without_redis_refuse_setting_is_unavailable(another: Any, closed_port: int) -> None:
    unavailable = f"redis://127.0.0.1:{closed_port}"
    client = another(redis_url=unavailable, until="/healthz", GATEHOUSE_LIMIT_ON_ERROR="deny")
    key = await client.create_key()
    reply = await client.verify(key.token)
    assert (reply.status, reply.json["code"], reply.json["key_id"]) == (503, "UNAVAILABLE", key.id)
    ready = await client.get("/readyz")
    assert (ready.status, ready.json["checks"]["redis"]) == (503, "unavailable")


@pytest.mark.bound("max_staleness_ms")
@pytest.mark.requirement("TR-12")
async def test_without_database_keys_are_denied_after_bound(
    gateway: Any, start: Any, redis_url: str
) -> None:
    with servers.postgres() as server:
        await runner.migrate(login(server.owner_url, "url"))
        _, port, _ = start(server.app_url, redis_url, GATEHOUSE_MAX_STALENESS_MS="1500")
        async with asyncpg.create_pool(server.app_url, min_size=1, max_size=1) as pool:
            client = dataclasses.replace(gateway, port=port, pool=pool)
            unlimited = [limit(10**9, 1)]
            key, uncached = await client.create_key(limits=unlimited), await client.create_key()
            async with asyncio.timeout(60):  # a busy gateway can be stale
                while not (await client.verify(key.token)).json["valid"]:
                    await asyncio.sleep(0.01)
            await pool.close()
        os.kill(postgres_pid(server), signal.SIGQUIT)
        received: list[tuple[int, str, int]] = []
        async with asyncio.timeout(60):
            while not received or received[-1][1] == "VALID":
                reply = await client.verify(key.token)
                received.append((reply.status, reply.json["code"], reply.json["staleness_ms"]))
        assert received[-1][:2] == (503, "UNAVAILABLE")
        assert all(staleness <= 1500 for _, code, staleness in received if code == "VALID")
        unknown = await client.verify(uncached.token)
        assert (unknown.status, unknown.json["code"], unknown.json["key_id"]) == (
            503,
            "UNAVAILABLE",
            None,
        )
        header = await client.get("/v1/keys/verify", key.header)
        assert (header.status, header.header("retry-after")) == (503, "1")
        proxied = await client.get("/cores/docs/x", key.header)
        assert proxied.outcome == (503, "UNAVAILABLE")
        assert await client.code("nonsense") == "NOT_FOUND"
        ready = await client.get("/readyz")
        assert (ready.status, ready.json["checks"]["keys"]) == (503, "unavailable")
        assert (await client.get("/healthz")).status == 200


@pytest.mark.requirement("TR-13", "TR-14")
async def test_workers_share_limits_metrics_and_log_level(another: Any, database: Any) -> None:
    settings = {"GATEHOUSE_WORKERS": "2", "GATEHOUSE_LOG_LEVEL": "error"}
    client = another(**settings)
    key = await client.create_key(
        # Limits with a burst below 10 are exact.
        limits=[limit(9)]
    )
    replies = await asyncio.gather(*(client.verify(key.token) for _ in range(40)))
    assert sum(reply.json["valid"] for reply in replies) == 9
    async with asyncio.timeout(30):  # a worker shares its counts every second
        while await client.metric('gatehouse_decisions_total{code="RATE_LIMITED"}') != 31.0:
            await asyncio.sleep(0.05)
    assert await client.metric('gatehouse_decisions_total{code="VALID"}') == 9.0
    await client.revoke(key)
    replies = await asyncio.gather(*(client.verify(key.token) for _ in range(20)))
    assert {reply.json["code"] for reply in replies} == {"NOT_FOUND"}

    database.sql(
        "INSERT INTO log_level (level, until, set_by) "
        "VALUES ('info', now() + interval '1 minute', 'test')"
    )
    try:
        await until(lambda: len(_levels(client.log)) >= 2)
    finally:
        database.sql("DELETE FROM log_level")
    assert _levels(client.log) == ["info", "info"]


def _levels(log: Path) -> list[str]:
    return [line["level_now"] for line in log_lines(log) if line["event"] == "log level"]


@pytest.mark.requirement("TR-02")
async def test_disabled_features_are_not_served(another: Any) -> None:
    off = "proxy=off,header-verify=off,self-revocation=off"
    client = another(GATEHOUSE_FEATURES=off)
    for method, path in (("POST", "/v1/keys/revoke-self"), ("GET", "/cores/docs/a")):
        assert (await client.request(method, path)).status == 404
    assert (await client.request("PUT", "/v1/cores/docs")).status == 404
    assert (await client.get("/v1/keys/verify")).status == 405
    key = await client.create_key()
    assert (await client.verify(key.token)).json["valid"]
    assert (await client.get("/readyz")).json["features_off"] == [
        "header-verify",
        "proxy",
        "self-revocation",
    ]
