# Derived from _async by `make docs`. Do not edit.
"""Sends HTTP requests: the base of the clients."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import httpx

from gatehouse_client.errors import BadRequest, Reply, problem
from gatehouse_client.transport import (
    ENVIRONMENT,
    FAILURES,
    INVALID_ENVIRONMENT,
    Base,
    RepeatedAfter,
    Retries,
    check_encoding,
    check_size,
    whole,
)


class Client(Base):
    """Base of the clients. Close a client after use, or use it as a context manager."""

    def __init__(
        self,
        service: str,
        url: str,
        headers: dict[str, str],
        retries: Retries,
        *,
        timeout_s: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(service, url, retries)
        with suppress(*INVALID_ENVIRONMENT):
            self._client = httpx.Client(**self._options(headers, timeout_s, transport))
            return
        raise BadRequest(ENVIRONMENT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def _send(
        self, method: str, path: str, repeated_after: RepeatedAfter | None = None, **arguments: Any
    ) -> Reply:
        """Sends a request and returns the successful response. repeated_after: the errors after
        which the request is sent again. Default: every error for an idempotent method.

        Raises the ApiError of the problem document, Unavailable if there is no valid response, and
        BadRequest if the URL of the service is invalid.
        """
        attempts = self._attempts(method, path, arguments, repeated_after)
        while True:
            try:
                reply = self._exchange(method, path, arguments, attempts.deadline)
                if reply.is_success:
                    return reply
                attempts.reject(reply)
            except FAILURES as exc:
                attempts.fail(exc)
            self._retries.sleep(attempts.wait_s())

    def _exchange(
        self, method: str, path: str, arguments: dict[str, Any], deadline: float
    ) -> Reply:
        with self._client.stream(method, path, **arguments) as streamed:
            return self._received(streamed)

    def _stream(self, method: str, path: str, **arguments: Any) -> Iterator[bytes]:
        """Yields the body of a response in chunks. Never retries, because the caller may already
        have used some chunks.

        Raises the ApiError of the problem document, and Unavailable if the connection fails.
        """
        attempts = self._attempts(method, path, arguments)
        try:
            with self._client.stream(method, path, **arguments) as streamed:
                if streamed.is_success:
                    check_encoding(streamed)
                    for part in streamed.iter_bytes():
                        yield part
                    return
                failure = problem(self._received(streamed), self._service, attempts.redact)
        except FAILURES as exc:
            failure = attempts.interrupted(exc)
        raise failure

    def _received(self, streamed: httpx.Response) -> Reply:
        check_encoding(streamed)
        content = bytearray()
        for part in streamed.iter_bytes():
            content += part
            check_size(len(content))
        return whole(streamed, bytes(content))
