"""Creates, reads and revokes secret requests on behalf of owners. `submissions.py` receives the
secrets.
"""

from __future__ import annotations

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import NotFound
from gatehouse.features.sharing import encryption
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.link_token import SubmissionToken, is_id
from gatehouse.features.sharing.requests.models import RequestState, SecretRequest
from gatehouse.features.sharing.requests.repository import RequestRepository
from gatehouse.features.sharing.requests.schemas import CreateSecretRequest


class RequestService:
    """Manages secret requests. Methods raise Unavailable if a dependency fails."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._repository = RequestRepository(backend.table)

    async def create(
        self, new: CreateSecretRequest, owner: str, actor: Actor
    ) -> tuple[SecretRequest, SubmissionToken]:
        """Store a secret request. Only this method returns the submission link. `owner`: label of
        the owner. Raises RateLimited.
        """
        now = self._backend.clock.now()
        await self._backend.take_create("request", owner)
        request_id = self._backend.new_id()
        token = SubmissionToken.create(request_id, self._backend.random_bytes)
        request = SecretRequest(
            id=request_id,
            owner=owner,
            requester=new.requester or actor.label,
            purpose=new.purpose,
            label=new.label,
            note=new.note,
            created_at=now,
            expires_at=now + new.ttl_s,
            lifetime_s=float(new.ttl_s),
            verifier=encryption.verifier(token.secret, token.path),
            retrieval_links=tuple(new.retrieval_links),
        )
        details: dict[str, str | int] = {"submissions": len(request.retrieval_links)}
        await self._repository.create(
            request, self._backend.event(actor, AuditAction.REQUEST_CREATE, request_id, details)
        )
        return request, token

    async def get(self, request_id: str) -> SecretRequest:
        """Return a request. Raises NotFound."""
        request = await self._repository.get(request_id) if is_id(request_id) else None
        if request is None:
            raise NotFound("No secret request has this ID.")
        return request

    async def of_owner(
        self, owner: str, *, after: str, size: int
    ) -> tuple[list[SecretRequest], str]:
        """Return the secret requests of an owner after a position, newest first. Also returns the
        last position, which is empty for the last page."""
        return await self._repository.of_owner(owner, after=after, size=size)

    async def revoke(self, request_id: str, actor: Actor) -> SecretRequest:
        """Deny further submissions. Already submitted secrets are not affected. Idempotent. Raises
        NotFound.
        """
        request = await self.get(request_id)
        if request.state != RequestState.ACTIVE:
            return request
        return await self._repository.revoke(
            request, self._backend.event(actor, AuditAction.REQUEST_REVOKE, request_id)
        )
