"""Whose leak reports are believed, and the desk that they go to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from gatehouse.core import leak, webhook
from gatehouse.flows.leak import LeakDesk

#: (headers of the request, its body, now) -> whether a reporter that we know signed it.
Signed = Callable[[Mapping[str, str], bytes, float], bool]


@dataclass(frozen=True, slots=True)
class LeakDoor:
    """github_keys: GitHub's public keys by identifier. secret: of reports by Standard Webhooks. Either may be none."""

    desk: LeakDesk
    github_keys: Mapping[str, EllipticCurvePublicKey]
    secret: bytes | None

    def signed(self, reporter: str) -> Signed | None:
        """How reports of this reporter are checked; None when none are taken."""
        if reporter == "github":
            return self._githubs if self.github_keys else None
        return self._webhooks if self.secret is not None else None

    def _githubs(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        identifier = headers.get("github-public-key-identifier", "")
        return leak.is_githubs(body, identifier, headers.get("github-public-key-signature", ""), self.github_keys)

    def _webhooks(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        notice_id, timestamp, signature = (headers.get(name, "") for name in names)
        return webhook.is_signed(self.secret or b"", notice_id, timestamp, signature, body, now=now)
