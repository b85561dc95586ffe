"""Receives submissions: verifies the submission link, encrypts the content to the requester, and
stores it in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, Outcome
from gatehouse.core.errors import GatehouseError
from gatehouse.features.sharing import encryption
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.denials import Denials, LinkNotFound
from gatehouse.features.sharing.link_token import SubmissionToken, is_id, parse_path
from gatehouse.features.sharing.links import Client
from gatehouse.features.sharing.models import (
    USES_DEFAULT,
    Link,
    Secret,
    SharingEvent,
)
from gatehouse.features.sharing.requests.models import RetrievalLink, SecretRequest, is_open
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
        self._secrets = SecretService(backend)
        self._clock = backend.clock
        self._denials = Denials(backend.table, backend.clock)

    async def find(self, path: str) -> SecretRequest:
        """Return the request for the public part of a submission link, so that the request page can
        be displayed. Changes nothing.

        Also raises LinkNotFound if the request does not accept submissions.
        """
        request = await self._repository.get(path) if is_id(path) else None
        if request is None or not is_open(request, self._clock.now()):
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
        if not is_open(request, self._clock.now()) and submission_id not in request.submissions:
            raise await self._denied(token, client, "ended")
        return request

    async def submit(
        self, token: SubmissionToken, items: Sequence[NewItem], submission_id: str, client: Client
    ) -> None:
        """Store items from memory as a secret owned by the requester. A repeated submission ID
        changes nothing.

        Encrypts the content to the first free retrieval link. If another submission takes this link
        first, encrypts the content again to the next free link. Raises LinkNotFound, TooManyDenied.
        """
        tried: set[str] = set()
        while True:
            request = await self.check(token, submission_id, client)
            if submission_id in request.submissions:
                return
            retrieval_link = _next_free(request, tried)
            if retrieval_link is None:
                raise LinkNotFound
            tried.add(retrieval_link.path)
            secret = await self._store(request, retrieval_link, items)
            try:
                await self._commit(request, submission_id, secret, client)
            except ConditionNotMet:
                # caused by another submission, the end of the request, or a lost response to this
                # submission
                continue
            return

    async def _commit(
        self, request: SecretRequest, submission_id: str, secret: Secret, client: Client
    ) -> None:
        """Count the submission and create its secret in one transaction. Raises ConditionNotMet."""
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
        await self._repository.submit(request, submission_id, secret, submitted, created)

    async def _store(
        self,
        request: SecretRequest,
        retrieval_link: RetrievalLink,
        items: Sequence[NewItem],
    ) -> Secret:
        secret_id, link_id = _ids(retrieval_link)
        link = Link(
            id=link_id,
            recipient="",
            verifier=retrieval_link.verifier,
            public_key=retrieval_link.public_key,
            salt=b"",
            wrapped_keys={},
            uses_max=USES_DEFAULT,
        )
        return await self._secrets.store(
            secret_id,
            items,
            {link_id: link},
            owner=request.owner,
            sender=f"request:{request.id}",
            label=request.label,
            ttl_s=request.lifetime_s,
        )

    async def _denied(self, token: SubmissionToken, client: Client, reason: str) -> GatehouseError:
        """Return the error for a denied attempt. If the request exists, the event for the attempt
        is stored with the request.
        """
        denial = await self._denials.count(token.path, client.network)
        if denial.recorded:
            event = self._event(
                token.path, client, AuditAction.REQUEST_DENIED, {"reason": reason}, outcome="denied"
            )
            await self._repository.record(token.path, event)
        return denial.error()

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
        actor = Actor(
            type="submitter",
            id=request_id,
            request_id=client.request_id,
            source_address=client.address,
        )
        return self._backend.event(actor, action, target_id or request_id, details, outcome=outcome)


def _next_free(request: SecretRequest, tried: set[str]) -> RetrievalLink | None:
    """Return the first retrieval link without a submission, except for links that this submission
    has already tried.
    """
    taken = {submission.secret for submission in request.submissions.values()}
    free = (link for link in request.retrieval_links if _ids(link)[0] not in taken)
    return next((link for link in free if link.path not in tried), None)


def _ids(retrieval_link: RetrievalLink) -> tuple[str, str]:
    ids = parse_path(retrieval_link.path)
    assert ids is not None  # noqa: S101 - validated when the request was created
    return ids
