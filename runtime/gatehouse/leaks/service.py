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
from gatehouse.errors import Conflict
from gatehouse.identity.models import Actor
from gatehouse.keys.models import Key, KeyState
from gatehouse.keys.service import KeyService
from gatehouse.leaks.report_signatures import LeakReport, place
from gatehouse.leaks.repository import Leaks
from gatehouse.leaks.scanner import without_keys

ACTION = "key.leak"


URL_CHARS_MAX = 500


LeakAction = Literal["notify", "disable", "revoke"]


@dataclass(frozen=True, slots=True)
class LeakService:
    """action: what is done to a key that was found; each find is told (key.leaked) whatever it is."""

    keys: KeyService
    leaks: Leaks
    clock: Clock
    action: LeakAction

    async def take(self, reports: Sequence[LeakReport], actor: Actor) -> list[bool]:
        """For each report whether it holds a key of ours. Raises Unavailable: then it is to be sent again."""
        known: dict[str, Key | None] = {}
        for report in reports:
            if report.token not in known:
                known[report.token] = await self.keys.find_by_token(report.token)
                found = known[report.token]
                if found is not None:
                    await self._act(found, actor)
            key = known[report.token]
            if key is not None:
                await self._record(key, report, actor)
        return [known[report.token] is not None for report in reports]

    async def _act(self, key: Key, actor: Actor) -> None:
        """Does not wait for the gateways: they know within a second, and a report may hold many keys."""
        reason = "found in public"
        with contextlib.suppress(Conflict):  # its state is final already
            if self.action == "revoke":
                await self.keys.revoke(key.id, reason, actor)
            elif self.action == "disable" and key.state is KeyState.ACTIVE:
                # The last key that manages, too: the bootstrap token is left, and this one is in a stranger's hands.
                await self.keys.disable(key.id, reason, actor, allow_last_admin=True)

    async def _record(self, key: Key, report: LeakReport, actor: Actor) -> None:
        event = actor.did(
            ACTION,
            target_type="key",
            target_id=key.id,
            at=self.clock.now(),
            details={
                "url": _clean(report.url),
                "source": _clean(report.source)[:64],
                "action": self.action,
                "state": key.state.value,
                "name": key.name,
                "owner": key.owner,
            },
        )
        await self.leaks.record(key.id, place(actor.id, report.url), event)


def _clean(text: str) -> str:
    """What a stranger wrote, fit to be stored: no key of ours in it, nothing unprintable."""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return without_keys(printable)[:URL_CHARS_MAX]
