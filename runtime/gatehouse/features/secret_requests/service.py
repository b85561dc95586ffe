"""Requests secrets on behalf of owners, and receives the submissions. The content is encrypted to
the retrieval link of the requester.
"""

from collections.abc import Sequence

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Conflict
from gatehouse.core.tokens.token import is_base62
from gatehouse.features.secret_requests.schemas import CreateSecretRequest
from gatehouse.features.secrets import encryption
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.denials import Denials, LinkNotFound
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.models import (
    ID_CHARS,
    USES_DEFAULT,
    Client,
    Link,
    Secret,
    SecretRequest,
    SecretState,
    is_expired,
)
from gatehouse.features.secrets.service import NewItem, SecretService, lifetime, new_secret
from gatehouse.features.secrets.table import ConditionNotMet


class RequestService:
    """Creates requests and receives submissions. Methods raise Unavailable if a dependency fails.

    After a failure, a submission was received either completely or not at all, and can be repeated
    with the same submission ID.
    """

    def __init__(self, backend: Backend, secrets: SecretService) -> None:
        self.url = secrets.url
        self._backend = backend
        self._table = backend.table
        self._secrets = secrets
        self._denials = Denials(backend, "submitter", AuditAction.REQUEST_DENIED)

    async def create(
        self, new: CreateSecretRequest, owner: str, actor: Actor
    ) -> tuple[Secret, LinkToken]:
        """Store a secret that has no content until somebody submits it. Only this method returns
        the submission link. `owner`: label of the owner. Raises RateLimited, and Conflict if the ID
        that the client chose exists.
        """
        await self._backend.take_create("request", owner)
        link = new.retrieval_link
        token = LinkToken.create(link.path[:ID_CHARS])
        verifier = encryption.verifier(token.secret, token.path)
        secret = new_secret(
            token.path,
            [Link(link.path[ID_CHARS:], link.verifier, link.public_key, USES_DEFAULT)],
            self._backend.clock.now(),
            new.ttl_s,
            owner=owner,
            sender=new.requester or actor.label,
            label=new.label,
            state=SecretState.REQUESTED,
            request=SecretRequest(new.purpose, new.ttl_s, verifier),
        )
        event = self._backend.event(actor, AuditAction.REQUEST_CREATE, secret.id)
        try:
            await self._table.create(secret, event)
        except ConditionNotMet:
            message = "The ID in `retrieval_link.path` is in use. Create another link."
            raise Conflict(message) from None
        return secret, token

    async def find(self, path: str, submission_id: str = "") -> tuple[Secret, SecretRequest]:
        """Return the requested secret for the public part of a submission link, so that the request
        page can be displayed. Changes nothing.

        Raises LinkNotFound, also if nothing can be submitted and this submission was not received.
        """
        secret = await self._backend.table.get(path) if is_base62(path, ID_CHARS) else None
        if secret is None or secret.request is None:
            raise LinkNotFound
        is_received = secret.request.submission == submission_id != ""
        if not (is_received or self._is_open(secret)):
            raise LinkNotFound
        return secret, secret.request

    async def check(self, token: LinkToken, submission_id: str, client: Client) -> Secret:
        """Return the requested secret that a client with the complete link can submit, or has
        submitted. Raises LinkNotFound, TooManyDenied.
        """
        secret = await self._backend.table.get(token.path)
        request = None if secret is None else secret.request
        verifier = None if request is None else request.verifier
        correct = encryption.matches(token.secret, token.path, verifier)
        if secret is None or request is None or not correct:
            raise await self._denials.error(
                token, client, "wrong link secret", exists=request is not None
            )
        if not self._is_open(secret) and request.submission != submission_id:
            raise await self._denials.error(token, client, "ended")
        return secret

    async def submit(
        self, token: LinkToken, items: Sequence[NewItem], submission_id: str, client: Client
    ) -> None:
        """Store the content of a requested secret. A repeated submission ID changes nothing. Raises
        LinkNotFound, TooManyDenied.
        """
        requested = await self.check(token, submission_id, client)
        request = requested.request
        if request is None or request.submission == submission_id:
            return
        fields = {
            "state": SecretState.ACTIVE,
            "sender": f"request:{requested.id}",
            "request": msgspec.structs.replace(request, submission=submission_id),
            **lifetime(self._backend.clock.now(), request.lifetime_s),
        }
        with_version = await self._secrets.new_version(
            msgspec.structs.replace(requested, **fields), items
        )

        def submitted(secret: Secret) -> Secret:
            if not self._is_open(secret):
                raise LinkNotFound
            changed = msgspec.structs.replace(secret, revision=secret.revision + 1, **fields)
            return with_version(changed)

        actor = client.actor("submitter", requested.id)
        event = self._backend.event(actor, AuditAction.REQUEST_SUBMIT, requested.id)
        try:
            await self._table.change(requested, event, submitted)
        except LinkNotFound:
            # Either this submission was received by another process, or it is denied.
            await self.check(token, submission_id, client)

    def _is_open(self, secret: Secret) -> bool:
        expired = is_expired(secret, self._backend.clock.now())
        return secret.state == SecretState.REQUESTED and not expired
