"""Creates, changes and revokes secrets on behalf of owners. `links.py` opens secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from msgspec import UNSET

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from gatehouse.features.sharing import encryption
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.link_token import LinkToken, is_id
from gatehouse.features.sharing.models import (
    LINK_CHARS,
    TTL_S_MAX,
    TTL_S_MIN,
    VERSIONS_MAX,
    ContentItem,
    EndReason,
    Link,
    LinkState,
    ManifestItem,
    Secret,
    SecretState,
    SharingEvent,
    Version,
    is_expired,
)
from gatehouse.features.sharing.repository import secret_of
from gatehouse.features.sharing.schemas import OCTETS, CreateSecret, SecretContent, UpdateSecret
from gatehouse.features.sharing.table import ConditionNotMet
from gatehouse.platform.http.fields import unix_seconds
from gatehouse.platform.http.validation import invalid

TEXT_TYPE = "text/plain; charset=utf-8"
_CHANGED = "The secret has changed since it was read. Read it again, then retry."


class NewItem(msgspec.Struct, frozen=True):
    """A text item (with an empty `name`) or a file."""

    content: bytes
    name: str = ""
    media_type: str = TEXT_TYPE

    def __repr__(self) -> str:
        return "NewItem(...)"


class SecretService:
    """Manages secrets. Methods raise Unavailable if a dependency fails. In this case, the change
    was made either completely or not at all.

    url: public URL of the sharing service, with which every link begins.
    """

    def __init__(self, backend: Backend, url: str) -> None:
        self.url = url
        self._backend = backend
        self.repository = backend.repository
        self._clock = backend.clock

    async def create(
        self, new: CreateSecret, owner: str, actor: Actor
    ) -> tuple[Secret, list[LinkToken]]:
        """Encrypt and store a secret. Only this method returns the links. `owner`: label of the
        owner. Raises RateLimited.
        """
        await self._backend.take_create("secret", owner)
        secret_id = self._backend.new_id()
        tokens, links = await self._links(secret_id, new)
        secret = await self.stored(
            secret_id,
            links,
            content_items(new),
            owner=owner,
            sender=new.sender or actor.label,
            label=new.label,
            ttl_s=new.ttl_s,
            end_to_end=new.end_to_end,
        )
        await self.repository.create(
            secret,
            self._backend.event(actor, AuditAction.SECRET_CREATE, secret_id, {"links": len(links)}),
        )
        return secret, tokens

    @asynccontextmanager
    async def deliver(self, text: str, label: str, owner: str, actor: Actor) -> AsyncIterator[str]:
        """Share text through one link, which can be opened once within three days. The link is
        revoked if the body of the `async with` statement raises an exception. Raises RateLimited.
        """
        secret, [token] = await self.create(CreateSecret(text=text, label=label), owner, actor)
        try:
            yield token.url(self.url)
        except BaseException:
            with suppress(Unavailable):
                await self.revoke(secret.id, actor)
            raise

    async def stored(
        self,
        secret_id: str,
        links: Sequence[Link],
        items: Sequence[NewItem],
        *,
        owner: str,
        sender: str,
        label: str,
        ttl_s: float,
        end_to_end: bool = False,
    ) -> Secret:
        """Encrypt the content to the links and store the content. Returns the secret, which the
        caller writes to the table.
        """
        now = self._clock.now()
        secret = Secret(
            id=secret_id,
            owner=owner,
            sender=sender,
            label=label,
            created_at=now,
            expires_at=now + ttl_s,
            expires_at_max=float(int(now + max(ttl_s, TTL_S_MAX))),
            state=SecretState.ACTIVE,
            revision=1,
            versions=(),
            next_version=1,
            links={link.id: link for link in links},
            end_to_end=end_to_end,
        )
        return await self._with_content(secret, items)

    async def get(self, secret_id: str) -> Secret:
        """Return a secret. Raises NotFound."""
        secret = await self.repository.get(secret_id) if is_id(secret_id) else None
        if secret is None:
            raise NotFound("No secret has this ID.")
        return secret

    async def update(
        self, secret_id: str, patch: UpdateSecret, revision: int | None, actor: Actor
    ) -> Secret:
        """Change the uses, expiry or label. `revision`: the expected revision; None: any revision.

        Raises NotFound, BadRequest, PreconditionFailed, and Conflict if the secret is no longer
        active.
        """
        before = self._changeable(await self.get(secret_id), revision)
        fields: dict[str, Any] = {} if patch.label is UNSET else {"label": patch.label}
        if patch.expires_at is not UNSET:
            expires_at = unix_seconds(patch.expires_at)
            self._check_expiry(expires_at, before)
            fields["expires_at"] = expires_at
        links = before.links
        if patch.uses is not UNSET:
            links = {link.id: self._with_uses(link, patch.uses) for link in links.values()}
        after = msgspec.structs.replace(before, **fields, links=links)
        names = sorted((*fields, *(["uses"] if patch.uses is not UNSET else [])))
        event = self._backend.event(
            actor, AuditAction.SECRET_UPDATE, secret_id, {"fields": ", ".join(names)}
        )
        return await self._replace(before, after, event, fields=list(fields))

    async def replace_content(
        self, secret_id: str, items: Sequence[NewItem], revision: int | None, actor: Actor
    ) -> Secret:
        """Add a version with new content. The links stay valid and open the new version.

        Raises NotFound, PreconditionFailed, and Conflict if the secret is no longer active.
        """
        before = self._changeable(await self.get(secret_id), revision)
        after = await self._with_content(before, items)
        event = self._backend.event(
            actor, AuditAction.SECRET_REPLACE, secret_id, {"version": after.current.number}
        )
        return await self._replace(before, after, event, fields=["versions", "next_version"])

    async def restore_version(
        self, secret_id: str, number: int, revision: int | None, actor: Actor
    ) -> Secret:
        """Make an earlier version the current version.

        Raises NotFound if the secret or the version does not exist, PreconditionFailed, and
        Conflict if the secret is no longer active.
        """
        before = self._changeable(await self.get(secret_id), revision)
        chosen = next((version for version in before.versions if version.number == number), None)
        if chosen is None:
            raise NotFound("The secret has no such version.")
        versions = (chosen, *(version for version in before.versions if version is not chosen))
        after = msgspec.structs.replace(before, versions=versions)
        event = self._backend.event(
            actor, AuditAction.SECRET_RESTORE, secret_id, {"version": number}
        )
        return await self._replace(before, after, event, fields=["versions"])

    async def revoke(self, secret_id: str, actor: Actor) -> Secret:
        """Make all links stop working and erase the keys of the links. Does nothing if the secret
        is no longer active. Raises NotFound."""
        secret = await self.get(secret_id)
        if secret.state != SecretState.ACTIVE:
            return secret
        event = self._backend.event(actor, AuditAction.SECRET_REVOKE, secret_id)
        try:
            return await self.repository.end(secret, EndReason.REVOKED, event)
        except ConditionNotMet as failed:
            return secret_of(failed.item) or secret

    async def revoke_link(self, secret_id: str, link_id: str, actor: Actor) -> Secret:
        """Revoke one link and erase its keys. Does nothing if the link is no longer active. Raises
        NotFound.
        """
        secret = await self.get(secret_id)
        if link_id not in secret.links:
            raise NotFound("The secret has no such link.")
        event = self._backend.event(actor, AuditAction.LINK_REVOKE, secret_id, link=link_id)
        try:
            return await self.repository.revoke_link(secret, link_id, event)
        except ConditionNotMet as failed:
            return secret_of(failed.item) or secret

    async def _links(self, secret_id: str, new: CreateSecret) -> tuple[list[LinkToken], list[Link]]:
        random_bytes = self._backend.random_bytes
        tokens: list[LinkToken] = []
        links: list[Link] = []
        for position, recipient in enumerate(new.recipients or ("",)):
            token = LinkToken.create(secret_id, self._backend.new_id(LINK_CHARS), random_bytes)
            salt = random_bytes(encryption.SALT_BYTES) if new.passphrase else b""
            keys = (
                await self._backend.link_keys(token, new.passphrase, salt)
                if new.passphrase
                else encryption.link_keys(token.secret, token.path)
            )
            tokens.append(token)
            links.append(
                Link(
                    id=token.link_id,
                    recipient=recipient,
                    verifier=keys.verifier,
                    public_key=keys.public_key,
                    salt=salt,
                    wrapped_keys={},
                    uses_max=new.uses,
                    position=position,
                )
            )
        return tokens, links

    async def _with_content(self, secret: Secret, items: Sequence[NewItem]) -> Secret:
        """Store the items under a new content key. Returns the secret with a new version, whose
        content key is encrypted to each active link.

        If this method fails, it tries to delete the objects that it has written. The worker deletes
        any remaining objects.
        """
        content, random_bytes = self._backend.content, self._backend.random_bytes
        number = secret.next_version
        data_key, sealed_data_key = await self._backend.data_keys.generate(secret.id)
        content_key = random_bytes(encryption.KEY_BYTES)
        stored: list[ContentItem] = []
        try:
            for index, item in enumerate(items):
                key = content.key(secret.id, number, index)
                sealed = encryption.seal(item.content, content_key, f"item {index}", random_bytes)
                stored.append(ContentItem(key, await content.write(key, sealed), len(item.content)))
        except BaseException:
            # Delete only the objects of this call, because another request may have stored a
            # version with the same number.
            with suppress(Unavailable):
                await content.delete(stored)
            raise
        manifest = msgspec.json.encode([ManifestItem(item.name, item.media_type) for item in items])
        version = Version(
            number,
            self._clock.now(),
            sealed_data_key,
            encryption.seal(manifest, content_key, "manifest", random_bytes),
            tuple(stored),
        )
        versions = (version, *secret.versions)[:VERSIONS_MAX]
        kept = {str(version.number) for version in versions}
        links = dict(secret.links)
        for link in secret.links.values():
            if link.state == LinkState.ACTIVE:
                context = encryption.Context(
                    self._backend.environment,
                    secret.id,
                    link.id,
                    number,
                    int(secret.expires_at_max),
                )
                wrapped = encryption.wrap(
                    content_key, link.public_key, data_key, context, random_bytes
                )
                keys = {name: key for name, key in link.wrapped_keys.items() if name in kept}
                links[link.id] = msgspec.structs.replace(
                    link, wrapped_keys={**keys, str(number): wrapped}
                )
        return msgspec.structs.replace(
            secret, versions=versions, next_version=number + 1, links=links
        )

    async def _replace(
        self, before: Secret, after: Secret, event: SharingEvent, *, fields: list[str]
    ) -> Secret:
        try:
            return await self.repository.replace(before, after, event, fields=fields)
        except ConditionNotMet as failed:
            current = secret_of(failed.item)
            if current is not None:
                self._changeable(current, None)
            raise PreconditionFailed(_CHANGED) from None

    def _changeable(self, secret: Secret, revision: int | None) -> Secret:
        if secret.state != SecretState.ACTIVE or is_expired(secret, self._clock.now()):
            raise Conflict("The secret is no longer active and cannot be changed.")
        if revision is not None and secret.revision != revision:
            raise PreconditionFailed(_CHANGED)
        return secret

    def _check_expiry(self, expires_at: float, secret: Secret) -> None:
        if not self._clock.now() + TTL_S_MIN <= expires_at <= secret.expires_at_max:
            message = (
                f"is less than {TTL_S_MIN // 60} minutes in the future or later than "
                f"`expires_at_max` of the secret"
            )
            raise invalid("body.expires_at", message, "send a time between these limits")

    def _with_uses(self, link: Link, uses: int) -> Link:
        if link.state != LinkState.ACTIVE:
            return link
        if uses < link.uses:
            raise invalid(
                "body.uses",
                f"is less than {link.uses}, the number of uses of a link so far",
                "send a larger number",
            )
        return msgspec.structs.replace(link, uses_max=uses)


def content_items(content: SecretContent) -> list[NewItem]:
    if content.ciphertext_base64 is not None:
        return [NewItem(content.ciphertext_base64, media_type=OCTETS)]
    texts = [] if content.text is None else [NewItem(content.text.encode())]
    files = [NewItem(file.content_base64, file.name, file.media_type) for file in content.files]
    return [*texts, *files]
