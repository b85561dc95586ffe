"""A record of an active key."""

from gatehouse.core.keys import KeyEnvironment, KeyId, KeyRecord, KeyState

RECORD = KeyRecord(
    id=KeyId("abcdefghijkl"),
    digest=bytes(32),
    pepper_generation=1,
    environment=KeyEnvironment.TEST,
    state=KeyState.ACTIVE,
    name="n",
    scopes=("cores:read",),
    cores=(),
    limits=(),
    expires_at=None,
    version=1,
)
