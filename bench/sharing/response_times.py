"""Compares the response times for links that do not work with the response times for links that do
not exist.

A client without a valid link must not be able to distinguish the two. Each request uses a separate
link and a separate client network, so that requests share no counter. The AWS emulator copies items
in Python, so its response time depends on the size of the items, whereas the response time of
DynamoDB hardly does. A second ratio therefore excludes the time in the emulator.
"""

import asyncio
import os
import random
import secrets
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.clock import Clock
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.link_token import LinkToken
from gatehouse.features.sharing.links import Client, LinkService
from gatehouse.features.sharing.models import TTL_S_DEFAULT, TTL_S_MIN
from gatehouse.features.sharing.schemas import CreateSecret
from gatehouse.features.sharing.service import SecretService
from gatehouse.platform.settings import SharingSettings

from bench.gateway.environment import database, show
from sandbox import child_processes
from sandbox.emulator.server import Emulator
from sandbox.ports import HOST, free_port

REGION, TABLE, BUCKET = "eu-central-1", "links", "secrets"
_SERVE = (
    "from gatehouse.platform import settings; "
    "from gatehouse.platform.http import server; server.serve(['sharing'], settings.load())"
)
_WARM_UP_ROUNDS = 5
_TTL_S = float(TTL_S_MIN)


class _Earlier(Clock):
    """A clock that is slow by twice the lifetime of the links."""

    def now(self) -> float:
        return super().now() - 2 * _TTL_S


@dataclass(frozen=True)
class Links:
    """Creates a link of each kind."""

    backend: Backend

    async def unknown(self) -> LinkToken:
        return LinkToken.create(
            self.backend.new_id(), self.backend.new_id(6), self.backend.random_bytes
        )

    async def expired(self) -> LinkToken:
        return await self._create(replace(self.backend, clock=_Earlier()), ttl_s=TTL_S_MIN)

    async def revoked(self) -> LinkToken:
        token = await self._create(self.backend)
        await SecretService(self.backend).revoke(token.secret_id, _actor())
        return token

    async def used(self) -> LinkToken:
        token = await self._create(self.backend)
        client = Client("127.0.0.1", RequestId("bench"))
        await LinkService(self.backend).open(token, "", secrets.token_hex(16), client)
        return token

    async def _create(self, backend: Backend, *, ttl_s: int = TTL_S_DEFAULT) -> LinkToken:
        new, actor = CreateSecret(text="content", ttl_s=ttl_s), _actor()
        _, [token] = await SecretService(backend).create(new, actor.label, actor)
        return token


def main(rounds: int) -> None:
    with _service() as (client, backend, emulator):
        links, emulated = Links(backend), _timed(emulator)
        kinds: dict[str, Callable[[], Coroutine[Any, Any, LinkToken]]] = {
            "unknown": links.unknown,
            "expired": links.expired,
            "revoked": links.revoked,
            "used up": links.used,
        }
        times: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        for number in range(_WARM_UP_ROUNDS + rounds):
            requests = [
                (endpoint, kind, send, asyncio.run(make()))
                for endpoint, send in _ENDPOINTS.items()
                for kind, make in kinds.items()
            ]
            random.shuffle(requests)
            for endpoint, kind, send, token in requests:
                emulated.clear()
                began = time.perf_counter()
                reply = send(client, token)
                seconds = time.perf_counter() - began
                if reply.status_code != 404:
                    raise SystemExit(
                        f"{endpoint}, {kind}: the status is {reply.status_code} instead of 404"
                    )
                if number >= _WARM_UP_ROUNDS:
                    times[endpoint, kind].append((seconds, seconds - sum(emulated)))
    rows = []
    for endpoint in _ENDPOINTS:
        unknown = _medians(times[endpoint, "unknown"])
        for kind in kinds:
            medians = _medians(times[endpoint, kind])
            cells = (f"{1000 * median:.2f}" for median in medians)
            ratios = (f"{median / base:.2f}" for median, base in zip(medians, unknown, strict=True))
            rows.append(
                (
                    endpoint,
                    kind,
                    *(cell for pair in zip(cells, ratios, strict=True) for cell in pair),
                )
            )
    columns = (
        "request",
        "link",
        "median ms",
        "ratio to unknown",
        "without emulator ms",
        "ratio to unknown",
    )
    show(f"links that do not work, {rounds} interleaved rounds", columns, rows)


def _medians(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the median response time in seconds, with and without the time in the emulator."""
    return statistics.median(total for total, _ in values), statistics.median(
        rest for _, rest in values
    )


def _timed(emulator: Emulator) -> list[float]:
    """Return a list to which the emulator adds the duration of each call in seconds."""
    seconds: list[float] = []
    server: Any = emulator._server
    application = server.app

    def timed(environ: Any, start_response: Any) -> Any:
        began = time.perf_counter()
        try:
            return application(environ, start_response)
        finally:
            seconds.append(time.perf_counter() - began)

    server.app = timed
    return seconds


def _get(client: httpx.Client, token: LinkToken) -> httpx.Response:
    return client.get(f"/s/{token.path}", headers=_network())


def _open(client: httpx.Client, token: LinkToken) -> httpx.Response:
    return client.post(
        "/v1/links/open", json={"link": token.url("https://bench")}, headers=_network()
    )


_ENDPOINTS = {"GET /s/{link}": _get, "POST /v1/links/open": _open}


def _network() -> dict[str, str]:
    """The header that a proxy sends for a client in a random network."""
    return {"X-Forwarded-For": f"10.{random.randrange(256)}.{random.randrange(256)}.1"}


def _actor() -> Actor:
    """An owner that has not created any secrets."""
    return Actor(type="key", id=secrets.token_hex(6))


@contextmanager
def _service() -> Iterator[tuple[httpx.Client, Backend, Emulator]]:
    """Start the emulator, and the sharing service in a separate process. Yields a client for the
    service, the backend and the emulator."""
    with (
        Emulator.start() as emulator,
        database() as (variables, *_),
        TemporaryDirectory() as folder,
    ):
        key_id, secret = emulator.credentials
        aws = {
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": REGION,
        }
        os.environ.update(aws)
        key, port = _create_resources(emulator.client), free_port()
        settings = SharingSettings(
            environment="bench", secret_links_table=TABLE, secrets_bucket=BUCKET, secrets_key=key
        )
        backend = Backend.from_settings(settings, Clock())
        if backend is None:
            raise SystemExit("secret sharing is not configured")
        variables |= aws | {
            "GATEHOUSE_SECRET_LINKS_TABLE": TABLE,
            "GATEHOUSE_SECRETS_BUCKET": BUCKET,
            "GATEHOUSE_SECRETS_KEY": key,
            "GATEHOUSE_BIND": HOST,
            "GATEHOUSE_SHARING_PORT": str(port),
            "GATEHOUSE_TRUSTED_PROXIES": f"{HOST}/32",
        }
        service = child_processes.start(
            "sharing",
            [sys.executable, "-c", _SERVE],
            log=Path(folder) / "sharing.log",
            env=variables,
        )
        try:
            with httpx.Client(
                base_url=f"http://{HOST}:{port}", trust_env=False, timeout=30
            ) as client:
                child_processes.wait_until(service, lambda: _is_ready(client), "ready", 60)
                yield client, backend, emulator
        finally:
            service.stop()


def _create_resources(client: Callable[[str, str], Any]) -> str:
    """Create table, bucket and key. Returns the ID of the key. Opening links needs no index."""
    client("dynamodb", REGION).create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    client("s3", REGION).create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return str(client("kms", REGION).create_key()["KeyMetadata"]["KeyId"])


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
