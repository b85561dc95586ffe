"""Context of one request at the gateway: the request, the state of the response, and the fields of its log line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gatehouse.errors import GatehouseError
from gatehouse.http import asgi
from gatehouse.http.models import RequestId
from gatehouse.verification.models import Code, VerificationResult


class RequestContext:
    """Passed to every endpoint. `status` is 0 until the response has started."""

    __slots__ = (
        "code",
        "detail",
        "fields",
        "key_id",
        "receive",
        "request_id",
        "scope",
        "send",
        "status",
        "template",
        "verifications",
    )

    def __init__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.fields: Sequence[tuple[bytes, bytes]] = scope["headers"]
        self.request_id: RequestId = asgi.request_id()
        self.template = ""
        self.status = 0
        self.key_id: str | None = None
        self.code: str | None = None
        self.detail = ""
        #: (key id, Core, code, on behalf of a client) of each verification, for the usage statistics
        self.verifications: list[tuple[str, str, str, bool]] = []

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"

    @property
    def raw_path(self) -> bytes:
        raw_path: bytes = self.scope["raw_path"]
        return raw_path

    @property
    def peer(self) -> str:
        client = self.scope.get("client")
        return "" if client is None else str(client[0])

    def values(self, name: bytes) -> list[str]:
        """All values of a header, in order; `name` in lower case."""
        return [value.decode("latin-1") for field, value in self.fields if field == name]

    def client(self, addresses: asgi.ClientAddresses) -> str:
        """Client address, as reported by trusted proxies."""
        peer = self.peer
        return addresses.client(peer, self.values(b"x-forwarded-for")) if addresses.trusts(peer) else peer

    async def json_body(self, bytes_max: int) -> bytes:
        """The JSON body. Raises UnsupportedMediaType, BodyTooLarge, and ClientGone if the client disconnected."""
        asgi.check_json(self.values(b"content-type"), lenient=True)
        return await asgi.read_body(self.receive, bytes_max)

    def verified(self, result: VerificationResult, core: str | None = None, *, on_behalf: bool = False) -> None:
        """Records the result for the log line (with the id of a revoked key) and for the usage statistics.

        on_behalf: the caller is a service that verifies the token of its own client, so its address is not the client's.
        """
        self.count(result, core, on_behalf=on_behalf)
        self.code = result.code.value
        if result.record is not None and result.code is not Code.NOT_FOUND:
            self.key_id = result.record.id

    def count(self, result: VerificationResult, core: str | None = None, *, on_behalf: bool = False) -> None:
        """Records one result of a batch for the usage statistics."""
        self.verifications.append(("" if result.record is None else result.record.id, core or "", result.code.value, on_behalf))

    async def reply(
        self, status: int, body: bytes = b"", *, content_type: bytes = asgi.JSON, headers: Iterable[asgi.Header] = ()
    ) -> None:
        self.status = status
        await asgi.reply(
            self.send,
            status,
            body,
            content_type=content_type,
            headers=[(b"x-request-id", self.request_id.encode()), *headers],
            head=self.is_head,
        )

    async def fail(self, error: GatehouseError, *, code: str = "", headers: Iterable[asgi.Header] = ()) -> None:
        """Sends a problem document."""
        self.status = error.status
        self.detail = self.detail or error.detail
        self.code = self.code or code or error.code
        await asgi.reply_problem(self.send, error, self.request_id, code=code, headers=headers, head=self.is_head)
