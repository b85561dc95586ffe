"""Handles reports of publicly exposed API keys. Depending on GATEHOUSE_LEAK_ACTION, the key is
revoked, the key is disabled, or only a notification is sent.

A report contains the token and therefore proves possession. A reporter learns only whether the
token belongs to a key. The same lookup is performed for an unknown key, a wrong secret and a known
key. The signature of the body authenticates the reporter.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, Details
from gatehouse.core.clock import Clock, to_datetime
from gatehouse.core.errors import Conflict, NotFound, Unauthorized
from gatehouse.core.keys import Key, KeyState
from gatehouse.core.lifecycle import Action
from gatehouse.core.token import NULL_DIGEST
from gatehouse.core.token_scanner import redacted
from gatehouse.core.webhook_signatures import is_signed_webhook
from gatehouse.features.keys.service import KeyService
from gatehouse.features.leaks.schemas import LeakReport, is_signed_by_github
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Pool, row_count

URL_CHARS_MAX = 500
SOURCE_CHARS_MAX = 64
LeakAction = Literal["notify", "disable", "revoke"]
Reporter = Literal["github", "webhook"]

#: Maximum number of stored locations per key. Reports of further locations are ignored.
PLACES_MAX = 100

#: Target of the event for the bootstrap token, which has no key ID.
BOOTSTRAP = "bootstrap"


@dataclass(frozen=True, slots=True)
class LeakService:
    """Handles leak reports.

    action: the action to perform on a reported key. The event key.leaked is always sent.
    github_keys: GitHub's public keys by identifier. Empty: reports from GitHub are not accepted.
    secret: secret for reports that are signed as Standard Webhooks. None: such reports are not
        accepted.
    bootstrap_token: cannot be revoked, so a report of this token only records the event and sends
        the notification.
    """

    keys: KeyService
    pool: Pool
    clock: Clock
    action: LeakAction
    github_keys: Mapping[str, EllipticCurvePublicKey]
    secret: bytes | None
    bootstrap_token: str | None = None

    def check_signature(self, reporter: Reporter, headers: Mapping[str, str], body: bytes) -> None:
        """Raises Unauthorized if no accepted reporter signed the request, and NotFound if the kind
        of reporter is not enabled.
        """
        if not (self.github_keys if reporter == "github" else self.secret):
            raise NotFound(
                "Leak reports of this kind are not enabled. See the GATEHOUSE_LEAK_* settings."
            )
        if reporter == "github":
            signed = is_signed_by_github(headers, body, self.github_keys)
        else:
            signed = self.secret is not None and is_signed_webhook(
                self.secret, headers, body, now=self.clock.now()
            )
        if not signed:
            raise Unauthorized("The signature is not from a configured reporter.")

    async def report(self, reports: Sequence[LeakReport], actor: Actor) -> list[bool]:
        """For each report, returns True if the token belongs to a key. Raises Unavailable, after
        which the reporter sends the reports again."""
        keys: dict[str, Key | None] = {}
        for report in reports:
            if self._is_bootstrap(report.token):
                await self._record(BOOTSTRAP, report, actor, {"action": "notify"})
                continue
            if report.token not in keys:
                keys[report.token] = await self.keys.find_by_token(report.token)
                if (key := keys[report.token]) is not None:
                    await self._act(key, actor)
            if (key := keys[report.token]) is not None:
                details: Details = {
                    "action": self.action,
                    "state": key.state.value,
                    "name": key.name,
                    "owner": key.owner,
                }
                await self._record(key.id, report, actor, details)
        return [
            self._is_bootstrap(report.token) or keys[report.token] is not None for report in reports
        ]

    def _is_bootstrap(self, token: str) -> bool:
        expected = NULL_DIGEST if self.bootstrap_token is None else _sha256(self.bootstrap_token)
        return hmac.compare_digest(_sha256(token), expected)

    async def _act(self, key: Key, actor: Actor) -> None:
        reason = "publicly exposed"
        with contextlib.suppress(Conflict):  # the key is already revoked
            if self.action == "revoke":
                await self.keys.act(key.id, Action.REVOKE, reason, actor)
            elif self.action == "disable" and key.state is KeyState.ACTIVE:
                # Disable even the last admin key, because the token is public. The bootstrap token
                # remains.
                await self.keys.act(key.id, Action.DISABLE, reason, actor, allow_last_admin=True)

    async def _record(self, key_id: str, report: LeakReport, actor: Actor, more: Details) -> None:
        """Stores the location and appends the event, unless the location is known or PLACES_MAX is
        reached.
        """
        now = self.clock.now()
        details: Details = {
            "url": _clean(report.url),
            "source": _clean(report.source)[:SOURCE_CHARS_MAX],
            **more,
        }
        statement = (
            "INSERT INTO key_leak (key_id, place, reported_at) VALUES ($1, $2, $3) ON "
            "CONFLICT DO NOTHING"
        )
        async with self.pool.transaction() as connection:
            if (
                await connection.fetchval("SELECT count(*) FROM key_leak WHERE key_id = $1", key_id)
                >= PLACES_MAX
            ):
                return
            place = location_hash(actor.id, report.url)
            if row_count(await connection.execute(statement, key_id, place, to_datetime(now))):
                await append(
                    connection,
                    actor.event(AuditAction.KEY_LEAK, target_id=key_id, at=now, details=details),
                )


def location_hash(reporter: str, url: str) -> bytes:
    """Identifier of a location where a key was exposed: SHA-256 of the reporter and the URL."""
    return hashlib.sha256(f"{reporter}\0{url}".encode("utf-8", "surrogatepass")).digest()


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _clean(text: str) -> str:
    """Removes tokens and unprintable characters from a reporter's text, for the audit trail."""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return redacted(printable)[:URL_CHARS_MAX]
