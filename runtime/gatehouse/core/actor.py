"""Who acts: the principal of a request or of a job."""

from typing import Literal, NewType

import msgspec

from gatehouse.core.audit_events import AuditAction, AuditEvent, Details, Outcome

RequestId = NewType("RequestId", str)


ActorType = Literal["bootstrap", "key", "person"]


class Actor(msgspec.Struct, frozen=True):
    """The principal of a request, a process without a request (`system`), a customer in the portal
    (`customer`), the holder of a link to a secret (`recipient`), or the holder of a submission link
    (`submitter`).

    `id`: a key ID, `bootstrap`, a person's subject at the issuer, the name of the process, the ID
    of the customer, or the ID of the link or of the secret request. Never a token.
    """

    type: Literal["bootstrap", "key", "person", "system", "customer", "recipient", "submitter"]
    id: str
    request_id: RequestId = RequestId("")
    source_address: str = ""

    @property
    def label(self) -> str:
        """The actor in stored records, such as `bootstrap` or `key:3fGh82kLmQ0a`."""
        return self.type if self.type == self.id else f"{self.type}:{self.id}"

    def event(
        self,
        action: AuditAction,
        *,
        target_id: str,
        at: float,
        details: Details,
        outcome: Outcome = "success",
    ) -> AuditEvent:
        """Return an audit event for an action at `at` (Unix seconds). `details` must not contain a
        token, key or secret.
        """
        return AuditEvent(
            occurred_at=at,
            actor_type=self.type,
            actor_id=self.id,
            action=action,
            target_type=action.target_type,
            target_id=target_id,
            outcome=outcome,
            request_id=self.request_id,
            source_address=self.source_address,
            details=details,
        )


class Session(msgspec.Struct, frozen=True):
    """Browser session. Times are Unix seconds; `proven_at`: last time at which the credential was
    presented (0: never).
    """

    id: str  # not secret: 12 base62 characters
    actor_type: ActorType
    actor_id: str
    # Roles of a person, from the token at sign-in; the roles of a key are read for each request.
    roles: tuple[str, ...]
    # HMAC of the bootstrap token, which must still be valid; empty for other credentials.
    bond: bytes
    created_at: float
    proven_at: float
    seen_at: float
    ends_at: float
    source_address: str
    user_agent: str
