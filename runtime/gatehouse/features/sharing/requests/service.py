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
        self.repository = RequestRepository(backend.table)

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
            created_at=now,
            expires_at=now + new.ttl_s,
            lifetime_s=float(new.ttl_s),
            verifier=encryption.verifier(token.secret, token.path),
            retrieval_link=new.retrieval_link,
        )
        await self.repository.create(
            request, self._backend.event(actor, AuditAction.REQUEST_CREATE, request_id)
        )
        return request, token

    async def get(self, request_id: str) -> SecretRequest:
        """Return a request. Raises NotFound."""
        request = await self.repository.get(request_id) if is_id(request_id) else None
        if request is None:
            raise NotFound("No secret request has this ID.")
        return request

    async def revoke(self, request_id: str, actor: Actor) -> SecretRequest:
        """Deny further submissions. Already submitted secrets are not affected. Idempotent. Raises
        NotFound.
        """
        request = await self.get(request_id)
        if request.state != RequestState.ACTIVE:
            return request
        return await self.repository.revoke(
            request, self._backend.event(actor, AuditAction.REQUEST_REVOKE, request_id)
        )
