# Derived from _async by `make docs`. Do not edit.
"""Opens secrets at the sharing service, for holders of links. Links are sent only in request
bodies.
"""

import secrets

import httpx

from gatehouse_client._sync.client import Client
from gatehouse_client.credentials import credential
from gatehouse_client.errors import Reply
from gatehouse_client.models import LinkPreview, OpenedSecret
from gatehouse_client.transport import ANY_ERROR, Retries

TIMEOUT_S = 30.0


class SharingClient(Client):
    """Opens secrets. sharing: URL of the service, the start of every link."""

    def __init__(
        self,
        sharing: str,
        *,
        retries: Retries | None = None,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(
            "sharing service",
            sharing,
            {},
            retries or Retries(),
            timeout_s=timeout_s,
            transport=transport,
        )

    def look_up(self, link: str) -> LinkPreview:
        """Information about a link, without consuming a use. Raises NotFound."""
        return self._decode(LinkPreview, self._post("lookup", link=link))

    def open(self, link: str, passphrase: str = "", claim: str | None = None) -> OpenedSecret:
        """Consumes one use and returns the content. Another call with the same claim consumes no
        use. claim: at least 16 random bytes as text. Default: a random one.
        """
        claim = claim or secrets.token_urlsafe(16)
        reply = self._post("open", link=link, passphrase=passphrase, claim=claim)
        return self._decode(OpenedSecret, reply)

    def acknowledge(self, link: str, claim: str) -> None:
        """Confirms that the content was received. Idempotent."""
        self._post("acknowledge", link=link, claim=claim)

    def _post(self, action: str, link: str, **body: str) -> Reply:
        body = _body(link, body)
        return self._send("POST", f"/v1/links/{action}", ANY_ERROR, json=body)


def _body(link: str, others: dict[str, str]) -> dict[str, str]:
    """White space around the link and the claim is removed, and is part of a passphrase."""
    checked = {"claim": credential("claim", others["claim"])} if "claim" in others else {}
    return {"link": credential("link", link), **others, **checked}
