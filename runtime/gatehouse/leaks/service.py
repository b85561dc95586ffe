"""A key was found in public: it is ended, or only told of, as this deployment says; reporting it again changes nothing.

A report proves possession, because it holds the token: whoever reports a key that is none learns exactly that, and the work for
an unknown key, a wrong secret and a known one is the same up to the answer. Only a signed report comes this far (doors/console).

Puts together who may report leaks, and what is done then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gatehouse.clock import Clock
from gatehouse.crypto.token import Pepper, parse
from gatehouse.errors import Conflict
from gatehouse.identity.models import Actor
from gatehouse.keys.models import KeyState, KeyStore, StoredKey
from gatehouse.keys.service import KeyService, disable, revoke
from gatehouse.leaks.report_signatures import LeakReport, place
from gatehouse.leaks.repository import Leaks
from gatehouse.leaks.scanner import without_keys
from gatehouse.verification.decision import DUMMY_DIGEST

ACTION = "key.leak"


URL_CHARS_MAX = 500


LeakAction = Literal["notify", "disable", "revoke"]


@dataclass(frozen=True, slots=True)
class LeakService:
    """action: what is done to a key that was found; each find is told (key.leaked) whatever it is."""

    store: KeyStore
    leaks: Leaks
    clock: Clock
    pepper: Pepper
    prefix: str
    action: LeakAction

    async def take(self, reports: Sequence[LeakReport], actor: Actor) -> list[bool]:
        """For each report whether it holds a key of ours. Raises Unavailable: then it is to be sent again."""
        known: dict[str, StoredKey | None] = {}
        for report in reports:
            if report.token not in known:
                known[report.token] = await self._key(report.token)
                found = known[report.token]
                if found is not None:
                    await self._act(found, actor)
            key = known[report.token]
            if key is not None:
                await self._record(key, report, actor)
        return [known[report.token] is not None for report in reports]

    async def _key(self, token: str) -> StoredKey | None:
        """The key that the token proves possession of, in whatever state. One HMAC, found or not."""
        parsed = parse(token, self.prefix)
        if parsed is None:
            return None
        key = await self.store.get(parsed.id)
        digest, generation = (key.record.digest, key.record.pepper_generation) if key else (DUMMY_DIGEST, self.pepper.current)
        proven = self.pepper.matches(token, digest, generation)
        return key if proven else None

    async def _act(self, key: StoredKey, actor: Actor) -> None:
        """Does not wait for the gateways: they know within a second, and a report may hold many keys."""
        desk, reason = KeyService(self.store, self.clock, bound_s=0.0), "found in public"
        with contextlib.suppress(Conflict):  # its state is final already
            if self.action == "revoke":
                await revoke(key.record.id, reason, actor, store=self.store, clock=self.clock, bound_s=0.0)
            elif self.action == "disable" and key.record.state is KeyState.ACTIVE:
                # The last key that manages, too: the bootstrap token is left, and this one is in a stranger's hands.
                await disable(key.record.id, reason, actor, desk=desk, allow_last_admin=True)

    async def _record(self, key: StoredKey, report: LeakReport, actor: Actor) -> None:
        record = key.record
        event = actor.did(
            ACTION,
            target_type="key",
            target_id=record.id,
            at=self.clock.now(),
            details={
                "url": _clean(report.url),
                "source": _clean(report.source)[:64],
                "action": self.action,
                "state": record.state.value,
                "name": record.name,
                "owner": record.owner,
            },
        )
        await self.leaks.record(record.id, place(actor.id, report.url), event)


def _clean(text: str) -> str:
    """What a stranger wrote, fit to be stored: no key of ours in it, nothing unprintable."""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return without_keys(printable)[:URL_CHARS_MAX]
