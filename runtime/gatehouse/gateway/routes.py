"""Puts the gateway door together: which address leads to which endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gatehouse.clock import Clock
from gatehouse.cores.circuit_breaker import CircuitBreakers
from gatehouse.cores.models import Cores
from gatehouse.cores.response_cache import ResponseCache
from gatehouse.cores.service import RegistrationService
from gatehouse.crypto.token import Pepper
from gatehouse.gateway.asgi import Endpoint, GatewayApp, Route
from gatehouse.gateway.health import MetricsPage, Readyz, healthz
from gatehouse.gateway.openapi import OpenApi
from gatehouse.gateway.proxy import Proxy
from gatehouse.gateway.registration import PREFIX as LEASES
from gatehouse.gateway.registration import CoreLease
from gatehouse.gateway.self_revocation import RevokeSelf
from gatehouse.gateway.verify import Verify, VerifyBatch, VerifyHeader
from gatehouse.http.asgi import ClientAddresses
from gatehouse.http.models import Probes
from gatehouse.http.paths import CORES
from gatehouse.keys.service import SelfRevocation
from gatehouse.observability import Observer
from gatehouse.operations.features import BATCH, HEADER, PROXY, SELF
from gatehouse.usage.service import UsageCounter
from gatehouse.verification.service import VerificationService


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the gateway is made of.

    probes: without one of them the gateway is not ready. helpers: it is ready without them, but says so.
    refresh_gauges: called before metrics are read. core_cache: of often-read files; None keeps nothing.
    """

    admission: VerificationService
    self_revocation: SelfRevocation
    registrar: RegistrationService
    cores: Cores
    reach: CircuitBreakers
    pepper: Pepper
    clock: Clock
    addresses: ClientAddresses
    usage: UsageCounter
    observer: Observer
    probes: Probes
    helpers: Probes
    refresh_gauges: Callable[[], None]
    body_max_bytes: int
    core_cache: ResponseCache | None = None
    features_off: frozenset[str] = frozenset()


#: Addresses, or beginnings of them, that a feature brings (core/features.py).
_OF_FEATURE = {b"/v1/keys/verify-batch": BATCH, b"/v1/keys/revoke-self": SELF, CORES.encode(): PROXY, LEASES: PROXY}


def create(parts: Dependencies) -> GatewayApp:
    metrics = parts.observer.metrics
    verify = Verify(parts.admission, parts.addresses, metrics, body_max_bytes=parts.body_max_bytes)
    verify_batch = VerifyBatch(parts.admission, parts.addresses, metrics, body_max_bytes=parts.body_max_bytes)
    verify_header = VerifyHeader(parts.admission, parts.addresses, metrics)
    revoke_self = RevokeSelf(parts.self_revocation, parts.addresses, body_max_bytes=parts.body_max_bytes)
    lease = CoreLease(parts.admission, parts.registrar, parts.addresses, metrics, body_max_bytes=parts.body_max_bytes)
    proxy = Proxy(
        parts.admission,
        parts.cores,
        parts.reach,
        parts.pepper,
        parts.clock,
        parts.addresses,
        metrics,
        body_max_bytes=parts.body_max_bytes,
        cache=parts.core_cache,
    )
    off = parts.features_off
    verified: dict[str, Endpoint] = {"POST": verify} if HEADER.name in off else {"POST": verify, "GET": verify_header}
    exact = {
        b"/v1/keys/verify": Route("/v1/keys/verify", verified),
        b"/v1/keys/verify-batch": Route("/v1/keys/verify-batch", {"POST": verify_batch}),
        b"/v1/keys/revoke-self": Route("/v1/keys/revoke-self", {"POST": revoke_self}),
        b"/healthz": Route("/healthz", {"GET": healthz}),
        b"/readyz": Route("/readyz", {"GET": Readyz(parts.probes, parts.helpers, off)}),
        b"/metrics": Route("/metrics", {"GET": MetricsPage(metrics, parts.refresh_gauges)}),
        b"/openapi.json": Route("/openapi.json", {"GET": OpenApi()}),
    }
    prefixes = {
        CORES.encode(): Route("/cores/{name}/{path}", any_method=proxy),
        LEASES: Route("/v1/cores/{name}", {"PUT": lease.put, "DELETE": lease.delete}),
    }
    return GatewayApp(
        exact=_there(exact, off),
        prefixes=_there(prefixes, off),
        observer=parts.observer,
        secret_mark=f"{parts.admission.prefix}_{parts.admission.environment.value}_",
        usage=parts.usage,
        addresses=parts.addresses,
    )


def _there(routes: dict[bytes, Route], off: frozenset[str]) -> dict[bytes, Route]:
    return {
        address: route for address, route in routes.items() if address not in _OF_FEATURE or _OF_FEATURE[address].name not in off
    }
