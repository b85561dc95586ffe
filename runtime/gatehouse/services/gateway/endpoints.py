"""Handlers of the gateway, except for the proxy. The docstrings are the summaries and descriptions
in the API reference.
"""

from __future__ import annotations

from gatehouse.core.actor import Actor
from gatehouse.core.decision import for_public
from gatehouse.core.errors import BadRequest, Unauthorized
from gatehouse.core.keys import KeyRecord
from gatehouse.core.verification import Code, VerificationRequest, VerificationResult
from gatehouse.features.cores.schemas import DrainCore, decode_lease
from gatehouse.features.verification import schemas
from gatehouse.platform.http import asgi
from gatehouse.platform.http.forwarding import flaw
from gatehouse.platform.http.health import Health
from gatehouse.platform.http.health import readiness as run_probes
from gatehouse.platform.http.validation import decode_query
from gatehouse.platform.observability import METRICS_TYPE
from gatehouse.services.gateway.asgi import Refused, RequestContext
from gatehouse.services.gateway.credentials import (
    ACCEPT_SIGNATURE,
    authenticate,
    challenge,
    denial,
    presented_token,
)

REGISTER_SCOPE = "cores:register"
_HEALTHY = asgi.encode(Health())


async def verify_key(context: RequestContext) -> asgi.Response:
    """Verify a key.

    Returns 200 for every decision: `valid` and `code` contain the result. Denied requests do not
    count against rate limits or consume credits.
    """
    token, request = schemas.decode(await context.json_body(), context.client)
    result = await context.dependencies.verification.verify(token, request)
    return decision(context, request, result)


def decision(
    context: RequestContext, request: VerificationRequest, result: VerificationResult
) -> asgi.Response:
    context.verified(result, request.core)
    public = for_public(result)
    status = 503 if public.code is Code.UNAVAILABLE else 200
    headers = schemas.limit_headers(public.limits) if status == 200 else [(b"retry-after", b"1")]
    return context.response(
        status, asgi.encode(schemas.reply(public, context.request_id)), headers=headers
    )


async def verify_key_header(context: RequestContext) -> asgi.Response:
    """Verify the key in the request headers.

    Returns the result as the HTTP status, with an empty body. Intended for reverse proxies, such as
    nginx with `auth_request`. The client IP address is the IP address of the caller, as reported by
    trusted proxies.
    """
    token = presented_token(context)
    request = schemas.decode_parameters(context.scope["query_string"], context.client)
    if token is None:
        return context.response(401, headers=challenge(invalid=False))
    result = await context.dependencies.verification.verify(token, request)
    return header_decision(context, request, result)


def header_decision(
    context: RequestContext, request: VerificationRequest, result: VerificationResult
) -> asgi.Response:
    context.verified(result, request.core)
    error = denial(result)
    headers = schemas.limit_headers(result.limits)
    if error is None:
        key_id = [] if result.record is None else key_id_headers(result.record)
        return context.response(200, headers=[*headers, *key_id])
    if error.status == 401:
        headers += challenge(invalid=True)
        headers += [ACCEPT_SIGNATURE] if result.reason else []
    elif error.status == 503:
        headers.append((b"retry-after", b"1"))
    return context.response(error.status, headers=headers)


def key_id_headers(record: KeyRecord) -> list[asgi.Header]:
    return [(b"gatehouse-key-id", record.id.encode())]


async def revoke_self(context: RequestContext) -> asgi.Response:
    """Revoke a key with its token.

    The token is the only credential. The response is the same for every token that does not belong
    to an active or disabled key.
    """
    request = schemas.decode_self_revocation(await context.json_body())
    revoked = await context.dependencies.self_revocation.revoke(
        request.token, request.reason, request_id=context.request_id, source_address=context.client
    )
    if revoked is None:
        error = Unauthorized("The token does not belong to an active or disabled key.")
        raise Refused(error, headers=challenge(invalid=True))
    context.key_id, effective = revoked
    response = schemas.SelfRevocationResponse(context.key_id, effective.value, context.request_id)
    return context.response(200, asgi.encode(response))


async def register_core(context: RequestContext) -> asgi.Response:
    """Register an instance of a Core or renew its lease.

    Send `url` to register the instance. The name is then reserved for the key and its rotations.
    Send `lease_id` every `heartbeat_s` seconds to renew the lease. If an operator drained the
    instance, the response is 409 with the code `core_drained`.
    """
    name = _core_name(context)
    agent = await _agent(context, name)
    request, registration = (
        decode_lease(await context.json_body()),
        context.dependencies.registration,
    )
    if request.lease_id is None:
        lease = await registration.register(agent, name, request)
    else:
        lease = await registration.renew(agent, name, request.lease_id, request)
    return context.response(200, asgi.encode(lease))


async def drain_core(context: RequestContext) -> asgi.Response:
    """Drain an instance of a Core.

    Requests in progress are completed. The instance receives no new requests.
    """
    name = _core_name(context)
    agent = await _agent(context, name)
    query = decode_query(context.scope["query_string"], DrainCore)
    await context.dependencies.registration.drain(agent, name, query)
    return context.response(204)


def _core_name(context: RequestContext) -> str:
    problem = flaw(context.raw_path)
    if problem:
        raise BadRequest(problem[0].upper() + problem[1:])
    return context.raw_path.removeprefix(b"/v1/cores/").decode("ascii")


async def _agent(context: RequestContext, name: str) -> Actor:
    """The agent's key as an actor. Raises Unauthorized and Refused."""
    address = context.client
    request = VerificationRequest(
        scopes=(REGISTER_SCOPE,), core=name, address=address, method=context.method
    )
    key, _ = await authenticate(context, presented_token(context), request)
    return Actor("key", key.id, context.request_id, address)


async def health(context: RequestContext) -> asgi.Response:
    """Check liveness.

    Returns 200 while the process is running. Dependencies are not checked.
    """
    return context.response(200, _HEALTHY)


async def readiness(context: RequestContext) -> asgi.Response:
    """Check readiness.

    `degraded`: an optional dependency such as Redis is unavailable. Returns 503 if a required
        dependency is unavailable.
    """
    required, optional = context.dependencies.required_probes, context.dependencies.optional_probes
    report, context.detail = await run_probes(required, optional, context.dependencies.features_off)
    return context.response(503 if report.status == "unavailable" else 200, asgi.encode(report))


async def metrics(context: RequestContext) -> asgi.Response:
    """Retrieve metrics.

    Returns metrics in the Prometheus text format, for a scraper inside the network. The load
    balancer does not route this path.
    """
    context.dependencies.refresh_gauges()
    body = context.dependencies.observer.metrics.exposition()
    return context.response(200, body, content_type=METRICS_TYPE.encode("ascii"))
