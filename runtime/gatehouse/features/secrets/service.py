"""Creates, changes and revokes secrets on behalf of owners. `links.py` opens secrets."""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from gatehouse.core.tokens.token import is_base62
from gatehouse.features.secrets import encryption
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.link_token import LinkToken, new_id
from gatehouse.features.secrets.models import (
    CREATED_VERSIONS_MAX,
    ID_CHARS,
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
    Version,
    ended,
    is_expired,
    is_final,
)
from gatehouse.features.secrets.schemas import OCTETS, CreateSecret, SecretContent, UpdateSecret
from gatehouse.platform.web.fields import unix_seconds
from gatehouse.platform.web.validation import invalid

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
        self.table = backend.table
        self._clock = backend.clock

    async def create(
        self, new: CreateSecret, owner: str, actor: Actor
    ) -> tuple[Secret, list[LinkToken]]:
        """Encrypt and store a secret. Only this method returns the links. `owner`: label of the
        owner. Raises RateLimited.
        """
        await self._backend.take_create("secret", owner)
        secret_id = new_id()
        tokens, links = await self._links(secret_id, new, owner, actor)
        secret = new_secret(
            secret_id,
            links,
            self._clock.now(),
            new.ttl_s,
            owner=owner,
            sender=new.sender or actor.label,
            label=new.label,
            end_to_end=new.end_to_end,
        )
        secret = (await self.new_version(secret, content_items(new)))(secret)
        event = self._backend.event(
            actor, AuditAction.SECRET_CREATE, secret_id, {"links": len(links)}
        )
        await self.table.create(secret, event)
        return secret, tokens

    @asynccontextmanager
    async def deliver(self, text: str, label: str, owner: str, actor: Actor) -> AsyncIterator[str]:
        """Deliver text through one link, which can be opened once within three days. The link is
        revoked if the body of the `async with` statement raises an exception. Raises RateLimited.
        """
        secret, [token] = await self.create(CreateSecret(text=text, label=label), owner, actor)
        try:
            yield token.url(self.url)
        except BaseException:
            with suppress(Unavailable):
                await self.revoke(secret.id, actor)
            raise

    async def get(self, secret_id: str) -> Secret:
        secret = await self.table.get(secret_id) if is_base62(secret_id, ID_CHARS) else None
        if secret is None:
            raise no_secret()
        return secret

    async def update(
        self, secret_id: str, patch: UpdateSecret, revision: int | None, actor: Actor
    ) -> Secret:
        """Change the uses, expiry or label. `revision`: the expected revision; None: any revision.

        Raises NotFound, BadRequest, PreconditionFailed, and Conflict if the secret is no longer
        active.
        """
        fields: dict[str, Any] = {} if patch.label is UNSET else {"label": patch.label}
        if patch.expires_at is not UNSET:
            fields["expires_at"] = unix_seconds(patch.expires_at)
        names = sorted((*fields, *(["uses"] if patch.uses is not UNSET else [])))

        def updated(secret: Secret) -> Secret:
            links = self._changeable(secret, revision).links
            if "expires_at" in fields:
                self._check_expiry(fields["expires_at"], secret)
            if patch.uses is not UNSET:
                links = {link.id: self._with_uses(link, patch.uses) for link in links.values()}
            return msgspec.structs.replace(secret, **fields, links=links)

        details = {"fields": ", ".join(names)}
        return await self._change(secret_id, updated, actor, AuditAction.SECRET_UPDATE, details)

    async def replace_content(
        self, secret_id: str, items: Sequence[NewItem], revision: int | None, actor: Actor
    ) -> Secret:
        """Add a version with new content. The links stay valid and open the new version.

        Raises NotFound, PreconditionFailed, RateLimited, and Conflict if the secret is no longer
        active or has had CREATED_VERSIONS_MAX versions.
        """
        before = self._changeable(await self.get(secret_id), revision)
        if before.next_version > CREATED_VERSIONS_MAX:
            raise Conflict(
                f"The secret has had {CREATED_VERSIONS_MAX} versions. Create another secret."
            )
        await self._backend.take_create("version", before.owner)
        with_version = await self.new_version(before, items)

        def replaced(secret: Secret) -> Secret:
            return with_version(self._changeable(secret, before.revision))

        details = {"version": before.next_version}
        return await self._change(secret_id, replaced, actor, AuditAction.SECRET_REPLACE, details)

    async def restore_version(
        self, secret_id: str, number: int, revision: int | None, actor: Actor
    ) -> Secret:
        """Make an earlier version the current version.

        Raises NotFound if the secret or the version does not exist, PreconditionFailed, and
        Conflict if the secret is no longer active.
        """

        def restored(secret: Secret) -> Secret:
            versions = self._changeable(secret, revision).versions
            chosen = next((version for version in versions if version.number == number), None)
            if chosen is None:
                raise NotFound("The secret has no such version.")
            others = (version for version in versions if version is not chosen)
            return msgspec.structs.replace(secret, versions=(chosen, *others))

        details = {"version": number}
        return await self._change(secret_id, restored, actor, AuditAction.SECRET_RESTORE, details)

    async def revoke(self, secret_id: str, actor: Actor) -> Secret:
        """Make all links stop working and erase the keys of the links. Does nothing if the secret
        has ended. Raises NotFound."""
        event = self._backend.event(actor, AuditAction.SECRET_REVOKE, secret_id)

        def revoked(secret: Secret) -> Secret:
            return ended(secret, EndReason.REVOKED, event.at)

        secret = await self.get(secret_id)
        return await self.table.change(secret, event, revoked, waits=False)

    async def revoke_link(self, secret_id: str, link_id: str, actor: Actor) -> Secret:
        """Revoke one link and erase its keys. Does nothing if the link is no longer active. Revokes
        a requested secret, which has one link. Raises NotFound.
        """
        secret = await self.get(secret_id)
        if link_id not in secret.links:
            raise NotFound("The secret has no such link.")
        event = self._backend.event(actor, AuditAction.LINK_REVOKE, secret_id, link=link_id)

        def revoked(secret: Secret) -> Secret:
            link = secret.links[link_id]
            if is_final(secret) or link.state != LinkState.ACTIVE:
                return secret
            if secret.state == SecretState.REQUESTED:  # nobody could open the submitted secret
                return ended(secret, EndReason.REVOKED, event.at)
            link = msgspec.structs.replace(link, state=LinkState.REVOKED, wrapped_keys={})
            return secret.with_link(link, revision=secret.revision + 1)

        return await self.table.change(secret, event, revoked, waits=False)

    async def _links(
        self, secret_id: str, new: CreateSecret, owner: str, actor: Actor
    ) -> tuple[list[LinkToken], list[Link]]:
        tokens: list[LinkToken] = []
        links: list[Link] = []
        salt = key = b""
        if new.passphrase:  # the same for all links
            salt = secrets.token_bytes(encryption.SALT_BYTES)
            key = await self._backend.passphrase_key(new.passphrase, salt)
        for recipient in new.recipients or ("",):
            token = LinkToken.create(secret_id + new_id(LINK_CHARS))
            keys = encryption.link_keys(token.secret, token.path, key)
            tokens.append(token)
            links.append(
                Link(
                    id=token.link_id,
                    verifier=keys.verifier,
                    public_key=keys.public_key,
                    uses_max=new.uses,
                    recipient=recipient,
                    salt=salt,
                )
            )
        return tokens, links

    async def new_version(
        self, secret: Secret, items: Sequence[NewItem]
    ) -> Callable[[Secret], Secret]:
        """Store the items under a new content key, and encrypt the content key to each active link
        that has the keys of earlier versions. Returns a function that adds the version to the
        secret.

        If this method fails, the worker deletes the objects that it has written.
        """
        content, number = self._backend.content, secret.next_version
        data_key, sealed_data_key = await self._backend.data_keys.generate(secret.id)
        content_key = secrets.token_bytes(encryption.KEY_BYTES)
        stored: list[ContentItem] = []
        for index, item in enumerate(items):
            key = content.key(secret.id, number, index)
            sealed = encryption.seal(item.content, content_key, f"item {index}")
            stored.append(ContentItem(key, await content.write(key, sealed), len(item.content)))
        manifest = msgspec.json.encode([ManifestItem(item.name, item.media_type) for item in items])
        version = Version(
            number,
            self._clock.now(),
            sealed_data_key,
            encryption.seal(manifest, content_key, "manifest"),
            tuple(stored),
        )
        context = partial(self._backend.context, secret, version=number)
        wrapped = {
            link.id: encryption.wrap(content_key, link.public_key, data_key, context(link.id))
            for link in secret.links.values()
            if link.state == LinkState.ACTIVE and (link.wrapped_keys or not secret.versions)
        }

        def with_version(secret: Secret) -> Secret:
            versions = (version, *secret.versions)[:VERSIONS_MAX]
            numbers = {str(version.number) for version in versions}
            links = dict(secret.links)
            for link_id, key in wrapped.items():
                keys = {
                    name: key
                    for name, key in links[link_id].wrapped_keys.items()
                    if name in numbers
                }
                links[link_id] = msgspec.structs.replace(
                    links[link_id], wrapped_keys={**keys, str(number): key}
                )
            return msgspec.structs.replace(
                secret, versions=versions, next_version=number + 1, links=links
            )

        return with_version

    async def _change(
        self,
        secret_id: str,
        change: Callable[[Secret], Secret],
        actor: Actor,
        action: AuditAction,
        details: Mapping[str, str | int],
    ) -> Secret:
        """Store a change of an active secret with its event. Returns the changed secret."""

        def changed(secret: Secret) -> Secret:
            return msgspec.structs.replace(change(secret), revision=secret.revision + 1)

        event = self._backend.event(actor, action, secret_id, details)
        return await self.table.change(await self.get(secret_id), event, changed)

    def _changeable(self, secret: Secret, revision: int | None) -> Secret:
        if secret.state != SecretState.ACTIVE or is_expired(secret, self._clock.now()):
            raise Conflict("The secret is not active and cannot be changed.")
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
        if not link.wrapped_keys:  # revoked, or all uses are confirmed
            return link
        if uses < link.uses:
            raise invalid(
                "body.uses",
                f"is less than {link.uses}, the number of uses of a link so far",
                "send a larger number",
            )
        return msgspec.structs.replace(link, uses_max=uses)


def new_secret(
    secret_id: str, links: Sequence[Link], now: float, ttl_s: float, **fields: Any
) -> Secret:
    """Return an active secret without content, or with other values of these fields."""
    values = {"state": SecretState.ACTIVE, "revision": 1, "versions": (), "next_version": 1}
    return Secret(
        id=secret_id,
        created_at=now,
        links={link.id: link for link in links},
        **{**values, **lifetime(now, ttl_s), **fields},
    )


def lifetime(now: float, ttl_s: float) -> dict[str, float]:
    """The expiry of a secret whose lifetime begins now, and the latest time to which it can be
    extended."""
    return {"expires_at": now + ttl_s, "expires_at_max": float(int(now + max(ttl_s, TTL_S_MAX)))}


def no_secret() -> NotFound:
    """The error for an ID of no secret, and of a secret that the caller may not know."""
    return NotFound("No secret has this ID.")


def content_items(content: SecretContent) -> list[NewItem]:
    if content.ciphertext_base64 is not None:
        return [NewItem(content.ciphertext_base64, media_type=OCTETS)]
    texts = [] if content.text is None else [NewItem(content.text.encode())]
    files = [NewItem(file.content_base64, file.name, file.media_type) for file in content.files]
    return [*texts, *files]
