"""CPU time of the steps of a verification, without the operating system: the connection has a
transport in memory, the key is cached, and its rate limits are counted in memory.

Each request has the headers that an Application Load Balancer adds, with a new trace ID. Each step
is measured separately in a loop, in which it takes less time than between the other steps.
`difference` is the additional time that the steps take together, including the parser and the
connection.
"""

import asyncio
import gc
import itertools
import json
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
import uvloop
from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import Clock
from gatehouse.core.decision import evaluate
from gatehouse.core.keys import KeyEnvironment, KeyRecord, KeyState, RateLimit
from gatehouse.core.token import Pepper, build_marked, proves_possession
from gatehouse.core.verification import Charge, Code, RateLimitState
from gatehouse.features.keys.possession import KeyFinder
from gatehouse.features.usage.service import UsageCounter
from gatehouse.features.verification import schemas
from gatehouse.features.verification.cache import KeyCache
from gatehouse.features.verification.rate_limiters import LocalRateLimits
from gatehouse.features.verification.repository import KeyLoader
from gatehouse.features.verification.service import VerificationService
from gatehouse.platform.http import asgi
from gatehouse.platform.http.connections import Connections
from gatehouse.platform.http.protocol import HttpProtocol
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.settings import ConnectionSettings
from gatehouse.services.gateway import routes
from gatehouse.services.gateway.asgi import Dependencies
from gatehouse.services.gateway.synchronous import response_template
from uvicorn.server import ServerState

from bench.gateway.environment import request, show

#: Result of the last stored run, for capacity.md.
RESULT = Path(__file__).with_name("steps.json")
_CALLS = 2000
_RUNS = 40
_UNUSED = cast("Any", None)
"""Dependencies that a verification of a cached key does not use."""


class _LeasedLimits:
    """Counts in memory, like a worker that has leased the requests from Redis."""

    def __init__(self) -> None:
        self._local = LocalRateLimits()

    def take_now(self, charge: Charge) -> tuple[RateLimitState, ...]:
        return self._local.count(charge, time.monotonic() * 1_000_000, degraded=False)

    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        return self.take_now(charge)


class _Transport(asyncio.Transport):
    """Counts the responses."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 80)})
        self.responses = 0

    def write(self, data: Any) -> None:
        self.responses += bytes(data[:15]) == b"HTTP/1.1 200 OK"

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def main(*, store: bool) -> None:
    """Measures and prints the CPU time. store: write the result for capacity.md."""
    result = uvloop.run(_measure())
    show(
        "steps of a JSON verification",
        ("", "CPU us"),
        [(name, f"{us:.1f}") for name, us in result["steps"].items()],
    )
    show(
        "requests", ("", "CPU us"), [(name, f"{us:.1f}") for name, us in result["requests"].items()]
    )
    if store:
        rounded = {
            part: {name: round(us, 1) for name, us in values.items()}
            for part, values in result.items()
        }
        RESULT.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


async def _measure() -> dict[str, dict[str, float]]:
    """CPU microseconds of the steps of a JSON verification, and of whole requests."""
    pepper, environment = Pepper({1: secrets.token_bytes(32)}, 1), KeyEnvironment.TEST
    token = build_marked(
        "gtk",
        environment,
        secrets.token_bytes(9),
        secrets.token_bytes(32),
        pepper=pepper,
        generation=1,
    )
    assert token is not None
    limits = tuple(RateLimit(name, 10_000_000, 1, 10_000_000) for name in ("burst", "quota"))
    digest = pepper.digest(token.text, 1) or b""
    record = KeyRecord(
        token.id,
        digest,
        1,
        environment,
        KeyState.ACTIVE,
        "bench",
        "bench",
        ("cores:read",),
        (),
        limits,
        expires_at=None,
        version=1,
    )
    cache = KeyCache(1000)
    cache.begin_load([token.id])
    cache.end_load(token.id, record)
    with Path("/dev/null").open("wb") as log:
        stream = Stream(log, batched=True)
        observer = Observer("gateway", "info", "bench", stream)
        verification = VerificationService(
            keys=KeyLoader(_UNUSED, cache, lambda: 12),
            limits=_LeasedLimits(),
            credits=_UNUSED,
            finder=KeyFinder(pepper, "gtk", _UNUSED, _UNUSED),
            nonces=None,
            on_old_pepper=lambda *_: None,
            clock=Clock(),
            environment=environment,
            default_limit=limits[0],
            max_staleness_ms=5000,
        )
        unused = dict.fromkeys(Dependencies.__dataclass_fields__, _UNUSED)
        used = {
            "verification": verification,
            "pepper": pepper,
            "clock": Clock(),
            "addresses": ClientAddresses(()),
            "usage": UsageCounter(),
            "observer": observer,
            "body_max_bytes": 65_536,
            "features_off": frozenset[str](),
        }
        application = routes.create(Dependencies(**(unused | used)))
        body = {"token": token.text, "scopes": ["cores:read"]}
        makers = {
            "JSON": _through_a_load_balancer("/v1/keys/verify", "", body),
            "header": _through_a_load_balancer("/v1/keys/verify", f"X-API-Key: {token.text}"),
        }
        requests = {
            name: itertools.cycle([make() for _ in range(1000)]) for name, make in makers.items()
        }
        connection, transport = _connection(application)
        for data in requests.values():  # makes the templates
            for _ in range(3):
                connection.data_received(next(data))
        gc.collect()
        gc.freeze()
        gc.disable()
        totals = {
            name: _us(partial(_receive_next, connection, data)) for name, data in requests.items()
        }
        await asyncio.sleep(0)  # performs the last writes
        assert transport.responses >= _CALLS * _RUNS * len(totals)
        steps = _steps(verification, observer, json.dumps(body).encode(), record)
        stream.flush()
    steps["difference"] = totals["JSON"] - sum(steps.values())
    return {"steps": steps, "requests": totals}


def _through_a_load_balancer(
    path: str, credential: str, body: object = None
) -> Callable[[], bytes]:
    """Requests that an Application Load Balancer forwards: each of them has a new trace ID."""
    numbers = itertools.count()
    forwarded = (
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 443",
    )

    def make() -> bytes:
        trace = f"X-Amzn-Trace-Id: Root=1-67891233-{next(numbers):024x}"
        return request(path, *forwarded, trace, *([credential] if credential else []), body=body)

    return make


def _connection(application: Any) -> tuple[HttpProtocol, _Transport]:
    config = uvicorn.Config(
        application,
        interface="asgi3",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=75,
    )
    config.load()
    worker = Connections(ConnectionSettings(), ClientAddresses(()))
    loop = asyncio.get_running_loop()
    connection = HttpProtocol(
        config, ServerState(), {}, loop, worker=worker, respond_now=application.respond_now
    )
    transport = _Transport()
    connection.connection_made(transport)
    return connection, transport


def _steps(
    verification: VerificationService, observer: Observer, body: bytes, record: KeyRecord
) -> dict[str, float]:
    token, request = schemas.decode(body, "127.0.0.1")
    parsed = verification.parse(token)
    assert parsed is not None
    result = verification.verify_now(parsed, request)
    assert result is not None
    now, charge = verification.clock.now(), Charge(record.subject, record.limits, 1)
    reply = observer.repeated_request(
        method="POST", route="/v1/keys/verify", status=200, code="VALID", path="/v1/keys/verify"
    )
    request_id = asgi.request_id()
    trace = observer.tracer.begin(request_id, None)
    usage, template = UsageCounter(), response_template(result, record, has_body=True)
    return {
        "decode the body": _us(lambda: schemas.decode(body, "127.0.0.1")),
        "parse the token, with its checksum": _us(lambda: verification.parse(token)),
        "find the key": _us(lambda: verification.keys.cached(record.id)),
        "HMAC": _us(lambda: proves_possession(verification.finder.pepper, token, record)),
        "decision": _us(
            lambda: evaluate(
                record, request, possession=True, environment=record.environment, now=now
            )
        ),
        "two rate limits": _us(lambda: verification.limits.take_now(charge)),
        "response": _us(lambda: template.response(result, "req_1")),
        "request ID": _us(asgi.request_id),
        "metrics": _us(lambda: observer.metrics.decision(Code.VALID)),
        "usage": _us(lambda: usage.count(record.id, "", "VALID", "")),
        "trace context": _us(lambda: observer.tracer.begin(request_id, None)),
        "log line": _us(lambda: reply.record(trace, 0.001, record.id)),
    }


def _receive_next(connection: HttpProtocol, requests: Iterator[bytes]) -> None:
    connection.data_received(next(requests))


def _us(step: Callable[[], object]) -> float:
    """Lowest CPU time of a call in microseconds."""
    best = float("inf")
    for _ in range(_RUNS):
        started = time.process_time()
        for _ in range(_CALLS):
            step()
        best = min(best, time.process_time() - started)
    return best / _CALLS * 1e6
