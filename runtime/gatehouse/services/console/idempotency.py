"""Idempotent requests (draft-ietf-httpapi-idempotency-key-header-07).

The first request with an Idempotency-Key claims the key, and the encrypted response is stored for
REPLAY_S. A repeated request receives the stored response, including a created token. Decryption
requires the pepper and the Idempotency-Key, of which only a hash is stored (docs/decisions/0014).

If the outcome of the first request is unknown, for example after a crash, the audit trail
determines the outcome. Audit events are written in the transaction of the change, so a request
without an audit event changed nothing and can be processed again. A request with an audit event can
still be in progress, because the response is stored after the change."""

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from gatehouse.core.clock import Clock, to_datetime
from gatehouse.core.errors import (
    GatehouseError,
    IdempotencyKeyReused,
    RequestInProgress,
    ResponseLost,
    ResponseNotStored,
    Unavailable,
)
from gatehouse.core.tokens.sealing import seal, unseal
from gatehouse.core.tokens.token import Pepper
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.db.statements import RowMapping, prune
from gatehouse.platform.web.endpoint import Header
from gatehouse.platform.web.validation import invalid

REPLAY_S = 86_400

#: Maximum duration of a request in seconds. The longest request is a revocation, which waits up to
#: one minute.
RUNNING_S_MAX = 120.0

KEY_CHARS_MAX = 255
REPLAYED = "Idempotency-Replayed"

#: A Structured Field String (RFC 9651, section 3.3.3) with its quotes, which the draft requires, or
#: visible ASCII characters without quotes, backslashes and commas, as clients of other APIs send.
_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"|([!#-+\--\[\]-~]+)')

HEADER = Header(
    "Idempotency-Key",
    "A unique value, such as a UUID, with or without double quotes. Requests with the same value "
    "within 24 hours are processed only once."
    f" Repeated requests receive the first response, including tokens, with `{REPLAYED}: true`.",
    {"type": "string", "pattern": f"^(?:{_KEY.pattern})$", "maxLength": KEY_CHARS_MAX + 2},
    "8e03978e-40d5-43dd-bc93-6894a57f9324",
)

REPLAY_HEADER = Header(
    "Idempotency-Replay",
    "`only`: returns the stored response to an earlier request with this Idempotency-Key, method "
    "and path, and changes nothing. The request has no body, so the caller does not have to keep "
    "the values that the earlier request contained.",
    {"type": "string", "enum": ["only"]},
    "only",
)

_CLAIM = (
    "INSERT INTO idempotent_request AS request (lookup, fingerprint, request_id, claimed_at, "
    "expires_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (lookup) DO UPDATE "
    "SET fingerprint = $2, request_id = $3, claimed_at = $4, expires_at = $5, running = true, "
    "target_id = '', generation = NULL, sealed = NULL WHERE request.expires_at <= $4 "
    "OR (request.request_id = $6 AND request.sealed IS NULL) RETURNING true"
)

# The clocks of two consoles can differ by up to a minute. A change is made within an hour after the
# claim, even if the process was suspended.
_FIND = (
    "SELECT fingerprint, request.request_id, claimed_at, running, generation, sealed, "
    "coalesce(change.target_id, '') AS target_id, coalesce(occurred_at, claimed_at) AS changed_at "
    "FROM idempotent_request AS request LEFT JOIN LATERAL (SELECT target_id, occurred_at "
    "FROM audit_event WHERE sealed IS NULL AND occurred_at >= claimed_at - interval '1 minute' "
    "AND occurred_at < claimed_at + interval '1 hour' "
    "AND request_id = request.request_id AND outcome = 'success' ORDER BY occurred_at LIMIT 1) "
    "AS change ON true WHERE lookup = $1"
)

_SAVE = (
    "UPDATE idempotent_request SET running = false, target_id = $3, generation = $4, sealed = $5 "
    "WHERE lookup = $1 AND request_id = $2"
)


class Claim(msgspec.Struct, frozen=True):
    """Claim of an Idempotency-Key by a request. Times are Unix seconds."""

    lookup: bytes  # 32 bytes: hash of the caller and the key
    fingerprint: bytes  # 32 bytes: hash of the request
    request_id: str
    at: float


class Earlier(msgspec.Struct, frozen=True):
    """An earlier request with the same key."""

    fingerprint: bytes
    request_id: str
    claimed_at: float
    running: bool  # the request has not completed
    generation: int | None  # pepper generation of the encryption
    sealed: bytes | None  # the encrypted response, if it is stored
    # Resource that the request created or changed, from the audit trail; empty: none.
    target_id: str
    changed_at: float  # time of this change, or of the claim


_EARLIER = RowMapping(Earlier)


class StoredResponse(msgspec.Struct, frozen=True):
    """HTTP response. `target_id`: the resource that the request created or changed; empty if
    unknown. operation: method and path of the request.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    target_id: str = ""
    operation: str = ""


class IdempotencyStore:
    """Methods raise Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, claim: Claim) -> Earlier | None:
        """Claim the key. Returns None on success. Exactly one of several concurrent requests
        succeeds.
        """
        async with self._pool.transaction() as connection:
            if await connection.fetchval(_CLAIM, *_values(claim), ""):
                return None
            row = await connection.fetchrow(_FIND, claim.lookup)
        if row is None:
            # The key was released between the two statements. The next attempt will claim it.
            at = claim.at
            return Earlier(claim.fingerprint, claim.request_id, at, True, None, None, "", at)
        return _EARLIER.read(row)

    async def find(self, lookup: bytes) -> Earlier | None:
        row = await self._pool.fetchrow(_FIND, lookup)
        return None if row is None else _EARLIER.read(row)

    async def take_over(self, claim: Claim, earlier: Earlier) -> bool:
        """Claim the key of an earlier request that changed nothing. Returns False if another
        request claimed the key first.
        """
        return await self._pool.execute(_CLAIM, *_values(claim), earlier.request_id) == 1

    async def save(self, claim: Claim, *, target_id: str, generation: int, sealed: bytes) -> None:
        await self._pool.execute(
            _SAVE, claim.lookup, claim.request_id, target_id, generation, sealed
        )

    async def release(self, claim: Claim, *, forget: bool) -> None:
        """Release a claim without storing a response. `forget`: the request changed nothing, so the
        Idempotency-Key can be used again."""
        statement = (
            "DELETE FROM idempotent_request"
            if forget
            else "UPDATE idempotent_request SET running = false"
        )
        await self._pool.execute(
            f"{statement} WHERE lookup = $1 AND request_id = $2", claim.lookup, claim.request_id
        )

    async def prune(self, *, now: float) -> int:
        """Deletes what has expired. Returns the number of requests that did not complete."""
        table, before = ("idempotent_request", "expires_at"), to_datetime(now)
        incomplete = await prune(self._pool, *table, before=before, running=True)
        await prune(self._pool, *table, before=before)
        return incomplete


def _values(claim: Claim) -> tuple[object, ...]:
    return (
        claim.lookup,
        claim.fingerprint,
        claim.request_id,
        to_datetime(claim.at),
        to_datetime(claim.at + REPLAY_S),
    )


@dataclass(frozen=True, slots=True)
class IdempotencyGuard:
    store: IdempotencyStore
    clock: Clock
    pepper: Pepper

    async def run(
        self,
        caller: str,
        key: str,
        request_id: str,
        request: bytes,
        handle: Callable[[], Awaitable[StoredResponse]],
    ) -> StoredResponse:
        """The response from `handle`, or the stored response to the first request with this
        Idempotency-Key.

        request: unambiguous encoding of the method, the path and the body. Raises
        IdempotencyKeyReused if the Idempotency-Key was used for a different request,
        RequestInProgress, ResponseLost if the request succeeded, Unavailable, and all errors of
        `handle`.
        """
        now = self.clock.now()
        claim = Claim(
            lookup=_hash("lookup", caller, key),
            fingerprint=_hash("fingerprint", caller, key, request),
            request_id=request_id,
            at=now,
        )
        purpose = _purpose(caller, key)
        earlier = await self.store.claim(claim)
        if earlier is not None:
            if earlier.fingerprint != claim.fingerprint:
                raise IdempotencyKeyReused(
                    "This Idempotency-Key was used for a different request. Use a new "
                    "Idempotency-Key for each request."
                )
            if earlier.sealed is not None and earlier.generation is not None:
                return self._open(earlier.sealed, purpose, earlier.generation)
            await self._take_over(claim, earlier)
        return await self._handle(claim, purpose, handle)

    async def stored(self, caller: str, key: str, operation: str) -> StoredResponse:
        """The stored response to the request of the caller with this Idempotency-Key. `operation`:
        method and path. Raises ResponseNotStored, IdempotencyKeyReused for another operation,
        RequestInProgress, ResponseLost as in `run`, and Unavailable.
        """
        earlier, now = await self.store.find(_hash("lookup", caller, key)), self.clock.now()
        if earlier is None or earlier.claimed_at + REPLAY_S <= now:
            raise ResponseNotStored("No request with this Idempotency-Key has arrived.")
        if earlier.sealed is None or earlier.generation is None:
            self._check_outcome(earlier, now)
            raise ResponseNotStored("The request with this Idempotency-Key changed nothing.")
        response = self._open(earlier.sealed, _purpose(caller, key), earlier.generation)
        if response.operation != operation:
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used for another operation. Send the method and the path "
                "of the first request."
            )
        return response

    def _open(self, sealed: bytes, purpose: str, generation: int) -> StoredResponse:
        plain = unseal(sealed, purpose, self.pepper, generation)
        if plain is None:
            raise Unavailable(
                "The stored response is temporarily unavailable.",
                detail="pepper generation of a stored response not available",
            )
        return msgspec.msgpack.decode(plain, type=StoredResponse)

    async def _take_over(self, claim: Claim, earlier: Earlier) -> None:
        self._check_outcome(earlier, claim.at)
        if not await self.store.take_over(claim, earlier):
            raise _in_progress()

    @staticmethod
    def _check_outcome(earlier: Earlier, now: float) -> None:
        """Raises RequestInProgress, or ResponseLost if the request without a stored response
        changed something.
        """
        # After the change, only a revocation takes long.
        if earlier.running and earlier.changed_at + RUNNING_S_MAX > now:
            raise _in_progress()
        if earlier.target_id:
            raise ResponseLost(
                f"The first request with this Idempotency-Key changed {earlier.target_id}, "
                "but its response was lost. Read that resource, and rotate a key whose token was "
                "lost.",
                target_id=earlier.target_id,
            )

    async def _handle(
        self, claim: Claim, purpose: str, handle: Callable[[], Awaitable[StoredResponse]]
    ) -> StoredResponse:
        try:
            response = await handle()
        except BaseException as exc:
            # A rejected request changed nothing. For other errors, the audit trail shows what the
            # request changed.
            rejected = isinstance(exc, GatehouseError) and exc.status < 500
            with suppress(Unavailable):  # a repeated request finds the outcome in the audit trail
                await self.store.release(claim, forget=rejected)
            raise
        if response.status >= 400:
            with suppress(Unavailable):
                await self.store.release(claim, forget=response.status < 500)
            return response
        generation = self.pepper.current
        sealed = seal(
            msgspec.msgpack.encode(response), purpose, self.pepper, generation, secrets.token_bytes
        )
        with suppress(Unavailable):
            await self.store.save(
                claim, target_id=response.target_id, generation=generation, sealed=sealed
            )
        return response


def _in_progress() -> RequestInProgress:
    return RequestInProgress(
        "A request with this Idempotency-Key is in progress. Try again in a few seconds."
    )


def _purpose(caller: str, key: str) -> str:
    return f"replay:{_hash('seal', caller, key).hex()}"


def _hash(kind: str, *parts: str | bytes) -> bytes:
    """SHA-256 of the parts, each prefixed with its length, so that different parts have different
    encodings.
    """
    digest = hashlib.sha256(f"gatehouse-once-1 {kind}\0".encode())
    for part in parts:
        encoded = part if isinstance(part, bytes) else part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()


def idempotency_key(values: Sequence[str]) -> str | None:
    """The Idempotency-Key of a request from the values of the Idempotency-Key header. Raises
    BadRequest if it is malformed or repeated."""
    if not values:
        return None
    match = _KEY.fullmatch(values[0].strip()) if len(values) == 1 else None
    key = "" if match is None else match[1] or match[2]
    if not 0 < len(key) <= KEY_CHARS_MAX:
        message = "is sent more than once" if len(values) > 1 else "is malformed or too long"
        fix = f"send one UUID, or at most {KEY_CHARS_MAX} other visible ASCII characters"
        raise invalid("header.idempotency-key", message, fix)
    return key
