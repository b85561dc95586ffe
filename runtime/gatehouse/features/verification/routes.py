"""Endpoint that explains the decision on a key."""

from gatehouse.core.roles import KEY_READERS
from gatehouse.features.verification.explanation import ExplanationService
from gatehouse.features.verification.schemas import ExplainKey, Explanation
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.request import Request


async def explain_key(
    request: Request, id: str, body: ExplainKey, explanations: ExplanationService
) -> Explanation:
    """Explain a verification.

    Returns the decision that the gateway would make on a request with this key, and the result of
    each check. Does not count against rate limits or consume credits.
    """
    return await explanations.explain(id, body, now=request.now)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/keys/{id}/explain",
        explain_key,
        roles=KEY_READERS,
        read_only=True,
        errors=(404,),
        tag="keys",
    ),
)
