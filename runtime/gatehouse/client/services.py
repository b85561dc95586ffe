"""Clients for the console, the gateway and the sharing service. The methods return the response
types of the services.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import httpx
import msgspec

from gatehouse.client.http import Client, Retries, query_parameters
from gatehouse.features.sharing.link_schemas import LinkPreview, OpenedSecret, SubmittedSecret
from gatehouse.features.sharing.requests.schemas import (
    CreatedSecretRequest,
    SecretRequestView,
)
from gatehouse.features.sharing.schemas import CreatedSecret, Receipt, SecretView
from gatehouse.features.verification.schemas import (
    RateLimitOverride,
    SelfRevocationRequest,
    SelfRevocationResponse,
    VerifyReply,
    VerifyRequest,
)

_Response = TypeVar("_Response")


class ConsoleClient(Client):
    """A synchronous client. In asyncio, call the methods with `asyncio.to_thread`.

    `/openapi.json` of the console describes the operations. The types of the responses are in
    `gatehouse.features.*.schemas`.

    Every method raises a GatehouseError with a message for users. Methods raise Unavailable if the
    console cannot be reached. Each POST request sends an Idempotency-Key, so the request takes
    effect only once, even if it is sent repeatedly. To resume after a crash, store an
    `idempotency_key` before the call and pass it again: the repeated call returns the first
    response.
    """

    def __init__(
        self,
        console: str,
        token: str,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Arguments: URL of the console, admin credential, retry policy, and HTTP transport for
        tests.
        """
        super().__init__(
            "console", console, {"Authorization": f"Bearer {token}"}, retries, transport
        )

    def get(self, response: type[_Response], path: str, **query: str | int | None) -> _Response:
        """Returns the response to GET. `query`: parameters; parameters that are None are not
        sent.
        """
        return self._decode(response, self._send("GET", path, params=query_parameters(**query)))

    def items(
        self, item: type[_Response], path: str, **query: str | int | None
    ) -> Iterator[_Response]:
        """Yields all items of a list, such as KeyView for `/v1/keys`. Reads one page at a time."""
        name = msgspec.field(name=path.replace("-", "/").rpartition("/")[2])
        fields: list[Any] = [("items", list[item], name), ("next_cursor", str | None, None)]  # type: ignore[valid-type]  # a type at run time
        kind: Any = msgspec.defstruct("Page", fields)
        cursor: str | None = None
        while True:
            page = self.get(kind, path, **query, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def call(
        self,
        response: type[_Response],
        method: str,
        path: str,
        request: dict[str, Any] | None = None,
        *,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> _Response:
        """Sends a request that can change something, and returns the response.

        response: type of the response; NoneType if there is none. request: the fields of the body.
        version: the expected version, for operations with If-Match. Raises PreconditionFailed if
        the current version is another.
        """
        body: dict[str, Any] = {} if request is None else {"json": request}
        if method == "POST":
            return self._decode(response, self._send_once(path, key=idempotency_key, **body))
        headers = {} if version is None else _if_match(version)
        return self._decode(response, self._send(method, path, headers=headers, **body))

    def stream(self, path: str, **query: str | int | None) -> Iterator[bytes]:
        """Yields the response to GET in chunks."""
        return self._stream("GET", path, params=query_parameters(**query))

    def create_secret(
        self, request: dict[str, Any], *, idempotency_key: str | None = None
    ) -> CreatedSecret:
        """Creates a secret. `request`: the fields of POST /v1/secrets. Only this response contains
        the links.
        """
        path = "/v1/secrets"
        return self.call(CreatedSecret, "POST", path, request, idempotency_key=idempotency_key)

    def secrets(self, **query: str | int | None) -> Iterator[SecretView]:
        """Yields all secrets that match the query of GET /v1/secrets. Reads one page at a time."""
        return self.items(SecretView, "/v1/secrets", **query)

    def secret(self, secret_id: str) -> SecretView:
        """Returns the metadata of a secret. Raises NotFound."""
        return self.get(SecretView, f"/v1/secrets/{secret_id}")

    def update_secret(
        self, secret_id: str, request: dict[str, Any], *, revision: int | None
    ) -> SecretView:
        """Changes a secret. `request`: the fields of PATCH /v1/secrets/{secret}.

        revision: the expected revision; None: any revision. Raises PreconditionFailed if the secret
            has another revision.
        """
        reply = self._send(
            "PATCH", f"/v1/secrets/{secret_id}", json=request, headers=_if_match(revision)
        )
        return self._decode(SecretView, reply)

    def replace_content(
        self, secret_id: str, request: dict[str, Any], *, revision: int | None
    ) -> SecretView:
        """Adds a version of the content. `request`: the fields of PUT /v1/secrets/{secret}/content.
        `revision`: as for `update_secret`.
        """
        path, headers = f"/v1/secrets/{secret_id}/content", _if_match(revision)
        reply = self._send("PUT", path, json=request, headers=headers)
        return self._decode(SecretView, reply)

    def restore_version(self, secret_id: str, version: int, *, revision: int | None) -> SecretView:
        """Makes an earlier version of the content the current version. `revision`: as for
        `update_secret`.
        """
        path, headers = f"/v1/secrets/{secret_id}/restore-version", _if_match(revision)
        return self._decode(
            SecretView, self._send("POST", path, json={"version": version}, headers=headers)
        )

    def revoke_secret(self, secret_id: str, *, idempotency_key: str | None = None) -> SecretView:
        path = f"/v1/secrets/{secret_id}/revoke"
        return self.call(SecretView, "POST", path, idempotency_key=idempotency_key)

    def revoke_secret_link(
        self, secret_id: str, link_id: str, *, idempotency_key: str | None = None
    ) -> SecretView:
        path = f"/v1/secrets/{secret_id}/links/{link_id}/revoke"
        return self.call(SecretView, "POST", path, idempotency_key=idempotency_key)

    def secret_receipt(self, secret_id: str) -> Receipt:
        return self.get(Receipt, f"/v1/secrets/{secret_id}/receipt")

    def request_secret(
        self, request: dict[str, Any], *, idempotency_key: str | None = None
    ) -> CreatedSecretRequest:
        """Creates a secret request. Only this response contains the submission link.

        `request`: the fields of POST /v1/secret-requests. `client.retrieval_links` creates the
        links that open the submitted secrets, and the entries for the field `retrieval_links`.
        """
        path = "/v1/secret-requests"
        return self.call(
            CreatedSecretRequest, "POST", path, request, idempotency_key=idempotency_key
        )

    def secret_requests(self, **query: str | int | None) -> Iterator[SecretRequestView]:
        """Yields all secret requests that match the query of GET /v1/secret-requests. Reads one
        page at a time.
        """
        return self.items(SecretRequestView, "/v1/secret-requests", **query)

    def secret_request(self, request_id: str) -> SecretRequestView:
        """Returns a secret request with the IDs of the submitted secrets. Raises NotFound."""
        return self.get(SecretRequestView, f"/v1/secret-requests/{request_id}")

    def revoke_secret_request(
        self, request_id: str, *, idempotency_key: str | None = None
    ) -> SecretRequestView:
        path = f"/v1/secret-requests/{request_id}/revoke"
        return self.call(SecretRequestView, "POST", path, idempotency_key=idempotency_key)


class GatewayClient(Client):
    """A synchronous client without a credential. In asyncio, call the methods with
    `asyncio.to_thread`.

    A verification counts against rate limits and consumes credits, so the client retries only
    verifications with a `cost` of 0 and requests that were never sent. A denial is a result and not
    an error (see `valid` and `code`). Methods raise a GatehouseError for errors, and Unavailable if
    the gateway cannot decide.
    """

    def __init__(
        self,
        gateway: str,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Arguments: URL of the gateway, retry policy, and HTTP transport for tests."""
        super().__init__("gateway", gateway, {}, retries, transport)

    def verify(
        self,
        token: str,
        *,
        scopes: Sequence[str] = (),
        core: str | None = None,
        cost: int = 1,
        address: str | None = None,
        method: str | None = None,
        limits: Sequence[RateLimitOverride] = (),
    ) -> VerifyReply:
        """Verifies a token. With a `cost` of 0, the request does not count against limits or
        consume credits. POST /v1/keys/verify documents the other arguments."""
        request = VerifyRequest(token, tuple(scopes), core, cost, address, method, tuple(limits))
        return self._call("/v1/keys/verify", request, VerifyReply, retryable=cost == 0)

    def revoke(self, token: str, reason: str = "") -> SelfRevocationResponse:
        """Revokes the key to which the token belongs. Raises Unauthorized if no active or disabled
        key has this token.
        """
        return self._call(
            "/v1/keys/revoke-self", SelfRevocationRequest(token, reason), SelfRevocationResponse
        )

    def _call(
        self,
        path: str,
        request: msgspec.Struct,
        response: type[_Response],
        *,
        retryable: bool = False,
    ) -> _Response:
        headers = {"Content-Type": "application/json"}
        content = msgspec.json.encode(request)
        reply = self._send("POST", path, retryable=retryable, content=content, headers=headers)
        return self._decode(response, reply)


class SharingClient(Client):
    """A synchronous client for the sharing service, for holders of links and submission links.
    Sends links only in request bodies."""

    def __init__(
        self,
        sharing: str,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Arguments: URL of the sharing service, retry policy, and HTTP transport for tests."""
        super().__init__("sharing service", sharing, {}, retries, transport)

    def look_up(self, link: str) -> LinkPreview:
        """Returns information about a link without consuming a use. Raises NotFound."""
        return self._decode(LinkPreview, self._post("lookup", link=link))

    def open(self, link: str, passphrase: str, claim: str) -> OpenedSecret:
        """Consumes one use and returns the content. Another call with the same claim consumes no
        use. `claim`: at least 16 random bytes as text.
        """
        return self._decode(
            OpenedSecret, self._post("open", link=link, passphrase=passphrase, claim=claim)
        )

    def acknowledge(self, link: str, claim: str) -> None:
        """Confirms that the content was received. Idempotent."""
        self._post("acknowledge", link=link, claim=claim)

    def submit(
        self,
        link: str,
        submission: str,
        *,
        text: str = "",
        files: Sequence[tuple[str, bytes, str]] = (),
    ) -> SubmittedSecret:
        """Submits a secret to a secret request. Another call with the same `submission` changes
        nothing.

        link: the submission link.
        submission: at least 16 random bytes as text.
        files: name, content and media type of each file.
        """
        fields = {"link": link, "submission": submission, **({"text": text} if text else {})}
        parts = [
            *((name, (None, value)) for name, value in fields.items()),
            *(("file", file) for file in files),
        ]
        return self._decode(
            SubmittedSecret, self._send("POST", "/v1/requests/submit", retryable=True, files=parts)
        )

    def _post(self, action: str, **body: str | int) -> httpx.Response:
        return self._send("POST", f"/v1/links/{action}", retryable=True, json=body)


def _if_match(version: int | None) -> dict[str, str]:
    return {"If-Match": "*" if version is None else f'"{version}"'}
