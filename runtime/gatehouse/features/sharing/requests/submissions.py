"""Receives submissions: verifies the submission link, encrypts the content to the requester, and
stores it in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gatehouse.core.audit_events import AuditAction, Outcome
from gatehouse.core.errors import GatehouseError
from gatehouse.features.sharing import encryption
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.denials import Denials, LinkNotFound
from gatehouse.features.sharing.link_token import SubmissionToken, is_id
from gatehouse.features.sharing.models import (
    ID_CHARS,
    USES_DEFAULT,
    Client,
    Link,
    Secret,
    SharingEvent,
)
from gatehouse.features.sharing.requests.models import SecretRequest, shown_state
from gatehouse.features.sharing.requests.repository import RequestRepository
from gatehouse.features.sharing.service import NewItem, SecretService
from gatehouse.features.sharing.table import ConditionNotMet

_NO_VERIFIER = bytes(32)


class SubmissionService:
    """Receives submissions. Methods raise Unavailable if a dependency fails.

    After a failure, the submission was received either completely or not at all, and can be
    repeated with the same submission ID.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._repository = RequestRepository(backend.table)
        self._secrets = SecretService(backend, "")
        self._clock = backend.clock
        self._denials = Denials(backend.table, backend.clock)

    async def find(self, path: str) -> SecretRequest:
        """Return the request for the public part of a submission link, so that the request page can
        be displayed. Changes nothing.

        Also raises LinkNotFound if the request does not accept submissions.
        """
        request = await self._repository.get(path) if is_id(path) else None
        if request is None or shown_state(request, self._clock.now()) != "active":
            raise LinkNotFound
        return request

    async def check(
        self, token: SubmissionToken, submission_id: str, client: Client
    ) -> SecretRequest:
        """Return the request to which a client with the complete link can submit. Raises
        LinkNotFound, TooManyDenied.
        """
        request = await self._repository.get(token.path)
        correct = encryption.matches(
            token.secret, token.path, _NO_VERIFIER if request is None else request.verifier
        )
        if request is None or not correct:
            raise await self._denied(token, client, "wrong link secret")
        is_open = shown_state(request, self._clock.now()) == "active"
        if not is_open and not _is_received(request, submission_id):
            raise await self._denied(token, client, "ended")
        return request

    async def submit(
        self, token: SubmissionToken, items: Sequence[NewItem], submission_id: str, client: Client
    ) -> None:
        """Store items from memory as a secret owned by the requester, encrypted to the retrieval
        link. A repeated submission ID changes nothing. Raises LinkNotFound, TooManyDenied.
        """
        request = await self.check(token, submission_id, client)
        if _is_received(request, submission_id):
            return
        secret = await self._stored(request, items)
        submitted = self._event(
            request.id, client, AuditAction.REQUEST_SUBMIT, {"secret": secret.id}
        )
        created = self._event(
            request.id,
            client,
            AuditAction.SECRET_CREATE,
            {"links": 1, "request": request.id},
            secret.id,
        )
        try:
            await self._repository.submit(request, submission_id, secret, submitted, created)
        except ConditionNotMet:
            # caused by another submission, the end of the request, a secret ID that is in use, or a
            # lost response to this submission
            if not _is_received(await self.check(token, submission_id, client), submission_id):
                raise LinkNotFound from None

    async def _stored(self, request: SecretRequest, items: Sequence[NewItem]) -> Secret:
        path = request.retrieval_link.path
        link = Link(
            id=path[ID_CHARS:],
            recipient="",
            verifier=request.retrieval_link.verifier,
            public_key=request.retrieval_link.public_key,
            salt=b"",
            wrapped_keys={},
            uses_max=USES_DEFAULT,
        )
        return await self._secrets.stored(
            path[:ID_CHARS],
            [link],
            items,
            owner=request.owner,
            sender=f"request:{request.id}",
            label=request.label,
            ttl_s=request.lifetime_s,
        )

    async def _denied(self, token: SubmissionToken, client: Client, reason: str) -> GatehouseError:
        """Return the error for a denied attempt. If the request exists, the event for the attempt
        is stored with the request.
        """
        event = self._event(
            token.path, client, AuditAction.REQUEST_DENIED, {"reason": reason}, outcome="denied"
        )
        record = partial(self._repository.record, token.path, event)
        return await self._denials.error(token.path, client.network, record)

    def _event(
        self,
        request_id: str,
        client: Client,
        action: AuditAction,
        details: dict[str, str | int],
        target_id: str = "",
        *,
        outcome: Outcome = "success",
    ) -> SharingEvent:
        """Return an audit event. `target_id`: target of the event. Default: the request."""
        actor = client.actor("submitter", request_id)
        return self._backend.event(actor, action, target_id or request_id, details, outcome=outcome)


def _is_received(request: SecretRequest, submission_id: str) -> bool:
    return request.submission is not None and request.submission.id == submission_id
