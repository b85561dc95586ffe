"""Verifies identical requests without decoding the body, checking the token and evaluating the key again.

Clients send the same token with the same scopes again and again. After a request has passed all checks, the result of an
identical request depends only on the time and on the rate limits, until the record of the key changes.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b

from gatehouse.core.token import ParsedToken
from gatehouse.core.verification import Code, VerificationRequest, VerificationResult
from gatehouse.features.verification.schemas import decode
from gatehouse.features.verification.service import PassedRequest, VerificationService

#: Maximum number of request bodies. The oldest is removed first.
BODIES_MAX = 10_000

#: Two requests have the same identity with a probability of 2^-128.
_IDENTITY_BYTES = 16

#: Hash of a body, and client address.
Identity = tuple[bytes, str]


class RepeatedBodies:
    """Verifies requests with a JSON body. Remembers the requests that passed, by body and client address.

    A body contains a token. It is identified by its keyed hash (BLAKE2b, RFC 7693) under a random key of the worker, so that
    the token is not kept in memory.
    """

    def __init__(self, service: VerificationService) -> None:
        self._service = service
        self._keyed = blake2b(key=secrets.token_bytes(32), digest_size=_IDENTITY_BYTES)
        self._passed: dict[Identity, PassedRequest | None] = {}

    def __len__(self) -> int:
        return len(self._passed)

    def identity(self, body: bytes, client: str) -> Identity:
        keyed = self._keyed.copy()
        keyed.update(body)
        return keyed.digest(), client

    def verify_now(self, body: bytes, client: str) -> tuple[VerificationRequest, VerificationResult] | None:
        """Like `VerificationService.verify_now`, for the token in a body. client: address of the caller. None also for a token
        that does not have the format of this deployment. Raises BadRequest."""
        identity = self.identity(body, client)
        passed = self._passed.get(identity)
        result = None if passed is None else self._service.verify_again(passed)
        if passed is not None and result is not None:
            return passed.request, result
        token, request = decode(body, client)
        parsed = self._service.parse(token)
        result = None if parsed is None else self._service.verify_now(parsed, request)
        if result is None:
            return None
        if result.code is Code.VALID:
            self._add(identity, request, result)
        return request, result

    def _add(self, identity: Identity, request: VerificationRequest, result: VerificationResult) -> None:
        """Stores a request at the second time, because many clients send a body only once."""
        if identity in self._passed:
            self._passed[identity] = self._service.passed(request, result)
            return
        if len(self._passed) >= BODIES_MAX:
            del self._passed[next(iter(self._passed))]
        self._passed[identity] = None


class RepeatedVerification:
    """Verifies one token for one request, repeatedly. For requests on a connection that have the same head."""

    __slots__ = ("_passed", "_service", "_token", "request")

    def __init__(self, service: VerificationService, token: ParsedToken, request: VerificationRequest) -> None:
        self._service = service
        self._token = token
        self.request = request
        self._passed: PassedRequest | None = None

    def verify_now(self) -> VerificationResult | None:
        """Like `VerificationService.verify_now`."""
        result = None if self._passed is None else self._service.verify_again(self._passed)
        if result is None:
            result = self._service.verify_now(self._token, self.request)
            self._passed = None if result is None else self._service.passed(self.request, result)
        return result
