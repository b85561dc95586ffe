"""Idempotent requests (draft-ietf-httpapi-idempotency-key-header-07).

The first request with an Idempotency-Key claims it, and its response is stored encrypted for REPLAY_S. A repeated request
receives the stored response, including a created token. Decryption requires the pepper and the Idempotency-Key, of which only a
hash is stored (docs/decisions/0014).

If the outcome of the first request is unknown, for example after a crash, the audit trail decides: it is written in the
transaction of the change, so a request without an audit event changed nothing and can run again."""

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

#: Maximum duration of a request in seconds. The longest is a revocation, which waits up to one minute.
RUNNING_S_MAX = 120.0
KEY_CHARS_MAX = 255


class StoredResponse(msgspec.Struct, frozen=True):
    """HTTP response. `target_id`: the resource that the request created or changed; empty if unknown."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    target_id: str = ""
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class IdempotencyGuard:
    store: IdempotencyStore
    clock: Clock
    pepper: Pepper
    random_bytes: Callable[[int], bytes]

    async def run(
        self, caller: str, key: str, request_id: str, request: bytes, handle: Callable[[], Awaitable[StoredResponse]]
    ) -> StoredResponse:
        """Response of `handle`, or the stored response of the first request with this Idempotency-Key.

        request: unambiguous encoding of method, path and body. Raises IdempotencyKeyReused (the Idempotency-Key was used for a
        different request), RequestInProgress, Conflict (the request succeeded but its response was lost), Unavailable, and all
        errors of `handle`.
        """
        now = self.clock.now()
        claim = Claim(
            lookup=_hash("lookup", caller, key),
            fingerprint=_hash("fingerprint", caller, key, request),
            request_id=request_id,
            at=now,
            expires_at=now + REPLAY_S,
        )
        purpose = f"replay:{_hash('seal', caller, key).hex()}"
        earlier = await self.store.claim(claim)
        if earlier is not None:
            if earlier.fingerprint != claim.fingerprint:
                raise IdempotencyKeyReused(
                    "This Idempotency-Key was used for a different request. Use a new Idempotency-Key for each request."
                )
            if earlier.sealed is not None and earlier.generation is not None:
                return self._open(earlier.sealed, purpose, earlier.generation)
            await self._take_over(claim, earlier, now)
        return await self._handle(claim, purpose, handle)

    def _open(self, sealed: bytes, purpose: str, generation: int) -> StoredResponse:
        plain = unseal(sealed, purpose, self.pepper, generation)
        if plain is None:
            raise Unavailable(
                "The stored response is not available at the moment",
                detail="pepper generation of a stored response not available",
            )
        return msgspec.structs.replace(msgspec.msgpack.decode(plain, type=StoredResponse), replayed=True)

    async def _take_over(self, claim: Claim, earlier: Earlier, now: float) -> None:
        if earlier.target_id:
            raise Conflict(
                f"The first request with this Idempotency-Key changed {earlier.target_id}, but its response was lost."
                " Read that resource, and rotate a key whose token was lost."
            )
        if earlier.running and now - earlier.claimed_at < RUNNING_S_MAX:
            raise RequestInProgress("A request with this Idempotency-Key is in progress. Try again in a few seconds.")
        if not await self.store.take_over(claim, earlier):
            raise RequestInProgress("A request with this Idempotency-Key is in progress. Try again in a few seconds.")

    async def _handle(self, claim: Claim, purpose: str, handle: Callable[[], Awaitable[StoredResponse]]) -> StoredResponse:
        try:
            response = await handle()
        except BaseException as exc:
            # A rejected request changed nothing. For other errors, the audit trail shows what the request changed.
            rejected = isinstance(exc, GatehouseError) and exc.status < 500
            await self._suppress_unavailable(self.store.release(claim, forget=rejected))
            raise
        if response.status >= 400:
            await self._suppress_unavailable(self.store.release(claim, forget=response.status < 500))
            return response
        generation = self.pepper.current
        sealed = seal(msgspec.msgpack.encode(response), purpose, self.pepper, generation, self.random_bytes)
        if sealed is not None:
            await self._suppress_unavailable(
                self.store.keep(claim, target_id=response.target_id, generation=generation, sealed=sealed)
            )
        return response

    @staticmethod
    async def _suppress_unavailable(operation: Awaitable[None]) -> None:
        """Ignore Unavailable: the request is complete, and a repeated request finds its outcome in the audit trail."""
        try:
            await operation
        except Unavailable:
            return


def _hash(kind: str, *parts: str | bytes) -> bytes:
    """SHA-256 of the parts, each prefixed with its length, so that different parts have different encodings."""
    digest = hashlib.sha256(f"gatehouse-once-1 {kind}\0".encode())
    for part in parts:
        encoded = part if isinstance(part, bytes) else part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()
