"""Handlers of the gateway, except for the proxy. The docstrings are the summaries and descriptions
in the API reference.
"""

from gatehouse.core.actor import Actor
from gatehouse.core.cores import CoreSettings
from gatehouse.core.decision import for_public
from gatehouse.core.errors import NotFound, Unauthorized
from gatehouse.core.roles import Role
from gatehouse.core.verification import Code, VerificationRequest, VerificationResult
from gatehouse.features.cores.schemas import DrainCore, Lease, decode_lease
from gatehouse.features.cores.service import RegistrationService
from gatehouse.features.verification import schemas
from gatehouse.features.verification.limit_headers import limit_headers, result_headers
from gatehouse.features.verification.schemas import (
    SelfRevocationRequest,
    SelfRevocationResponse,
    Take,
    TakeLimit,
    TakeLimits,
)
from gatehouse.features.verification.self_revocation import SelfRevocationService
from gatehouse.features.verification.service import VerificationService
from gatehouse.features.verification.subject_limits import SubjectLimitService
from gatehouse.platform.web import responses
from gatehouse.platform.web.request import Refused
from gatehouse.platform.web.validation import decode_query
from gatehouse.services.gateway.core_request import key_headers
from gatehouse.services.gateway.cors import preflight_headers
from gatehouse.services.gateway.credentials import authenticate, challenge
from gatehouse.services.gateway.request import GatewayRequest

REGISTER_SCOPE = "cores:register"
AUTHORIZE = "/v1/keys/authorize"

#: Settings of a verification that a page sends. A page of any origin can verify a key that it has:
#: the browser adds no credential.
_OF_PAGES = CoreSettings(cors_origins=("*",))


async def verify_key_options(request: GatewayRequest) -> responses.Response:
    """The response to a preflight request, and to any other OPTIONS request."""
    request.use(_OF_PAGES)
    allow = [(b"allow", b"GET, HEAD, OPTIONS, POST")]
    return request.response(204, headers=preflight_headers(request) or allow)


async def verify_key(
    request: GatewayRequest, verification: VerificationService
) -> responses.Response:
    """Verify a key.

    Returns 200 for every decision, and 503 for `UNAVAILABLE`: `valid` and `code` contain the
    result. Denied requests do not count against rate limits or consume credits.
    """
    if request.has(b"origin"):
        request.use(_OF_PAGES)
    body = await request.service.json_body(request)
    token, verification_request = schemas.decode(body, lambda: request.client, request.charge_id)
    result = await verification.verify(token, verification_request)
    return decision(request, verification_request, result)


def decision(
    context: GatewayRequest, request: VerificationRequest, result: VerificationResult
) -> responses.Response:
    context.record_decision(result, request, request.core)
    public = for_public(result)
    status = 503 if public.code is Code.UNAVAILABLE else 200
    headers = result_headers(public) if status == 200 else [(b"retry-after", b"1")]
    return context.response(
        status, responses.encode(schemas.reply(public, context.request_id)), headers=headers
    )


async def verify_key_header(request: GatewayRequest) -> responses.Response:
    """Verify the key in the request headers.

    The same as `/v1/keys/authorize`, for the method GET only. Pages of other origins can read the
    response.
    """
    if request.has(b"origin"):
        request.use(_OF_PAGES)
    return await _authorize(request, request.query_string)


async def authorize_key(request: GatewayRequest) -> responses.Response:
    """Decide on a request to a service.

    Returns the decision as the HTTP status, and the headers that a service needs. Intended for
    reverse proxies, such as Envoy with `ext_authz` and nginx with `auth_request`. Accepts every
    method and ignores the body. The method of the request to the service is the parameter `method`,
    by default that of this request; for GET and HEAD, that in `X-Forwarded-Method` or
    `X-Original-Method`, if present. The client IP address is that of the caller, as reported by
    trusted proxies. A proxy that appends the path of the request sends the parameters before it:
    `/v1/keys/authorize/scope=orders:read/orders/17`.
    """
    appended = request.raw_path.removeprefix(AUTHORIZE.encode())
    parameters, query = appended[1:].partition(b"/")[0], request.query_string
    if appended and not (appended.startswith(b"/") and b"=" in parameters):
        raise NotFound(
            f"Before the path of the request, send the parameters: {AUTHORIZE}/scope=orders:read"
        )
    return await _authorize(request, parameters if appended else query)


async def _authorize(request: GatewayRequest, query: bytes) -> responses.Response:
    """The decision on the key in the headers. query: the parameters, which the proxy sets."""
    parameters = schemas.decode_parameters(
        query, request.client, _forwarded_method(request), request.charge_id
    )
    caller = await authenticate(request, parameters, parameters.core)
    return request.response(200, headers=[*caller.limit_headers, *key_headers(caller.key)])


def _forwarded_method(request: GatewayRequest) -> str:
    """The method of the request to the service. A proxy may add its header to that of the client.
    Several values match no method of a key.
    """
    if request.method not in ("GET", "HEAD"):
        return request.method
    names = (b"x-forwarded-method", b"x-original-method")
    values = [value for name in names for value in request.values(name)]
    return ",".join(values) or request.method


async def revoke_self(
    request: GatewayRequest, body: SelfRevocationRequest, revocation: SelfRevocationService
) -> SelfRevocationResponse:
    """Revoke a key with its token.

    The token is the only credential. The response is the same for every token that does not belong
    to an active or disabled key.
    """
    revoked = await revocation.revoke(
        body.token, body.reason, request_id=request.request_id, source_address=request.client
    )
    if revoked is None:
        error = Unauthorized("The token does not belong to an active or disabled key.")
        raise Refused(error, headers=challenge(invalid=True))
    request.key_id, effective = revoked
    return SelfRevocationResponse(request.key_id, effective, request.request_id)


async def take_limit(
    request: GatewayRequest, limit: str, body: TakeLimit, limits: SubjectLimitService
) -> responses.Response:
    """Count against a limit for a subject without a key.

    The limit is one of `/v1/limits` of the management API. Requires a key with the scope
    `role:service`. Returns 200 for every decision: `allowed` contains the result.
    """
    takes = [Take(limit=limit, subject=body.subject, cost=body.cost)]
    return await _take(request, limits, takes, dry_run=body.dry_run)


async def take_limits(
    request: GatewayRequest, body: TakeLimits, limits: SubjectLimitService
) -> responses.Response:
    """Count against several limits for subjects without a key.

    If one of the limits is exceeded, nothing is counted. Requires a key with the scope
    `role:service`.
    """
    return await _take(request, limits, body.takes, dry_run=body.dry_run)


async def _take(
    request: GatewayRequest, limits: SubjectLimitService, takes: list[Take], *, dry_run: bool
) -> responses.Response:
    verification = VerificationRequest(
        scopes=(Role.SERVICE.scope,), address=request.client, method=request.method, cost=0
    )
    await authenticate(request, verification)
    states = await limits.take(takes, dry_run=dry_run)
    reply = responses.encode(schemas.take_reply(states, request.request_id))
    return request.response(200, reply, headers=limit_headers(states))


async def register_core(
    request: GatewayRequest, name: str, registration: RegistrationService
) -> Lease:
    """Register an instance of a Core or renew its lease.

    Send `url` to register the instance. The name is then reserved for the key and its rotations.
    Send `lease_id` every `heartbeat_s` seconds to renew the lease. If an operator drained the
    instance, the response is 409 with the code `core_drained`.
    """
    agent = await _agent(request, name)
    lease = decode_lease(await request.service.json_body(request))
    if lease.lease_id is not None and lease.url is None:
        return await registration.renew(agent, name, lease.lease_id, lease)
    if lease.lease_id is None:
        registered = await registration.register(agent, name, lease)
    else:
        registered = await registration.renew(agent, name, lease.lease_id, lease)
    await _applied(request)
    return registered


async def drain_core(request: GatewayRequest, name: str, registration: RegistrationService) -> None:
    """Drain an instance of a Core.

    Requests in progress are completed. The instance receives no new requests.
    """
    agent = await _agent(request, name)
    query = decode_query(request.query_string, DrainCore)
    await registration.drain(agent, name, query)
    await _applied(request)


async def _applied(request: GatewayRequest) -> None:
    """Waits until Envoy uses the registered instances, in the worker that writes them."""
    if request.service.clusters is not None:
        await request.service.clusters.applied()


async def _agent(request: GatewayRequest, name: str) -> Actor:
    """The agent's key as an actor. Raises Unauthorized and Refused."""
    address, request.is_agent = request.client, True
    verification = VerificationRequest(
        scopes=(REGISTER_SCOPE,),
        core=name,
        address=address,
        method=request.method,
        charge_id=request.charge_id,
    )
    caller = await authenticate(request, verification)
    return Actor("key", caller.key.id, request.request_id, address)
