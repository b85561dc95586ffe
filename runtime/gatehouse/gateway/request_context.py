"""One request at the gateway: what came in, what has been answered so far, and what the log line will say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gatehouse.errors import GatehouseError
from gatehouse.http import asgi
from gatehouse.http.models import RequestId
from gatehouse.verification.models import Code, VerificationResult


class RequestContext:
    """Given to every endpoint. `status` is 0 until an answer has begun."""

    __slots__ = (
        "code",
        "counted",
        "detail",
        "fields",
        "key_id",
        "receive",
        "request_id",
        "scope",
        "send",
        "status",
        "template",
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
        self.counted: list[tuple[str, str, str, bool]] = []

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"

    @property
    def raw_path(self) -> bytes:
        raw: bytes = self.scope["raw_path"]
        return raw

    @property
    def peer(self) -> str:
        client = self.scope.get("client")
        return "" if client is None else str(client[0])

    def values(self, name: bytes) -> list[str]:
        """All values of a header, in order; `name` in lower case."""
        return [value.decode("latin-1") for field, value in self.fields if field == name]

    def client(self, addresses: asgi.ClientAddresses) -> str:
        """Who sent the request, as far as our own proxies can be believed."""
        peer = self.peer
        return addresses.client(peer, self.values(b"x-forwarded-for")) if addresses.trusts(peer) else peer

    async def json_body(self, bytes_max: int) -> bytes:
        """The body, meant to be JSON. Raises UnsupportedMediaType, BodyTooLarge, and ClientGone when the client left first."""
        asgi.check_json(self.values(b"content-type"), lenient=True)
        return await asgi.read_body(self.receive, bytes_max)

    def decided(self, verdict: VerificationResult, core: str | None = None, *, behalf: bool = False) -> None:
        """Remembers a decision for the log (the full one, with a revoked key's id) and for the count of use.

        behalf: a service asks about a client's token, so whoever sent this request is not the one who uses the key.
        """
        self.count(verdict, core, behalf=behalf)
        self.code = verdict.code.value
        if verdict.record is not None and verdict.code is not Code.NOT_FOUND:
            self.key_id = verdict.record.id

    def count(self, verdict: VerificationResult, core: str | None = None, *, behalf: bool = False) -> None:
        """Remembers a decision for the count of use alone: one of several in a request."""
        self.counted.append(("" if verdict.record is None else verdict.record.id, core or "", verdict.code.value, behalf))

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
        """Answers with a problem document."""
        self.status = error.status
        self.detail = self.detail or error.detail
        self.code = self.code or code or error.code
        await asgi.reply_problem(self.send, error, self.request_id, code=code, headers=headers, head=self.is_head)
