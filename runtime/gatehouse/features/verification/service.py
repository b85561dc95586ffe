"""Verifies tokens. The verify endpoints and the proxy call the same function,
`VerificationService.verify`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import msgspec

from gatehouse.core.clock import Clock
from gatehouse.core.decision import evaluate, evaluate_limits
from gatehouse.core.errors import Unauthorized, Unavailable
from gatehouse.core.http import http_signatures
from gatehouse.core.http.http_signatures import SignatureError
from gatehouse.core.keys import KeyEnvironment, KeyId, KeyRecord, RateLimit
from gatehouse.core.tokens.token import proves_possession
from gatehouse.core.verification import (
    Charge,
    Code,
    RateLimitState,
    VerificationRequest,
    VerificationResult,
)
from gatehouse.features.keys.possession import KeyFinder
from gatehouse.features.verification.nonces import RedisNonces
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.features.verification.repository import CreditRepository, KeyLoader

#: Time of a decision (Unix seconds) and age of the key state at that time (milliseconds). Waiting
#: for a rate limit changes neither.
_DecisionTime = tuple[float, int]


@dataclass(frozen=True, slots=True)
class VerificationService:
    """Verifies tokens.

    environment: environment of this deployment's keys.
    default_limits: rate limits of keys without their own rate limits.
    max_staleness_ms: maximum age of the key state. While the key state is older, every well-formed
        token results in UNAVAILABLE.
    on_old_pepper: called with the key ID, digest material and pepper generation of a key that is
        not stored under the current pepper, so that the key is migrated.
    nonces: nonces of used signatures. None if Redis is not configured, in which case signed
        requests result in UNAVAILABLE.
    """

    keys: KeyLoader
    limits: RateLimits
    credits: CreditRepository
    finder: KeyFinder[KeyRecord]
    nonces: RedisNonces | None
    on_old_pepper: Callable[[KeyId, str, int], None]
    clock: Clock
    environment: KeyEnvironment
    default_limits: tuple[RateLimit, ...]
    max_staleness_ms: int

    async def verify(self, token: str, request: VerificationRequest) -> VerificationResult:
        """Verifies a token. The code REVOKED is for logs; responses use `decision.for_public`.

        Unavailable dependencies result in the code UNAVAILABLE. A request counts against limits and
        consumes credits only if all other checks pass.
        """
        try:
            named = await self.finder.named(token)
        except Unavailable:
            return VerificationResult(Code.UNAVAILABLE, *self._decision_time())
        time = now, staleness_ms = self._decision_time()
        if named is None:
            return VerificationResult(Code.NOT_FOUND, now, staleness_ms)
        record, material = named
        if staleness_ms > self.max_staleness_ms:
            # Fails closed: the key may have been revoked in the meantime.
            return VerificationResult(Code.UNAVAILABLE, *time)
        possession = proves_possession(self.finder.pepper, material, record)
        if record is not None and not possession:
            # A denial of an unknown ID includes this check, and must not take longer.
            self.finder.plausible(record.id)
        if possession and record is not None:
            try:
                record = self.keys.resolved(record) or await self.keys.resolve(record)
            except Unavailable:
                return VerificationResult(Code.UNAVAILABLE, *time, record)
        code = evaluate(
            record, request, possession=possession, environment=self.environment, now=now
        )
        if code is not Code.VALID or record is None:
            reason = SignatureError.MISSING.value if code is Code.SIGNATURE_INVALID else ""
            return VerificationResult(code, *time, record if possession else None, reason=reason)
        if record.pepper_generation != self.finder.pepper.current:
            self.on_old_pepper(record.id, material, record.pepper_generation)
        charge = self._charge(record, request.cost)
        try:
            if record.uses_credits or (record.public_key and request.signed is not None):
                await asyncio.sleep(0)  # a gateway continues in a task, which timeouts require
                result = await self._check_others(record, request, charge, time)
                if result is not None:
                    return result
            states = await self.limits.take(charge)
        except Unavailable:
            return VerificationResult(Code.UNAVAILABLE, *time, record)
        return VerificationResult(evaluate_limits(states), now, staleness_ms, record, states)

    async def _check_others(
        self, record: KeyRecord, request: VerificationRequest, charge: Charge, time: _DecisionTime
    ) -> VerificationResult | None:
        """Checks the signature, and the limits together with credits. None: only the limits are
        left. Raises Unavailable.

        Reads the limits before it stores a nonce in Redis or queries the database. The rate limits
        therefore also limit the number of nonces of a key. With cost 0, the nonce is not stored.
        """
        nonce, nonces, signed = "", self.nonces, request.signed if record.public_key else None
        if signed is not None:
            if nonces is None:
                # Fails closed: without the nonces, a request could be replayed.
                raise Unavailable
            try:
                nonce = http_signatures.check(
                    signed, key_id=record.id, public_key=record.public_key, now=time[0]
                ).nonce
            except http_signatures.Rejected as exc:
                reason = exc.reason.value
                return VerificationResult(Code.SIGNATURE_INVALID, *time, record, reason=reason)
        states = await self.limits.take(msgspec.structs.replace(charge, cost=0))
        if evaluate_limits(states) is not Code.VALID:
            return VerificationResult(Code.RATE_LIMITED, *time, record, states)
        keep_s = http_signatures.NONCE_S if charge.cost else 0
        if (
            nonce
            and nonces
            and not await nonces.is_new(
                record.id, nonce, keep_s=keep_s, charge_id=request.charge_id
            )
        ):
            reason = SignatureError.REPLAYED.value
            return VerificationResult(Code.SIGNATURE_INVALID, *time, record, reason=reason)
        if record.uses_credits:
            return await self._take_limits_and_credits(record, request, charge, states, time)
        code = await self._evaluate_again(record.id, request)
        return None if code is Code.VALID else VerificationResult(code, *time, record)

    async def authorize(self, key_id: KeyId, request: VerificationRequest) -> None:
        """Raises Unauthorized if the key no longer permits a request in progress, and
        Unavailable.
        """
        if await self._evaluate_again(key_id, request) is not Code.VALID:
            raise Unauthorized("The API key no longer permits this request")

    async def _evaluate_again(self, key_id: KeyId, request: VerificationRequest) -> Code:
        """The code for a request that has waited. Raises Unavailable."""
        record = await self.keys.load(key_id)
        now, staleness_ms = self._decision_time()
        if staleness_ms > self.max_staleness_ms:
            raise Unavailable("API keys cannot be verified temporarily.")
        return evaluate(record, request, possession=True, environment=self.environment, now=now)

    async def refund(self, record: KeyRecord, request: VerificationRequest, began: float) -> None:
        """Refunds the credits for a request that was allowed but not performed. The request still
        counts against rate limits. began: `perf_counter()` before the request was verified. Never
        raises.
        """
        if record.uses_credits:
            subjects = record.credit_subjects
            await self.credits.refund(subjects, request.cost, began, request.charge_id)

    async def _take_limits_and_credits(
        self,
        record: KeyRecord,
        request: VerificationRequest,
        charge: Charge,
        states: tuple[RateLimitState, ...],
        time: _DecisionTime,
    ) -> VerificationResult:
        """Counts a request against rate limits and consumes credits, but only if both are
        sufficient. Raises Unavailable.

        Deducts the credits, for which the requests of a key wait in turn, and then counts the
        request against the limits. If the key or a limit no longer allows the request, the credits
        are refunded. states: of the limits before the request.
        """
        began = perf_counter()
        balances = await self.credits.spend(record.credit_subjects, charge.cost, request.charge_id)
        if balances is None:
            # the credits are being removed, which the next read of the key will reflect
            raise Unavailable
        balance = balances.get(record.subject), balances.get(record.shared_subject)
        if any(each is not None and each.exceeded for each in balance):
            return VerificationResult(Code.USAGE_EXCEEDED, *time, record, states, *balance)
        try:
            code = await self._evaluate_again(record.id, request)
            if code is Code.VALID and charge.cost:
                states = await self.limits.take(charge)
                code = evaluate_limits(states)
        except Unavailable:
            await self.refund(record, request, began)
            raise
        if code is not Code.VALID:
            await self.refund(record, request, began)
            return VerificationResult(code, *time, record, states)
        return VerificationResult(code, *time, record, states, *balance)

    def _charge(self, record: KeyRecord, cost: int) -> Charge:
        limits = record.limits or self.default_limits
        if not record.shared_limits:
            return Charge(record.subject, limits, cost)
        shared = record.shared_subject, record.shared_limits
        return Charge(record.subject, limits, cost, (shared,))

    def _decision_time(self) -> _DecisionTime:
        return self.clock.now(), self.keys.staleness_ms()
