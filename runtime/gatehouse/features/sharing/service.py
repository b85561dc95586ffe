"""Creates, changes and revokes secrets on behalf of owners. `links.py` opens secrets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Self, TypeVar

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from gatehouse.features.sharing import encryption
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.link_token import LinkToken, is_id
from gatehouse.features.sharing.models import (
    JSON_FILES_BYTES_MAX,
    LINK_CHARS,
    TTL_S_DEFAULT,
    TTL_S_MAX,
    TTL_S_MIN,
    USES_DEFAULT,
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
    json_bytes_max,
)
from gatehouse.features.sharing.repository import ConditionFailed
from gatehouse.features.sharing.slots import argon2_slots
from gatehouse.platform.http.validation import invalid

_Value = TypeVar("_Value")

TEXT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class NewItem:
    """A text item (with an empty `name`) or a file. `chunks`: the content, which can be read only
    once if it is an upload.
    """

    chunks: AsyncIterable[bytes]
    name: str = ""
    media_type: str = TEXT_TYPE

    @classmethod
    def of(cls, content: bytes, name: str = "", media_type: str = TEXT_TYPE) -> Self:
        """Return an item whose content is in memory."""
        return cls(_InMemory(content), name, media_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """Properties of a new secret. Durations are in seconds.

    recipients: each recipient gets a personal link; empty for one link that is not personal.
    owner: label of the owner; empty for the actor.
    """

    items: AsyncIterable[NewItem]
    sender: str
    ttl_s: float
    ttl_s_max: float
    uses: int
    label: str = ""
    note: str = ""
    recipients: Sequence[str] = ()
    passphrase: str = ""
    burn_after: int = 0
    owner: str = ""
    end_to_end: bool = False

    def __repr__(self) -> str:
        return "NewSecret(...)"


@dataclass(frozen=True, slots=True)
class UploadedContent:
    """Files that a client encrypted under `content_key` and uploaded. The files are numbered after
    the other items.
    """

    content_key: bytes
    items: Sequence[tuple[ContentItem, ManifestItem]]

    def __repr__(self) -> str:
        return "UploadedContent(...)"


@dataclass(frozen=True, slots=True)
class SecretPatch:
    """Changes to a secret. None leaves a value unchanged."""

    expires_at: float | None = None
    uses: int | None = None
    label: str | None = None
    note: str | None = None


class SecretService:
    """Manages secrets. Methods raise Unavailable if a dependency fails. In this case, the change
    was made either completely or not at all."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._repository = backend.repository
        self._clock = backend.clock
        self._argon2 = argon2_slots()

    async def create(self, new: NewSecret, actor: Actor) -> tuple[Secret, list[LinkToken]]:
        """Encrypt and store a secret. Only this method returns the links. Raises RateLimited, and
        the errors of `new.items`.
        """
        owner, now = new.owner or actor.label, self._clock.now()
        await self._backend.take_create("secret", owner)
        secret_id = self._backend.new_id()
        tokens, links = await self._links(secret_id, new)
        secret = await self.store(secret_id, new, links, owner, now)
        await self._repository.create(
            secret,
            self._backend.event(actor, AuditAction.SECRET_CREATE, secret_id, {"links": len(links)}),
        )
        return secret, tokens

    async def store(
        self,
        secret_id: str,
        new: NewSecret,
        links: dict[str, Link],
        owner: str,
        now: float,
        uploaded: UploadedContent | None = None,
    ) -> Secret:
        """Encrypt the content to the links and store the content. Returns the secret, which the
        caller writes to the table.
        """
        expires_at = now + new.ttl_s
        expires_at_max = max(expires_at, now + new.ttl_s_max)
        version, keys = await self._encrypt(
            secret_id, 1, now, int(expires_at_max), new.items, list(links.values()), uploaded
        )
        return Secret(
            id=secret_id,
            owner=owner,
            sender=new.sender,
            label=new.label,
            note=new.note,
            created_at=now,
            expires_at=expires_at,
            expires_at_max=float(int(expires_at_max)),
            purge_at=expires_at,
            state=SecretState.ACTIVE,
            revision=1,
            versions=(version,),
            next_version=2,
            links={
                name: _with_key(link, version.number, keys[name]) for name, link in links.items()
            },
            end_to_end=new.end_to_end,
            burn_after=new.burn_after,
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
        self, secret_id: str, patch: SecretPatch, revision: int | None, actor: Actor
    ) -> Secret:
        """Change the uses, expiry, label or note. `revision`: the expected revision; None: any
        revision.

        Raises NotFound, BadRequest, PreconditionFailed, and Conflict if the secret is no longer
        active.
        """
        before = self._changeable(await self.get(secret_id), revision)
        now, fields = self._clock.now(), {}
        if patch.expires_at is not None:
            self._check_expiry(patch.expires_at, before, now)
            fields = {
                "expires_at": patch.expires_at,
                "purge_at": before.purge_at - before.expires_at + patch.expires_at,
            }
        fields |= {
            name: value for name in ("label", "note") if (value := getattr(patch, name)) is not None
        }
        links = before.links
        if patch.uses is not None:
            links = {link.id: self._with_uses(link, patch.uses) for link in links.values()}
        after = msgspec.structs.replace(before, **fields, links=links)
        names = sorted((*fields, *(["uses"] if patch.uses is not None else [])))
        event = self._backend.event(
            actor, AuditAction.SECRET_UPDATE, secret_id, {"fields": ", ".join(names)}
        )
        return await self._replace(before, after, event, fields=list(fields))

    async def replace_content(
        self, secret_id: str, items: AsyncIterable[NewItem], revision: int | None, actor: Actor
    ) -> Secret:
        """Add a version with new content. The links stay valid and open the new version.

        Raises NotFound, PreconditionFailed, Conflict if the secret is no longer active, and the
        errors of `items`.
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
        self, secret_id: str, new: NewSecret
    ) -> tuple[list[LinkToken], dict[str, Link]]:
        random_bytes = self._backend.random_bytes
        tokens: list[LinkToken] = []
        links: dict[str, Link] = {}
        for position, recipient in enumerate(new.recipients or ("",)):
            token = LinkToken.create(secret_id, self._backend.new_id(LINK_CHARS), random_bytes)
            salt = random_bytes(encryption.SALT_BYTES) if new.passphrase else b""
            async with self._argon2.hold() if salt else nullcontext():
                keys = await asyncio.to_thread(
                    encryption.link_keys, token.secret, token.path, new.passphrase, salt
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
        items: AsyncIterable[NewItem],
        links: Sequence[Link],
        uploaded: UploadedContent | None = None,
    ) -> tuple[Version, dict[str, bytes]]:
        """Store the items under a new content key, or under the content key of `uploaded`.

        Returns the version, and the content key encrypted for each link. If this method fails, it
        tries to delete the objects that it has written. The worker deletes any remaining objects.
        """
        content, random_bytes = self._backend.content, self._backend.random_bytes
        data_key, sealed_data_key = await self._backend.data_keys.generate(secret_id)
        content_key = (
            random_bytes(encryption.KEY_BYTES) if uploaded is None else uploaded.content_key
        )
        stored: list[ContentItem] = []
        entries: list[ManifestItem] = []
        try:
            async for item in items:
                key, ciphertext = (
                    content.key(secret_id, number, len(stored)),
                    _Encrypted(item, content_key, len(stored)),
                )
                stored.append(
                    ContentItem(key, await content.write(key, ciphertext.chunks()), ciphertext.size)
                )
                entries.append(ManifestItem(item.name, item.media_type))
        except BaseException:
            # Delete only the objects of this call, because another request may have stored a
            # version with the same number.
            with suppress(Unavailable):
                await content.delete(stored)
            raise
        for object_version, entry in () if uploaded is None else uploaded.items:
            stored.append(object_version)
            entries.append(entry)
        manifest = msgspec.json.encode(entries)
        version = Version(
            number,
            now,
            sealed_data_key,
            encryption.seal_manifest(manifest, content_key, random_bytes),
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
        if secret.state != SecretState.ACTIVE or self._clock.now() >= secret.purge_at:
            raise Conflict("The secret is no longer active and cannot be changed.")
        if revision is not None and secret.revision != revision:
            raise PreconditionFailed(
                "The secret has changed since it was read. Read it again, then retry."
            )
        return secret

    def _check_expiry(self, expires_at: float, secret: Secret, now: float) -> None:
        if not now + TTL_S_MIN <= expires_at <= secret.expires_at_max:
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


class _InMemory:
    """In-memory content, which can be read repeatedly."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return one_by_one([self._content])


class _Encrypted:
    """The ciphertext of an item. `size`: number of plaintext bytes read so far."""

    def __init__(self, item: NewItem, content_key: bytes, number: int) -> None:
        self._item = item
        self._encryptor = encryption.ItemEncryptor(content_key, number)
        self.size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._item.chunks:
            self.size += len(chunk)
            yield self._encryptor.update(chunk)
        yield self._encryptor.finish()


async def one_by_one(values: Iterable[_Value]) -> AsyncIterator[_Value]:
    for value in values:
        yield value


def _with_key(link: Link, version: int, key: bytes) -> Link:
    return msgspec.structs.replace(link, wrapped_keys={**link.wrapped_keys, str(version): key})


@dataclass(frozen=True, slots=True)
class SecretSharing:
    """Secret sharing dependencies of the console.

    url: public URL of the sharing service, with which every link begins.
    file_max_bytes: maximum total size of the files in a secret.
    """

    service: SecretService
    url: str
    file_max_bytes: int

    @property
    def json_files_max_bytes(self) -> int:
        """Maximum total size of the files in a JSON body. Clients send larger files as a form."""
        return min(self.file_max_bytes, JSON_FILES_BYTES_MAX)

    @property
    def content_max_bytes(self) -> int:
        """Maximum size of the content in JSON."""
        return json_bytes_max(self.json_files_max_bytes)

    async def deliver(self, text: str, label: str, owner: str, actor: Actor) -> str:
        """Share text through one link, which can be opened once within three days. Returns the
        link. Raises RateLimited.
        """
        new = NewSecret(
            items=one_by_one([NewItem.of(text.encode())]),
            sender=actor.label,
            owner=owner,
            ttl_s=TTL_S_DEFAULT,
            ttl_s_max=TTL_S_MAX,
            uses=USES_DEFAULT,
            label=label,
        )
        _, tokens = await self.service.create(new, actor)
        return tokens[0].url(self.url)
