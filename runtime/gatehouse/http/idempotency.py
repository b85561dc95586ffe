"""A request that acts once, however often it is sent: draft-ietf-httpapi-idempotency-key-header-07.

The first request with a key takes it, acts, and leaves its answer, sealed, for REPLAY_S. A repeat gets that answer again, token
and all; it opens only with the pepper and the caller's own key, of which a hash alone is stored (docs/decisions/0014).

A request that did not say how it ended is looked up in the audit trail, which is written in one transaction with every act: what
was done is not done again, and what was not may be."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from gatehouse.clock import Clock
from gatehouse.crypto.sealing import seal, unseal
from gatehouse.crypto.token import Pepper
from gatehouse.errors import Conflict, GatehouseError, IdempotencyKeyReused, RequestInProgress, Unavailable
from gatehouse.http.idempotency_store import Claim, Earlier, IdempotencyStore

REPLAY_S = 86_400


#: No request runs longer than this: a revocation waits a minute at most, a statement of the database less.
RUNNING_S_MAX = 120.0


KEY_CHARS_MAX = 255


class StoredResponse(msgspec.Struct, frozen=True):
    """A whole HTTP answer. `target_id`: what the request made or changed, empty when it is not known."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    target_id: str = ""
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class IdempotencyGuard:
    replays: IdempotencyStore
    clock: Clock
    pepper: Pepper
    random_bytes: Callable[[int], bytes]

    async def run(
        self, caller: str, key: str, request_id: str, said: bytes, act: Callable[[], Awaitable[StoredResponse]]
    ) -> StoredResponse:
        """The answer of `act`, or of the request that was first with this key. `said`: method, path and content, unambiguously.

        Raises IdempotencyKeyReused (the key was sent with something else), RequestInProgress, Conflict (done, and its answer
        is gone), what `act` raises, Unavailable.
        """
        now = self.clock.now()
        claim = Claim(
            lookup=_hash("lookup", caller, key),
            fingerprint=_hash("fingerprint", caller, key, said),
            request_id=request_id,
            at=now,
            expires_at=now + REPLAY_S,
        )
        purpose = f"replay:{_hash('seal', caller, key).hex()}"
        earlier = await self.replays.claim(claim)
        if earlier is not None:
            if earlier.fingerprint != claim.fingerprint:
                raise IdempotencyKeyReused("This Idempotency-Key was sent with another request; take a new one for each request")
            if earlier.sealed is not None and earlier.generation is not None:
                return self._open(earlier.sealed, purpose, earlier.generation)
            await self._take_over(claim, earlier, now)
        return await self._act(claim, purpose, act)

    def _open(self, sealed: bytes, purpose: str, generation: int) -> StoredResponse:
        plain = unseal(sealed, purpose, self.pepper, generation)
        if plain is None:
            raise Unavailable("The first answer cannot be read at the moment", detail="pepper generation of a replay not held")
        return msgspec.structs.replace(msgspec.msgpack.decode(plain, type=StoredResponse), replayed=True)

    async def _take_over(self, claim: Claim, earlier: Earlier, now: float) -> None:
        if earlier.target_id:
            raise Conflict(
                f"The first request with this Idempotency-Key did its work on {earlier.target_id}, and its answer is gone;"
                " look there, and rotate a key whose token was lost"
            )
        if earlier.running and now - earlier.claimed_at < RUNNING_S_MAX:
            raise RequestInProgress("A request with this Idempotency-Key is being worked on; ask again in a moment")
        if not await self.replays.take_over(claim, earlier):
            raise RequestInProgress("A request with this Idempotency-Key is being worked on; ask again in a moment")

    async def _act(self, claim: Claim, purpose: str, act: Callable[[], Awaitable[StoredResponse]]) -> StoredResponse:
        try:
            answer = await act()
        except BaseException as exc:
            # A refusal did nothing. Of anything else the audit trail will say what it did, when somebody asks.
            refused = isinstance(exc, GatehouseError) and exc.status < 500
            await self._quietly(self.replays.release(claim, forget=refused))
            raise
        if answer.status >= 400:
            await self._quietly(self.replays.release(claim, forget=answer.status < 500))
            return answer
        generation = self.pepper.current
        sealed = seal(msgspec.msgpack.encode(answer), purpose, self.pepper, generation, self.random_bytes)
        if sealed is not None:
            await self._quietly(self.replays.keep(claim, target_id=answer.target_id, generation=generation, sealed=sealed))
        return answer

    @staticmethod
    async def _quietly(work: Awaitable[None]) -> None:
        """Failure side: open. The act is done or refused already, and a repeat finds out by the audit trail."""
        try:
            await work
        except Unavailable:
            return


def _hash(kind: str, *parts: str | bytes) -> bytes:
    """SHA-256 over the parts, each behind its length, so that no two lists share an encoding."""
    digest = hashlib.sha256(f"gatehouse-once-1 {kind}\0".encode())
    for part in parts:
        encoded = part if isinstance(part, bytes) else part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()
