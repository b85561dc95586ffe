"""Clients for the console and the sharing service. The methods return the response types of the
services.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import httpx
import msgspec

from gatehouse.client.http import Client, Retries
from gatehouse.features.secrets.schemas import LinkPreview, OpenedSecret

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
        params = {name: value for name, value in query.items() if value is not None}
        return self._decode(response, self._send("GET", path, params=params))

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
        arguments: dict[str, Any] = {} if request is None else {"json": request}
        if version is not None:
            arguments["headers"] = {"If-Match": f'"{version}"'}
        if method == "POST":
            return self._decode(response, self._send_once(path, key=idempotency_key, **arguments))
        return self._decode(response, self._send(method, path, **arguments))

    def stream(self, path: str, **query: str | int | None) -> Iterator[bytes]:
        params = {name: value for name, value in query.items() if value is not None}
        return self._stream("GET", path, params=params)


class SharingClient(Client):
    """A synchronous client for the sharing service, for holders of links. Sends links only in
    request bodies.
    """

    def __init__(self, sharing: str, *, retries: Retries | None = None) -> None:
        super().__init__("sharing service", sharing, {}, retries)

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

    def _post(self, action: str, **body: str | int) -> httpx.Response:
        return self._send("POST", f"/v1/links/{action}", retryable=True, json=body)
