"""Rate limits without a key: for subjects that a caller names, such as users or addresses."""

import hashlib
from dataclasses import dataclass

from gatehouse.core.errors import NotFound
from gatehouse.core.keys import RateLimit
from gatehouse.core.tokens.token import Pepper
from gatehouse.core.verification import Charge, RateLimitState
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.features.verification.repository import KeyLoader
from gatehouse.features.verification.schemas import Take

#: Begins the subjects of these counters. The ID of a key family has no `=`.
_MARK = "="


@dataclass(frozen=True, slots=True)
class SubjectLimitService:
    """Counts against named limits, in the same way as against those of keys.

    pepper: names of subjects, which can be personal data, are stored as HMACs.
    """

    keys: KeyLoader
    limits: RateLimits
    pepper: Pepper

    async def take(self, takes: list[Take], *, dry_run: bool) -> tuple[RateLimitState, ...]:
        """Counts against all limits, or against none if one of them is exceeded. Returns a state
        for each. dry_run: nothing is counted. Raises NotFound and Unavailable.
        """
        (subject, limits), *others = [await self._part(take) for take in takes]
        return await self.limits.take(Charge(subject, limits, int(not dry_run), tuple(others)))

    async def _part(self, take: Take) -> tuple[str, tuple[RateLimit, ...]]:
        record = await self.keys.limits.find(take.limit)
        if record is None or record.is_deleted:
            raise NotFound(f"No limit has the name {take.limit}.")
        limit = RateLimit(record.name, record.quota, record.window_s, record.burst, take.cost)
        text = hashlib.sha256(take.subject.encode()).hexdigest()  # an HMAC is of ASCII
        digest = self.pepper.hmac(f"limit:{record.name}:{text}").hex()[:32]
        return f"{_MARK}{digest}", (limit,)
