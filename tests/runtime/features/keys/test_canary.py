"""The keys of the canary key, as gateways with different values of the secret store them."""

from gatehouse.core.keys import KeyState
from gatehouse.core.lifecycle import Action
from gatehouse.core.roles import Role
from gatehouse.core.tokens.token import Pepper, build
from gatehouse.features.keys.canary import canary_key
from gatehouse.platform.db.pool import Pool

from tests.runtime.services.gateway.conftest import OPERATOR, key_service


async def test_gateway_with_earlier_tokens_revokes_no_later_key(module_pool: Pool) -> None:
    service = key_service(module_pool, confirmation_timeout_s=0.0)
    tokens = [service._new_token(service.environment, 1)[0] for _ in range(3)]
    texts = [token.text for token in tokens]

    async def states() -> list[KeyState]:
        return [(await service.get(token.id)).state for token in tokens]

    active, revoked = KeyState.ACTIVE, KeyState.REVOKED
    await canary_key(service, " ".join(texts[:2])).maintain()
    await canary_key(service, " ".join(texts[1:])).maintain()
    assert await states() == [revoked, active, active]
    await canary_key(service, " ".join(texts[:2])).maintain()
    assert await states() == [revoked, active, active]


async def test_key_is_stored_once_and_not_enabled_again(module_pool: Pool) -> None:
    service = key_service(module_pool, confirmation_timeout_s=0.0)
    token, _ = service._new_token(service.environment, 1)
    canary = canary_key(service, token.text)
    await canary.store()
    roles = frozenset({Role.OWNER})
    await service.act(token.id, Action.REVOKE, "leaked", OPERATOR, roles)
    await canary.maintain()
    assert canary.ids == {token.id}
    assert (await service.get(token.id)).state is KeyState.REVOKED
    query = "SELECT action FROM audit_event WHERE target_id = $1 ORDER BY seq"
    events = await module_pool.fetch(query, token.id)
    assert [event["action"] for event in events] == ["key.create", "key.revoke"]


def test_other_text_than_a_marked_token_is_ignored(module_pool: Pool) -> None:
    service = key_service(module_pool)
    token, _ = service._new_token(service.environment, 1)
    other = build("gtk", service.environment, bytes(12), bytes(32), pepper=_other(), generation=1)
    assert canary_key(service, f"x {token.text}").ids == {token.id}
    assert canary_key(service, other.text).ids == frozenset()


def _other() -> Pepper:
    return Pepper({1: bytes(range(1, 33))}, 1)
