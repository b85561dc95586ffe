"""Routes of the gateway: which path leads to which endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gatehouse.clock import Clock
from gatehouse.cores.circuit_breaker import CircuitBreakers
from gatehouse.cores.repository import CoreRegistry
from gatehouse.cores.response_cache import ResponseCache
from gatehouse.cores.service import RegistrationService
from gatehouse.crypto.token import Pepper
from gatehouse.gateway.asgi import Endpoint, GatewayApp, Route
from gatehouse.gateway.health import MetricsPage, Readyz, healthz
from gatehouse.gateway.openapi import OpenApi
from gatehouse.gateway.proxy import Proxy
from gatehouse.gateway.registration import PREFIX as CORE_LEASES
from gatehouse.gateway.registration import CoreLease
from gatehouse.gateway.self_revocation import RevokeSelf
from gatehouse.gateway.verify import Verify, VerifyBatch, VerifyHeader
from gatehouse.http.asgi import ClientAddresses
from gatehouse.http.models import Probes
from gatehouse.http.paths import CORES
from gatehouse.keys.self_revocation import SelfRevocationService
from gatehouse.observability import Observer
from gatehouse.operations.features import BATCH, HEADER, PROXY, SELF
from gatehouse.usage.service import UsageCounter
from gatehouse.verification.service import VerificationService


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Dependencies of the gateway's endpoints.

    probes: the gateway is not ready if one of them fails.
    helpers: the gateway is `degraded` if one of them fails.
    refresh_gauges: called before metrics are read.
    response_cache: None disables caching.
    features_off: names of disabled features.
    """

    verification: VerificationService
    self_revocation: SelfRevocationService
    registration: RegistrationService
    cores: CoreRegistry
    circuit_breakers: CircuitBreakers
    pepper: Pepper
    clock: Clock
    addresses: ClientAddresses
    usage: UsageCounter
    observer: Observer
    probes: Probes
    helpers: Probes
    refresh_gauges: Callable[[], None]
    body_max_bytes: int
    response_cache: ResponseCache | None
    features_off: frozenset[str]


#: Paths, or path prefixes, that belong to a feature (operations/features.py).
_FEATURES = {
    b"/v1/keys/verify-batch": BATCH,
    b"/v1/keys/revoke-self": SELF,
    CORES.encode(): PROXY,
    CORE_LEASES: PROXY,
}


def create(parts: Dependencies) -> GatewayApp:
    off = parts.features_off
    return GatewayApp(
        exact=_enabled(_exact_routes(parts), off),
        prefixes=_enabled(_prefix_routes(parts), off),
        observer=parts.observer,
        token_prefix=f"{parts.verification.prefix}_{parts.verification.environment.value}_",
        usage=parts.usage,
        addresses=parts.addresses,
    )


def _exact_routes(parts: Dependencies) -> dict[bytes, Route]:
    service, addresses, metrics = parts.verification, parts.addresses, parts.observer.metrics
    body_max_bytes = parts.body_max_bytes
    verify: dict[str, Endpoint] = {"POST": Verify(service, addresses, metrics, body_max_bytes=body_max_bytes)}
    if HEADER.name not in parts.features_off:
        verify["GET"] = VerifyHeader(service, addresses, metrics)
    verify_batch = VerifyBatch(service, addresses, metrics, body_max_bytes=body_max_bytes)
    revoke_self = RevokeSelf(parts.self_revocation, addresses, body_max_bytes=body_max_bytes)
    return {
        b"/v1/keys/verify": Route("/v1/keys/verify", verify),
        b"/v1/keys/verify-batch": Route("/v1/keys/verify-batch", {"POST": verify_batch}),
        b"/v1/keys/revoke-self": Route("/v1/keys/revoke-self", {"POST": revoke_self}),
        b"/healthz": Route("/healthz", {"GET": healthz}),
        b"/readyz": Route("/readyz", {"GET": Readyz(parts.probes, parts.helpers, parts.features_off)}),
        b"/metrics": Route("/metrics", {"GET": MetricsPage(metrics, parts.refresh_gauges)}),
        b"/openapi.json": Route("/openapi.json", {"GET": OpenApi()}),
    }


def _prefix_routes(parts: Dependencies) -> dict[bytes, Route]:
    metrics = parts.observer.metrics
    lease = CoreLease(parts.verification, parts.registration, parts.addresses, metrics, body_max_bytes=parts.body_max_bytes)
    proxy = Proxy(
        parts.verification,
        parts.cores,
        parts.circuit_breakers,
        parts.pepper,
        parts.clock,
        parts.addresses,
        metrics,
        body_max_bytes=parts.body_max_bytes,
        cache=parts.response_cache,
    )
    return {
        CORES.encode(): Route("/cores/{name}/{path}", any_method=proxy),
        CORE_LEASES: Route("/v1/cores/{name}", {"PUT": lease.put, "DELETE": lease.delete}),
    }


def _enabled(routes: dict[bytes, Route], off: frozenset[str]) -> dict[bytes, Route]:
    return {path: route for path, route in routes.items() if path not in _FEATURES or _FEATURES[path].name not in off}
