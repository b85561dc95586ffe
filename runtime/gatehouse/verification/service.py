"""Admits a token, or says why not: the one function behind the verify endpoint and the proxy, so that they cannot disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gatehouse.clock import Clock
from gatehouse.crypto import http_signatures as signatures
from gatehouse.crypto.sealed_secret import unseal
from gatehouse.crypto.token import Pepper, parse
from gatehouse.errors import BadRequest, Problem, Unavailable
from gatehouse.keys.models import KeyEnvironment, KeyId, KeyRecord, RateLimit, SignatureAlgorithm
from gatehouse.verification.decision import DUMMY_DIGEST, charged, judge, judge_credits, judge_limits
from gatehouse.verification.imported_keys import UNPROVEN, ImportedKey, ImportedKeys
from gatehouse.verification.models import (
    Charge,
    Code,
    Credits,
    CreditState,
    Keys,
    Limits,
    Nonces,
    RateLimitState,
    VerificationRequest,
    VerificationResult,
)

#: (key id, what its digest is an HMAC of, its pepper generation): told of each use of a key
#: that is not stored under the current generation.
Rewrap = Callable[[KeyId, str, int], None]


class DecisionTime(NamedTuple):
    """When a decision was made (Unix seconds), and how old the picture of the keys was then. Read once: waiting for a limit
    afterwards ages neither."""

    now: float
    staleness_ms: int


@dataclass(frozen=True, slots=True)
class VerificationService:
    """What a decision needs.

    prefix, environment: what this deployment's keys look like and serve.
    default_limit: for a key that was created without limits.
    max_staleness_ms: when the picture of the keys is older, every well-formed token gets UNAVAILABLE.
    credits: the purses of keys that have one; without it such a key is UNAVAILABLE.
    rewrap: moves keys to the current pepper generation as they are used.
    foreign: finds imported keys by tokens of other formats; None: there are none.
    nonces: which signatures were used; without it, or when it is away, a signed request is UNAVAILABLE, never believed.
    """

    keys: Keys
    limits: Limits
    clock: Clock
    pepper: Pepper
    prefix: str
    environment: KeyEnvironment
    default_limit: RateLimit
    max_staleness_ms: int
    credits: Credits | None = None
    rewrap: Rewrap | None = None
    foreign: ImportedKeys | None = None
    nonces: Nonces | None = None

    async def admit(self, token: str, question: VerificationRequest) -> VerificationResult:
        """Decides. `record` is set only when the token proved possession; REVOKED is for logs, see `decide.for_public`.

        A broken world is the code UNAVAILABLE. Limits and credits are charged only when everything else is in order, and all
        together. Raises BadRequest alone, when the holder of the key names a limit that it cannot be counted against.
        """
        parsed = parse(token, self.prefix)
        material = token  # what the digest is an HMAC of
        try:
            if parsed is not None:
                record = await self.keys.find(parsed.id)
            else:
                found = await self._foreign(token)
                if found is None:
                    return self._verdict(Code.NOT_FOUND, self._moment())
                record, material = found.record, found.material
        except Unavailable:
            return self._verdict(Code.UNAVAILABLE, self._moment())
        moment = self._moment()
        if moment.staleness_ms > self.max_staleness_ms:
            # Failure side: closed. Somebody may have revoked the key and we would not know.
            return self._verdict(Code.UNAVAILABLE, moment)
        # Always one comparison, also for an id that nobody has.
        digest, generation = (DUMMY_DIGEST, self.pepper.current) if record is None else (record.digest, record.pepper_generation)
        possession = self.pepper.matches(material, digest, generation)
        code = judge(record, question, possession=possession, environment=self.environment, now=moment.now)
        if code is not Code.VALID or record is None:
            return self._verdict(code, moment, record if possession else None)
        if record.pepper_generation != self.pepper.current and self.rewrap is not None:
            self.rewrap(record.id, material, record.pepper_generation)
        limits = charged(record, question, self.default_limit)
        if isinstance(limits, str):
            raise _no_limit(limits, question)
        charge = Charge(subject=record.subject, limits=limits, cost=question.cost)
        try:
            if record.signing is not None and (record.signing.required or question.signed is not None):
                flaw = await self._flaw(record, question, moment.now)
                if flaw is not None:
                    return self._verdict(Code.SIGNATURE_INVALID, moment, record, reason=flaw.value)
            if record.has_credits:
                return await self._spend(record, charge, moment)
            states = await self.limits.take(charge)
        except Unavailable:
            return self._verdict(Code.UNAVAILABLE, moment, record)
        return self._verdict(judge_limits(states), moment, record, states)

    async def _foreign(self, token: str) -> ImportedKey | None:
        """The imported key that a token of another format may belong to, after its first use; None: it cannot be one."""
        found = None if self.foreign is None else await self.foreign.find(token)
        if self.foreign is None or found is None or found.record is None or found.record.digest != UNPROVEN:
            return found
        return ImportedKey(await self.foreign.prove(found.record, token, found.material), found.material)

    async def _flaw(self, record: KeyRecord, question: VerificationRequest, now: float) -> signatures.SignatureError | None:
        """What is wrong with the signature, None when it counts; a question of cost 0 does not use it up. Raises Unavailable.

        The nonce is asked for last, so that only whoever can sign makes Redis remember anything.
        """
        signing = record.signing
        if signing is None:
            return None
        if question.signed is None:
            return signatures.SignatureError.MISSING
        key: bytes | None = signing.key
        if signing.algorithm is SignatureAlgorithm.HMAC_SHA256:
            key = unseal(signing.key, record.subject, self.pepper, signing.pepper_generation)
        if key is None or self.nonces is None:
            # Failure side: closed. Without the generation of the seal, or without a memory, nothing can be vouched for.
            raise Unavailable
        found = signatures.check(question.signed, key_id=record.id, algorithm=signing.algorithm, key=key, now=now)
        if isinstance(found, signatures.SignatureError):
            return found
        fresh = await self.nonces.is_new(record.id, found.nonce, keep_s=found.keep_s if question.cost else 0)
        return None if fresh else signatures.SignatureError.REPLAYED

    async def _spend(self, record: KeyRecord, charge: Charge, moment: DecisionTime) -> VerificationResult:
        """Limits and credits together, so that a refusal by one uses up nothing of the other. Raises Unavailable.

        First a look at the limits, so that a client that is told to wait costs the database nothing; then the purse; then the
        limits. When another request took the last of a limit in between, the credits are given back.
        """
        if self.credits is None:
            raise Unavailable
        looked = await self.limits.take(Charge(subject=charge.subject, limits=charge.limits, cost=0))
        if judge_limits(looked) is not Code.VALID:
            return self._verdict(Code.RATE_LIMITED, moment, record, looked)
        purse = await self.credits.spend(charge.subject, charge.cost)
        if purse is None:
            raise Unavailable  # the purse is being taken away: the next look at the key knows
        if purse.exceeded or not charge.cost:
            return self._verdict(judge_credits(purse), moment, record, looked, purse)
        try:
            states = await self.limits.take(charge)
        except Unavailable:
            await self.credits.give_back(charge.subject, charge.cost)
            raise
        code = judge_limits(states)
        if code is not Code.VALID:
            await self.credits.give_back(charge.subject, charge.cost)
            return self._verdict(code, moment, record, states)
        return self._verdict(code, moment, record, states, purse)

    def _moment(self) -> DecisionTime:
        return DecisionTime(self.clock.now(), self.keys.staleness_ms())

    def _verdict(
        self,
        code: Code,
        moment: DecisionTime,
        record: KeyRecord | None = None,
        states: tuple[RateLimitState, ...] = (),
        purse: CreditState | None = None,
        *,
        reason: str = "",
    ) -> VerificationResult:
        return VerificationResult(
            code=code,
            record=record,
            limits=states,
            decided_at=moment.now,
            staleness_ms=moment.staleness_ms,
            credits=purse,
            reason=reason,
        )


def _no_limit(name: str, question: VerificationRequest) -> BadRequest:
    known = any(wish.name == name and wish.quota is not None for wish in question.limits)
    message = "is a limit of the key; it can get another cost, but no other quota" if known else "is no limit of this key"
    fix = "send its name and cost alone" if known else "send quota and window_s with it, or leave it out"
    return BadRequest("The request cannot be counted", errors=(Problem(f"body.limits.{name}", message, fix),))
