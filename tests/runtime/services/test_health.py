"""The health of a deployment: real processes, of which some and the systems that they use fail."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from gatehouse import __version__
from gatehouse.core.health import HEALTH_STATES

from sandbox.child_processes import Child
from sandbox.local import servers
from sandbox.ports import free_port
from tests.runtime.commands.cli.conftest import Command
from tests.runtime.console_client import BOOTSTRAP
from tests.runtime.features.secrets.conftest import aws
from tests.runtime.features.secrets.services import BUCKET, REGION
from tests.runtime.server_processes import redis_pid, suspended
from tests.runtime.services.gateway.conftest import SERVE, gateway_environment, start_gateway
from tests.runtime.services.gateway.test_process import worker_processes
from tests.runtime.services.test_processes import Services, running
from tests.runtime.waiting import PAUSE_S

__all__ = ["aws"]

FAST = (
    "from gatehouse.features.operations import health; "
    "health.REPORT_S = health.SHARING_REPORT_S = 1.0; "
)
#: Shorter than the interval, so that a check that fails delays no report.
TIMEOUT = {"GATEHOUSE_LIMIT_TIMEOUT_MS": "500"}
SECRET = {"text": "a", "ttl_s": 3600}

Row = dict[str, Any]


class Relay:
    """Forwards connections to a server, and closes them while `blocked`."""

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_blocked = False

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        self._close()

    @contextmanager
    def blocked(self) -> Iterator[None]:
        self._is_blocked = True
        self._close()
        yield
        self._is_blocked = False

    def _close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_blocked:
            writer.transport.abort()
            return
        there = await asyncio.open_connection(*self._server)
        self._writers |= {writer, there[1]}
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


class Deployment:
    """The services, their Redis server, and what forwards their calls of KMS. start: starts another
    gateway.
    """

    def __init__(
        self, services: Services, redis_url: str, kms: Relay, start: Callable[[], int], folder: Path
    ) -> None:
        self.services, self.redis_url, self.kms, self.start = services, redis_url, kms, start
        self.client = httpx.AsyncClient(
            base_url=services.console,
            headers={"Authorization": f"Bearer {BOOTSTRAP}"},
            timeout=60,
            trust_env=False,
        )
        variables = {"GATEHOUSE_CONSOLE_URL": services.console, "GATEHOUSE_ADMIN_TOKEN": BOOTSTRAP}
        self.command = Command(folder, variables)

    async def health(self) -> dict[str, Any]:
        reply = await self.client.get("/v1/health")
        assert reply.status_code == 200, reply.text
        health: dict[str, Any] = reply.json()
        return health

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first health that meets a condition."""
        health: dict[str, Any] = {}
        try:
            async with asyncio.timeout(60):
                while not condition(health := await self.health()):
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            pytest.fail(json.dumps(health, indent=1))
        return health

    async def create_secret(self) -> int:
        return (await self.client.post("/v1/secrets", json=SECRET)).status_code


def system(health: dict[str, Any], name: str, service: str | None) -> Row:
    (row,) = [
        row for row in health["dependencies"] if (row["name"], row["service"]) == (name, service)
    ]
    return dict(row)


def states(health: dict[str, Any], service: str) -> list[str]:
    return [row["state"] for row in health["instances"] if row["service"] == service]


@contextmanager
def gateways(database: Any, redis_url: str, folder: Path) -> Iterator[Callable[[], int]]:
    started: list[Child] = []

    def start() -> int:
        environment = gateway_environment(database.app_url, redis_url, free_port(), **TIMEOUT)
        log = folder / f"gateway-{len(started)}"
        started.append(start_gateway(environment, log, script=FAST + SERVE))
        return started[-1].pid

    try:
        yield start
    finally:
        for child in started:
            child.stop()


@pytest.fixture(scope="module")
async def deployment(
    database: Any, aws: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    folder, address = tmp_path_factory.mktemp("health"), urlsplit(os.environ["AWS_ENDPOINT_URL"])
    kms = Relay(address.hostname or "", address.port or 0)
    async with kms.serving() as url:
        settings = {**TIMEOUT, "AWS_ENDPOINT_URL_KMS": url}
        with (
            servers.redis() as redis_url,
            running(database, redis_url, aws, folder, FAST, **settings) as services,
            gateways(database, redis_url, folder) as start,
        ):
            deployment = Deployment(services, redis_url, kms, start, folder)
            await _start(deployment)
            yield deployment
            await deployment.client.aclose()


async def _start(deployment: Deployment) -> None:
    empty = await deployment.health()
    assert (empty["state"], states(empty, "gateway")) == ("unavailable", ["no_report"])
    assert empty["instances"][0]["service"] == "gateway"
    await asyncio.to_thread(deployment.start)
    assert await deployment.create_secret() == 201
    await deployment.until(lambda health: health["state"] == "ok")


async def test_every_dependency_and_instance_is_listed(deployment: Deployment) -> None:
    health = await deployment.health()
    assert health["versions"] == [__version__]
    assert {row["service"]: row["version"] for row in health["instances"]} == dict.fromkeys(
        ("gateway", "console", "sharing"), __version__
    )
    (gateway,) = [row for row in health["instances"] if row["service"] == "gateway"]
    assert {"keys", "database", "announcements", "redis"} == {*gateway["checks"]}
    assert {*gateway["checks"].values()} == {"ok"}
    used = {
        (row["name"], row["service"], row["state"])
        for row in health["dependencies"]
        if row["service"]
    }
    assert used == {
        ("PostgreSQL", "console", "ok"),
        ("PostgreSQL", "gateway", "ok"),
        ("Redis", "console", "ok"),
        ("Redis", "gateway", "ok"),
        ("DynamoDB", "console", "ok"),
        ("DynamoDB", "sharing", "ok"),
        ("S3", "console", "ok"),
        ("KMS", "console", "ok"),
        # No recipient has opened a link.
        ("S3", "sharing", "not_called"),
        ("KMS", "sharing", "not_called"),
    }
    assert system(health, "identity provider", None)["state"] == "not_configured"
    never = system(health, "KMS", "sharing")
    assert (never["succeeded_at"], never["failed_at"], never["problem"]) == (None, None, None)


async def test_redis_that_stops_is_broken_for_each_service(deployment: Deployment) -> None:
    with suspended(redis_pid(deployment.redis_url)):
        health = await deployment.until(
            lambda health: all(
                system(health, "Redis", service)["state"] == "unavailable"
                for service in ("gateway", "console")
            )
        )
        assert health["state"] == "degraded"
        assert {row["name"] for row in health["dependencies"][:2]} == {"Redis"}
        first = health["dependencies"][0]
        assert first["failed_at"] > first["succeeded_at"]
        assert "TimeoutError" in first["problem"]
        await deployment.until(
            lambda health: (
                {"gateway", "console"}
                <= {row["service"] for row in health["instances"] if row["state"] == "degraded"}
            )
        )
    await deployment.until(lambda health: health["state"] == "ok")


async def test_kms_that_is_blocked_is_broken_until_a_call_succeeds(deployment: Deployment) -> None:
    with deployment.kms.blocked():
        assert await deployment.create_secret() == 503
    # The service does not know more than its last call.
    row = (await deployment.health())["dependencies"][0]
    assert (row["name"], row["service"], row["state"]) == ("KMS", "console", "unavailable")
    assert row["problem"].startswith("generate_data_key: ")
    assert row["failed_at"] >= row["succeeded_at"]
    assert await deployment.create_secret() == 201
    row = system(await deployment.health(), "KMS", "console")
    assert (row["state"], row["problem"]) == ("ok", None)
    assert row["failed_at"] <= row["succeeded_at"]  # in milliseconds


async def test_bucket_that_is_missing_is_broken(deployment: Deployment) -> None:
    s3: Any = boto3.client("s3", region_name=REGION)
    versions = s3.list_object_versions(Bucket=BUCKET)["Versions"]
    for each in versions:
        s3.delete_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])
    s3.delete_bucket(Bucket=BUCKET)
    assert await deployment.create_secret() == 503
    row = (await deployment.health())["dependencies"][0]
    assert (row["name"], row["service"], row["state"]) == ("S3", "console", "unavailable")
    assert "NoSuchBucket" in row["problem"]
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    assert await deployment.create_secret() == 201
    assert system(await deployment.health(), "S3", "console")["state"] == "ok"


async def test_gateway_that_hangs_is_named_and_leaves_after_its_lease(
    deployment: Deployment,
) -> None:
    pid = await asyncio.to_thread(deployment.start)
    await deployment.until(lambda health: states(health, "gateway") == ["ok", "ok"])
    workers = [worker.pid for worker in worker_processes(pid)]
    with suspended(*workers):
        health = await deployment.until(lambda health: "no_report" in states(health, "gateway"))
        first, second = health["instances"][0], states(health, "gateway")[1]
        assert (first["service"], first["state"], second) == ("gateway", "no_report", "ok")
        assert first["instance"].endswith(f":{pid}")
        assert first["seen_at"] < health["at"]
        assert health["state"] == "degraded"
        await deployment.until(lambda health: states(health, "gateway") == ["ok"])
    await deployment.until(lambda health: states(health, "gateway") == ["ok", "ok"])
    os.kill(pid, signal.SIGTERM)  # the other one leaves at once
    await deployment.until(lambda health: states(health, "gateway") == ["ok"])


async def test_gateway_that_is_killed_leaves_after_its_lease(deployment: Deployment) -> None:
    pid = await asyncio.to_thread(deployment.start)
    await deployment.until(lambda health: states(health, "gateway") == ["ok", "ok"])
    workers = worker_processes(pid)
    os.kill(pid, signal.SIGSTOP)  # replaces no worker
    for worker in workers:
        worker.kill()
    await deployment.until(lambda health: "no_report" in states(health, "gateway"))
    await deployment.until(lambda health: states(health, "gateway") == ["ok"])
    os.kill(pid, signal.SIGCONT)


async def test_sharing_service_that_hangs_is_named(deployment: Deployment) -> None:
    pids = [
        worker.pid for worker in worker_processes(deployment.services.pid) if _is_sharing(worker)
    ]
    assert len(pids) == 1
    with suspended(*pids):
        health = await deployment.until(lambda health: states(health, "sharing") == ["no_report"])
        assert health["state"] == "degraded"
    await deployment.until(lambda health: states(health, "sharing") == ["ok"])


def _is_sharing(worker: Any) -> bool:
    return any("sharing" in str(each.laddr) for each in worker.net_connections("unix"))


async def test_different_versions_at_once_are_named(deployment: Deployment, database: Any) -> None:
    """A later version, whose report has members that this one does not know, and the version
    before the reports.
    """
    later: dict[str, Any] = {
        "id": "later",
        "service": "gateway",
        "instance": "later:1",
        "version": "99.0.0",
    }
    later |= {"status": "ready", "every_s": 60, "new": {}}
    database.sql(
        f"INSERT INTO worker_report VALUES ('later', now(), '{json.dumps(later)}');"  # noqa: S608
        "INSERT INTO gateway_worker (id, confirmed_seq, seen_at) VALUES ('earlier', 0, now())"
    )
    health = await deployment.health()
    shown = deployment.command.run("status", "--output", "table")
    database.sql(
        "DELETE FROM worker_report WHERE id = 'later'; "
        "DELETE FROM gateway_worker WHERE id = 'earlier'"
    )
    assert health["versions"] == sorted([__version__, "99.0.0"])
    found = {row["instance"]: (row["version"], row["state"]) for row in health["instances"]}
    assert found["later:1"] == ("99.0.0", "ok")
    assert found["earlier"] == (None, "no_report")
    assert f"Different versions run: {__version__}, 99.0.0." in shown.err
    assert "earlier version" in shown.out


async def test_command_line_says_the_same_as_the_api(deployment: Deployment) -> None:
    health = await deployment.health()
    result = await asyncio.to_thread(deployment.command.run, "status", "--output", "tsv")
    assert result.code == 0, result.err
    rows = [line.split("\t") for line in result.out.splitlines()]
    for row in health["dependencies"]:
        assert [row["name"], row["service"] or "", HEALTH_STATES[row["state"]]] in [
            each[:3] for each in rows
        ]
    for row in health["instances"]:
        assert any(
            each[:3] == [row["service"], HEALTH_STATES[row["state"]], __version__]
            and each[-1] == row["instance"]
            for each in rows
        )
    printed = json.loads((deployment.command.run("status", "--json")).out)["health"]
    assert printed.keys() == health.keys()


async def test_command_without_the_role_of_an_auditor_reads_the_readiness(
    deployment: Deployment,
) -> None:
    created = await deployment.client.post(
        "/v1/keys", json={"name": "a", "scopes": ["role:issuer"]}
    )
    token = created.json()["token"]
    result = deployment.command.run("status", "--json", GATEHOUSE_ADMIN_TOKEN=token)
    shown = json.loads(result.out)
    assert (result.code, shown["health"], shown["services"][0]["status"]) == (0, None, "ready")
    assert "auditor" in result.err
