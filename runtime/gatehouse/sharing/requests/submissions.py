"""Receiving submissions: proof of possession of the submission link, encryption to the requester, and one conditional write."""

from __future__ import annotations

from collections.abc import Sequence

from gatehouse.audit.models import AuditAction, Outcome
from gatehouse.errors import GatehouseError
from gatehouse.identity.models import Actor
from gatehouse.sharing import encryption
from gatehouse.sharing.backend import Backend
from gatehouse.sharing.denials import Denials, LinkNotFound
from gatehouse.sharing.link_token import SubmissionToken, is_id, parse_path
from gatehouse.sharing.links import Client
from gatehouse.sharing.models import TTL_S_MAX, USES_DEFAULT, Link, Secret, SharingEvent
from gatehouse.sharing.requests.models import RetrievalLink, SecretRequest, is_open
from gatehouse.sharing.requests.repository import RequestRepository
from gatehouse.sharing.service import NewItem, NewSecret, SecretService, one_by_one
from gatehouse.sharing.table import ConditionNotMet

_NO_VERIFIER = bytes(32)


class SubmissionService:
    """Raises Unavailable if a dependency fails: then the submission is not counted and nothing of it can be opened, or it was
    received as a whole, and a repetition with the same submission id succeeds."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._repository = RequestRepository(backend.table)
        self._secrets = SecretService(backend)
        self._clock = backend.clock
        self._denials = Denials(backend.table, backend.clock)

    async def find(self, path: str) -> SecretRequest:
        """The request of the public part of a submission link, for its page. Changes nothing.

        Raises LinkNotFound also for a request that accepts no submission.
        """
        request = await self._repository.get(path) if is_id(path) else None
        if request is None or not is_open(request, self._clock.now()):
            raise LinkNotFound
        return request

    async def check(self, token: SubmissionToken, submission_id: str, client: Client) -> SecretRequest:
        """The request to which a client with the complete link can submit. Raises LinkNotFound, TooManyDenied."""
        request = await self._repository.get(token.path)
        correct = encryption.matches(token.secret, token.path, _NO_VERIFIER if request is None else request.verifier)
        if request is None or not correct:
            raise await self._denied(token, client, "wrong link secret")
        if not is_open(request, self._clock.now()) and submission_id not in request.submissions:
            raise await self._denied(token, client, "ended")
        return request

    async def submit(self, token: SubmissionToken, items: Sequence[NewItem], submission_id: str, client: Client) -> None:
        """Store the items as a secret of the requester. A repeated submission id changes nothing.

        Raises LinkNotFound, TooManyDenied.

        The items are in memory. Content is encrypted to the next free retrieval link. If another submission takes that link
        first, the content is encrypted again to the following one.
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
            submitted = self._event(request.id, client, AuditAction.REQUEST_SUBMIT, {"secret": secret.id})
            created = self._event(request.id, client, AuditAction.SECRET_CREATE, {"links": 1, "request": request.id}, secret.id)
            try:
                await self._repository.submit(request, submission_id, secret, submitted, created)
            except ConditionNotMet:
                continue  # another submission, the end of the request, or this submission, whose response was lost
            return

    async def _store(self, request: SecretRequest, retrieval_link: RetrievalLink, items: Sequence[NewItem]) -> Secret:
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
        new = NewSecret(
            items=one_by_one(items),
            sender=f"request:{request.id}",
            ttl_s=request.lifetime_s,
            ttl_s_max=TTL_S_MAX,
            uses=USES_DEFAULT,
            label=request.label,
        )
        return await self._secrets.store(secret_id, new, {link_id: link}, request.owner, self._clock.now())

    async def _denied(self, token: SubmissionToken, client: Client, reason: str) -> GatehouseError:
        """The error of a denied attempt. Its event is stored with the request, if there is one."""
        denial = await self._denials.count(token.path, client.network)
        if denial.recorded:
            event = self._event(token.path, client, AuditAction.REQUEST_DENIED, {"reason": reason}, outcome="denied")
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
        """`target_id`: the request by default."""
        actor = Actor(type="submitter", id=request_id, request_id=client.request_id, source_address=client.address)
        return self._backend.event(actor, action, target_id or request_id, details, outcome=outcome)


def _next_free(request: SecretRequest, tried: set[str]) -> RetrievalLink | None:
    """The first retrieval link without a submission, except those that another secret took in the meantime."""
    taken = {submission.secret for submission in request.submissions.values()}
    free = (link for link in request.retrieval_links if link.path not in tried and _ids(link)[0] not in taken)
    return next(free, None)


def _ids(retrieval_link: RetrievalLink) -> tuple[str, str]:
    ids = parse_path(retrieval_link.path)
    assert ids is not None  # noqa: S101 - validated when the request was created
    return ids
