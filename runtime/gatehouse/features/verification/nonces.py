"""Stores the nonces of request signatures in Redis or Valkey, so that each nonce is accepted only
once across all workers.

Fails closed: every failure raises Unavailable, because without Redis a replayed signature cannot be
detected.
"""

import hashlib

from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyId
from gatehouse.platform.redis.connection import Redis

KEY_PREFIX = "gatehouse:nonce:"


class RedisNonces:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def is_new(self, key_id: KeyId, nonce: str, *, keep_s: int, charge_id: str = "") -> bool:
        """Returns False if the key has already used the nonce, unless for the request with this
        ID, which Envoy then repeats. Otherwise, stores the nonce for `keep_s` seconds, unless
        `keep_s` is 0. Raises Unavailable."""
        # Use a digest, because the client chooses the nonce and its length.
        name = f"{KEY_PREFIX}{key_id}:{hashlib.sha256(nonce.encode()).hexdigest()}"
        client = self._redis.client
        try:
            if not keep_s:
                return not await self._redis.call(client.exists(name))
            own = charge_id.encode()
            used = await self._redis.call(client.set(name, own, ex=keep_s, nx=True, get=True))
            return used is None or (bool(own) and used == own)
        except Unavailable as exc:
            raise Unavailable(
                "Signature verification is temporarily unavailable.", detail=f"nonces: {exc.detail}"
            ) from exc
