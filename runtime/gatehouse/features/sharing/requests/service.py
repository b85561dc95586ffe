"""Creates, reads and revokes secret requests on behalf of owners, and receives submissions, which
are encrypted to the requester and stored in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import GatehouseError, NotFound
from gatehouse.features.sharing import encryption
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.denials import Denials, LinkNotFound
from gatehouse.features.sharing.link_token import LinkToken, is_id, new_id
from gatehouse.features.sharing.models import ID_CHARS, RECEIPT_S, USES_DEFAULT, Client, Link
from gatehouse.features.sharing.requests.models import (
    RequestState,
    SecretRequest,
    Submission,
    shown_state,
)
from gatehouse.features.sharing.requests.schemas import CreateSecretRequest
from gatehouse.features.sharing.service import NewItem, SecretService
from gatehouse.features.sharing.table import ConditionNotMet, put_of, update_of


class RequestService:
    """Manages secret requests and receives submissions. Methods raise Unavailable if a dependency
    fails.

    After a failure, a submission was received either completely or not at all, and can be repeated
    with the same submission ID.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.repository = backend.requests
        self._secrets = SecretService(backend, "")
        self._denials = Denials(backend.table, backend.clock)

    async def create(
        self, new: CreateSecretRequest, owner: str, actor: Actor
    ) -> tuple[SecretRequest, LinkToken]:
        """Store a secret request. Only this method returns the submission link. `owner`: label of
        the owner. Raises RateLimited.
        """
        now = self._backend.clock.now()
        await self._backend.take_create("request", owner)
        token = LinkToken.create(new_id())
        request = SecretRequest(
            id=token.path,
            owner=owner,
            requester=new.requester or actor.label,
            purpose=new.purpose,
            label=new.label,
            created_at=now,
            expires_at=now + new.ttl_s,
            lifetime_s=float(new.ttl_s),
            verifier=encryption.verifier(token.secret, token.path),
            retrieval_link=new.retrieval_link,
            delete_at=int(now + new.ttl_s + RECEIPT_S),
        )
        await self.repository.create(
            request, self._backend.event(actor, AuditAction.REQUEST_CREATE, request.id)
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
        event = self._backend.event(actor, AuditAction.REQUEST_REVOKE, request_id)

        def revoked(request: SecretRequest) -> SecretRequest:
            if request.state != RequestState.ACTIVE:
                return request
            return msgspec.structs.replace(request, state=RequestState.REVOKED, ended_at=event.at)

        request = await self.get(request_id)
        return await self.repository.change(request, event, revoked, waits=False)

    async def find(self, path: str) -> SecretRequest:
        """Return the request for the public part of a submission link, so that the request page can
        be displayed. Changes nothing.

        Also raises LinkNotFound if the request does not accept submissions.
        """
        request = await self.repository.get(path) if is_id(path) else None
        if request is None or not self._is_open(request):
            raise LinkNotFound
        return request

    async def check(self, token: LinkToken, submission_id: str, client: Client) -> SecretRequest:
        """Return the request to which a client with the complete link can submit. Raises
        LinkNotFound, TooManyDenied.
        """
        request = await self.repository.get(token.path)
        verifier = None if request is None else request.verifier
        correct = encryption.matches(token.secret, token.path, verifier)
        if request is None or not correct:
            raise await self._denied(token, client, "wrong link secret")
        if not self._is_open(request) and not _is_received(request, submission_id):
            raise await self._denied(token, client, "ended")
        return request

    async def submit(
        self, token: LinkToken, items: Sequence[NewItem], submission_id: str, client: Client
    ) -> None:
        """Store items from memory as a secret owned by the requester, encrypted to the retrieval
        link. A repeated submission ID changes nothing. Raises LinkNotFound, TooManyDenied.
        """
        request = await self.check(token, submission_id, client)
        if _is_received(request, submission_id):
            return
        retrieval = request.retrieval_link
        link = Link(
            id=retrieval.path[ID_CHARS:],
            verifier=retrieval.verifier,
            public_key=retrieval.public_key,
            uses_max=USES_DEFAULT,
        )
        secret = await self._secrets.stored(
            retrieval.path[:ID_CHARS],
            [link],
            items,
            owner=request.owner,
            sender=f"request:{request.id}",
            label=request.label,
            ttl_s=request.lifetime_s,
        )
        if not self._is_open(request):  # the request has expired in the meantime
            raise await self._denied(token, client, "ended")
        event = partial(self._backend.event, client.actor("submitter", request.id))
        submitted = event(AuditAction.REQUEST_SUBMIT, request.id, {"secret": secret.id})
        created = event(AuditAction.SECRET_CREATE, secret.id, {"links": 1, "request": request.id})
        changed = msgspec.structs.replace(
            request, submission=Submission(submission_id, submitted.at)
        )
        before, after = self.repository.item(request), self.repository.item(changed)
        try:
            await self._backend.table.put_and_update(
                put_of(self._backend.secrets.item(secret), created),
                update_of(before, after, submitted),
            )
        except ConditionNotMet:
            # caused by another submission, the end of the request, a secret ID that is in use, or a
            # lost response to this submission
            if not _is_received(await self.check(token, submission_id, client), submission_id):
                raise LinkNotFound from None

    def _is_open(self, request: SecretRequest) -> bool:
        return shown_state(request, self._backend.clock.now()) == "active"

    async def _denied(self, token: LinkToken, client: Client, reason: str) -> GatehouseError:
        """Return the error for a denied attempt. If the request exists, the event for the attempt
        is stored with the request.
        """
        event = self._backend.event(
            client.actor("submitter", token.path),
            AuditAction.REQUEST_DENIED,
            token.path,
            {"reason": reason},
            outcome="denied",
        )
        record = partial(self.repository.record, token.path, event)
        return await self._denials.error(token.path, client.network, record)


def _is_received(request: SecretRequest, submission_id: str) -> bool:
    return request.submission is not None and request.submission.id == submission_id
