"""Opens links. Checks proof of possession and the passphrase and records a claim before
decryption.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Forbidden, Unavailable
from gatehouse.core.tokens.token import is_base62
from gatehouse.features.secrets import encryption
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.denials import Denials, LinkNotFound
from gatehouse.features.secrets.link_token import PATH_CHARS, LinkToken
from gatehouse.features.secrets.models import (
    CLAIM_S,
    ID_CHARS,
    Claim,
    Client,
    ContentItem,
    Link,
    LinkState,
    ManifestItem,
    Secret,
    SecretState,
    SharingEvent,
    is_expired,
)
from gatehouse.features.secrets.passphrases import Passphrases


class NotConfirmed(Forbidden, temporary=False):
    title = "The link was not opened by a person"


@dataclass(frozen=True, slots=True)
class OpenedItem:
    """A text item (with an empty `name`) or a file in an opened secret."""

    number: int
    name: str
    media_type: str
    content: ContentItem

    @property
    def size(self) -> int:
        return self.content.size


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened secret. `content_key` exists only during the request."""

    secret: Secret
    link: Link
    claim_id: str
    client: Client
    content_key: bytes
    items: tuple[OpenedItem, ...]

    def __repr__(self) -> str:
        return f"Opened({self.secret.id})"


def claim_id_of(nonce: str, path: str) -> str:
    """Return the claim ID for a nonce: 32 hexadecimal characters."""
    return hashlib.sha256(f"{path}:{nonce}".encode()).hexdigest()[:32]


class LinkService:
    """Opens links. Methods raise Unavailable if a dependency fails.

    If a use was recorded before the failure, the client can repeat the request with the same claim
    ID.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._table = backend.table
        self._clock = backend.clock
        self._denials = Denials(backend, "recipient", AuditAction.LINK_DENIED)
        self._passphrases = Passphrases(backend, self._denials)

    async def find(self, path: str, claim_id: str = "") -> tuple[Secret, Link, bool]:
        """Return the secret and the link for the public part of a link, so that the link's page can
        be displayed, and whether this claim can be repeated. Consumes no use.

        Raises LinkNotFound if the link does not exist or no longer works.
        """
        if not is_base62(path, PATH_CHARS):
            raise LinkNotFound
        secret = await self._backend.table.get(path[:ID_CHARS])
        link = None if secret is None else secret.links.get(path[ID_CHARS:])
        if secret is None or link is None:
            raise LinkNotFound
        is_repeatable = self._is_repeatable(secret, link, claim_id)
        if not (is_repeatable or self._is_open(secret, link)):
            raise LinkNotFound
        return secret, link, is_repeatable

    async def look_up(self, token: LinkToken, client: Client) -> tuple[Secret, Link]:
        """Return the secret and the link to a client that has the complete link. Does not consume a
        use. Raises LinkNotFound, TooManyDenied.
        """
        secret, link = await self._possessed(token, client)
        if not self._is_open(secret, link):
            raise await self._denials.error(token, client, "ended")
        return secret, link

    async def open(
        self,
        token: LinkToken,
        passphrase: str,
        claim_id: str,
        client: Client,
        *,
        confirmed: bool = True,
    ) -> Opened:
        """Consume one use of a link and return the content. A repeated claim returns the content
        without consuming another use. `confirmed`: the client is a program that opens the link on
        purpose, or a person. A passphrase or an earlier request with the claim also shows this.

        Raises LinkNotFound, TooManyDenied, PassphraseRequired, WrongPassphrase, TooManyAttempts,
        NotConfirmed.
        """
        secret, link = await self._possessed(token, client)
        is_repeatable = self._is_repeatable(secret, link, claim_id)
        if not (is_repeatable or self._is_open(secret, link)):
            raise await self._denials.error(token, client, "ended")
        if not (link.salt or confirmed or is_repeatable):
            raise NotConfirmed
        keys = await self._passphrases.link_keys(link, token, passphrase, client)
        secret = await self._claim(secret, claim_id, token, client)
        content_key, items = await self._decrypt(secret, link.id, keys)
        return Opened(secret, secret.links[link.id], claim_id, client, content_key, items)

    async def acknowledge(self, token: LinkToken, claim_id: str, client: Client) -> None:
        """Record that the client received the content of a claim. Idempotent. Raises LinkNotFound,
        TooManyDenied.

        Erases the content keys of the link if no use is left and all claims are acknowledged.
        """
        secret, link = await self._possessed(token, client)
        if claim_id not in link.claims:
            raise await self._denials.error(token, client, "unknown claim")
        event = self._event(token, client, AuditAction.LINK_ACKNOWLEDGE, {"claim": claim_id})

        def acknowledged(secret: Secret) -> Secret:
            link = secret.links[token.link_id]
            if link.claims[claim_id].acknowledged_at is not None:
                return secret
            claim = Claim(link.claims[claim_id].at, event.at)
            claims = {**link.claims, claim_id: claim}
            finished = link.uses >= link.uses_max and all(
                claim.acknowledged_at is not None for claim in claims.values()
            )
            keys = {} if finished else link.wrapped_keys
            return secret.with_link(msgspec.structs.replace(link, claims=claims, wrapped_keys=keys))

        await self._table.change(secret, event, acknowledged)

    async def read(self, opened: Opened, *items: OpenedItem) -> list[bytes]:
        """Return the plaintext of items. Raises Unavailable, including for altered content and if
        too many others are being read, and LinkNotFound if the content has been deleted in the
        meantime.
        """
        async with self._backend.reads:
            return [await self._read(opened, item) for item in items]

    async def _read(self, opened: Opened, item: OpenedItem) -> bytes:
        sealed = await self._backend.content.read(item.content)
        if sealed is None:
            raise LinkNotFound
        try:
            return encryption.unseal(sealed, opened.content_key, f"item {item.number}")
        except encryption.DecryptionFailed as exc:
            raise Unavailable("The content is not available.", detail=str(exc)) from exc

    async def _possessed(self, token: LinkToken, client: Client) -> tuple[Secret, Link]:
        """Return the secret and the link if the client has the link secret. The verifier is always
        computed and compared.

        Raises LinkNotFound, TooManyDenied.
        """
        secret = await self._backend.table.get(token.secret_id)
        link = None if secret is None else secret.links.get(token.link_id)
        verifier = None if link is None else link.verifier
        correct = encryption.matches(token.secret, token.path, verifier)
        if secret is None or link is None or not correct:
            raise await self._denials.error(
                token, client, "wrong link secret", exists=link is not None
            )
        return secret, link

    def _is_open(self, secret: Secret, link: Link) -> bool:
        return self._is_active(secret, link) and link.uses < link.uses_max

    def _is_repeatable(self, secret: Secret, link: Link, claim_id: str) -> bool:
        claim = link.claims.get(claim_id)
        recent = (
            claim is not None
            and claim.acknowledged_at is None
            and self._clock.now() < claim.at + CLAIM_S
        )
        return recent and self._is_active(secret, link)

    def _is_active(self, secret: Secret, link: Link) -> bool:
        unexpired = not is_expired(secret, self._clock.now())
        return secret.state == SecretState.ACTIVE and unexpired and link.state == LinkState.ACTIVE

    async def _claim(
        self, secret: Secret, claim_id: str, token: LinkToken, client: Client
    ) -> Secret:
        """Record the use and return the updated secret. Raises LinkNotFound or TooManyDenied if no
        use is left.
        """
        event = self._event(token, client, AuditAction.LINK_CLAIM, {"claim": claim_id})

        def claimed(secret: Secret) -> Secret:
            link = secret.links[token.link_id]
            if self._is_repeatable(secret, link, claim_id):
                return secret
            if claim_id in link.claims or not self._is_open(secret, link):
                raise LinkNotFound
            claims = {**link.claims, claim_id: Claim(event.at)}
            return secret.with_link(
                msgspec.structs.replace(link, uses=link.uses + 1, claims=claims)
            )

        try:
            return await self._table.change(secret, event, claimed)
        except LinkNotFound:
            raise await self._denials.error(token, client, "ended") from None

    async def _decrypt(
        self, secret: Secret, link_id: str, keys: encryption.LinkKeys
    ) -> tuple[bytes, tuple[OpenedItem, ...]]:
        version = secret.current
        wrapped = secret.links[link_id].wrapped_keys.get(str(version.number))
        if wrapped is None:
            raise LinkNotFound
        context = self._backend.context(secret, link_id, version.number)
        data_key = await self._backend.data_keys.decrypt(secret.id, version.data_key)
        try:
            content_key = encryption.unwrap(wrapped, keys.private_key, data_key, context)
            manifest = msgspec.json.decode(
                encryption.unseal(version.manifest, content_key, "manifest"),
                type=list[ManifestItem],
            )
        except encryption.DecryptionFailed as exc:
            raise Unavailable("The content is not available.", detail=str(exc)) from exc
        return content_key, tuple(
            OpenedItem(number, entry.name, entry.media_type, content)
            for number, (entry, content) in enumerate(zip(manifest, version.items, strict=True))
        )

    def _event(
        self,
        token: LinkToken,
        client: Client,
        action: AuditAction,
        details: Mapping[str, str | int],
    ) -> SharingEvent:
        actor = client.actor("recipient", token.link_id)
        return self._backend.event(actor, action, token.secret_id, details, link=token.link_id)
