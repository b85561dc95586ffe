"""Response to publicly exposed API keys: the key is revoked or disabled, or only reported, depending on the deployment.

A report contains the token and so proves possession. A reporter that sends a token that is not a key learns nothing else; the
work is the same for an unknown key, a wrong secret and a known key. The signature of the report is verified by the route.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gatehouse.audit.actions import AuditAction
from gatehouse.clock import Clock
from gatehouse.errors import Conflict
from gatehouse.identity.models import Actor
from gatehouse.keys.lifecycle import Action
from gatehouse.keys.models import Key, KeyState
from gatehouse.keys.service import KeyService
from gatehouse.leaks.report_signatures import LeakReport, place
from gatehouse.leaks.repository import LeakRepository
from gatehouse.leaks.scanner import redact_keys

URL_CHARS_MAX = 500
SOURCE_CHARS_MAX = 64
LeakAction = Literal["notify", "disable", "revoke"]


@dataclass(frozen=True, slots=True)
class LeakService:
    """Response to leak reports. `action`: performed on a reported key. The event key.leaked is always sent."""

    keys: KeyService
    repository: LeakRepository
    clock: Clock
    action: LeakAction

    async def report(self, reports: Sequence[LeakReport], actor: Actor) -> list[bool]:
        """For each report, True if its token is a key. Raises Unavailable; the reporter then sends the reports again."""
        keys: dict[str, Key | None] = {}
        for report in reports:
            if report.token not in keys:
                keys[report.token] = await self.keys.find_by_token(report.token)
                if (key := keys[report.token]) is not None:
                    await self._act(key, actor)
            if (key := keys[report.token]) is not None:
                await self._record(key, report, actor)
        return [keys[report.token] is not None for report in reports]

    async def _act(self, key: Key, actor: Actor) -> None:
        reason = "found in public"
        with contextlib.suppress(Conflict):  # the key is already revoked
            if self.action == "revoke":
                await self.keys.act(key.id, Action.REVOKE, reason, actor)
            elif self.action == "disable" and key.state is KeyState.ACTIVE:
                # Even the last admin key, because its token is public. The bootstrap token remains.
                await self.keys.act(key.id, Action.DISABLE, reason, actor, allow_last_admin=True)

    async def _record(self, key: Key, report: LeakReport, actor: Actor) -> None:
        event = actor.did(
            AuditAction.KEY_LEAK,
            target_type="key",
            target_id=key.id,
            at=self.clock.now(),
            details={
                "url": _clean(report.url),
                "source": _clean(report.source)[:SOURCE_CHARS_MAX],
                "action": self.action,
                "state": key.state.value,
                "name": key.name,
                "owner": key.owner,
            },
        )
        await self.repository.record(key.id, place(actor.id, report.url), event)


def _clean(text: str) -> str:
    """Text of a reporter without tokens and unprintable characters, for the audit trail."""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return redact_keys(printable)[:URL_CHARS_MAX]
