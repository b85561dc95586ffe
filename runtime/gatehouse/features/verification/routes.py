"""Endpoint that explains the decision on a key."""

from __future__ import annotations

from gatehouse.core.roles import KEY_READERS
from gatehouse.core.verification import VerificationRequest
from gatehouse.features.keys.routes import existing_key
from gatehouse.features.verification.explanation import ExplainKey, Explanation, explain
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.services.console.dependencies import Request


async def explain_key(request: Request, id: str, body: ExplainKey) -> Explanation:
    """Explain a verification.

    Returns the decision that the gateway would make on a request with this key, and the result of each check. Does not count
    against rate limits or consume credits.
    """
    dependencies = request.dependencies
    return await explain(
        await existing_key(request, id),
        VerificationRequest(scopes=tuple(body.scopes), core=body.core, cost=body.cost, address=body.address, method=body.method),
        environment=dependencies.key_environment,
        default_limit=dependencies.default_limit,
        limits=dependencies.counters,
        now=dependencies.clock.now(),
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/keys/{id}/explain",
        handler=explain_key,
        roles=KEY_READERS,
        read_only=True,
        errors=(404,),
        tag="keys",
    ),
)
