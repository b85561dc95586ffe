"""POST /v1/keys/{id}/explain: what the gateway would say to this key, check by check, using nothing up."""

from __future__ import annotations

from gatehouse.doors.console.caller import Door
from gatehouse.doors.console.found import known_id
from gatehouse.errors import NotFound
from gatehouse.flows.explain import explain
from gatehouse.types import Question
from gatehouse.wire.key_life import ExplainKey, Explanation, check_view
from gatehouse.wire.key_parts import rfc3339


async def explain_key(id: str, door: Door, wish: ExplainKey | None = None) -> Explanation:
    """Explain what the gateway would decide on this key, if its token came with this question. Uses nothing up."""
    wish = wish or ExplainKey()
    key = await door.keys.get(known_id(id))
    if key is None:
        raise NotFound("There is no key with this id")
    question = Question(scopes=tuple(wish.scopes), core=wish.core, cost=wish.cost, address=wish.address, method=wish.method)
    found = await explain(
        key,
        question,
        environment=door.key_environment,
        default_limit=door.default_limit,
        limits=door.limits,
        now=door.clock.now(),
    )
    return Explanation(
        code=found.code.value, checks=[check_view(one) for one in found.checks], decided_at=rfc3339(found.decided_at)
    )
