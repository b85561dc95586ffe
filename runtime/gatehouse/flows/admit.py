"""Admits a token, or says why not: the one function behind the verify endpoint and the proxy, so that they cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass

from gatehouse.core.apikey import Pepper, parse
from gatehouse.core.decide import DUMMY_DIGEST, judge, judge_limits
from gatehouse.errors import Unavailable
from gatehouse.store.ports import Charge, Clock, Keys, Limits
from gatehouse.types import Code, KeyEnvironment, KeyRecord, Limit, LimitState, Question, Verdict


@dataclass(frozen=True, slots=True)
class Admission:
    """What a decision needs.

    prefix, environment: what this deployment's keys look like and serve.
    default_limit: for a key that was created without limits.
    staleness_ms_max: when the picture of the keys is older, every well-formed token gets UNAVAILABLE.
    """

    keys: Keys
    limits: Limits
    clock: Clock
    pepper: Pepper
    prefix: str
    environment: KeyEnvironment
    default_limit: Limit
    staleness_ms_max: int

    async def admit(self, token: str, question: Question) -> Verdict:
        """Decides. `record` is set only when the token proved possession; REVOKED is for logs, see `decide.for_public`.

        Never raises: a broken world is the code UNAVAILABLE. The limits of a key are charged only when everything else is
        in order, and all together.
        """
        parsed = parse(token, self.prefix)
        if parsed is None:
            return self._verdict(Code.NOT_FOUND)
        try:
            record = await self.keys.find(parsed.id)
        except Unavailable:
            return self._verdict(Code.UNAVAILABLE)
        if self.keys.staleness_ms() > self.staleness_ms_max:
            # Failure side: closed. Somebody may have revoked the key and we would not know.
            return self._verdict(Code.UNAVAILABLE)
        # Always one comparison, also for an id that nobody has.
        digest, generation = (DUMMY_DIGEST, self.pepper.current) if record is None else (record.digest, record.pepper_generation)
        possession = self.pepper.matches(token, digest, generation)
        now = self.clock.now()
        code = judge(record, question, possession=possession, environment=self.environment, now=now)
        if code is not Code.VALID or record is None:
            return self._verdict(code, record if possession else None, now=now)
        charge = Charge(subject=record.id, limits=record.limits or (self.default_limit,), cost=question.cost)
        try:
            states = await self.limits.take(charge)
        except Unavailable:
            return self._verdict(Code.UNAVAILABLE, record, now=now)
        return self._verdict(judge_limits(states), record, states, now=now)

    def _verdict(
        self,
        code: Code,
        record: KeyRecord | None = None,
        states: tuple[LimitState, ...] = (),
        *,
        now: float | None = None,
    ) -> Verdict:
        decided_at = self.clock.now() if now is None else now
        return Verdict(code=code, record=record, limits=states, decided_at=decided_at, staleness_ms=self.keys.staleness_ms())
