"""Stores the nonces of request signatures in Redis or Valkey, so that each nonce is accepted only
once across all workers.

Fails closed: every failure raises Unavailable, because without Redis a replayed signature cannot be
detected.
"""

from __future__ import annotations

import hashlib

from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyId
from gatehouse.platform.redis.batches import ScriptBatches
from gatehouse.platform.redis.connection import RedisLogin, Reply, Script

KEY_PREFIX = "gatehouse:nonce:"

# ARGV: seconds for which each nonce is stored. With 0, the script only reads. Returns 1 for a new
#     nonce and 0 for a used one.
SCRIPT = Script("""
local result = {}
for i = 1, #KEYS do
  if ARGV[i] == '0' then
    result[i] = 1 - redis.call('EXISTS', KEYS[i])
  else
    result[i] = redis.call('SET', KEYS[i], '', 'NX', 'EX', ARGV[i]) and 1 or 0
  end
end
return result
""")

_Nonce = tuple[str, int]  # name, and seconds for which the nonce is stored


class RedisNonces:
    """Store of used nonces. `timeout_s`: timeout of a call to Redis."""

    def __init__(self, login: RedisLogin, *, timeout_s: float) -> None:
        self._batches = ScriptBatches[_Nonce, bool](
            login, SCRIPT, timeout_s=timeout_s, encode=_encode, decode=_decode
        )

    async def is_new(self, key_id: KeyId, nonce: str, *, keep_s: int) -> bool:
        """Returns False if the key has already used the nonce. Otherwise, stores the nonce for
        `keep_s` seconds, unless `keep_s` is 0. Raises Unavailable."""
        # Use a digest, because the client chooses the nonce and its length.
        name = f"{KEY_PREFIX}{key_id}:{hashlib.sha256(nonce.encode()).hexdigest()}"
        try:
            return await self._batches.call((name, keep_s))
        except Unavailable as exc:
            raise Unavailable(
                "Signature verification is temporarily unavailable.", detail=f"nonces: {exc.detail}"
            ) from exc

    async def close(self) -> None:
        await self._batches.close()


def _encode(nonces: list[_Nonce]) -> tuple[list[str], list[str]]:
    return [name for name, _ in nonces], [str(keep_s) for _, keep_s in nonces]


def _decode(nonces: list[_Nonce], reply: list[Reply]) -> list[bool]:
    return [new == 1 for new in reply]
