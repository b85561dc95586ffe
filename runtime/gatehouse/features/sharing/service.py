"""Creates, changes and revokes secrets on behalf of owners. `links.py` opens secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
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
from gatehouse.features.sharing.repository import ConditionFailed
from gatehouse.features.sharing.schemas import OCTETS, CreateSecret, SecretContent, UpdateSecret
from gatehouse.features.sharing.slots import argon2_slots
from gatehouse.platform.http.fields import unix_seconds
from gatehouse.platform.http.validation import invalid

TEXT_TYPE = "text/plain; charset=utf-8"


class NewItem(msgspec.Struct, frozen=True):
    """A text item (with an empty `name`) or a file."""

    content: bytes
    name: str = ""
    media_type: str = TEXT_TYPE

    def __repr__(self) -> str:
        return "NewItem(...)"


class SecretService:
    """Manages secrets. Methods raise Unavailable if a dependency fails. In this case, the change
    was made either completely or not at all."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._repository = backend.repository
        self._clock = backend.clock
        self._argon2 = argon2_slots()

    async def create(
        self, new: CreateSecret, owner: str, actor: Actor
    ) -> tuple[Secret, list[LinkToken]]:
        """Encrypt and store a secret. Only this method returns the links. `owner`: label of the
        owner. Raises RateLimited.
        """
        await self._backend.take_create("secret", owner)
        secret_id = self._backend.new_id()
        tokens, links = await self._links(secret_id, new)
        secret = await self.store(
            secret_id,
            content_items(new),
            links,
            owner=owner,
            sender=new.sender or actor.label,
            label=new.label,
            note=new.note,
            ttl_s=new.ttl_s,
            end_to_end=new.end_to_end,
            burn_after=new.burn_after,
        )
        await self._repository.create(
            secret,
            self._backend.event(actor, AuditAction.SECRET_CREATE, secret_id, {"links": len(links)}),
        )
        return secret, tokens

    async def store(
        self,
        secret_id: str,
        items: Sequence[NewItem],
        links: dict[str, Link],
        *,
        owner: str,
        sender: str,
        label: str,
        ttl_s: float,
        note: str = "",
        end_to_end: bool = False,
        burn_after: int = 0,
    ) -> Secret:
        """Encrypt the content to the links and store the content. Returns the secret, which the
        caller writes to the table.
        """
        now = self._clock.now()
        expires_at = now + ttl_s
        expires_at_max = max(expires_at, now + TTL_S_MAX)
        version, keys = await self._encrypt(
            secret_id, 1, now, int(expires_at_max), items, list(links.values())
        )
        return Secret(
            id=secret_id,
            owner=owner,
            sender=sender,
            label=label,
            note=note,
            created_at=now,
            expires_at=expires_at,
            expires_at_max=float(int(expires_at_max)),
            state=SecretState.ACTIVE,
            revision=1,
            versions=(version,),
            next_version=2,
            links={
                name: _with_key(link, version.number, keys[name]) for name, link in links.items()
            },
            end_to_end=end_to_end,
            burn_after=burn_after,
        )

    async def get(self, secret_id: str) -> Secret:
        """Return a secret. Raises NotFound."""
        secret = await self._repository.get(secret_id) if is_id(secret_id) else None
        if secret is None:
            raise NotFound("No secret has this ID.")
        return secret

    async def of_owner(self, owner: str, *, after: str, size: int) -> tuple[list[Secret], str]:
        """Return the secrets of an owner after a position, newest first, and the last position
        (empty for the last page).
        """
        return await self._repository.of_owner(owner, after=after, size=size)

    async def deletion_receipt(self, secret_id: str) -> dict[str, str] | None:
        """Return the signed statement about the deletion of a secret, or None if the secret is not
        purged yet.
        """
        return await self._repository.receipt(secret_id)

    async def update(
        self, secret_id: str, patch: UpdateSecret, revision: int | None, actor: Actor
    ) -> Secret:
        """Change the uses, expiry, label or note. `revision`: the expected revision; None: any
        revision.

        Raises NotFound, BadRequest, PreconditionFailed, and Conflict if the secret is no longer
        active.
        """
        before = self._changeable(await self.get(secret_id), revision)
        fields: dict[str, Any] = {
            name: value
            for name in ("label", "note")
            if (value := getattr(patch, name)) is not UNSET
        }
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
        open_links = [link for link in before.links.values() if link.state == LinkState.ACTIVE]
        now, deadline = self._clock.now(), int(before.expires_at_max)
        version, keys = await self._encrypt(
            secret_id, before.next_version, now, deadline, items, open_links
        )
        versions = (version, *before.versions)[:VERSIONS_MAX]
        links = dict(before.links)
        for link in open_links:
            wrapped = {**link.wrapped_keys, str(version.number): keys[link.id]}
            kept = {str(item.number) for item in versions}
            wrapped = {number: key for number, key in wrapped.items() if number in kept}
            links[link.id] = msgspec.structs.replace(link, wrapped_keys=wrapped)
        after = msgspec.structs.replace(
            before, versions=versions, next_version=version.number + 1, links=links
        )
        event = self._backend.event(
            actor, AuditAction.SECRET_REPLACE, secret_id, {"version": version.number}
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
            return await self._repository.end(secret, EndReason.REVOKED, event)
        except ConditionFailed as failed:
            if failed.secret is None:
                raise NotFound("No secret has this ID.") from None
            return failed.secret

    async def revoke_link(self, secret_id: str, link_id: str, actor: Actor) -> Secret:
        """Revoke one link and erase its keys. Does nothing if the link is no longer active. Raises
        NotFound.
        """
        secret = await self.get(secret_id)
        if link_id not in secret.links:
            raise NotFound("The secret has no such link.")
        event = self._backend.event(actor, AuditAction.LINK_REVOKE, secret_id, link=link_id)
        try:
            return await self._repository.end_link(secret, link_id, LinkState.REVOKED, event)
        except ConditionFailed as failed:
            return failed.secret or secret

    async def _links(
        self, secret_id: str, new: CreateSecret
    ) -> tuple[list[LinkToken], dict[str, Link]]:
        random_bytes = self._backend.random_bytes
        tokens: list[LinkToken] = []
        links: dict[str, Link] = {}
        for position, recipient in enumerate(new.recipients or ("",)):
            token = LinkToken.create(secret_id, self._backend.new_id(LINK_CHARS), random_bytes)
            salt = random_bytes(encryption.SALT_BYTES) if new.passphrase else b""
            async with self._argon2.hold() if salt else nullcontext():
                keys = await asyncio.to_thread(
                    encryption.link_keys, token.secret, token.path, new.passphrase or "", salt
                )
            tokens.append(token)
            links[token.link_id] = Link(
                id=token.link_id,
                recipient=recipient,
                verifier=keys.verifier,
                public_key=keys.public_key,
                salt=salt,
                wrapped_keys={},
                uses_max=new.uses,
                position=position,
            )
        return tokens, links

    async def _encrypt(
        self,
        secret_id: str,
        number: int,
        now: float,
        deadline: int,
        items: Sequence[NewItem],
        links: Sequence[Link],
    ) -> tuple[Version, dict[str, bytes]]:
        """Store the items under a new content key.

        Returns the version, and the content key encrypted for each link. If this method fails, it
        tries to delete the objects that it has written. The worker deletes any remaining objects.
        """
        content, random_bytes = self._backend.content, self._backend.random_bytes
        data_key, sealed_data_key = await self._backend.data_keys.generate(secret_id)
        content_key = random_bytes(encryption.KEY_BYTES)
        stored: list[ContentItem] = []
        try:
            for index, item in enumerate(items):
                key = content.key(secret_id, number, index)
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
            now,
            sealed_data_key,
            encryption.seal(manifest, content_key, "manifest", random_bytes),
            tuple(stored),
        )
        keys = {}
        for link in links:
            context = encryption.Context(
                self._backend.environment, secret_id, link.id, number, deadline
            )
            keys[link.id] = encryption.wrap(
                content_key, link.public_key, data_key, context, random_bytes
            )
        return version, keys

    async def _replace(
        self, before: Secret, after: Secret, event: SharingEvent, *, fields: list[str]
    ) -> Secret:
        try:
            return await self._repository.replace(before, after, event, fields=fields)
        except ConditionFailed as failed:
            if failed.secret is not None:
                self._changeable(failed.secret, None)
            raise PreconditionFailed(
                "The secret has changed since it was read. Read it again, then retry."
            ) from None

    def _changeable(self, secret: Secret, revision: int | None) -> Secret:
        if secret.state != SecretState.ACTIVE or is_expired(secret, self._clock.now()):
            raise Conflict("The secret is no longer active and cannot be changed.")
        if revision is not None and secret.revision != revision:
            raise PreconditionFailed(
                "The secret has changed since it was read. Read it again, then retry."
            )
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


def _with_key(link: Link, version: int, key: bytes) -> Link:
    return msgspec.structs.replace(link, wrapped_keys={**link.wrapped_keys, str(version): key})


@dataclass(frozen=True, slots=True)
class SecretSharing:
    """Secret sharing dependencies of the console. `url`: public URL of the sharing service, with
    which every link begins.
    """

    service: SecretService
    url: str

    async def deliver(self, text: str, label: str, owner: str, actor: Actor) -> str:
        """Share text through one link, which can be opened once within three days. Returns the
        link. Raises RateLimited.
        """
        _, tokens = await self.service.create(CreateSecret(text=text, label=label), owner, actor)
        return tokens[0].url(self.url)
