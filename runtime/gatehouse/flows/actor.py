"""Who does something, and how that is written into the audit trail."""

from __future__ import annotations

from typing import Literal

import msgspec

from gatehouse.types import AuditEvent, RequestId

Details = dict[str, str | int | float | bool | list[str] | None]


class Actor(msgspec.Struct, frozen=True):
    """The one behind a request. `id` is a key id, `bootstrap`, or a person's subject at the issuer; never a token."""

    type: Literal["bootstrap", "key", "person", "system"]
    id: str
    request_id: RequestId
    source_address: str

    @property
    def label(self) -> str:
        """As it is kept in a record: `bootstrap`, `key:3fGh82kLmQ0a`."""
        return self.type if self.type == self.id else f"{self.type}:{self.id}"

    def did(
        self,
        action: str,
        *,
        target_type: str,
        target_id: str,
        at: float,
        details: Details,
        outcome: Literal["success", "denied"] = "success",
    ) -> AuditEvent:
        """The event of an act at `at` (Unix seconds). `details` must hold no token, key or secret."""
        return AuditEvent(
            occurred_at=at,
            actor_type=self.type,
            actor_id=self.id,
            action=action,
            target_type=target_type,
            target_id=target_id,
            outcome=outcome,
            request_id=self.request_id,
            source_address=self.source_address,
            details=details,
        )
